//! A failure detector over N links and M peers, by mutual echo.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod beat;
mod config;
mod counters;
mod detector;
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
pub use margin::Margin;
pub use status::{Resources, Status};
