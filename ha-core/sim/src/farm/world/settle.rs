//! What observers note of the whole farm: who is linked, what moved, whether it has settled.

use std::fmt::Write as _;

use ha_core::heartbeat::group::Part;
use ha_farm::Filter;
use ha_proto::NodeSet;
use ha_proto::wire::{Header, MAC_LEN};

use super::{Event, World};
use crate::farm::check::Seen;
use crate::farm::fact::{Fact, Id};
use crate::farm::plan::Plan;
use crate::farm::scene::{self, UNKNOWN, owner};
use crate::farm::services::{self, SERVICES};

impl World {
    /// The observers look, a few times in each interval.
    pub(super) fn look(&mut self) {
        let spans = self.scene.spans;
        let members = self.scene.nodes.len();
        for one in 0..members {
            for other in 0..one {
                self.note_link(one, other);
            }
        }
        self.note_apart();
        self.note_differing();
        for node in 0..members {
            let alone = (0..members).all(|other| self.scene.link(node, other).is_none());
            if !alone {
                self.scene.together[node] = self.scene.now;
            } else if self.scene.nodes[node].runs() {
                self.scene.alone[node] = self.scene.now;
            }
        }
        self.see(&Seen::Look);
        self.at(spans.interval / 8, Event::Look);
    }

    /// Since when two members are linked.
    pub(super) fn note_link(&mut self, one: usize, other: usize) {
        // For one of them that may be over by the next look.
        for (node, other) in [(one, other), (other, one)] {
            if self.scene.link(node, other).is_some() {
                self.scene.together[node] = self.scene.now;
            }
        }
        if self.scene.are_linked(one, other) {
            let since = self.scene.linked[one][other].unwrap_or(self.scene.now);
            self.scene.linked[one][other] = Some(since);
            self.scene.linked[other][one] = Some(since);
        } else {
            self.scene.unlink(one, other);
        }
    }

    /// Who runs and is not linked to another one that does.
    pub(super) fn note_apart(&mut self) {
        let members = self.scene.nodes.len();
        for (one, other) in (0..members).flat_map(|one| (0..one).map(move |other| (one, other))) {
            self.note_pair(one, other);
        }
    }

    /// Whether no rules are known to all that run: then some may be left out.
    pub(super) fn note_differing(&mut self) {
        let running = || self.scene.nodes.iter().filter(|node| node.runs());
        let said = || running().filter_map(|node| node.said.as_ref());
        let Some(first) = said().next() else { return };
        let all = |accord: u64| said().all(|said| said.has(accord));
        if !all(first.accord) && !all(first.next) {
            let now = self.scene.now;
            self.scene.nodes.iter_mut().for_each(|node| node.differs_at = now);
        }
    }

    /// Whether these two are.
    pub(super) fn note_pair(&mut self, one: usize, other: usize) {
        if self.are_apart(one, other) {
            self.scene.apart[one] = self.scene.now;
            self.scene.apart[other] = self.scene.now;
        }
    }

    /// Two members that run are cut off from each other, or do not hear each other although they
    /// have had the time to.
    fn are_apart(&self, one: usize, other: usize) -> bool {
        let (scene, spans) = (&self.scene, &self.scene.spans);
        if !scene.nodes[one].runs() || !scene.nodes[other].runs() {
            return false;
        }
        let ready =
            |node: usize| scene.now - scene.nodes[node].begun_at > spans.timeout + spans.interval;
        let linked = scene.are_linked(one, other);
        !scene.network.joins(one, other) || (ready(one) && ready(other) && !linked)
    }

    /// Remembers what a proposal says, once all of its parts were seen.
    pub(super) fn note_plan(&mut self, fact: &Fact, datagram: &[u8]) {
        let (Fact::Propose { id, .. } | Fact::Passes { id, .. }) = *fact else { return };
        if self.scene.plans.contains_key(&id) {
            return;
        }
        let body = &datagram[Header::LEN..datagram.len() - MAC_LEN];
        let part = Part::decode(body).expect("a member has just sent it");
        let parts = self.parts.entry(id).or_default();
        parts.insert(part.part, part.bytes);
        if parts.len() == usize::from(part.parts) {
            let whole: Vec<u8> = parts.values().flat_map(|bytes| bytes.iter().copied()).collect();
            self.parts.remove(&id);
            let (id, plan) = Plan::read(&whole, &self.scene.accords);
            self.scene.plans.insert(id, plan);
            if let Fact::Propose { from, .. } = *fact {
                self.see(&Seen::Planned { node: from, id });
            }
        }
    }

    /// Remembers what a view is, of the first member that is at it.
    pub(super) fn note_view(&mut self, node: usize, id: Id) {
        let here = &self.scene.nodes[node];
        let filter = here.kernel.filter.clone().filter(|_| !here.write_failed);
        let Some(filter) = filter.filter(|_| !self.scene.views.contains_key(&id)) else { return };
        let moved = self.moved(&filter, id);
        self.scene.views.insert(id, filter);
        self.scene.moved.insert(id, moved);
        let now = self.scene.now;
        self.scene.moved_at.entry(id.counter).or_insert(now);
        self.see(&Seen::View { id });
    }

    /// Which view last moved each draining bucket of a new one.
    fn moved(&self, new: &Filter, id: Id) -> Vec<Vec<u64>> {
        let base = self.scene.plans.get(&id).map(|plan| plan.base);
        let old = base.and_then(|base| self.scene.views.get(&base));
        let before = base.and_then(|base| self.scene.moved.get(&base));
        let (members, blank) = match self.scene.plans.get(&id) {
            Some(plan) => (plan.members, plan.base == Id::default()),
            None => (NodeSet::EMPTY, false),
        };
        let moved = |service: usize, bucket: usize, word: u32| {
            if word & Filter::DRAIN == 0 || blank {
                return 0;
            }
            let (Some(old), Some(before)) = (old, before) else { return UNKNOWN };
            let from = owner(services::word(old, service, bucket));
            let living = from.is_some_and(|from| members.contains(scene::id(from)));
            if from != owner(word) && living { id.counter } else { before[service][bucket] }
        };
        let mut all = vec![Vec::new(); SERVICES];
        for (service, words) in services::rows(new) {
            let words = words.iter().enumerate();
            all[service] = words.map(|(bucket, word)| moved(service, bucket, *word)).collect();
        }
        all
    }

    /// A kernel got another table: which buckets it lost, and which moved.
    pub(super) fn note_moves(&mut self, node: usize, old: Option<&Filter>) {
        let now = self.scene.now;
        let Some(new) = self.scene.nodes[node].kernel.filter.clone() else { return };
        for (service, words) in services::rows(&new) {
            let Some(old) = old.and_then(|old| services::row(old, service)) else {
                self.scene.nodes[node].came[service] = now;
                continue;
            };
            let words = old.iter().zip(words);
            for (bucket, (old, new)) in words.enumerate() {
                let (old, new) = (owner(*old), owner(*new));
                if old == new {
                    continue;
                }
                if old == Some(node) {
                    self.scene.lost[node][service][bucket] = now;
                    self.scene.moves[service][bucket].push(now);
                } else if new == Some(node) {
                    let lost = std::mem::take(&mut self.scene.lost[node][service][bucket]);
                    if lost > 0 && now >= lost + self.scene.spans.drained() {
                        self.scene.back[node][service][bucket] = now;
                    }
                }
            }
        }
    }
}

/// A filter in one line: how many buckets each has, and how many drain.
pub(super) fn show(filter: &Filter) -> String {
    let mut text = String::from("filter");
    for (service, words) in services::rows(filter) {
        let mut counts = std::collections::BTreeMap::new();
        let (mut takes, mut drains) = (0, 0);
        for &word in words {
            *counts.entry(owner(word)).or_insert(0) += 1;
            takes += u32::from(word & Filter::TAKE != 0);
            drains += u32::from(word & Filter::DRAIN != 0);
        }
        let written = write!(text, " [{service}: takes {takes}, {drains} drain;");
        written.expect("a string takes everything");
        for (owner, count) in counts {
            let owner = owner.map_or_else(|| "nobody".into(), |owner| owner.to_string());
            write!(text, " {owner}:{count}").expect("a string takes everything");
        }
        text += "]";
    }
    text
}
