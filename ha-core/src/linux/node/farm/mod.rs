//! The program of a farm's node, `farm-node`.
//!
//! - [`config`]: the file that it reads; [`service`], [`checker`]: parts of it;
//!   [`mod@effective`]: what it means.
//! - [`plane`]: where packets are decided on; `follows`: how often that is chosen anew.
//! - `told`: where its events go.
//! - [`desk`]: what others are told of a node; [`daemon`]: its process.

pub mod checker;
pub mod config;
pub mod daemon;
pub mod desk;
pub mod effective;
mod follows;
pub mod plane;
pub mod service;
mod told;
