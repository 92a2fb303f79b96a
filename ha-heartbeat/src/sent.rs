//! When this node sent which number.

use alloc::vec::Vec;
use core::time::Duration;

use ha_proto::Instant;

use crate::Config;

/// When this node sent which number; the newest [`Sent::len`] of them.
///
/// Memory is taken once, at the start. A forgotten number proves nothing, which is the safe side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Number `n` is at `(n - 1) % len`.
    rounds: Vec<Round>,
    newest: u64,
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
        Self { rounds: Vec::with_capacity(len), newest: 0, len }
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
        let sent = number > 0 && number <= self.newest;
        let remembered = sent && self.newest - number < self.len as u64;
        remembered.then(|| self.rounds[self.place(number)])
    }

    /// When the round with this number was sent, if no longer than `timeout` before `now`.
    pub(crate) fn recent(&self, number: u64, now: Instant, timeout: Duration) -> Option<Instant> {
        let at = self.round(number)?.at;
        (now.saturating_since(at) <= timeout).then_some(at)
    }

    fn place(&self, number: u64) -> usize {
        assert!(number > 0, "round 0 was never sent: its place would be another one's");
        ((number - 1) % self.len as u64) as usize
    }
}
