//! What was acknowledged, for the checkers that watch that it stays.

use ha_proto::{Chain, NodeSet, Seq};

use super::Seen;
use crate::scene::Scene;

/// Every acknowledged record of the one history, rising; all before one are in its chain.
#[derive(Debug, Default)]
pub(super) struct Acked {
    records: Vec<(Seq, Chain)>,
}

impl Acked {
    /// The last one; "before the first" when there is none.
    pub(super) fn last(&self) -> (Seq, Chain) {
        self.records.last().copied().unwrap_or_default()
    }

    /// Remembers what is acknowledged, and forgets what an override gave up: what the forced node
    /// lacks; or, when W never had it (G4 is void then), what a member of W's set lacks.
    pub(super) fn see(&mut self, scene: &Scene, seen: &Seen<'_>) {
        let keepers = match *seen {
            Seen::Acknowledged { node, record } => {
                if scene.counts(node) && record.0 > self.last().0 {
                    self.records.push(record);
                }
                return;
            }
            Seen::Overridden { node } => NodeSet::only(scene.nodes[node].id),
            Seen::OverrideEnds { winner, landed: false } => {
                let told = scene.witness.told_record.map(|told| told.set).unwrap_or_default();
                told.with(scene.nodes[winner].id)
            }
            _ => return,
        };
        let keeps = |id, record: &(Seq, Chain)| {
            scene.nodes[scene.index(id)].disk.log.has(record.0, record.1)
        };
        self.records.retain(|record| keepers.iter().all(|id| keeps(id, record)));
    }
}
