//! FG1: two members that are linked for 2 i + r or more never both take one packet.

use ha_farm::Sockets;

use super::{Check, Seen};
use crate::farm::frame::Segment;
use crate::farm::scene::Scene;

#[derive(Debug)]
pub(super) struct OneTaker;

impl OneTaker {
    fn sweep(scene: &Scene) -> Result<(), String> {
        for one in 0..scene.nodes.len() {
            for other in 0..one {
                if !scene.are_bound(one, other) {
                    continue;
                }
                if let Some((service, bucket)) = scene.overlap(one, other) {
                    return Err(format!("{one} and {other}, linked, both take {service}/{bucket}"));
                }
            }
        }
        Ok(())
    }
}

impl Check for OneTaker {
    fn rule(&self) -> &'static str {
        "FG1"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            Seen::Look | Seen::Settled { .. } => Self::sweep(scene),
            Seen::Packet { flow, segment, taken, .. } => {
                // To take is to accept what is not of a live socket of one's own.
                let live = |node: usize| {
                    let sockets = &scene.nodes[node].kernel.sockets;
                    segment.is_some_and(|segment| segment != Segment::Syn) && sockets.live(flow)
                };
                let taken: Vec<usize> = taken.iter().copied().filter(|at| !live(*at)).collect();
                for (at, &one) in taken.iter().enumerate() {
                    for &other in &taken[at + 1..] {
                        if scene.are_bound(one, other) {
                            return Err(format!(
                                "{one} and {other}, linked, both take {segment:?} of {flow:?}"
                            ));
                        }
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
