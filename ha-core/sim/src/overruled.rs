//! An operator's override, and how far its consequences reach.

use ha_proto::{Epoch, Position};

use crate::scene::Scene;

/// The newest override that a node saved.
///
/// Two things follow, and nothing more (`CONTRACT.md` "operator override", G2, G4): until W has it
/// there is no one history; and whoever served before goes on until it hears of it, for nothing:
/// a holder that may run alone, cut off from everybody, hears of it last.
#[derive(Clone, Copy, Debug)]
pub struct Overruled {
    /// Which node was forced.
    pub node: usize,
    /// The epoch that it gave itself; once W has it, the one that W gave it.
    pub epoch: Epoch,
    /// Whether W does not have it yet (G4 is void).
    pub open: bool,
    /// Whether the other node did not hear of it yet, or still stops.
    pub deaf: bool,
    /// The end of what it gave up in the other node's log, as long as that is there: where the log
    /// ends until the node hears of it.
    pub tail: Option<Position>,
}

impl Scene {
    /// G4 is void: an override is not recorded at W yet.
    pub fn is_void(&self) -> bool {
        self.overruled.is_some_and(|over| over.open)
    }

    /// Whether a node is in a reign that an override ended, and did not hear of that yet.
    pub fn is_deaf(&self, node: usize) -> bool {
        self.overruled.is_some_and(|over| over.deaf && over.node != node)
    }

    /// Whether this is of a log that an override gave up. A node's application may be given that
    /// after it heard of the override and stopped: both are put aside before it follows (R14).
    pub fn is_given_up(&self, node: usize, position: Position) -> bool {
        let over = self.overruled.filter(|over| over.node != node);
        over.and_then(|over| over.tail).is_some_and(|end| position.seq <= end.seq)
    }

    /// Whether both nodes may serve because an operator said so (G2).
    pub fn may_overlap(&self) -> bool {
        self.overruled.is_some_and(|over| over.open || over.deaf)
    }

    /// Whether what a node acknowledges is to be kept: not what the overruled one says.
    pub fn counts(&self, node: usize) -> bool {
        let forced = self.overruled.is_none_or(|over| !over.open || over.node == node);
        forced && !self.is_deaf(node)
    }
}
