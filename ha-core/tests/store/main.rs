//! The log's files: what a restart finds after anything that a disk or an operator can do.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, reason = "a test says what failed by where it stopped")]

mod aside;
mod cuts;
mod damage;
#[path = "../disks/mod.rs"]
mod disks;
mod failing;
mod full;
mod growth;
mod owners;
mod rig;
