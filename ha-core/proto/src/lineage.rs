//! Which epochs wrote which part of a log, and whether two logs share a history.

use alloc::vec::Vec;

use crate::{Epoch, Seq};

/// A running hash over all records up to and including one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chain(pub u64);

/// The last record of a log: equal positions mean equal histories (`CONTRACT.md` "Words").
///
/// Ordered by epoch, then sequence (R8). The default is the empty log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The reign that wrote the record.
    pub epoch: Epoch,
    /// Its place.
    pub seq: Seq,
    /// The chain up to and including it.
    pub chain: Chain,
}

/// One reign's part of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineageEntry {
    /// The reign.
    pub epoch: Epoch,
    /// The first record that it wrote, or would write.
    pub first: Seq,
    /// The chain before that record.
    pub chain: Chain,
}

/// The reigns that wrote a log, oldest first: ascending epochs and first sequences.
///
/// At most [`Lineage::MAX`] entries; older ones are forgotten, and a log that ends before the
/// oldest remembered one is not comparable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    entries: Vec<LineageEntry>,
}

/// How one log (ours) relates to another (theirs).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The same history, to the same record.
    Equal,
    /// Theirs is a prefix of ours, as far as lineage and sequence tell.
    Ahead,
    /// Ours is a prefix of theirs, as far as lineage and sequence tell.
    Behind,
    /// Both have records that the other lacks: the last sequence that both have.
    Diverged {
        /// The last common record; zero if there is none.
        common: Seq,
    },
}

impl Lineage {
    /// The most entries kept. One is added for each change of reign that wrote something; 128 of
    /// them fit in 3 KiB of a saved file and cover months of failovers.
    pub const MAX: usize = 128;
}
