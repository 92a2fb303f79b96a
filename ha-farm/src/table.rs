//! The table of one service: who owns each bucket, and who did.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use ha_proto::{NodeId, NodeSet};

use crate::sharing::Sharing;

/// How many buckets a table has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Buckets {
    /// 256, as many as `SafeKit` has: a coarser share of the traffic.
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

    /// Forgets previous owners that drained or left.
    fn settle(&mut self, settled: u64, members: NodeSet) {
        if self.drains() {
            let drained = self.moved <= settled;
            let stays = |node: &NodeId| !drained && members.contains(*node);
            let [last, before] = self.previous.map(|node| node.filter(stays));
            self.keep(if last.is_some() { [last, before] } else { [before, None] });
        }
    }

    /// These are the previous owners; the bucket is settled if they are none.
    fn keep(&mut self, previous: [Option<NodeId>; 2]) {
        self.previous = previous;
        if previous[0].is_none() {
            self.moved = 0;
        }
    }

    /// Goes to `to`. Its owner, if it is `living`, becomes a previous one by the view `counter`.
    /// Whether a previous owner was cut off.
    fn give(&mut self, to: Option<NodeId>, living: Option<NodeId>, counter: u64) -> bool {
        let [last, before] = self.previous;
        let mut left =
            [living, last, before].into_iter().flatten().filter(|node| Some(*node) != to);
        let previous = [left.next(), left.next()];
        let cut = left.next().is_some();
        if living.is_some() {
            self.moved = counter;
        }
        self.owner = to;
        self.keep(previous);
        cut
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

    /// A table of buckets that were read; there is one of the sizes of them.
    pub(crate) fn of(buckets: Vec<Bucket>) -> Self {
        assert!(Buckets::from_count(buckets.len()).is_some(), "hashes would point beside it");
        Self { buckets }
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

    /// The table of the view that `plan` describes: [`Table::advance`] without its counts.
    #[must_use]
    pub fn next(&self, plan: &Plan<'_>) -> Self {
        self.advance(plan).table
    }

    /// The table of the view that `plan` describes, and what moved (F7, FG2).
    ///
    /// Whoever has this table and this plan computes the same:
    /// - what views up to `plan.settled` moved has drained: its previous owners are forgotten. So
    ///   are previous owners that left;
    /// - each member is to have what Sainte-Laguë gives its weight. Of seats that are worth the
    ///   same those go first that a member has already, then those of the lowest ids. Buckets go
    ///   only from who has more, left or has weight 0, to who has less;
    /// - for balance only settled buckets move. While what can move is less than what is missing,
    ///   each gets the same part of what it misses, and the rest once everything has drained;
    /// - a bucket that moves goes to whom `plan.taken` gives it, or to a previous owner of it, if
    ///   that one is to get some. All others go in order, the lowest to the lowest ids;
    /// - a living owner that loses a bucket becomes its last previous owner, and the bucket
    ///   drains (F8). A third previous owner is cut off.
    ///
    /// With `plan.counter <= plan.settled` nothing drains: no previous owner is kept.
    ///
    /// # Panics
    /// If the plan's counter is 0.
    pub fn advance(&self, plan: &Plan<'_>) -> Step {
        assert!(plan.counter > 0, "a move by view 0 would look like no move");
        let members: NodeSet = plan.weights.keys().copied().collect();
        let mut table = self.clone();
        for bucket in &mut table.buckets {
            bucket.settle(plan.settled, members);
        }
        let mut sharing = Sharing::new(&table.buckets, plan);
        let mut step = Step { table, forced: 0, balanced: 0, cut: 0 };
        step.give_to_the_liked(&mut sharing, plan);
        step.give_the_rest(&mut sharing, plan);
        assert!(sharing.is_done(), "a member would have less than its share, and nobody more");
        step
    }
}

impl Step {
    fn give_to_the_liked(&mut self, sharing: &mut Sharing, plan: &Plan<'_>) {
        for number in 0..self.table.buckets.len() {
            let bucket = &self.table.buckets[number];
            if sharing.is_forced(bucket) || sharing.is_spare(bucket) {
                let taken = plan.taken.and_then(|taken| taken.buckets.get(number)?.owner);
                let [last, before] = bucket.previous;
                if let Some(to) = sharing.wants([taken, last, before]) {
                    self.give(number, Some(to), sharing, plan);
                }
            }
        }
    }

    fn give_the_rest(&mut self, sharing: &mut Sharing, plan: &Plan<'_>) {
        let mut from = 0;
        for number in 0..self.table.buckets.len() {
            let bucket = &self.table.buckets[number];
            if sharing.is_forced(bucket) || sharing.is_spare(bucket) {
                let to = sharing.next_wanting(&mut from);
                if to.is_some() || bucket.owner.is_some() {
                    self.give(number, to, sharing, plan);
                }
            }
        }
    }

    fn give(&mut self, number: usize, to: Option<NodeId>, sharing: &mut Sharing, plan: &Plan<'_>) {
        let bucket = &mut self.table.buckets[number];
        let (from, forced) = (bucket.owner, sharing.is_forced(bucket));
        if let Some(to) = to {
            sharing.moved(from, to, !forced);
        }
        self.forced += usize::from(forced);
        self.balanced += usize::from(!forced);
        let keeps = plan.counter > plan.settled;
        let living = from.filter(|from| keeps && sharing.is_member(*from));
        self.cut += usize::from(bucket.give(to, living, plan.counter));
    }
}
