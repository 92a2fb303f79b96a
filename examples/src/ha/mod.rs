//! `ha`: the program with which an administrator sees, orders and sets up.
//!
//! - [`args`]: its command line; [`run`]: what each command does, and what it ends with.
//! - [`show`]: a status as text.

pub mod args;
mod ask;
mod doctor;
mod files;
mod order;
mod output;
pub mod run;
mod see;
pub mod show;
