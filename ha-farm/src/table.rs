//! The table of one service: who owns each bucket, and who did.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use ha_proto::NodeId;

/// How many buckets a table has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Buckets {
    /// 256, as many as SafeKit has: a coarser share of the traffic.
    Few,
    /// 4,096: with 64 equal members each has its fair share within 1.6 %.
    #[default]
    Many,
}

impl Buckets {
    /// How many.
    pub const fn count(self) -> usize {
        match self {
            Self::Few => 256,
            Self::Many => 4096,
        }
    }

    /// Those that are so many.
    pub const fn from_count(count: usize) -> Option<Self> {
        match count {
            256 => Some(Self::Few),
            4096 => Some(Self::Many),
            _ => None,
        }
    }
}

/// One bucket: a part of a service's clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// Who takes its packets; `None` when no member has a weight.
    pub owner: Option<NodeId>,
    /// Who owned it before and may still have connections, the last first; without gaps, none
    /// twice, never the owner. Nobody once the bucket is settled.
    pub previous: [Option<NodeId>; 2],
    /// The counter of the view that last took it from a living member; 0 once it is settled.
    /// It drains when this is not 0.
    pub moved: u64,
}

impl Bucket {
    /// Whether previous owners may have connections (F8).
    pub const fn drains(&self) -> bool {
        self.moved != 0
    }
}

/// Who owns which bucket of one service (F7). See [`Table::next`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    buckets: Vec<Bucket>,
}

/// What a view asks of the tables: who is a member, with which weight.
///
/// Every member computes the next table of it, so nothing here may differ between them: in place
/// of the time stand counters of views.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// The counter of the new view, from 1. It is kept in the buckets that move, and tells when
    /// they have drained.
    pub counter: u64,
    /// The members and their weights in this service; 0 takes no new clients, and keeps its
    /// connections until they have drained. Who is not in it has left or died.
    pub weights: BTreeMap<NodeId, u16>,
    /// Moves of views up to this counter have drained: their previous owners are forgotten.
    pub settled: u64,
    /// At a merge of two groups: the table of the group that joins. Its members get, of what they
    /// are to get, first what they take already.
    pub taken: Option<&'a Table>,
}

/// A table, and how much moved on the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The next table.
    pub table: Table,
    /// How many buckets moved because their owner left, has weight 0, or because nobody had them.
    pub forced: usize,
    /// How many moved for balance.
    pub balanced: usize,
    /// How many previous owners were cut off, because there are two at most. Their connections
    /// break.
    pub cut: usize,
}

impl Table {
    /// A table of which nobody owns anything.
    pub fn new(buckets: Buckets) -> Self {
        Self { buckets: alloc::vec![Bucket::default(); buckets.count()] }
    }

    /// How many buckets it has.
    pub fn size(&self) -> Buckets {
        Buckets::from_count(self.buckets.len()).expect("a table is made with one of the sizes")
    }

    /// All buckets; a bucket's number is its place.
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// How many buckets each owner has.
    pub fn shares(&self) -> BTreeMap<NodeId, usize> {
        let mut shares = BTreeMap::new();
        for owner in self.buckets.iter().filter_map(|bucket| bucket.owner) {
            *shares.entry(owner).or_default() += 1;
        }
        shares
    }

    /// The views of which something still drains, by their counters, the oldest first. Once all
    /// that a view moved has drained, its counter is what [`Plan::settled`] may rise to.
    pub fn drains(&self) -> BTreeSet<u64> {
        self.buckets.iter().map(|bucket| bucket.moved).filter(|&moved| moved != 0).collect()
    }
}
