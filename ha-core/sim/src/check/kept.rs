//! Vote `none`: what was acknowledged is kept, in a log or set aside.

use std::collections::BTreeSet;

use ha_proto::{Chain, Seq};

use super::{Check, Seen};
use crate::scene::Scene;

/// Every acknowledged record, of whichever side. A node's permanent loss takes with it what was
/// acknowledged by it alone.
#[derive(Debug, Default)]
pub(super) struct Kept {
    acknowledged: BTreeSet<(Seq, Chain)>,
}

impl Check for Kept {
    fn rule(&self) -> &'static str {
        "kept or set aside"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            Seen::Acknowledged { record, .. } => {
                self.acknowledged.insert(record);
                Ok(())
            }
            Seen::Lost { node } => {
                let other = &scene.nodes[1 - node].disk;
                let kept = |record: &(Seq, Chain)| {
                    other.log.has(record.0, record.1) || other.aside.contains(record)
                };
                self.acknowledged.retain(kept);
                Ok(())
            }
            Seen::End => {
                let kept = |record: &(Seq, Chain)| {
                    scene.nodes.iter().any(|node| {
                        node.disk.log.has(record.0, record.1) || node.disk.aside.contains(record)
                    })
                };
                match self.acknowledged.iter().find(|&record| !kept(record)) {
                    None => Ok(()),
                    Some((seq, _)) => Err(format!("acknowledged record {seq} is nowhere any more")),
                }
            }
            _ => Ok(()),
        }
    }
}
