//! Effects as they end: what they change in the world, and what the node is told.

use ha_core::{Answer, Effect, Input, Saved};
use ha_proto::{Epoch, Seq};
use ha_replicate::Batch;

use super::World;
use crate::check::Seen;
use crate::disk::Header;
use crate::host::{Request, Run, State};
use crate::lan::IPS;
use crate::node::{Fate, Pending, Process};
use crate::queue::Event;
use crate::trace::Column;
use crate::weather::MS;

impl World {
    /// An effect ends, or the late answer of one arrives.
    pub(super) fn effect_ends(&mut self, node: usize, life: u32, slot: usize) {
        let here = &mut self.scene.nodes[node];
        if here.life != life {
            return;
        }
        match here.process {
            Process::Down => unreachable!("a process that ended has another life"),
            Process::Paused => here.deferred.push(slot),
            Process::Running => self.finish(node, slot),
        }
    }

    /// A disk that hung answers: all that it was asked for ends.
    pub fn disk_answers(&mut self, node: usize) {
        let here = &mut self.scene.nodes[node];
        here.ailments.disk_hang = 0;
        let hung = std::mem::take(&mut here.effects.hung);
        let life = here.life;
        self.note(Column::of(node), || "its disk answers".into());
        for slot in hung {
            self.effect_ends(node, life, slot);
        }
    }

    pub(super) fn finish(&mut self, node: usize, slot: usize) {
        let hangs = self.scene.nodes[node].ailments.disk_hang > self.scene.now;
        let effects = &mut self.scene.nodes[node].effects;
        let pending = effects.at(slot);
        if hangs && pending.answer.is_none() && is_of_disk(&pending.effect) {
            effects.hung.push(slot);
            return;
        }
        if let Some(answer) = pending.answer.clone() {
            let ticket = self.scene.nodes[node].effects.take(slot).ticket;
            return self.feed(node, Input::Done { ticket, answer });
        }
        let pending = pending.clone();
        let answer = self.perform(node, &pending);
        if self.prng.chance(self.weather.late) {
            let after = 1 + self.prng.below(self.weather.delay_jitter * 8 + MS);
            let here = &mut self.scene.nodes[node];
            here.effects.at(slot).answer = Some(answer);
            let life = here.life;
            return self.at(after, Event::Effect { node, life, slot });
        }
        let ticket = self.scene.nodes[node].effects.take(slot).ticket;
        self.feed(node, Input::Done { ticket, answer });
    }

    fn perform(&mut self, node: usize, pending: &Pending) -> Answer {
        if pending.fate == Fate::Full || self.is_behind_a_full_disk(node, &pending.effect) {
            return Answer::Full;
        }
        let dead = self.scene.nodes[node].log_failed && is_of_log(&pending.effect);
        if pending.fate == Fate::Failed || dead {
            self.note(Column::of(node), || format!("failed: {:?}", kind(&pending.effect)));
            self.perform_failing(node, &pending.effect, pending.asked);
            return Answer::Failed;
        }
        match &pending.effect {
            Effect::Save(saved) => self.save(node, saved),
            Effect::Append(batch) => self.append(node, &batch.bytes),
            Effect::SetAside { from } => return self.set_aside(node, *from),
            Effect::Truncate { keep } => return self.truncate(node, *keep),
            Effect::Read { from, max, .. } => {
                let read = self.scene.nodes[node].disk.log.read(*from, *max);
                return read.map_or(Answer::Failed, Answer::Records);
            }
            Effect::Apply(batch) => self.apply(node, batch),
            Effect::Reset => {
                let host = &mut self.scene.nodes[node].host;
                (host.state, host.kept) = (State::default(), State::default());
            }
            Effect::TakeAddress { epoch, lifetime } | Effect::AdoptAddress { epoch, lifetime } => {
                return self.take_addresses(node, *epoch, *lifetime, pending.asked);
            }
            Effect::KeepAddress { lifetime } => {
                return self.keep_addresses(node, *lifetime, pending.asked);
            }
            Effect::DropAddress => return self.drop_addresses(node),
            Effect::StartApp { .. } => return self.app_is_up(node),
            Effect::AdoptApp { .. } => {
                let runs = self.scene.nodes[node].host.may_serve();
                return if runs { Answer::Done } else { Answer::Failed };
            }
            Effect::StopApp { .. } => self.app_ends(node, true),
            Effect::Fence { .. } => self.app_ends(node, false),
            Effect::Probe { .. } => self.see(&Seen::Probed { node, reached: true }),
        }
        Answer::Done
    }

    /// Once a batch found no room, those behind it are refused likewise: the log has no gaps.
    fn is_behind_a_full_disk(&self, node: usize, effect: &Effect) -> bool {
        let here = &self.scene.nodes[node];
        match effect {
            Effect::Append(batch) => {
                !here.log_failed && batch.first > here.disk.log.head().seq.next()
            }
            _ => false,
        }
    }

    /// An effect that fails has happened in part, or not at all.
    fn perform_failing(&mut self, node: usize, effect: &Effect, asked: u64) {
        let partly = self.prng.chance(500_000);
        let dead = std::mem::replace(&mut self.scene.nodes[node].log_failed, is_of_log(effect));
        self.scene.nodes[node].log_failed |= dead;
        match effect {
            Effect::Save(saved) if partly => self.save(node, saved),
            Effect::Append(batch) if !dead => {
                let len = self.prng.below(batch.bytes.len() as u64 + 1) as usize;
                self.append(node, &batch.bytes[..len]);
            }
            Effect::DropAddress => {
                self.scene.nodes[node].address.refuses = [!partly; IPS];
                self.drop_addresses(node);
            }
            Effect::TakeAddress { epoch, lifetime } => {
                self.scene.nodes[node].address.refuses = [false, true];
                self.take_addresses(node, *epoch, *lifetime, asked);
            }
            Effect::StartApp { .. } => self.app_ends(node, true),
            Effect::KeepAddress { .. } | Effect::AdoptAddress { .. } => {
                self.scene.nodes[node].address.shaken = true;
            }
            Effect::Probe { .. } => self.see(&Seen::Probed { node, reached: false }),
            Effect::Save(_)
            | Effect::Append(_)
            | Effect::SetAside { .. }
            | Effect::Truncate { .. }
            | Effect::Read { .. }
            | Effect::Apply(_)
            | Effect::Reset
            | Effect::AdoptApp { .. }
            | Effect::StopApp { .. }
            | Effect::Fence { .. } => {}
        }
        self.scene.nodes[node].address.refuses = Default::default();
    }

    /// What the storage had under way when its process ended: a prefix of it happened.
    pub(super) fn crash_effects(&mut self, node: usize) {
        let mut file = true;
        let mut log = !self.scene.nodes[node].log_failed;
        for pending in self.scene.nodes[node].effects.drain() {
            if pending.answer.is_some() || pending.fate != Fate::Done {
                continue;
            }
            if let Effect::Save(saved) = &pending.effect {
                file &= self.prng.chance(500_000);
                if file {
                    self.save(node, saved);
                }
            } else if log && is_of_log(&pending.effect) {
                log = self.prng.chance(500_000);
                self.crash_log_effect(node, &pending.effect, log);
            }
        }
    }

    /// One step of the log's writer at a crash: it happened `whole`, or in part, or not at all.
    fn crash_log_effect(&mut self, node: usize, effect: &Effect, whole: bool) {
        match effect {
            Effect::Append(_) if self.is_behind_a_full_disk(node, effect) => {}
            Effect::Append(batch) if whole => self.append(node, &batch.bytes),
            Effect::Append(batch) => {
                let len = self.prng.below(batch.bytes.len() as u64) as usize;
                self.append(node, &batch.bytes[..len]);
            }
            Effect::SetAside { from } if whole => {
                self.set_aside(node, *from);
            }
            Effect::Truncate { keep } if whole => {
                self.truncate(node, *keep);
            }
            Effect::Save(_)
            | Effect::SetAside { .. }
            | Effect::Truncate { .. }
            | Effect::Read { .. }
            | Effect::Apply(_)
            | Effect::Reset
            | Effect::TakeAddress { .. }
            | Effect::KeepAddress { .. }
            | Effect::AdoptAddress { .. }
            | Effect::AdoptApp { .. }
            | Effect::DropAddress
            | Effect::StartApp { .. }
            | Effect::StopApp { .. }
            | Effect::Probe { .. }
            | Effect::Fence { .. } => {}
        }
    }

    fn save(&mut self, node: usize, saved: &Saved) {
        let disk = &mut self.scene.nodes[node].disk;
        let old = std::mem::replace(&mut disk.saved, saved.clone());
        self.observe_override(node, &old);
        self.see(&Seen::Saved { node, old: &old });
    }

    fn append(&mut self, node: usize, bytes: &[u8]) {
        let log = &mut self.scene.nodes[node].disk.log;
        let before = log.head();
        if let Err(text) = log.append(bytes) {
            return self.broken("storage", format!("node {node} appends {text}"));
        }
        self.see(&Seen::Appended { node, before });
    }

    fn set_aside(&mut self, node: usize, from: Seq) -> Answer {
        let disk = &mut self.scene.nodes[node].disk;
        let all = disk.log.len();
        disk.aside.extend(disk.log.behind(from.previous()));
        let left = disk.log.bytes_up_to(from.previous());
        Answer::Kept { bytes: (all - left) as u64 }
    }

    fn truncate(&mut self, node: usize, keep: Seq) -> Answer {
        let log = &mut self.scene.nodes[node].disk.log;
        let dropped: Vec<_> = log.behind(keep).collect();
        log.truncate(keep);
        let (head, bytes) = (log.head(), log.len() as u64);
        self.see(&Seen::Truncated { node, dropped: &dropped });
        Answer::Truncated { head, bytes }
    }

    fn apply(&mut self, node: usize, batch: &Batch) {
        let mut rest = &batch.bytes[..];
        while let Some(header) = Header::read(rest) {
            let (record, tail) = rest.split_at(header.len);
            rest = tail;
            let Some(request) = Request::decode(&record[Header::LEN..]) else {
                let text = format!("node {node} applies damaged record {}", header.position.seq);
                return self.broken("prefix", text);
            };
            let state = self.scene.nodes[node].host.state;
            self.see(&Seen::Applied {
                node,
                before: (state.applied, state.chain),
                position: header.position,
                request,
                last: state.last[request.client].number,
            });
            self.apply_one(node, header.position, request);
        }
        let keeps = self.weather.host_keeps && self.prng.chance(200_000);
        let host = &mut self.scene.nodes[node].host;
        if keeps {
            host.kept = host.state;
        }
    }

    /// An application begins to start: from now on it may serve, for all that anyone knows.
    pub(super) fn app_starts(&mut self, node: usize, epoch: Epoch, head: Seq) {
        let host = &mut self.scene.nodes[node].host;
        host.run = Some(Run { epoch, head, started: false });
        host.fenced = false;
        host.stops_by = None;
        host.pending = Default::default();
        self.see(&Seen::AppStarts { node, epoch });
    }

    fn app_is_up(&mut self, node: usize) -> Answer {
        let host = &mut self.scene.nodes[node].host;
        match &mut host.run {
            Some(run) if !host.fenced => {
                run.started = true;
                Answer::Done
            }
            Some(_) | None => Answer::Failed,
        }
    }

    /// It stops (`gone`), or is kept from doing anything.
    pub(super) fn app_ends(&mut self, node: usize, gone: bool) {
        if self.scene.nodes[node].host.may_serve() {
            self.see(&Seen::AppEnds { node });
        }
        let host = &mut self.scene.nodes[node].host;
        host.fenced = !gone && host.run.is_some();
        if gone {
            host.run = None;
        }
        host.pending = Default::default();
    }

    /// The world itself finds something wrong.
    pub(super) fn broken(&mut self, rule: &'static str, text: String) {
        self.note(Column::World, || format!("BROKEN {rule}: {text}"));
        let at = self.scene.now;
        self.violation.get_or_insert(crate::check::Violation { rule, text, at });
    }
}

/// Whether the log's writer performs it: after a failure it refuses everything (never retried).
fn is_of_log(effect: &Effect) -> bool {
    matches!(effect, Effect::Append(_) | Effect::SetAside { .. } | Effect::Truncate { .. })
}

/// Whether it needs the disk.
fn is_of_disk(effect: &Effect) -> bool {
    is_of_log(effect) || matches!(effect, Effect::Save(_) | Effect::Read { .. })
}

/// An effect's name alone.
fn kind(effect: &Effect) -> &'static str {
    match effect {
        Effect::Save(_) => "Save",
        Effect::Append(_) => "Append",
        Effect::SetAside { .. } => "SetAside",
        Effect::Truncate { .. } => "Truncate",
        Effect::Read { .. } => "Read",
        Effect::Apply(_) => "Apply",
        Effect::Reset => "Reset",
        Effect::TakeAddress { .. } => "TakeAddress",
        Effect::KeepAddress { .. } => "KeepAddress",
        Effect::AdoptAddress { .. } => "AdoptAddress",
        Effect::AdoptApp { .. } => "AdoptApp",
        Effect::DropAddress => "DropAddress",
        Effect::StartApp { .. } => "StartApp",
        Effect::StopApp { .. } => "StopApp",
        Effect::Fence { .. } => "Fence",
        Effect::Probe { .. } => "Probe",
    }
}
