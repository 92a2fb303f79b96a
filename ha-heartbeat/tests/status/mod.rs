//! What a node says of itself, where it does not matter.

use ha_heartbeat::{Resources, Status};
use ha_proto::{
    DataId, DataState, Epoch, Incarnation, Membership, NodeId, NodeSet, Position, Role, StoreId,
};

/// What a node says before it knows anything.
pub(crate) fn blank() -> Status {
    Status {
        membership: Membership {
            epoch: Epoch::NONE,
            holder: NodeId::new(0).expect("below 128"),
            set: NodeSet::EMPTY,
            data: DataId(0),
        },
        role: Role::Wait,
        ready: false,
        state: DataState::Blank,
        store: StoreId(0),
        incarnation: Incarnation(0),
        position: Position::default(),
        asks: false,
        promise: None,
        able: false,
        broken: false,
        yields: false,
        waits: false,
        unanswered: false,
        resources: Resources::default(),
        preference: 0,
        joint: Epoch::NONE,
    }
}
