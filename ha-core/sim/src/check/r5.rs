//! R5, G6: a holder has stopped serving when its lease ends, unless it may run alone.

use ha_proto::Instant;

use super::{Check, Seen};
use crate::scene::Scene;

/// Looks whenever the right to serve changes, and when the application ends.
#[derive(Debug, Default)]
pub(super) struct StopsInTime {
    /// When each node saved an override that ended its reign: the right to run alone has no end
    /// that it could foresee, so it stops within S of that.
    overruled: [Option<Instant>; 2],
}

impl StopsInTime {
    fn late(&self, scene: &Scene, node: usize, alone: bool) -> Result<(), String> {
        let here = &scene.nodes[node];
        let now = here.local(scene.now);
        if self.overruled[node].is_some_and(|heard| now <= heard + scene.stop) {
            return Ok(());
        }
        if alone || here.is_excused(scene.now) || here.rights.is_leased(now) {
            return Ok(());
        }
        let over = here.rights.until().map(|until| now.saturating_since(until));
        Err(format!("node {node} serves, its lease ended before: {over:?}"))
    }
}

impl Check for StopsInTime {
    fn rule(&self) -> &'static str {
        "R5"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            Seen::AppEnds { node } => self.late(scene, node, scene.may_run_alone(node)),
            Seen::RightsChange { node } if scene.nodes[node].serves() => {
                self.late(scene, node, scene.may_run_alone(node))
            }
            Seen::Saved { node, old } if scene.nodes[node].serves() => {
                let ends = scene.nodes[node].disk.saved.membership.holder != old.node;
                if scene.may_overlap() && ends && old.may_run_alone() {
                    self.overruled[node] = Some(scene.nodes[node].local(scene.now));
                }
                self.late(scene, node, old.may_run_alone())
            }
            Seen::Recheck | Seen::End => (0..2)
                .filter(|&node| scene.nodes[node].serves())
                .try_for_each(|node| self.late(scene, node, scene.may_run_alone(node))),
            _ => Ok(()),
        }
    }
}
