//! R3: a saved epoch never goes down; a record of an equal epoch changes nothing, but that its
//! holder may grow the set that it waits for (R4).

use super::{Check, Seen};
use crate::fact::Fact;
use crate::network::Site;
use crate::scene::Scene;

/// Compares each saved file with the one before it, and each beat with the saved file.
#[derive(Debug)]
pub(super) struct SavedEpoch;

impl Check for SavedEpoch {
    fn rule(&self) -> &'static str {
        "R3"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
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
