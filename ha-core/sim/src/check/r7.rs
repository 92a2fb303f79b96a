//! R7: the right to run alone is given up, durably, before Admit, and only under a lease.

use ha_quorum::Request;

use super::{Check, Seen};
use crate::fact::Fact;
use crate::network::Site;
use crate::scene::Scene;

/// Looks at every Admit.
#[derive(Debug)]
pub(super) struct GivesUpAlone;

impl Check for GivesUpAlone {
    fn rule(&self) -> &'static str {
        "R7"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Sent { from: Site::Node(node), fact: Fact::Ask(ask) } = *seen else {
            return Ok(());
        };
        let Request::Admit { peer } = ask.request else { return Ok(()) };
        let saved = &scene.nodes[node].disk.saved.membership;
        if saved.set.contains(peer) && saved.set.contains(scene.nodes[node].id) {
            return Ok(());
        }
        Err(format!("node {node} asks to admit {peer}, saved is {saved}"))
    }
}
