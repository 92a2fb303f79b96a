//! F9: only the announcer, under its lease, answers ARP; the filter keeps the kernel from answering
//! by itself, for ever; a client's frame is handed to whom it may concern, and what a member handed
//! over is not handed on.

use std::collections::BTreeSet;

use ha_farm::{Filter, Verdict};

use super::{Check, Seen};
use crate::farm::kernel;
use crate::farm::scene::{Scene, owner, was_owner};

#[derive(Debug)]
pub(super) struct Directed;

impl Directed {
    /// The announcer of the view that it is at, and nobody else, answers ARP.
    fn announces(scene: &Scene, node: usize) -> Result<(), String> {
        let here = &scene.nodes[node];
        let view = here.said.as_ref().map(|said| said.view).unwrap_or_default();
        let plan = scene.plans.get(&view).filter(|_| here.announces);
        match plan.map(|plan| plan.announcer).filter(|announcer| *announcer != node) {
            Some(announcer) => Err(format!("{node} announces in {view}, where {announcer} is to")),
            None => Ok(()),
        }
    }

    /// Who gets a client's frame hands it to the owner, and of TCP to each previous owner as long
    /// as the bucket drains.
    fn handed_on(scene: &Scene, by: usize, frame: &[u8], to: &[usize]) -> Result<(), String> {
        let here = &scene.nodes[by];
        let Some(filter) = here.kernel.filter.as_ref().filter(|_| scene.is_open(by)) else {
            return if to.is_empty() {
                Ok(())
            } else {
                Err(format!("{by} is closed, and hands on"))
            };
        };
        let place = filter.examine(frame, true, &mut kernel::Table::default()).place;
        let Some(place) = place else { return Ok(()) };
        let word = filter.words(place.service.into())[usize::from(place.bucket)];
        let mut right: Vec<usize> = owner(word).into_iter().collect();
        let previous = (0..scene.nodes.len()).filter(|node| was_owner(word, *node));
        right.extend(previous.filter(|_| word & Filter::DRAIN != 0));
        right.retain(|node| *node != by);
        let (right, to): (BTreeSet<_>, BTreeSet<_>) =
            (right.into_iter().collect(), to.iter().copied().collect());
        if right == to { Ok(()) } else { Err(format!("{by} hands on to {to:?}, not to {right:?}")) }
    }
}

impl Check for Directed {
    fn rule(&self) -> &'static str {
        "F9"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            Seen::HandedOnTwice { from, by, to } => {
                Err(format!("{by} hands on to {to:?} what {from} had handed to it"))
            }
            Seen::Asked { node, verdict: Some(verdict) } if verdict != Verdict::Neighbour => {
                Err(format!("the kernel of {node} is shown an ARP request: {verdict:?}"))
            }
            Seen::HandedOn { by, frame, to } => Self::handed_on(scene, by, frame, to),
            Seen::Announce { node } => Self::announces(scene, node),
            Seen::Look => {
                let answers = |node: &usize| {
                    let here = &scene.nodes[*node];
                    here.runs() && here.announces && scene.is_open(*node)
                };
                let all: Vec<usize> = (0..scene.nodes.len()).filter(answers).collect();
                for (at, &one) in all.iter().enumerate() {
                    for &other in &all[at + 1..] {
                        if scene.are_bound(one, other) {
                            return Err(format!("{one} and {other}, linked, both answer ARP"));
                        }
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
