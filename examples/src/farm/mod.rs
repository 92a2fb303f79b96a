//! The program of a farm's node, `farm-node`.
//!
//! - [`config`]: the file that it reads; [`service`], [`checker`]: parts of it.

pub mod checker;
pub mod config;
pub mod service;
