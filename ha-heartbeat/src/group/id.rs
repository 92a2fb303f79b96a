//! Which view: an order that all members agree on, and which of two sets is the better one.

use core::cmp::Ordering;
use core::fmt;

use bytes::BufMut;
use ha_proto::codec::{DecodeError, Reader};
use ha_proto::{Boot, NodeId, NodeSet};

/// Names a view, and says which of two is newer: by counter, coordinator, its boot, in this order
/// (`CONTRACT-FARM.md` "Records"). The boot is there because a coordinator that restarts has
/// forgotten its counter.
///
/// | at | bytes | field |
/// |---|---|---|
/// | 0 | 8 | counter, from 1 |
/// | 8 | 1 | coordinator |
/// | 9 | 8 | its boot |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewId {
    /// Rises with each view, from 1.
    pub counter: u64,
    /// Who proposed it.
    pub coordinator: NodeId,
    /// In which boot.
    pub boot: Boot,
}

impl ViewId {
    /// How many bytes it takes, or its absence: all zero.
    pub const LEN: usize = 17;
    /// The highest counter that is believed: at a view every 10 ms a farm gets there after two
    /// million years. Above it nobody could propose any more.
    pub const COUNTER_MAX: u64 = 1 << 48;

    /// Writes it, or that there is none.
    pub fn encode(id: Option<Self>, out: &mut impl BufMut) {
        assert!(id.is_none_or(|id| id.counter > 0), "view 0 would be read as no view at all");
        out.put_u64(id.map_or(0, |id| id.counter));
        out.put_u8(id.map_or(0, |id| id.coordinator.as_u8()));
        out.put_u64(id.map_or(0, |id| id.boot.0));
    }

    /// Reads one, or that there is none.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes end early, or when no node can have made it.
    pub fn decode(from: &mut Reader<'_>, field: &'static str) -> Result<Option<Self>, DecodeError> {
        let counter = from.u64(field)?;
        let coordinator = from.node(field)?;
        let boot = Boot(from.u64(field)?);
        match (counter, coordinator.as_u8(), boot.0) {
            (0, 0, 0) => Ok(None),
            (1.., 0..=63, _) => Ok(Some(Self { counter, coordinator, boot })),
            (_, _, _) => Err(DecodeError::Invalid(field)),
        }
    }
}

impl fmt::Display for ViewId {
    /// `12.0`: counter and coordinator.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.counter, self.coordinator)
    }
}

/// Which of two sets of members is the better one (*Rank*): who has more members is, then who has
/// the lower ids. `Greater` is better.
pub fn rank(one: NodeSet, other: NodeSet) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| {
        let differ = one.bits() ^ other.bits();
        let lowest = differ & differ.wrapping_neg();
        if differ == 0 {
            Ordering::Equal
        } else if one.bits() & lowest != 0 {
            Ordering::Greater
        } else {
            Ordering::Less
        }
    })
}

/// A set that compares by its rank.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Ranked(pub(super) NodeSet);

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        rank(self.0, other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[u8]) -> NodeSet {
        ids.iter().map(|&id| NodeId::new(id).unwrap()).collect()
    }

    #[test]
    fn more_members_then_lower_ids_are_better() {
        assert_eq!(rank(set(&[4, 5, 6]), set(&[0, 1])), Ordering::Greater);
        assert_eq!(rank(set(&[0, 2]), set(&[1, 2])), Ordering::Greater);
        assert_eq!(rank(set(&[0, 3]), set(&[0, 2])), Ordering::Less);
        assert_eq!(rank(set(&[0, 3]), set(&[1, 2])), Ordering::Greater);
        assert_eq!(rank(set(&[1, 2]), set(&[1, 2])), Ordering::Equal);
    }

    #[test]
    fn a_restarted_coordinator_makes_another_view() {
        let id = |counter, node, boot| ViewId {
            counter,
            coordinator: NodeId::new(node).unwrap(),
            boot: Boot(boot),
        };
        assert!(id(2, 0, 0) > id(1, 9, 9));
        assert!(id(1, 1, 0) > id(1, 0, 9));
        assert_ne!(id(1, 0, 1), id(1, 0, 2));
    }
}
