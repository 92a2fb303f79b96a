//! What the hosts apply is one history: each is a prefix of the other.

use ha_proto::{Chain, Seq};

use super::{Check, Seen};
use crate::scene::Scene;

/// The chain of every record that any host applied, by its sequence.
#[derive(Debug, Default)]
pub(super) struct Prefix {
    applied: Vec<Chain>,
}

impl Prefix {
    /// From now on this node's history is the one: what of it any host applied.
    fn fork(&mut self, scene: &Scene, node: usize) {
        let log = &scene.nodes[node].disk.log;
        let applied = scene.nodes.each_ref().map(|node| node.host.state);
        let known = applied.iter().filter(|state| log.has(state.applied, state.chain));
        let last = known.map(|state| state.applied).max().unwrap_or_default();
        let chain = |seq| log.position(Seq(seq)).map(|position| position.chain);
        self.applied = (1..=last.0).map_while(chain).collect();
    }
}

impl Check for Prefix {
    fn rule(&self) -> &'static str {
        "prefix"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let (node, position) = match *seen {
            Seen::Applied { node, position, .. }
                if scene.counts(node) && !scene.is_given_up(node, position) =>
            {
                (node, position)
            }
            Seen::Overridden { node } => {
                self.fork(scene, node);
                return Ok(());
            }
            Seen::OverrideEnds { winner, landed: false } => {
                self.fork(scene, winner);
                return Ok(());
            }
            _ => return Ok(()),
        };
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
