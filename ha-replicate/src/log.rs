//! The machine: its state, its parts' order, and what its host asks.

use bytes::{Bytes, BytesMut};
use ha_proto::{
    DataState, Deadline, Epoch, Instant, Lineage, LineageEntry, Machine, Membership, Outbox,
    Position, Seq, StoreId, Timer,
};

use crate::apply::Apply;
use crate::config::{Config, Recovered};
use crate::event::{Counters, Event, Input, Output, PeerView, ProposeError, ReadFor};
use crate::follow::{Follower, Job};
use crate::gather::Gather;
use crate::journal::Journal;
use crate::lead::Leader;
use crate::record::{HEADER_LEN, RECORD_MAX};
use crate::session::Session;

/// The replication log of one node of a mirror pair: a machine for both roles.
///
/// - Drive it: [`handle`](Machine::handle), [`deadline`](Machine::deadline),
///   [`poll_message`](Self::poll_message).
/// - Write: [`propose`](Self::propose), [`next_lineage`](Self::next_lineage).
/// - Ask: [`head`](Self::head), [`durable`](Self::durable), [`committed`](Self::committed),
///   [`applied`](Self::applied), [`lineage`](Self::lineage), [`state`](Self::state),
///   [`peer`](Self::peer), [`counters`](Self::counters).
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    pub(crate) config: Config,
    pub(crate) store: StoreId,
    pub(crate) state: DataState,
    pub(crate) membership: Option<Membership>,
    pub(crate) lineage: Lineage,
    pub(crate) journal: Journal,
    gather: Gather,
    pub(crate) committed: Seq,
    pub(crate) apply: Apply,
    pub(crate) job: Option<Job>,
    pub(crate) session: Session,
    pub(crate) mode: Mode,
    /// The epoch of which the lineage is being saved: nothing is proposed meanwhile.
    pub(crate) freeze: Option<Epoch>,
    /// The record whose chain is being read.
    pub(crate) checking: Option<Seq>,
    /// The position behind which the peer's records are being read.
    pub(crate) reading: Option<Position>,
    pub(crate) reading_is_wanted: bool,
    /// Of the two, what began before records were cut: its end, however it ends, means nothing.
    pub(crate) void: Void,
    pub(crate) due: Timer,
    pub(crate) failed: bool,
    space: Space,
    pub(crate) counters: Counters,
}

/// Reads under way that are void.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Void {
    pub(crate) check: bool,
    pub(crate) peer: bool,
}

/// What this node does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mode {
    Detached,
    Leading(Leader),
    Following(Follower),
}

/// Whether the largest size was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Space {
    Left,
    Exhausted,
    Told,
}

/// Most bytes of one read: large enough that a disk streams, small enough to be sent at once.
pub(crate) const READ_MAX: usize = 256 << 10;

impl Log {
    /// A log that neither serves nor follows yet.
    ///
    /// # Panics
    /// When [`Config::check`] fails.
    pub fn new(config: Config, recovered: Recovered) -> Self {
        assert!(config.check().is_ok(), "limits that cannot be kept would stop every writer");
        let Recovered { position, lineage, state, membership, store, applied, bytes } = recovered;
        Self {
            config,
            store,
            state,
            membership,
            lineage,
            journal: Journal::new(position, bytes, config.batch_bytes),
            gather: Gather::new(config.stall),
            committed: applied.min(position.seq),
            apply: Apply::new(applied, position.seq),
            job: None,
            session: Session::default(),
            mode: Mode::Detached,
            freeze: None,
            checking: None,
            reading: None,
            reading_is_wanted: false,
            void: Void::default(),
            due: Timer::IDLE,
            failed: false,
            space: Space::Left,
            counters: Counters::default(),
        }
    }

    /// Puts a record into the open batch; the next tick, which is due at once, closes it.
    ///
    /// # Errors
    /// [`ProposeError`]; nothing was proposed then.
    pub fn propose(&mut self, now: Instant, payload: &[u8]) -> Result<Seq, ProposeError> {
        if self.failed {
            return Err(ProposeError::Failed);
        }
        let len = HEADER_LEN + payload.len();
        let fits = self.fits_window(len);
        let Mode::Leading(leader) = &mut self.mode else { return Err(ProposeError::NotLeader) };
        if payload.len() > RECORD_MAX {
            return Err(ProposeError::TooLarge);
        }
        if self.journal.bytes() + len as u64 > self.config.log_max_bytes {
            if self.space == Space::Left {
                self.space = Space::Exhausted;
                self.due.arm(now);
            }
            return Err(ProposeError::NoSpace);
        }
        if !fits {
            leader.owes_writable = true;
            return Err(ProposeError::Full);
        }
        let epoch = self.membership.expect("a leader has saved its membership").epoch;
        for (last, bytes) in self.journal.propose(epoch, payload).into_iter().flatten() {
            leader.unfinished.push(last, bytes);
        }
        leader.waiting.push(now, self.journal.head().seq);
        self.counters.proposed += 1;
        self.gather.proposed(self.waiting_records());
        self.due.arm(now);
        Ok(self.journal.head().seq)
    }

    /// Closes the open batch and answers the lineage to save before serving in `epoch`: this log's,
    /// and an entry that begins behind its last record. The log stays as it is until
    /// [`Input::Lead`], or `Follow` in a higher epoch: a leader proposes nothing, a follower no
    /// longer follows.
    ///
    /// # Panics
    /// When not [settled](Self::is_settled), or `epoch` is lower than one that wrote here.
    pub fn next_lineage(&mut self, epoch: Epoch) -> Lineage {
        assert!(self.is_settled(), "the entry would begin behind records that are being removed");
        if matches!(self.mode, Mode::Following(_)) {
            self.detach();
        }
        self.seal();
        self.freeze = Some(epoch);
        let Position { seq, chain, .. } = self.journal.head();
        let mut lineage = self.lineage.clone();
        lineage.clip(seq);
        lineage.push(LineageEntry { epoch, first: seq.next(), chain });
        lineage
    }

    /// Writes the next message for the peer behind `buf`'s content if one is due and is not longer
    /// than `room`; its length, or zero.
    ///
    /// A stream must sooner or later have room for [`MESSAGE_MAX`](crate::MESSAGE_MAX).
    pub fn poll_message(&mut self, now: Instant, room: usize, buf: &mut BytesMut) -> usize {
        let mut bulk = None;
        let len = self.poll_parts(now, room, buf, &mut bulk);
        if let Some(bulk) = bulk {
            buf.extend_from_slice(&bulk);
        }
        len
    }

    /// As [`poll_message`](Self::poll_message), for a stream that sends pieces one after the other:
    /// when the message ends with many records that lie in memory in one piece, they are left in
    /// `bulk` instead of being copied. The length is that of both.
    pub fn poll_parts(
        &mut self,
        now: Instant,
        room: usize,
        buf: &mut BytesMut,
        bulk: &mut Option<Bytes>,
    ) -> usize {
        assert!(bulk.is_none(), "what an earlier message left would be lost");
        self.write_message(now, room, buf, bulk)
    }

    /// The last record, durable or not.
    pub fn head(&self) -> Position {
        self.journal.head()
    }

    /// The last durable record.
    pub fn durable(&self) -> Position {
        self.journal.durable()
    }

    /// The last committed record: every member of the set has it durably. Falls only when a log is
    /// overwritten by an order of the leader, after this node's exclusion.
    pub fn committed(&self) -> Seq {
        self.committed
    }

    /// The last record that the host has applied.
    pub fn applied(&self) -> Seq {
        self.apply.applied()
    }

    /// Bytes of the whole log.
    pub fn bytes(&self) -> u64 {
        self.journal.bytes()
    }

    /// What this node's data are worth.
    pub fn state(&self) -> DataState {
        self.state
    }

    /// Whether no records are being removed: only then may [`Log::next_lineage`] be asked and
    /// [`Input::Lead`] be told.
    pub fn is_settled(&self) -> bool {
        !self.is_cutting()
    }

    /// Which reigns wrote this log.
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// What is known of the peer.
    pub fn peer(&self) -> PeerView {
        let greeting = self.session.greeting.as_ref();
        let greeted = PeerView {
            connected: self.session.connected,
            store: greeting.map(|hello| hello.store),
            state: greeting.map(|hello| hello.state),
            comparison: self.session.comparison,
            ..PeerView::default()
        };
        match &self.mode {
            Mode::Detached => greeted,
            Mode::Following(follower) => PeerView { following: follower.synced, ..greeted },
            Mode::Leading(leader) => PeerView {
                state: leader.state,
                caught_up_to: leader.durable,
                received: leader.received,
                written: leader.written,
                lag: self.journal.head().seq.0 - leader.durable.0,
                lacks: leader.bytes.map(|bytes| self.journal.bytes().saturating_sub(bytes)),
                in_flight: leader.flight.bytes(),
                needs_exclusion: leader.waits_for_exclusion(self.peer_in_set()),
                stalled: leader.stalled,
                following: leader.serves_peer(),
                ..greeted
            },
        }
    }

    /// How often things happened.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    pub(crate) fn leads(&self) -> bool {
        matches!(self.mode, Mode::Leading(_))
    }

    /// Whether the log is what its durable part is, and no step will change that.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.journal.is_quiet() && self.job.is_none()
    }

    /// Nothing is accepted, acknowledged or said any more.
    pub(crate) fn fail(&mut self) {
        self.failed = true;
        self.due.disarm();
        self.gather = Gather::new(self.config.stall);
        self.mode = Mode::Detached;
    }

    /// Takes up another mode. What was proposed stays in the log.
    pub(crate) fn leave_mode(&mut self, next: Mode) {
        self.seal();
        self.peer_read_is_stale();
        if self.leads() {
            // The peer's picture of this log is as old as our last greeting.
            self.session.greets = self.session.connected;
        }
        self.mode = next;
    }

    fn hold(&mut self, membership: Membership) {
        let ours = self.membership.map(|ours| ours.epoch);
        assert!(ours.is_none_or(|ours| ours <= membership.epoch), "a saved epoch would fall (R3)");
        self.detach();
        self.membership = Some(membership);
        self.session.greets = self.session.connected;
    }

    fn detach(&mut self) {
        self.freeze = None;
        self.abandon_job();
        self.leave_mode(Mode::Detached);
    }

    fn seal(&mut self) {
        let closed = self.journal.seal();
        if let (Mode::Leading(leader), Some((last, bytes))) = (&mut self.mode, closed) {
            leader.unfinished.push(last, bytes);
        }
    }

    /// Whether `len` more bytes may be proposed now.
    fn fits_window(&self, len: usize) -> bool {
        let waiting = self.waiting_records();
        self.freeze.is_none()
            && self.journal.has_room()
            && self.waiting_bytes() + len <= self.config.window_bytes
            && waiting < self.config.window_records
    }

    /// Whether a writer that found the window full may try again. Half of it, so that it is not
    /// woken for each record.
    pub(crate) fn has_half_a_window(&self) -> bool {
        self.freeze.is_none()
            && self.waiting_bytes() <= self.config.window_bytes / 2
            && self.waiting_records() <= self.config.window_records / 2
    }

    fn waiting_records(&self) -> u64 {
        self.journal.head().seq.0 - self.committed.0
    }

    fn waiting_bytes(&self) -> usize {
        match &self.mode {
            Mode::Leading(leader) => leader.unfinished.bytes() + self.journal.open_bytes(),
            Mode::Detached | Mode::Following(_) => 0,
        }
    }

    fn route(&mut self, input: Input, out: &mut Outbox<Output>) {
        match input {
            Input::Tick => {}
            Input::Lead { membership, lineage } => self.lead(membership, lineage, out),
            Input::Follow { membership } => self.follow(membership, out),
            Input::Hold { membership } => self.hold(membership),
            Input::Detach => self.detach(),
            Input::Connected => self.on_connection(true),
            Input::Disconnected => self.on_connection(false),
            Input::Message(bytes) => self.on_message(&bytes, out),
            Input::Written { seq } => self.journal.wrote(seq),
            Input::Durable { seq } => self.journal.made_durable(seq),
            Input::SetAside { bytes } => self.on_set_aside(bytes, out),
            Input::Truncated { head, bytes } => self.on_truncated(head, bytes, out),
            Input::Read { what: ReadFor::Apply, from, batch } => {
                self.on_read_to_apply(from, &batch, out);
            }
            Input::Read { what: ReadFor::Peer, from, batch } => {
                self.on_read_to_send(from, &batch, out);
            }
            Input::Read { what: ReadFor::Check, from, batch } => {
                self.on_read_to_check(from, &batch, out);
            }
            Input::Unread { what, from } => self.on_unread(what, from, out),
            Input::Saved => self.on_saved(out),
            Input::Applied { seq } => self.apply.on_applied(seq),
            Input::Failed => self.fail(),
        }
    }

    /// Everything that follows from what has changed; nothing when nothing has.
    fn settle(&mut self, now: Instant, out: &mut Outbox<Output>) {
        self.commit(now, out);
        self.append(now, out);
        self.step_cut(out);
        self.step_complete(out);
        self.step_apply(out);
        self.trim();
        self.settle_leader(now, out);
        if self.space == Space::Exhausted {
            self.space = Space::Told;
            out.push(Output::Event(Event::NoSpace));
        }
    }

    fn assert_invariants(&self) {
        let (head, durable) = (self.journal.head().seq, self.journal.durable().seq);
        let gathers = self.gather.waits();
        assert!(!self.journal.is_due(gathers), "records would wait for a call that nobody owes");
        assert!(durable <= self.journal.written(), "records would be durable before written");
        assert!(self.journal.written() <= head, "the disk would hold what was never appended");
        assert!(self.committed <= durable, "a crash would lose what was acknowledged (G4)");
        assert!(self.apply.applied() <= self.committed, "the host would have what may be undone");
        if let Mode::Leading(leader) = &self.mode {
            assert!(leader.durable <= head, "the peer would have what does not exist (R15)");
            let ours = self.membership.map(|ours| ours.epoch);
            let run = self.lineage.last().map(|run| run.epoch);
            assert!(ours == run, "records would be stamped with an epoch that no lineage knows");
        }
    }

    /// Group commit: what is proposed while the disk is busy becomes one batch when it is done and
    /// enough was gathered, when the batch is full, or when the disk makes no progress.
    fn append(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let (open, durable) = (self.journal.is_open(), self.journal.durable().seq);
        if self.journal.is_syncing() {
            if self.gather.disk_is_busy(now, open, durable) {
                self.seal();
            }
        } else if self.gather.disk_is_idle(now, open, self.waiting_records()) {
            self.seal();
            self.gather.disk_is_busy(now, false, durable);
        }
        while let Some(batch) = self.journal.take_fresh() {
            self.counters.appended += 1;
            out.push(Output::Append(batch));
        }
    }

    /// A leader commits what every member of the set durably has (R4); a follower what its leader
    /// did, as far as it has it.
    fn commit(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let durable = self.journal.durable().seq;
        let upto = match &self.mode {
            Mode::Leading(leader) if self.peer_in_set() => durable.min(leader.durable),
            Mode::Leading(_) => durable,
            Mode::Following(follower) if follower.synced => durable.min(follower.commit),
            Mode::Following(_) | Mode::Detached => return,
        };
        if upto > self.committed {
            self.committed = upto;
            self.note_acknowledged(now);
            out.push(Output::Committed(upto));
        }
    }

    fn note_acknowledged(&mut self, now: Instant) {
        let Mode::Leading(leader) = &mut self.mode else { return };
        while let Some((waited, count)) = leader.waiting.settle(now, self.committed) {
            self.counters.acknowledged.add(waited, count);
        }
    }

    /// Forgets what the disk has and nobody will ask for soon.
    fn trim(&mut self) {
        let applied = self.apply.applied();
        let unneeded = match &self.mode {
            Mode::Leading(leader) if self.session.connected => applied.min(leader.durable),
            Mode::Leading(_) | Mode::Following(_) | Mode::Detached => applied,
        };
        self.journal.trim(unneeded, self.config.window_bytes);
    }
}

impl Machine for Log {
    type Input = Input;
    type Output = Output;
    /// The batches of one call, and what else follows from one fact.
    const OUTPUTS_MAX: usize = Journal::FRESH_MAX + 32;

    fn handle(&mut self, now: Instant, input: Input, out: &mut Outbox<Output>) {
        if self.failed {
            return;
        }
        self.due.disarm();
        self.route(input, out);
        if !self.failed {
            self.settle(now, out);
            self.assert_invariants();
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        let soon = Deadline::sooner(self.due.deadline("append or read"), self.gather.deadline());
        Deadline::sooner(soon, self.stall_timer().deadline("the peer may have stalled"))
    }
}
