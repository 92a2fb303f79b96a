//! F4: other services come into force in one view, once every member of it has them; until then
//! those that all have stay. Nobody decides by any other than its view's, and of a service that
//! stays no weight changes by that. Who differs is told of once.

use ha_core::farm::Event;

use super::{Check, Seen};
use crate::farm::fact::{Fact, Id, Said};
use crate::farm::plan::Plan;
use crate::farm::scene::{Scene, id};
use crate::farm::services;

/// Of whom each member was told that it differs.
#[derive(Debug, Default)]
pub(super) struct InOneView {
    differs: Vec<Vec<bool>>,
}

impl InOneView {
    /// Each other member said last that it has the rules that are to be in force.
    fn planned(scene: &Scene, node: usize, view: Id) -> Result<(), String> {
        let new = view > scene.nodes[node].view;
        let Some(plan) = scene.plans.get(&view).filter(|_| new) else { return Ok(()) };
        for member in plan.members.without(id(node)).iter() {
            let other = usize::from(member.as_u8());
            let Some(said) = scene.link_then(node, other) else { continue };
            if !said.has(plan.accord) {
                return Err(format!(
                    "{node} proposes {view} of {:?}, which {other} lacks",
                    plan.set
                ));
            }
            // In the order of rules that it does not know it cannot read them.
            if scene.nodes[node].said.as_ref().is_some_and(|mine| mine.has(said.accord)) {
                Self::weighs(scene, plan, other, said).map_err(|text| format!("{view}: {text}"))?;
            }
        }
        Ok(())
    }

    /// What a member told of its weight in a service is its weight in that service.
    fn weighs(scene: &Scene, plan: &Plan, node: usize, said: &Said) -> Result<(), String> {
        let Some(told) = scene.accords.get(&said.accord) else { return Ok(()) };
        for (&service, &weight) in told.iter().zip(&said.weights) {
            let weighs = plan.weight(service, node);
            if plan.set.contains(&service) && weighs != weight {
                return Err(format!("{node} told {weight} eighths in {service}, and has {weighs}"));
            }
        }
        Ok(())
    }

    /// The kernel decides by the rules of the view that the member says it takes in.
    fn said(scene: &Scene, node: usize, said: &Said) -> Result<(), String> {
        let Some(plan) = scene.plans.get(&said.view).filter(|_| said.takes) else { return Ok(()) };
        if said.accord != plan.accord && said.next != plan.accord {
            return Err(format!("{node} takes in {}, and has not its rules", said.view));
        }
        let Some(filter) = &scene.nodes[node].kernel.filter else { return Ok(()) };
        let holds: Vec<usize> = services::set(filter).collect();
        // What it lets go for a view that it comes to it does before it says so: a beat may be due
        // in between (F1), which says that these rules wait.
        if holds == plan.set || scene.accords.get(&said.next) == Some(&holds) {
            return Ok(());
        }
        Err(format!("{node} takes in {} of {:?}, and decides by {holds:?}", said.view, plan.set))
    }

    /// Nobody waits for what every member of its view has.
    fn settled(scene: &Scene) -> Result<(), String> {
        for group in scene.groups().into_iter().filter(|group| group.len() > 1) {
            let nodes: Vec<_> =
                group.iter().map(|node| &scene.nodes[usize::from(node.as_u8())]).collect();
            let told = nodes[0].told;
            if nodes.iter().any(|node| node.told != told) {
                continue;
            }
            let in_force = scene.services(group);
            if in_force != scene.sets[told] {
                let all = &scene.sets[told];
                return Err(format!("all of {group} have {all:?}, and {in_force:?} is in force"));
            }
        }
        Ok(())
    }

    /// Who differs is told of once, and once that it does no more.
    fn told(&mut self, scene: &Scene, node: usize, event: Event) -> Result<(), String> {
        let members = scene.nodes.len();
        self.differs.resize(members, vec![false; members]);
        let (other, now) = match event {
            Event::Disagrees(other) => (usize::from(other.as_u8()), true),
            Event::Agrees(other) => (usize::from(other.as_u8()), false),
            _ => return Ok(()),
        };
        let before = std::mem::replace(&mut self.differs[node][other], now);
        if before == now {
            return Err(format!("{node} is told twice that {other} differs: {now}"));
        }
        match &scene.nodes[node].heard[other] {
            Some(_) => Ok(()),
            None => Err(format!("{node} is told of {other}, of which it has heard nothing")),
        }
    }
}

impl Check for InOneView {
    fn rule(&self) -> &'static str {
        "F4 rules"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            Seen::Planned { node, id } => Self::planned(scene, node, id),
            Seen::Sent { node, fact: Fact::Beat(said) } => Self::said(scene, node, said),
            Seen::Settling { .. } => Self::settled(scene),
            Seen::Told { node, event } => self.told(scene, node, event),
            Seen::Booted { node } | Seen::Adopted { node } => {
                if let Some(differs) = self.differs.get_mut(node) {
                    differs.fill(false);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
