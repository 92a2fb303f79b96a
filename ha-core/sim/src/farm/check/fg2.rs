//! FG2: once nothing drains or warms up, each member that is to serve has its fair share.

use super::fg3::takers;
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
        let wanted = scene.nodes.iter().filter(|node| node.is_wanted());
        let total: u64 = wanted.map(|node| u64::from(node.weight)).sum();
        if total == 0 {
            return Ok(());
        }
        for service in 0..SERVICES {
            let takers = takers(scene, service);
            for node in &scene.nodes {
                let weight = if node.is_wanted() { u64::from(node.weight) } else { 0 };
                let fair = takers.len() as f64 * weight as f64 / total as f64;
                let has = takers.iter().filter(|taker| **taker == [node.id]).count();
                let claims = scene.nodes.len() as f64;
                let slack = 1.2_f64.max(0.5 + fair * claims / (2.0 * takers.len() as f64));
                if (has as f64 - fair).abs() > slack {
                    return Err(format!("{} has {has} of {fair:.1} buckets of {service}", node.id));
                }
            }
        }
        Ok(())
    }
}
