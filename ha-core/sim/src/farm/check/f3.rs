//! F3: a member that is linked to one that takes in another view, which (a) ranks better and was
//! never its own, or (b) leaves it out, is whole, and ranks better or meets a view of its own that
//! is not whole, takes nothing.

use super::{Check, Seen};
use crate::farm::fact::ranks_better;
use crate::farm::scene::{Scene, id};

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
            if !said.takes || said.view == mine.view {
                continue;
            }
            let better = ranks_better(said.members, mine.members);
            let strange = better && !scene.nodes[node].was_at(said.view);
            let left_out = !said.members.contains(id(node))
                && (better || scene.is_broken(node, mine.view, mine.members))
                && scene.is_whole(node, said.view, said.members);
            if strange || left_out {
                return Err(format!(
                    "{node} takes in {} {}, and {other}, linked, in {} {}",
                    mine.view, mine.members, said.view, said.members
                ));
            }
        }
        Ok(())
    }
}
