//! R3: a saved epoch never goes down; a record of an equal epoch changes nothing, but that its
//! holder may grow the set that it waits for (R4). Frames of a lower epoch are refused (G1).

use std::collections::BTreeMap;

use ha_proto::{Chain, Epoch, Position, Seq};

use super::{Check, Seen};
use crate::disk::Header;
use crate::fact::Fact;
use crate::network::Site;
use crate::scene::Scene;

/// Compares each saved file with the one before it, and each beat and each frame with the saved
/// file.
#[derive(Debug, Default)]
pub(super) struct SavedEpoch {
    /// The records that arrived at each node and are not in its log, and whether each came only in
    /// frames of an epoch below the saved one.
    arrived: [BTreeMap<(Seq, Chain), bool>; 2],
}

impl SavedEpoch {
    fn arrive(&mut self, scene: &Scene, node: usize, epoch: Epoch, mut records: &[u8]) {
        let disk = &scene.nodes[node].disk;
        let low = epoch < disk.saved.membership.epoch;
        while let Some(header) = Header::read(records) {
            let record = (header.position.seq, header.position.chain);
            if !disk.log.has(record.0, record.1) {
                let known = self.arrived[node].entry(record).or_insert(low);
                *known &= low;
            }
            records = records.get(header.len..).unwrap_or_default();
        }
    }

    fn append(&mut self, scene: &Scene, node: usize, before: Position) -> Result<(), String> {
        let log = &scene.nodes[node].disk.log;
        for (seq, chain) in log.behind(before.seq) {
            if self.arrived[node].remove(&(seq, chain)) == Some(true) {
                let saved = scene.nodes[node].disk.saved.membership;
                return Err(format!("node {node} takes record {seq} from below its {saved}"));
            }
        }
        Ok(())
    }
}

impl Check for SavedEpoch {
    fn rule(&self) -> &'static str {
        "R3"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            Seen::Booted { node } => {
                self.arrived[node].clear();
                Ok(())
            }
            Seen::Frames { node, epoch, records } => {
                self.arrive(scene, node, epoch, records);
                Ok(())
            }
            Seen::Appended { node, before } => self.append(scene, node, before),
            Seen::Saved { node, old } => {
                let (before, after) = (old.membership, scene.nodes[node].disk.saved.membership);
                if after.epoch < before.epoch {
                    return Err(format!("node {node} saves {after} after {before}"));
                }
                if after.epoch > before.epoch || !old.is_initialised() {
                    return Ok(());
                }
                let same = after.holder == before.holder && after.data == before.data;
                let grown = before.set.is_subset_of(after.set) && before.holder == old.node;
                if same && (after.set == before.set || grown) {
                    return Ok(());
                }
                Err(format!("node {node} saves {after} in the place of {before}"))
            }
            Seen::Applied { node, position, .. } => {
                let here = &scene.nodes[node];
                let foreign = position.epoch.owner() != Some(here.id);
                let former = here.disk.saved.membership.holder != here.id;
                match here.host.run {
                    Some(run) if former && foreign && !here.host.fenced => {
                        if position.seq <= run.head {
                            return Ok(());
                        }
                        Err(format!("node {node} follows and its application still runs"))
                    }
                    Some(_) | None => Ok(()),
                }
            }
            Seen::Sent { from: Site::Node(node), fact: Fact::Beat(beat) } => {
                let (told, saved) =
                    (beat.status.membership, scene.nodes[node].disk.saved.membership);
                if told.epoch <= saved.epoch {
                    return Ok(());
                }
                Err(format!("node {node} announces {told} before it is saved"))
            }
            _ => Ok(()),
        }
    }
}
