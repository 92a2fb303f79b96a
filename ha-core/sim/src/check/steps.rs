//! One step of an application at a time, in the order of the reigns (`FIELD.md`, row 13).

use ha_core::Effect;
use ha_proto::Epoch;

use super::{Check, Seen};
use crate::scene::Scene;

/// In which reign each node's application was started last.
#[derive(Debug, Default)]
pub(super) struct Steps {
    reigns: [Epoch; 2],
}

impl Check for Steps {
    fn rule(&self) -> &'static str {
        "one step at a time"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            Seen::Begins { node, effect } => {
                let waits = match effect {
                    Effect::StartApp { .. } | Effect::AdoptApp { .. } => true,
                    // What hangs is ended by force.
                    Effect::StopApp { force } => !force,
                    _ => false,
                };
                let under_way = scene.nodes[node].effects.application_step();
                if let Some(under_way) = under_way.filter(|_| waits) {
                    return Err(format!("node {node} begins {effect:?} during {under_way:?}"));
                }
                let Effect::StartApp { epoch, .. } = *effect else { return Ok(()) };
                let last = std::mem::replace(&mut self.reigns[node], epoch);
                if epoch < last {
                    return Err(format!("node {node} starts in {epoch} after {last}"));
                }
            }
            Seen::Lost { node } => self.reigns[node] = Epoch::default(),
            _ => {}
        }
        Ok(())
    }
}
