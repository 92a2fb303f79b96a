//! Reproducible randomness: the same seed gives the same numbers, on every machine.

/// xoshiro256\*\*, seeded through splitmix64 (Blackman and Vigna, <https://prng.di.unimi.it>).
///
/// For jitter, simulated faults and ids whose seed is itself random. Not for keys: who sees some of
/// its numbers can compute the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prng {
    state: [u64; 4],
}

impl Prng {
    /// A generator with this seed; any seed will do.
    pub fn new(seed: u64) -> Self {
        let mut seed = seed;
        Self { state: core::array::from_fn(|_| splitmix64(&mut seed)) }
    }

    /// The next number, each as likely as any other.
    pub fn next_u64(&mut self) -> u64 {
        let [s0, s1, s2, s3] = self.state;
        let result = s1.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let (t2, t3) = (s2 ^ s0, s3 ^ s1);
        self.state = [s0 ^ t3, s1 ^ t2, t2 ^ (s1 << 17), t3.rotate_left(45)];
        result
    }

    /// A number from 0 to `bound - 1`, each as likely as any other (Lemire, 2019).
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "no number is below zero: every draw would be rejected, for ever");
        let unfair = bound.wrapping_neg() % bound;
        loop {
            let wide = u128::from(self.next_u64()) * u128::from(bound);
            if wide as u64 >= unfair {
                return (wide >> 64) as u64;
            }
        }
    }

    /// True `per_million` times in a million; always from a million on.
    pub fn chance(&mut self, per_million: u32) -> bool {
        self.below(1_000_000) < u64::from(per_million)
    }

    /// A generator of its own, so that drawing more from one changes nothing in the other.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::new(self.next_u64())
    }
}

fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_gives_the_published_numbers() {
        let mut state = 1_234_567;
        let drawn: [u64; 5] = core::array::from_fn(|_| splitmix64(&mut state));
        assert_eq!(
            drawn,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821,
            ]
        );
    }

    #[test]
    fn xoshiro_gives_the_published_numbers() {
        let mut prng = Prng { state: [1, 2, 3, 4] };
        let drawn: [u64; 10] = core::array::from_fn(|_| prng.next_u64());
        assert_eq!(
            drawn,
            [
                11_520,
                0,
                1_509_978_240,
                1_215_971_899_390_074_240,
                1_216_172_134_540_287_360,
                607_988_272_756_665_600,
                16_172_922_978_634_559_625,
                8_476_171_486_693_032_832,
                10_595_114_339_597_558_777,
                2_904_607_092_377_533_576,
            ]
        );
    }

    #[test]
    fn stays_below_the_bound_and_reaches_all_of_it() {
        let mut prng = Prng::new(7);
        let mut seen = [0; 5];
        for _ in 0..5_000 {
            seen[prng.below(5) as usize] += 1;
        }
        assert!(seen.iter().all(|&times| (900..1_100).contains(&times)), "{seen:?}");
        assert_eq!(prng.below(1), 0);
    }

    #[test]
    fn a_chance_is_as_large_as_it_says() {
        let mut prng = Prng::new(7);
        let times = (0..100_000).filter(|_| prng.chance(250_000)).count();
        assert!((24_500..25_500).contains(&times), "{times}");
        assert!(!prng.chance(0));
        assert!(prng.chance(1_000_000));
    }

    #[test]
    fn a_fork_is_a_stream_of_its_own() {
        let mut one = Prng::new(7);
        let mut other = one.clone();
        assert_eq!(one, other);
        let mut fork = one.fork();
        fork.next_u64();
        assert_eq!(other.fork(), Prng::new(Prng::new(7).next_u64()));
        assert_eq!(one, other);
        assert_ne!(fork.next_u64(), one.next_u64());
    }

    #[test]
    #[should_panic(expected = "no number is below zero")]
    fn nothing_is_below_zero() {
        Prng::new(0).below(0);
    }
}
