//! A failure detector over N links and M peers, by mutual echo.
//!
//! A [`Detector`] sends a [`Beat`] to each peer on each link in every interval. A beat echoes the
//! newest number that its sender heard of the receiver: it says at once "I live" and "I hear you".
//! So a peer is up only while I hear it *and* it hears me (R11), and a beat proves life only by
//! echoing a recent number of mine (R10): neither a cut in one direction, nor a full socket buffer
//! after a pause, nor a recording keeps a dead peer up.
//!
//! The bounds, with `D` the timeout and `i` the interval:
//! - a peer that no longer reaches me is down `D` after its last proof came;
//! - a peer that no longer hears me is down `D + i` after I sent the last beat that it heard;
//! - a boot of a peer is believed once it echoes a number that I sent after I first heard of that
//!   boot. A process that ended before can never do so, hence its datagrams bring no restart about.
//!   Two nodes that start at once know each other after two to three intervals.
//!
//! The crate is pure: no clock, no sockets, no `std`. The loop of its host:
//! - wait until a datagram comes or [`deadline`](ha_proto::Machine::deadline) passes;
//! - tell the detector by [`handle`](ha_proto::Machine::handle) with the time of a monotonic clock
//!   that counts suspend;
//! - do what it says: send the beats, and take notice of the rest.
//!
//! ```
//! use std::collections::VecDeque;
//! use std::time::Duration;
//!
//! use ha_heartbeat::{Config, Detector, Input, Output, Resources, Status};
//! use ha_proto::{
//!     Boot, DataId, DataState, Epoch, Incarnation, Instant, Machine, Membership, NodeId, NodeSet,
//!     Outbox, Position, Role, StoreId,
//! };
//!
//! let nodes = [0, 1].map(|id| NodeId::new(id).expect("below 128"));
//! let [a, b] = nodes;
//! let epoch = Epoch::NONE;
//! let membership = Membership { epoch, holder: a, set: NodeSet::EMPTY, data: DataId(0) };
//! let status = Status {
//!     membership,
//!     role: Role::Wait,
//!     ready: false,
//!     state: DataState::Blank,
//!     store: StoreId(1),
//!     incarnation: Incarnation(0),
//!     position: Position::default(),
//!     asks: false,
//!     promise: None,
//!     able: true,
//!     broken: false,
//!     yields: false,
//!     waits: false,
//!     unanswered: false,
//!     resources: Resources::default(),
//!     preference: 0,
//!     joint: Epoch::NONE,
//! };
//! let detector = |me: NodeId, peer: NodeId, boot: u64| {
//!     let (interval, timeout) = (Duration::from_millis(100), Duration::from_secs(1));
//!     let config = Config::new(me, Boot(boot), vec![peer], 1, interval, timeout)?;
//!     Ok::<_, ha_heartbeat::ConfigError>(Detector::new(config, status, Instant::ZERO))
//! };
//! let mut detectors = [detector(a, b, 0x1234)?, detector(b, a, 0x5678)?];
//!
//! // A network without delay, and a host that sleeps until the next deadline.
//! let mut out = Outbox::new(Detector::OUTPUTS_MAX);
//! while !(detectors[0].alive(b) && detectors[1].alive(a)) {
//!     let due = detectors.iter().filter_map(Machine::deadline).map(|deadline| deadline.at).min();
//!     let now = due.expect("the next round is always due");
//!     let mut facts = VecDeque::from([(0, Input::Tick), (1, Input::Tick)]);
//!     while let Some((at, fact)) = facts.pop_front() {
//!         detectors[at].handle(now, fact, &mut out);
//!         while let Some(said) = out.pop() {
//!             if let Output::Beat { link, link_echo, beat, .. } = said {
//!                 let (from, to) = (nodes[at], nodes[1 - at]);
//!                 let waited = detectors[at].waited(to, link, now);
//!                 facts.push_back((1 - at, Input::Beat { link, from, link_echo, waited, beat }));
//!             }
//!         }
//!     }
//!     assert!(now < Instant::ZERO + Duration::from_secs(1), "they find each other in time");
//! }
//! # Ok::<(), ha_heartbeat::ConfigError>(())
//! ```
//!
//! # Farms
//! Where many nodes share one service, life alone is not enough: all must agree on who is a member
//! and from when on it may take what another one took before. That is the module [`group`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod beat;
mod config;
mod counters;
mod detector;
pub mod group;
mod handed;
mod liveness;
mod margin;
mod peer;
mod sent;
mod session;
mod status;

pub use beat::{Beat, Echo};
pub use config::{Config, ConfigError};
pub use counters::Counters;
pub use detector::{Detector, Input, Output};
pub use handed::Handed;
pub use margin::Margin;
pub use status::{Resources, Status};
