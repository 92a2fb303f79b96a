//! R14: what only one node has is kept aside before it is dropped, and a member of W's set is not
//! overwritten.

use super::{Check, Seen};
use crate::scene::Scene;

/// Looks at every record that is dropped from a log.
#[derive(Debug)]
pub(super) struct KeptAside;

impl Check for KeptAside {
    fn rule(&self) -> &'static str {
        "R14"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Truncated { node, dropped } = *seen else { return Ok(()) };
        let (here, peer) = (&scene.nodes[node], &scene.nodes[1 - node]);
        for record in dropped {
            let aside = here.disk.aside.contains(record);
            if !aside && !peer.disk.log.has(record.0, record.1) {
                return Err(format!("node {node} drops record {}, not kept aside", record.0));
            }
        }
        // W's set is not that of the record which it follows, until W has the override.
        match scene.register().filter(|_| !scene.is_void()) {
            Some(register) if register.membership.set.contains(here.id) && !here.lost_storage => {
                Err(format!("node {node} is in W's set and overwrites itself"))
            }
            Some(_) | None => Ok(()),
        }
    }
}
