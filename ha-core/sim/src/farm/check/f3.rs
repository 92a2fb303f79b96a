//! F3: a member that is linked to one that takes in a better view, which was never its own, takes
//! nothing.

use super::{Check, Seen};
use crate::farm::fact::ranks_better;
use crate::farm::scene::Scene;

#[derive(Debug)]
pub(super) struct Yields;

impl Check for Yields {
    fn rule(&self) -> &'static str {
        "F3"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Settled { node } = *seen else { return Ok(()) };
        let Some(mine) = scene.nodes[node].said.filter(|said| said.takes) else { return Ok(()) };
        if !scene.is_open(node) {
            return Ok(());
        }
        for other in (0..scene.nodes.len()).filter(|other| *other != node) {
            let Some(said) = scene.link(node, other) else { continue };
            let better = said.takes && ranks_better(said.members, mine.members);
            if better && said.view != mine.view && !scene.nodes[node].was_at(said.view) {
                return Err(format!(
                    "{node} takes in {} {}, and {other}, linked, in {} {}",
                    mine.view, mine.members, said.view, said.members
                ));
            }
        }
        Ok(())
    }
}
