//! High availability for a host program: a mirror pair that loses no acknowledged write and never
//! has two primaries where the contract says so.
//!
//! Two servers run one application. One of them, the *primary*, serves; each record that the
//! application proposes is made durable on both before it is acknowledged. When the primary dies
//! the other takes over, with every acknowledged record; when the first one returns it catches up
//! and stands by. A *witness* decides when the two cannot hear each other.
//!
//! - [`Mirror`] is a node of such a pair: a pure state machine that reads no clock and does no I/O.
//!   Facts go in ([`Mirror::handle_input`]), effects come out ([`Mirror::poll_output`]), and it
//!   says when it wants to be called next ([`Mirror::poll_timeout`]).
//! - Each [`Effect`] carries a ticket and is answered once. The node withholds whatever depends on
//!   the answer, so the driver has no order to keep.
//! - The feature `tokio` brings a driver with sockets, an encrypted replication stream and log
//!   files; whoever embeds it implements one trait for the application. With `etcd` an etcd can keep
//!   the witness's register in the place of an arbiter ([`etcd`](field@raw::RawConfig::etcd)).
//! - The feature `node` brings whole daemons, made of all this and run by a file: `mirror-node`,
//!   `farm-node` and `witness-node` are a command line around them.
//!
//! # The loop
//!
//! A node without a witness, made primary by its operator; a driver with real sockets and files
//! does the same.
//!
//! ```
//! use core::time::Duration;
//! use ha_core::config::{Config, Identity, Limits, Policy};
//! use ha_core::proto::{Boot, ClusterId, DataState, Instant, ModuleId, NodeId};
//! use ha_core::proto::{Position, Seq, StoreId, wire::Keys};
//! use ha_core::{Answer, Effect, Event, Input, Mirror, Order, Output, Profile, Saved};
//! use ha_core::{quorum::Vote, replicate::Recovered};
//!
//! let (me, peer) = (NodeId::new(0).unwrap(), NodeId::new(1).unwrap());
//! let cluster = ClusterId(7);
//! let identity = Identity { cluster, module: ModuleId(1), me, peer, links: 2 };
//! let policy = Policy { vote: Vote::None, ..Policy::default() };
//! let config = Config::new(identity, Profile::Lan.timing(), policy, Limits::default()).unwrap();
//!
//! // An empty disk: a blank node.
//! let saved = Saved::blank(cluster, ModuleId(1), me, StoreId(42));
//! let recovered = Recovered {
//!     position: Position::default(),
//!     lineage: saved.lineage.clone(),
//!     state: DataState::Blank,
//!     membership: None,
//!     store: saved.store,
//!     applied: Seq::ZERO,
//!     bytes: 0,
//! };
//! let mut now = Instant::ZERO;
//! let mut node = Mirror::new(config, Keys::insecure(), saved, recovered, Boot(1), 2, now);
//! node.order(now, Order::Prim)?;
//!
//! let mut applied = 0;
//! while applied == 0 {
//!     while let Some(output) = node.poll_output() {
//!         match output {
//!             Output::Transmit { .. } => {} // to a socket
//!             Output::Event(Event::Serving(_)) => {
//!                 node.propose(now, b"a record").unwrap();
//!             }
//!             Output::Event(_) => {} // to a log
//!             Output::Effect { ticket, effect } => {
//!                 if let Effect::Apply(batch) = &effect {
//!                     applied = batch.last.0; // committed: acknowledge it
//!                 }
//!                 node.handle_input(now, Input::Done { ticket, answer: Answer::Done });
//!             }
//!         }
//!     }
//!     now = node.poll_timeout().unwrap().at.max(now + Duration::from_millis(1));
//!     node.handle_input(now, Input::Timeout);
//! }
//! assert_eq!(applied, 1);
//! # Ok::<(), ha_core::OrderError>(())
//! ```
//!
//! What the pair promises, and when, is in the contract: acknowledged writes survive the loss of
//! any one machine; with an arbiter at most one node serves at any instant, except while a holder
//! is paused, or its daemon killed, across the end of its lease, and after an operator's override.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "tokio")]
extern crate std;

pub mod checker;
pub mod config;
#[cfg(feature = "control")]
pub mod control;
#[cfg(feature = "tokio")]
pub mod driver;
pub mod event;
pub mod farm;
pub mod history;
#[cfg(feature = "http")]
pub mod http;
pub mod io;
#[cfg(feature = "linux")]
pub mod linux;
pub mod metrics;
mod mirror;
mod order;
pub mod raw;
mod saved;
#[cfg(feature = "tokio")]
pub mod store;
#[cfg(feature = "systemd")]
pub mod systemd;
pub mod tally;
mod timing;
pub mod verdict;
pub mod view;

pub use config::Config;
pub use event::Event;
pub use ha_farm;
pub use ha_heartbeat as heartbeat;
pub use ha_proto as proto;
pub use ha_quorum as quorum;
pub use ha_replicate as replicate;
#[cfg(feature = "linux")]
pub use ha_vip as vip;
pub use io::{Answer, Destination, Effect, Input, Output, Source};
pub use mirror::{Baton, Counters, HandOverError, Mirror, Status, Void};
pub use order::{Order, OrderError};
pub use saved::Saved;
pub use timing::{Profile, Timing, TimingError};

pub use view::View;
