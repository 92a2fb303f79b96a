//! This node's records: the open batch, what is on its way to the disk, and the newest of the rest.

use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use ha_proto::{Epoch, Position, Seq};

use crate::batch::Batch;
use crate::record::{Body, HEADER_LEN};

/// The end of the log, in memory.
///
/// Every batch that is not durable is here, because it cannot be read back yet; of the others as
/// many as the window allows and someone still needs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Journal {
    head: Position,
    written: Seq,
    durable: Position,
    bytes: u64,
    open: BytesMut,
    tail: VecDeque<Batch>,
    tail_bytes: usize,
    /// The newest batches of `tail` that nobody was asked to append yet.
    fresh: usize,
    batch_bytes: usize,
}

impl Journal {
    /// Most batches between two calls: more would be more outputs than one call may say.
    pub(crate) const FRESH_MAX: usize = 32;

    pub(crate) fn new(head: Position, bytes: u64, batch_bytes: usize) -> Self {
        Self {
            head,
            written: head.seq,
            durable: head,
            bytes,
            open: BytesMut::new(),
            tail: VecDeque::new(),
            tail_bytes: 0,
            fresh: 0,
            batch_bytes,
        }
    }

    pub(crate) const fn head(&self) -> Position {
        self.head
    }

    pub(crate) const fn written(&self) -> Seq {
        self.written
    }

    pub(crate) const fn durable(&self) -> Position {
        self.durable
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the log up to the last durable record.
    pub(crate) fn durable_bytes(&self) -> u64 {
        self.bytes - self.volatile_bytes() as u64 - self.open.len() as u64
    }

    /// Bytes of the open batch.
    pub(crate) fn open_bytes(&self) -> usize {
        self.open.len()
    }

    /// Whether everything is durable.
    pub(crate) fn is_quiet(&self) -> bool {
        self.head.seq == self.durable.seq
    }

    /// The last record of a closed batch.
    pub(crate) fn closed(&self) -> Seq {
        self.next_first().previous()
    }

    /// Whether one more record may be proposed before the next call appends what there is.
    pub(crate) const fn has_room(&self) -> bool {
        self.fresh < Self::FRESH_MAX
    }

    /// Whether the disk has something to make durable.
    pub(crate) fn is_syncing(&self) -> bool {
        self.tail.back().is_some_and(|batch| batch.last > self.durable.seq)
    }

    /// Whether there is an open batch.
    pub(crate) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Whether a call is due to append something; an open batch may be let wait for more.
    pub(crate) fn is_due(&self, gathers: bool) -> bool {
        self.fresh > 0 || (self.is_open() && !self.is_syncing() && !gathers)
    }

    /// Puts a record into the open batch. Closes it before, if it would grow too large, or after;
    /// answers up to two closed ones.
    pub(crate) fn propose(&mut self, epoch: Epoch, payload: &[u8]) -> [Option<(Seq, usize)>; 2] {
        let len = HEADER_LEN + payload.len();
        let overfull = !self.open.is_empty() && self.open.len() + len > self.batch_bytes;
        let before = if overfull { self.seal() } else { None };
        // Small batches share one piece of memory.
        if self.open.capacity() - self.open.len() < len {
            self.open.reserve(len.max(self.batch_bytes));
        }
        self.head = Body::data(payload).encode(epoch, self.head, &mut self.open);
        self.bytes += len as u64;
        let after = if self.open.len() >= self.batch_bytes { self.seal() } else { None };
        [before, after]
    }

    /// Closes the open batch; its last record and its length.
    pub(crate) fn seal(&mut self) -> Option<(Seq, usize)> {
        if self.open.is_empty() {
            return None;
        }
        let bytes = self.open.split().freeze();
        let first = self.next_first();
        let len = bytes.len();
        self.push(Batch { first, last: self.head.seq, end: self.head, bytes });
        Some((self.head.seq, len))
    }

    /// Takes records of the leader.
    pub(crate) fn accept(&mut self, batch: Batch) {
        assert!(self.open.is_empty(), "a follower's own records would be behind the leader's");
        assert!(batch.first == self.head.seq.next(), "the log would get a hole");
        self.head = batch.end;
        self.bytes += batch.bytes.len() as u64;
        self.push(batch);
    }

    /// The next batch that was not yet appended.
    pub(crate) fn take_fresh(&mut self) -> Option<Batch> {
        let at = self.tail.len().checked_sub(self.fresh)?;
        let batch = self.tail.get(at)?.clone();
        self.fresh -= 1;
        Some(batch)
    }

    /// Everything up to `seq` is written.
    pub(crate) fn wrote(&mut self, seq: Seq) {
        assert!(seq <= self.head.seq, "the disk would hold what was never appended");
        self.written = self.written.max(seq);
    }

    /// Every batch that ends at or before `seq` is durable.
    pub(crate) fn made_durable(&mut self, seq: Seq) {
        self.wrote(seq);
        let ended = self.tail.partition_point(|batch| batch.last <= seq);
        assert!(
            ended <= self.tail.len() - self.fresh,
            "a batch would be durable that nobody was asked to append"
        );
        let end = ended.checked_sub(1).map(|at| self.tail[at].end);
        if let Some(end) = end.filter(|end| end.seq > self.durable.seq) {
            self.durable = end;
        }
    }

    /// Bytes that are not durable.
    pub(crate) fn volatile_bytes(&self) -> usize {
        let from = self.tail.partition_point(|batch| batch.last <= self.durable.seq);
        self.tail.range(from..).map(|batch| batch.bytes.len()).sum()
    }

    /// The position of `seq`, if it is known without reading.
    pub(crate) fn position(&self, seq: Seq) -> Option<Position> {
        [self.head, self.durable, Position::default()]
            .into_iter()
            .find(|position| position.seq == seq)
            .or_else(|| self.holding(seq).map(|at| self.tail[at].position(seq)))
    }

    /// Whether `seq` is in memory.
    pub(crate) fn holds(&self, seq: Seq) -> bool {
        self.holding(seq).is_some()
    }

    /// The records of one batch behind `seq`, if they are in memory.
    pub(crate) fn after(&self, seq: Seq) -> Option<Batch> {
        let at = self.holding(seq.next())?;
        self.tail[at].after(seq)
    }

    /// Writes the records behind `seq` to `out`, at most `max` bytes of whole batches (of the first
    /// one at least the whole); where they end. `None` when they are not in memory or do not fit
    /// into `room`. A long batch is not copied but left in `bulk`.
    pub(crate) fn copy_after(
        &self,
        seq: Seq,
        (max, room): (usize, usize),
        out: &mut BytesMut,
        bulk: &mut Option<Bytes>,
    ) -> Option<Position> {
        let at = self.holding(seq.next())?;
        let first = self.tail[at].after(seq)?;
        if first.bytes.len() > room {
            return None;
        }
        let (mut end, mut len) = (first.end, first.bytes.len());
        if len >= BULK_MIN {
            *bulk = Some(first.bytes);
            return Some(end);
        }
        out.extend_from_slice(&first.bytes);
        for batch in self.tail.range(at + 1..) {
            len += batch.bytes.len();
            if len > max.min(room) {
                break;
            }
            out.extend_from_slice(&batch.bytes);
            end = batch.end;
        }
        Some(end)
    }

    /// Forgets durable batches, oldest first: those up to `unneeded`, and more while there are more
    /// than `max` bytes.
    pub(crate) fn trim(&mut self, unneeded: Seq, max: usize) {
        while let Some(oldest) = self.tail.front() {
            let durable = oldest.last <= self.durable.seq;
            let goes = oldest.last <= unneeded || self.tail_bytes > max;
            if !(durable && goes) {
                return;
            }
            self.tail_bytes -= oldest.bytes.len();
            self.tail.pop_front();
        }
    }

    /// The storage cut the log behind `head`.
    pub(crate) fn cut(&mut self, head: Position, bytes: u64) {
        assert!(self.is_quiet(), "records on their way would land behind the cut");
        assert!(head.seq <= self.head.seq, "a cut cannot make a log longer");
        self.tail.clear();
        (self.tail_bytes, self.fresh) = (0, 0);
        (self.head, self.durable, self.written) = (head, head, head.seq);
        self.bytes = bytes;
    }

    fn push(&mut self, batch: Batch) {
        self.tail_bytes += batch.bytes.len();
        self.tail.push_back(batch);
        self.fresh += 1;
    }

    /// The first record of the open batch, or of the next one. What is neither in the tail nor
    /// durable can only be in the open batch.
    fn next_first(&self) -> Seq {
        self.tail.back().map_or(self.durable.seq, |batch| batch.last).next()
    }

    /// Which batch of the tail holds `seq`.
    fn holding(&self, seq: Seq) -> Option<usize> {
        let at = self.tail.partition_point(|batch| batch.last < seq);
        self.tail.get(at).filter(|batch| batch.first <= seq).map(|_| at)
    }
}

/// Bytes from which on a batch is sent from where it lies: below, a copy costs less than a piece.
const BULK_MIN: usize = 16 << 10;
