//! R9: W after a boot changes no holder for L(1+ρ), and never goes back behind what it told. (A
//! node's boot is watched with R6.)

use ha_quorum::{Register, longer};

use super::{Check, Seen};
use crate::fact::Fact;
use crate::network::Site;
use crate::scene::Scene;

/// The register as W told it last: one whose store failed may be on its disk for a while, untold.
#[derive(Debug, Default)]
pub(super) struct Grace {
    told: Option<Register>,
}

impl Grace {
    fn stored(&self, scene: &Scene) -> Result<(), String> {
        let (Some(told), Some(new)) = (self.told, scene.register()) else { return Ok(()) };
        if told.incarnation != new.incarnation {
            return Ok(());
        }
        let clock = &scene.witness.clock;
        // A plain store forgets nothing: it has no grace after a boot.
        let forgets = scene.witness.plain.is_none();
        let up = clock.local(scene.now).saturating_since(clock.local(scene.witness.booted));
        let moved = told.membership.holder != new.membership.holder;
        if forgets && moved && up < longer(scene.lease) {
            return Err(format!("W changes the holder {up:?} after its boot"));
        }
        if new.membership.epoch < told.membership.epoch {
            return Err(format!("W goes from {} to {}", told.membership, new.membership));
        }
        Ok(())
    }
}

impl Check for Grace {
    fn rule(&self) -> &'static str {
        "R9"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            Seen::Stored { .. } => self.stored(scene),
            Seen::Sent { from: Site::Witness, fact: Fact::Answer(answer) } => {
                self.told = answer.register.or(self.told);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
