//! Bytes that wait for something: for the commit, or for the peer's acknowledgement.

use alloc::collections::VecDeque;

use ha_proto::Seq;

/// Batches that wait, oldest first, and how many bytes they have.
///
/// Bounded by its users: nothing is sent or proposed beyond the window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flight {
    batches: VecDeque<(Seq, usize)>,
    bytes: usize,
}

impl Flight {
    pub(crate) fn push(&mut self, last: Seq, bytes: usize) {
        assert!(
            self.batches.back().is_none_or(|&(newest, _)| newest < last),
            "an older batch behind a newer one would never be settled"
        );
        self.batches.push_back((last, bytes));
        self.bytes += bytes;
    }

    /// Whatever ends at or before `upto` waits no more.
    pub(crate) fn settle(&mut self, upto: Seq) {
        while let Some(&(last, bytes)) = self.batches.front()
            && last <= upto
        {
            self.batches.pop_front();
            self.bytes -= bytes;
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settles_whole_batches() {
        let mut flight = Flight::default();
        flight.push(Seq(2), 20);
        flight.push(Seq(5), 30);
        flight.settle(Seq(1));
        assert_eq!(flight.bytes(), 50);
        flight.settle(Seq(4));
        assert_eq!(flight.bytes(), 30);
        flight.settle(Seq(5));
        assert_eq!(flight, Flight::default());
    }

    #[test]
    #[should_panic(expected = "would never be settled")]
    fn keeps_order() {
        let mut flight = Flight::default();
        flight.push(Seq(2), 20);
        flight.push(Seq(2), 20);
    }
}
