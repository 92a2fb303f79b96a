//! F8: on a draining bucket new connections are the owner's, and all others stay where their
//! sockets are, until a SYN of the same 4-tuple ends that claim or the drain is over.

use std::collections::BTreeSet;

use ha_farm::{Filter, Flow, Sockets};

use super::{Check, Seen};
use crate::farm::fact::Id;
use crate::farm::frame::Segment;
use crate::farm::scene::{Scene, UNKNOWN, owner, was_owner};
use crate::farm::services;

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
        segment: Option<Segment>,
        taken: &[usize],
        shown: &[usize],
    ) -> Result<(), String> {
        for &node in shown.iter().filter(|node| scene.is_open(**node)) {
            let here = &scene.nodes[node];
            let Some((service, bucket)) = scene.place_at(node, flow) else {
                if taken.contains(&node) {
                    return Err(format!("{node} accepts {flow:?}, and has no such service"));
                }
                continue;
            };
            let filter = here.kernel.filter.as_ref().expect("an open kernel has a filter");
            let word = services::word(filter, service, bucket);
            let ended = self.ended.contains(&(node, *flow));
            let live = here.kernel.sockets.live(flow) && !ended;
            let (accepts, is_to) =
                (taken.contains(&node), Self::is_to_take(word, node, segment, live));
            if accepts != is_to {
                let [owner, last, before, flags] = word.to_le_bytes();
                return Err(format!(
                    "{service}/{bucket} (owner {owner}, before {last} {before}, flags {flags}): \
                     {node} has {} socket and accepts {segment:?}: {accepts}",
                    if live { "a live" } else { "no live" }
                ));
            }
            if segment == Some(Segment::Syn) {
                self.sees_syn(scene, node, flow, word, accepts);
            }
        }
        Ok(())
    }

    /// Whether a member takes a packet by its bucket's word; of UDP without a segment.
    fn is_to_take(word: u32, node: usize, segment: Option<Segment>, live: bool) -> bool {
        let (takes, owns) = (word & Filter::TAKE != 0, owner(word) == Some(node));
        let drains = word & Filter::DRAIN != 0;
        match segment {
            None | Some(Segment::Syn) => owns && takes,
            Some(Segment::Ack | Segment::Fin | Segment::Rst) if !drains => owns && takes,
            Some(Segment::Ack | Segment::Fin | Segment::Rst) => {
                live && (owns || was_owner(word, node))
            }
        }
    }

    /// The claim of a previous owner to a 4-tuple ends with the next SYN of it.
    fn sees_syn(&mut self, scene: &Scene, node: usize, flow: &Flow, word: u32, accepts: bool) {
        let socket = scene.nodes[node].kernel.sockets.all.contains_key(flow);
        if accepts {
            self.ended.remove(&(node, *flow));
        } else if word & Filter::DRAIN != 0 && was_owner(word, node) && socket {
            self.ended.insert((node, *flow));
        }
    }

    /// No drain is declared over before its time.
    fn view(scene: &Scene, view: Id) -> Result<(), String> {
        let Some(plan) = scene.plans.get(&view) else { return Ok(()) };
        let Some(moved) = scene.moved.get(&plan.base) else { return Ok(()) };
        // It is told in whole milliseconds at each view.
        let least = scene.spans.drained();
        for (service, moved) in moved.iter().enumerate() {
            for (bucket, &moved) in moved.iter().enumerate() {
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
            Seen::Packet { flow, segment, taken, shown } => {
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
                        services::rows(filter)
                            .any(|(_, words)| words.iter().any(|word| word & Filter::DRAIN != 0))
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
