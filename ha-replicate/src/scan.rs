//! Reading contiguous records: at recovery, and of what a peer or the storage sent.

use ha_proto::{Chain, Position, Seq};

use crate::batch::BatchError;
use crate::record::{HEADER_LEN, Record};

/// The records of `bytes`, one by one, up to the first that does not continue the log.
///
/// At recovery that is the end of the log: a torn tail is cut there. But a record that does not
/// continue it in the *middle* is not: [`Scan::later`] finds out, and then nothing may be cut,
/// because what follows may be committed.
///
/// ```
/// use bytes::BytesMut;
/// use ha_proto::{Epoch, NodeId, Position};
/// use ha_replicate::record::Body;
/// use ha_replicate::scan::Scan;
///
/// let epoch = Epoch::new(1, NodeId::new(0).unwrap());
/// let mut log = BytesMut::new();
/// let first = Body::data(b"one").encode(epoch, Position::default(), &mut log);
/// Body::data(b"two").encode(epoch, first, &mut log);
/// let torn = &log[..log.len() - 1];
///
/// let mut scan = Scan::new(torn, Position::default());
/// assert_eq!(scan.by_ref().count(), 1);
/// assert_eq!(scan.position(), first);
/// assert_eq!(scan.later(), None); // so the tail may be cut at scan.len()
/// ```
#[derive(Clone, Debug)]
pub struct Scan<'a> {
    bytes: &'a [u8],
    len: usize,
    position: Position,
    before: Option<Chain>,
    stopped: Option<BatchError>,
}

impl<'a> Scan<'a> {
    /// The records behind `after`.
    pub const fn new(bytes: &'a [u8], after: Position) -> Self {
        Self { bytes, len: 0, position: after, before: Some(after.chain), stopped: None }
    }

    /// The records from `first` on; the history before them is not known, and believed.
    pub fn from_seq(bytes: &'a [u8], first: Seq) -> Self {
        let position = Position { seq: first.previous(), ..Position::default() };
        Self { before: None, ..Self::new(bytes, position) }
    }

    /// The last record that continues the log, so far.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Bytes up to and including that record.
    #[allow(clippy::len_without_is_empty, reason = "a length in bytes, not a count of items")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Why it stopped; `None` before that, and at a clean end.
    pub const fn stopped(&self) -> Option<BatchError> {
        self.stopped
    }

    /// Where a later record of this log begins although the scan has stopped; `None` when there is
    /// none, so that what follows is a torn tail.
    pub fn later(&self) -> Option<usize> {
        (self.len + 1..self.bytes.len().saturating_sub(HEADER_LEN)).find(|&at| {
            let record = Record::decode(&self.bytes[at..]);
            record.is_ok_and(|(record, _)| record.position.seq > self.position.seq)
        })
    }

    fn check(&self) -> Result<(Record<'a>, usize), BatchError> {
        let (record, len) = Record::decode(&self.bytes[self.len..])?;
        if record.position.seq != self.position.seq.next() {
            return Err(BatchError::Gap);
        }
        let continues = self.before.is_none_or(|before| record.follows(before));
        if !continues || record.position.epoch < self.position.epoch {
            return Err(BatchError::Chain);
        }
        Ok((record, len))
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        if self.stopped.is_some() || self.len == self.bytes.len() {
            return None;
        }
        match self.check() {
            Ok((record, len)) => {
                self.len += len;
                self.position = record.position;
                self.before = Some(record.position.chain);
                Some(record)
            }
            Err(error) => {
                self.stopped = Some(error);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use bytes::BytesMut;
    use ha_proto::{Epoch, NodeId};

    use super::*;
    use crate::record::{Body, RecordError};

    fn epoch(counter: u64) -> Epoch {
        Epoch::new(counter, NodeId::new(0).unwrap())
    }

    /// Three records of 60 bytes each, and their positions.
    fn three() -> (BytesMut, Vec<Position>) {
        let (mut log, mut positions) = (BytesMut::new(), Vec::new());
        let mut at = Position::default();
        for payload in [b"aaaa", b"bbbb", b"cccc"] {
            at = Body::data(payload).encode(epoch(1), at, &mut log);
            positions.push(at);
        }
        (log, positions)
    }

    #[test]
    fn reads_to_a_clean_end() {
        let (log, positions) = three();
        let mut scan = Scan::new(&log, Position::default());
        let found: Vec<_> = scan.by_ref().map(|record| record.position).collect();
        assert_eq!(found, positions);
        assert_eq!((scan.len(), scan.position(), scan.stopped()), (180, positions[2], None));
    }

    #[test]
    fn a_torn_tail_is_the_end() {
        let (log, positions) = three();
        let mut scan = Scan::new(&log[..150], Position::default());
        assert_eq!(scan.by_ref().count(), 2);
        assert_eq!((scan.len(), scan.position()), (120, positions[1]));
        assert_eq!(scan.stopped(), Some(BatchError::Record(RecordError::Torn)));
        assert_eq!(scan.later(), None);
    }

    #[test]
    fn an_unreadable_record_in_the_middle_is_not_the_end() {
        let (mut log, _) = three();
        log[70] ^= 1;
        let mut scan = Scan::new(&log, Position::default());
        assert_eq!(scan.by_ref().count(), 1);
        assert_eq!(scan.later(), Some(120));
    }

    #[test]
    fn records_that_do_not_continue_the_log_stop_it() {
        let (log, positions) = three();
        let stop = |bytes, after| {
            let mut scan = Scan::new(bytes, after);
            (scan.by_ref().count(), scan.stopped())
        };
        assert_eq!(stop(&log[60..], Position::default()), (0, Some(BatchError::Gap)));
        assert_eq!(stop(&log[..60], positions[0]), (0, Some(BatchError::Gap)));
        let other = Position { chain: Chain(7), ..positions[0] };
        assert_eq!(stop(&log[60..], other), (0, Some(BatchError::Chain)));
        let later = Position { epoch: epoch(2), ..positions[0] };
        assert_eq!(stop(&log[60..], later), (0, Some(BatchError::Chain)));
    }

    #[test]
    fn may_begin_in_the_middle() {
        let (log, positions) = three();
        let mut scan = Scan::from_seq(&log[60..], Seq(2));
        assert_eq!(scan.by_ref().count(), 2);
        assert_eq!(scan.position(), positions[2]);
    }
}
