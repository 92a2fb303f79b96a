//! The parts of the demonstration that can be tested without its processes.
//!
//! They stand here by their paths: an example that is built as a test is not built as a program,
//! and the tests beside this one start that program.
#![allow(dead_code, reason = "the demonstration uses all of it")]

#[path = "../examples/mirror/check.rs"]
mod check;
#[path = "../examples/mirror/control.rs"]
mod control;
#[path = "../examples/mirror/table.rs"]
mod table;
