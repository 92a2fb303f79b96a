//! What a node is, and what its data are worth.

use core::fmt;

/// The role of a module on one node (the field's own names).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Not running.
    #[default]
    Stop,
    /// Starting, or blocked: stale data, no vote, a resource down.
    Wait,
    /// Secondary.
    Second,
    /// Primary with a secondary.
    Prim,
    /// Primary with no secondary.
    Alone,
    /// Member of a farm.
    Up,
}

impl Role {
    /// Whether the application runs here in this role of a mirror.
    pub const fn serves(self) -> bool {
        matches!(self, Self::Prim | Self::Alone)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Stop => "STOP",
            Self::Wait => "WAIT",
            Self::Second => "SECOND",
            Self::Prim => "PRIM",
            Self::Alone => "ALONE",
            Self::Up => "UP",
        })
    }
}

/// What a node's data are worth (`CONTRACT.md` "Records").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataState {
    /// Nothing, or not this cluster's.
    #[default]
    Blank,
    /// Being overwritten: inconsistent until it is complete again.
    Target,
    /// A consistent prefix, perhaps stale.
    Complete,
}
