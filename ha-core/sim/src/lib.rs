//! Deterministic simulator and checkers for the `ha` family.
//!
//! A [`world::World`] holds two mirrors, their witness and everything around them: disks, hosts,
//! addresses, networks, clients, an operator. One heap of events and one seed decide all of it; no
//! thread, no clock, no I/O. Every history has a *safety* phase with faults, and a *liveness* phase
//! in which they stop and the pair must become whole. The [`check`]ers look at facts of the world
//! only: what was sent, saved, stored, performed and acknowledged.
//!
//! ```
//! use ha_quorum::Vote;
//! use ha_sim::history::{Verdict, draw, run};
//! use ha_sim::options::Options;
//!
//! let mut world = draw(Options::new(1, Vote::Arbiter));
//! assert_eq!(run(&mut world), Verdict::Good);
//! ```
#![forbid(unsafe_code)]

pub mod check;
pub mod client;
pub mod clock;
pub mod disk;
pub mod fact;
pub mod farm;
pub mod fault;
pub mod history;
pub mod host;
pub mod lan;
pub mod network;
pub mod node;
pub mod options;
pub mod overruled;
pub mod plain;
pub mod queue;
pub mod rights;
pub mod scene;
pub mod script;
pub mod stream;
pub mod trace;
pub mod weather;
pub mod witness;
pub mod world;
