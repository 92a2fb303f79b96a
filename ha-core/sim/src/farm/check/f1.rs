//! F1: who says that it is at a view has let go of what that view does not give it; and goes only
//! up, as a member only if it is linked to every other.

use super::{Check, Seen};
use crate::farm::fact::{Fact, Said};
use crate::farm::scene::{SERVICES, Scene, id, owner};
use ha_farm::Filter;

#[derive(Debug)]
pub(super) struct LetsGo;

impl LetsGo {
    fn said(scene: &Scene, node: usize, said: &Said) -> Result<(), String> {
        let here = &scene.nodes[node];
        if said.view < here.view {
            return Err(format!("{node} was at {}, and says {}", here.view, said.view));
        }
        let Some(before) = &here.said else { return Ok(()) };
        if said.takes && !before.takes && said.view == before.view && said.view.counter > 0 {
            return Err(format!("{node} stood by at {}, and takes in it (F3)", said.view));
        }
        if said.takes && said.view != before.view && here.write_failed {
            return Err(format!("{node} takes in {}, and its filter was not written", said.view));
        }
        if said.takes && said.view != before.view {
            Self::joins(scene, node, said)?;
            Self::let_go(scene, node, said)?;
        }
        Ok(())
    }

    fn joins(scene: &Scene, node: usize, said: &Said) -> Result<(), String> {
        let members = said.members.without(id(node)).iter();
        let mut members = members.map(|member| usize::from(member.as_u8()));
        match members.find(|&member| scene.link(node, member).is_none()) {
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
        for service in 0..SERVICES {
            let words = filter.words(service).iter().zip(table.words(service));
            for (bucket, (word, given)) in words.enumerate() {
                if word & Filter::TAKE != 0 && owner(*given) != Some(node) {
                    return Err(format!(
                        "{node} says that it is at {}, and still takes {service}/{bucket}",
                        said.view
                    ));
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
            _ => Ok(()),
        }
    }
}
