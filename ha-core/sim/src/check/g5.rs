//! G5: a returning primary with a lower epoch does not serve.

use ha_proto::Epoch;

use super::{Check, Seen};
use crate::scene::Scene;

/// The highest epoch in which each node began to serve.
#[derive(Debug, Default)]
pub(super) struct NoResurrection {
    started: [Epoch; 2],
}

impl Check for NoResurrection {
    fn rule(&self) -> &'static str {
        "G5"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::AppStarts { node, epoch } = *seen else { return Ok(()) };
        // What an override ended is not known yet to whom it ended for; and a blank node that is
        // forced cannot know above which epoch.
        if scene.is_void() || !scene.counts(node) {
            return Ok(());
        }
        let other = self.started[1 - node];
        if epoch < other {
            return Err(format!("node {node} starts in {epoch}, the other one served in {other}"));
        }
        self.started[node] = self.started[node].max(epoch);
        Ok(())
    }
}
