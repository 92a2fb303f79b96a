//! What a command ends with, and why something is refused.

use std::prelude::rust_2024::*;

use serde::{Deserialize, Serialize};

use crate::OrderError;

/// Exit codes of `ha`, as scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// 0: done, and what was wanted was observed.
    Done,
    /// 1: failed.
    Failed,
    /// 2: what was asked is not so.
    No,
    /// 64: wrong usage.
    Usage,
    /// 69: the daemon is not to be reached.
    Unavailable,
    /// 75: not now; the same may work a moment later.
    Busy,
    /// 77: not allowed, or a confirmation is missing.
    Denied,
    /// 78: the configuration cannot work.
    Config,
    /// 106: no vote: the witness does not answer, or not yet.
    NoVote,
    /// 107: refused as unsafe; the text names the flag that overrides.
    Unsafe,
    /// 124: still running at the time-out.
    Running,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::No => 2,
            Self::Usage => 64,
            Self::Unavailable => 69,
            Self::Busy => 75,
            Self::Denied => 77,
            Self::Config => 78,
            Self::NoVote => 106,
            Self::Unsafe => 107,
            Self::Running => 124,
        }
    }
}

/// Why something is not done, and what to do instead. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// What the command ends with.
    pub exit: Exit,
    /// One line.
    pub text: String,
}

impl Refused {
    /// A refusal.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }
}

impl From<OrderError> for Refused {
    fn from(error: OrderError) -> Self {
        let exit = match error {
            OrderError::WitnessSilent | OrderError::WitnessInGrace => Exit::NoVote,
            OrderError::NotReady
            | OrderError::NotCounted
            | OrderError::LeaseRuns
            | OrderError::Promised => Exit::Busy,
            OrderError::Stale => Exit::Unsafe,
            OrderError::NotPrimary | OrderError::PeerServes | OrderError::Serves => Exit::Failed,
        };
        Self::new(exit, std::format!("{error}"))
    }
}

#[cfg(feature = "linux")]
impl From<crate::linux::farm::OrderError> for Refused {
    fn from(error: crate::linux::farm::OrderError) -> Self {
        match error {
            crate::linux::farm::OrderError::Refused(why) => {
                Self::new(Exit::Usage, std::format!("{why}"))
            }
            crate::linux::farm::OrderError::Closed => {
                Self::new(Exit::Unavailable, "the daemon is ending")
            }
        }
    }
}

impl From<crate::driver::OrderError> for Refused {
    fn from(error: crate::driver::OrderError) -> Self {
        match error {
            crate::driver::OrderError::Refused(refused) => refused.into(),
            crate::driver::OrderError::Closed => {
                Self::new(Exit::Unavailable, "the daemon is ending")
            }
        }
    }
}
