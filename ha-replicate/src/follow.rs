//! The follower's part: orders of the leader, frames, acknowledgements.

use bytes::BytesMut;
use ha_proto::{DataState, Lineage, Membership, Outbox, Position, Seq};

use crate::batch::Batch;
use crate::event::{Event, Output, PeerEvent, Run};
use crate::log::{Log, Mode};
use crate::message::{Ack, Commit, Frames, Sync};
use crate::session::write_whole;

/// What a follower knows of its leader.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Follower {
    /// An order was accepted and saved: frames are accepted, and what is durable is acknowledged.
    pub(crate) synced: bool,
    run: Run,
    /// Complete once this is durable.
    goal: Seq,
    pub(crate) commit: Seq,
    /// What was acknowledged last.
    acked: Option<(DataState, Seq, Seq)>,
    /// An order that came while a step was under way.
    next: Option<Sync>,
}

/// A chain of durable steps; one is under way at a time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Job {
    step: Step,
    /// Whether the chain goes on after this step.
    wanted: bool,
}

/// Which step is under way (`CONTRACT.md` R14, in this order).
#[derive(Clone, Debug, PartialEq)]
enum Step {
    SetAside {
        sync: Sync,
        to: Seq,
    },
    SaveTarget {
        sync: Sync,
    },
    /// The host is still applying what may be cut.
    AwaitHost {
        sync: Sync,
    },
    Truncate {
        sync: Sync,
    },
    SaveRun {
        sync: Sync,
        state: DataState,
    },
    SaveComplete,
}

impl Follower {
    pub(crate) fn lose_leader(&mut self) {
        *self = Self::default();
    }
}

impl Log {
    pub(crate) fn follow(&mut self, membership: Membership, out: &mut Outbox<Output>) {
        assert!(membership.holder == self.config.peer, "only the other node can be followed");
        let outdated = self.freeze.is_some_and(|frozen| frozen > membership.epoch);
        if self.refuses(membership.epoch, out) || outdated {
            return;
        }
        self.freeze = None;
        let known = self.membership.is_some_and(|ours| ours.epoch == membership.epoch);
        if known && matches!(self.mode, Mode::Following(_)) {
            return;
        }
        self.membership = Some(membership);
        self.abandon_job();
        self.leave_mode(Mode::Following(Follower::default()));
        self.session.greets = self.session.connected;
    }

    /// Describes this log to the peer anew; orders and frames that are on their way are void.
    pub(crate) fn greet_again(&mut self) {
        if let Mode::Following(follower) = &mut self.mode {
            follower.lose_leader();
        }
        self.session.greets = self.session.connected;
    }

    pub(crate) fn on_sync(&mut self, sync: Sync, out: &mut Outbox<Output>) {
        self.meet_rival();
        let refused = self.refuses(sync.membership.epoch, out);
        let Mode::Following(follower) = &mut self.mode else {
            self.counters.ignored += 1;
            return;
        };
        let late = self.session.greets || sync.answers != self.session.number;
        if refused || late || sync.membership.holder != self.config.peer {
            self.counters.ignored += 1;
            return;
        }
        if self.job.is_some() {
            follower.next = Some(sync);
        } else {
            self.start(sync, out);
        }
    }

    /// Does what the leader ordered, if it may.
    ///
    /// An order may overwrite something only if it answers our last greeting and is the first that
    /// does: it then knows exactly what it overwrites, and none that was sent for an older state
    /// can be late (counterexample 9).
    fn start(&mut self, sync: Sync, out: &mut Outbox<Output>) {
        if self.is_other_data(&sync) {
            self.counters.ignored += 1;
            out.push(Output::Peer(PeerEvent::OtherData));
            return;
        }
        let head = self.journal.head();
        let fits = same_history(head, sync.keep);
        let copies = sync.copy && self.is_excluded(&sync);
        if fits && (copies || self.state == DataState::Complete) {
            self.session.answered = true;
            self.save_run(sync, out);
        } else if sync.copy && !copies {
            // Not before a record excludes this node (R14, counterexample 10).
            self.counters.ignored += 1;
        } else if copies && head.seq > sync.keep.seq && self.may_cut() {
            self.session.answered = true;
            out.push(Output::SetAside { from: sync.keep.seq.next() });
            self.begin(Step::SetAside { to: head.seq, sync });
        } else {
            self.greet_again();
        }
    }

    fn may_cut(&self) -> bool {
        !self.session.answered && self.journal.is_quiet()
    }

    fn is_other_data(&self, sync: &Sync) -> bool {
        let ours = self.membership.map(|ours| ours.data);
        self.state != DataState::Blank && ours.is_some_and(|data| data != sync.membership.data)
    }

    /// Whether both the order's record and the one that will be saved exclude this node. They
    /// differ when the epochs are equal, which changes nothing (R3).
    fn is_excluded(&self, sync: &Sync) -> bool {
        let saved = self.membership_with(sync);
        ![sync.membership, saved].iter().any(|membership| membership.set.contains(self.config.me))
    }

    /// Ours, or the order's if that is of a higher epoch.
    fn membership_with(&self, sync: &Sync) -> Membership {
        let ours = self.membership.filter(|ours| ours.epoch >= sync.membership.epoch);
        ours.unwrap_or(sync.membership)
    }

    fn begin(&mut self, step: Step) {
        assert!(self.job.is_none(), "two chains of steps would undo each other");
        self.job = Some(Job { step, wanted: true });
    }

    pub(crate) fn abandon_job(&mut self) {
        if let Some(job) = &mut self.job {
            job.wanted = false;
        }
    }

    /// Whether records are being removed, or are about to be.
    pub(crate) fn is_cutting(&self) -> bool {
        self.job.as_ref().is_some_and(|job| match job.step {
            Step::SetAside { .. }
            | Step::SaveTarget { .. }
            | Step::AwaitHost { .. }
            | Step::Truncate { .. } => true,
            Step::SaveRun { .. } | Step::SaveComplete => false,
        })
    }

    /// The step that is done, if the chain goes on; the chain ends here otherwise.
    fn take_step(&mut self) -> (Step, bool) {
        let job = self.job.take().expect("a step's result comes once, after the step");
        let follows = matches!(self.mode, Mode::Following(_));
        (job.step, job.wanted && follows)
    }

    pub(crate) fn on_set_aside(&mut self, bytes: u64, out: &mut Outbox<Output>) {
        let (step, goes_on) = self.take_step();
        let Step::SetAside { sync, to } = step else {
            panic!("records would be removed that were not kept aside")
        };
        let from = sync.keep.seq.next();
        out.push(Output::Peer(PeerEvent::Diverged { from, to, bytes }));
        if goes_on {
            let lineage = self.clipped(sync.keep.seq);
            self.say_save(&sync, lineage, DataState::Target, out);
            self.begin(Step::SaveTarget { sync });
        }
    }

    pub(crate) fn on_saved(&mut self, out: &mut Outbox<Output>) {
        let (step, goes_on) = self.take_step();
        match step {
            Step::SaveTarget { sync } => {
                let lineage = self.clipped(sync.keep.seq);
                self.adopt(&sync, lineage, DataState::Target);
                if goes_on {
                    self.begin(Step::AwaitHost { sync });
                }
            }
            Step::SaveRun { sync, state } => {
                self.adopt(&sync, sync.lineage.clone(), state);
                if goes_on {
                    self.serve(&sync);
                }
            }
            Step::SaveComplete => {
                if !self.leads() {
                    self.state = DataState::Complete;
                }
            }
            Step::SetAside { .. } | Step::AwaitHost { .. } | Step::Truncate { .. } => {
                panic!("a result of a save that was not asked for would count for another step")
            }
        }
        self.start_next(out);
    }

    /// Saved after this node was made to serve means that the node saved its own lineage later.
    fn adopt(&mut self, sync: &Sync, lineage: Lineage, state: DataState) {
        if self.leads() {
            return;
        }
        self.membership = Some(self.membership_with(sync));
        self.lineage = lineage;
        self.state = state;
    }

    /// Cuts the log once the host is idle.
    pub(crate) fn step_cut(&mut self, out: &mut Outbox<Output>) {
        let waits = matches!(&self.job, Some(Job { step: Step::AwaitHost { .. }, .. }));
        if !waits || !self.apply.is_idle() {
            return;
        }
        let (step, goes_on) = self.take_step();
        if let (Step::AwaitHost { sync }, true) = (step, goes_on) {
            self.void_reads();
            out.push(Output::Truncate { keep: sync.keep.seq });
            self.begin(Step::Truncate { sync });
        }
    }

    pub(crate) fn on_truncated(&mut self, head: Position, bytes: u64, out: &mut Outbox<Output>) {
        let (step, goes_on) = self.take_step();
        let Step::Truncate { sync } = step else {
            panic!("the log was cut although nobody asked for it")
        };
        assert!(head.seq <= sync.keep.seq, "records that were taken back would come back");
        self.journal.cut(head, bytes);
        self.apply.cut(head.seq);
        self.committed = self.committed.min(head.seq);
        if goes_on && same_history(head, sync.keep) {
            self.save_run(sync, out);
        } else if goes_on {
            // The leader could not know our chain there: it finds out from the next greeting.
            self.greet_again();
        }
    }

    fn save_run(&mut self, sync: Sync, out: &mut Outbox<Output>) {
        let state = self.state_with(&sync);
        self.say_save(&sync, sync.lineage.clone(), state, out);
        if let Mode::Following(follower) = &mut self.mode {
            follower.synced = false;
        }
        self.begin(Step::SaveRun { sync, state });
    }

    /// A complete log that is only made longer stays complete.
    fn state_with(&self, sync: &Sync) -> DataState {
        match self.state {
            DataState::Blank | DataState::Target => DataState::Target,
            DataState::Complete => {
                assert!(
                    same_history(self.journal.head(), sync.keep),
                    "a log that lost records would be called complete"
                );
                DataState::Complete
            }
        }
    }

    fn say_save(&self, sync: &Sync, lineage: Lineage, state: DataState, out: &mut Outbox<Output>) {
        out.push(Output::Save { membership: self.membership_with(sync), lineage, state });
    }

    /// The run is saved: frames may come.
    fn serve(&mut self, sync: &Sync) {
        if let Mode::Following(follower) = &mut self.mode {
            let (run, goal) = (sync.run(), sync.goal);
            let next = follower.next.take();
            *follower = Follower { synced: true, run, goal, next, ..Follower::default() };
        }
    }

    fn start_next(&mut self, out: &mut Outbox<Output>) {
        let Mode::Following(follower) = &mut self.mode else { return };
        if self.job.is_none()
            && let Some(sync) = follower.next.take()
        {
            self.on_sync(sync, out);
        }
    }

    fn clipped(&self, head: Seq) -> Lineage {
        let mut lineage = self.lineage.clone();
        lineage.clip(head);
        lineage
    }

    pub(crate) fn on_frames(&mut self, frames: Frames, out: &mut Outbox<Output>) {
        self.meet_rival();
        let refused = self.refuses(frames.epoch, out);
        let Mode::Following(follower) = &mut self.mode else {
            self.counters.ignored += 1;
            return;
        };
        if !follower.synced {
            self.counters.ignored += 1;
            return;
        }
        let saved = self.membership.map(|ours| ours.epoch);
        if refused || saved != Some(frames.epoch) {
            self.greet_again();
            return;
        }
        if self.journal.volatile_bytes() > 2 * self.config.window_bytes {
            out.push(Output::Event(Event::Overrun));
            self.greet_again();
            return;
        }
        match Batch::received(frames.records, self.journal.head()) {
            Ok(batch) => {
                follower.commit = follower.commit.max(frames.commit);
                self.counters.frames_accepted += 1;
                self.journal.accept(batch);
            }
            Err(error) => {
                self.counters.corrupt += 1;
                out.push(Output::Event(Event::Corrupt(error)));
                self.greet_again();
            }
        }
    }

    pub(crate) fn on_commit(&mut self, commit: Commit, out: &mut Outbox<Output>) {
        self.meet_rival();
        let refused = self.refuses(commit.epoch, out);
        let saved = self.membership.is_some_and(|ours| ours.epoch == commit.epoch);
        match &mut self.mode {
            Mode::Following(follower) if follower.synced && saved && !refused => {
                follower.commit = follower.commit.max(commit.commit);
            }
            Mode::Following(_) | Mode::Leading(_) | Mode::Detached => self.counters.ignored += 1,
        }
    }

    /// Saves that the log is complete once all that the leader had is durable (R14).
    pub(crate) fn step_complete(&mut self, out: &mut Outbox<Output>) {
        let Mode::Following(follower) = &self.mode else { return };
        let there = follower.synced && self.journal.durable().seq >= follower.goal;
        if !there || self.state == DataState::Complete || self.job.is_some() {
            return;
        }
        let membership = self.membership.expect("a follower has saved whom it follows");
        let (lineage, state) = (self.lineage.clone(), DataState::Complete);
        out.push(Output::Save { membership, lineage, state });
        self.begin(Step::SaveComplete);
    }

    pub(crate) fn write_as_follower(&mut self, room: usize, buf: &mut BytesMut) {
        let Mode::Following(follower) = &mut self.mode else { return };
        let (written, durable) = (self.journal.written(), self.journal.durable().seq);
        let now = Some((self.state, written, durable));
        if !follower.synced || follower.acked == now || room < Ack::LEN {
            return;
        }
        let ack = Ack {
            state: self.state,
            epoch: self.membership.expect("a follower has saved whom it follows").epoch,
            store: self.store,
            run: follower.run,
            received: self.journal.head().seq,
            written,
            durable,
            bytes: self.journal.durable_bytes(),
        };
        follower.acked = now;
        write_whole(room, buf, |out| ack.encode(out));
    }
}

/// Whether two positions end the same history; the chain covers the epoch.
fn same_history(one: Position, other: Position) -> bool {
    one.seq == other.seq && one.chain == other.chain
}
