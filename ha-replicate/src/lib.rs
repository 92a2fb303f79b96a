//! The replication log of a mirror pair: one pure machine for both roles.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod apply;
pub mod batch;
pub mod config;
pub mod event;
mod flight;
mod follow;
mod journal;
mod lead;
mod log;
mod message;
pub mod record;
pub mod scan;
mod session;
#[cfg(test)]
mod tests;

pub use batch::{Batch, BatchError};
pub use config::{Config, ConfigError, Recovered};
pub use event::{Counters, Event, Input, Output, PeerEvent, PeerView, ProposeError, ReadFor};
pub use log::Log;
pub use message::MESSAGE_MAX;
pub use record::{Body, RECORD_MAX, Record, RecordError};
