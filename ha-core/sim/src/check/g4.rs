//! G4 (*Member*): every member of W's set whose storage survives is `Complete` and has every
//! acknowledged write.

use ha_proto::{DataState, Seq};

use super::acked::Acked;
use super::{Check, Seen};
use crate::scene::Scene;

/// Looks at both copies whenever the set, a copy, or what was acknowledged changes.
#[derive(Debug, Default)]
pub(super) struct Member {
    acked: Acked,
}

impl Member {
    fn holds(&self, scene: &Scene, node: usize) -> Result<(), String> {
        let Some(register) = scene.register().filter(|_| !scene.is_void()) else { return Ok(()) };
        let here = &scene.nodes[node];
        if !register.membership.set.contains(here.id) || here.lost_storage {
            return Ok(());
        }
        // Bootstrap: W creates first, then the node saves. There is nothing yet that could be lost.
        if self.acked.last().0 == Seq::ZERO && !here.disk.saved.is_initialised() {
            return Ok(());
        }
        if here.disk.saved.state != DataState::Complete {
            return Err(format!("node {node} is in W's set and {:?}", here.disk.saved.state));
        }
        let (seq, chain) = self.acked.last();
        if here.disk.log.has(seq, chain) {
            return Ok(());
        }
        Err(format!(
            "node {node} is in W's set {} and lacks acknowledged record {seq}, its log ends at {}",
            register.membership.set,
            here.disk.log.head().seq
        ))
    }
}

impl Check for Member {
    fn rule(&self) -> &'static str {
        "G4 Member"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        self.acked.see(scene, seen);
        match *seen {
            Seen::Acknowledged { .. } | Seen::OverrideEnds { .. } | Seen::Stored { .. } => {
                self.holds(scene, 0)?;
                self.holds(scene, 1)
            }
            Seen::Saved { node, .. } | Seen::Truncated { node, .. } => self.holds(scene, node),
            _ => Ok(()),
        }
    }
}
