//! Vote `ping`: one primary as long as exactly one side reaches the outside, and the cut outlasts
//! the decision.

use ha_core::event::Exclusion;
use ha_core::{Event, Order};

use super::{Check, Seen};
use crate::scene::Scene;

/// What each node has seen since it lost its peer.
#[derive(Debug, Default)]
pub(super) struct Outside {
    nodes: [Isolation; 2],
    /// Which applications run, or ran until they met another, by the right to run alone.
    alone: [bool; 2],
}

#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not exclude each other")]
struct Isolation {
    lost: bool,
    /// What its one look found, and when.
    found: Option<(bool, u64)>,
    /// An operator chose this node.
    chosen: bool,
    /// The peer itself said that its data are of no use.
    useless: bool,
    /// A reign alone was saved in it without a sight of the outside: one that was decided on in an
    /// isolation before may be, but must not be served in.
    unseen: bool,
}

impl Outside {
    fn heard(&mut self, scene: &Scene, node: usize, event: &Event) {
        match event {
            Event::PeerDown(_) => {
                // A peer that makes no progress may be left, after a look, before it is lost.
                let fresh = |at| scene.now < at + scene.timeout.as_nanos() as u64;
                let found = self.nodes[node].found;
                let found = found.filter(|&(reached, at)| reached && fresh(at));
                self.nodes[node] = Isolation { lost: true, found, ..self.nodes[node] };
            }
            Event::PeerUp(_) => {
                let chosen = self.nodes[node].chosen;
                self.nodes[node] = Isolation { chosen, ..Isolation::default() };
            }
            Event::Excluded(Exclusion::Unusable) => self.nodes[node].useless = true,
            _ => {}
        }
    }

    /// To serve in a reign of its own beside a lost peer needs a sight of the outside.
    fn saved(&mut self, scene: &Scene, node: usize, old: &ha_core::Saved) {
        let (here, now) = (self.nodes[node], &scene.nodes[node].disk.saved);
        let minted = now.membership.epoch > old.membership.epoch && now.may_run_alone();
        let alone = old.may_run_alone() || !old.is_initialised();
        let needs = minted && !alone && here.lost && !here.useless;
        let reached = here.found.is_some_and(|(reached, _)| reached);
        // What it saw before a pause was saved in it, or right after.
        let needs = needs && !scene.nodes[node].is_excused(scene.now);
        if minted {
            self.nodes[node].unseen = needs && !here.chosen && !reached;
        }
    }

    /// Nobody serves in a reign alone that it has seen nothing for; whoever served before it was
    /// saved has as long to stop as one that looks in vain.
    fn serves_unseen(&self, scene: &Scene, node: usize) -> bool {
        let (here, there) = (self.nodes[node], &scene.nodes[node]);
        let reached = here.found.is_some_and(|(reached, _)| reached);
        // A peer that was replaced said that it has nothing to serve: nobody waits for a look.
        let rival = scene.nodes[1 - node].disk.saved.state == ha_proto::DataState::Complete;
        here.lost && here.unseen && !here.chosen && !reached && rival && there.serves()
    }

    /// Whoever else serves has seen the outside too, or was chosen, or serves alone since before.
    fn starts(&self, scene: &Scene, node: usize) -> Result<(), String> {
        let (here, there) = (self.nodes[node], self.nodes[1 - node]);
        let other = &scene.nodes[1 - node];
        let reached = there.found.is_some_and(|(reached, _)| reached);
        // A cut that heals during the decision may end with two, until they have met.
        let healed = !there.lost;
        let entitled = reached || healed || there.chosen || self.alone[1 - node];
        if other.serves() && !other.is_excused(scene.now) && !entitled && !here.chosen {
            return Err(format!("node {node} takes over while node {} still serves", 1 - node));
        }
        Ok(())
    }

    /// Who looked in vain stops within S.
    fn stops(&self, scene: &Scene) -> Result<(), String> {
        for (node, here) in self.nodes.iter().enumerate() {
            let Some((false, at)) = here.found else { continue };
            let there = &scene.nodes[node];
            let late = scene.now > at + there.clock.true_span(scene.stop);
            let entitled = here.chosen || there.disk.saved.may_run_alone() && !here.unseen;
            if late && there.serves() && !entitled && !there.is_excused(scene.now) {
                return Err(format!("node {node} is cut off, and serves longer than S"));
            }
        }
        Ok(())
    }
}

impl Check for Outside {
    fn rule(&self) -> &'static str {
        "ping"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match *seen {
            Seen::Told { node, event } => self.heard(scene, node, event),
            Seen::Booted { node } => self.nodes[node] = Isolation::default(),
            Seen::Ordered { node, order: Order::Prim | Order::PrimForce } => {
                self.nodes[node].chosen = true;
            }
            Seen::Probed { node, reached } if reached || self.nodes[node].lost => {
                self.nodes[node].found = Some((reached, scene.now));
            }
            Seen::Saved { node, old } => {
                self.saved(scene, node, old);
                self.alone[node] |= scene.may_run_alone(node) && scene.nodes[node].serves();
            }
            Seen::AppStarts { node, .. } => {
                self.starts(scene, node)?;
                if self.serves_unseen(scene, node) {
                    return Err(format!("node {node} goes on alone and has not seen the outside"));
                }
                self.alone[node] = scene.may_run_alone(node);
            }
            Seen::AppEnds { node } => self.alone[node] = false,
            _ => {}
        }
        self.stops(scene)
    }
}
