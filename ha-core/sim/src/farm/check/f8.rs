//! F8: on a draining bucket new connections are the owner's, and all others stay where their
//! sockets are, until a SYN of the same 4-tuple ends that claim or the drain is over.

use std::collections::BTreeSet;

use ha_farm::{Filter, Flow, Protocol, Sockets};

use super::{Check, Seen};
use crate::farm::fact::Id;
use crate::farm::frame::Segment;
use crate::farm::scene::{SERVICES, Scene, UNKNOWN, owner, was_owner};

/// Which claims have ended: the member's socket may still be there.
#[derive(Debug, Default)]
pub(super) struct Drains {
    ended: BTreeSet<(usize, Flow)>,
}

impl Drains {
    fn packet(
        &mut self,
        scene: &Scene,
        flow: &Flow,
        segment: Segment,
        taken: &[usize],
        shown: &[usize],
    ) -> Result<(), String> {
        let Some((service, bucket)) = scene.place(flow) else { return Ok(()) };
        for &node in shown {
            let here = &scene.nodes[node];
            let Some(filter) = here.kernel.filter.as_ref().filter(|_| scene.is_open(node)) else {
                continue;
            };
            let word = filter.words(service)[bucket];
            let (drains, owns) = (word & Filter::DRAIN != 0, owner(word) == Some(node));
            let takes = taken.contains(&node);
            let ended = self.ended.contains(&(node, *flow));
            if segment == Segment::Syn {
                if takes && !(owns && word & Filter::TAKE != 0) {
                    return Err(format!("{node} accepts a SYN to {service}/{bucket}, not its own"));
                }
                if takes {
                    self.ended.remove(&(node, *flow));
                } else if drains && was_owner(word, node) {
                    self.ended.insert((node, *flow));
                }
                continue;
            }
            let involved = drains && (owns || was_owner(word, node));
            if involved && takes && ended {
                return Err(format!("{node} answers for a 4-tuple of which it saw a new SYN"));
            }
            let live = here.kernel.sockets.live(flow) && !ended;
            if involved && live != takes {
                return Err(format!(
                    "{service}/{bucket} drains, {node} has {} socket and accepts: {takes}",
                    if live { "a live" } else { "no live" }
                ));
            }
        }
        Ok(())
    }

    /// No drain is declared over before its time.
    fn view(scene: &Scene, view: Id) -> Result<(), String> {
        let Some(plan) = scene.plans.get(&view) else { return Ok(()) };
        let Some(moved) = scene.moved.get(&plan.base) else { return Ok(()) };
        // It is told in whole milliseconds at each view.
        let least = scene.spans.drained();
        for service in 0..SERVICES {
            for (bucket, &moved) in moved[service].iter().enumerate() {
                if moved == 0 || moved == UNKNOWN || moved > plan.settled {
                    continue;
                }
                let since = scene.moved_at.get(&moved).copied().unwrap_or(0);
                // It begins with the first that installed that view, which may have stood by.
                if scene.now + scene.spans.interval < since + least {
                    return Err(format!(
                        "{view} ends the drain of {service}/{bucket} {} ms after view {moved}",
                        (scene.now - since) / 1_000_000
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Check for Drains {
    fn rule(&self) -> &'static str {
        "F8"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            Seen::Packet { flow, segment: Some(segment), taken, shown }
                if flow.protocol == Protocol::Tcp =>
            {
                self.packet(scene, flow, segment, taken, shown)
            }
            Seen::View { id } => Self::view(scene, id),
            // Its sockets are gone with their claims.
            Seen::Booted { node } if scene.nodes[node].kernel.sockets.all.is_empty() => {
                self.ended.retain(|(other, _)| *other != node);
                Ok(())
            }
            Seen::Settling { balanced: true } => {
                let drains = scene.nodes.iter().find(|node| {
                    let words = |filter: &Filter| {
                        (0..SERVICES).any(|service| {
                            filter.words(service).iter().any(|word| word & Filter::DRAIN != 0)
                        })
                    };
                    scene.is_open(node.id) && node.kernel.filter.as_deref().is_some_and(words)
                });
                match drains {
                    Some(node) => Err(format!("at {} something drains for ever", node.id)),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}
