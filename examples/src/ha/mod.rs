//! `ha`: the program with which an administrator sees, orders and sets up.
//!
//! - [`args`]: its command line; [`run`]: what each command does, and what it ends with.
//! - [`show`]: a status as text; [`farm`]: that of a farm, and its orders.

pub mod args;
mod ask;
mod doctor;
pub mod farm;
mod files;
mod order;
mod output;
mod reload;
pub mod run;
mod see;
pub mod show;
