//! How long something took, many times, in little memory.

use core::time::Duration;

/// How often something took how long: counted in fixed ranges, as monitoring reads them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// The last one is of what took longer than every bound.
    ranges: [u64; Self::BOUNDS.len() + 1],
    sum: Duration,
}

impl Histogram {
    /// The longest time of each range but the last, which has no end.
    pub const BOUNDS: [Duration; 16] = [
        Duration::from_micros(100),
        Duration::from_micros(250),
        Duration::from_micros(500),
        Duration::from_millis(1),
        Duration::from_micros(2_500),
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(25),
        Duration::from_millis(50),
        Duration::from_millis(100),
        Duration::from_millis(250),
        Duration::from_millis(500),
        Duration::from_secs(1),
        Duration::from_millis(2_500),
        Duration::from_secs(5),
        Duration::from_secs(10),
    ];

    /// `count` of them took so long each.
    pub fn add(&mut self, took: Duration, count: u64) {
        let range = Self::BOUNDS.partition_point(|&bound| bound < took);
        self.ranges[range] += count;
        let nanos = took.as_nanos().saturating_mul(u128::from(count));
        let sum = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.sum = self.sum.saturating_add(sum);
    }

    /// How many took no longer than each bound, all shorter ones among them.
    pub fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        Self::BOUNDS.iter().zip(&self.ranges).scan(0, |upto, (&bound, &count)| {
            *upto += count;
            Some((bound, *upto))
        })
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.ranges.iter().sum()
    }

    /// How long all of them took together.
    pub const fn sum(&self) -> Duration {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn a_time_counts_up_to_its_bound() {
        let mut times = Histogram::default();
        times.add(Duration::from_micros(100), 1);
        times.add(Duration::from_nanos(100_001), 2);
        times.add(Duration::from_secs(10), 3);
        times.add(Duration::from_nanos(10_000_000_001), 4);
        let upto: Vec<u64> = times.cumulative().map(|(_, count)| count).collect();
        assert_eq!(upto, [1, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 6]);
        assert_eq!(times.count(), 10);
        let nanos = 100_000 + 2 * 100_001 + 30_000_000_000 + 4 * 10_000_000_001;
        assert_eq!(times.sum(), Duration::from_nanos(nanos));
    }

    #[test]
    fn a_sum_without_end_stays_the_largest() {
        let mut times = Histogram::default();
        times.add(Duration::MAX, u64::MAX);
        assert_eq!(times.sum(), Duration::from_nanos(u64::MAX));
        assert!(Histogram::BOUNDS.is_sorted());
    }
}
