//! What a group is told once.

use core::time::Duration;

use ha_proto::{NodeId, NodeSet};

/// What a [`Group`](crate::group::Group) is told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// All nodes of the farm, this one among them, with ids below 64.
    pub members: NodeSet,
    /// i, between two beats.
    pub interval: Duration,
    /// F, how long the filter takes after a beat; below 2 i.
    pub lease: Duration,
    /// How late this node may be without its being a gap (F6).
    pub slack: Duration,
    /// Whether a node that hears nobody serves everything; else nothing.
    pub alone: bool,
}

impl Config {
    /// D: a node that is silent for so long is lost.
    pub fn timeout(&self) -> Duration {
        self.interval * 3
    }

    /// # Panics
    /// If it cannot work: whoever configures farms checks that before, with better words.
    pub(super) fn check(&self) {
        assert!(self.members.contains(self.me), "this node would never be in a view");
        assert!(self.members.bits() >> 64 == 0, "a beat has 64 bits for the members");
        assert!(!self.interval.is_zero(), "beats without a pause in between");
        assert!(self.lease < self.interval * 2, "others would take while this filter still does");
        assert!(self.slack < self.timeout(), "a pause would outlast D and be no gap");
    }
}
