//! Epochs: who may serve, in an order that everyone agrees on.

use core::fmt;

use crate::NodeId;

/// A reign: `counter << 8 | id of its holder`, so that two nodes never hold an equal one.
///
/// The ids are below 128; bit 7 of the low byte marks an operator's override, which thereby never
/// equals an epoch that the witness minted (`CONTRACT.md` "Records"). Counters have 56 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Epoch(u64);

impl Epoch {
    /// Before the first reign.
    pub const NONE: Self = Self(0);
    /// The highest counter.
    pub const COUNTER_MAX: u64 = (1 << 56) - 1;
    /// The highest counter that is believed when it is read: from there a cluster can still mint
    /// 2^55 more, so that no message can leave it without an epoch to mint.
    pub const WIRE_MAX: u64 = Self::COUNTER_MAX >> 1;

    const OVERRIDE: u64 = 0x80;

    /// The reign of `owner` with this counter.
    ///
    /// # Panics
    /// If `counter` is 0 (that is [`Epoch::NONE`]) or above [`Epoch::COUNTER_MAX`].
    pub const fn new(counter: u64, owner: NodeId) -> Self {
        assert!(counter > 0, "counter 0 is Epoch::NONE: such a reign would order below all others");
        assert!(counter <= Self::COUNTER_MAX, "a longer counter would lose its highest bits");
        assert!(owner.as_u8() <= NodeId::MAX, "a higher id would be read as an override");
        Self(counter << 8 | owner.as_u8() as u64)
    }

    /// The reign that `owner` takes by an operator's override, after this one.
    #[must_use]
    pub const fn overridden_by(self, owner: NodeId) -> Self {
        Self(Self::new(self.counter() + 1, owner).0 | Self::OVERRIDE)
    }

    /// The reign of `owner` after this one.
    #[must_use]
    pub const fn next(self, owner: NodeId) -> Self {
        Self::new(self.counter() + 1, owner)
    }

    /// The number from the wire or a file.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The number for the wire or a file.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// How many reigns there have been.
    pub const fn counter(self) -> u64 {
        self.0 >> 8
    }

    /// Whose reign; `None` for [`Epoch::NONE`].
    pub const fn owner(self) -> Option<NodeId> {
        if self.0 == 0 { None } else { NodeId::new((self.0 & 0x7f) as u8) }
    }

    /// Whether an operator's override made it.
    pub const fn is_override(self) -> bool {
        self.0 & Self::OVERRIDE != 0
    }
}

impl fmt::Display for Epoch {
    /// `12.0`: counter and owner; `12.0!` for an override; `-` for none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.owner() {
            None => f.write_str("-"),
            Some(owner) if self.is_override() => write!(f, "{}.{owner}!", self.counter()),
            Some(owner) => write!(f, "{}.{owner}", self.counter()),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;
    use crate::codec::{DecodeError, Reader};

    fn node(id: u8) -> NodeId {
        NodeId::new(id).unwrap()
    }

    #[test]
    fn names_its_owner() {
        let epoch = Epoch::new(12, node(127));
        assert_eq!((epoch.counter(), epoch.owner()), (12, Some(node(127))));
        assert_eq!((epoch.is_override(), epoch.bits()), (false, 12 << 8 | 127));
        assert_eq!(epoch.to_string(), "12.127");
    }

    #[test]
    fn before_the_first_reign_nobody_owns() {
        assert_eq!((Epoch::NONE.owner(), Epoch::NONE.counter()), (None, 0));
        assert_eq!(Epoch::NONE.next(node(0)), Epoch::new(1, node(0)));
        assert_eq!(Epoch::NONE.to_string(), "-");
    }

    #[test]
    #[should_panic(expected = "counter 0 is Epoch::NONE")]
    fn counter_0_is_no_reign() {
        let _ = Epoch::new(0, node(1));
    }

    #[test]
    #[should_panic(expected = "a longer counter would lose its highest bits")]
    fn the_counter_has_an_end() {
        let _ = Epoch::new(Epoch::COUNTER_MAX, node(1)).next(node(1));
    }

    #[test]
    fn reads_only_what_can_be_minted() {
        let read = |bits: u64| Reader::new(&bits.to_be_bytes()).epoch("e");
        let invalid = Err(DecodeError::Invalid("e"));
        assert_eq!(read(0), Ok(Epoch::NONE));
        assert_eq!(read(1), invalid);
        assert_eq!(read(0x80), invalid);
        assert_eq!(read(0x0101), Ok(Epoch::new(1, node(1))));
        assert_eq!(read(Epoch::WIRE_MAX << 8), Ok(Epoch::new(Epoch::WIRE_MAX, node(0))));
        assert_eq!(read((Epoch::WIRE_MAX + 1) << 8), invalid);
    }

    proptest! {
        #[test]
        fn an_override_equals_no_epoch_that_is_minted(
            counter in 1..=Epoch::WIRE_MAX, seen in 0u8..=127, owner in 0u8..=127,
            other in 1..=Epoch::WIRE_MAX, minter in 0u8..=127,
        ) {
            let before = Epoch::new(counter, node(seen));
            let forced = before.overridden_by(node(owner));
            prop_assert!(forced > before && forced.is_override());
            prop_assert_eq!(forced.owner(), Some(node(owner)));
            prop_assert_ne!(forced, Epoch::new(other, node(minter)));
            prop_assert_ne!(forced, Epoch::new(forced.counter(), node(owner)));
            prop_assert!(forced.next(node(minter)) > forced);
            prop_assert!(!forced.next(node(minter)).is_override());
            prop_assert_eq!(forced.to_string(), alloc::format!("{}.{owner}!", counter + 1));
        }

        #[test]
        fn the_higher_counter_wins(one in 1u64..1000, other in 1u64..1000, a in 0u8..=127) {
            let ours = Epoch::new(one, node(a));
            let theirs = Epoch::new(other, node(127 - a));
            if one != other {
                prop_assert_eq!(ours < theirs, one < other);
            }
            prop_assert_ne!(ours, theirs);
        }
    }
}
