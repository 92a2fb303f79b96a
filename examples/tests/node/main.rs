//! Two servers with the real program, a real switch and a real client: what FIELD.md and DOMAIN.md
//! ask of a mirror, row by row.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod addresses;
mod bad_input;
mod balanced;
mod daemons;
mod deaths;
mod disks;
mod ends;
mod many;
mod recipes;
mod rig;
mod scenarios;
mod timing;

use std::time::Duration;

/// How long a condition may take to hold: far more than it takes on a loaded machine.
const SOON: Duration = Duration::from_secs(30);

/// The pace of a prober.
const PACE: Duration = Duration::from_millis(5);
