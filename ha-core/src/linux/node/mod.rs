//! Whole nodes: the daemons of mirrors, farms and witnesses, with their files, desks and scripts.
//!
//! A program of a node reads its command line, says where its log goes, and runs one of these:
//!
//! ```no_run
//! use std::path::Path;
//!
//! use ha_core::linux::node::daemon::Daemon;
//!
//! Daemon::start(Path::new("/etc/ha-node/ha-node.toml")).and_then(Daemon::run)?;
//! # Ok::<(), ha_core::linux::node::daemon::DaemonError>(())
//! ```
//!
//! A reload or an upgrade has the same program go on in this process's place, with the same
//! arguments, and tries it with `--version` before, which must print and end with 0. `ha-guardian`
//! lies beside the program, or where the file says.
//!
//! - [`config`]: the file of a mirror node; [`mod@locate`]: where in a file an error is.
//! - [`mod@effective`]: what a configuration means, with its defaults; [`mod@check`]: whether it can
//!   work here; `places`: where files are unless they say otherwise.
//! - [`desk`]: what others are told of a node.
//! - [`module`]: a module's service and addresses, as a host of the driver.
//! - `program`: what goes on in a daemon's place, tried first.
//! - [`daemon`]: the process of a mirror node; [`witness`]: that of a witness; [`farm`]: that of a
//!   farm's member.
// Processes, files and their times are what this is about.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod check;
pub mod config;
pub mod daemon;
pub mod desk;
pub mod effective;
pub mod farm;
pub mod locate;
pub mod module;
mod places;
mod program;
pub mod witness;

/// The exit code of a configuration that cannot work (sysexits.h).
pub const EX_CONFIG: u8 = 78;
