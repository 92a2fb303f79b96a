//! What a node is, and what its data are worth.

use core::fmt;

use crate::codec::{DecodeError, Reader};

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
    /// Its number on the wire and in files: 0 to 5 in the order above.
    pub const fn as_u8(self) -> u8 {
        match self {
            Self::Stop => 0,
            Self::Wait => 1,
            Self::Second => 2,
            Self::Prim => 3,
            Self::Alone => 4,
            Self::Up => 5,
        }
    }

    /// Reads one, one byte.
    ///
    /// # Errors
    /// [`DecodeError`] when no byte is left or its number is none of ours.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match from.u8("the role")? {
            0 => Ok(Self::Stop),
            1 => Ok(Self::Wait),
            2 => Ok(Self::Second),
            3 => Ok(Self::Prim),
            4 => Ok(Self::Alone),
            5 => Ok(Self::Up),
            _ => Err(DecodeError::Invalid("the role")),
        }
    }

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

impl DataState {
    /// Its number on the wire and in files: 0 to 2 in the order above.
    pub const fn as_u8(self) -> u8 {
        match self {
            Self::Blank => 0,
            Self::Target => 1,
            Self::Complete => 2,
        }
    }

    /// Reads one, one byte.
    ///
    /// # Errors
    /// [`DecodeError`] when no byte is left or its number is none of ours.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match from.u8("the data's state")? {
            0 => Ok(Self::Blank),
            1 => Ok(Self::Target),
            2 => Ok(Self::Complete),
            _ => Err(DecodeError::Invalid("the data's state")),
        }
    }
}
