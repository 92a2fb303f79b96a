//! R8: among candidates the holder asks first: whoever is not asks a heartbeat later.

use ha_core::{Event, Order};
use ha_heartbeat::Beat;
use ha_proto::{Boot, Instant};
use ha_quorum::Request;

use super::{Check, Seen};
use crate::fact::Fact;
use crate::network::Site;
use crate::scene::Scene;

/// What each node knows of its peer, in its present boot.
#[derive(Debug, Default)]
pub(super) struct HolderFirst {
    nodes: [Known; 2],
    /// The boots of each one's peer that it heard, and the newest number of each.
    boots: [Vec<(Boot, u64)>; 2],
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Since when the peer is lost; D after the boot when it was never there.
    lost: Option<Instant>,
    /// When the newest beat of the peer came.
    heard: Option<Instant>,
    /// Since when every one said that the peer serves, or is about to.
    contends: Option<Instant>,
    /// Whether it asked already, when the peer was there and wanted nothing.
    asking: bool,
    /// Whether an operator ordered this node to become primary.
    ordered: bool,
}

impl HolderFirst {
    /// Whether a beat is newer than those before: strays of earlier boots tell nothing.
    fn is_news(&mut self, node: usize, beat: &Beat) -> bool {
        let boots = &mut self.boots[node];
        match boots.iter().position(|(boot, _)| *boot == beat.boot) {
            None => boots.push((beat.boot, beat.number)),
            Some(at) if at + 1 < boots.len() || beat.number <= boots[at].1 => return false,
            Some(at) => boots[at].1 = beat.number,
        }
        true
    }

    fn take(&self, scene: &Scene, node: usize) -> Result<(), String> {
        let here = &scene.nodes[node];
        let Known { lost, heard, contends, asking, ordered } = self.nodes[node];
        // For D: what is news here need not be proof of life to the node.
        let contended = heard.is_none_or(|heard| {
            contends.is_some_and(|since| heard.saturating_since(since) >= scene.timeout)
        });
        let Some(lost) = lost.filter(|_| contended && !asking && !ordered) else { return Ok(()) };
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
                self.nodes[node] = Known { lost: Some(lost), ..Known::default() };
            }
            Seen::Told { node, event: Event::PeerUp(_) } => self.nodes[node].lost = None,
            Seen::Told { node, event: Event::PeerDown(_) } => {
                self.nodes[node].lost = Some(scene.nodes[node].local(scene.now));
            }
            Seen::Received { node, fact: Fact::Beat(beat) } if self.is_news(node, beat) => {
                let status = &beat.status;
                let holds = status.membership.holder != scene.nodes[node].id;
                let about = status.asks || (holds && status.able && !status.yields);
                let now = scene.nodes[node].local(scene.now);
                let known = &mut self.nodes[node];
                known.heard = Some(now);
                let contends = status.role.serves() || about;
                known.contends = contends.then(|| known.contends.unwrap_or(now));
            }
            // R10: "after any gap a node revalidates": so it waits for its turn anew.
            Seen::Told { node, event: Event::Paused(_) } => {
                let known = &mut self.nodes[node];
                known.lost = known.lost.map(|_| scene.nodes[node].local(scene.now));
                known.asking = false;
            }
            Seen::Ordered { node, order: Order::Prim } => self.nodes[node].ordered = true,
            // Who was ordered is first once: the order is done when the node holds.
            Seen::Saved { node, old } => {
                let holder = scene.nodes[node].disk.saved.membership.holder;
                if holder == old.node && old.membership.holder != holder {
                    self.nodes[node].ordered = false;
                }
            }
            Seen::Sent { from: Site::Node(node), fact: Fact::Ask(ask) } => {
                let takes = ask.request == Request::Take;
                let turn = if takes { self.take(scene, node) } else { Ok(()) };
                self.nodes[node].asking = takes;
                return turn;
            }
            _ => {}
        }
        Ok(())
    }
}
