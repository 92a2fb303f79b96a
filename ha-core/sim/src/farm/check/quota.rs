//! Sainte-Laguë in integers: who is to have how many of the buckets (FG2, F7).
//!
//! The n-th bucket of a member is worth its weight over 2 n - 1, and the dearest go first.

/// What a member has, and what it is to have it by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holding {
    /// Its number.
    pub(super) node: usize,
    /// Its weight.
    pub(super) weight: u64,
    /// How many buckets it has.
    pub(super) has: u64,
}

/// The worth of one bucket: a fraction.
#[derive(Clone, Copy, Debug)]
struct Worth {
    weight: u64,
    divisor: u64,
}

impl Worth {
    fn is_more_than(self, other: Self) -> bool {
        self.weight * other.divisor > other.weight * self.divisor
    }
}

impl Holding {
    /// What its last bucket is worth to it.
    fn last(self) -> Option<Worth> {
        (self.has > 0).then(|| Worth { weight: self.weight, divisor: 2 * self.has - 1 })
    }

    /// What one more would be.
    fn next(self) -> Worth {
        Worth { weight: self.weight, divisor: 2 * self.has + 1 }
    }
}

/// Whether these are the shares of their weights: no bucket would be worth more elsewhere.
pub(super) fn are_fair(all: &[Holding]) -> Result<(), String> {
    for one in all {
        for other in all.iter().filter(|other| one.weight > 0 && other.has > 0) {
            let last = other.last().expect("it has some");
            if one.next().is_more_than(last) {
                return Err(format!(
                    "{} of weight {} has {} buckets, and {} of weight {} has {}",
                    one.node, one.weight, one.has, other.node, other.weight, other.has
                ));
            }
        }
    }
    match all.iter().find(|one| one.weight == 0 && one.has > 0) {
        Some(idle) => Err(format!("{} has {} buckets and no weight", idle.node, idle.has)),
        None => is_near(all),
    }
}

/// Of equal members none has 1.2 buckets more or less than its fair share (FG2).
fn is_near(all: &[Holding]) -> Result<(), String> {
    let weights: u64 = all.iter().map(|one| one.weight).sum();
    let buckets: u64 = all.iter().map(|one| one.has).sum();
    let takers = || all.iter().filter(|one| one.weight > 0);
    let equal = takers().all(|one| takers().all(|other| one.weight == other.weight));
    // |has - buckets weight / weights| < 1.2
    let far =
        |one: &&Holding| 5 * (one.has * weights).abs_diff(buckets * one.weight) >= 6 * weights;
    match takers().find(|one| equal && far(one)) {
        Some(far) => Err(format!("{} has {} of {buckets} buckets", far.node, far.has)),
        None => Ok(()),
    }
}

/// Whether nothing moved for balance without need: what a loser would give the last of its last
/// buckets for is worth more to each that gained.
pub(super) fn were_needed(losers: &[Holding], gainers: &[Holding]) -> Result<(), String> {
    for loser in losers.iter().filter(|loser| loser.weight > 0) {
        for gainer in gainers {
            let gained = gainer.last().expect("it gained one");
            if !gained.is_more_than(loser.next()) {
                return Err(format!(
                    "{} of weight {} loses one and has {}, {} of weight {} gains one and has {}",
                    loser.node, loser.weight, loser.has, gainer.node, gainer.weight, gainer.has
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holdings(all: &[(u64, u64)]) -> Vec<Holding> {
        let holding = |(node, &(weight, has)): (usize, &(u64, u64))| Holding { node, weight, has };
        all.iter().enumerate().map(holding).collect()
    }

    #[test]
    fn knows_the_shares_of_the_usual_example() {
        // Lijphart: 53, 24 and 23 of 7 seats have 3, 2 and 2.
        assert_eq!(are_fair(&holdings(&[(53, 3), (24, 2), (23, 2)])), Ok(()));
        assert!(are_fair(&holdings(&[(53, 4), (24, 2), (23, 1)])).is_err());
        assert_eq!(are_fair(&holdings(&[(1, 86), (1, 85), (1, 85), (0, 0)])), Ok(()));
        assert!(are_fair(&holdings(&[(1, 87), (1, 85), (1, 84)])).is_err());
        assert!(are_fair(&holdings(&[(1, 255), (0, 1)])).is_err(), "who drains has nothing");
    }

    #[test]
    fn equals_do_not_swap() {
        let [one, other] = [(1, 85), (1, 86)].map(|pair| holdings(&[pair]));
        assert!(were_needed(&one, &other).is_err(), "it had 86, and the other one 85");
        let [one, other] = [(1, 85), (1, 85)].map(|pair| holdings(&[pair]));
        assert_eq!(were_needed(&one, &other), Ok(()), "it had more");
    }
}
