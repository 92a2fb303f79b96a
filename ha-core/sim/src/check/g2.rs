//! G2: at any instant at most one node serves, but for the exceptions that the contract names.

use super::{Check, Seen};
use crate::node::{Node, Process};
use crate::scene::Scene;

/// Compares the two nodes whenever one of them gains something.
#[derive(Debug)]
pub(super) struct OneOwner;

impl OneOwner {
    fn against(scene: &Scene, node: usize) -> Result<(), String> {
        let other = &scene.nodes[1 - node];
        let now = scene.now;
        if other.serves() && !other.is_excused(now) {
            return Err(format!("node {node} takes over while node {} still serves", 1 - node));
        }
        let held = other.has_address(now) && !other.address.excused && !other.is_excused(now);
        if held && other.process != Process::Paused {
            return Err(format!(
                "node {node} takes over while node {} has the address for {} ms more",
                1 - node,
                (other.address.last() - now) / 1_000_000
            ));
        }
        Ok(())
    }
}

impl Check for OneOwner {
    fn rule(&self) -> &'static str {
        "G2"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        // "... and after an operator's override": while the other one does not know of it.
        if scene.may_overlap() {
            return Ok(());
        }
        match *seen {
            Seen::AppStarts { node, .. } => Self::against(scene, node),
            Seen::Address { node, .. } if !scene.nodes[node].is_excused(scene.now) => {
                Self::against(scene, node)
            }
            Seen::Recheck if scene.nodes.iter().all(Node::serves) => {
                let excused = scene.nodes.iter().any(|node| node.is_excused(scene.now));
                if excused { Ok(()) } else { Err("both nodes serve".into()) }
            }
            _ => Ok(()),
        }
    }
}
