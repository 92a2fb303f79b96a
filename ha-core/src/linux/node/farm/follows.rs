//! How often a member may choose its plane anew.

use std::prelude::rust_2024::*;
use std::time::Duration;

use crate::driver::Clock;
use crate::proto::Instant;

/// When it last did so, or tried to, in this process or in one before: each time its service stops
/// and starts, and what kept it from getting there may still be so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Follows(Option<Duration>);

impl Follows {
    /// As the process before left it to this one.
    pub(super) fn of_before() -> Self {
        std::env::var(VARIABLE).map_or(Self(None), |said| Self::read(&said))
    }

    /// Whether it may now.
    pub(super) fn may(self, now: Instant) -> bool {
        self.0.is_none_or(|at| now >= Instant::ZERO + at + AGAIN)
    }

    /// It does so now.
    pub(super) fn note(&mut self, now: Instant) {
        self.0 = Some(now.saturating_since(Instant::ZERO));
    }

    /// For the environment of the next process.
    pub(super) fn told(self) -> Option<(&'static str, String)> {
        self.0.map(|at| (VARIABLE, at.as_secs().to_string()))
    }

    fn read(said: &str) -> Self {
        Self(said.parse().ok().map(Duration::from_secs))
    }
}

/// The clock that all processes of this machine's boot share.
pub(super) fn now() -> Instant {
    Clock::of_the_machine().now()
}

/// Seconds since the machine's boot.
const VARIABLE: &str = "HA_FARM_FOLLOWED";
const AGAIN: Duration = Duration::from_mins(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_member_chooses_anew_at_most_once_in_ten_minutes_whichever_process_it_is() {
        let mut follows = Follows::default();
        assert_eq!(follows.told(), None);
        assert!(follows.may(at(30)), "right after the machine's boot, too");
        follows.note(at(30));
        assert!(!follows.may(at(30)) && !follows.may(at(629)));
        let (_, said) = follows.told().unwrap();
        let mut next = Follows::read(&said);
        assert!(!next.may(at(40)) && !next.may(at(629)));
        assert!(next.may(at(630)));
        next.note(at(630));
        assert!(!next.may(at(1_229)), "and from then on once more");
        assert!(next.may(at(1_230)));
    }

    #[test]
    fn what_no_process_of_ours_left_is_as_nothing() {
        for said in ["", "soon", "-1", "1.5"] {
            assert_eq!(Follows::read(said), Follows::default(), "{said:?}");
        }
    }
}
