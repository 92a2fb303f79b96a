//! A model of one node's storage: what was not synced may be lost, whatever it is.

use bytes::{Bytes, BytesMut};
use ha_proto::{DataState, Lineage, Membership, Position, Seq, StoreId};
use ha_replicate::Batch;

/// What survives a crash.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) store: StoreId,
    records: Vec<(Position, Bytes)>,
    durable: usize,
    pub(crate) membership: Option<Membership>,
    pub(crate) lineage: Lineage,
    pub(crate) state: DataState,
}

impl Disk {
    pub(crate) fn blank(store: StoreId) -> Self {
        Self {
            store,
            records: Vec::new(),
            durable: 0,
            membership: None,
            lineage: Lineage::default(),
            state: DataState::Blank,
        }
    }

    pub(crate) fn append(&mut self, batch: &Batch) {
        assert_eq!(batch.first.0, self.records.len() as u64 + 1, "an append leaves a hole");
        let mut before = self.position(self.records.len());
        let mut at = 0;
        for record in batch.records() {
            assert!(record.follows(before.chain), "an append continues another history");
            before = record.position;
            let end = at + ha_replicate::record::HEADER_LEN + record.body.payload.len();
            self.records.push((before, batch.bytes.slice(at..end)));
            at = end;
        }
        assert_eq!((at, before), (batch.bytes.len(), batch.end));
    }

    pub(crate) fn sync(&mut self, upto: Seq) {
        self.durable = self.durable.max(usize::try_from(upto.0).unwrap());
        assert!(self.durable <= self.records.len());
    }

    pub(crate) fn truncate(&mut self, keep: Seq) -> Position {
        assert_eq!(self.durable, self.records.len(), "a cut with appends under way");
        self.records.truncate(usize::try_from(keep.0).unwrap());
        self.durable = self.records.len();
        self.head()
    }

    pub(crate) fn read(&self, from: Seq, max: usize) -> Bytes {
        let from = usize::try_from(from.0).unwrap();
        assert!(from <= self.durable, "record {from} is read before it is durable");
        let mut out = BytesMut::new();
        for (_, bytes) in &self.records[from - 1..self.durable] {
            if !out.is_empty() && out.len() + bytes.len() > max {
                break;
            }
            out.extend_from_slice(bytes);
        }
        out.freeze()
    }

    /// The membership saved is of the higher epoch; of equal ones the newer.
    pub(crate) fn save(&mut self, membership: Membership, lineage: Lineage, state: DataState) {
        if self.membership.is_none_or(|ours| ours.epoch <= membership.epoch) {
            self.membership = Some(membership);
        }
        (self.lineage, self.state) = (lineage, state);
    }

    /// Power is cut: of what was not synced, `kept` records happen to be there.
    pub(crate) fn lose(&mut self, kept: usize) {
        self.records.truncate(self.durable + kept);
        self.durable = self.records.len();
    }

    pub(crate) fn head(&self) -> Position {
        self.position(self.durable)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.records.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }

    fn position(&self, at: usize) -> Position {
        at.checked_sub(1).map_or(Position::default(), |at| self.records[at].0)
    }

    /// The position of a durable record.
    pub(crate) fn durable_position(&self, seq: Seq) -> Option<Position> {
        let at = usize::try_from(seq.0).unwrap();
        (at <= self.durable).then(|| self.position(at))
    }
}
