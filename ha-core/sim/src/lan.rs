//! The network of the clients: who is heard there, and whom their caches name.

use core::net::IpAddr;

use ha_proto::Prng;
use ha_vip::{Address, Frame, InterfaceId, Mac, Sighting, claim};

use crate::network::{Channel, Network, Site};

/// How many virtual addresses a module has here: one of IPv4 and one of IPv6.
pub const IPS: usize = 2;

/// Whoever sends frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Card {
    /// Node 0 or 1.
    Node(usize),
    /// Somebody who has no business with the addresses, beside the clients.
    Stranger,
}

/// A frame on its way.
#[derive(Clone, Debug)]
pub struct Flight {
    /// Who sent it.
    pub from: Card,
    /// To which node alone, if it is not for all.
    pub to: Option<usize>,
    /// Its bytes.
    pub frame: Frame,
}

/// The network that the clients share with both nodes: the first one between these.
#[derive(Debug)]
pub struct Lan {
    /// At which node's end the clients are: a cut leaves them with it.
    pub side: usize,
    /// Whom the clients' caches name for each address. What they name they ask for no more: an
    /// entry lives for ever, and only a claim changes it (`FIELD.md` row 1).
    pub cached: [Option<Card>; IPS],
    /// Whether that is a stranger whom a node could not hear, for each node: if it is that one's
    /// address, only the refresh mends it.
    pub unheard: [[bool; 2]; IPS],
    /// Whether each node hears its peer over this network, as it was told last.
    pub hears: [bool; 2],
    /// Until when strangers have each address, true nanoseconds.
    pub strangers: [u64; IPS],
    prng: Prng,
    frames: Vec<Option<Flight>>,
    free: Vec<usize>,
}

impl Card {
    /// Its hardware address.
    pub fn mac(self) -> Mac {
        let last = match self {
            Self::Node(node) => node as u8,
            Self::Stranger => 0xff,
        };
        Mac([2, 0, 0, 0, 0, last])
    }

    /// Whose hardware address it is.
    pub fn of(mac: Mac) -> Option<Self> {
        [Self::Node(0), Self::Node(1), Self::Stranger].into_iter().find(|card| card.mac() == mac)
    }
}

impl Lan {
    /// A network on which nobody was heard yet. It draws from a seed of its own: what it draws
    /// makes no other history of a seed.
    pub fn new(seed: u64) -> Self {
        let mut prng = Prng::new(seed ^ 0x006c_616e);
        Self {
            side: prng.below(2) as usize,
            cached: [None; IPS],
            unheard: [[false; 2]; IPS],
            hears: [false; 2],
            strangers: [0; IPS],
            prng,
            frames: Vec::new(),
            free: Vec::new(),
        }
    }

    /// The addresses of a module.
    pub fn addresses() -> [Address; IPS] {
        let ips: [(IpAddr, u8); IPS] = [
            (IpAddr::from([192, 0, 2, 10]), 24),
            (IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10]), 64),
        ];
        ips.map(|(ip, prefix)| Address { ip, prefix, interface: InterfaceId(0) })
    }

    /// Which of the addresses it is.
    pub fn place(ip: IpAddr) -> Option<usize> {
        Self::addresses().iter().position(|address| address.ip == ip)
    }

    /// Whose claim a frame is, of which of the addresses.
    pub fn claim(frame: &Frame) -> Option<(Card, usize, Sighting)> {
        let sighting = claim(frame.as_bytes())?;
        let card = Card::of(sighting.mac).expect("nobody else sends");
        Some((card, Self::place(sighting.ip)?, sighting))
    }

    /// Something that happens to one in a million, `chance` times as often.
    pub fn chance(&mut self, chance: u32) -> bool {
        self.prng.chance(chance)
    }

    /// Puts a frame on its way: its slot, and how long it takes.
    pub fn post(&mut self, flight: Flight) -> (usize, u64) {
        let takes = 20_000 + self.prng.below(100_000);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.frames.push(None);
            self.frames.len() - 1
        });
        self.frames[slot] = Some(flight);
        (slot, takes)
    }

    /// Takes a frame that arrives.
    pub fn take(&mut self, slot: usize) -> Flight {
        self.free.push(slot);
        self.frames[slot].take().expect("a frame arrives once")
    }

    /// Whether the clients hear what `from` sends.
    pub fn clients_hear(&self, network: &Network, from: Card) -> bool {
        match from {
            Card::Stranger => true,
            Card::Node(node) => node == self.side || carries(network, node),
        }
    }

    /// Whether `node` hears what `from` sends. A node does not hear itself.
    pub fn node_hears(&self, network: &Network, from: Card, node: usize) -> bool {
        match from {
            Card::Node(from) => from != node && carries(network, from),
            Card::Stranger => node == self.side || carries(network, 1 - node),
        }
    }
}

/// Whether the first network carries what `from` sends to the other node's end.
fn carries(network: &Network, from: usize) -> bool {
    let (from, to) = (Site::Node(from), Site::Node(1 - from));
    network.carries(Channel::between(from, to, ha_proto::LinkId(0)))
}
