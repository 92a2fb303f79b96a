//! Servers of a farm with the real program, a real switch and a real client.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod bad_input;
mod cut;
mod daemons;
mod health;
mod links;
mod newer;
mod planes;
mod rig;
mod told;
mod two_farms;
mod verbs;

use std::time::Duration;

/// How long a condition may take to hold: far more than it takes on a loaded machine.
const SOON: Duration = Duration::from_secs(30);
