//! R4: a primary acknowledges a write once every member of its saved set has it, and W's set is a
//! subset of that.

use super::{Check, Seen};
use crate::scene::Scene;

/// Looks at every acknowledgement.
#[derive(Debug)]
pub(super) struct Acknowledgement;

impl Check for Acknowledgement {
    fn rule(&self) -> &'static str {
        "R4"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Acknowledged { node, record: (seq, chain) } = *seen else { return Ok(()) };
        let saved = &scene.nodes[node].disk.saved.membership;
        if saved.holder != scene.nodes[node].id {
            return Err(format!("node {node} acknowledges {seq} and holds nothing: {saved}"));
        }
        for member in saved.set.iter() {
            let there = &scene.nodes[scene.index(member)];
            if !there.disk.log.has(seq, chain) && !there.lost_storage {
                return Err(format!("node {node} acknowledges {seq}, which {member} lacks"));
            }
        }
        match scene.register() {
            Some(register) if !register.membership.set.is_subset_of(saved.set) => Err(format!(
                "node {node} acknowledges {seq} for the set {}, W's is {}",
                saved.set, register.membership.set
            )),
            Some(_) | None => Ok(()),
        }
    }
}
