//! What the programs that administrators install are made of.
//!
//! - [`config`]: the files that they read; [`mod@locate`]: where in them an error is.
//! - [`mod@effective`]: what a configuration means, with its defaults.
//! - [`desk`]: what others are told of a node.
//! - [`log`]: what they print.
//! - [`module`]: a module's service and addresses, as a host of the driver.
//! - `program`: what goes on in a daemon's place, tried first.
//! - [`daemon`]: the process of a mirror node; [`witness`]: that of a witness.

pub mod check;
pub mod config;
pub mod daemon;
pub mod desk;
pub mod effective;
pub mod locate;
pub mod log;
pub mod module;
pub(crate) mod program;
pub mod witness;
