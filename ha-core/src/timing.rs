//! The durations of a pair, and the arithmetic that they must satisfy.

use core::time::Duration;

use thiserror::Error;

/// The durations that the contract names. Any value to the microsecond; checked together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often a beat is sent on every link. Shorter finds a loss sooner and costs more packets.
    pub heartbeat: Duration,
    /// D: without a beat on any link for so long the peer is lost. At least three heartbeats;
    /// longer than the worst pause that should not cause a takeover.
    pub timeout: Duration,
    /// L: how long the right to serve lasts without being renewed. A takeover after a crash takes
    /// about as long.
    pub lease: Duration,
    /// R: the worst round trip to the witness, its disk included.
    pub round_trip: Duration,
    /// S: the longest time that ceasing to serve takes: addresses off, application frozen.
    pub stop: Duration,
}

/// Named sets of durations (`CONTRACT.md`, "Default timings").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Profile {
    /// 10 ms beats, lost after 30 ms, 300 ms lease: one quiet local network.
    Fast,
    /// 100 ms beats, lost after 1 s, 3 s lease.
    #[default]
    Lan,
    /// 500 ms beats, lost after 5 s, 15 s lease: two sites.
    Wan,
}

/// Durations that cannot work together, and what would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TimingError {
    /// A duration is zero, or above a day.
    #[error("{0} must be above zero and below a day")]
    Range(&'static str),
    /// D must leave room for lost beats.
    #[error(
        "timeout {timeout:?} must be at least 3 heartbeats ({least:?}), or one lost datagram is a \
         lost peer"
    )]
    TimeoutShort {
        /// As configured.
        timeout: Duration,
        /// The least that works.
        least: Duration,
    },
    /// 2L/3 + R + S < L(1 − ρ): R5.
    #[error(
        "lease {lease:?} is too short: a primary that renews every third of it, waits round_trip \
         for the answer and needs stop to cease, must do so before it ends; with this round_trip \
         and stop it must be at least {least:?}"
    )]
    LeaseShort {
        /// As configured.
        lease: Duration,
        /// The least that works.
        least: Duration,
    },
    /// D + R < L: an exclusion must be done before the lease ends.
    #[error(
        "timeout plus round_trip ({sum:?}) must be below lease ({lease:?}), or a primary that \
         loses its peer stops before the witness can let it go on alone"
    )]
    TimeoutLong {
        /// D + R.
        sum: Duration,
        /// L.
        lease: Duration,
    },
}

impl TimingError {
    /// The field that is to be changed, as it is written.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Range(field) => field,
            Self::TimeoutShort { .. } | Self::TimeoutLong { .. } => "timeout",
            Self::LeaseShort { .. } => "lease",
        }
    }
}

impl Profile {
    /// Its durations.
    pub const fn timing(self) -> Timing {
        let (heartbeat, timeout, lease, round_trip, stop) = match self {
            Self::Fast => (10, 30, 300, 30, 50),
            Self::Lan => (100, 1_000, 3_000, 300, 500),
            Self::Wan => (500, 5_000, 15_000, 1_500, 2_000),
        };
        Timing {
            heartbeat: Duration::from_millis(heartbeat),
            timeout: Duration::from_millis(timeout),
            lease: Duration::from_millis(lease),
            round_trip: Duration::from_millis(round_trip),
            stop: Duration::from_millis(stop),
        }
    }
}

impl Timing {
    /// The longest duration that is accepted; sums of several stay far from overflow.
    pub const MAX: Duration = Duration::from_hours(24);

    /// Checks what holds for any kind of vote.
    ///
    /// # Errors
    /// The first rule that the durations break.
    pub fn check(&self) -> Result<(), TimingError> {
        for (name, value) in [
            ("heartbeat", self.heartbeat),
            ("timeout", self.timeout),
            ("lease", self.lease),
            ("round_trip", self.round_trip),
            ("stop", self.stop),
        ] {
            if value.is_zero() || value > Self::MAX {
                return Err(TimingError::Range(name));
            }
        }
        let least = self.heartbeat * 3;
        if self.timeout < least {
            return Err(TimingError::TimeoutShort { timeout: self.timeout, least });
        }
        Ok(())
    }

    /// Checks also what a lease needs (`CONTRACT.md`, last section).
    ///
    /// # Errors
    /// The first rule that the durations break.
    pub fn check_with_lease(&self) -> Result<(), TimingError> {
        self.check()?;
        let needed = self.round_trip + self.stop;
        if self.lease * 2 / 3 + needed >= ha_quorum::shorter(self.lease) {
            // 2L/3 + R + S < L(1 − ρ)  ⇔  L > (R + S) / (1/3 − ρ); ρ = 1e-3.
            let least = needed * 3_000 / 997 + Duration::from_micros(1);
            return Err(TimingError::LeaseShort { lease: self.lease, least });
        }
        let sum = self.timeout + self.round_trip;
        if sum >= self.lease {
            return Err(TimingError::TimeoutLong { sum, lease: self.lease });
        }
        Ok(())
    }
}
