//! The adapters of Linux, against the kernel of this machine.
#![cfg(feature = "linux")]
#![allow(clippy::unwrap_used, reason = "a test says what failed by where it stopped")]

mod arbiter;
mod cgroup;
mod checkers;
mod checkers_rig;
mod farm;
mod farm_hands;

mod processes;
mod realtime;
#[allow(dead_code, reason = "it is the driver's, whose tests need more of it")]
#[path = "../driver/rig.rs"]
mod rig;
mod scripts;
mod service;
mod unit;
mod vip_sources;
mod vips;
mod vips_rig;
