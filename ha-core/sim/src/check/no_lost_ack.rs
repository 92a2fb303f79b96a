//! No acknowledged write is ever missing from what a node serves.

use ha_proto::{Chain, Seq};

use super::{Check, Seen};
use crate::scene::Scene;

/// The last acknowledged record.
#[derive(Debug, Default)]
pub(super) struct NoLostAck {
    last: (Seq, Chain),
}

impl Check for NoLostAck {
    fn rule(&self) -> &'static str {
        "no lost acknowledgement"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            Seen::AppStarts { node, epoch } => {
                let (seq, chain) = self.last;
                if scene.nodes[node].disk.log.has(seq, chain) {
                    return Ok(());
                }
                Err(format!("node {node} starts in {epoch} without acknowledged record {seq}"))
            }
            Seen::Acknowledged { node, record } => {
                let (seq, chain) = self.last;
                // A node that just lost its reign may still tell what is in the new one's history.
                let has = |at: usize, (seq, chain)| scene.nodes[at].disk.log.has(seq, chain);
                let known = has(1 - node, self.last) && has(1 - node, record);
                if !known && !has(node, (seq, chain)) {
                    return Err(format!(
                        "node {node} acknowledges record {} in a history without {seq}",
                        record.0
                    ));
                }
                self.last = self.last.max(record);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
