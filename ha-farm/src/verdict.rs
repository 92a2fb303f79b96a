//! What the filter says of a frame, and what it asks.

use core::net::IpAddr;

use ha_proto::NodeId;

use crate::Protocol;

/// What happens to a frame. Small, and copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not the farm's: the kernel goes on as if there were no filter.
    Pass,
    /// ARP or neighbor discovery about a VIP: kept from the kernel, which would answer with its
    /// own MAC. The daemon answers, if it is to (F9).
    Neighbour,
    /// This node takes it.
    Accept,
    /// Dropped, and counted under this reason.
    Drop(Reason),
    /// Handed on (mode directed): a copy to each of these nodes, with both MACs rewritten.
    Forward {
        /// To whom; never empty, never this node.
        to: Nodes,
        /// Whether this node takes it too.
        accept: bool,
    },
}

/// Up to three nodes, in the order in which they are handed a frame: the owner first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nodes([u8; Self::MAX]);

/// Why a frame is dropped; each is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The lease does not run (F5).
    Closed,
    /// Another member's bucket.
    NotMine,
    /// This node's bucket by the table, but it may not take it yet (F2).
    NotYet,
    /// Nobody's bucket: every weight is 0.
    Nobody,
    /// The bucket drains, and this node has no live socket for the packet (F8): whoever has it
    /// takes the packet.
    NoSocket,
    /// A client began anew with the 4-tuple of a connection that this previous owner had: its
    /// claim ends (F8), the owner takes the packet.
    Released,
    /// No rule covers it.
    Uncovered,
    /// Mode directed: the frame is to another MAC than this node's.
    Elsewhere,
    /// A header contradicts itself.
    Malformed,
    /// The frame ends inside a header that decides.
    Truncated,
    /// More extension headers than are followed.
    Headers,
    /// A fragment that cannot be mapped (F10): of TCP under a rule that hashes ports, or behind a
    /// header that only the first fragment has.
    Fragment,
    /// An ICMP error whose embedded packet cannot be mapped.
    Embedded,
}

/// A connection, or what UDP has in its place, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// The protocol.
    pub protocol: Protocol,
    /// The client's address.
    pub client: IpAddr,
    /// The client's port.
    pub client_port: u16,
    /// The virtual address.
    pub vip: IpAddr,
    /// The service's port.
    pub port: u16,
}

/// What the filter asks of its node's sockets; only for TCP, and only while a bucket drains.
pub trait Sockets {
    /// Whether there is a live socket of this very 4-tuple: `ESTABLISHED` to `LAST_ACK` or a
    /// request socket, never `LISTEN` or `TIME_WAIT`; and none that was released.
    fn live(&self, flow: &Flow) -> bool;

    /// This node's claim to `flow` ends (F8): from now on it is not live.
    fn release(&mut self, flow: &Flow);

    /// This node, the owner, takes a SYN of `flow`: what it released of it before counts no more,
    /// for the connection is a new one.
    fn claim(&mut self, _flow: &Flow) {}
}

/// Of which no flow is live: for a packet that is a client's first, and where only its bucket is
/// wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSockets;

impl Sockets for NoSockets {
    fn live(&self, _flow: &Flow) -> bool {
        false
    }

    fn release(&mut self, _flow: &Flow) {}
}

impl Nodes {
    /// An owner and two previous ones.
    pub const MAX: usize = 3;
    const NONE: u8 = 0xff;

    /// No node yet.
    pub(crate) const EMPTY: Self = Self([Self::NONE; Self::MAX]);

    /// Adds one behind the others.
    pub(crate) fn push(&mut self, node: NodeId) {
        assert!(!self.contains(node), "a node would be handed one frame twice");
        let free = self.0.iter_mut().find(|slot| **slot == Self::NONE);
        *free.expect("an owner and two previous ones are three") = node.as_u8();
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0[0] == Self::NONE
    }

    /// The nodes, the owner first.
    pub fn iter(self) -> impl Iterator<Item = NodeId> {
        self.0.into_iter().filter_map(NodeId::new)
    }

    /// Whether `node` is one of them.
    pub fn contains(self, node: NodeId) -> bool {
        self.0.contains(&node.as_u8())
    }
}

impl Reason {
    /// All of them, each at the place of its number.
    pub const ALL: [Self; 13] = [
        Self::Closed,
        Self::NotMine,
        Self::NotYet,
        Self::Nobody,
        Self::NoSocket,
        Self::Released,
        Self::Uncovered,
        Self::Elsewhere,
        Self::Malformed,
        Self::Truncated,
        Self::Headers,
        Self::Fragment,
        Self::Embedded,
    ];

    /// Its number, from 0: the place of its counter.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::NotMine => "not_mine",
            Self::NotYet => "not_yet",
            Self::Nobody => "nobody",
            Self::NoSocket => "no_socket",
            Self::Released => "released",
            Self::Uncovered => "uncovered",
            Self::Elsewhere => "elsewhere",
            Self::Malformed => "malformed",
            Self::Truncated => "truncated",
            Self::Headers => "headers",
            Self::Fragment => "fragment",
            Self::Embedded => "embedded",
        }
    }
}

// Each node once, of a bucket's three.
const _: () = assert!(Nodes::MAX == 3 && Nodes::NONE > NodeId::MAX);
// The verdict goes through registers: no packet pays for a copy.
const _: () = assert!(size_of::<Verdict>() <= 8);
