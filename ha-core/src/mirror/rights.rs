//! Whether this node may serve, and until when (R1, R5, R6, R7, R9).

use core::time::Duration;

use ha_proto::{DataState, Instant};
use ha_quorum::Vote;

use crate::Mirror;

/// The right to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// As long as nothing newer is learned: alone in the set, or no witness.
    Standing,
    /// Until then; stopping must be over by then.
    Until(Instant),
}

impl Mirror {
    /// Whether this node holds: on disk, and nothing newer is known (R1, R3).
    pub(super) fn holds(&self) -> bool {
        let (saved, wanted) = (self.memory.saved(), self.memory.wanted());
        let mine = saved.membership.holder == self.me() && wanted.membership.holder == self.me();
        mine && saved.is_initialised()
    }

    fn is_complete(&self) -> bool {
        let (saved, wanted) = (self.memory.saved(), self.memory.wanted());
        saved.state == DataState::Complete && wanted.state == DataState::Complete
    }

    /// R7: `holder = set = {self}`, and not on the way to a larger set.
    pub(super) fn may_run_alone(&self) -> bool {
        self.memory.saved().may_run_alone() && self.memory.wanted().may_run_alone()
    }

    pub(super) fn right(&self) -> Option<Right> {
        if !self.holds() || !self.is_complete() {
            return None;
        }
        match self.config.policy.vote {
            Vote::Arbiter if self.may_run_alone() => Some(Right::Standing),
            Vote::Arbiter => self.tenure.valid_until().map(Right::Until),
            Vote::None | Vote::Manual | Vote::Ping => self.local_right(),
        }
    }

    /// Whether serving is allowed now, with time left to stop (R5).
    pub(super) fn may_serve(&self, now: Instant) -> bool {
        self.may_serve_for(now, Duration::ZERO)
    }

    /// Whether it is worth starting: not only to stop again before the next renewal.
    pub(super) fn may_start(&self, now: Instant) -> bool {
        self.may_serve_for(now, self.config.timing.heartbeat)
    }

    fn may_serve_for(&self, now: Instant, spare: Duration) -> bool {
        if self.is_bound(now) {
            return false;
        }
        match self.right() {
            None => false,
            Some(Right::Standing) => true,
            Some(Right::Until(end)) => now + self.config.timing.stop + spare < end,
        }
    }

    /// Bound by a promise, or as if by one after a boot (R6, R9). Only leases need it.
    pub(super) fn is_bound(&self, now: Instant) -> bool {
        self.config.policy.vote == Vote::Arbiter && self.binding.bound(now)
    }

    /// How long the addresses may outlive this call (R7, R10).
    pub(super) fn lifetime(&self, now: Instant) -> Duration {
        match self.right() {
            None => Duration::ZERO,
            Some(Right::Standing) => self.config.timing.lease,
            Some(Right::Until(end)) => end.saturating_since(now),
        }
    }

    /// Whether this node could serve, were it to hold (told to the peer as `able`).
    pub(super) fn is_able(&self, now: Instant) -> bool {
        let takes = !self.broken && !self.log_full() && !self.disk_stalled();
        let usable = self.is_complete() && takes;
        usable && self.plan.is_willing() && !self.service.is_cooling(now)
    }

    /// When serving must begin to stop, if nothing renews the right before.
    pub(super) fn right_ends(&self) -> Option<Instant> {
        match self.right() {
            Some(Right::Until(end)) => Some(end - self.config.timing.stop),
            Some(Right::Standing) | None => None,
        }
    }
}
