//! FG1, first half: in one view a bucket has one owner, so all members of a view hold one table.

use super::{Check, Seen};
use crate::farm::fact::{Fact, Id};
use crate::farm::scene::{Scene, same_table};

/// The view of which each member's table was compared last.
#[derive(Debug, Default)]
pub(super) struct OneTable {
    compared: Vec<Option<Id>>,
}

impl Check for OneTable {
    fn rule(&self) -> &'static str {
        "FG1 one table"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        self.compared.resize(scene.nodes.len(), None);
        let Seen::Sent { node, fact: Fact::Beat(said) } = *seen else { return Ok(()) };
        // Later on the next view may be in the kernel already, and not said yet.
        if !said.takes || self.compared[node] == Some(said.view) {
            return Ok(());
        }
        self.compared[node] = Some(said.view);
        let Some(mine) = &scene.nodes[node].kernel.filter else {
            return Err(format!("{node} says that it takes in {}, without a filter", said.view));
        };
        match scene.views.get(&said.view) {
            Some(table) if !same_table(mine, table) => Err(format!(
                "{node} has another table of {} than the first that took in it",
                said.view
            )),
            Some(_) | None => Ok(()),
        }
    }
}
