//! F2: a member takes what it did not take only when all that it is linked to are at its view or
//! take nothing at a higher one, and all others are silent.

use std::sync::Arc;

use ha_farm::Filter;

use super::{Check, Seen};
use crate::farm::scene::{Scene, id, owner};
use crate::farm::services;
use ha_proto::NodeSet;

/// What each member took by its filter and lease.
#[derive(Debug, Default)]
pub(super) struct Takes {
    took: Vec<Option<Arc<Filter>>>,
}

impl Takes {
    fn gains(old: Option<&Filter>, new: &Filter) -> Option<(usize, usize)> {
        services::rows(new).find_map(|(service, words)| {
            let old = old.and_then(|old| services::row(old, service));
            let mut words = words.iter().enumerate();
            let gained = words.find(|(bucket, word)| {
                let had = old.is_some_and(|old| old[*bucket] & Filter::TAKE != 0);
                **word & Filter::TAKE != 0 && !had
            });
            gained.map(|(bucket, _)| (service, bucket))
        })
    }

    /// Whom the member has to wait for, by what it read.
    fn waits(scene: &Scene, node: usize) -> Option<String> {
        let here = &scene.nodes[node];
        let view = here.view;
        let members = here.said.as_ref().map_or(NodeSet::EMPTY, |said| said.members);
        let ran = here.acted.saturating_since(here.begun).as_nanos();
        (0..scene.nodes.len()).filter(|other| *other != node).find_map(|other| {
            match scene.link_then(node, other) {
                Some(said) if said.view == view || (!said.takes && said.view > view) => None,
                Some(said) => Some(format!(
                    "{other}, linked, said last: {} {}",
                    said.view,
                    if said.takes { "takes" } else { "takes nothing" }
                )),
                None if !members.contains(id(other)) => None,
                None if scene.heard_then(node, other) || ran < u128::from(scene.spans.timeout) => {
                    Some(format!("{other} is neither linked nor silent for D"))
                }
                None => None,
            }
        })
    }

    fn judge(&mut self, scene: &Scene, node: usize) -> Result<(), String> {
        let open = scene.is_open(node);
        let new = scene.nodes[node].kernel.filter.clone().filter(|_| open);
        let old = std::mem::replace(&mut self.took[node], new.clone());
        let Some(new) = new else { return Ok(()) };
        if old.as_ref().is_some_and(|old| Arc::ptr_eq(old, &new)) {
            return Ok(());
        }
        let Some((service, bucket)) = Self::gains(old.as_deref(), &new) else { return Ok(()) };
        let view = scene.nodes[node].view;
        if let Some(why) = Self::waits(scene, node) {
            return Err(format!("{node} takes {service}/{bucket} at {view}, and {why}"));
        }
        match scene.views.get(&view) {
            Some(table) if owner(services::word(table, service, bucket)) != Some(node) => {
                Err(format!("{node} takes {service}/{bucket}, which {view} does not give it"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Check for Takes {
    fn rule(&self) -> &'static str {
        "F2"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        self.took.resize(scene.nodes.len(), None);
        match *seen {
            Seen::Kernel { node, .. } | Seen::Settled { node } => self.judge(scene, node),
            _ => Ok(()),
        }
    }
}
