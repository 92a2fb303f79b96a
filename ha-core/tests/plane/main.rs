//! The data planes in this machine's kernel: root only.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests of a real kernel live in real time")]

mod changed;
mod differential;
mod farm;
mod frames;
mod hands;
mod held;
mod leftovers;
mod listed;
mod members;
mod nft;
mod refused;
mod rig;
mod seen;
mod shares;
mod sockets;
mod split;
mod strangers;
