//! How many buckets each member is to have.

use alloc::vec::Vec;
use core::cmp::Ordering;

/// What one member brings to the sharing out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) weight: u16,
    /// How many buckets it has now.
    pub(crate) holds: usize,
}

/// Shares `seats` out by the method of Sainte-Laguë: the n-th seat of a member is worth its weight
/// over 2n - 1, and the dearest seats are given. A seat more, or a member less, takes none from
/// anybody; largest remainders cannot promise that. Of seats that are worth the same, those go
/// first that a member holds already, so that equals do not swap; then the first claims'.
///
/// With m claims, a share differs from the fair one by at most 1/2 + fair · m / (2 · seats).
/// Without any weight nobody gets anything.
pub(crate) fn quotas(claims: &[Claim], seats: usize) -> Vec<usize> {
    let total: u64 = claims.iter().map(|claim| u64::from(claim.weight)).sum();
    if total == 0 {
        return alloc::vec![0; claims.len()];
    }
    // Rounding the fair shares gives all the seats from some worth on, if not quite so many as
    // there are: at most half a seat too few or too many for each claim.
    let mut quotas: Vec<usize> = claims
        .iter()
        .map(|claim| {
            let twice = 2 * u64::from(claim.weight) * seats as u64;
            ((twice + total) / (2 * total)) as usize
        })
        .collect();
    let mut given: usize = quotas.iter().sum();
    while given < seats {
        let next = |at: usize| Seat { at, number: quotas[at] + 1, claim: claims[at] };
        let dearest = (0..claims.len()).map(next).min_by(Seat::dearer_first);
        quotas[dearest.expect("somebody has a weight").at] += 1;
        given += 1;
    }
    while given > seats {
        let last = |at: usize| Seat { at, number: quotas[at], claim: claims[at] };
        let held = (0..claims.len()).filter(|&at| quotas[at] > 0);
        let cheapest = held.map(last).max_by(Seat::dearer_first);
        quotas[cheapest.expect("more is given than there is").at] -= 1;
        given -= 1;
    }
    quotas
}

struct Seat {
    at: usize,
    /// From 1.
    number: usize,
    claim: Claim,
}

impl Seat {
    fn dearer_first(&self, other: &Self) -> Ordering {
        let worth =
            |one: &Self, two: &Self| u64::from(one.claim.weight) * (2 * two.number as u64 - 1);
        let holds = |seat: &Self| seat.claim.holds >= seat.number;
        worth(other, self)
            .cmp(&worth(self, other))
            .then(holds(other).cmp(&holds(self)))
            .then(self.at.cmp(&other.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use ha_proto::Prng;

    fn claims(weights: &[u16]) -> Vec<Claim> {
        weights.iter().map(|&weight| Claim { weight, holds: 0 }).collect()
    }

    #[test]
    fn shares_out_as_the_method_is_published() {
        // Votes and seats of the usual worked example (Lijphart): 53,000, 24,000, 23,000.
        assert_eq!(quotas(&claims(&[53, 24, 23]), 7), [3, 2, 2]);
        assert_eq!(quotas(&claims(&[1, 1, 1]), 256), [86, 85, 85]);
        assert_eq!(quotas(&claims(&[0, 3, 1]), 4096), [0, 3072, 1024]);
        assert_eq!(quotas(&claims(&[0, 0]), 256), [0, 0]);
        assert_eq!(quotas(&[], 256), []);
    }

    #[test]
    fn of_equal_seats_the_one_held_goes_first() {
        let mut three = claims(&[1, 1, 1]);
        three[2].holds = 86;
        assert_eq!(quotas(&three, 256), [85, 85, 86]);
    }

    /// The definition, seat by seat.
    fn one_by_one(claims: &[Claim], seats: usize) -> Vec<usize> {
        let mut quotas = vec![0; claims.len()];
        for _ in 0..seats {
            let next = |at: usize| Seat { at, number: quotas[at] + 1, claim: claims[at] };
            let dearest = (0..claims.len()).map(next).min_by(Seat::dearer_first).unwrap();
            quotas[dearest.at] += 1;
        }
        quotas
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "seats and weights are small")]
    fn is_what_seat_by_seat_gives_and_near_the_fair_share() {
        let mut prng = Prng::new(1);
        for round in 0..3_000 {
            let seats = if round % 2 == 0 { 256 } else { 4096 };
            let highest = [1, 2, 8, 100, 65_535][prng.below(5) as usize];
            let members = 1 + prng.below(64);
            let claims: Vec<Claim> = (0..members)
                .map(|_| Claim {
                    weight: prng.below(highest + 1) as u16,
                    holds: prng.below(200) as usize,
                })
                .collect();
            let total: u64 = claims.iter().map(|claim| u64::from(claim.weight)).sum();
            if total == 0 {
                continue;
            }
            let quotas = quotas(&claims, seats);
            if round < 300 {
                assert_eq!(quotas, one_by_one(&claims, seats), "{claims:?}");
            }
            for (quota, claim) in quotas.iter().zip(&claims) {
                let fair = f64::from(claim.weight) * seats as f64 / total as f64;
                let bound = 0.5 + fair * members as f64 / (2.0 * seats as f64);
                let off = (*quota as f64 - fair).abs();
                assert!(off <= bound + 1e-9, "{quota} of {fair}, more than {bound} off");
            }
        }
    }
}
