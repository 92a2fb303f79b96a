//! When the open batch is closed.

use core::time::Duration;

use ha_proto::{Deadline, Instant, Timer};

/// Group commit. Who proposes and waits for the commit proposes again soon after it: so many
/// records as were uncommitted together will be so again in a moment, and a batch of the first few
/// of them would cost a sync of its own and keep all others waiting for it, each time round.
///
/// So an idle disk waits until as many records are uncommitted as lately were, but no longer than
/// half the time that its last sync took, nor than [`PATIENCE_MAX`]. One writer never waits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gather {
    /// Records that were uncommitted together when a batch was last closed, or are since.
    crowd: u64,
    /// Since when the disk has something to sync.
    busy: Option<Instant>,
    /// How long its last sync took.
    sync: Duration,
    /// Until when the open batch waits for more.
    until: Timer,
}

/// A disk that takes long for a sync does so for other reasons than ours.
const PATIENCE_MAX: Duration = Duration::from_millis(1);

impl Gather {
    pub(crate) const fn new() -> Self {
        Self { crowd: 0, busy: None, sync: Duration::ZERO, until: Timer::IDLE }
    }

    /// So many records are uncommitted, the open batch's among them.
    pub(crate) fn proposed(&mut self, uncommitted: u64) {
        self.crowd = self.crowd.max(uncommitted);
    }

    /// The disk syncs something: what is open waits for it.
    pub(crate) fn disk_is_busy(&mut self, now: Instant) {
        self.until.disarm();
        self.busy.get_or_insert(now);
    }

    /// The disk has nothing to sync; `open` says whether there is an open batch. Whether to close
    /// it now.
    pub(crate) fn disk_is_idle(&mut self, now: Instant, open: bool, uncommitted: u64) -> bool {
        if let Some(since) = self.busy.take() {
            self.sync = now.saturating_since(since);
        }
        if !open {
            self.until.disarm();
            return false;
        }
        let patience = PATIENCE_MAX.min(self.sync / 2);
        let complete = uncommitted >= self.crowd || patience.is_zero();
        if complete || self.until.expire(now) {
            self.until.disarm();
            self.crowd = uncommitted;
            return true;
        }
        if !self.waits() {
            self.until.arm(now + patience);
        }
        false
    }

    /// Whether the open batch waits for more.
    pub(crate) fn waits(&self) -> bool {
        self.until != Timer::IDLE
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.until.deadline("enough was gathered")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1_000)
    }

    /// A disk that took 400 us for what a crowd of eight proposed.
    fn eight() -> Gather {
        let mut gather = Gather::new();
        gather.proposed(8);
        assert!(gather.disk_is_idle(at(0), true, 8));
        gather.disk_is_busy(at(0));
        gather.disk_is_busy(at(100));
        assert!(!gather.disk_is_idle(at(400), false, 0));
        gather
    }

    #[test]
    fn one_writer_never_waits() {
        let mut gather = Gather::new();
        for round in 0..3 {
            gather.proposed(1);
            assert!(gather.disk_is_idle(at(round * 1_000), true, 1));
            gather.disk_is_busy(at(round * 1_000));
            assert!(!gather.disk_is_idle(at(round * 1_000 + 300), false, 0));
        }
    }

    #[test]
    fn the_first_of_a_crowd_wait_for_the_others() {
        let mut gather = eight();
        for uncommitted in 1..8 {
            gather.proposed(uncommitted);
            assert!(!gather.disk_is_idle(at(500 + uncommitted), true, uncommitted));
            assert!(gather.waits());
        }
        let deadline = gather.deadline().map(|deadline| deadline.at);
        assert_eq!(deadline, Some(at(701)), "half a sync after the first of them");
        gather.proposed(8);
        assert!(gather.disk_is_idle(at(600), true, 8));
        assert_eq!(gather.deadline(), None);
    }

    #[test]
    fn a_crowd_that_shrank_costs_half_a_sync_once() {
        let mut gather = eight();
        assert!(!gather.disk_is_idle(at(500), true, 3));
        assert!(!gather.disk_is_idle(at(699), true, 3));
        assert!(gather.disk_is_idle(at(700), true, 3));
        gather.disk_is_busy(at(700));
        assert!(!gather.disk_is_idle(at(1_000), false, 0));
        assert!(gather.disk_is_idle(at(1_100), true, 3));
    }

    #[test]
    fn a_slow_disk_is_not_waited_for() {
        let mut gather = eight();
        gather.disk_is_busy(at(1_000));
        assert!(!gather.disk_is_idle(at(9_000_000), true, 1));
        let deadline = gather.deadline().map(|deadline| deadline.at);
        assert_eq!(deadline, Some(at(9_000_000) + PATIENCE_MAX));
    }

    #[test]
    fn what_was_closed_elsewhere_is_waited_for_no_longer() {
        let mut gather = eight();
        assert!(!gather.disk_is_idle(at(500), true, 1));
        assert!(!gather.disk_is_idle(at(510), false, 1));
        assert!(!gather.waits());
        assert!(!gather.disk_is_idle(at(520), true, 1));
        gather.disk_is_busy(at(530));
        assert!(!gather.waits());
    }
}
