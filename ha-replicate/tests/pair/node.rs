//! A log, its storage and its host; everything that is asked for finishes late.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ha_proto::{
    DataState, Epoch, Instant, Lineage, Machine, Membership, NodeId, Outbox, Position, Seq, StoreId,
};
use ha_replicate::{
    Batch, Config, Event, Input, Log, MESSAGE_MAX, Output, PeerEvent, ProposeError, ReadFor,
    Recovered,
};

use super::disk::Disk;

/// Something under way.
#[derive(Clone, Debug)]
enum Op {
    Append(Batch),
    SetAside,
    Truncate(Seq),
    Read(ReadFor, Seq, usize),
    Save(Box<(Membership, Lineage, DataState)>),
    /// The node saves, then serves.
    Lead(Box<(Membership, Lineage)>),
    /// The node saves, then follows.
    Follow(Membership),
    Apply(Batch),
}

/// Which of the things under way finish in order with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Log,
    Save,
    Read,
    Host,
}

pub(crate) const LANES: [Lane; 4] = [Lane::Log, Lane::Save, Lane::Read, Lane::Host];

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) peer: NodeId,
    pub(crate) disk: Disk,
    pub(crate) log: Option<Log>,
    /// What the host has applied; survives a crash.
    pub(crate) applied: Vec<Position>,
    lanes: [VecDeque<Op>; 4],
    /// Records this log committed and a peer's acknowledgement or its own right vouched for.
    pub(crate) committed: Vec<Seq>,
    pub(crate) caught_up: bool,
    pub(crate) wants_exclusion: bool,
    pub(crate) truncated: u32,
    pub(crate) unreadable: u32,
}

impl Node {
    pub(crate) fn new(id: NodeId, peer: NodeId, disk: Disk) -> Self {
        let applied = Vec::new();
        let (log, lanes, committed) = (None, Default::default(), Vec::new());
        Self {
            id,
            peer,
            disk,
            log,
            applied,
            lanes,
            committed,
            caught_up: false,
            wants_exclusion: false,
            truncated: 0,
            unreadable: 0,
        }
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            window_records: 8,
            batch_bytes: 200,
            stall: Duration::from_millis(50),
            ..Config::new(self.id, self.peer)
        }
    }

    pub(crate) fn start(&mut self, keep_applied: bool) {
        if !keep_applied {
            self.applied.clear();
        }
        let disk = &self.disk;
        self.log = Some(Log::new(
            self.config(),
            Recovered {
                position: disk.head(),
                lineage: disk.lineage.clone(),
                state: disk.state,
                membership: disk.membership,
                store: disk.store,
                applied: Seq(self.applied.len() as u64),
                bytes: disk.bytes(),
            },
        ));
    }

    pub(crate) fn crash(&mut self, kept: usize) {
        self.log = None;
        self.lanes = Default::default();
        (self.caught_up, self.wants_exclusion) = (false, false);
        self.disk.lose(kept);
    }

    pub(crate) fn replace(&mut self, store: StoreId) {
        self.crash(0);
        self.disk = Disk::blank(store);
        self.applied.clear();
    }

    pub(crate) fn tell(&mut self, now: Instant, input: Input) {
        let Some(log) = &mut self.log else { return };
        let mut out = Outbox::new(Log::OUTPUTS_MAX);
        log.handle(now, input, &mut out);
        let late = log.deadline().is_none_or(|deadline| deadline.at > now);
        assert!(late, "law 1: due again at once");
        while let Some(output) = out.pop() {
            self.perform(output);
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Append(batch) => {
                self.disk.append(&batch);
                self.push(Lane::Log, Op::Append(batch));
            }
            Output::SetAside { .. } => self.push(Lane::Log, Op::SetAside),
            Output::Truncate { keep } => {
                assert_eq!(self.disk.state, DataState::Target, "R14: saved before it is cut");
                let set = self.disk.membership.expect("R14: a record excludes it").set;
                assert!(!set.contains(self.id), "R14: overwritten without exclusion");
                self.truncated += 1;
                self.push(Lane::Log, Op::Truncate(keep));
            }
            Output::Read { what, from, max } => self.push(Lane::Read, Op::Read(what, from, max)),
            Output::Save { membership, lineage, state } => {
                self.push(Lane::Save, Op::Save(Box::new((membership, lineage, state))));
            }
            Output::Apply(batch) => self.push(Lane::Host, Op::Apply(batch)),
            Output::Reset => self.applied.clear(),
            Output::Committed(seq) => self.committed.push(seq),
            Output::Peer(PeerEvent::CaughtUp) => self.caught_up = true,
            Output::Peer(PeerEvent::NeedsExclusion) => self.wants_exclusion = true,
            Output::Event(Event::Malformed(error)) => panic!("{error}"),
            Output::Event(Event::Unreadable { .. }) => self.unreadable += 1,
            Output::Peer(_) | Output::Event(_) | Output::Writable => {}
        }
    }

    fn push(&mut self, lane: Lane, op: Op) {
        self.lanes[lane as usize].push_back(op);
    }

    /// The oldest thing of a lane finishes; whether there was one.
    pub(crate) fn finish(&mut self, now: Instant, lane: Lane) -> bool {
        let Some(op) = self.lanes[lane as usize].pop_front() else { return false };
        let input = match op {
            Op::Append(batch) => {
                self.disk.sync(batch.last);
                Input::Durable { seq: batch.last }
            }
            Op::SetAside => Input::SetAside { bytes: 1 },
            Op::Truncate(keep) => {
                let head = self.disk.truncate(keep);
                Input::Truncated { head, bytes: self.disk.bytes() }
            }
            Op::Read(what, from, max) => {
                Input::Read { what, from, batch: self.disk.read(from, max) }
            }
            Op::Save(saved) => {
                let (membership, lineage, state) = *saved;
                self.disk.save(membership, lineage, state);
                Input::Saved
            }
            Op::Lead(saved) => {
                let (membership, lineage) = *saved;
                if self.epoch() > Some(membership.epoch) {
                    return true;
                }
                self.disk.save(membership, lineage.clone(), DataState::Complete);
                Input::Lead { membership, lineage }
            }
            Op::Follow(membership) => {
                if self.epoch() < Some(membership.epoch) {
                    self.disk.membership = Some(membership);
                }
                let membership = self.disk.membership.unwrap();
                if membership.holder != self.peer {
                    return true;
                }
                Input::Follow { membership }
            }
            Op::Apply(batch) => {
                let applied = self.applied.len() as u64;
                assert_eq!(batch.first, Seq(applied + 1), "records are applied in order");
                self.applied.extend(batch.records().map(|record| record.position));
                Input::Applied { seq: batch.last }
            }
        };
        self.tell(now, input);
        true
    }

    /// Saves `membership`, then serves with it; false when it cannot just now.
    pub(crate) fn lead(&mut self, membership: Membership) -> bool {
        let leads_it = self.leads() && self.epoch() == Some(membership.epoch);
        let Some(log) = self.log.as_mut().filter(|log| log.is_settled()) else { return false };
        let lineage =
            if leads_it { log.lineage().clone() } else { log.next_lineage(membership.epoch) };
        self.push(Lane::Save, Op::Lead(Box::new((membership, lineage))));
        true
    }

    /// Saves `membership` of the peer, then follows it.
    pub(crate) fn follow(&mut self, membership: Membership) {
        if self.log.is_some() {
            self.push(Lane::Save, Op::Follow(membership));
        }
    }

    /// Serves no more, nor is about to.
    pub(crate) fn detach(&mut self, now: Instant) {
        self.lanes[Lane::Save as usize].retain(|op| !matches!(op, Op::Lead(_)));
        self.tell(now, Input::Detach);
    }

    fn epoch(&self) -> Option<Epoch> {
        self.disk.membership.map(|saved| saved.epoch)
    }

    pub(crate) fn leads(&self) -> bool {
        let proposes = |log: &Log| log.clone().propose(Instant::ZERO, b"");
        self.log.as_ref().is_some_and(|log| proposes(log) != Err(ProposeError::NotLeader))
    }

    pub(crate) fn poll(&mut self, now: Instant) -> Option<Bytes> {
        let mut buf = BytesMut::new();
        let len = self.log.as_mut()?.poll_message(now, MESSAGE_MAX, &mut buf);
        assert_eq!(len, buf.len());
        (len > 0).then(|| buf.freeze())
    }
}
