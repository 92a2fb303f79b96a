//! R1: a node serves only as holder of its saved epoch, `Complete`, with a lease or the right to
//! run alone.

use ha_proto::DataState;

use super::{Check, Seen};
use crate::scene::Scene;

/// Looks whenever an application starts.
#[derive(Debug)]
pub(super) struct Serving;

impl Check for Serving {
    fn rule(&self) -> &'static str {
        "R1"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::AppStarts { node, epoch } = *seen else { return Ok(()) };
        let here = &scene.nodes[node];
        let saved = &here.disk.saved;
        // Its own epoch may have risen on the disk, and the node was not told yet that it has.
        if saved.membership.epoch < epoch || saved.membership.holder != here.id {
            return Err(format!("node {node} starts in {epoch}, saved is {}", saved.membership));
        }
        if saved.state != DataState::Complete {
            return Err(format!("node {node} starts and its data are {:?}", saved.state));
        }
        if !saved.membership.set.contains(here.id) {
            return Err(format!("node {node} starts outside of its set"));
        }
        let leased = here.rights.is_leased(here.local(scene.now));
        if scene.has_arbiter() && !leased && !scene.may_run_alone(node) {
            return Err(format!("node {node} starts in {epoch} without a lease"));
        }
        Ok(())
    }
}
