//! The one clock of a lab, and waiting by it.

use std::thread;
use std::time::Duration;

use ha_proto::Instant;
use rustix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC`, since the machine booted: the same in every process and namespace.
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).expect("the clock counts from the boot on");
    let nanos = u64::try_from(time.tv_nsec).expect("the kernel normalises what it tells");
    Instant::from_nanos(seconds * 1_000_000_000 + nanos)
}

/// Waits until `condition` holds, for `timeout` at most; says whether it did. Asks it once at
/// least, and then every millisecond.
pub fn within(timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = now() + timeout;
    loop {
        if condition() {
            return true;
        }
        if now() >= deadline {
            return false;
        }
        thread::sleep(PACE);
    }
}

/// Between two looks at a condition: fine enough for what tests wait for, and no busy loop beside
/// programs whose timing is under test.
const PACE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_asked_once_at_least_and_until_it_holds() {
        assert!(within(Duration::ZERO, || true));
        assert!(!within(Duration::ZERO, || false));
        let mut asked = 0;
        assert!(within(Duration::from_mins(1), || {
            asked += 1;
            asked == 3
        }));
        assert_eq!(asked, 3);
    }

    #[test]
    fn the_clock_goes_on() {
        let before = now();
        assert!(within(Duration::from_mins(1), || now() > before));
    }
}
