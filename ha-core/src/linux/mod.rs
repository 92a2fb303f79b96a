//! What a server that runs Linux does for a module. Each adapter is dumb: one effect, one act.
//!
//! - [`cgroup`]: the processes of a module as one thing that can be frozen, killed and proved gone.
//! - [`output`]: what they print.
//! - [`deadline`]: when they must stop although nobody says so.
//! - [`scripts`]: what an administrator wrote to start and stop them.
//! - [`mod@unit`]: a systemd unit in place of those.
//! - [`guardian`]: the process that keeps that deadline when the daemon does not.
//! - [`service`]: a host of the driver made of these.
//! - [`loops`]: how often a module may restart by itself.

pub mod cgroup;
mod child;
pub mod deadline;
mod gate;
pub mod guardian;
pub mod loops;
pub mod output;
pub mod scripts;
pub mod service;
pub mod unit;
