//! Who holds the service, and whose copies count.

use core::fmt;

use crate::{DataId, Epoch, NodeId, NodeSet};

/// The part of a register that nodes tell each other and save: who holds which epoch, and which
/// nodes have every acknowledged write (`CONTRACT.md` "Records", "Messages").
///
/// It is replaced whole, by one of a higher epoch; one of an equal epoch changes nothing (R3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The reign.
    pub epoch: Epoch,
    /// Whose reign it is.
    pub holder: NodeId,
    /// The in-sync set.
    pub set: NodeSet,
    /// Which data.
    pub data: DataId,
}

impl Membership {
    /// Whether this is the right to run without a lease: `node` holds, and is alone in the set.
    pub fn is_alone(&self, node: NodeId) -> bool {
        self.holder == node && self.set == NodeSet::only(node)
    }
}

impl fmt::Display for Membership {
    /// `(12.0 {0,1})`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} {})", self.epoch, self.set)
    }
}
