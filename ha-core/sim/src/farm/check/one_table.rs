//! FG1, first half: in one view a bucket has one owner, so all members of a view hold one table.

use std::sync::Arc;

use ha_farm::Filter;

use super::{Check, Seen};
use crate::farm::fact::{Fact, Id};
use crate::farm::scene::{Scene, same_table};

/// What was compared last, by member: a filter that is still in force needs it once.
#[derive(Debug, Default)]
pub(super) struct OneTable {
    compared: Vec<Option<(Id, Arc<Filter>)>>,
}

impl Check for OneTable {
    fn rule(&self) -> &'static str {
        "FG1 one table"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        self.compared.resize(scene.nodes.len(), None);
        let Seen::Sent { node, fact: Fact::Beat(said) } = *seen else { return Ok(()) };
        let Some(table) = scene.views.get(&said.view).filter(|_| said.takes) else { return Ok(()) };
        let Some(mine) = &scene.nodes[node].kernel.filter else {
            return Err(format!("{node} says that it takes in {}, without a filter", said.view));
        };
        let known = self.compared[node].as_ref();
        if known.is_some_and(|(view, filter)| *view == said.view && Arc::ptr_eq(filter, mine)) {
            return Ok(());
        }
        self.compared[node] = Some((said.view, mine.clone()));
        // Settled drains are forgotten one by one, so only owners are compared.
        if same_table(mine, table) {
            return Ok(());
        }
        Err(format!("{node} has another table of {} than the first that took in it", said.view))
    }
}
