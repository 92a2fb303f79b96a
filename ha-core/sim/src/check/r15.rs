//! R15: a copy counts as whole only by its own durable acknowledgements: at Admit it has all that
//! was ever acknowledged.

use ha_quorum::Request;

use super::acked::Acked;
use super::{Check, Seen};
use crate::fact::Fact;
use crate::network::Site;
use crate::scene::Scene;

/// Looks at every Admit.
#[derive(Debug, Default)]
pub(super) struct AdmitsWhole {
    acked: Acked,
    /// Whether the node had all of it when it was lost with its storage: its holder may ask for it
    /// until it hears, fresh, of the blank one ("from the current store id").
    lost: [bool; 2],
}

impl Check for AdmitsWhole {
    fn rule(&self) -> &'static str {
        "R15"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        self.acked.see(scene, seen);
        let (seq, chain) = self.acked.last();
        match *seen {
            Seen::Lost { node } => {
                self.lost[node] = scene.nodes[node].disk.log.has(seq, chain);
                Ok(())
            }
            Seen::Received { node, fact: Fact::Beat(beat) } => {
                let (here, there) = (&scene.nodes[node], &scene.nodes[1 - node]);
                let known = beat.status.store == there.disk.saved.store;
                if known && here.rights.is_fresh(here.local(scene.now), beat, scene.timeout) {
                    self.lost[1 - node] = false;
                }
                Ok(())
            }
            Seen::Sent { from: Site::Node(node), fact: Fact::Ask(ask) } => {
                let Request::Admit { peer } = ask.request else { return Ok(()) };
                // Asked in a reign that an override ended: W refuses it by its epoch.
                if !scene.counts(node) {
                    return Ok(());
                }
                let at = scene.index(peer);
                let there = &scene.nodes[at];
                let has = there.disk.log.has(seq, chain);
                self.lost[at] &= !has;
                if self.lost[at] || has {
                    return Ok(());
                }
                Err(format!("node {node} asks to admit {peer}, which lacks record {seq}"))
            }
            _ => Ok(()),
        }
    }
}
