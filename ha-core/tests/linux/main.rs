//! The adapters of Linux, against the kernel of this machine.
#![cfg(feature = "linux")]
#![allow(clippy::unwrap_used, reason = "a test says what failed by where it stopped")]

mod cgroup;
mod processes;
mod realtime;
mod scripts;
mod service;
mod unit;
mod vips;
mod vips_rig;
