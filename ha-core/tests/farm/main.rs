//! Members of a farm on a network in memory: what each one's kernel takes, and when.
#![allow(clippy::unwrap_used, reason = "a test fails where it is wrong")]

mod accord;
mod changes;
mod faults;
mod links;
mod merge;
mod rig;
mod succession;
mod survey;
mod time;
