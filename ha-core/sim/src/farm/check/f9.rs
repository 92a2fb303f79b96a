//! F9: only the announcer, under its lease, answers ARP; the filter keeps the kernel from answering
//! by itself, for ever; and what a member handed over is not handed on.

use ha_farm::{Mode, Verdict};

use super::{Check, Seen};
use crate::farm::scene::Scene;

#[derive(Debug)]
pub(super) struct Directed;

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
            Seen::Look | Seen::Announce { .. } if scene.mode == Mode::Directed => {
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
