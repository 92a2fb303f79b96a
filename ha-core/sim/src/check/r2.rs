//! R2: only a `Complete` node asks; one that is `Blank` or `Target`, or met a storage error, never
//! sends Take.

use ha_proto::DataState;
use ha_quorum::Request;

use super::{Check, Seen};
use crate::fact::Fact;
use crate::network::Site;
use crate::scene::Scene;

/// Looks at every Take.
#[derive(Debug)]
pub(super) struct CompleteAsks;

impl Check for CompleteAsks {
    fn rule(&self) -> &'static str {
        "R2"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Sent { from: Site::Node(node), fact: Fact::Ask(ask) } = *seen else {
            return Ok(());
        };
        let here = &scene.nodes[node];
        if ask.request != Request::Take {
            return Ok(());
        }
        if here.disk.saved.state != DataState::Complete {
            return Err(format!("node {node} asks to Take and is {:?}", here.disk.saved.state));
        }
        if here.storage_failed {
            return Err(format!("node {node} asks to Take after its storage failed"));
        }
        Ok(())
    }
}
