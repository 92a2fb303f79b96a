//! Frames for tests, from a seed: whole ones, odd ones, ones cut short and mangled ones.
//!
//! Whoever decides on frames in another way than [`Filter::decide`](crate::Filter::decide), as
//! the kernel's filter does, is held against it on as many of them as it likes.

mod packet;

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::IpAddr;

use ha_proto::Prng;

use crate::{Flow, Mac, Protocol, Rule, Setup};
use packet::{Ends, Packets};

/// Makes frames that matter to one filter: to its virtual addresses, ports and MACs, and beside
/// them. The same seed and the same setup give the same frames.
///
/// Of ten frames four are [`Made::Plain`], three [`Made::Odd`], two [`Made::Mangled`] and one is
/// [`Made::Cut`]. All checksums are zero: no filter reads them.
#[derive(Clone, Debug)]
pub struct Generator {
    prng: Prng,
    rules: Vec<Rule>,
    /// This node's, first, and the other members'.
    macs: Vec<Mac>,
    flows: Vec<Flow>,
    /// A frame that is cut at each place, one after the other, and the next place.
    swept: Vec<u8>,
    cut: usize,
}

/// What a [`Generator`] made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// A whole packet of this flow, to this node's MAC from a client, with nothing odd about it.
    /// To a rule's VIP and protocol; the port may be none of a rule's.
    Plain {
        /// Whose.
        flow: Flow,
        /// Of TCP: its flags, FIN the lowest; of UDP 0.
        flags: u8,
    },
    /// A packet of parts that are each allowed, put together at will: VLAN tags, IPv4 options,
    /// IPv6 extension headers, fragments, ICMP and its errors, ARP and neighbor discovery, other
    /// protocols, members' MACs, other destinations.
    Odd,
    /// One of those that ends early. A frame is cut at each place, from 0 bytes on, before the
    /// next one is.
    Cut,
    /// One of those in which some bytes say something else, mostly those that decide: versions,
    /// lengths, protocols, fragments.
    Mangled,
}

impl Generator {
    /// No frame is longer.
    pub const FRAME_MAX: usize = 1_024;
    /// How many flows may be given to [`Generator::with_flows`].
    pub const FLOWS_MAX: usize = 65_536;

    /// For the filter of this setup, whose rules [`Rule::check`] takes.
    ///
    /// # Panics
    /// If it has no rule.
    pub fn new(seed: u64, setup: &Setup) -> Self {
        assert!(!setup.rules.is_empty(), "frames to no VIP at all would test nothing");
        let own = setup.macs.get(&setup.me).copied().unwrap_or(STRANGER);
        let others = setup.macs.values().copied().filter(|mac| *mac != own);
        Self {
            prng: Prng::new(seed),
            rules: setup.rules.clone(),
            macs: core::iter::once(own).chain(others).collect(),
            flows: Vec::new(),
            swept: Vec::new(),
            cut: 0,
        }
    }

    /// A third of the packets shall be of these flows: connections that somebody has. They may be
    /// to any address.
    ///
    /// # Panics
    /// If these are more than [`Generator::FLOWS_MAX`], or one of them has two families.
    #[must_use]
    pub fn with_flows(mut self, flows: BTreeSet<Flow>) -> Self {
        assert!(flows.len() <= Self::FLOWS_MAX, "most of them would never get a frame");
        let mixed = |flow: &Flow| flow.client.is_ipv4() != flow.vip.is_ipv4();
        assert!(!flows.iter().any(mixed), "no packet has addresses of two families");
        self.flows = flows.into_iter().collect();
        self
    }

    /// Makes the next frame, in the place of what `frame` held.
    pub fn next(&mut self, frame: &mut Vec<u8>) -> Made {
        frame.clear();
        let made = match self.prng.below(10) {
            0..=3 => self.plain(frame),
            4..=6 => self.odd(frame),
            7 => self.cut(frame),
            _ => self.mangled(frame),
        };
        assert!(frame.len() <= Self::FRAME_MAX, "a reader's buffer would be too short");
        made
    }

    fn plain(&mut self, frame: &mut Vec<u8>) -> Made {
        let flow = self.flow();
        frame.extend(self.macs[0].0);
        frame.extend(STRANGER.0);
        let ends = Ends::of(&flow);
        let flags = Packets { prng: &mut self.prng, rules: &self.rules }.plain(&ends, frame);
        self.pad(frame);
        Made::Plain { flow, flags }
    }

    fn odd(&mut self, frame: &mut Vec<u8>) -> Made {
        for side in 0..2 {
            let mac = match self.prng.below(8) {
                0 => random_mac(&mut self.prng),
                1 | 2 => pick(&mut self.prng, &self.macs),
                _ if side == 0 => self.macs[0],
                _ => STRANGER,
            };
            frame.extend(mac.0);
        }
        let tags = pick(&mut self.prng, &[0, 0, 0, 0, 1, 1, 2, 3]);
        for _ in 0..tags {
            frame.extend(pick(&mut self.prng, &[[0x81, 0], [0x88, 0xa8]]));
            frame.extend((self.prng.next_u64() as u16).to_be_bytes());
        }
        let flow = self.flow();
        let mut packets = Packets { prng: &mut self.prng, rules: &self.rules };
        packets.odd(&Ends::of(&flow), frame);
        self.pad(frame);
        Made::Odd
    }

    fn either(&mut self, frame: &mut Vec<u8>) {
        if self.prng.below(3) == 0 {
            self.plain(frame)
        } else {
            self.odd(frame)
        };
    }

    fn cut(&mut self, frame: &mut Vec<u8>) -> Made {
        if self.cut == self.swept.len() {
            let mut next = core::mem::take(&mut self.swept);
            next.clear();
            self.either(&mut next);
            (self.swept, self.cut) = (next, 0);
        }
        frame.extend(&self.swept[..self.cut]);
        self.cut += 1;
        Made::Cut
    }

    fn mangled(&mut self, frame: &mut Vec<u8>) -> Made {
        self.either(frame);
        for _ in 0..=self.prng.below(3) {
            packet::mangle(&mut self.prng, frame);
        }
        if self.prng.below(4) == 0 {
            frame.truncate(self.prng.below(frame.len() as u64 + 1) as usize);
        }
        Made::Mangled
    }

    /// Whose the next packet is.
    fn flow(&mut self) -> Flow {
        let prng = &mut self.prng;
        if !self.flows.is_empty() && prng.below(3) == 0 {
            return pick(prng, &self.flows);
        }
        let at = prng.below(self.rules.len() as u64) as usize;
        let Rule { vip, ports, protocol, on: _ } = &self.rules[at];
        let (first, last) = (*ports.start(), *ports.end());
        let port = match prng.below(8) {
            0 => prng.next_u64() as u16,
            1 => pick(prng, &[first.wrapping_sub(1), last.wrapping_add(1), 0, u16::MAX]),
            2 | 3 => pick(prng, &[first, last]),
            _ => first + prng.below(u64::from(last - first) + 1) as u16,
        };
        let client = random_client(prng, vip.is_ipv4());
        let client_port = prng.next_u64() as u16;
        Flow { protocol: *protocol, client, client_port, vip: *vip, port }
    }

    /// Adds what Ethernet adds to a short frame, sometimes, or more.
    fn pad(&mut self, frame: &mut Vec<u8>) {
        let len = match self.prng.below(4) {
            0 => ETHERNET_MIN.max(frame.len()),
            1 => frame.len() + self.prng.below(40) as usize,
            _ => frame.len(),
        };
        let behind = frame.len();
        frame.resize(len, 0);
        self.prng.fill(&mut frame[behind..]);
    }
}

/// Whom clients' frames come from: a router.
const STRANGER: Mac = Mac([0x5a, 0xff, 0, 0, 0, 1]);
/// Without the checksum behind the frame.
const ETHERNET_MIN: usize = 60;

fn pick<T: Copy>(prng: &mut Prng, from: &[T]) -> T {
    from[prng.below(from.len() as u64) as usize]
}

fn random_mac(prng: &mut Prng) -> Mac {
    let mut mac = [0; 6];
    prng.fill(&mut mac);
    Mac(mac)
}

/// One of a regular plan of addresses, or anybody.
fn random_client(prng: &mut Prng, v4: bool) -> IpAddr {
    let number = prng.below(4_096) as u16;
    let [high, low] = number.to_be_bytes();
    match (v4, prng.below(2) == 0) {
        (true, true) => IpAddr::from([10, high, low, 1]),
        (true, false) => IpAddr::from((prng.next_u64() as u32).to_be_bytes()),
        (false, true) => IpAddr::from([0x2001, 0xdb8, 0, number, 0, 0, 0, 1]),
        (false, false) => {
            let mut bytes = [0; 16];
            prng.fill(&mut bytes);
            IpAddr::from(bytes)
        }
    }
}

/// Bytes of a generator.
trait Fill {
    fn fill(&mut self, bytes: &mut [u8]);
}

impl Fill for Prng {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

const fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    }
}
