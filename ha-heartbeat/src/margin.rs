//! How near a link came to a false alarm.

use core::time::Duration;

/// How near a link came to a false alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Margin {
    /// The longest time without a proof of life on the link, since the start or the last reset; an
    /// outage counts until it was noticed.
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
