//! Members of a farm on a network in memory: what each one's kernel takes, and when.

mod accord;
mod changes;
mod merge;
mod rig;
mod succession;
mod time;
