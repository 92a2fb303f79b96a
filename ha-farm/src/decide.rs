//! The decision on one frame: which bucket, and whether this node takes it.

use core::net::IpAddr;

use ha_proto::NodeId;

use crate::hash::Key;
use crate::packet::{self, Ether, Packet, What};
use crate::{
    Filter, Flow, HashOn, Mode, Nodes, Protocol, Reason, Rule, Sockets, Uncovered, Verdict,
};

/// A verdict, and which bucket it is about: for statistics by rule and owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What happens to the frame.
    pub verdict: Verdict,
    /// Whose bucket it is, unless the frame got into none.
    pub place: Option<Place>,
}

/// A bucket of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The service: the place of its rule.
    pub service: u8,
    /// The bucket of its table.
    pub bucket: u16,
}

/// A rule as the decision reads it; `N` bytes are an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service<const N: usize> {
    vip: [u8; N],
    first: u16,
    last: u16,
    protocol: Protocol,
    on: HashOn,
    number: u8,
}

impl<const N: usize> Service<N> {
    pub(crate) fn new(vip: [u8; N], rule: &Rule, number: usize) -> Self {
        let (first, last) = (*rule.ports.start(), *rule.ports.end());
        Self { vip, first, last, protocol: rule.protocol, on: rule.on, number: number as u8 }
    }

    /// What of this packet chooses the bucket.
    #[inline]
    fn key(&self, packet: &Packet<N>, port: Option<u16>) -> Result<Key, Reason> {
        let unmapped = if packet.embedded { Reason::Embedded } else { Reason::Fragment };
        match (self.on, port) {
            (HashOn::Addr, _) => Ok(Key::address(&packet.client)),
            (HashOn::AddrPort, Some(port)) => Ok(Key::address_and_port(&packet.client, port)),
            (HashOn::AddrPort, None) => match self.protocol {
                Protocol::Udp if !packet.embedded => Ok(Key::address(&packet.client)),
                Protocol::Udp | Protocol::Tcp => Err(unmapped),
            },
            (HashOn::Net { v4, v6 }, _) => {
                Ok(Key::network(&packet.client, if N == 4 { v4 } else { v6 }))
            }
            (HashOn::IpId, _) => match packet.id {
                Some(id) => Ok(Key::ip_id(id)),
                None if N == 16 => Ok(Key::address(&packet.client)),
                None => Err(unmapped),
            },
        }
    }
}

/// What the decision on a bucket asks of a packet.
struct Asked {
    protocol: Option<Protocol>,
    /// Its connection, if its ports are known.
    flow: Option<Flow>,
    syn: bool,
}

impl Asked {
    fn is_live(&self, sockets: &impl Sockets) -> bool {
        self.flow.is_some_and(|flow| sockets.live(&flow))
    }
}

impl Filter {
    /// What happens to this frame, Ethernet header first. Any bytes get a verdict; nothing is
    /// allocated. `open` says whether the lease runs (F5).
    ///
    /// In this order:
    /// 1. Up to two VLAN tags are skipped. What is neither ARP nor IP, or ends inside of the IP
    ///    header, passes.
    /// 2. ARP for a VIP, and neighbor discovery about one, is [`Verdict::Neighbour`]. What is to
    ///    no VIP passes.
    /// 3. Without the lease the rest is dropped; in mode directed also what is not to this node's
    ///    MAC.
    /// 4. The packet is parsed: whole headers, as long as the IP header says (checksums are for
    ///    the owner's kernel). ICMP errors count as the packet embedded in them, which must be
    ///    from the same VIP.
    /// 5. The first rule for address, protocol and port is its service. Fragments go to the first
    ///    for address and protocol, by addresses alone (F10); echo requests and fragments of ICMP
    ///    to the first for the address, by the client's address. Where no rule covers it, the
    ///    filter's [`Uncovered`] decides.
    /// 6. An owner takes its bucket once F2 allows. While it drains (F8) this node takes, of TCP,
    ///    a SYN without ACK if it is the owner, and what it has a live socket for if it is or was
    ///    the owner; a SYN to a connection of a previous owner ends that one's claim. UDP and
    ///    echoes are the owner's at once.
    /// 7. In mode directed, a frame from no member is handed to the owner, and while the bucket
    ///    drains to the previous owners (F9).
    pub fn decide(&self, frame: &[u8], open: bool, sockets: &mut impl Sockets) -> Verdict {
        self.examine(frame, open, sockets).verdict
    }

    /// As [`Filter::decide`], with the bucket.
    pub fn examine(&self, frame: &[u8], open: bool, sockets: &mut impl Sockets) -> Decision {
        match packet::ether(frame) {
            Ether::V4(bytes) => match packet::v4_destination(bytes) {
                Some(vip) if is_vip(&self.v4, vip) => {
                    let parse = || packet::v4(bytes, vip);
                    self.to_vip(frame, open, &self.v4, vip, parse, sockets)
                }
                Some(_) | None => Verdict::Pass.nowhere(),
            },
            Ether::V6(bytes) => match packet::v6_destination(bytes) {
                Some(_) if packet::nd_target(bytes).is_some_and(|vip| is_vip(&self.v6, vip)) => {
                    Verdict::Neighbour.nowhere()
                }
                Some(vip) if is_vip(&self.v6, vip) => {
                    let parse = || packet::v6(bytes, vip);
                    self.to_vip(frame, open, &self.v6, vip, parse, sockets)
                }
                Some(_) | None => Verdict::Pass.nowhere(),
            },
            Ether::Arp(bytes) => match packet::arp_target(bytes) {
                Some(vip) if is_vip(&self.v4, vip) => Verdict::Neighbour.nowhere(),
                Some(_) | None => Verdict::Pass.nowhere(),
            },
            Ether::Other => Verdict::Pass.nowhere(),
        }
    }

    #[inline]
    fn to_vip<const N: usize>(
        &self,
        frame: &[u8],
        open: bool,
        services: &[Service<N>],
        vip: [u8; N],
        parse: impl FnOnce() -> Result<Packet<N>, Reason>,
        sockets: &mut impl Sockets,
    ) -> Decision
    where
        IpAddr: From<[u8; N]>,
    {
        if !open {
            return Verdict::Drop(Reason::Closed).nowhere();
        }
        let directed = match self.setup().mode {
            Mode::Invisible => false,
            Mode::Directed => true,
        };
        if directed && self.mac.is_none_or(|mac| !frame.starts_with(&mac.0)) {
            return Verdict::Drop(Reason::Elsewhere).nowhere();
        }
        let packet = match parse() {
            Ok(packet) => packet,
            Err(reason) => return Verdict::Drop(reason).nowhere(),
        };
        let (number, key) = match find(services, vip, &packet) {
            Ok(Some(found)) => found,
            Ok(None) => return self.uncovered(),
            Err(reason) => return Verdict::Drop(reason).nowhere(),
        };
        let words = self.words(usize::from(number));
        let bucket = self.setup().hash.bucket(key, words.len());
        let mine = self.judge(words[bucket], &asked(vip, &packet), sockets);
        let client = directed && !self.is_member(frame);
        let verdict = if client { self.hand_on(words[bucket], mine) } else { own(mine) };
        Decision { verdict, place: Some(Place { service: number, bucket: bucket as u16 }) }
    }

    fn uncovered(&self) -> Decision {
        match self.setup().uncovered {
            Uncovered::Deny => Verdict::Drop(Reason::Uncovered).nowhere(),
            Uncovered::Pass => Verdict::Pass.nowhere(),
        }
    }

    /// Whether this node takes a packet of this bucket (F8).
    #[inline]
    fn judge(&self, word: u32, asked: &Asked, sockets: &mut impl Sockets) -> Result<(), Reason> {
        let [owner, last, before, _] = word.to_le_bytes();
        let me = self.setup().me.as_u8();
        let (takes, drains) = (word & Self::TAKE != 0, word & Self::DRAIN != 0);
        let tcp = asked.protocol == Some(Protocol::Tcp);
        if owner == me {
            let not_taken = if takes { Reason::NoSocket } else { Reason::NotYet };
            let whole = takes && (!drains || !tcp || asked.syn);
            let kept = !whole && drains && tcp && !asked.syn && asked.is_live(sockets);
            return if whole || kept { Ok(()) } else { Err(not_taken) };
        }
        let others = if owner == Self::NONE { Reason::Nobody } else { Reason::NotMine };
        if !drains || !tcp || (last != me && before != me) || !asked.is_live(sockets) {
            return Err(others);
        }
        match asked.flow {
            Some(flow) if asked.syn => {
                sockets.release(&flow);
                Err(Reason::Released)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// F9: what this node got from a client goes to whoever may take it.
    fn hand_on(&self, word: u32, mine: Result<(), Reason>) -> Verdict {
        let [owner, last, before, _] = word.to_le_bytes();
        let previous = if word & Self::DRAIN == 0 { [Self::NONE; 2] } else { [last, before] };
        let mut to = Nodes::EMPTY;
        for node in [owner, previous[0], previous[1]].into_iter().filter_map(NodeId::new) {
            if node != self.setup().me {
                to.push(node);
            }
        }
        if to.is_empty() { own(mine) } else { Verdict::Forward { to, accept: mine.is_ok() } }
    }
}

impl Verdict {
    const fn nowhere(self) -> Decision {
        Decision { verdict: self, place: None }
    }
}

fn own(mine: Result<(), Reason>) -> Verdict {
    match mine {
        Ok(()) => Verdict::Accept,
        Err(reason) => Verdict::Drop(reason),
    }
}

#[inline]
fn is_vip<const N: usize>(services: &[Service<N>], address: [u8; N]) -> bool {
    services.iter().any(|service| service.vip == address)
}

/// The service of this packet, and what chooses its bucket there.
#[inline]
fn find<const N: usize>(
    services: &[Service<N>],
    vip: [u8; N],
    packet: &Packet<N>,
) -> Result<Option<(u8, Key)>, Reason> {
    let mut of_vip = services.iter().filter(|service| service.vip == vip);
    let (service, port) = match packet.what {
        What::Ports { protocol, client_port, port, syn: _ } => {
            let covers = |service: &&Service<N>| {
                service.protocol == protocol && service.first <= port && port <= service.last
            };
            (of_vip.find(covers), Some(client_port))
        }
        What::Portless(protocol) => (of_vip.find(|service| service.protocol == protocol), None),
        What::Echo => {
            let first = of_vip.next();
            return Ok(first.map(|first| (first.number, Key::address(&packet.client))));
        }
        What::Other => (None, None),
    };
    service.map(|found| Ok((found.number, found.key(packet, port)?))).transpose()
}

#[inline]
fn asked<const N: usize>(vip: [u8; N], packet: &Packet<N>) -> Asked
where
    IpAddr: From<[u8; N]>,
{
    match packet.what {
        What::Ports { protocol, client_port, port, syn } => {
            let (client, vip) = (packet.client.into(), vip.into());
            let flow = Some(Flow { protocol, client, client_port, vip, port });
            Asked { protocol: Some(protocol), flow, syn }
        }
        What::Portless(protocol) => Asked { protocol: Some(protocol), flow: None, syn: false },
        What::Echo | What::Other => Asked { protocol: None, flow: None, syn: false },
    }
}
