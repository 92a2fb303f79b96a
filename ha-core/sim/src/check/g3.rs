//! G3: how soon there is exactly one primary again after a single fault.
//!
//! The faults themselves are scripts (`tests/single_fault.rs`): only there is the pair known to be
//! whole and the fault to be single.

use core::time::Duration;

use ha_core::Timing;

/// The bound of a takeover: `max(D, L(1+2ρ)) + 2 RTT(W) + start`.
pub fn takeover(timing: &Timing, round_trip: Duration, start: Duration) -> Duration {
    let lease = timing.lease + timing.lease * 2 / RHO_INVERSE;
    timing.timeout.max(lease) + round_trip * 2 + start
}

/// How long writes may stall where the old primary goes on: D and one round trip to W.
pub fn stall(timing: &Timing, round_trip: Duration) -> Duration {
    timing.timeout + round_trip
}

/// ρ is 1e-3.
const RHO_INVERSE: u32 = 1_000;

#[cfg(test)]
mod tests {
    use ha_core::Profile;

    use super::*;

    #[test]
    fn the_lease_decides_in_every_profile() {
        let millis = Duration::from_millis;
        for (profile, expected) in
            [(Profile::Fast, 300_600), (Profile::Lan, 3_006_000), (Profile::Wan, 15_030_000)]
        {
            let bound = takeover(&profile.timing(), millis(1), millis(20));
            assert_eq!(bound, Duration::from_micros(expected) + millis(22));
        }
        assert_eq!(stall(&Profile::Lan.timing(), millis(1)), millis(1_001));
    }
}
