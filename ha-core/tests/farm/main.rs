//! Members of a farm on a network in memory: what each one's kernel takes, and when.

mod changes;
mod rig;
mod succession;
