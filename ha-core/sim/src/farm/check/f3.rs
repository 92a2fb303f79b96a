//! F3: a member that is linked to one that takes in another view, which (a) ranks better and was
//! never its own, or (b) leaves it out, is whole, and ranks better or meets a view of its own that
//! is not whole, takes nothing.

use super::{Check, Seen};
use crate::farm::fact::{Id, Said, ranks_better};
use crate::farm::scene::{Scene, id};

#[derive(Debug)]
pub(super) struct Yields;

/// To whom a member yields that takes in the view `mine`, by what it read.
pub(super) fn yields(scene: &Scene, node: usize, mine: &Said) -> Option<(usize, Id)> {
    (0..scene.nodes.len()).filter(|other| *other != node).find_map(|other| {
        let said = scene.link_then(node, other).filter(|said| said.takes)?;
        let better = ranks_better(said.members, mine.members);
        let strange = better && !scene.nodes[node].was_at(said.view);
        let left_out = !said.members.contains(id(node))
            && (better || !scene.is_own_whole(node, mine))
            && scene.is_whole(node, said.view, said.members);
        let yields = said.view != mine.view && (strange || left_out);
        yields.then_some((other, said.view))
    })
}

impl Check for Yields {
    fn rule(&self) -> &'static str {
        "F3"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Settled { node } = *seen else { return Ok(()) };
        let said = scene.nodes[node].said.as_ref();
        let Some(mine) = said.filter(|said| said.takes && scene.is_open(node)) else {
            return Ok(());
        };
        match yields(scene, node, mine) {
            Some((other, view)) => Err(format!(
                "{node} takes in {} {}, and {other}, linked, in {view}",
                mine.view, mine.members
            )),
            None => Ok(()),
        }
    }
}
