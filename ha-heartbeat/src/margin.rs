//! How near a link came to a false alarm.

use core::time::Duration;

/// How near a link came to a false alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Margin {
    /// The longest time without a proof of life on the link, since it came up last or was reset; an
    /// outage counts until it was noticed, and until the link is up again.
    pub longest_gap: Duration,
    /// The time that it takes to call the peer down.
    pub timeout: Duration,
}

impl Margin {
    /// `1 - longest gap / timeout`: 1 when beats never wait, 0 when the timeout was reached.
    ///
    /// Below 0.5 the timeout is too short for the network, or for the load of the machines.
    pub fn headroom(self) -> f64 {
        let used = self.longest_gap.as_secs_f64() / self.timeout.as_secs_f64();
        (1.0 - used).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headroom_goes_from_one_to_zero_and_no_further() {
        let headroom = |gap| {
            let longest_gap = Duration::from_millis(gap);
            Margin { longest_gap, timeout: Duration::from_secs(1) }.headroom()
        };
        let found = [0, 250, 500, 1_000, 5_000].map(headroom);
        for (found, expected) in found.into_iter().zip([1.0, 0.75, 0.5, 0.0, 0.0]) {
            assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
        }
    }
}
