//! A machine's own clock: monotonic, from an origin of its own, and a little too fast or too slow.

use core::time::Duration;

use ha_proto::Instant;

/// The clock of one process. The world counts true nanoseconds; a process sees only this.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    since: u64,
    rate: u64,
}

impl Clock {
    /// The slowest rate, in millionths: 1 − ρ (`CONTRACT.md` "Model").
    pub const SLOWEST: u64 = 999_000;
    /// The fastest rate, in millionths: 1 + ρ.
    pub const FASTEST: u64 = 1_001_000;

    /// A clock that starts at true time `since` and runs at `rate` millionths.
    pub fn new(since: u64, rate: u64) -> Self {
        assert!((Self::SLOWEST..=Self::FASTEST).contains(&rate), "no contract covers this clock");
        Self { since, rate }
    }

    /// The same rate, begun anew.
    #[must_use]
    pub fn restarted(self, since: u64) -> Self {
        Self { since, ..self }
    }

    /// What it shows at true time `at`.
    pub fn local(&self, at: u64) -> Instant {
        Instant::from_nanos(ORIGIN + at.saturating_sub(self.since) * self.rate / MILLION)
    }

    /// The first true time at which it shows `local` or more.
    pub fn true_at(&self, local: Instant) -> u64 {
        let since = local.as_nanos().saturating_sub(ORIGIN);
        let nanos = (u128::from(since) * u128::from(MILLION)).div_ceil(u128::from(self.rate));
        self.since.saturating_add(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How long `span` on this clock truly lasts, rounded down.
    pub fn true_span(&self, span: Duration) -> u64 {
        let nanos = span.as_nanos() * u128::from(MILLION) / u128::from(self.rate);
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }
}

/// A machine counts from here, so that subtracting a lease never meets the origin.
const ORIGIN: u64 = 1_000_000_000_000;
const MILLION: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_up_is_never_too_early() {
        for rate in [Clock::SLOWEST, 999_123, 1_000_000, 1_000_777, Clock::FASTEST] {
            let clock = Clock::new(12_345, rate);
            for nanos in [0, 1, 999, 1_000_001, 77_777_777_777] {
                let local = Instant::from_nanos(ORIGIN + nanos);
                let at = clock.true_at(local);
                assert!(clock.local(at) >= local);
                assert!(at == 12_345 || clock.local(at - 2) < local);
            }
        }
    }

    #[test]
    fn a_fast_clock_makes_spans_short() {
        let fast = Clock::new(0, Clock::FASTEST);
        let slow = Clock::new(0, Clock::SLOWEST);
        let span = Duration::from_secs(1);
        assert!(fast.true_span(span) < 1_000_000_000);
        assert!(slow.true_span(span) > 1_000_000_000);
    }
}
