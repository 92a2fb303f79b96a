//! F4: a proposal has the next counter, the name and boot of who makes it, the lowest of the
//! best-ranked clique that may; nobody makes one that nothing asks for, or a second one within i,
//! unless a member fell silent; nor against a live linked view of better rank. Who is linked to
//! nobody waits for D, and serves everything then.

use super::{Check, Seen};
use crate::farm::clique;
use crate::farm::fact::{Fact, Id, Said, ranks_better};
use crate::farm::plan::Plan;
use crate::farm::scene::{self, Scene};
use ha_core::farm::Isolated;
use ha_proto::{Instant, NodeSet};

/// What each member proposed last, when, and when it was last linked to each other's process.
#[derive(Debug, Default)]
pub(super) struct Proposes {
    last: Vec<(Id, Instant)>,
    linked: Vec<Vec<Option<(u64, Instant)>>>,
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
        let last = std::mem::replace(&mut self.last[node], (id, here.acted));
        if id.counter != here.highest + 1 {
            return Err(format!("{node} saw {}, and proposes {id}", here.highest));
        }
        let since = here.acted.saturating_since(last.1).as_nanos();
        let again = last.0.boot == id.boot && since < u128::from(scene.spans.interval);
        if again && !Self::lost(scene, node, last.1) {
            return Err(format!("{node} proposes {id} {} us after {}", since / 1_000, last.0));
        }
        Ok(())
    }

    /// Whether a member of its view fell silent since: then the next one is made at once. Whom it
    /// did not hear then either, on the far side of a cut, did not.
    fn lost(scene: &Scene, node: usize, since: Instant) -> bool {
        let here = &scene.nodes[node];
        let others = here.said.as_ref().map_or(NodeSet::EMPTY, |said| said.members);
        let fell = |member: usize| {
            let last = here.heard[member].as_ref().map(|heard| heard.at);
            let long = |at: Instant| since.saturating_since(at).as_nanos();
            last.is_some_and(|at| long(at) < u128::from(scene.spans.timeout))
        };
        let mut others = others.without(scene::id(node)).iter().map(|it| usize::from(it.as_u8()));
        others.any(|member| !scene.heard_then(node, member) && fell(member))
    }

    /// The proposal is whole: whether it is its coordinator's to make.
    fn planned(scene: &Scene, node: usize, id: Id) -> Result<(), String> {
        // One that it made alone is said to others as an answer, later on.
        let new = id > scene.nodes[node].view;
        let Some(plan) = scene.plans.get(&id).filter(|_| new) else { return Ok(()) };
        let best = Self::best(scene, node);
        if plan.members != best {
            return Err(format!("{node} proposes {id} {}, the best is {best}", plan.members));
        }
        let waits = |other| scene.link_then(node, other).is_some_and(|said| said.waits);
        let mut lower = best.iter().map(|member| usize::from(member.as_u8()));
        if let Some(lower) = lower.find(|&member| member < node && !waits(member)) {
            return Err(format!("{node} proposes {id}, which is for {lower} to do"));
        }
        if !Self::is_needed(scene, node, plan) {
            return Err(format!("{node} proposes {id} {best}, and nothing asks for it"));
        }
        for other in (0..scene.nodes.len()).filter(|other| *other != node) {
            let Some(said) = scene.link_then(node, other) else { continue };
            let better = said.takes && ranks_better(said.members, plan.members);
            let stranger = !said.members.contains(scene::id(node));
            if better && stranger && scene.is_whole(node, said.view, said.members) {
                return Err(format!(
                    "{node} proposes {id} {} against {} {} of {other}",
                    plan.members, said.view, said.members
                ));
            }
        }
        Ok(())
    }

    /// A view that a member makes for itself is proposed to nobody: its first beat tells of it.
    fn said(&self, scene: &Scene, node: usize, said: &Said) -> Result<(), String> {
        let (here, id) = (&scene.nodes[node], said.view);
        let own = usize::from(id.coordinator) == node && id.boot == here.boot;
        // One that it proposed, and whose write took its time, was judged when it did.
        let proposed = scene.plans.contains_key(&id);
        let alone = said.members == NodeSet::only(scene::id(node));
        if id <= here.view || !own || !alone || proposed {
            return Ok(());
        }
        let best = Self::best(scene, node);
        if best != said.members {
            return Err(format!("{node} makes {id} for itself, the best is {best}"));
        }
        self.may_be_alone(scene, node, id)
    }

    /// The best-ranked clique that a member sees in the beats that it read, of those that have rules
    /// that it has.
    fn best(scene: &Scene, node: usize) -> NodeSet {
        let Some(mine) = scene.nodes[node].said.as_ref() else {
            return NodeSet::only(scene::id(node));
        };
        let [one, other] =
            [mine.accord, mine.next].map(|accord| Self::best_of(scene, node, accord));
        // For rules that wait nobody is left out, unless more come in than go.
        if other.len() > one.len() { other } else { one }
    }

    fn best_of(scene: &Scene, node: usize, accord: u64) -> NodeSet {
        let members = scene.nodes.len();
        let words: Vec<_> = (0..members)
            .map(|other| {
                let said = scene.link_then(node, other);
                said.filter(|said| other != node && said.able && said.has(accord))
            })
            .collect();
        let adjacent = |one: usize| {
            let said = words[one];
            (0..members).fold(0_u16, |bits, other| {
                let mutual = said.zip(words[other]).is_some_and(|(said, heard)| {
                    said.hears.contains(scene::id(other)) && heard.hears.contains(scene::id(one))
                });
                bits | u16::from(mutual && one != other) << other
            })
        };
        let adjacent: Vec<u16> = (0..members).map(adjacent).collect();
        let linked = (0..members).filter(|other| words[*other].is_some());
        let linked = linked.fold(0_u16, |bits, other| bits | 1 << other);
        clique::best(&adjacent, 1 << node, linked)
    }

    /// Members, weights or what has drained change, or a member is elsewhere or takes nothing.
    fn is_needed(scene: &Scene, node: usize, plan: &Plan) -> bool {
        let here = &scene.nodes[node];
        let Some(before) = scene.plans.get(&here.view) else { return true };
        let stays = here.said.as_ref().is_some_and(|said| said.takes)
            && before.boots == plan.boots
            && before.accord == plan.accord
            && before.weights == plan.weights
            && before.settled == plan.settled;
        let mut others = plan.members.without(scene::id(node)).iter();
        let there = others.all(|member| {
            let said = scene.link_then(node, usize::from(member.as_u8()));
            said.is_some_and(|said| said.takes_in(here.view))
        });
        !stays || !there
    }

    /// Who is linked to nobody was so for D.
    fn may_be_alone(&self, scene: &Scene, node: usize, id: Id) -> Result<(), String> {
        let alone = (0..scene.nodes.len()).all(|other| scene.link_then(node, other).is_none());
        let last = self.linked[node].iter().flatten().map(|(_, at)| *at).max();
        let Some(last) = last.filter(|_| alone) else { return Ok(()) };
        if scene.isolated == Isolated::Nothing {
            return Err(format!("{node} is linked to nobody, and makes {id}"));
        }
        let since = scene.nodes[node].acted.saturating_since(last).as_nanos();
        if since < u128::from(scene.spans.timeout) {
            let millis = since / 1_000_000;
            return Err(format!("{node} was linked {millis} ms ago, and makes {id} for itself"));
        }
        Ok(())
    }

    /// Once it has been linked to nobody for D, and could have made its view, it serves everything,
    /// or nothing.
    fn serves_alone(scene: &Scene, node: usize) -> Result<(), String> {
        let (here, spans) = (&scene.nodes[node], &scene.spans);
        let long = spans.timeout + spans.interval * 2;
        let idle = |since: u64| scene.now >= since + long + long / 500;
        let ready = here.runs() && here.busy.is_none() && here.write_fails == 0 && here.app;
        let calm = idle(here.hurt_at) && idle(here.begun_at) && idle(scene.changed_at[node]);
        if !ready || !calm || !idle(scene.together[node]) || !here.is_wanted() {
            return Ok(());
        }
        let open = scene.is_open(node);
        match scene.isolated {
            Isolated::Nothing if open => Err(format!("{node} hears nobody, and takes something")),
            Isolated::Nothing => Ok(()),
            Isolated::All if open && scene.takes_all(node) => Ok(()),
            Isolated::All => Err(format!("{node} hears nobody, and does not serve everything")),
        }
    }
}

impl Check for Proposes {
    fn rule(&self) -> &'static str {
        "F4"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let members = scene.nodes.len();
        self.last.resize(members, (Id::default(), Instant::ZERO));
        self.linked.resize(members, vec![None; members]);
        match *seen {
            Seen::Sent { node, fact: Fact::Propose { id, .. } } => self.proposed(scene, node, *id),
            Seen::Sent { node, fact: Fact::Beat(said) } => self.said(scene, node, said),
            Seen::Planned { node, id } => Self::planned(scene, node, id),
            Seen::Heard { node, said } => {
                let here = &scene.nodes[node];
                let last = &mut self.linked[node][said.from];
                // Its former process is gone.
                last.take_if(|(boot, _)| *boot != said.boot);
                if said.hears.contains(scene::id(node)) && said.echo(node, here.boot) > 0 {
                    *last = Some((said.boot, here.local(scene.now)));
                }
                Ok(())
            }
            Seen::Booted { node } => {
                self.linked[node].fill(None);
                Ok(())
            }
            Seen::Look => (0..members).try_for_each(|node| Self::serves_alone(scene, node)),
            _ => Ok(()),
        }
    }
}
