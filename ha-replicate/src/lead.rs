//! The leader's part: where the peer goes on, what it is sent, what its acknowledgements prove.

use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use ha_proto::{
    Comparison, DataState, Instant, Lineage, Membership, Outbox, Position, Seq, StoreId, Timer,
};

use crate::batch::Batch;
use crate::event::{Event, Output, PeerEvent, ReadFor, Run};
use crate::flight::Flight;
use crate::log::{Log, Mode, READ_MAX};
use crate::message::{Ack, Commit, FRAMES_LEN, Frames, Hello, Sync};
use crate::session::write_whole;
use crate::waiting::Waiting;

/// What a leader knows of its writers and of its peer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Leader {
    /// Closed batches that are not committed.
    pub(crate) unfinished: Flight,
    /// Since when records wait to be committed.
    pub(crate) waiting: Waiting,
    /// `Full` was said.
    pub(crate) owes_writable: bool,
    stage: Stage,
    /// Acknowledged in this epoch, from the store that greeted (R4, R15).
    pub(crate) durable: Seq,
    pub(crate) received: Seq,
    pub(crate) written: Seq,
    /// Bytes of the peer's log up to `durable`, as it said; `None` before it acknowledged any.
    pub(crate) bytes: Option<u64>,
    pub(crate) state: Option<DataState>,
    /// The last record sent.
    sent: Position,
    pub(crate) flight: Flight,
    /// Read from the storage, to be sent behind `sent`.
    ready: VecDeque<Batch>,
    /// What the peer was told to be committed.
    told: Seq,
    /// `CaughtUp` is said once this is durable there.
    mark: Option<Seq>,
    /// Hundredths of the copy that were told.
    progress: u64,
    told_exclusion: bool,
    stall: Timer,
    pub(crate) stalled: bool,
}

/// How far the peer has come since its greeting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// It has not greeted, or serves itself.
    #[default]
    Silent,
    /// The chain of our record `seq` is being read, to compare it.
    Checking { seq: Seq },
    /// An order is due, as soon as the set allows it.
    Planned(Plan),
    /// The order is sent.
    Ordered(Plan),
    /// It follows this run.
    Serving,
    /// Nothing can be done for it until it greets again.
    Refused,
}

/// Where the peer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    copy: bool,
    keep: Position,
}

/// Batches that are read ahead: one to send, one to come.
const READY_MAX: usize = 2;

impl Leader {
    /// The peer greets, or the stream is new or gone. What it has acknowledged remains true until a
    /// greeting says that it may not be.
    pub(crate) fn lose_peer(&mut self) {
        self.stage = Stage::Silent;
        self.flight.clear();
        self.ready.clear();
        self.told = Seq::ZERO;
        self.mark = None;
        self.told_exclusion = false;
    }

    fn forget_acks(&mut self) {
        (self.durable, self.received, self.written) = (Seq::ZERO, Seq::ZERO, Seq::ZERO);
        self.bytes = None;
    }

    /// The epoch has risen while serving: the peer goes on behind the last record sent, once it has
    /// saved the new run.
    fn raise(&mut self) {
        self.forget_acks();
        self.told = Seq::ZERO;
        self.mark = None;
        self.stage = match self.stage {
            Stage::Serving => {
                let copy = self.state != Some(DataState::Complete);
                Stage::Planned(Plan { copy, keep: self.sent })
            }
            Stage::Ordered(plan) => Stage::Planned(plan),
            stage @ (Stage::Silent
            | Stage::Checking { .. }
            | Stage::Planned(_)
            | Stage::Refused) => stage,
        };
    }

    pub(crate) fn serves_peer(&self) -> bool {
        self.stage == Stage::Serving
    }

    /// Whether an order waits for the peer's exclusion from the set (R14).
    pub(crate) fn waits_for_exclusion(&self, peer_in_set: bool) -> bool {
        peer_in_set && matches!(self.stage, Stage::Planned(Plan { copy: true, .. }))
    }
}

impl Log {
    pub(crate) fn lead(
        &mut self,
        membership: Membership,
        lineage: Lineage,
        out: &mut Outbox<Output>,
    ) {
        assert!(membership.holder == self.config.me, "two nodes would write in one epoch (G1)");
        assert!(membership.set.contains(self.config.me), "a leader outside the set proves nothing");
        assert!(!self.is_cutting(), "records would land behind a cut");
        let ours = self.membership.map(|ours| ours.epoch);
        assert!(ours.is_none_or(|ours| ours <= membership.epoch), "a saved epoch would fall (R3)");
        let starts = !self.leads() || ours != Some(membership.epoch);
        self.membership = Some(membership);
        if starts {
            self.begin_run(&membership, lineage);
            // A peer that leads too must hear of it, or neither would ever learn that they met.
            self.session.greets |= self.session.connected && self.knows_holder();
        }
        match &mut self.mode {
            Mode::Leading(leader) if starts => leader.raise(),
            Mode::Leading(leader) => {
                leader.mark = leader.serves_peer().then_some(self.committed);
            }
            Mode::Detached | Mode::Following(_) => self.begin_to_lead(out),
        }
    }

    /// Whether the peer held a reign of its own when it greeted last.
    fn knows_holder(&self) -> bool {
        let told = self.session.greeting.as_ref().and_then(|hello| hello.membership);
        self.session.rival || told.is_some_and(|told| told.holder == self.config.peer)
    }

    fn begin_run(&mut self, membership: &Membership, lineage: Lineage) {
        let (head, last) = (self.journal.head(), lineage.last());
        let run = last.expect("a leader's lineage has an entry of its own");
        assert!(run.epoch == membership.epoch, "records would be stamped with another epoch");
        assert!(run.first == head.seq.next(), "the run would not begin where the log ends");
        assert!(run.chain == head.chain, "the run would continue another history");
        // One of a still higher epoch may be on its way to the disk.
        self.freeze = self.freeze.filter(|&frozen| frozen > run.epoch);
        self.lineage = lineage;
        self.state = DataState::Complete;
    }

    fn begin_to_lead(&mut self, out: &mut Outbox<Output>) {
        self.abandon_job();
        self.leave_mode(Mode::Leading(Leader::default()));
        match (&self.session.greeting, self.session.used) {
            (Some(_), false) => self.judge_greeting(out),
            (Some(_), true) => {
                self.session.greets = true;
                self.session.again = true;
            }
            (None, _) => {}
        }
    }

    /// Finds out where the peer that greeted may go on.
    pub(crate) fn judge_greeting(&mut self, out: &mut Outbox<Output>) {
        let (Mode::Leading(leader), Some(hello)) = (&mut self.mode, &self.session.greeting) else {
            return;
        };
        leader.lose_peer();
        leader.forget_acks();
        leader.state = Some(hello.state);
        if hello.leading {
            return;
        }
        let (hello, head) = (hello.clone(), self.journal.head());
        if self.is_foreign(&hello) {
            out.push(Output::Peer(PeerEvent::OtherData));
            self.set_stage(Stage::Refused);
        } else if hello.state == DataState::Blank {
            self.plan(true, Position::default());
        } else {
            match self.compare(&hello) {
                Comparison::Equal | Comparison::Ahead => self.check(hello.position.seq),
                Comparison::Behind => self.plan(true, head),
                Comparison::Diverged { common } => self.check(common),
            }
        }
    }

    fn compare(&self, hello: &Hello) -> Comparison {
        self.lineage.compare(self.journal.head(), &hello.lineage, hello.position)
    }

    fn set_stage(&mut self, to: Stage) {
        if let Mode::Leading(leader) = &mut self.mode {
            leader.stage = to;
        }
    }

    fn plan(&mut self, copy: bool, keep: Position) {
        self.set_stage(Stage::Planned(Plan { copy, keep }));
    }

    /// Finds our position at `seq`, reading it if need be.
    fn check(&mut self, seq: Seq) {
        match self.known_position(seq) {
            Some(position) => self.conclude(position),
            None => self.set_stage(Stage::Checking { seq }),
        }
    }

    fn known_position(&self, seq: Seq) -> Option<Position> {
        let boundary = || {
            let next = self.lineage.entry_at(seq.next()).filter(|next| next.first == seq.next())?;
            let epoch = self.lineage.epoch_at(seq).unwrap_or_default();
            Some(Position { epoch, seq, chain: next.chain })
        };
        self.journal.position(seq).or_else(boundary)
    }

    /// With our position there: whether the peer's log is a part of ours.
    fn conclude(&mut self, ours: Position) {
        let Some(hello) = self.session.greeting.clone() else { return };
        let theirs = hello.position;
        let part = matches!(self.compare(&hello), Comparison::Equal | Comparison::Ahead);
        if !part {
            self.plan(true, ours);
        } else if ours.chain == theirs.chain {
            self.plan(hello.state != DataState::Complete, theirs);
        } else {
            // Under the same lineage entry a leader lost its tail and wrote others: what stands
            // before the entry is common, because the entry holds its chain.
            let entry = self.lineage.entry_at(theirs.seq).copied();
            let keep = entry.map_or_else(Position::default, |entry| {
                let seq = entry.first.previous();
                let epoch = self.lineage.epoch_at(seq).unwrap_or_default();
                Position { epoch, seq, chain: entry.chain }
            });
            self.session.comparison = Some(Comparison::Diverged { common: keep.seq });
            self.plan(true, keep);
        }
    }

    pub(crate) fn on_ack(&mut self, ack: &Ack, out: &mut Outbox<Output>) {
        if !self.counts(ack) {
            self.counters.ignored += 1;
            return;
        }
        let total = self.journal.head().seq;
        let Mode::Leading(leader) = &mut self.mode else { return };
        if leader.stage != Stage::Serving {
            leader.stage = Stage::Serving;
            leader.mark = Some(self.committed);
        }
        if ack.durable > leader.durable {
            leader.durable = ack.durable;
            leader.stall.disarm();
            leader.stalled = false;
        }
        if ack.durable == leader.durable {
            leader.bytes = Some(ack.bytes);
        }
        leader.received = leader.received.max(ack.received);
        leader.written = leader.written.max(ack.written);
        leader.state = Some(ack.state);
        leader.flight.settle(ack.durable);
        let progress = leader.durable.0 * 100 / total.0.max(1);
        if ack.state == DataState::Target && progress != leader.progress {
            leader.progress = progress;
            out.push(Output::Peer(PeerEvent::Progress { done: leader.durable, total }));
        }
    }

    /// An acknowledgement counts in the present epoch, of the present run, from the store that
    /// greeted, of what was sent (R4, R15).
    fn counts(&self, ack: &Ack) -> bool {
        let Mode::Leading(leader) = &self.mode else { return false };
        let listens = matches!(leader.stage, Stage::Ordered(_) | Stage::Serving);
        let epoch = self.membership.map(|ours| ours.epoch);
        let run = self.lineage.last().map(Run::from);
        listens
            && epoch == Some(ack.epoch)
            && run == Some(ack.run)
            && self.peer_store() == Some(ack.store)
            && ack.received <= leader.sent.seq
    }

    pub(crate) fn peer_store(&self) -> Option<StoreId> {
        self.session.greeting.as_ref().map(|hello| hello.store)
    }

    pub(crate) fn peer_in_set(&self) -> bool {
        self.membership.is_some_and(|ours| ours.set.contains(self.config.peer))
    }

    /// Everything that follows for a leader from what has changed.
    pub(crate) fn settle_leader(&mut self, now: Instant, out: &mut Outbox<Output>) {
        self.settle_window(out);
        self.ask_to_check(out);
        self.read_ahead(out);
        self.settle_peer(now, out);
    }

    fn settle_window(&mut self, out: &mut Outbox<Output>) {
        let room = self.has_half_a_window();
        let Mode::Leading(leader) = &mut self.mode else { return };
        leader.unfinished.settle(self.committed);
        if leader.owes_writable && room {
            leader.owes_writable = false;
            out.push(Output::Writable);
        }
    }

    fn settle_peer(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let (in_set, owed) = (self.peer_in_set(), self.owed_by_peer());
        let stall = self.config.stall;
        let Mode::Leading(leader) = &mut self.mode else { return };
        let waits = leader.waits_for_exclusion(in_set);
        if waits && !leader.told_exclusion {
            out.push(Output::Peer(PeerEvent::NeedsExclusion));
        }
        leader.told_exclusion = waits;
        let complete = leader.serves_peer() && leader.state == Some(DataState::Complete);
        if complete && leader.mark.is_some_and(|mark| mark <= leader.durable) {
            leader.mark = None;
            out.push(Output::Peer(PeerEvent::CaughtUp));
        }
        if !in_set || leader.durable >= owed {
            leader.stall.disarm();
            leader.stalled = false;
        } else if leader.stall.expire(now) {
            if matches!(leader.stage, Stage::Checking { .. }) {
                // Our own storage is to answer first.
                leader.stall.arm(now + stall);
            } else {
                leader.stalled = true;
                out.push(Output::Peer(PeerEvent::Stalled));
            }
        } else if !leader.stalled && leader.stall.at().is_none() {
            leader.stall.arm(now + stall);
        }
    }

    /// Up to which record the peer is waited for. What this node keeps back itself, because its disk
    /// does not answer or still reads it, is not the peer's fault.
    fn owed_by_peer(&self) -> Seq {
        let Mode::Leading(leader) = &self.mode else { return Seq::ZERO };
        let next = leader.sent.seq.next();
        let at_hand = !leader.ready.is_empty() || self.journal.holds(next);
        if leader.serves_peer() && !at_hand { leader.sent.seq } else { self.journal.closed() }
    }

    pub(crate) fn stall_timer(&self) -> Timer {
        match &self.mode {
            Mode::Leading(leader) => leader.stall,
            Mode::Detached | Mode::Following(_) => Timer::IDLE,
        }
    }

    fn ask_to_check(&mut self, out: &mut Outbox<Output>) {
        let Mode::Leading(Leader { stage: Stage::Checking { seq }, .. }) = self.mode else {
            return;
        };
        if self.checking.is_none() {
            self.checking = Some(seq);
            self.counters.reads += 1;
            out.push(Output::Read { what: ReadFor::Check, from: seq, max: 1 });
        }
    }

    pub(crate) fn on_read_to_check(&mut self, from: Seq, bytes: &Bytes, out: &mut Outbox<Output>) {
        let void = self.ends_check(from);
        let checks = match &self.mode {
            Mode::Leading(leader) => leader.stage == Stage::Checking { seq: from },
            Mode::Detached | Mode::Following(_) => false,
        };
        if void || !checks {
            return;
        }
        match Batch::read(bytes, from, None) {
            Ok(batch) => self.conclude(batch.position(from)),
            Err(_) => self.cannot_read(ReadFor::Check, from, out),
        }
    }

    /// The check's read ended; whether it is void.
    fn ends_check(&mut self, from: Seq) -> bool {
        assert!(self.checking.take() == Some(from), "the chain of another record would decide");
        core::mem::take(&mut self.void.check)
    }

    /// The read for the peer ended: behind what it was asked for, and whether it is void.
    fn ends_read(&mut self, from: Seq) -> (Position, bool) {
        let after = self.reading.take().expect("a read's result comes once, after the read");
        assert!(after.seq.next() == from, "the peer would be sent other records");
        (after, core::mem::take(&mut self.void.peer))
    }

    /// Records are about to be cut: what is being read may be gone, or others be in its place. The
    /// host's reads are waited for before.
    pub(crate) fn void_reads(&mut self) {
        assert!(self.apply.is_idle(), "the host would be given what is being taken back");
        self.void.check = self.checking.is_some();
        self.void.peer = self.reading.is_some();
    }

    pub(crate) fn on_unread(&mut self, what: ReadFor, from: Seq, out: &mut Outbox<Output>) {
        let void = match what {
            ReadFor::Apply => return self.cannot_apply(from, out),
            ReadFor::Peer => self.ends_read(from).1,
            ReadFor::Check => self.ends_check(from),
        };
        if !void {
            self.cannot_read(what, from, out);
        }
    }

    fn cannot_read(&mut self, what: ReadFor, from: Seq, out: &mut Outbox<Output>) {
        out.push(Output::Event(Event::Unreadable { what, from }));
        if let Mode::Leading(leader) = &mut self.mode {
            leader.lose_peer();
            leader.stage = Stage::Refused;
        }
    }

    /// Reads what the peer lacks and memory does not hold.
    fn read_ahead(&mut self, out: &mut Outbox<Output>) {
        let Mode::Leading(leader) = &self.mode else { return };
        if !leader.serves_peer() || self.reading.is_some() || leader.ready.len() >= READY_MAX {
            return;
        }
        let after = leader.ready.back().map_or(leader.sent, |batch| batch.end);
        if after.seq >= self.journal.durable().seq || self.journal.holds(after.seq.next()) {
            return;
        }
        self.reading = Some(after);
        self.reading_is_wanted = true;
        self.counters.reads += 1;
        let from = after.seq.next();
        out.push(Output::Read { what: ReadFor::Peer, from, max: READ_MAX });
    }

    pub(crate) fn peer_read_is_stale(&mut self) {
        self.reading_is_wanted = false;
    }

    pub(crate) fn on_read_to_send(&mut self, from: Seq, bytes: &Bytes, out: &mut Outbox<Output>) {
        let (after, void) = self.ends_read(from);
        let Mode::Leading(leader) = &mut self.mode else { return };
        let next = leader.ready.back().map_or(leader.sent, |batch| batch.end);
        if void || !self.reading_is_wanted || !leader.serves_peer() || next != after {
            return;
        }
        match Batch::read(bytes, from, Some(after)) {
            Ok(batch) => leader.ready.push_back(batch),
            Err(_) => self.cannot_read(ReadFor::Peer, from, out),
        }
    }

    pub(crate) fn write_as_leader(
        &mut self,
        now: Instant,
        room: usize,
        buf: &mut BytesMut,
        bulk: &mut Option<Bytes>,
    ) {
        let in_set = self.peer_in_set();
        let Mode::Leading(leader) = &self.mode else { return };
        match leader.stage {
            Stage::Planned(plan) if !(plan.copy && in_set) => self.write_sync(plan, room, buf),
            Stage::Serving => {
                let start = buf.len();
                self.write_frames(now, room, buf, bulk);
                if buf.len() == start {
                    self.write_commit(room, buf);
                }
            }
            Stage::Silent
            | Stage::Checking { .. }
            | Stage::Planned(_)
            | Stage::Ordered(_)
            | Stage::Refused => {}
        }
    }

    fn write_sync(&mut self, plan: Plan, room: usize, buf: &mut BytesMut) {
        let (Mode::Leading(leader), Some(hello), Some(membership)) =
            (&mut self.mode, &self.session.greeting, self.membership)
        else {
            return;
        };
        let sync = Sync {
            answers: hello.number,
            copy: plan.copy,
            keep: plan.keep,
            goal: self.journal.head().seq,
            membership,
            lineage: self.lineage.clone(),
        };
        if write_whole(room, buf, |out| sync.encode(out)) {
            self.session.used = true;
            leader.stage = Stage::Ordered(plan);
            leader.sent = plan.keep;
            leader.flight.clear();
            leader.ready.clear();
            self.reading_is_wanted = false;
        }
    }

    fn write_frames(
        &mut self,
        now: Instant,
        room: usize,
        buf: &mut BytesMut,
        bulk: &mut Option<Bytes>,
    ) {
        let (Mode::Leading(leader), Some(membership)) = (&mut self.mode, self.membership) else {
            return;
        };
        let Some(room) = room.checked_sub(FRAMES_LEN) else { return };
        if leader.flight.bytes() >= self.config.window_bytes {
            return;
        }
        let start = buf.len();
        Frames::encode_start(membership.epoch, self.committed, buf);
        let end = match leader.ready.front() {
            Some(batch) if batch.bytes.len() <= room => {
                *bulk = Some(batch.bytes.clone());
                self.due.arm(now);
                leader.ready.pop_front().map(|batch| batch.end)
            }
            Some(_) => None,
            None => {
                let limits = (self.config.batch_bytes, room);
                self.journal.copy_after(leader.sent.seq, limits, buf, bulk)
            }
        };
        let Some(end) = end else {
            buf.truncate(start);
            return;
        };
        let len = buf.len() - start + bulk.as_ref().map_or(0, Bytes::len);
        leader.flight.push(end.seq, len);
        leader.sent = end;
        leader.told = self.committed;
        self.counters.frames_sent += 1;
    }

    fn write_commit(&mut self, room: usize, buf: &mut BytesMut) {
        let (Mode::Leading(leader), Some(membership)) = (&mut self.mode, self.membership) else {
            return;
        };
        if leader.told < self.committed && room >= Commit::LEN {
            leader.told = self.committed;
            Commit { epoch: membership.epoch, commit: self.committed }.encode(buf);
        }
    }
}
