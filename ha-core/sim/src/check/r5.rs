//! R5, G6: a holder has stopped serving when its lease ends, unless it may run alone.

use super::{Check, Seen};
use crate::scene::Scene;

/// Looks whenever the right to serve changes, and when the application ends.
#[derive(Debug)]
pub(super) struct StopsInTime;

impl StopsInTime {
    fn late(scene: &Scene, node: usize, alone: bool) -> Result<(), String> {
        let here = &scene.nodes[node];
        let now = here.local(scene.now);
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
            Seen::AppEnds { node } => Self::late(scene, node, scene.may_run_alone(node)),
            Seen::RightsChange { node } if scene.nodes[node].serves() => {
                Self::late(scene, node, scene.may_run_alone(node))
            }
            Seen::Saved { node, old } if scene.nodes[node].serves() => {
                Self::late(scene, node, old.may_run_alone())
            }
            Seen::Recheck | Seen::End => (0..2)
                .filter(|&node| scene.nodes[node].serves())
                .try_for_each(|node| Self::late(scene, node, scene.may_run_alone(node))),
            _ => Ok(()),
        }
    }
}
