//! What observers note of the whole farm: who is linked, what moved, whether it has settled.

use ha_farm::Filter;

use super::{Event, World};
use crate::farm::check::Seen;
use crate::farm::scene::{SERVICES, owner};

impl World {
    /// The observers look, a few times in each interval.
    pub(super) fn look(&mut self) {
        let spans = self.scene.spans;
        let members = self.scene.nodes.len();
        for one in 0..members {
            for other in 0..one {
                if self.scene.are_linked(one, other) {
                    let since = self.scene.linked[one][other].unwrap_or(self.scene.now);
                    self.scene.linked[one][other] = Some(since);
                    self.scene.linked[other][one] = Some(since);
                } else {
                    self.scene.unlink(one, other);
                    self.note_split(one, other);
                }
            }
        }
        self.see(&Seen::Look);
        self.at(spans.interval / 8, Event::Look);
    }

    /// Two members that have run for long enough do not hear each other.
    fn note_split(&mut self, one: usize, other: usize) {
        let (now, spans) = (self.scene.now, self.scene.spans);
        let ready = |node: usize| {
            let here = &self.scene.nodes[node];
            here.runs() && here.stopped == 0 && now - here.begun_at > spans.liveness()
        };
        if ready(one) && ready(other) {
            self.scene.split_at = now;
        }
    }

    /// A kernel got another table: which buckets it lost, and which moved.
    pub(super) fn note_moves(&mut self, node: usize, old: Option<&Filter>) {
        let now = self.scene.now;
        let Some(new) = self.scene.nodes[node].kernel.filter.clone() else { return };
        let Some(old) = old else { return };
        for service in 0..SERVICES {
            let words = old.words(service).iter().zip(new.words(service));
            for (bucket, (old, new)) in words.enumerate() {
                let (old, new) = (owner(*old), owner(*new));
                if old == new {
                    continue;
                }
                if old == Some(node) {
                    self.scene.lost[node][service][bucket] = now;
                    self.scene.moves[service][bucket].push(now);
                }
            }
        }
    }
}

/// A filter in one line: how many buckets each has, and how many drain.
pub(super) fn show(filter: &Filter) -> String {
    let mut text = String::from("filter");
    for service in 0..SERVICES {
        let mut counts = std::collections::BTreeMap::new();
        let (mut takes, mut drains) = (0, 0);
        for &word in filter.words(service) {
            *counts.entry(owner(word)).or_insert(0) += 1;
            takes += u32::from(word & Filter::TAKE != 0);
            drains += u32::from(word & Filter::DRAIN != 0);
        }
        text += &format!(" [{service}: takes {takes}, {drains} drain;");
        for (owner, count) in counts {
            match owner {
                Some(owner) => text += &format!(" {owner}:{count}"),
                None => text += &format!(" nobody:{count}"),
            }
        }
        text += "]";
    }
    text
}
