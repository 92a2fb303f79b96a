//! Names of things: nodes, links, modules, clusters, stores, boots, sequences, tickets.

use core::fmt;

/// A node of a cluster: 0 to 127, unique within the cluster (`CONTRACT.md` "Records").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u8);

impl NodeId {
    /// The highest id; bit 7 marks an operator's override inside an [`Epoch`](crate::Epoch).
    pub const MAX: u8 = 127;

    /// The node called `id`, or `None` above [`NodeId::MAX`].
    pub const fn new(id: u8) -> Option<Self> {
        if id <= Self::MAX { Some(Self(id)) } else { None }
    }

    /// The id as a number, 0 to 127.
    pub const fn as_u8(self) -> u8 {
        self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A set of nodes, as one bit for each id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeSet(u128);

impl NodeSet {
    /// No node.
    pub const EMPTY: Self = Self(0);

    /// The set of one node.
    pub const fn only(node: NodeId) -> Self {
        Self(1 << node.as_u8())
    }

    /// The set with bit `id` set for each member; bit 0 is node 0.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// One bit for each member; bit 0 is node 0.
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// Whether `node` is a member.
    pub const fn contains(self, node: NodeId) -> bool {
        self.0 & Self::only(node).0 != 0
    }

    /// This set and `node`.
    #[must_use]
    pub const fn with(self, node: NodeId) -> Self {
        Self(self.0 | Self::only(node).0)
    }

    /// This set but for `node`.
    #[must_use]
    pub const fn without(self, node: NodeId) -> Self {
        Self(self.0 & !Self::only(node).0)
    }

    /// Whether every member is one of `other`'s.
    pub const fn is_subset_of(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// How many members.
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether there is no member.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members, lowest id first.
    pub fn iter(self) -> impl Iterator<Item = NodeId> {
        (0..=NodeId::MAX).map(NodeId).filter(move |&node| self.contains(node))
    }
}

impl fmt::Display for NodeSet {
    /// `{0,1}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (at, node) in self.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            write!(f, "{node}")?;
        }
        f.write_str("}")
    }
}

/// A network between the nodes, by its place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u8);

/// A place in the replication log. The first record is 1; 0 is "before the first".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first record.
    pub const ZERO: Self = Self(0);
    /// The highest sequence that is believed when it is read: at a million records a second a log
    /// gets there after 146,000 years, and adding to it never overflows.
    pub const WIRE_MAX: Self = Self(1 << 62);

    /// The sequence after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The sequence before this one; zero stays zero.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Ties an effect to its result. Unique within one machine and one boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// One of the modules (services) that a process hosts. A pair is one module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleId(pub u16);

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }
    };
}

random_id! {
    /// A cluster's configured name, in every header.
    ClusterId
}
random_id! {
    /// A random number made with a node's store; a mismatch means that the store is blank.
    StoreId
}
random_id! {
    /// A random number made at bootstrap: which data this is. Zero before bootstrap.
    DataId
}
random_id! {
    /// A random number for each start of a process.
    Boot
}
random_id! {
    /// Which life of the witness: answers of any other one are void. Zero is unknown.
    Incarnation
}
