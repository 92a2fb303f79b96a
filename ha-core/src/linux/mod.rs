//! What a server that runs Linux does for a module. Each adapter is dumb: one effect, one act.
//!
//! - [`cgroup`]: the processes of a module as one thing that can be frozen, killed and proved gone.
//! - [`farm`]: a member of a farm, at work.
//! - [`plane`]: the filter of a farm, in the kernel.
//! - [`checkers`]: what an administrator wants watched, and what follows.
//! - [`output`]: what they print.
//! - [`deadline`]: when they must stop although nobody says so.
//! - [`scripts`]: what an administrator wrote to start and stop them.
//! - [`mod@unit`]: a systemd unit in place of those.
//! - [`guardian`]: the process that keeps that deadline when the daemon does not.
//! - [`service`]: a host of the driver made of these.
//! - [`hook`]: who is told of what happens.
//! - [`realtime`]: what keeps the node's thread going on a loaded machine.
//! - [`Vips`]: its virtual addresses, taken, kept and released for its guard.
//! - `node` (a feature): whole daemons made of all these.

mod address;
mod agent;
pub mod cgroup;
pub mod checkers;
mod child;
pub mod deadline;
mod error;
pub mod farm;
mod filter;
mod frames;
mod gate;
pub mod guardian;
mod holders;
pub mod hook;
mod link;
mod netlink;
#[cfg(feature = "node")]
pub mod node;
pub mod output;
mod plan;
pub mod plane;
pub mod realtime;
mod reset;
mod route;
pub mod scripts;
pub mod service;
mod source;
pub mod unit;
mod vips;
mod watch;

pub use error::VipError;
pub use holders::{Holder, holders};
pub use link::mac_of;
pub use plan::{VipConfig, VipSource, VipsConfig};
pub use vips::{Vips, VipsSeen};
