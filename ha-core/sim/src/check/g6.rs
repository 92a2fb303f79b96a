//! G6: a node that reaches neither its peer nor W, and may not run alone, has stopped within L.

use ha_proto::Instant;

use super::{Check, Seen};
use crate::scene::Scene;

/// When each node last heard anybody, or lost the right to run alone; on its own clock. Coarser
/// than R5, and by other facts: what arrives at all, whatever it says.
#[derive(Debug, Default)]
pub(super) struct HonestStop {
    heard: [Option<Instant>; 2],
}

impl HonestStop {
    fn late(&self, scene: &Scene, node: usize) -> Result<(), String> {
        let here = &scene.nodes[node];
        let now = here.local(scene.now);
        let alone = scene.may_run_alone(node) || here.is_excused(scene.now);
        let silent = self.heard[node].map(|heard| now.saturating_since(heard));
        match silent {
            Some(silent) if silent > scene.lease && !alone => {
                Err(format!("node {node} serves and has heard nobody for {silent:?}"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Check for HonestStop {
    fn rule(&self) -> &'static str {
        "G6"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            Seen::Received { node, .. } => {
                let serves = scene.nodes[node].serves();
                let late = if serves { self.late(scene, node) } else { Ok(()) };
                self.heard[node] = Some(scene.nodes[node].local(scene.now));
                late
            }
            Seen::Saved { node, old } => {
                if old.may_run_alone() {
                    self.heard[node] = Some(scene.nodes[node].local(scene.now));
                }
                Ok(())
            }
            Seen::Booted { node } => {
                self.heard[node] = Some(scene.nodes[node].local(scene.now));
                Ok(())
            }
            Seen::AppEnds { node } => self.late(scene, node),
            _ => Ok(()),
        }
    }
}
