//! What a machine is: facts in, effects out, one deadline.

use alloc::collections::VecDeque;
use core::fmt;

use crate::Instant;

/// A pure state machine: it is told facts, says what should be done, and names the next instant at
/// which it wants to be called although nothing happened.
///
/// Laws, checked for every machine by one generic test:
/// 1. after `handle(now, _)`, `deadline()` is `None` or later than `now`;
/// 2. a tick before the deadline changes nothing and says nothing;
/// 3. equal machines fed equal inputs stay equal and say the same;
/// 4. one call says at most [`Machine::OUTPUTS_MAX`] things;
/// 5. nothing that the network sends makes a call fail.
pub trait Machine {
    /// A fact.
    type Input;
    /// Something to do, or to know.
    type Output;
    /// The most that one call says.
    const OUTPUTS_MAX: usize;

    /// Takes one fact and says what follows from it.
    fn handle(&mut self, now: Instant, input: Self::Input, out: &mut Outbox<Self::Output>);

    /// When to call again with a tick although nothing happened; `None` when never.
    fn deadline(&self) -> Option<Deadline>;
}

/// When a machine wants to be called, and why (for traces).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// When.
    pub at: Instant,
    /// What for, in a word or two.
    pub why: &'static str,
}

impl Deadline {
    /// The sooner of two deadlines, the first on a tie.
    pub fn sooner(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => Some(if other.at < one.at { other } else { one }),
            (one, other) => one.or(other),
        }
    }
}

/// What one call says, in order; bounded.
///
/// The capacity is the machine's `OUTPUTS_MAX`. More than that is a bug in the machine, so it
/// panics.
pub struct Outbox<T> {
    items: VecDeque<T>,
    max: usize,
}

impl<T> Outbox<T> {
    /// An empty box for at most `max` items.
    pub fn new(max: usize) -> Self {
        Self { items: VecDeque::new(), max }
    }

    /// Says one more thing.
    ///
    /// # Panics
    /// When the box is full: the machine broke law 4.
    pub fn push(&mut self, item: T) {
        assert!(self.items.len() < self.max, "a machine said more than its OUTPUTS_MAX");
        self.items.push_back(item);
    }

    /// Takes the oldest item.
    pub fn pop(&mut self) -> Option<T> {
        self.items.pop_front()
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl<T: fmt::Debug> fmt::Debug for Outbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.items).finish()
    }
}

/// One alarm of a machine. Not an effect: it only answers `deadline()`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timer(Option<Instant>);

impl Timer {
    /// A timer that is not armed.
    pub const IDLE: Self = Self(None);

    /// Rings at `at`, instead of whenever it was to ring.
    pub fn arm(&mut self, at: Instant) {
        self.0 = Some(at);
    }

    /// Rings no more.
    pub fn disarm(&mut self) {
        self.0 = None;
    }

    /// Whether it rang by `now`; true once for each time it was armed.
    pub fn expire(&mut self, now: Instant) -> bool {
        let rang = self.0.is_some_and(|at| at <= now);
        if rang {
            self.0 = None;
        }
        rang
    }

    /// When it rings.
    pub fn at(self) -> Option<Instant> {
        self.0
    }

    /// As a deadline with its reason.
    pub fn deadline(self, why: &'static str) -> Option<Deadline> {
        self.0.map(|at| Deadline { at, why })
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use core::time::Duration;

    use super::*;

    const ONE: Instant = Instant::from_nanos(1);
    const TWO: Instant = Instant::from_nanos(2);

    #[test]
    fn a_timer_rings_once() {
        let mut timer = Timer::IDLE;
        assert!(!timer.expire(TWO));
        timer.arm(TWO);
        assert_eq!((timer.at(), timer.expire(ONE)), (Some(TWO), false));
        assert_eq!(timer.deadline("ring"), Some(Deadline { at: TWO, why: "ring" }));
        assert!(timer.expire(TWO));
        assert!(!timer.expire(TWO));
        assert_eq!((timer, timer.deadline("ring")), (Timer::IDLE, None));
    }

    #[test]
    fn arming_again_moves_the_ring() {
        let mut timer = Timer::IDLE;
        timer.arm(ONE);
        timer.arm(TWO);
        assert!(!timer.expire(ONE));
        timer.disarm();
        assert!(!timer.expire(TWO + Duration::from_secs(1)));
    }

    #[test]
    fn the_sooner_deadline_wins_and_the_first_on_a_tie() {
        let at = |at, why| Some(Deadline { at, why });
        assert_eq!(Deadline::sooner(None, None), None);
        assert_eq!(Deadline::sooner(at(TWO, "a"), None), at(TWO, "a"));
        assert_eq!(Deadline::sooner(None, at(TWO, "b")), at(TWO, "b"));
        assert_eq!(Deadline::sooner(at(TWO, "a"), at(ONE, "b")), at(ONE, "b"));
        assert_eq!(Deadline::sooner(at(ONE, "a"), at(ONE, "b")), at(ONE, "a"));
    }

    #[test]
    fn an_outbox_keeps_the_order() {
        let mut out = Outbox::new(2);
        out.push('a');
        out.push('b');
        assert_eq!((out.len(), format!("{out:?}")), (2, "['a', 'b']".into()));
        assert_eq!((out.pop(), out.pop(), out.pop()), (Some('a'), Some('b'), None));
        assert!(out.is_empty());
    }

    #[test]
    #[should_panic(expected = "a machine said more than its OUTPUTS_MAX")]
    fn an_outbox_is_bounded() {
        let mut out = Outbox::new(1);
        out.push('a');
        out.push('b');
    }
}
