//! Since when records wait for their acknowledgement.

use alloc::collections::VecDeque;
use core::time::Duration;

use ha_proto::{Instant, Seq};

/// Records that this leader was given and nobody was answered for yet, oldest first.
///
/// No more than the window has room for: nothing is proposed beyond it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Waiting {
    spans: VecDeque<Span>,
}

/// Records that were proposed at the same time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Span {
    first: Seq,
    last: Seq,
    since: Instant,
}

impl Waiting {
    /// `seq` is proposed.
    pub(crate) fn push(&mut self, now: Instant, seq: Seq) {
        match self.spans.back_mut() {
            Some(span) if span.since == now && span.last.next() == seq => span.last = seq,
            _ => self.spans.push_back(Span { first: seq, last: seq, since: now }),
        }
    }

    /// All up to `upto` is acknowledged: for how long how many of them waited, the oldest of those
    /// that are left. `None` once there are no more.
    pub(crate) fn settle(&mut self, now: Instant, upto: Seq) -> Option<(Duration, u64)> {
        let span = self.spans.front_mut().filter(|span| span.first <= upto)?;
        let waited = now.saturating_since(span.since);
        let last = span.last.min(upto);
        let count = last.0 - span.first.0 + 1;
        span.first = last.next();
        if last == span.last {
            self.spans.pop_front();
        }
        Some((waited, count))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn each_record_waits_from_its_own_proposal() {
        let at = |millis: u64| Instant::ZERO + Duration::from_millis(millis);
        let mut waiting = Waiting::default();
        for (millis, seq) in [(1, 5), (1, 6), (1, 7), (3, 8)] {
            waiting.push(at(millis), Seq(seq));
        }
        let mut settle = |millis, upto| -> Vec<(u128, u64)> {
            let next = || waiting.settle(at(millis), Seq(upto));
            core::iter::from_fn(next).map(|(waited, count)| (waited.as_millis(), count)).collect()
        };
        assert_eq!(settle(4, 4), []);
        assert_eq!(settle(5, 6), [(4, 2)]);
        assert_eq!(settle(6, 6), []);
        assert_eq!(settle(7, 8), [(6, 1), (4, 1)]);
        assert_eq!(settle(8, 9), []);
    }
}
