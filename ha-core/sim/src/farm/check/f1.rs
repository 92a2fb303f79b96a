//! F1: who says that it is at a view has let go of what that view does not give it, and of nothing
//! else; and goes only up, told by a linked proposer, as a member only if it is linked to every
//! other, and not to a worse view while its own is whole.

use super::f3::yields;
use super::{Check, Seen};
use crate::farm::fact::{Fact, Id, Said, ranks_better};
use crate::farm::scene::{Scene, id, owner};
use crate::farm::services;
use ha_farm::Filter;

#[derive(Debug)]
pub(super) struct LetsGo;

impl LetsGo {
    fn said(scene: &Scene, node: usize, said: &Said) -> Result<(), String> {
        let here = &scene.nodes[node];
        if said.view < here.view {
            return Err(format!("{node} was at {}, and says {}", here.view, said.view));
        }
        if said.view > here.view {
            Self::was_told(scene, node, said.view)?;
        }
        let Some(before) = &here.said else { return Ok(()) };
        if said.takes && !before.takes && said.view == before.view && said.view.counter > 0 {
            return Err(format!("{node} stood by at {}, and takes in it (F3)", said.view));
        }
        if said.view == before.view {
            return Ok(());
        }
        if before.takes {
            Self::may_leave(scene, node, before, said)?;
        }
        if said.takes && here.write_failed {
            return Err(format!("{node} takes in {}, and its filter was not written", said.view));
        }
        if said.takes {
            Self::joins(scene, node, said)?;
            Self::let_go(scene, node, said)?;
        }
        Ok(())
    }

    /// It made the view itself, or somebody whom it is linked to told it.
    fn was_told(scene: &Scene, node: usize, view: Id) -> Result<(), String> {
        let here = &scene.nodes[node];
        let own = usize::from(view.coordinator) == node && view.boot == here.boot;
        let offers = here.offers.get(&view);
        // As a member it is written first; then its links are looked at again.
        let writes = scene.plans.get(&view).is_some_and(|plan| plan.members.contains(id(node)));
        let told = offers.is_some_and(|from| {
            writes || from.iter().any(|&from| scene.link_then(node, from).is_some())
        });
        if own || told {
            return Ok(());
        }
        Err(format!("{node} is at {view}, proposed by {offers:?}, none of them linked to it"))
    }

    /// None of worse rank while its own is whole, but a subset of it.
    fn may_leave(scene: &Scene, node: usize, before: &Said, said: &Said) -> Result<(), String> {
        let worse = ranks_better(before.members, said.members)
            && !said.members.is_subset_of(before.members);
        // It took nothing any more in that moment, and then went on.
        let over = scene.nodes[node].lease_is_over();
        let gave_up = !said.takes && (!said.able || over || yields(scene, node, before).is_some());
        if worse && !gave_up && scene.is_own_whole(node, before) {
            return Err(format!(
                "{node} goes from {} {}, which is whole, to {} {}",
                before.view, before.members, said.view, said.members
            ));
        }
        Ok(())
    }

    fn joins(scene: &Scene, node: usize, said: &Said) -> Result<(), String> {
        let members = said.members.without(id(node)).iter();
        let mut members = members.map(|member| usize::from(member.as_u8()));
        match members.find(|&member| scene.link_then(node, member).is_none()) {
            Some(member) => Err(format!(
                "{node} is a member of {} {} and not linked to {member}",
                said.view, said.members
            )),
            None => Ok(()),
        }
    }

    /// The kernel holds what the view says, if anybody knows by now what it says.
    fn let_go(scene: &Scene, node: usize, said: &Said) -> Result<(), String> {
        let Some(table) = scene.views.get(&said.view) else { return Ok(()) };
        if !scene.is_open(node) {
            return Ok(());
        }
        let filter = scene.nodes[node].kernel.filter.as_ref().expect("an open kernel has a filter");
        for (service, words) in services::rows(filter) {
            for (bucket, word) in words.iter().enumerate() {
                let given = services::word(table, service, bucket);
                if word & Filter::TAKE != 0 && owner(given) != Some(node) {
                    return Err(format!(
                        "{node} says that it is at {}, and still takes {service}/{bucket}",
                        said.view
                    ));
                }
            }
        }
        Ok(())
    }

    /// What the kernel takes is what its table gives, and what it took and still owns it keeps.
    fn written(scene: &Scene, node: usize, old: Option<&Filter>) -> Result<(), String> {
        let here = &scene.nodes[node];
        let Some(new) = here.kernel.filter.as_deref() else { return Ok(()) };
        let takes = here.said.as_ref().is_some_and(|said| said.takes) && scene.is_open(node);
        let old = old.filter(|old| takes && !core::ptr::eq(*old, new));
        for (service, words) in services::rows(new) {
            let old = old.and_then(|old| services::row(old, service));
            for (bucket, word) in words.iter().enumerate() {
                let owns = owner(*word) == Some(node);
                if word & Filter::TAKE != 0 && !owns {
                    return Err(format!("{node} takes {service}/{bucket}, which is not its own"));
                }
                let took = old.is_some_and(|old| old[bucket] & Filter::TAKE != 0);
                if took && owns && word & Filter::TAKE == 0 {
                    return Err(format!("{node} keeps {service}/{bucket} and does not take it"));
                }
            }
        }
        Ok(())
    }
}

impl Check for LetsGo {
    fn rule(&self) -> &'static str {
        "F1"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            Seen::Sent { node, fact: Fact::Beat(said) } => Self::said(scene, node, said),
            Seen::Kernel { node, old, .. } => Self::written(scene, node, old),
            _ => Ok(()),
        }
    }
}
