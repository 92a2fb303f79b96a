//! What observers may look at: the facts of the world, not the opinions of the machines.

use core::time::Duration;

use ha_proto::NodeId;
use ha_quorum::{Register, Vote};

use crate::host::CLIENTS;
use crate::lan::Lan;
use crate::network::Network;
use crate::node::Node;
use crate::overruled::Overruled;
use crate::witness::Witness;

/// The world as it is now.
#[derive(Debug)]
pub struct Scene {
    /// True nanoseconds since the start.
    pub now: u64,
    /// The kind of vote.
    pub vote: Vote,
    /// L.
    pub lease: Duration,
    /// S.
    pub stop: Duration,
    /// The time between two beats.
    pub heartbeat: Duration,
    /// D.
    pub timeout: Duration,
    /// A and B.
    pub nodes: [Node; 2],
    /// W.
    pub witness: Witness,
    /// The channels.
    pub network: Network,
    /// The clients' network.
    pub lan: Lan,
    /// The newest override of an operator, if there was one.
    pub overruled: Option<Overruled>,
    /// Which nodes an operator had name data of their own.
    pub founders: [bool; 2],
    /// Up to which of its requests each client was answered in what an override gave up.
    pub gaps: [u64; CLIENTS],
}

impl Scene {
    /// Whether a witness decides.
    pub fn has_arbiter(&self) -> bool {
        self.vote == Vote::Arbiter
    }

    /// The witness's durable register.
    pub fn register(&self) -> Option<&Register> {
        self.witness.stored.as_ref().filter(|_| self.has_arbiter())
    }

    /// The index of a node of the pair.
    pub fn index(&self, id: NodeId) -> usize {
        usize::from(id.as_u8())
    }

    /// Whether the saved file of `node` gives it the right to run without a lease (R7).
    pub fn may_run_alone(&self, node: usize) -> bool {
        self.nodes[node].disk.saved.may_run_alone()
    }
}
