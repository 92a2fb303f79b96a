//! R9: W after a boot changes no holder for L(1+ρ). (A node's boot is watched with R6.)

use ha_quorum::longer;

use super::{Check, Seen};
use crate::scene::Scene;

/// Looks at every change of the register.
#[derive(Debug, Default)]
pub(super) struct Grace;

impl Check for Grace {
    fn rule(&self) -> &'static str {
        "R9"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Stored { old: Some(old) } = *seen else { return Ok(()) };
        let Some(new) = scene.register() else { return Ok(()) };
        let clock = &scene.witness.clock;
        let up = clock.local(scene.now).saturating_since(clock.local(scene.witness.booted));
        let moved = old.membership.holder != new.membership.holder;
        let same_life = old.incarnation == new.incarnation;
        if moved && same_life && up < longer(scene.lease) {
            return Err(format!("W changes the holder {up:?} after its boot"));
        }
        if same_life && new.membership.epoch < old.membership.epoch {
            return Err(format!("W goes from {} to {}", old.membership, new.membership));
        }
        Ok(())
    }
}
