//! R9, R12: the numbers of a boot rise, whatever process of it sends them: an answer counts for one
//! request only, and no beat is taken twice.

use ha_proto::Boot;

use super::{Check, Seen};
use crate::fact::Fact;
use crate::network::Site;
use crate::scene::Scene;

/// The newest numbers of each node's boot.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    asks: [(Boot, u64); 2],
    beats: [(Boot, u64); 2],
}

impl Check for Numbers {
    fn rule(&self) -> &'static str {
        "R9"
    }

    fn see(&mut self, _: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Sent { from: Site::Node(node), fact } = *seen else { return Ok(()) };
        let (what, newest, boot, number, least) = match fact {
            Fact::Ask(ask) => ("ask", &mut self.asks[node], ask.boot, ask.number, 1),
            // One round goes out on every link.
            Fact::Beat(beat) => ("beat", &mut self.beats[node], beat.boot, beat.number, 0),
            Fact::Answer(_) => return Ok(()),
        };
        let (of, before) = *newest;
        *newest = (boot, number);
        if of == boot && number < before + least {
            return Err(format!("node {node}: {what} {number} of {boot} after {before}"));
        }
        Ok(())
    }
}
