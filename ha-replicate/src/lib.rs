//! The replication log of a mirror pair: one pure machine for both roles.
//!
//! A host proposes records and is told when each is committed: durable on every member of the
//! in-sync set. The other node follows, holds the same bytes, and can take over. It is write-all
//! primary and backup, as in `PacificA` (Lin and others 2008); who leads, and who is in the set, is
//! decided elsewhere and told to both.
//!
//! - [`Log`] is the machine; [`Input`] what it is told, [`Output`] what it says.
//! - [`Batch`] holds contiguous records, encoded once: the same bytes go to the disk, to the peer,
//!   to its disk and to its host. [`record`] is their layout, [`scan`] reads them at recovery.
//! - [`Log::poll_message`] is pulled when the stream to the peer has room. Nothing is queued
//!   inside: what is due follows from what both sides have said.
//!
//! # The loop
//!
//! Each [`Output`] that asks for something is answered by one [`Input`]. Appends, saves, reads and
//! the host's applying are independent lanes: within one the answers come in order, between them
//! in any. After each call of anything, [`deadline`](ha_proto::Machine::deadline) says when to
//! tick, and the stream asks for messages until there is none.
//!
//! ```
//! use bytes::BytesMut;
//! use ha_proto::{
//!     DataId, DataState, Epoch, Instant, Machine, Membership, NodeId, NodeSet, Outbox, Position,
//!     Seq, StoreId,
//! };
//! use ha_replicate::{Config, Input, Log, MESSAGE_MAX, Output, Recovered};
//!
//! let (me, peer) = (NodeId::new(0).unwrap(), NodeId::new(1).unwrap());
//! let mut log = Log::new(
//!     Config::new(me, peer),
//!     Recovered {
//!         position: Position::default(), // an empty log
//!         lineage: Default::default(),
//!         state: DataState::Complete,
//!         membership: None,
//!         store: StoreId(1),
//!         applied: Seq::ZERO,
//!         bytes: 0,
//!     },
//! );
//! let now = Instant::ZERO;
//! let mut out = Outbox::new(Log::OUTPUTS_MAX);
//!
//! // The node holds epoch 1 and may run alone. It saves both, then serves.
//! let epoch = Epoch::new(1, me);
//! let membership = Membership { epoch, holder: me, set: NodeSet::only(me), data: DataId(7) };
//! let lineage = log.next_lineage(epoch);
//! log.handle(now, Input::Lead { membership, lineage }, &mut out);
//!
//! // A record is in the open batch; the tick, due at once, closes it.
//! assert_eq!(log.propose(now, b"hello"), Ok(Seq(1)));
//! assert_eq!(log.deadline().unwrap().at, now);
//! log.handle(now, Input::Tick, &mut out);
//! let Some(Output::Append(batch)) = out.pop() else { panic!() };
//! // ... the driver writes and syncs `batch.bytes`, then says so:
//! log.handle(now, Input::Durable { seq: batch.last }, &mut out);
//! assert_eq!(out.pop(), Some(Output::Committed(Seq(1))));
//! assert_eq!(out.pop(), Some(Output::Apply(batch)));
//!
//! // A stream to the peer is open: it is greeted.
//! log.handle(now, Input::Connected, &mut out);
//! let mut stream = BytesMut::new();
//! assert!(log.poll_message(now, MESSAGE_MAX, &mut stream) > 0);
//! ```
//!
//! # The protocol
//!
//! 1. Both, at a new stream, and a follower whenever it does not know where to go on: *Hello*, who
//!    I am and where my durable log ends.
//! 2. The leader, in answer: *Sync*, my membership and lineage, and the last record that we share;
//!    whether what is behind it may be overwritten.
//! 3. The follower saves these, keeps aside and cuts what only it has, then *Ack*: the run that it
//!    follows, and what of it is received, written and durable.
//! 4. The leader, from the first such acknowledgement on: *Frames*, and *Commit* when no frames
//!    carry it.
//!
//! An order answers the follower's newest greeting, and may overwrite something only once for each:
//! none can be late (counterexample 9 of the contract). It overwrites only a node that is excluded
//! by the order's membership and by the saved one (R14). An acknowledgement counts only in the
//! present epoch, for the present run, from the store that greeted (R4, R15). A chain over all
//! records finds histories that differ although their lineages agree.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod apply;
pub mod batch;
pub mod config;
mod crc32c;
pub mod event;
mod flight;
mod follow;
mod gather;
mod histogram;
mod journal;
mod lead;
mod log;
mod message;
pub mod record;
pub mod scan;
mod session;
#[cfg(test)]
mod tests;
mod waiting;

pub use batch::{Batch, BatchError};
pub use config::{Config, ConfigError, Recovered};
pub use event::{Counters, Event, Input, Output, PeerEvent, PeerView, ProposeError, ReadFor};
pub use histogram::Histogram;
pub use log::Log;
pub use message::MESSAGE_MAX;
pub use record::{Body, RECORD_MAX, Record, RecordError};
