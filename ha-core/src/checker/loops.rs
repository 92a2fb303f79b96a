//! How often a module may restart by itself.

use alloc::collections::VecDeque;
use core::time::Duration;

use ha_proto::Instant;

/// The restarts that a module has left (`maxloop` within `loop_interval`): an application that
/// fails again and again is stopped for good rather than started for ever, until an operator looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loops {
    max: u8,
    interval: Duration,
    /// When it restarted, the oldest first; at most `max`.
    restarts: VecDeque<Instant>,
}

impl Loops {
    /// At most `max` restarts in any `interval`; 3 in a day are usual. 0 allows none.
    pub fn new(max: u8, interval: Duration) -> Self {
        Self { max, interval, restarts: VecDeque::new() }
    }

    /// How many there may be in an interval.
    pub const fn max(&self) -> u8 {
        self.max
    }

    /// For how long each counts.
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// Counts one more automatic restart; whether it may be done.
    pub fn take(&mut self, now: Instant) -> bool {
        let allowed = self.left(now) > 0;
        if allowed {
            self.restarts.push_back(now);
        }
        assert!(self.restarts.len() <= usize::from(self.max), "a loop would never end");
        allowed
    }

    /// How many it has left.
    pub fn left(&mut self, now: Instant) -> u8 {
        while self.restarts.front().is_some_and(|&at| at + self.interval <= now) {
            self.restarts.pop_front();
        }
        let counted = u8::try_from(self.restarts.len()).expect("no more than `max` are counted");
        self.max - counted
    }

    /// When it restarted by itself as far as that still counts, the oldest first.
    pub fn restarts(&self) -> impl Iterator<Item = Instant> {
        self.restarts.iter().copied()
    }

    /// An operator gave an order: somebody looks, so all are left again.
    pub fn reset(&mut self) {
        self.restarts.clear();
    }
}

impl Default for Loops {
    fn default() -> Self {
        Self::new(3, Duration::from_hours(24))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(hours: u64) -> Instant {
        Instant::ZERO + Duration::from_hours(hours)
    }

    #[test]
    fn three_in_a_day_and_no_more() {
        let mut loops = Loops::default();
        let taken = [0, 1, 2, 3, 23, 24, 24, 25, 47].map(|at| loops.take(hour(at)));
        assert_eq!(taken, [true, true, true, false, false, true, false, true, true]);
        assert_eq!(loops.left(hour(47)), 0);
        assert_eq!(loops.left(hour(48)), 1);
    }

    #[test]
    fn an_operator_resets_them() {
        let mut loops = Loops::new(1, Duration::from_hours(1));
        assert_eq!([loops.take(hour(0)), loops.take(hour(0))], [true, false]);
        loops.reset();
        assert!(loops.take(hour(0)));
    }

    #[test]
    fn none_are_none() {
        let mut loops = Loops::new(0, Duration::from_hours(1));
        assert!(!loops.take(hour(0)));
        assert!(!loops.take(hour(9)));
    }
}
