//! F4: a proposal has the next counter, the name and boot of who makes it, the lowest of its members
//! that may; nobody makes one twice within i, unless a member fell silent, leaves out who is linked
//! to all, or does it against a live linked view of better rank.

use super::{Check, Seen};
use crate::farm::fact::{Fact, Id, ranks_better};
use crate::farm::scene::{self, Scene};
use ha_proto::{Instant, NodeSet};

/// What each member proposed last, and when.
#[derive(Debug, Default)]
pub(super) struct Proposes {
    last: Vec<(Id, Instant)>,
}

impl Proposes {
    fn proposed(&mut self, scene: &Scene, node: usize, id: Id) -> Result<(), String> {
        let here = &scene.nodes[node];
        if usize::from(id.coordinator) != node || id.boot != here.boot {
            return Err(format!("{node}, boot {}, proposes {id}", here.boot));
        }
        // Said again, or the answer to who is at an older one.
        if self.last[node].0 == id || id <= here.view {
            return Ok(());
        }
        let last = std::mem::replace(&mut self.last[node], (id, here.local(scene.now)));
        if id.counter != here.highest + 1 {
            return Err(format!("{node} saw {}, and proposes {id}", here.highest));
        }
        let since = here.local(scene.now).saturating_since(last.1).as_nanos();
        let again = last.0.boot == id.boot && since < u128::from(scene.spans.interval);
        if again && !Self::lost(scene, node) {
            return Err(format!("{node} proposes {id} {} us after {}", since / 1_000, last.0));
        }
        Ok(())
    }

    /// Whether a member of its view fell silent: then the next one is made at once.
    fn lost(scene: &Scene, node: usize) -> bool {
        let members = scene.nodes[node].said.map_or(NodeSet::EMPTY, |said| said.members);
        let others = members.without(scene::id(node));
        others.iter().any(|member| !scene.hears(node, usize::from(member.as_u8())))
    }

    /// The proposal is whole: whether it is its coordinator's to make.
    fn planned(scene: &Scene, node: usize, id: Id) -> Result<(), String> {
        // One that it made alone is said to others as an answer, later on.
        let new = id > scene.nodes[node].view;
        let Some(plan) = scene.plans.get(&id).filter(|_| new) else { return Ok(()) };
        let me = scene::id(node);
        for member in plan.members.without(me).iter() {
            let Some(said) = scene.link(node, usize::from(member.as_u8())) else {
                return Err(format!("{node} proposes {id} with {member}, not linked to it"));
            };
            if member < me && !said.waits {
                return Err(format!("{node} proposes {id}, which is for {member} to do"));
            }
        }
        for other in (0..scene.nodes.len()).filter(|other| *other != node) {
            let Some(said) = scene.link(node, other) else { continue };
            let out = !plan.members.contains(scene::id(other));
            let fits = plan.members.without(me).iter().all(|member| {
                let link = scene.link(node, usize::from(member.as_u8()));
                said.hears.contains(member)
                    && link.is_some_and(|link| link.hears.contains(scene::id(other)))
            });
            if out && said.able && fits && said.hears.contains(me) {
                return Err(format!("{node} proposes {id} {} without {other}", plan.members));
            }
            let better = said.takes && ranks_better(said.members, plan.members);
            let stranger = !said.members.contains(me);
            if better && stranger && scene.is_whole(node, said.view, said.members) {
                return Err(format!(
                    "{node} proposes {id} {} against {} {} of {other}",
                    plan.members, said.view, said.members
                ));
            }
        }
        Ok(())
    }
}

impl Check for Proposes {
    fn rule(&self) -> &'static str {
        "F4"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        self.last.resize(scene.nodes.len(), (Id::default(), Instant::ZERO));
        match *seen {
            Seen::Sent { node, fact: Fact::Propose { id, .. } } => self.proposed(scene, node, *id),
            Seen::Planned { node, id } => Self::planned(scene, node, id),
            _ => Ok(()),
        }
    }
}
