//! No acknowledged write is ever missing from what a node serves.

use super::acked::Acked;
use super::{Check, Seen};
use crate::scene::Scene;

/// Looks at every start and every acknowledgement.
#[derive(Debug, Default)]
pub(super) struct NoLostAck {
    acked: Acked,
}

impl Check for NoLostAck {
    fn rule(&self) -> &'static str {
        "no lost acknowledgement"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let (seq, chain) = self.acked.last();
        self.acked.see(scene, seen);
        match *seen {
            Seen::AppStarts { node, epoch } if !scene.is_void() && scene.counts(node) => {
                if scene.nodes[node].disk.log.has(seq, chain) {
                    return Ok(());
                }
                Err(format!("node {node} starts in {epoch} without acknowledged record {seq}"))
            }
            Seen::Acknowledged { node, record } if scene.counts(node) => {
                // A node that just lost its reign may still tell what is in the new one's history.
                let has = |at: usize, (seq, chain)| scene.nodes[at].disk.log.has(seq, chain);
                let known = has(1 - node, (seq, chain)) && has(1 - node, record);
                if !known && !has(node, (seq, chain)) {
                    return Err(format!(
                        "node {node} acknowledges record {} in a history without {seq}",
                        record.0
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
