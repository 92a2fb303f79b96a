//! `ha` as a process: what it prints and ends with, against a running pair and without one.
#![allow(clippy::unwrap_used, reason = "a test says what failed by where it stopped")]

mod farm;
mod files;
mod orders;
mod program;
mod seen;
mod show;
mod terminal;

#[path = "../../../ha-core/tests/control/desk.rs"]
#[allow(dead_code, reason = "shared with the tests of the control socket, which use the rest")]
mod desk;
#[path = "../../../ha-core/tests/driver/rig.rs"]
#[allow(dead_code, reason = "shared with the driver's tests, which use the rest")]
mod rig;
