//! R10, R7: addresses have a finite life, and it is extended as long as the node serves.

use core::time::Duration;

use super::{Check, Seen};
use crate::scene::Scene;

/// Looks at lifetimes, and at addresses that vanish under a serving node.
#[derive(Debug)]
pub(super) struct AddressLife;

impl Check for AddressLife {
    fn rule(&self) -> &'static str {
        "R10"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            Seen::Address { node, lifetime } => {
                let most = scene.lease + Duration::from_secs(1);
                if lifetime.is_zero() || lifetime > most {
                    return Err(format!("node {node} sets its address for {lifetime:?}"));
                }
                Ok(())
            }
            Seen::AddressExpired { node } => {
                let here = &scene.nodes[node];
                let well = here.runs() && here.host.answers() && !here.address.shaken;
                let alone = scene.may_run_alone(node) || !scene.has_arbiter();
                // A fence is for good (R5): a lease that comes while it is under way keeps nothing.
                let until = here.host.stops_by.or(here.rights.until());
                let slack = scene.lease / SLACK_INVERSE;
                let due = here.local(scene.now) + slack;
                let entitled = alone || until.is_some_and(|until| due <= until);
                let excused = here.address.excused || here.is_excused(scene.now);
                let busy = here.effects.is_moving();
                if well && entitled && !excused && !busy {
                    return Err(format!("node {node} serves and its address expires"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// An extension that gains less than this share of a lease is not worth a system call.
const SLACK_INVERSE: u32 = 30;
