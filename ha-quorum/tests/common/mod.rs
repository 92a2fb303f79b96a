//! Shorthand for the histories.

use std::time::Duration;

use ha_proto::{
    Boot, ClusterId, DataId, Epoch, Incarnation, Membership, ModuleId, NodeId, NodeSet,
};
use ha_quorum::{Ask, Register, Request};

pub(crate) const CLUSTER: ClusterId = ClusterId(0xc1);
pub(crate) const MODULE: ModuleId = ModuleId(2);
pub(crate) const LIFE: Incarnation = Incarnation(0x1dea);
pub(crate) const DATA: DataId = DataId(0xda7a);
pub(crate) const LEASE: Duration = Duration::from_secs(3);

pub(crate) fn node(id: u8) -> NodeId {
    NodeId::new(id).expect("an id")
}

pub(crate) fn membership(counter: u64, holder: u8, set: u128) -> Membership {
    Membership {
        epoch: Epoch::new(counter, node(holder)),
        holder: node(holder),
        set: NodeSet::from_bits(set),
        data: DATA,
    }
}

pub(crate) fn register(counter: u64, holder: u8, set: u128) -> Register {
    Register {
        cluster: CLUSTER,
        module: MODULE,
        membership: membership(counter, holder, set),
        lease: LEASE,
        incarnation: LIFE,
        renewals: 0,
    }
}

pub(crate) fn ask(from: u8, expected: Epoch, request: Request) -> Ask {
    Ask {
        from: node(from),
        boot: Boot(u64::from(from)),
        number: 1,
        expected,
        lease: LEASE,
        request,
    }
}
