//! What goes into a log, and what it says.

use bytes::Bytes;
use ha_proto::codec::DecodeError;
use ha_proto::{
    Comparison, DataState, Epoch, Lineage, LineageEntry, Membership, Position, Seq, StoreId,
};
use thiserror::Error;

use crate::batch::{Batch, BatchError};
use crate::histogram::Histogram;

/// A fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time has passed, or [`Log::deadline`](crate::Log) is due.
    Tick,
    /// Serve. The node has saved both.
    ///
    /// At the start and whenever the epoch rises, `lineage` is what
    /// [`Log::next_lineage`](crate::Log::next_lineage) answered for that epoch. When only the set
    /// changes, it is ignored. The set is the one whose acknowledgements count from now on (R4);
    /// what is committed stays committed.
    Lead {
        /// Saved at this node, which holds it.
        membership: Membership,
        /// Saved at this node.
        lineage: Lineage,
    },
    /// Follow the frames of `membership.holder`, the peer, in this epoch or a higher one (R3).
    ///
    /// A lower epoch than the one followed is refused; an equal one changes nothing.
    Follow {
        /// Saved at this node.
        membership: Membership,
    },
    /// Hold a reign without serving yet, and say so to the peer: without a witness two holders
    /// compare lineages before either serves.
    Hold {
        /// Saved at this node, which holds it.
        membership: Membership,
    },
    /// Neither serve nor follow. What was proposed stays in the log as an unacknowledged tail.
    Detach,
    /// A stream to the peer is open; whatever an older one carried is lost.
    Connected,
    /// The stream is gone.
    Disconnected,
    /// One whole message of the peer's log, from the present stream, in order.
    Message(Bytes),
    /// Everything up to `seq` is written, although not yet durable. Optional: durable implies it.
    Written {
        /// The last record of an appended batch.
        seq: Seq,
    },
    /// Everything up to `seq` is durable.
    Durable {
        /// The last record of an appended batch.
        seq: Seq,
    },
    /// [`Output::SetAside`] is done, durably.
    SetAside {
        /// Bytes kept aside.
        bytes: u64,
    },
    /// [`Output::Truncate`] is done, durably.
    Truncated {
        /// The last record that is left, read from the storage; zero for an empty log.
        head: Position,
        /// Bytes of the log that are left.
        bytes: u64,
    },
    /// [`Output::Read`] is done.
    Read {
        /// What it was asked for.
        what: ReadFor,
        /// The first record, as asked for.
        from: Seq,
        /// Whole encoded records, at least one.
        batch: Bytes,
    },
    /// [`Output::Read`] could not be done. Nothing, if records were cut since it was asked for: it
    /// may have met the cut. Else [`Event::Unreadable`].
    Unread {
        /// What it was asked for.
        what: ReadFor,
        /// The first record, as asked for.
        from: Seq,
    },
    /// The last [`Output::Save`] is durable.
    Saved,
    /// The host has applied the last [`Output::Apply`].
    Applied {
        /// Its last record.
        seq: Seq,
    },
    /// The storage failed. Nothing is accepted, acknowledged or said any more (R2).
    Failed,
}

/// Something to do, or to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write these bytes behind the log's end and make them durable; say [`Input::Durable`].
    Append(Batch),
    /// Copy the records from `from` on aside, durably; say [`Input::SetAside`].
    SetAside {
        /// The first one.
        from: Seq,
    },
    /// Remove the records behind `keep`, durably; say [`Input::Truncated`].
    Truncate {
        /// The last one that stays.
        keep: Seq,
    },
    /// Read whole records; say [`Input::Read`]. One is asked for at a time for each purpose.
    Read {
        /// What for.
        what: ReadFor,
        /// The first record; it is durable.
        from: Seq,
        /// Most bytes; one record is read even if it is larger.
        max: usize,
    },
    /// Save these durably, merged into what the node saves; say [`Input::Saved`].
    Save {
        /// Replaces one of a lower epoch, or the equal one.
        membership: Membership,
        /// Replaces the saved one.
        lineage: Lineage,
        /// Replaces the saved one.
        state: DataState,
    },
    /// Apply these committed records to the host's state; say [`Input::Applied`].
    Apply(Batch),
    /// The host's state holds records that the log does not: make it empty. All records follow.
    Reset,
    /// Every record up to this one is committed.
    Committed(Seq),
    /// [`Log::propose`](crate::Log::propose) said `Full`, and there is room again.
    Writable,
    /// About the peer.
    Peer(PeerEvent),
    /// About this log.
    Event(Event),
}

/// What a read is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReadFor {
    /// To apply it.
    Apply,
    /// To send it to the peer.
    Peer,
    /// To compare the chain of one record with the peer's.
    Check,
}

/// What happened with the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// It introduced itself.
    Hello {
        /// Our log against its.
        comparison: Comparison,
        /// What it has saved; `None` when it never was a member of anything.
        membership: Option<Membership>,
        /// What it has saved.
        lineage: Lineage,
        /// Its last durable record.
        position: Position,
        /// Its store.
        store: StoreId,
        /// What its data are worth.
        state: DataState,
        /// Whether it serves; its position moves then.
        leading: bool,
    },
    /// It cannot simply go on from where it is, and the set still holds it: exclude it first (R14).
    NeedsExclusion,
    /// It is `Complete` and durably has all that was committed when it began to follow, or when the
    /// set or epoch changed last. Then the set may grow, or, when it holds the peer already and
    /// [`PeerView::caught_up_to`] reaches what is committed, be admitted (R4).
    CaughtUp,
    /// It is in the set and made no progress for [`Config::stall`](crate::Config::stall), with all
    /// that was closed here; what this node's own disk keeps back is not counted against it.
    Stalled,
    /// It is being copied to.
    Progress {
        /// Its last durable record.
        done: Seq,
        /// Ours.
        total: Seq,
    },
    /// This node's log differed from the holder's: what only it had was kept aside (R14).
    Diverged {
        /// The first record kept aside.
        from: Seq,
        /// The last one.
        to: Seq,
        /// Bytes kept aside.
        bytes: u64,
    },
    /// It holds the data of another bootstrap. Neither side is touched; an operator decides.
    OtherData,
}

/// What happened in this log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message was not understood.
    Malformed(DecodeError),
    /// Frames did not continue this log; it asks again where to go on.
    Corrupt(BatchError),
    /// The leader sent more than the window of bytes that are not durable here yet; the rest was
    /// dropped, and this log asks again once it has caught up.
    Overrun,
    /// A lower epoch was refused (R3). Said once for each greeting; all are counted.
    RefusedEpoch {
        /// The message's.
        theirs: Epoch,
        /// Ours.
        ours: Epoch,
    },
    /// Records that were durable cannot be read back. What needed them stops.
    Unreadable {
        /// What they were needed for.
        what: ReadFor,
        /// The first one.
        from: Seq,
    },
    /// The log has reached its largest size. Said once.
    NoSpace,
}

/// Why nothing was proposed. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProposeError {
    /// This node does not serve.
    #[error("this node does not serve")]
    NotLeader,
    /// The window is full, or the epoch is changing; [`Output::Writable`] follows.
    #[error("the window is full")]
    Full,
    /// The payload is larger than [`RECORD_MAX`](crate::record::RECORD_MAX).
    #[error("the record is too large")]
    TooLarge,
    /// The log has reached its largest size.
    #[error("the log has reached its largest size")]
    NoSpace,
    /// The disk does not answer, and no peer could serve instead. For the node that drives this log
    /// to say; it passes.
    #[error("the disk does not answer")]
    Stalled,
    /// The storage has failed.
    #[error("the storage has failed")]
    Failed,
}

/// What is known of the peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "independent answers, not a hidden state")]
pub struct PeerView {
    /// Whether there is a stream.
    pub connected: bool,
    /// Its store, once it introduced itself.
    pub store: Option<StoreId>,
    /// What its data are worth, as it said last.
    pub state: Option<DataState>,
    /// The last record that it durably has, acknowledged in this epoch from that store (R15); zero
    /// before the first such acknowledgement.
    pub caught_up_to: Seq,
    /// The last record that reached its memory.
    pub received: Seq,
    /// The last record that it wrote, although perhaps not durably.
    pub written: Seq,
    /// Records that it lacks durably.
    pub lag: u64,
    /// Bytes of this log that it lacks durably: this one's length less what the peer said of its own
    /// up to [`caught_up_to`](Self::caught_up_to), where both are the same bytes. `None` before it
    /// acknowledged anything in this epoch.
    pub lacks: Option<u64>,
    /// Bytes sent that it has not acknowledged.
    pub in_flight: usize,
    /// Our log against its, chain included, once that is known.
    pub comparison: Option<Comparison>,
    /// It waits for its exclusion from the set (R14).
    pub needs_exclusion: bool,
    /// It is in the set and makes no progress.
    pub stalled: bool,
    /// It follows the present run: its acknowledgements count. At a follower: the peer is followed.
    pub following: bool,
}

/// How often things happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records proposed.
    pub proposed: u64,
    /// Batches appended.
    pub appended: u64,
    /// Frames sent.
    pub frames_sent: u64,
    /// Frames accepted.
    pub frames_accepted: u64,
    /// Messages of a lower epoch.
    pub refused_epoch: u64,
    /// Messages that nobody waits for, such as frames that were on their way during a greeting.
    pub ignored: u64,
    /// Messages that were not understood, or frames that did not fit.
    pub corrupt: u64,
    /// Greetings sent.
    pub hellos: u64,
    /// Reads asked for.
    pub reads: u64,
    /// From a record's proposal here until it was committed: durable on every member of the set, so
    /// that whoever wrote it may be answered. Each record counts once.
    pub acknowledged: Histogram,
}

/// A run of a leader, as an acknowledgement names it: the lineage entry that is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The reign.
    pub epoch: Epoch,
    /// Its first record.
    pub first: Seq,
}

impl From<&LineageEntry> for Run {
    fn from(entry: &LineageEntry) -> Self {
        Self { epoch: entry.epoch, first: entry.first }
    }
}
