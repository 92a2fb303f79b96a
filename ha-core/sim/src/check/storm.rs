//! Every retry is bounded: no node asks W more often than its configuration can mean.

use ha_proto::Instant;

use super::{Check, Seen};
use crate::fact::Fact;
use crate::network::Site;
use crate::scene::Scene;

/// How often each node asked since when.
#[derive(Debug, Default)]
pub(super) struct Storm {
    nodes: [(Instant, u32); 2],
}

/// A wish is asked ten times in a lease while nothing answers; each step of a hand-over, an
/// exclusion or an admission is one more wish. Three times all of that is a loop.
const ASKS_MAX: u32 = 60;

impl Check for Storm {
    fn rule(&self) -> &'static str {
        "bounded retries"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            Seen::Booted { node } => self.nodes[node] = (Instant::ZERO, 0),
            Seen::Sent { from: Site::Node(node), fact: Fact::Ask(ask) } => {
                let now = scene.nodes[node].local(scene.now);
                let (since, count) = &mut self.nodes[node];
                if now.saturating_since(*since) > scene.lease {
                    (*since, *count) = (now, 0);
                }
                *count += 1;
                if *count > ASKS_MAX {
                    return Err(format!("node {node} asks {count} times in a lease: {ask:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
