//! R8: among candidates the holder asks first: whoever is not asks a heartbeat later.

use ha_core::{Event, Order};
use ha_proto::Instant;
use ha_quorum::Request;

use super::{Check, Seen};
use crate::fact::Fact;
use crate::network::Site;
use crate::scene::Scene;

/// What each node knows of its peer, in its present boot.
#[derive(Debug, Default)]
pub(super) struct HolderFirst {
    nodes: [Known; 2],
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Since when the peer is lost; D after the boot when it was never there.
    lost: Option<Instant>,
    /// Whether the peer served, or was about to, by its last beat.
    contends: bool,
    /// Whether an operator ordered this node to become primary.
    ordered: bool,
}

impl HolderFirst {
    fn take(&self, scene: &Scene, node: usize) -> Result<(), String> {
        let here = &scene.nodes[node];
        let Known { lost, contends, ordered } = self.nodes[node];
        let Some(lost) = lost.filter(|_| contends && !ordered) else { return Ok(()) };
        let due = lost + scene.heartbeat;
        let now = here.local(scene.now);
        if here.disk.saved.membership.holder == here.id || now >= due {
            return Ok(());
        }
        Err(format!("node {node} asks to Take {:?} before its turn", due.saturating_since(now)))
    }
}

impl Check for HolderFirst {
    fn rule(&self) -> &'static str {
        "R8"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            Seen::Booted { node } => {
                let lost = scene.nodes[node].local(scene.now) + scene.timeout;
                self.nodes[node] = Known { lost: Some(lost), contends: true, ordered: false };
            }
            Seen::Told { node, event: Event::PeerUp(_) } => self.nodes[node].lost = None,
            Seen::Told { node, event: Event::PeerDown(_) } => {
                self.nodes[node].lost = Some(scene.nodes[node].local(scene.now));
            }
            Seen::Received { node, fact: Fact::Beat(beat) } => {
                let status = &beat.status;
                let holds = status.membership.holder != scene.nodes[node].id;
                let about = status.asks || (holds && status.able);
                self.nodes[node].contends = status.role.serves() || about;
            }
            Seen::Ordered { node, order: Order::Prim } => self.nodes[node].ordered = true,
            Seen::Sent { from: Site::Node(node), fact: Fact::Ask(ask) }
                if ask.request == Request::Take =>
            {
                return self.take(scene, node);
            }
            _ => {}
        }
        Ok(())
    }
}
