//! G1: no two nodes ever hold one epoch, and no replica accepts a write of a lower epoch after one
//! of a higher.

use ha_proto::{Epoch, NodeId};

use super::{Check, Seen};
use crate::scene::Scene;

/// An epoch names its owner, so two nodes hold one only if one of them holds what is not his.
#[derive(Debug, Default)]
pub(super) struct EpochSafety;

fn holds(epoch: Epoch, holder: NodeId) -> Result<(), String> {
    if epoch == Epoch::NONE || epoch.owner() == Some(holder) {
        return Ok(());
    }
    Err(format!("epoch {epoch} is held by node {holder}"))
}

impl Check for EpochSafety {
    fn rule(&self) -> &'static str {
        "G1"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            Seen::Saved { node, .. } => {
                let saved = &scene.nodes[node].disk.saved.membership;
                holds(saved.epoch, saved.holder)
            }
            Seen::Stored { .. } => {
                let Some(register) = scene.register() else { return Ok(()) };
                holds(register.membership.epoch, register.membership.holder)
            }
            Seen::Appended { node, before } => {
                let log = &scene.nodes[node].disk.log;
                let mut last = before;
                while let Some(next) = log.position(last.seq.next()) {
                    if next.epoch < last.epoch {
                        return Err(format!(
                            "node {node} has record {} of epoch {} behind one of epoch {}",
                            next.seq, next.epoch, last.epoch
                        ));
                    }
                    last = next;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
