//! What the hosts apply is one history: each is a prefix of the other.

use ha_proto::Chain;

use super::{Check, Seen};
use crate::scene::Scene;

/// The chain of every record that any host applied, by its sequence.
#[derive(Debug, Default)]
pub(super) struct Prefix {
    applied: Vec<Chain>,
}

impl Check for Prefix {
    fn rule(&self) -> &'static str {
        "prefix"
    }

    fn see(&mut self, _: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Applied { node, position, .. } = *seen else { return Ok(()) };
        let at = usize::try_from(position.seq.0 - 1).expect("a sequence of the model fits");
        match self.applied.get(at) {
            Some(chain) if *chain == position.chain => Ok(()),
            Some(_) => Err(format!("node {node} applies another record {}", position.seq)),
            None if at == self.applied.len() => {
                self.applied.push(position.chain);
                Ok(())
            }
            None => Err(format!("node {node} applies record {} too early", position.seq)),
        }
    }
}
