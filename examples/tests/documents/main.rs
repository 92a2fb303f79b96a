//! `docs/mirror.md` and `docs/farm.md`, command by command, on bare servers with a real systemd.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod document;
mod farm;
mod machine;
mod mirror;

use std::time::Duration;

/// How long a condition may take to hold: far more than it takes on a loaded machine.
const SOON: Duration = Duration::from_mins(1);
