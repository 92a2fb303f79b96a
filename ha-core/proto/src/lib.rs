//! The vocabulary of the `ha` family: time, ids, epochs, lineage, what a machine is, and the
//! authenticated wire header. Pure: no clock, no I/O, no `std`.
//!
//! A [`Machine`] is told facts and says what should be done. It never waits: it names one
//! [`Deadline`], and whoever drives it calls again by then. Time is an [`Instant`] that the driver
//! passes in, so a test jumps from deadline to deadline and a simulator replays a year in seconds:
//!
//! ```
//! use core::time::Duration;
//! use ha_proto::{Deadline, Instant, Machine, Outbox, Timer};
//!
//! /// Says "quiet" once when nothing was heard for a second.
//! #[derive(Default)]
//! struct Silence(Timer);
//!
//! enum Input {
//!     Tick,
//!     Heard,
//! }
//!
//! impl Machine for Silence {
//!     type Input = Input;
//!     type Output = &'static str;
//!     const OUTPUTS_MAX: usize = 1;
//!
//!     fn handle(&mut self, now: Instant, input: Input, out: &mut Outbox<&'static str>) {
//!         if self.0.expire(now) {
//!             out.push("quiet");
//!         }
//!         match input {
//!             Input::Tick => {}
//!             Input::Heard => self.0.arm(now + Duration::from_secs(1)),
//!         }
//!     }
//!
//!     fn deadline(&self) -> Option<Deadline> {
//!         self.0.deadline("silence")
//!     }
//! }
//!
//! let mut silence = Silence::default();
//! let mut out = Outbox::new(Silence::OUTPUTS_MAX);
//! silence.handle(Instant::ZERO, Input::Heard, &mut out);
//! assert!(out.is_empty());
//!
//! // The driver's loop: sleep until the deadline or the next fact, tell it, do what it says.
//! let deadline = silence.deadline().expect("it waits for a second of silence");
//! silence.handle(deadline.at, Input::Tick, &mut out);
//! assert_eq!(out.pop(), Some("quiet"));
//! assert_eq!(silence.deadline(), None);
//! ```
//!
//! Who may serve is an [`Epoch`]; who has the data is a [`Membership`]; which log continues which
//! is a [`Lineage`]. Bytes are read with [`codec::Reader`] and travel in [`wire`] datagrams.
//!
//! Features: `serde` (names and numbers as JSON or TOML), `laws` (for tests: the machine laws as
//! one generic check). No feature changes what another part does.
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
    Boot, ClusterId, DataId, Incarnation, LinkId, ModuleId, NodeId, NodeIdError, NodeSet, Seq,
    StoreId, Ticket,
};
pub use lineage::{Chain, Comparison, Lineage, LineageEntry, Position};
pub use machine::{Deadline, Machine, Outbox, Timer};
pub use membership::Membership;
pub use prng::Prng;
pub use role::{DataState, Role};
pub use time::Instant;
