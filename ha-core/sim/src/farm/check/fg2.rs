//! FG2: once nothing drains or warms up, each member that is to serve has its fair share.

use super::fg3::takers;
use super::quota::{self, Holding};
use super::{Check, Seen};
use crate::farm::node::Node;
use crate::farm::scene::Scene;
use crate::farm::services::{self, WEB};

#[derive(Debug)]
pub(super) struct Balance;

impl Balance {
    /// What an operator gave it, but for the service that comes and goes: which of the files that it
    /// read came into force only its beats tell.
    fn weight(node: &Node, service: usize) -> u64 {
        let said = node.said.as_ref().filter(|_| service == WEB);
        let filter = node.kernel.filter.as_deref();
        let place = filter.and_then(|filter| services::set(filter).position(|it| it == service));
        let told = said.zip(place).map(|(said, place)| u64::from(said.weights[place]) / WHOLE);
        told.unwrap_or_else(|| node.weights[service].into())
    }
}

impl Check for Balance {
    fn rule(&self) -> &'static str {
        "FG2"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Settling { balanced: true } = *seen else { return Ok(()) };
        for group in scene.groups() {
            for service in scene.services(group) {
                let takers = takers(scene, service);
                let holding = |node: usize| {
                    let here = &scene.nodes[node];
                    let weight = if here.is_wanted() { Self::weight(here, service) } else { 0 };
                    let has = takers.iter().filter(|takers| takers.contains(&node)).count() as u64;
                    Holding { node, weight, has }
                };
                let all = group.iter().map(|node| holding(usize::from(node.as_u8())));
                quota::are_fair(&all.collect::<Vec<_>>())
                    .map_err(|text| format!("service {service}: {text}"))?;
            }
        }
        Ok(())
    }
}

/// A beat tells weights in eighths.
const WHOLE: u64 = 8;
