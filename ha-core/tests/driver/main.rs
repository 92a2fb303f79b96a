//! Whole nodes on loopback: sockets, threads and files around the machines.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, reason = "a test says what failed by where it stopped")]

mod bad_input;
#[path = "../disks/mod.rs"]
mod disks;
mod failing_disks;
mod full_disks;
mod hanging_disks;
mod keys;
mod metrics;
mod modules;
mod observer;
mod orders;
mod pair;
mod replays;
mod resources;
mod rig;
mod start;
mod upgrade;
mod view;
