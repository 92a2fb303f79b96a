//! The lab itself, with real namespaces: it does what it says, and leaves nothing.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod clean;
mod cuts;
mod disks;
mod measures;
mod neighbours;
mod processes;
mod reach;

use std::time::Duration;

/// How long a condition may take to hold: far more than it takes on a loaded machine.
const SOON: Duration = Duration::from_secs(20);

/// The pace of a prober.
const PACE: Duration = Duration::from_millis(1);

/// The port of the echo service.
const PORT: u16 = 7000;
