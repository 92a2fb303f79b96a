//! High availability for a host program: a mirror pair that loses no acknowledged write and never
//! has two primaries where the contract says so.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "tokio")]
extern crate std;

pub mod config;
pub mod event;
pub mod io;
mod mirror;
mod saved;
#[cfg(feature = "tokio")]
pub mod store;
mod timing;

pub use config::Config;
pub use event::Event;
pub use ha_heartbeat as heartbeat;
pub use ha_proto as proto;
pub use ha_quorum as quorum;
pub use ha_replicate as replicate;
pub use io::{Answer, Destination, Effect, Input, Order, Output, Source};
pub use mirror::{Counters, Mirror, Status};
pub use saved::Saved;
pub use timing::{Profile, Timing, TimingError};
