//! The machine.

use bytes::BytesMut;
use ha_proto::{DataState, Deadline, Epoch, Instant, Lineage, Machine, Outbox, Position, Seq};

use crate::config::{Config, Recovered};
use crate::event::{Counters, Input, Output, PeerView, ProposeError};

/// The replication log of one node of a mirror pair: a machine for both roles.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    config: Config,
    recovered: Recovered,
}

impl Log {
    /// A log that neither serves nor follows yet.
    ///
    /// # Panics
    /// When [`Config::check`] fails.
    pub fn new(config: Config, recovered: Recovered) -> Self {
        Self { config, recovered }
    }

    /// Puts a record into the open batch; the next tick, which is due at once, closes it.
    ///
    /// # Errors
    /// [`ProposeError`]; nothing has changed then.
    pub fn propose(&mut self, now: Instant, payload: &[u8]) -> Result<Seq, ProposeError> {
        let _ = (now, payload);
        Err(ProposeError::NotLeader)
    }

    /// Closes the open batch and answers the lineage to save before serving in `epoch`: this log's,
    /// and an entry that begins behind its last record. Until [`Input::Lead`], `Follow` or `Detach`
    /// nothing can be proposed.
    pub fn next_lineage(&mut self, epoch: Epoch) -> Lineage {
        let _ = epoch;
        self.recovered.lineage.clone()
    }

    /// Writes the next message for the peer behind `buf`'s content if one is due and is not longer
    /// than `room`; its length, or zero.
    ///
    /// A stream must sooner or later have room for [`MESSAGE_MAX`](crate::MESSAGE_MAX).
    pub fn poll_message(&mut self, now: Instant, room: usize, buf: &mut BytesMut) -> usize {
        let _ = (now, room, buf);
        0
    }

    /// The last record, durable or not.
    pub fn head(&self) -> Position {
        self.recovered.position
    }

    /// The last durable record.
    pub fn durable(&self) -> Position {
        self.recovered.position
    }

    /// The last committed record: every member of the set has it durably.
    pub fn committed(&self) -> Seq {
        self.recovered.applied
    }

    /// The last record that the host has applied.
    pub fn applied(&self) -> Seq {
        self.recovered.applied
    }

    /// What this node's data are worth.
    pub fn state(&self) -> DataState {
        self.recovered.state
    }

    /// Whether no step of the storage (set aside, truncate, save) is under way: only then may
    /// [`Log::next_lineage`] be asked.
    pub fn is_settled(&self) -> bool {
        true
    }

    /// Which reigns wrote this log.
    pub fn lineage(&self) -> &Lineage {
        &self.recovered.lineage
    }

    /// What is known of the peer.
    pub fn peer(&self) -> PeerView {
        PeerView::default()
    }

    /// How often things happened.
    pub fn counters(&self) -> Counters {
        Counters::default()
    }
}

impl Machine for Log {
    type Input = Input;
    type Output = Output;
    const OUTPUTS_MAX: usize = 64;

    fn handle(&mut self, _: Instant, _: Input, _: &mut Outbox<Output>) {}

    fn deadline(&self) -> Option<Deadline> {
        None
    }
}
