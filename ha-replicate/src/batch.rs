//! Contiguous encoded records, shared by disk, wire and host without a copy.

use bytes::Bytes;
use ha_proto::{Position, Seq};
use thiserror::Error;

use crate::record::{Record, RecordError, peek};
use crate::scan::Scan;

/// One or more contiguous records, encoded once: the same bytes go to the disk and to the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The first record.
    pub first: Seq,
    /// The last record.
    pub last: Seq,
    /// The last record's position.
    pub end: Position,
    /// All of them.
    pub bytes: Bytes,
}

/// Why bytes do not continue a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// One of them is not a record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// There is none.
    #[error("no record")]
    Empty,
    /// They leave out records, or repeat some.
    #[error("the records do not begin where the log ends")]
    Gap,
    /// They come from another history.
    #[error("the records continue another history")]
    Chain,
}

impl Batch {
    /// The records of a peer that continue the log after `after`; every byte belongs to one.
    ///
    /// # Errors
    /// [`BatchError`] when one does not.
    pub fn received(bytes: Bytes, after: Position) -> Result<Self, BatchError> {
        let mut scan = Scan::new(&bytes, after);
        while scan.next().is_some() {}
        let (end, stopped) = (scan.position(), scan.stopped());
        match stopped {
            Some(error) => Err(error),
            None if end == after => Err(BatchError::Empty),
            None => Ok(Self { first: after.seq.next(), last: end.seq, end, bytes }),
        }
    }

    /// The records of our own storage from `first` on, and after `after` where that is known. A
    /// torn one at the end is left out: a reader stops at its buffer's end.
    ///
    /// # Errors
    /// [`BatchError`] when one does not continue the log, or none is whole.
    pub fn read(bytes: &Bytes, first: Seq, after: Option<Position>) -> Result<Self, BatchError> {
        let mut scan = match after {
            Some(after) => Scan::new(bytes, after),
            None => Scan::from_seq(bytes, first),
        };
        while scan.next().is_some() {}
        match scan.stopped() {
            Some(BatchError::Record(RecordError::Torn)) | None => {}
            Some(error) => return Err(error),
        }
        if scan.len() == 0 {
            return Err(BatchError::Empty);
        }
        let end = scan.position();
        Ok(Self { first, last: end.seq, end, bytes: bytes.slice(..scan.len()) })
    }

    /// The records, oldest first.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        Scan::from_seq(&self.bytes, self.first)
    }

    /// The records behind `seq`; `None` when there is none. Nothing is copied.
    #[must_use]
    pub fn after(&self, seq: Seq) -> Option<Self> {
        if seq >= self.last {
            return None;
        }
        if seq < self.first {
            return Some(self.clone());
        }
        let (_, at) = self.find(seq);
        Some(Self { first: seq.next(), bytes: self.bytes.slice(at..), ..*self })
    }

    /// The records up to and including `seq`; `None` when there is none. Nothing is copied.
    #[must_use]
    pub fn upto(&self, seq: Seq) -> Option<Self> {
        if seq < self.first {
            return None;
        }
        if seq >= self.last {
            return Some(self.clone());
        }
        let (end, at) = self.find(seq);
        Some(Self { last: seq, end, bytes: self.bytes.slice(..at), ..*self })
    }

    /// The position of `seq`, which is one of these records.
    pub(crate) fn position(&self, seq: Seq) -> Position {
        if seq == self.last { self.end } else { self.find(seq).0 }
    }

    /// The position of `seq` and where its bytes end.
    fn find(&self, seq: Seq) -> (Position, usize) {
        assert!(seq >= self.first, "a walk from a later record would end at a wrong one");
        assert!(seq <= self.last, "a walk would leave the batch");
        let mut at = 0;
        loop {
            let (position, len) = peek(&self.bytes[at..]);
            at += len;
            if position.seq == seq {
                return (position, at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use bytes::BytesMut;
    use ha_proto::{Epoch, NodeId};
    use proptest::prelude::*;

    use super::*;
    use crate::record::Body;

    /// `count` records behind record 4, and the positions of all, that of record 4 included.
    fn log(count: usize) -> (Bytes, Vec<Position>) {
        let epoch = Epoch::new(1, NodeId::new(0).unwrap());
        let mut out = BytesMut::new();
        let mut positions = alloc::vec![Position { epoch, seq: Seq(4), ..Position::default() }];
        for at in 0..count {
            let before = positions[at];
            positions.push(Body::data(&[7; 4]).encode(epoch, before, &mut out));
        }
        (out.freeze(), positions)
    }

    #[test]
    fn every_received_byte_belongs_to_a_record() {
        let (bytes, positions) = log(2);
        let whole = Batch { first: Seq(5), last: Seq(6), end: positions[2], bytes: bytes.clone() };
        assert_eq!(Batch::received(bytes.clone(), positions[0]), Ok(whole));
        let torn = Err(BatchError::Record(RecordError::Torn));
        assert_eq!(Batch::received(bytes.slice(..100), positions[0]), torn);
        assert_eq!(Batch::received(Bytes::new(), positions[0]), Err(BatchError::Empty));
        assert_eq!(Batch::received(bytes, positions[1]), Err(BatchError::Gap));
    }

    #[test]
    fn a_read_may_end_inside_a_record() {
        let (bytes, positions) = log(2);
        let one = bytes.slice(..60);
        let batch = Batch { first: Seq(5), last: Seq(5), end: positions[1], bytes: one };
        assert_eq!(Batch::read(&bytes.slice(..100), Seq(5), Some(positions[0])), Ok(batch.clone()));
        assert_eq!(Batch::read(&bytes.slice(..100), Seq(5), None), Ok(batch));
        let empty = Err(BatchError::Empty);
        assert_eq!(Batch::read(&bytes.slice(..50), Seq(5), Some(positions[0])), empty);
        assert_eq!(Batch::read(&bytes, Seq(6), None), Err(BatchError::Gap));
    }

    proptest! {
        #[test]
        fn a_batch_is_cut_between_records(count in 1..6_usize, cut in 0..12_u64) {
            let (bytes, positions) = log(count);
            let whole = Batch::received(bytes.clone(), positions[0]).unwrap();
            let (head, tail) = (whole.upto(Seq(cut)), whole.after(Seq(cut)));
            let at = usize::try_from(cut.clamp(4, whole.last.0) - 4).unwrap();
            let cut_at = |part: &Option<Batch>| part.as_ref().map(|part| part.bytes.clone());
            let (first, rest) = (bytes.slice(..60 * at), bytes.slice(60 * at..));
            prop_assert_eq!(cut_at(&head).unwrap_or_default(), first);
            prop_assert_eq!(cut_at(&tail).unwrap_or_default(), rest);
            if let Some(head) = head {
                prop_assert_eq!(head.end, positions[at]);
                prop_assert_eq!(head.records().count(), at);
            }
            if let Some(tail) = tail {
                prop_assert_eq!(tail.first, positions[at].seq.next());
                prop_assert_eq!(tail.position(tail.first), positions[at + 1]);
            }
        }
    }
}
