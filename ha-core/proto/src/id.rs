//! Names of things: nodes, links, modules, clusters, stores, boots, sequences, tickets.

use core::fmt;

use thiserror::Error;

/// A node of a cluster: 0 to 127, unique within the cluster (`CONTRACT.md` "Records").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "u8", into = "u8"))]
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

impl TryFrom<u8> for NodeId {
    type Error = NodeIdError;

    fn try_from(id: u8) -> Result<Self, NodeIdError> {
        Self::new(id).ok_or(NodeIdError(id))
    }
}

impl From<NodeId> for u8 {
    fn from(node: NodeId) -> Self {
        node.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A number that is no node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} is no node id: they go from 0 to 127")]
pub struct NodeIdError(u8);

/// A set of nodes, as one bit for each id. With `serde` it is a list of ids.
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

    /// The members of either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
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

impl FromIterator<NodeId> for NodeSet {
    fn from_iter<I: IntoIterator<Item = NodeId>>(nodes: I) -> Self {
        nodes.into_iter().fold(Self::EMPTY, Self::with)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for NodeSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for NodeSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let nodes = alloc::collections::BTreeSet::<NodeId>::deserialize(deserializer)?;
        Ok(nodes.into_iter().collect())
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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct LinkId(pub u8);

/// A place in the replication log. The first record is 1; 0 is "before the first".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first record.
    pub const ZERO: Self = Self(0);
    /// The highest sequence that is believed when it is read: at a million records a second a log
    /// gets there after 146,000 years, and adding to it never overflows.
    pub const WIRE_MAX: Self = Self(1 << 62);

    /// The sequence after this one.
    ///
    /// # Panics
    /// At the end of the range, which nothing that was read can reach ([`Seq::WIRE_MAX`]).
    #[must_use]
    pub const fn next(self) -> Self {
        assert!(self.0 < u64::MAX, "the next record would be the first again");
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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Ticket(pub u64);

/// One of the modules (services) that a process hosts. A pair is one module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct ModuleId(pub u16);

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[cfg_attr(feature = "serde", serde(transparent))]
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

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn node(id: u8) -> NodeId {
        NodeId::new(id).unwrap()
    }

    #[test]
    fn ids_end_at_127() {
        assert_eq!(NodeId::new(127).map(NodeId::as_u8), Some(127));
        assert_eq!(NodeId::new(128), None);
        assert_eq!(NodeId::try_from(3), Ok(node(3)));
        assert_eq!(u8::from(node(3)), 3);
        let error = NodeId::try_from(200).unwrap_err();
        assert_eq!(error.to_string(), "200 is no node id: they go from 0 to 127");
    }

    #[test]
    fn a_set_holds_the_first_and_the_last_id() {
        let set = NodeSet::only(node(0)).with(node(127));
        assert_eq!(set.bits(), 1 << 127 | 1);
        assert_eq!(set.iter().collect::<Vec<_>>(), [node(0), node(127)]);
        assert_eq!((set.len(), set.is_empty()), (2, false));
        assert_eq!(set.to_string(), "{0,127}");
        assert_eq!(set.without(node(0)).without(node(127)), NodeSet::EMPTY);
        assert_eq!(NodeSet::EMPTY.to_string(), "{}");
    }

    #[test]
    fn sequences_step_and_stop_at_zero() {
        assert_eq!(Seq::ZERO.next(), Seq(1));
        assert_eq!(Seq(1).previous(), Seq::ZERO);
        assert_eq!(Seq::ZERO.previous(), Seq::ZERO);
        assert_eq!(Seq(12).to_string(), "12");
    }

    #[test]
    fn random_ids_are_shown_whole() {
        assert_eq!(StoreId(0xab).to_string(), "00000000000000ab");
    }

    proptest! {
        #[test]
        fn a_set_is_like_the_list_of_its_members(bits: u128, other: u128, id in 0u8..=127) {
            let (set, other) = (NodeSet::from_bits(bits), NodeSet::from_bits(other));
            let members: Vec<_> = set.iter().collect();
            prop_assert_eq!(members.len(), set.len() as usize);
            prop_assert_eq!(members.iter().copied().collect::<NodeSet>(), set);
            prop_assert_eq!(members.contains(&node(id)), set.contains(node(id)));
            prop_assert!(set.with(node(id)).contains(node(id)));
            prop_assert!(!set.without(node(id)).contains(node(id)));
            let subset = members.iter().all(|&member| other.contains(member));
            prop_assert_eq!(set.is_subset_of(other), subset);
            let union = set.union(other);
            prop_assert!(set.is_subset_of(union) && other.is_subset_of(union));
            let both = NodeSet::from_bits(set.bits() & other.bits());
            prop_assert!(both.is_subset_of(set) && both.is_subset_of(other));
        }
    }
}
