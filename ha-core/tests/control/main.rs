//! The control socket of a running pair: what is seen and ordered there, and what no client can do.
#![cfg(feature = "control")]
#![allow(clippy::unwrap_used, reason = "a test says what failed by where it stopped")]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "real nodes, sockets and files, which live in real time"
)]

mod clients;
mod desk;
mod orders;
#[path = "../driver/rig.rs"]
#[allow(dead_code, reason = "shared with the driver's tests, which use the rest")]
mod rig;
mod seen;
