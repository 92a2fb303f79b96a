//! FG2: once nothing drains or warms up, each member that is to serve has its fair share.

use super::fg3::takers;
use super::quota::{self, Holding};
use super::{Check, Seen};
use crate::farm::scene::{SERVICES, Scene};

#[derive(Debug)]
pub(super) struct Balance;

impl Check for Balance {
    fn rule(&self) -> &'static str {
        "FG2"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Settling { balanced: true } = *seen else { return Ok(()) };
        for service in 0..SERVICES {
            let takers = takers(scene, service);
            for group in scene.groups() {
                let holding = |node: usize| {
                    let here = &scene.nodes[node];
                    let weight = if here.is_wanted() { u64::from(here.weight) } else { 0 };
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
