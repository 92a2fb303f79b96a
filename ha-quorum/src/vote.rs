//! The kinds of vote, and what a vote says.

use core::fmt;

use ha_proto::Epoch;

/// Who decides when the nodes do not see each other (`CONTRACT.md` "Kinds of vote").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Vote {
    /// No witness: always available, and two primaries in a partition.
    #[default]
    None,
    /// Addresses outside the cluster, a majority of them ([`Ping`](crate::Ping)). Evidence, not a
    /// vote: one primary as long as exactly one side reaches them and the cut outlasts the
    /// decision; two when only the link between the nodes is cut.
    Ping,
    /// A stateful witness: one owner, under the guarantees G1 to G7.
    Arbiter,
    /// The operator decides; a surviving secondary waits.
    Manual,
}

impl fmt::Display for Vote {
    /// The word in a configuration file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Ping => "ping",
            Self::Arbiter => "arbiter",
            Self::Manual => "manual",
        })
    }
}

/// What came of a question. Evidence is never a vote, so the two have different variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Evidence: this side reaches the addresses outside the cluster.
    Reachable,
    /// Evidence: it does not.
    Unreachable,
    /// A vote: what was asked is so, in this epoch.
    Granted(Epoch),
    /// A vote: it is not so; the witness is at this epoch, [`Epoch::NONE`] when it has no record.
    Refused(Epoch),
}

#[cfg(test)]
mod tests {
    extern crate alloc;

    use alloc::format;

    use super::*;

    #[test]
    fn kinds_are_called_as_in_a_configuration() {
        let words = [Vote::None, Vote::Ping, Vote::Arbiter, Vote::Manual].map(|v| format!("{v}"));
        assert_eq!(words, ["none", "ping", "arbiter", "manual"]);
    }

    #[test]
    fn evidence_is_not_a_vote() {
        assert_ne!(Verdict::Reachable, Verdict::Granted(Epoch::NONE));
        assert_ne!(Verdict::Unreachable, Verdict::Refused(Epoch::NONE));
    }
}
