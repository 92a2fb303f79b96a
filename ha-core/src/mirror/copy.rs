//! What the replication log says: storage, the application's records, and the peer's copy.

use alloc::collections::VecDeque;

use ha_proto::{Comparison, DataState, Instant, Lineage, Machine, Membership, Outbox, Seq, Ticket};
use ha_replicate::{Batch, Input, Output as Said, PeerEvent, ReadFor};

use crate::mirror::Greeting;
use crate::{Answer, Effect, Event, Mirror};

/// Which effect of the log a ticket belongs to.
#[derive(Debug, Default)]
pub(super) struct LogTickets {
    /// Batches that are not durable yet. One without a ticket was refused by a full disk, or stands
    /// behind one that was or behind many that wait, and is still to be asked for.
    appends: VecDeque<(Option<Ticket>, Batch)>,
    aside: Option<Ticket>,
    truncate: Option<Ticket>,
    reads: [Option<(Ticket, Seq)>; 3],
    apply: Option<(Ticket, Seq)>,
    reset: Option<Ticket>,
    /// The log waits for its last save.
    saving: bool,
    /// The disk is full: the batches from the first one on are to be written again.
    full: bool,
    retry: Option<Instant>,
    /// The log knows that the storage failed.
    failed: bool,
}

const READS: [ReadFor; 3] = [ReadFor::Apply, ReadFor::Peer, ReadFor::Check];

impl Mirror {
    /// Calls the log and translates all that it says.
    pub(super) fn replicate(&mut self, now: Instant, input: Input) {
        let mut out = core::mem::replace(&mut self.boxes.log, Outbox::new(0));
        self.log.handle(now, input, &mut out);
        while let Some(said) = out.pop() {
            self.log_said(now, said);
        }
        self.boxes.log = out;
    }

    fn log_said(&mut self, now: Instant, said: Said) {
        match said {
            Said::Append(batch) => self.append(batch),
            Said::SetAside { from } => {
                self.log_tickets.aside = Some(self.effect(Effect::SetAside { from }));
            }
            Said::Truncate { keep } => {
                self.log_tickets.truncate = Some(self.effect(Effect::Truncate { keep }));
            }
            Said::Read { what, from, max } => {
                let ticket = self.effect(Effect::Read { what, from, max });
                self.log_tickets.reads[what as usize] = Some((ticket, from));
            }
            Said::Save { membership, lineage, state } => {
                self.save_log(now, membership, lineage, state);
            }
            Said::Apply(batch) => {
                let last = batch.last;
                self.log_tickets.apply = Some((self.effect(Effect::Apply(batch)), last));
            }
            Said::Reset => self.log_tickets.reset = Some(self.effect(Effect::Reset)),
            Said::Committed(_) => {}
            Said::Writable => self.event(Event::LogWritable),
            Said::Peer(event) => self.log_peer(event),
            Said::Event(event) => self.log_event(&event),
        }
    }

    fn append(&mut self, batch: Batch) {
        let appends = &self.log_tickets.appends;
        let in_order = appends.back().is_none_or(|(ticket, _)| ticket.is_some());
        let room = !self.log_tickets.full && in_order && appends.len() < Self::APPENDS_MAX;
        let ticket = room.then(|| self.effect(Effect::Append(batch.clone())));
        self.log_tickets.appends.push_back((ticket, batch));
    }

    /// Most appends that wait for the disk at once: more make none faster, and each is an output.
    /// Those behind wait here, as many as the log's window allows, which bounds their bytes.
    const APPENDS_MAX: usize = 1_024;

    /// The log changes what the data here are worth. The record that comes with it is taken over
    /// like any other (R3); under a newer one the log starts again.
    fn save_log(&mut self, now: Instant, told: Membership, lineage: Lineage, state: DataState) {
        self.learn(now, told);
        if self.memory.epoch() == told.epoch {
            self.memory.set_log(lineage, state);
            self.log_tickets.saving = true;
        }
    }

    fn log_peer(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Hello { comparison, membership, lineage, .. } => {
                let former = self.former_holder(&lineage);
                // Only one that claims a reign of its own is compared with this node's.
                let claim = membership.filter(|told| told.holder == self.peer_id());
                self.greeting = claim.map(|told| Greeting { former, epoch: told.epoch });
                if let Comparison::Diverged { common } = comparison {
                    self.event(Event::Diverged { common });
                }
            }
            PeerEvent::CaughtUp => self.caught_up = true,
            PeerEvent::NeedsExclusion | PeerEvent::Stalled => {}
            PeerEvent::Progress { done, total } => {
                self.event(Event::Progress { done, goal: total });
            }
            PeerEvent::Diverged { from, to, bytes } => {
                self.event(Event::KeptAside { from, to, bytes });
            }
            PeerEvent::OtherData => self.event(Event::NoCommonHistory),
        }
    }

    /// The holder of the last reign that both logs know.
    fn former_holder(&self, theirs: &Lineage) -> Option<ha_proto::NodeId> {
        let ours = self.memory.saved().lineage.entries();
        let common = ours.iter().rev().find(|entry| theirs.entries().contains(entry))?;
        common.epoch.owner()
    }

    fn log_event(&mut self, event: &ha_replicate::Event) {
        match event {
            ha_replicate::Event::NoSpace => self.event(Event::LogFull),
            ha_replicate::Event::Unreadable { .. } => self.fail_storage(),
            ha_replicate::Event::Malformed(_)
            | ha_replicate::Event::Corrupt(_)
            | ha_replicate::Event::Overrun
            | ha_replicate::Event::RefusedEpoch { .. } => {}
        }
    }

    /// An effect of the log ended.
    pub(super) fn stored(&mut self, now: Instant, ticket: Ticket, answer: Answer) {
        if answer == Answer::Full {
            return self.disk_full(ticket);
        }
        if answer == Answer::Failed {
            let Some((what, from)) = self.log_tickets.read(ticket) else {
                return self.fail_storage();
            };
            // Unless it met a cut, the log says that it needed this.
            return self.replicate(now, Input::Unread { what, from });
        }
        if let Some(input) = self.stored_input(ticket, answer) {
            self.replicate(now, input);
        }
    }

    fn stored_input(&mut self, ticket: Ticket, answer: Answer) -> Option<Input> {
        let tickets = &mut self.log_tickets;
        if let Some(seq) = tickets.apply.take_if(|(apply, _)| *apply == ticket).map(|(_, seq)| seq)
        {
            return Some(Input::Applied { seq });
        }
        if tickets.reset.take_if(|reset| *reset == ticket).is_some() {
            return None;
        }
        match answer {
            Answer::Kept { bytes } => {
                tickets.aside.take_if(|aside| *aside == ticket)?;
                Some(Input::SetAside { bytes })
            }
            Answer::Truncated { head, bytes } => {
                tickets.truncate.take_if(|truncate| *truncate == ticket)?;
                Some(Input::Truncated { head, bytes })
            }
            Answer::Records(batch) => {
                let (what, from) = tickets.read(ticket)?;
                Some(Input::Read { what, from, batch })
            }
            Answer::Done => {
                let was_full = tickets.full;
                let durable = tickets.appended(ticket);
                if was_full && !self.log_full() {
                    self.event(Event::LogWritable);
                }
                durable.map(|seq| Input::Durable { seq })
            }
            Answer::Failed | Answer::Full => None,
        }
    }

    /// The disk took nothing of a batch, and nothing is lost: it waits here with all behind it, and
    /// is written again after a while.
    fn disk_full(&mut self, ticket: Ticket) {
        let tickets = &mut self.log_tickets;
        let refused = tickets.appends.iter_mut().find(|(append, _)| *append == Some(ticket));
        let Some((append, _)) = refused else {
            // No room to set records aside or for the saved file: nothing goes on without it.
            return self.fail_storage();
        };
        *append = None;
        if !core::mem::replace(&mut tickets.full, true) {
            self.event(Event::LogFull);
        }
    }

    /// Writes again what the full disk refused, from the first one on: a while after the last of
    /// them was refused, or as soon as one was taken. So too what had to wait behind many others.
    pub(super) fn settle_full_disk(&mut self, now: Instant) {
        let tickets = &mut self.log_tickets;
        let waits = tickets.appends.front().is_some_and(|(ticket, _)| ticket.is_none());
        let asked = tickets.appends.iter().any(|(ticket, _)| ticket.is_some());
        if !waits || asked {
            return;
        }
        if tickets.full {
            let at = *tickets.retry.get_or_insert(now + self.config.timing.timeout);
            if at > now {
                return;
            }
        }
        tickets.retry = None;
        for at in 0..self.log_tickets.appends.len().min(Self::APPENDS_MAX) {
            let batch = self.log_tickets.appends[at].1.clone();
            let ticket = self.effect(Effect::Append(batch));
            self.log_tickets.appends[at].0 = Some(ticket);
        }
    }

    pub(super) fn disk_retry_at(&self) -> Option<Instant> {
        self.log_tickets.retry
    }

    /// Whether the disk refuses records for want of room.
    pub(super) fn log_full(&self) -> bool {
        self.log_tickets.full
    }

    /// R2: a node that met a storage error neither serves anew nor counts as a copy.
    pub(super) fn fail_storage(&mut self) {
        if !core::mem::replace(&mut self.broken, true) {
            self.event(Event::StorageFailed);
        }
    }

    /// Tells the log, once: from then on it accepts and acknowledges nothing.
    pub(super) fn settle_failure(&mut self, now: Instant) {
        if self.broken && !core::mem::replace(&mut self.log_tickets.failed, true) {
            self.replicate(now, Input::Failed);
        }
    }

    /// The write of [`Saved`](crate::Saved) ended.
    pub(super) fn saved(&mut self, now: Instant) {
        if self.memory.has_failed() {
            return self.fail_storage();
        }
        let saved = self.memory.saved().membership;
        if saved.epoch != self.told_epoch {
            self.told_epoch = saved.epoch;
            self.event(Event::Membership(saved));
        }
        self.answer_log_save(now);
    }

    /// Also when nothing had to be written, because the log's save equals what is on disk. Never
    /// after a failure: the log would cut what is not marked as being overwritten (R14).
    pub(super) fn answer_log_save(&mut self, now: Instant) {
        let durable = self.memory.is_settled() && !self.memory.has_failed();
        if durable && core::mem::take(&mut self.log_tickets.saving) {
            self.replicate(now, Input::Saved);
        }
    }
}

impl LogTickets {
    /// Whether the disk and the application owe nothing, and nothing is owed to them.
    pub(super) fn is_at_rest(&self) -> bool {
        let owes = self.is_under_way() || !self.appends.is_empty();
        !owes && !self.saving && !self.full && !self.failed
    }

    /// Whether the disk or the application owes an answer.
    pub(super) fn is_under_way(&self) -> bool {
        let steps = [self.aside, self.truncate, self.reset, self.apply.map(|(ticket, _)| ticket)];
        let asked = steps.iter().chain(&self.reads_asked()).any(Option::is_some);
        asked || self.appends.iter().any(|(ticket, _)| ticket.is_some())
    }

    /// A read ended: what it was for.
    fn read(&mut self, ticket: Ticket) -> Option<(ReadFor, Seq)> {
        let at = self.reads.iter().position(|read| read.is_some_and(|r| r.0 == ticket))?;
        let (_, from) = self.reads[at].take()?;
        Some((READS[at], from))
    }

    /// The oldest append that the disk owes an answer to.
    pub(super) fn oldest_append(&self) -> Option<Ticket> {
        self.appends.front().and_then(|(ticket, _)| *ticket)
    }

    /// The reads that the reader owes an answer to.
    pub(super) fn reads_asked(&self) -> [Option<Ticket>; READS.len()] {
        self.reads.map(|read| read.map(|(ticket, _)| ticket))
    }

    /// One append ended, and with it all earlier ones: the last record that is durable now.
    fn appended(&mut self, ticket: Ticket) -> Option<Seq> {
        let covered = |append: &Option<Ticket>| append.is_some_and(|append| append <= ticket);
        let mut durable = None;
        while let Some((_, batch)) = self.appends.pop_front_if(|(append, _)| covered(append)) {
            durable = Some(batch.last);
        }
        if durable.is_some() {
            // There is room again, as long as nothing that was asked for later was refused.
            self.full = false;
            self.retry = None;
        }
        durable
    }
}

#[cfg(test)]
mod tests {
    use ha_proto::{Boot, ClusterId, ModuleId, NodeId, Position, StoreId, wire::Keys};
    use ha_quorum::Vote;

    use super::*;
    use crate::config::{Config, Identity, Limits, Policy};
    use crate::{Profile, Saved};

    fn node() -> Mirror {
        let (me, peer) = (NodeId::new(0).unwrap(), NodeId::new(1).unwrap());
        let (cluster, module) = (ClusterId(1), ModuleId(0));
        let identity = Identity { cluster, module, me, peer, links: 1 };
        let policy = Policy { vote: Vote::None, ..Policy::default() };
        let timing = Profile::Lan.timing();
        let config = Config::new(identity, timing, policy, Limits::default()).unwrap();
        let saved = Saved::blank(cluster, module, me, StoreId(7));
        let recovered = ha_replicate::Recovered {
            position: Position::default(),
            lineage: saved.lineage.clone(),
            state: DataState::Blank,
            membership: None,
            store: saved.store,
            applied: Seq::ZERO,
            bytes: 0,
        };
        Mirror::new(config, Keys::insecure(), saved, recovered, Boot(1), 2, Instant::ZERO)
    }

    #[test]
    fn the_log_does_not_hear_that_a_save_that_failed_is_on_disk() {
        let mut node = node();
        node.memory.set_log(Lineage::default(), DataState::Target);
        node.log_tickets.saving = true;
        node.handle_input(Instant::ZERO, crate::Input::Timeout);
        let saves = core::iter::from_fn(|| node.poll_output()).filter_map(|output| match output {
            crate::Output::Effect { ticket, effect: Effect::Save(_) } => Some(ticket),
            crate::Output::Effect { .. }
            | crate::Output::Event(_)
            | crate::Output::Transmit { .. } => None,
        });
        let ticket = saves.last().expect("the state is to be saved");
        node.handle_input(Instant::ZERO, crate::Input::Done { ticket, answer: Answer::Failed });
        assert!(node.log_tickets.saving, "it would go on to cut records");
        assert!(node.status().broken);
    }
}
