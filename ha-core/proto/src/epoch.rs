//! Epochs: who may serve, in an order that everyone agrees on.

use core::fmt;

use crate::NodeId;

/// A reign: `counter << 8 | id of its holder`, so that two nodes never hold an equal one.
///
/// The ids are below 128; bit 7 of the low byte marks an operator's override, which thereby never
/// equals an epoch that the witness minted (`CONTRACT.md` "Records"). Counters have 56 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
        assert!(counter <= Self::COUNTER_MAX, "a longer counter would overwrite the owner");
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
