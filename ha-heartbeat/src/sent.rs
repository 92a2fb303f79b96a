//! When this node sent which number.

use alloc::vec::Vec;
use ha_proto::Instant;

use crate::Config;

/// When this node sent which number; the newest [`Sent::len`] of them.
///
/// Memory is taken once, at the start. A forgotten number proves nothing, which is the safe side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Number `n` is at `(n - 1 - before) % len`.
    rounds: Vec<Round>,
    newest: u64,
    /// The newest number of an earlier process of this boot: of that and those below nothing is
    /// remembered.
    before: u64,
    len: usize,
}

/// One round of beats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Round {
    /// When it was sent.
    pub(crate) at: Instant,
    /// Whether it asked for a renewal.
    pub(crate) asked: bool,
}

impl Sent {
    /// The fewest numbers remembered: room for rounds sent out of turn between the regular ones.
    const MIN: u128 = 64;
    /// The most: 6 KiB. Older echoes than that come from the far side of a long pause.
    const MAX: u128 = 256;

    pub(crate) fn new(config: &Config) -> Self {
        let interval = config.interval.as_nanos();
        assert!(interval > 0, "the number of beats in a timeout would be infinite");
        let twice = config.timeout.as_nanos().saturating_mul(2) / interval;
        let len = usize::try_from(twice.clamp(Self::MIN, Self::MAX)).expect("at most 256");
        Self { rounds: Vec::with_capacity(len), newest: 0, before: 0, len }
    }

    /// Goes on behind `newest`, which an earlier process of this boot sent last.
    pub(crate) fn resume(config: &Config, newest: u64) -> Self {
        Self { newest, before: newest, ..Self::new(config) }
    }

    /// The newest number; 0 before the first.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// Remembers the next round and returns its number.
    pub(crate) fn push(&mut self, round: Round) -> u64 {
        let place = self.place(self.next());
        if place == self.rounds.len() {
            self.rounds.push(round);
        } else {
            self.rounds[place] = round;
        }
        assert!(self.rounds.len() <= self.len, "a beat would allocate");
        self.newest += 1;
        self.newest
    }

    /// The number of the next round.
    pub(crate) fn next(&self) -> u64 {
        self.newest + 1
    }

    /// The round with this number, if it was sent and is remembered.
    pub(crate) fn round(&self, number: u64) -> Option<Round> {
        let sent = number > self.before && number <= self.newest;
        let remembered = sent && self.newest - number < self.len as u64;
        remembered.then(|| self.rounds[self.place(number)])
    }

    fn place(&self, number: u64) -> usize {
        assert!(number > self.before, "a round of before has no place: it would be another one's");
        ((number - 1 - self.before) % self.len as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use core::time::Duration;
    use ha_proto::{Boot, NodeId};

    fn sent(intervals: u32) -> Sent {
        let (me, peer) = (NodeId::new(0).unwrap(), NodeId::new(1).unwrap());
        let interval = Duration::from_millis(10);
        Sent::new(&Config::new(me, Boot(1), vec![peer], 1, interval, interval * intervals).unwrap())
    }

    #[test]
    fn twice_the_timeout_is_remembered_within_bounds() {
        assert_eq!([3, 32, 50, 128, 1_000].map(|n| sent(n).len), [64, 64, 100, 256, 256]);
    }

    #[test]
    fn numbers_go_on_where_an_earlier_process_stopped_and_its_rounds_prove_nothing() {
        let Sent { len, .. } = sent(3);
        let (me, peer) = (NodeId::new(0).unwrap(), NodeId::new(1).unwrap());
        let interval = Duration::from_millis(10);
        let config = Config::new(me, Boot(1), vec![peer], 1, interval, interval * 3).unwrap();
        let mut sent = Sent::resume(&config, 77);
        let round = |nanos| Round { at: Instant::from_nanos(nanos), asked: true };
        assert_eq!((sent.newest(), sent.next(), sent.round(77)), (77, 78, None));
        for number in 78..78 + 2 * len as u64 {
            assert_eq!(sent.push(round(number)), number);
            assert_eq!(sent.round(number), Some(round(number)));
            assert_eq!(sent.round(77), None);
        }
    }

    #[test]
    fn the_newest_rounds_are_remembered_and_no_memory_is_taken() {
        let mut sent = sent(3);
        let round = |number: u64| Round {
            at: Instant::from_nanos(number),
            asked: number.is_multiple_of(2),
        };
        let memory = sent.rounds.as_ptr();
        for number in 1..=200 {
            assert_eq!(sent.next(), number);
            assert_eq!(sent.push(round(number)), number);
            for asked in 0..=number + 1 {
                let remembered = asked > 0 && asked <= number && asked + 64 > number;
                assert_eq!(sent.round(asked), remembered.then(|| round(asked)), "{asked}/{number}");
            }
        }
        assert_eq!(sent.round(u64::MAX), None);
        assert_eq!(sent.rounds.as_ptr(), memory);
    }
}
