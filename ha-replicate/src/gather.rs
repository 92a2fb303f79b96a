//! When the open batch is closed.

use core::time::Duration;

use ha_proto::{Deadline, Instant, Seq, Timer};

/// Group commit. Who proposes and waits for the commit proposes again soon after it: so many
/// records as were uncommitted together will be so again in a moment, and a batch of the first few
/// of them would cost a sync of its own and keep all others waiting for it, each time round.
///
/// So an idle disk waits until as many records are uncommitted as lately were, but no longer than
/// half the time that its last sync took, nor than [`PATIENCE_MAX`]. One writer never waits.
///
/// A busy disk is waited for as long as it makes something durable now and then. From one that
/// does not for a while nothing is kept back any more: the peer gets what is proposed, at least.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gather {
    /// Records that were uncommitted together when a batch was last closed, or are since.
    crowd: u64,
    busy: Option<Busy>,
    /// How long its last sync took.
    sync: Duration,
    /// Until when the open batch waits for more.
    until: Timer,
    /// How long a disk may make nothing durable before it is waited for no more.
    stall: Duration,
}

/// The disk has something to sync.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Busy {
    since: Instant,
    /// What was durable when it made progress last, or began.
    durable: Seq,
    /// When that was.
    heard: Instant,
}

/// A disk that takes long for a sync does so for other reasons than ours.
const PATIENCE_MAX: Duration = Duration::from_millis(1);

impl Gather {
    pub(crate) const fn new(stall: Duration) -> Self {
        Self { crowd: 0, busy: None, sync: Duration::ZERO, until: Timer::IDLE, stall }
    }

    /// So many records are uncommitted, the open batch's among them.
    pub(crate) fn proposed(&mut self, uncommitted: u64) {
        self.crowd = self.crowd.max(uncommitted);
    }

    /// The disk syncs something, and has made all up to `durable` durable: what is open waits for
    /// it. Whether to close that all the same, because the disk does not answer.
    pub(crate) fn disk_is_busy(&mut self, now: Instant, open: bool, durable: Seq) -> bool {
        let busy = self.busy.get_or_insert(Busy { since: now, durable, heard: now });
        if busy.durable != durable {
            (busy.durable, busy.heard) = (durable, now);
        }
        let due = busy.heard + self.stall;
        self.until.disarm();
        if open && now < due {
            self.until.arm(due);
        }
        open && now >= due
    }

    /// The disk has nothing to sync; `open` says whether there is an open batch. Whether to close
    /// it now.
    pub(crate) fn disk_is_idle(&mut self, now: Instant, open: bool, uncommitted: u64) -> bool {
        if let Some(busy) = self.busy.take() {
            self.sync = now.saturating_since(busy.since);
            self.until.disarm();
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
        let why = if self.busy.is_some() { "the disk stalls" } else { "enough was gathered" };
        self.until.deadline(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(1);

    const fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1_000)
    }

    /// A disk that took 400 us for what a crowd of eight proposed.
    fn eight() -> Gather {
        let mut gather = Gather::new(STALL);
        gather.proposed(8);
        assert!(gather.disk_is_idle(at(0), true, 8));
        assert!(!gather.disk_is_busy(at(0), false, Seq(0)));
        assert!(!gather.disk_is_busy(at(100), false, Seq(0)));
        assert!(!gather.disk_is_idle(at(400), false, 0));
        gather
    }

    #[test]
    fn one_writer_never_waits() {
        let mut gather = Gather::new(STALL);
        for round in 0..3 {
            gather.proposed(1);
            assert!(gather.disk_is_idle(at(round * 1_000), true, 1));
            assert!(!gather.disk_is_busy(at(round * 1_000), false, Seq(0)));
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
        assert!(!gather.disk_is_busy(at(700), false, Seq(0)));
        assert!(!gather.disk_is_idle(at(1_000), false, 0));
        assert!(gather.disk_is_idle(at(1_100), true, 3));
    }

    #[test]
    fn a_slow_disk_is_not_waited_for() {
        let mut gather = eight();
        assert!(!gather.disk_is_busy(at(1_000), false, Seq(0)));
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
        assert!(!gather.disk_is_busy(at(530), false, Seq(0)));
        assert!(!gather.waits());
    }

    #[test]
    fn a_disk_without_progress_keeps_nothing_from_the_peer() {
        let mut gather = Gather::new(STALL);
        assert!(!gather.disk_is_busy(at(0), false, Seq(0)));
        assert_eq!(gather.deadline(), None, "nothing waits");
        assert!(!gather.disk_is_busy(at(400_000), true, Seq(0)));
        assert_eq!(gather.deadline().map(|deadline| deadline.at), Some(at(1_000_000)));
        assert!(!gather.disk_is_busy(at(900_000), true, Seq(3)), "it makes progress");
        assert!(!gather.disk_is_busy(at(1_899_999), true, Seq(3)));
        assert!(gather.disk_is_busy(at(1_900_000), true, Seq(3)));
        assert!(!gather.disk_is_busy(at(1_900_000), false, Seq(3)));
        assert_eq!(gather.deadline(), None);
        assert!(gather.disk_is_busy(at(1_900_001), true, Seq(3)), "from then on at once");
        assert!(!gather.disk_is_busy(at(2_000_000), true, Seq(4)), "it answers");
        assert!(gather.disk_is_idle(at(2_000_001), true, 1));
        assert_eq!(gather.deadline(), None);
    }
}
