//! What a node is, and what its data are worth.

use core::fmt;

use crate::codec::{DecodeError, Reader};

/// The role of a module on one node (the field's own names).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "UPPERCASE"))]
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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
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

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    const ROLES: [Role; 6] =
        [Role::Stop, Role::Wait, Role::Second, Role::Prim, Role::Alone, Role::Up];

    #[test]
    fn every_number_is_one_role_or_none() {
        for number in 0..=u8::MAX {
            let decoded = Role::decode(&mut Reader::new(&[number]));
            let role = ROLES.get(usize::from(number)).copied();
            assert_eq!(decoded, role.ok_or(DecodeError::Invalid("the role")));
            assert_eq!(role.map_or(number, Role::as_u8), number);
        }
        assert_eq!(Role::decode(&mut Reader::new(&[])), Err(DecodeError::Truncated("the role")));
    }

    #[test]
    fn every_number_is_one_state_or_none() {
        let states = [DataState::Blank, DataState::Target, DataState::Complete];
        for number in 0..=u8::MAX {
            let decoded = DataState::decode(&mut Reader::new(&[number]));
            let state = states.get(usize::from(number)).copied();
            assert_eq!(decoded, state.ok_or(DecodeError::Invalid("the data's state")));
            assert_eq!(state.map_or(number, DataState::as_u8), number);
        }
    }

    #[test]
    fn the_application_runs_in_two_roles() {
        let serving = ROLES.map(Role::serves);
        assert_eq!(serving, [false, false, false, true, true, false]);
    }

    #[test]
    fn roles_are_padded_in_tables() {
        let shown = ROLES.map(|role| format!("{role:<6}|"));
        assert_eq!(shown, ["STOP  |", "WAIT  |", "SECOND|", "PRIM  |", "ALONE |", "UP    |"]);
    }
}
