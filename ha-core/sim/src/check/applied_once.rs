//! Every host applies every record once and in order, and finds every request of a client.

use super::{Check, Seen};
use crate::scene::Scene;

/// It remembers nothing: the host's own state is the history.
#[derive(Debug)]
pub(super) struct AppliedOnce;

impl Check for AppliedOnce {
    fn rule(&self) -> &'static str {
        "applied once"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Applied { node, before, position, request, last } = *seen else {
            return Ok(());
        };
        if position.seq != before.0.next() {
            return Err(format!("node {node} applies {} after {}", position.seq, before.0));
        }
        let log = &scene.nodes[node].disk.log;
        if !log.has(position.seq, position.chain) || !log.has(before.0, before.1) {
            return Err(format!("node {node} applies {}, not as in its log", position.seq));
        }
        // Without a witness what was acknowledged may have been set aside: a gap is told, not lost.
        // So it is told where an override gave something up.
        let given_up = !scene.counts(node) || last < scene.gaps[request.client];
        if scene.has_arbiter() && !given_up && request.number > last + 1 {
            return Err(format!(
                "client {}: request {} follows {last} at node {node}",
                request.client, request.number
            ));
        }
        Ok(())
    }
}
