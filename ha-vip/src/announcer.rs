//! When an address is announced.

use core::time::Duration;

use ha_proto::{Instant, Timer};

/// When an address is announced: a burst, then again and again for ever (`FIELD.md` rows 1 to 3).
///
/// For who announces an address that is in no [`AddressSet`](crate::AddressSet), as a farm's is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announcer {
    /// When the last burst began, or will begin.
    began: Option<Instant>,
    next: Timer,
}

impl Announcer {
    /// Whether it announces.
    pub fn is_on(self) -> bool {
        self.next.at().is_some()
    }

    /// Begins a burst, now or 50 ms after the last one began.
    ///
    /// A claim that is seen within that time is thus answered at its end: the last word is ours,
    /// and two owners that answer each other cost the network 20 announcements a second, no more.
    pub fn begin(&mut self, now: Instant) {
        let at = match self.began {
            Some(began) if began > now => began,
            Some(began) => now.max(began + PACE),
            None => now,
        };
        assert!(at <= now + PACE, "a burst would be put off for ever");
        self.began = Some(at);
        self.next.arm(at);
    }

    /// Announces no more.
    pub fn stop(&mut self) {
        self.next.disarm();
    }

    /// Whether an announcement is due, once for each; then the next one comes later. A late call
    /// makes up for nothing: one announcement says all.
    pub fn expire(&mut self, now: Instant, refresh: Duration) -> bool {
        if !self.next.expire(now) {
            return false;
        }
        let began = self.began.expect("it was armed by a burst");
        let later = BURST.iter().map(|&after| began + after).find(|&at| at > now);
        let refreshed = now + refresh;
        self.next.arm(later.map_or(refreshed, |at| at.min(refreshed)));
        assert!(self.next.at() > Some(now), "the driver would spin");
        true
    }

    /// Whether an earlier owner has had the time to let go since the last burst began: who claims
    /// the address from now on is a stranger.
    pub(crate) fn has_settled(self, now: Instant) -> bool {
        self.began.is_some_and(|began| now >= began + SETTLE)
    }

    /// When the next announcement is due.
    pub fn next(self) -> Timer {
        self.next
    }
}

/// When an address is announced after it was taken, or had to be told again: the first because
/// every millisecond is an outage, the last because switches, too, come up slowly.
const BURST: [Duration; 7] = [
    Duration::ZERO,
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(400),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];
/// A step of the burst: so the question comes twice in it, and with each refresh.
const SETTLE: Duration = Duration::from_secs(3);
/// The shortest time between the beginnings of two bursts: the burst's own shortest step.
const PACE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    const REFRESH: Duration = Duration::from_secs(30);

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    /// When a punctual driver announces until then, in milliseconds.
    fn run(announcer: &mut Announcer, until: u64) -> Vec<u64> {
        let mut times = vec![];
        while let Some(due) = announcer.next().at().filter(|&due| due <= at(until)) {
            assert!(announcer.expire(due, REFRESH));
            assert!(!announcer.expire(due, REFRESH));
            times.push(due.as_nanos() / 1_000_000);
        }
        times
    }

    #[test]
    fn a_burst_is_followed_by_refreshes_for_ever() {
        let mut announcer = Announcer::default();
        assert!(!announcer.is_on());
        announcer.begin(at(0));
        let expected = [0, 50, 150, 400, 1_000, 3_000, 10_000, 40_000, 70_000, 100_000];
        assert_eq!(run(&mut announcer, 120_000), expected);
    }

    /// A switch that forgets within the longest step is why a refresh is shorter than that.
    #[test]
    fn a_refresh_that_is_shorter_than_a_step_of_the_burst_is_kept_within_it() {
        let mut announcer = Announcer::default();
        announcer.begin(at(0));
        let mut times = vec![];
        while let Some(due) = announcer.next().at().filter(|&due| due <= at(12_000)) {
            assert!(announcer.expire(due, Duration::from_secs(2)));
            times.push(due.as_nanos() / 1_000_000);
        }
        let expected = [0, 50, 150, 400, 1_000, 3_000, 5_000, 7_000, 9_000, 10_000, 12_000];
        assert_eq!(times, expected);
    }

    #[test]
    fn a_late_driver_announces_once() {
        let mut announcer = Announcer::default();
        announcer.begin(at(0));
        assert!(announcer.expire(at(500), REFRESH));
        assert_eq!(run(&mut announcer, 5_000), [1_000, 3_000]);
        assert!(announcer.expire(at(20_000), REFRESH));
        assert_eq!(run(&mut announcer, 80_000), [50_000, 80_000]);
    }

    #[test]
    fn bursts_that_come_too_soon_are_one_and_none_is_forgotten() {
        let mut announcer = Announcer::default();
        announcer.begin(at(0));
        assert_eq!(run(&mut announcer, 20), [0]);
        for millis in [20, 30, 49] {
            announcer.begin(at(millis));
        }
        assert_eq!(run(&mut announcer, 120), [50, 100]);
        announcer.begin(at(120));
        assert_eq!(run(&mut announcer, 1_000), [120, 170, 270, 520]);
    }

    #[test]
    fn what_is_stopped_says_nothing() {
        let mut announcer = Announcer::default();
        announcer.begin(at(0));
        announcer.stop();
        assert_eq!(run(&mut announcer, 100_000), []);
        announcer.begin(at(100_000));
        assert_eq!(run(&mut announcer, 100_050), [100_000, 100_050]);
    }
}
