//! The vocabulary of the `ha` family: time, ids, epochs, lineage, what a machine is, and the
//! authenticated wire header. Pure: no clock, no I/O, no `std`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod codec;
mod epoch;
mod id;
#[cfg(any(test, feature = "laws"))]
pub mod laws;
mod lineage;
mod machine;
mod membership;
mod prng;
mod role;
mod time;
pub mod wire;

pub use epoch::Epoch;
pub use id::{
    Boot, ClusterId, DataId, Incarnation, LinkId, ModuleId, NodeId, NodeSet, Seq, StoreId, Ticket,
};
pub use lineage::{Chain, Comparison, Lineage, LineageEntry, Position};
pub use machine::{Deadline, Machine, Outbox, Timer};
pub use membership::Membership;
pub use prng::Prng;
pub use role::{DataState, Role};
pub use time::Instant;
