//! What is behind the MACs of a generated frame.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ha_proto::Prng;

use super::{Fill, pick, protocol_number, random_client};
use crate::{Flow, Rule};

/// The ends of a packet, as it travels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    from: IpAddr,
    to: IpAddr,
    from_port: u16,
    to_port: u16,
    protocol: u8,
}

/// Makes packets, ethertype first.
pub(super) struct Packets<'a> {
    pub(super) prng: &'a mut Prng,
    pub(super) rules: &'a [Rule],
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;
const SYN: u8 = 0x02;

/// FIN, SYN, RST, PSH, ACK, URG, ECE and CWR as they are seen together, and some that never are.
const FLAGS: [u8; 12] =
    [SYN, SYN, 0xc2, 0x12, 0x10, 0x10, 0x18, 0x11, 0x04, 0x14, SYN | 0x01, 0x00];
/// Hop-by-hop, routing, fragment, authentication, destination.
const EXTENSIONS: [u8; 5] = [0, 43, 44, 51, 60];
/// Two more than are followed.
const EXTENSIONS_MAX: u64 = 10;

impl Ends {
    pub(super) fn of(flow: &Flow) -> Self {
        let &Flow { protocol, client, client_port, vip, port } = flow;
        let protocol = protocol_number(protocol);
        Self { from: client, to: vip, from_port: client_port, to_port: port, protocol }
    }

    /// Of the answer.
    fn reversed(self) -> Self {
        let Self { from, to, from_port, to_port, protocol } = self;
        Self { from: to, to: from, from_port: to_port, to_port: from_port, protocol }
    }

    const fn icmp(&self) -> u8 {
        if self.to.is_ipv4() { ICMP } else { ICMP_V6 }
    }
}

impl Packets<'_> {
    /// A whole packet without anything odd; gives its flags, if it is of TCP.
    pub(super) fn plain(&mut self, ends: &Ends, frame: &mut Vec<u8>) -> u8 {
        frame.extend(ethertype(ends.to).to_be_bytes());
        let flags = if ends.protocol == TCP { pick(self.prng, &FLAGS) } else { 0 };
        let at = frame.len();
        match (ends.from, ends.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => self.v4_header(from, to, ends.protocol, 0, frame),
            (IpAddr::V6(from), IpAddr::V6(to)) => v6_header(from, to, ends.protocol, frame),
            (IpAddr::V4(_) | IpAddr::V6(_), _) => unreachable!("a flow has one family"),
        }
        self.upper(ends, flags, frame);
        close(ends.to, at, frame);
        flags
    }

    /// Any packet of allowed parts.
    pub(super) fn odd(&mut self, ends: &Ends, frame: &mut Vec<u8>) {
        let mut ends = *ends;
        match self.prng.below(16) {
            0 => return self.arp(&ends, frame),
            1 => ends.to = random_client(self.prng, ends.to.is_ipv4()),
            2 => ends.from = random_client(self.prng, ends.to.is_ipv4()),
            _ => {}
        }
        match self.prng.below(8) {
            0 => ends.protocol = self.prng.next_u64() as u8,
            1..=3 => ends.protocol = ends.icmp(),
            4 => ends.protocol = pick(self.prng, &[TCP, UDP]),
            _ => {}
        }
        frame.extend(ethertype(ends.to).to_be_bytes());
        self.ip(&ends, true, frame);
    }

    /// A packet of IP with what IP knows; `outer` if no other packet holds it.
    fn ip(&mut self, ends: &Ends, outer: bool, frame: &mut Vec<u8>) {
        let at = frame.len();
        match (ends.from, ends.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let options = if self.prng.below(4) == 0 { self.prng.below(11) as u8 } else { 0 };
                self.v4_header(from, to, ends.protocol, options, frame);
                let offset = 1 + self.prng.below(0x1fff) as u16;
                let fragment = match self.prng.below(12) {
                    0 | 1 => 0x2000, // The first one.
                    2 => 0x2000 | offset,
                    3 => offset, // The last one.
                    4 => 0x4000, // Not to be fragmented.
                    5 => 0x8000, // Reserved.
                    _ => 0,
                };
                frame[at + 6..at + 8].copy_from_slice(&u16::to_be_bytes(fragment));
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                v6_header(from, to, ends.protocol, frame);
                self.extensions(at + 6, ends.protocol, frame);
            }
            (IpAddr::V4(_) | IpAddr::V6(_), _) => unreachable!("an odd packet keeps the family"),
        }
        match ends.protocol {
            protocol if protocol == ends.icmp() => self.icmp(ends, outer, frame),
            _ => {
                let flags = match self.prng.below(8) {
                    0 => self.prng.next_u64() as u8,
                    _ => pick(self.prng, &FLAGS),
                };
                self.upper(ends, flags, frame);
            }
        }
        close(ends.to, at, frame);
    }

    /// A header of IPv4 with so many words of options; [`close`] writes its length.
    fn v4_header(
        &mut self,
        from: Ipv4Addr,
        to: Ipv4Addr,
        protocol: u8,
        options: u8,
        frame: &mut Vec<u8>,
    ) {
        assert!(options <= 10, "the header's length would not fit its four bits");
        frame.extend([0x45 + options, 0, 0, 0]);
        frame.extend((self.prng.next_u64() as u16).to_be_bytes());
        frame.extend([0, 0, 64, protocol, 0, 0]);
        frame.extend(from.octets());
        frame.extend(to.octets());
        self.bytes(4 * usize::from(options), frame);
    }

    /// Up to [`EXTENSIONS_MAX`] extension headers; the byte at `next` names the first.
    fn extensions(&mut self, mut next: usize, protocol: u8, frame: &mut Vec<u8>) {
        let most = pick(self.prng, &[0, 0, 1, 2, EXTENSIONS_MAX]);
        for _ in 0..self.prng.below(most + 1) {
            let kind = pick(self.prng, &EXTENSIONS);
            let units = pick(self.prng, &[0, 0, 0, 1, 2]);
            frame[next] = kind;
            next = frame.len();
            frame.extend([protocol, units as u8]);
            match kind {
                44 => {
                    let more = self.prng.below(2) as u16;
                    let later = 8 * (1 + self.prng.below(0x1fff)) as u16;
                    let offset = pick(self.prng, &[0, 0, 6, more, later | more]);
                    frame.extend(offset.to_be_bytes());
                    self.bytes(4, frame);
                }
                51 => self.bytes(4 * (units + 2) - 2, frame),
                _ => self.bytes(8 * (units + 1) - 2, frame),
            }
        }
    }

    /// TCP, UDP or bytes of something else.
    fn upper(&mut self, ends: &Ends, flags: u8, frame: &mut Vec<u8>) {
        let at = frame.len();
        if matches!(ends.protocol, TCP | UDP) {
            frame.extend(ends.from_port.to_be_bytes());
            frame.extend(ends.to_port.to_be_bytes());
        }
        match ends.protocol {
            TCP => {
                self.bytes(8, frame);
                frame.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
            }
            UDP => frame.extend([0; 4]),
            _ => {}
        }
        let payload = self.prng.below(24) as usize;
        self.bytes(payload, frame);
        if ends.protocol == UDP {
            let len = (frame.len() - at) as u16;
            frame[at + 4..at + 6].copy_from_slice(&len.to_be_bytes());
        }
    }

    /// ICMP of either family: echo, neighbor discovery, errors and what nobody knows.
    fn icmp(&mut self, ends: &Ends, outer: bool, frame: &mut Vec<u8>) {
        let v4 = ends.to.is_ipv4();
        let kinds: &[u8] =
            if v4 { &[0, 3, 3, 4, 5, 8, 8, 11, 12] } else { &[1, 2, 3, 4, 128, 129, 135, 136] };
        let kind = match self.prng.below(12) {
            0 => self.prng.next_u64() as u8,
            _ => pick(self.prng, kinds),
        };
        frame.extend([kind, self.prng.below(5) as u8, 0, 0]);
        self.bytes(4, frame);
        match (v4, kind) {
            (true, 3 | 4 | 5 | 11 | 12) | (false, 1..=4) if outer => self.embedded(ends, frame),
            (false, 135 | 136) => match self.some_address(false) {
                IpAddr::V6(target) => frame.extend(target.octets()),
                IpAddr::V4(_) => unreachable!("it was asked for one of IPv6"),
            },
            _ => {
                let payload = self.prng.below(24) as usize;
                self.bytes(payload, frame);
            }
        }
    }

    /// What an error is about: mostly an answer of this VIP's, often cut short.
    fn embedded(&mut self, ends: &Ends, frame: &mut Vec<u8>) {
        let mut inner = ends.reversed();
        inner.protocol = pick(self.prng, &[TCP, TCP, UDP, UDP, ends.icmp(), 47]);
        match self.prng.below(8) {
            0 => inner.from = self.some_address(ends.to.is_ipv4()),
            1..=4 => inner.to = random_client(self.prng, ends.to.is_ipv4()),
            _ => {}
        }
        let at = frame.len();
        self.ip(&inner, false, frame);
        if self.prng.below(3) == 0 {
            let len = (frame.len() - at) as u64;
            frame.truncate(at + self.prng.below(len + 1) as usize);
        }
    }

    /// A request or an answer, of Ethernet and IPv4.
    fn arp(&mut self, ends: &Ends, frame: &mut Vec<u8>) {
        frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, pick(self.prng, &[1, 1, 2])]);
        let v4 = |address| match address {
            IpAddr::V4(address) => address,
            IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        };
        self.bytes(6, frame);
        frame.extend(v4(ends.from).octets());
        self.bytes(6, frame);
        frame.extend(v4(self.some_address(true)).octets());
    }

    /// A VIP if there is one of this family, sometimes anybody's.
    fn some_address(&mut self, v4: bool) -> IpAddr {
        let mut vips = self.rules.iter().map(|rule| rule.vip).filter(|vip| vip.is_ipv4() == v4);
        let among = vips.clone().count() as u64;
        if among == 0 || self.prng.below(4) == 0 {
            return random_client(self.prng, v4);
        }
        vips.nth(self.prng.below(among) as usize).expect("it is below their number")
    }

    fn bytes(&mut self, len: usize, frame: &mut Vec<u8>) {
        let at = frame.len();
        frame.resize(at + len, 0);
        self.prng.fill(&mut frame[at..]);
    }
}

/// Writes another value where a frame decides, or anywhere.
pub(super) fn mangle(prng: &mut Prng, frame: &mut [u8]) {
    // Where IP begins, if no tag is before it.
    let ip = 14;
    let at = match prng.below(12) {
        0 => 12 + prng.below(2) as usize,           // Ethertype.
        1 | 2 => ip,                                // Version and length of the header.
        3 | 4 => ip + 2 + prng.below(4) as usize,   // Lengths of IPv4 and IPv6.
        5 => ip + 6 + prng.below(2) as usize,       // Fragment of IPv4, next header of IPv6.
        6 => ip + 9,                                // Protocol of IPv4.
        7 => ip + 20 + prng.below(24) as usize,     // Behind IPv4.
        8 | 9 => ip + 40 + prng.below(48) as usize, // Behind IPv6.
        _ => prng.below(frame.len() as u64) as usize,
    };
    let Some(byte) = frame.get_mut(at) else { return };
    *byte = match prng.below(6) {
        0 => byte.wrapping_add(1),
        1 => byte.wrapping_sub(1),
        2 => *byte ^ 1 << prng.below(8),
        3 => pick(prng, &EXTENSIONS),
        4 => pick(prng, &[0, 0x40, 0x44, 0x46, 0x4f, 0x54, 0x60, 0xff]),
        _ => prng.next_u64() as u8,
    };
}

fn ethertype(to: IpAddr) -> u16 {
    if to.is_ipv4() { 0x0800 } else { 0x86dd }
}

/// A header of IPv6; [`close`] writes its length.
fn v6_header(from: Ipv6Addr, to: Ipv6Addr, next: u8, frame: &mut Vec<u8>) {
    frame.extend([0x60, 0, 0, 0, 0, 0, next, 64]);
    frame.extend(from.octets());
    frame.extend(to.octets());
}

/// Writes the length of the packet that began at `at` and ends here.
fn close(to: IpAddr, at: usize, frame: &mut [u8]) {
    let len = frame.len() - at;
    let (field, len) = match to {
        IpAddr::V4(_) => (at + 2, len),
        IpAddr::V6(_) => (at + 4, len - 40),
    };
    assert!(
        len <= super::Generator::FRAME_MAX,
        "the packet would say a shorter length than it has"
    );
    frame[field..field + 2].copy_from_slice(&(len as u16).to_be_bytes());
}
