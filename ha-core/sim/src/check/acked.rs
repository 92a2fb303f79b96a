//! What was acknowledged, for the checkers that watch that it stays.

use ha_proto::{Chain, Seq};

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
    /// lacks; or, when the other side's reign went on above it, what that one lacks.
    pub(super) fn see(&mut self, scene: &Scene, seen: &Seen<'_>) {
        let keeper = match *seen {
            Seen::Acknowledged { node, record } => {
                if scene.counts(node) && record.0 > self.last().0 {
                    self.records.push(record);
                }
                return;
            }
            Seen::Overridden { node } => node,
            Seen::OverrideEnds { winner, landed: false } => winner,
            _ => return,
        };
        let log = &scene.nodes[keeper].disk.log;
        self.records.retain(|record| log.has(record.0, record.1));
    }
}
