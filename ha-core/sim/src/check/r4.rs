//! R4: a primary acknowledges a write once every member of its saved set has it, and W's set is a
//! subset of that.

use std::collections::BTreeSet;

use ha_core::Saved;
use ha_proto::{Chain, DataState, NodeSet, Seq};
use ha_quorum::Vote;

use super::{Check, Seen};
use crate::scene::Scene;

/// For each node the last record that all members of a set had while that was its set: such a
/// record is committed, whatever is saved before its acknowledgement leaves.
#[derive(Debug, Default)]
pub(super) struct Acknowledgement {
    covered: [Seq; 2],
    /// What each node had when it was lost with its storage, until its new one is `Complete`: its
    /// acknowledgements of that are still on their way.
    lost: [BTreeSet<(Seq, Chain)>; 2],
    acknowledged: [Seq; 2],
}

impl Acknowledgement {
    fn set_changes(&mut self, scene: &Scene, node: usize, old: &Saved) {
        let changed = old.membership != scene.nodes[node].disk.saved.membership;
        if changed && old.membership.holder == old.node {
            self.cover(scene, node, old.membership.set);
        }
    }

    /// What every member of `set` has of the log of `node`.
    fn cover(&mut self, scene: &Scene, node: usize, set: NodeSet) {
        let log = &scene.nodes[node].disk.log;
        let common = set.iter().map(|member| {
            let head = scene.nodes[scene.index(member)].disk.log.head();
            if log.has(head.seq, head.chain) || head.seq > log.head().seq {
                head.seq.min(log.head().seq)
            } else {
                Seq::ZERO
            }
        });
        self.covered[node] = common.min().unwrap_or_default().max(self.covered[node]);
    }
}

impl Check for Acknowledgement {
    fn rule(&self) -> &'static str {
        "R4"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        if let Seen::Saved { node, old } = *seen {
            self.set_changes(scene, node, old);
            if scene.nodes[node].disk.saved.state == DataState::Complete {
                self.lost[node].clear();
            }
        }
        if let Seen::Lost { node } = *seen {
            self.lost[node].extend(scene.nodes[node].disk.log.behind(Seq::ZERO));
        }
        // What was committed before an override is committed no more, unless the log has it.
        if let Seen::Overridden { .. } | Seen::OverrideEnds { landed: false, .. } = *seen {
            *self = Self::default();
        }
        let Seen::Acknowledged { node, record: (seq, chain) } = *seen else { return Ok(()) };
        if !scene.counts(node) {
            return Ok(());
        }
        // What was acknowledged before may be told again, after whatever happened since.
        let known = [0, 1].map(|at| self.covered[at].max(self.acknowledged[at]));
        let one_history = !matches!(scene.vote, Vote::None | Vote::Ping);
        if seq <= known[node] || one_history && seq <= known[1 - node] {
            return Ok(());
        }
        self.acknowledged[node] = seq;
        // A former holder may still tell what is committed in its successor's reign.
        // Without a witness each of two primaries answers for itself.
        let own = |saved: &&Saved| scene.has_arbiter() || saved.node == scene.nodes[node].id;
        let holders = scene
            .nodes
            .iter()
            .map(|node| &node.disk.saved)
            .filter(own)
            .filter(|saved| saved.membership.holder == saved.node && saved.is_initialised());
        let rank = |saved: &&Saved| (saved.node == scene.nodes[node].id, saved.membership.epoch);
        let Some(saved) = holders.max_by_key(rank).map(|saved| &saved.membership) else {
            return Err(format!("node {node} acknowledges {seq} and nobody holds"));
        };
        for member in saved.set.iter() {
            let at = scene.index(member);
            let had = self.lost[at].contains(&(seq, chain));
            if !scene.nodes[at].disk.log.has(seq, chain) && !had {
                return Err(format!("node {node} acknowledges {seq}, which {member} lacks"));
            }
        }
        match scene.register().filter(|_| !scene.is_void()) {
            Some(register) if !register.membership.set.is_subset_of(saved.set) => Err(format!(
                "node {node} acknowledges {seq} for the set {}, W's is {}",
                saved.set, register.membership.set
            )),
            Some(_) | None => Ok(()),
        }
    }
}
