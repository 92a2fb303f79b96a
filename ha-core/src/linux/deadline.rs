//! When the processes of a service must stop although nobody says so (R5).

use core::time::Duration;

use ha_proto::{Deadline, Epoch, Instant, Machine, Outbox};

/// The guardian's judgement: a service may run until an instant that its daemon moves on as long as
/// it has the right to serve. When that passes, or it is told to, the service is frozen, and killed
/// after a grace.
///
/// A daemon that hangs and goes on may still move the instant before the kill: then the service
/// goes on too. After a fence only a later reign does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    grace: Duration,
    state: State,
}

/// What the guardian is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The service of this reign may run until then.
    Feed {
        /// The reign.
        epoch: Epoch,
        /// Until when, by `CLOCK_BOOTTIME`.
        until: Instant,
    },
    /// The service of this reign and any before it must stop now.
    Fence(Epoch),
    /// Nothing runs that must not: there is nothing to watch, and what clears up may run.
    Rest,
    /// Time has passed.
    Tick,
}

/// What the guardian does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Freeze the processes.
    Freeze,
    /// Let them go on.
    Thaw,
    /// Kill them.
    Kill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing runs.
    Resting,
    /// It may run until then.
    Running { epoch: Epoch, until: Instant },
    /// Frozen, to be killed then; `told` by a fence, and not only for want of a feed.
    Frozen { epoch: Epoch, kill: Instant, told: bool },
    /// Killed.
    Killed { epoch: Epoch },
}

impl Watch {
    /// Nothing runs yet. What is frozen is killed `grace` later.
    pub fn new(grace: Duration) -> Self {
        assert!(!grace.is_zero(), "a frozen service could never be let go on");
        Self { grace, state: State::Resting }
    }

    /// From now on what is frozen is killed `grace` later; deadlines that run stay as they are.
    pub fn set_grace(&mut self, grace: Duration) {
        assert!(!grace.is_zero(), "a frozen service could never be let go on");
        self.grace = grace;
    }

    /// Whether nothing runs, as far as it was told.
    pub fn rests(&self) -> bool {
        self.state == State::Resting
    }

    /// Whether all that ran was killed: it may take a while to go.
    pub fn has_killed(&self) -> bool {
        matches!(self.state, State::Killed { .. })
    }

    fn feed(&mut self, now: Instant, fed: Epoch, until: Instant, out: &mut Outbox<Act>) {
        let next = State::Running { epoch: fed, until };
        // What came too late to matter must not let anything go on, even for a moment.
        let timely = until > now;
        match self.state {
            State::Resting => self.state = next,
            State::Running { epoch, .. } if fed >= epoch => self.state = next,
            State::Frozen { epoch, told, .. }
                if timely && (fed > epoch || (fed == epoch && !told)) =>
            {
                self.state = next;
                out.push(Act::Thaw);
            }
            State::Killed { epoch } if timely && fed > epoch => {
                self.state = next;
                out.push(Act::Thaw);
            }
            // Of an earlier reign, or after its end.
            State::Running { .. } | State::Frozen { .. } | State::Killed { .. } => {}
        }
    }

    fn fence(&mut self, now: Instant, fenced: Epoch, out: &mut Outbox<Act>) {
        let kill = now + self.grace;
        match self.state {
            State::Running { epoch, .. } if fenced >= epoch => {
                self.state = State::Frozen { epoch: fenced, kill, told: true };
                out.push(Act::Freeze);
            }
            State::Frozen { epoch, kill, .. } if fenced >= epoch => {
                self.state = State::Frozen { epoch: fenced, kill, told: true };
            }
            State::Resting
            | State::Running { .. }
            | State::Frozen { .. }
            | State::Killed { .. } => {}
        }
    }

    /// The daemon thaws what it has emptied, and may have done so before this froze it: whatever a
    /// slow guardian did last, it undoes.
    fn rest(&mut self, out: &mut Outbox<Act>) {
        match self.state {
            State::Frozen { .. } | State::Killed { .. } => out.push(Act::Thaw),
            State::Resting | State::Running { .. } => {}
        }
        self.state = State::Resting;
    }

    /// What time alone brings.
    fn pass(&mut self, now: Instant, out: &mut Outbox<Act>) {
        match self.state {
            State::Running { epoch, until } if until <= now => {
                let kill = now + self.grace;
                self.state = State::Frozen { epoch, kill, told: false };
                out.push(Act::Freeze);
            }
            State::Frozen { epoch, kill, .. } if kill <= now => {
                self.state = State::Killed { epoch };
                out.push(Act::Kill);
            }
            State::Resting
            | State::Running { .. }
            | State::Frozen { .. }
            | State::Killed { .. } => {}
        }
    }
}

impl Machine for Watch {
    type Input = Fact;
    type Output = Act;
    const OUTPUTS_MAX: usize = 2;

    fn handle(&mut self, now: Instant, input: Fact, out: &mut Outbox<Act>) {
        match input {
            Fact::Feed { epoch, until } => self.feed(now, epoch, until, out),
            Fact::Fence(epoch) => self.fence(now, epoch, out),
            Fact::Rest => self.rest(out),
            Fact::Tick => {}
        }
        self.pass(now, out);
        assert!(self.deadline().is_none_or(|due| due.at > now), "R5: it would run past its end");
    }

    fn deadline(&self) -> Option<Deadline> {
        match self.state {
            State::Running { until, .. } => Some(Deadline { at: until, why: "the right ends" }),
            State::Frozen { kill, .. } => Some(Deadline { at: kill, why: "the grace ends" }),
            State::Resting | State::Killed { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::prelude::rust_2024::*;
    use std::vec;

    use ha_proto::NodeId;
    use proptest::prelude::*;

    use super::*;

    const GRACE: Duration = Duration::from_millis(100);

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn epoch(counter: u64) -> Epoch {
        Epoch::new(counter, NodeId::new(0).unwrap())
    }

    fn feed(counter: u64, until: u64) -> Fact {
        Fact::Feed { epoch: epoch(counter), until: at(until) }
    }

    /// All that it does, each with when.
    fn acts(facts: &[(u64, Fact)]) -> Vec<(u64, Act)> {
        let mut watch = Watch::new(GRACE);
        let mut all = vec![];
        for &(now, fact) in facts {
            let mut out = Outbox::new(Watch::OUTPUTS_MAX);
            watch.handle(at(now), fact, &mut out);
            while let Some(act) = out.pop() {
                all.push((now, act));
            }
        }
        all
    }

    #[test]
    fn what_is_fed_runs() {
        let facts = [(0, feed(1, 30)), (29, feed(1, 60)), (59, feed(1, 90)), (89, Fact::Tick)];
        assert_eq!(acts(&facts), []);
    }

    #[test]
    fn what_is_not_fed_is_frozen_and_then_killed() {
        let tick = Fact::Tick;
        let facts =
            [(0, feed(1, 30)), (29, tick), (30, tick), (129, tick), (130, tick), (999, tick)];
        assert_eq!(acts(&facts), [(30, Act::Freeze), (130, Act::Kill)]);
    }

    #[test]
    fn a_late_feed_lets_it_go_on_only_before_the_kill() {
        let facts = [(0, feed(1, 30)), (40, Fact::Tick), (50, feed(1, 90)), (89, Fact::Tick)];
        assert_eq!(acts(&facts), [(40, Act::Freeze), (50, Act::Thaw)]);
        let facts = [(0, feed(1, 30)), (40, Fact::Tick), (140, Fact::Tick), (150, feed(1, 190))];
        assert_eq!(acts(&facts), [(40, Act::Freeze), (140, Act::Kill)]);
    }

    #[test]
    fn a_feed_that_comes_after_its_own_end_changes_nothing() {
        let facts = [(0, feed(1, 30)), (40, Fact::Tick), (60, feed(1, 50))];
        assert_eq!(acts(&facts), [(40, Act::Freeze)]);
    }

    #[test]
    fn a_fence_holds_against_feeds_of_its_reign_until_rest() {
        let fence = Fact::Fence(epoch(2));
        let facts = [(0, feed(2, 30)), (10, fence), (11, feed(2, 90)), (12, feed(1, 90))];
        assert_eq!(acts(&facts), [(10, Act::Freeze)]);
        let facts = [(0, feed(2, 30)), (10, fence), (11, feed(3, 90)), (89, Fact::Tick)];
        assert_eq!(acts(&facts), [(10, Act::Freeze), (11, Act::Thaw)]);
        let facts = [(0, feed(2, 30)), (10, fence), (11, Fact::Rest), (12, feed(2, 90))];
        assert_eq!(acts(&facts), [(10, Act::Freeze), (11, Act::Thaw)]);
    }

    #[test]
    fn a_fence_of_an_earlier_reign_or_of_nothing_is_none() {
        assert_eq!(acts(&[(0, feed(2, 30)), (1, Fact::Fence(epoch(1))), (29, Fact::Tick)]), []);
        assert_eq!(acts(&[(0, Fact::Fence(epoch(1))), (200, Fact::Tick)]), []);
    }

    #[test]
    fn what_rests_is_left_alone() {
        assert_eq!(acts(&[(0, feed(1, 30)), (20, Fact::Rest), (500, Fact::Tick)]), []);
    }

    #[test]
    fn a_second_fence_does_not_put_the_kill_off() {
        let fence = Fact::Fence(epoch(1));
        let facts = [(0, feed(1, 30)), (10, fence), (60, fence), (110, Fact::Tick)];
        assert_eq!(acts(&facts), [(10, Act::Freeze), (110, Act::Kill)]);
    }

    fn fact() -> impl Strategy<Value = Fact> {
        prop_oneof![
            (1..4u64, 0..1_000u64).prop_map(|(counter, until)| feed(counter, until)),
            (1..4u64).prop_map(|counter| Fact::Fence(epoch(counter))),
            Just(Fact::Rest),
            Just(Fact::Tick),
        ]
    }

    proptest! {
        #[test]
        fn it_keeps_the_laws_of_a_machine(
            history in proptest::collection::vec((0..60u64, fact()), 0..40),
        ) {
            let history = history.into_iter().map(|(gap, fact)| (Duration::from_millis(gap), fact));
            ha_proto::laws::check(Watch::new(GRACE), || Fact::Tick, history);
        }
    }
}
