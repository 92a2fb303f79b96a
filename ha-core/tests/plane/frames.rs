//! Frames: valid ones, odd ones, cut ones and nonsense, from a seed.

use std::net::IpAddr;

use ha_core::ha_farm::Flow;
use ha_core::proto::Prng;

/// What frames are made of: addresses that matter often, and others.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    pub(crate) vips: Vec<IpAddr>,
    pub(crate) clients: Vec<IpAddr>,
    pub(crate) ports: Vec<u16>,
    pub(crate) macs: Vec<[u8; 6]>,
    /// Connections that this machine has.
    pub(crate) flows: Vec<Flow>,
}

/// The ends of a packet.
#[derive(Clone, Copy, Debug)]
struct Ends {
    from: IpAddr,
    to: IpAddr,
    from_port: u16,
    to_port: u16,
    protocol: u8,
}

pub(crate) fn frame(prng: &mut Prng, pool: &Pool) -> Vec<u8> {
    let ends = ends(prng, pool);
    let mut bytes = Vec::with_capacity(160);
    for _ in 0..2 {
        let mac = pick(prng, &pool.macs);
        bytes.extend(if one_in(prng, 8) { random(prng, 6) } else { mac.to_vec() });
    }
    for _ in 0..prng.below(12).saturating_sub(8) {
        let kind: u16 = if one_in(prng, 2) { 0x8100 } else { 0x88a8 };
        bytes.extend(kind.to_be_bytes());
        bytes.extend(random(prng, 2));
    }
    if one_in(prng, 24) {
        return arp(prng, &ends, bytes);
    }
    let syn = prng.below(4) == 0;
    let payload = upper(prng, &ends, syn, pool);
    let (kind, packet) = match (ends.from, ends.to) {
        (IpAddr::V4(_), IpAddr::V4(_)) => (0x0800_u16, v4(prng, &ends, payload)),
        _ => (0x86dd, v6(prng, &ends, payload)),
    };
    bytes.extend(kind.to_be_bytes());
    bytes.extend(packet);
    if one_in(prng, 4) {
        let padding = prng.below(40) as usize;
        bytes.extend(random(prng, padding));
    }
    if one_in(prng, 5) {
        damage(prng, &mut bytes);
    }
    bytes
}

fn ends(prng: &mut Prng, pool: &Pool) -> Ends {
    if !pool.flows.is_empty() && one_in(prng, 3) {
        let flow = pick(prng, &pool.flows);
        let (from, to) = (flow.client, flow.vip);
        return Ends { from, to, from_port: flow.client_port, to_port: flow.port, protocol: 6 };
    }
    let to = pick(prng, &pool.vips);
    let from = loop {
        let from = pick(prng, &pool.clients);
        if from.is_ipv4() == to.is_ipv4() {
            break from;
        }
    };
    let to = if one_in(prng, 12) { from } else { to };
    let port = |prng: &mut Prng| {
        if one_in(prng, 4) { prng.next_u64() as u16 } else { pick(prng, &pool.ports) }
    };
    let (from_port, to_port) = (port(prng), port(prng));
    let protocol = match prng.below(10) {
        0..=3 => 6,
        4..=6 => 17,
        7 | 8 => {
            if to.is_ipv4() {
                1
            } else {
                58
            }
        }
        _ => prng.next_u64() as u8,
    };
    Ends { from, to, from_port, to_port, protocol }
}

fn arp(prng: &mut Prng, ends: &Ends, mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1 + prng.below(2) as u8]);
    for ip in [ends.from, ends.to] {
        bytes.extend(random(prng, 6));
        match ip {
            IpAddr::V4(ip) => bytes.extend(ip.octets()),
            IpAddr::V6(ip) => bytes.extend(&ip.octets()[..4]),
        }
    }
    if one_in(prng, 4) {
        damage(prng, &mut bytes);
    }
    bytes
}

/// What IP carries.
fn upper(prng: &mut Prng, ends: &Ends, syn: bool, pool: &Pool) -> Vec<u8> {
    let mut bytes = Vec::new();
    match ends.protocol {
        6 => {
            bytes.extend(ends.from_port.to_be_bytes());
            bytes.extend(ends.to_port.to_be_bytes());
            bytes.extend(random(prng, 8));
            let flags =
                if syn { 0x02 } else { pick(prng, &[0x10, 0x18, 0x11, 0x04, 0x12, 0, 0x14]) };
            bytes.extend([0x50, flags]);
            bytes.extend(random(prng, 6));
        }
        17 => {
            bytes.extend(ends.from_port.to_be_bytes());
            bytes.extend(ends.to_port.to_be_bytes());
            bytes.extend(random(prng, 4));
        }
        1 | 58 => icmp(prng, ends, pool, &mut bytes),
        _ => {}
    }
    let more = prng.below(24) as usize;
    bytes.extend(random(prng, more));
    bytes
}

fn icmp(prng: &mut Prng, ends: &Ends, pool: &Pool, bytes: &mut Vec<u8>) {
    let kinds: &[u8] = if ends.protocol == 1 {
        &[0, 3, 4, 5, 8, 8, 11, 12]
    } else {
        &[1, 2, 3, 4, 128, 129, 135, 136]
    };
    let kind = if one_in(prng, 8) { prng.next_u64() as u8 } else { pick(prng, kinds) };
    bytes.extend([kind, 0]);
    bytes.extend(random(prng, 6));
    if matches!(kind, 135 | 136) {
        match pick(prng, &pool.vips) {
            IpAddr::V4(ip) => bytes.extend(ip.octets()),
            IpAddr::V6(ip) => bytes.extend(ip.octets()),
        }
        return;
    }
    let error = if ends.protocol == 1 { matches!(kind, 3 | 4 | 5 | 11 | 12) } else { kind < 5 };
    if error && !one_in(prng, 12) {
        // What one of the VIPs sent, or somebody else.
        let protocol = pick(prng, &[6, 6, 17, 17, ends.protocol, 47]);
        let (from, to) =
            (ends.to, if one_in(prng, 2) { ends.from } else { pick(prng, &pool.clients) });
        let to = if to.is_ipv4() == from.is_ipv4() { to } else { ends.from };
        let from = if one_in(prng, 10) { ends.from } else { from };
        let (from_port, to_port) = (ends.to_port, ends.from_port);
        let inner = Ends { from, to, from_port, to_port, protocol };
        let mut payload = inner.from_port.to_be_bytes().to_vec();
        payload.extend(inner.to_port.to_be_bytes());
        payload.extend(random(prng, 4));
        let mut packet = match from {
            IpAddr::V4(_) => v4(prng, &inner, payload),
            IpAddr::V6(_) => v6(prng, &inner, payload),
        };
        if one_in(prng, 3) {
            let keep = prng.below(packet.len() as u64 + 1) as usize;
            packet.truncate(keep);
        }
        bytes.extend(packet);
    }
}

fn v4(prng: &mut Prng, ends: &Ends, payload: Vec<u8>) -> Vec<u8> {
    let (IpAddr::V4(from), IpAddr::V4(to)) = (ends.from, ends.to) else {
        return payload;
    };
    let options = if one_in(prng, 5) { prng.below(11) as usize } else { 0 };
    let fragment: u16 = match prng.below(12) {
        0 => 0x2000,
        1 => 1 + prng.below(0x1fff) as u16,
        2 => 0x4000,
        _ => 0,
    };
    let total = 20 + options * 4 + payload.len();
    let mut bytes = vec![0x45 + options as u8, 0];
    bytes.extend((total as u16).to_be_bytes());
    bytes.extend(random(prng, 2));
    bytes.extend(fragment.to_be_bytes());
    bytes.extend([64, ends.protocol, 0, 0]);
    bytes.extend(from.octets());
    bytes.extend(to.octets());
    bytes.extend(random(prng, options * 4));
    bytes.extend(payload);
    bytes
}

fn v6(prng: &mut Prng, ends: &Ends, payload: Vec<u8>) -> Vec<u8> {
    let (IpAddr::V6(from), IpAddr::V6(to)) = (ends.from, ends.to) else {
        return payload;
    };
    let count = if one_in(prng, 3) { prng.below(11) as usize } else { 0 };
    let kinds: Vec<u8> = (0..count).map(|_| pick(prng, &[0, 43, 44, 51, 60, 60])).collect();
    let next = |at: usize| kinds.get(at).copied().unwrap_or(ends.protocol);
    let mut headers = Vec::new();
    for (at, &kind) in kinds.iter().enumerate() {
        let units = if one_in(prng, 3) { prng.below(4) as u8 } else { 0 };
        match kind {
            44 => {
                let offset: u16 = pick(prng, &[0, 0, 1, 8, 0x1231]);
                headers.extend([next(at + 1), units]);
                headers.extend(offset.to_be_bytes());
                headers.extend(random(prng, 4));
            }
            51 => {
                headers.extend([next(at + 1), units]);
                headers.extend(random(prng, 4 * (usize::from(units) + 2) - 2));
            }
            _ => {
                headers.extend([next(at + 1), units]);
                headers.extend(random(prng, 8 * (usize::from(units) + 1) - 2));
            }
        }
    }
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend(((headers.len() + payload.len()) as u16).to_be_bytes());
    bytes.extend([next(0), 64]);
    bytes.extend(from.octets());
    bytes.extend(to.octets());
    bytes.extend(headers);
    bytes.extend(payload);
    bytes
}

/// Cuts the frame, or changes some of its bytes.
fn damage(prng: &mut Prng, bytes: &mut Vec<u8>) {
    if one_in(prng, 2) {
        let keep = prng.below(bytes.len() as u64 + 1) as usize;
        bytes.truncate(keep);
    }
    if !bytes.is_empty() && one_in(prng, 2) {
        for _ in 0..=prng.below(3) {
            let at = prng.below(bytes.len() as u64) as usize;
            bytes[at] = prng.next_u64() as u8;
        }
    }
}

pub(crate) fn pick<T: Copy>(prng: &mut Prng, from: &[T]) -> T {
    from[prng.below(from.len() as u64) as usize]
}

pub(crate) fn one_in(prng: &mut Prng, n: u64) -> bool {
    prng.below(n) == 0
}

fn random(prng: &mut Prng, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend(prng.next_u64().to_ne_bytes());
    }
    bytes.truncate(len);
    bytes
}
