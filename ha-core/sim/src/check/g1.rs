//! G1: no two nodes ever hold one epoch, and no replica accepts a write of a lower epoch after one
//! of a higher.

use std::collections::BTreeMap;

use ha_proto::{Epoch, NodeId};

use super::{Check, Seen};
use crate::scene::Scene;

/// The owner of each epoch that was ever saved by its holder, stored at W, or written in.
#[derive(Debug, Default)]
pub(super) struct EpochSafety {
    owners: BTreeMap<Epoch, NodeId>,
}

impl EpochSafety {
    fn holds(&mut self, epoch: Epoch, holder: NodeId) -> Result<(), String> {
        if epoch == Epoch::NONE {
            return Ok(());
        }
        if epoch.owner() != Some(holder) {
            return Err(format!("epoch {epoch} is held by node {holder}"));
        }
        let owner = *self.owners.entry(epoch).or_insert(holder);
        if owner == holder {
            Ok(())
        } else {
            Err(format!("epoch {epoch} is held by node {owner} and by node {holder}"))
        }
    }
}

impl Check for EpochSafety {
    fn rule(&self) -> &'static str {
        "G1"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            Seen::Saved { node, .. } => {
                let saved = &scene.nodes[node].disk.saved.membership;
                self.holds(saved.epoch, saved.holder)
            }
            Seen::Stored { .. } => {
                let Some(register) = scene.register() else { return Ok(()) };
                self.holds(register.membership.epoch, register.membership.holder)
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
