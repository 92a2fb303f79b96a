//! What a server that runs Linux does for a module. Each adapter is dumb: one effect, one act.
//!
//! - [`cgroup`]: the processes of a module as one thing that can be frozen, killed and proved gone.
//! - [`output`]: what they print.
//! - [`deadline`]: when they must stop although nobody says so.
//! - [`scripts`]: what an administrator wrote to start and stop them.
//! - [`loops`]: how often a module may restart by itself.

pub mod cgroup;
pub mod deadline;
pub mod loops;
pub mod output;
pub mod scripts;
