//! Farms: a world around 2 to 16 members, and a checker for each rule of `CONTRACT-FARM.md`.
//!
//! A [`World`](world::World) holds for each member its daemon ([`ha_core::farm::Farm`], the machine
//! under test), its kernel, which outlives the daemon and decides on packets
//! ([`ha_farm::Filter::decide`], under test too), and its sockets; around them the links that carry
//! beats, the clients' switch, clients that keep connections open, and an operator. As with the
//! pair ([`crate::world`]), one heap of events and one seed decide everything; faults come first,
//! then they stop and the farm must settle. The [`check`]ers look at facts only: beats that were
//! sent and read, what kernels hold, and what became of packets and connections.
//!
//! ```
//! use ha_sim::farm::history::{Verdict, draw, run};
//! use ha_sim::farm::options::Options;
//!
//! let mut world = draw(Options::new(1));
//! assert_eq!(run(&mut world), Verdict::Good);
//! ```

pub mod check;
pub mod client;
pub mod clique;
pub mod fact;
pub mod fault;
pub mod frame;
pub mod history;
pub mod kernel;
pub mod network;
pub mod node;
pub mod options;
pub mod plan;
pub mod rollout;
pub mod scene;
pub mod script;
pub mod services;
pub mod weather;
pub mod world;
