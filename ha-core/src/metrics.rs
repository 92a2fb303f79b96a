//! A node's metrics as Prometheus reads them (text format, version 0.0.4).
//!
//! [`render`] is a pure function of what was seen. Names and labels are a contract: added, never
//! changed. Units are base units; counters end in `_total` and begin at zero with the process;
//! a state is one series for each of its values, 1 where it holds; no label takes values without
//! bound. What is not known has no series.
//! A time that each of many took is a histogram with fixed bounds.

mod families;
mod farm;
mod page;

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::verdict::{HostFacts, Names, Verdict};
use crate::{Counters, View};

pub use self::families::render;
pub use self::farm::{FarmSample, Packets, render_farm};

/// One module on this node, as it was seen for its metrics.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The module's name.
    pub module: String,
    /// What its machines know.
    pub view: View,
    /// What they counted.
    pub counters: Counters,
    /// What its host adds.
    pub host: HostFacts,
    /// What things are called.
    pub names: Names,
    /// What all that means.
    pub verdict: Verdict,
    /// How long it was unprotected: [`Exposure::unprotected`](crate::tally::Exposure::unprotected).
    pub unprotected: Duration,
    /// Its virtual addresses, if it has any.
    pub vips: Option<Vips>,
    /// How long its scripts took.
    pub scripts: Vec<ScriptRun>,
}

/// The virtual addresses of a module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vips {
    /// Whether they are held here.
    pub assigned: bool,
    /// Announcements.
    pub announcements: u64,
    /// Sightings of another claimant.
    pub conflicts: u64,
    /// Addresses that somebody else removed or changed, whether they were put back or not.
    pub lost: u64,
}

/// How long a script took when it last ended in this way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptRun {
    /// Which.
    pub script: &'static str,
    /// How it ended: a word of a few.
    pub result: &'static str,
    /// How long it took.
    pub took: Duration,
}

#[cfg(test)]
mod tests;
