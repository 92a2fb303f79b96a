//! What a node must remember over a restart.

use ha_proto::{
    ClusterId, DataState, Epoch, Incarnation, Lineage, Membership, ModuleId, NodeId, NodeSet,
    StoreId,
};

/// Everything of a module that survives a restart of its node (`CONTRACT.md` "Records").
///
/// It is replaced whole and durably ([`Effect::Save`](crate::Effect::Save)); what depends on a
/// change waits until the driver has answered that it is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Which cluster; a file of another one is refused.
    pub cluster: ClusterId,
    /// Which module.
    pub module: ModuleId,
    /// Which node; a file of another one is refused.
    pub node: NodeId,
    /// Made with the file; also in the log. A mismatch means [`DataState::Blank`].
    pub store: StoreId,
    /// The witness that this node listens to; zero before the first answer.
    pub incarnation: Incarnation,
    /// Who holds, and whose copies count. The epoch is [`Epoch::NONE`]
    /// before bootstrap.
    pub membership: Membership,
    /// What the data here are worth.
    pub state: DataState,
    /// Which reigns wrote the log here.
    pub lineage: Lineage,
    /// The newest reign known here that both nodes were copies in;
    /// [`Epoch::NONE`] before the first. Where two primaries meet it says
    /// who was the former one although that reign wrote nothing, and has no part in the lineage.
    pub joint: Epoch,
}

impl Saved {
    /// A node that has never held anything.
    pub fn blank(cluster: ClusterId, module: ModuleId, node: NodeId, store: StoreId) -> Self {
        Self {
            cluster,
            module,
            node,
            store,
            incarnation: Incarnation::default(),
            membership: Membership {
                epoch: Epoch::NONE,
                holder: node,
                set: NodeSet::EMPTY,
                data: ha_proto::DataId(0),
            },
            state: DataState::Blank,
            lineage: Lineage::default(),
            joint: Epoch::NONE,
        }
    }

    /// Whether this pair was ever bootstrapped, as far as this node knows.
    pub fn is_initialised(&self) -> bool {
        let (epoch, set) = (self.membership.epoch, self.membership.set);
        assert!((epoch == Epoch::NONE) == set.is_empty(), "a reign without a copy");
        self.membership.epoch != Epoch::NONE
    }

    /// The right to run without a lease: it holds, and its set is itself alone (R7).
    pub fn may_run_alone(&self) -> bool {
        self.state == DataState::Complete && self.membership.is_alone(self.node)
    }
}
