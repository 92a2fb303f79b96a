//! R11: a peer is alive when I hear it *and* it hears me.

use ha_core::Event;

use super::{Check, Seen};
use crate::scene::Scene;

/// Looks whether both directions carried something when a peer is believed alive.
#[derive(Debug)]
pub(super) struct MutualLife;

impl Check for MutualLife {
    fn rule(&self) -> &'static str {
        "R11"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Told { node, event: Event::PeerUp(_) } = *seen else { return Ok(()) };
        let arrived = &scene.network.arrived;
        let toward = |node: usize| {
            let (first, second) = if node == 1 { (0, 2) } else { (1, 3) };
            arrived[first].max(arrived[second])
        };
        // The proof is a beat of mine that arrived there within D, and its echo within D.
        let span = 3 * u64::try_from(scene.timeout.as_nanos()).expect("D is short");
        let both = [toward(node), toward(1 - node)]
            .into_iter()
            .all(|at| at > 0 && scene.now.saturating_sub(at) <= span);
        if both || scene.nodes[node].is_excused(scene.now) {
            return Ok(());
        }
        Err(format!("node {node} believes its peer alive, and one direction is dead"))
    }
}
