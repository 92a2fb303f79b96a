//! The members of a farm, by what one of them is told and says: F1 to F6 of `CONTRACT-FARM.md`.
#![allow(clippy::unwrap_used, reason = "a test fails where it is wrong")]

mod gaps;
mod laws;
mod replays;
mod rig;
mod twins;
mod unobtainable;
mod views;
mod wire;
