//! The replication log of a mirror pair: one pure machine for both roles.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod batch;
pub mod config;
pub mod event;
mod log;
pub mod record;

pub use batch::{Batch, BatchError};
pub use config::{Config, ConfigError, Recovered};
pub use event::{Counters, Event, Input, Output, PeerEvent, PeerView, ProposeError, ReadFor};
pub use log::Log;
pub use record::{RECORD_MAX, Record, RecordError};

/// Most bytes of one message between two logs.
pub const MESSAGE_MAX: usize = record::RECORD_MAX + record::HEADER_LEN + 64;
