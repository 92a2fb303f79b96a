//! What the programs that administrators install are made of.
//!
//! - [`config`]: the files that they read; [`mod@locate`]: where in them an error is.
//! - [`log`]: what they print.
//! - [`module`]: a module's service and addresses, as a host of the driver.
//! - [`daemon`]: the process of a mirror node; [`witness`]: that of a witness.

pub mod config;
pub mod daemon;
pub mod locate;
pub mod log;
pub mod module;
pub mod witness;
