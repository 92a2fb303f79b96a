//! How fast a loss is to be seen.

use std::fmt;
use std::time::Duration;

/// How often a daemon shows that it lives. Three times without is a loss, for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setting(Duration);

impl Setting {
    /// From the default of VRRP down to the shortest that it knows.
    pub const ALL: [Self; 3] = [
        Self(Duration::from_secs(1)),
        Self(Duration::from_millis(100)),
        Self(Duration::from_millis(10)),
    ];

    /// Between two signs of life.
    pub const fn heartbeat(self) -> Duration {
        self.0
    }

    /// Without a sign of life for so long the other is lost.
    pub const fn timeout(self) -> Duration {
        self.0.saturating_mul(3)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:?} x 3", self.0))
    }
}
