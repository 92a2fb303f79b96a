//! The tables of views: computed, pulled, kept for whoever asks.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use ha_farm::wire::{self, Assembly};
use ha_farm::{Buckets, Plan, Rule, Table};
use ha_heartbeat::group::ViewId;
use ha_proto::NodeId;

use crate::farm::body::{Body, Share, put_rules, read_rules};

/// The tables of one view, one for each rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tables {
    pub(super) all: Arc<Vec<Table>>,
    /// Of which rules; other nodes may have had them longer, or never.
    pub(super) rules: Vec<Rule>,
    pub(super) digest: u64,
    /// Buckets that changed their owner on the way here, and previous owners that were cut off;
    /// zero for tables that were pulled.
    pub(super) moved: u32,
    pub(super) cut: u32,
}

/// The tables of the last views, by view.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    /// The one that was put there last is at the end: what has just been pulled may be of a group
    /// with lower ids than all of this node's.
    views: Vec<(ViewId, Tables)>,
    /// Those that were asked for last, as they are sent.
    parts: Option<(ViewId, Arc<Vec<Bytes>>)>,
}

impl Shelf {
    /// A base, a group that joins, a view that is being installed, the present one, and one that
    /// somebody may still be at.
    const VIEWS_MAX: usize = 6;

    pub(super) fn get(&self, id: ViewId) -> Option<&Tables> {
        self.views.iter().find(|(known, _)| *known == id).map(|(_, tables)| tables)
    }

    /// Keeps the tables of a view, and forgets the oldest but for `present`.
    pub(super) fn put(&mut self, id: ViewId, tables: Tables, present: Option<ViewId>) {
        self.views.retain(|(known, _)| *known != id);
        self.views.push((id, tables));
        while self.views.len() > Self::VIEWS_MAX {
            let oldest = self.views.iter().position(|(old, _)| Some(*old) != present);
            self.views.remove(oldest.expect("one view is kept, and there are more"));
        }
        assert!(self.get(id).is_some(), "what was just computed would be asked for");
    }

    /// The parts of a view's tables, as they are sent: the rules, then the tables.
    pub(super) fn parts(&mut self, id: ViewId) -> Option<Arc<Vec<Bytes>>> {
        if let Some((known, parts)) = &self.parts
            && *known == id
        {
            return Some(parts.clone());
        }
        let tables = self.get(id)?;
        let mut rules = Vec::new();
        put_rules(&tables.rules, &mut rules);
        let parts = core::iter::once(rules.into()).chain(tables.parts());
        let parts = Arc::new(parts.collect::<Vec<_>>());
        self.parts = Some((id, parts.clone()));
        Some(parts)
    }
}

impl Tables {
    /// From what [`Shelf::parts`] gave elsewhere; `None` when these are none.
    pub(super) fn pulled(parts: &[Bytes], buckets: Buckets) -> Option<Self> {
        let (rules, parts) = parts.split_first()?;
        Self::read(parts, read_rules(rules).ok()?, buckets)
    }

    /// From [`Tables::parts`]; `None` when these are not the tables of such rules.
    pub(super) fn read(parts: &[Bytes], rules: Vec<Rule>, buckets: Buckets) -> Option<Self> {
        let mut assembly = Assembly::new(rules.len(), buckets);
        for part in parts {
            assembly.add(part).ok()?;
        }
        Some(Self::of(Arc::new(assembly.tables()?), rules))
    }

    /// Without the rules.
    pub(super) fn parts(&self) -> impl Iterator<Item = Bytes> {
        wire::parts(&self.all).into_iter().map(Bytes::from)
    }

    /// As they are elsewhere, or an earlier process had them.
    pub(super) fn of(all: Arc<Vec<Table>>, rules: Vec<Rule>) -> Self {
        assert!(rules.len() == all.len(), "a rule would get another one's table");
        Self { digest: wire::digest(&all), all, rules, moved: 0, cut: 0 }
    }

    /// Before the first view.
    pub(super) fn blank(services: usize, buckets: Buckets) -> Vec<Table> {
        (0..services).map(|_| Table::new(buckets)).collect()
    }

    /// Those that come after `base` (F7).
    pub(super) fn next(
        base: &[Table],
        taken: Option<&[Table]>,
        counter: u64,
        settled: u64,
        members: &BTreeMap<NodeId, Share>,
        rules: &[Rule],
    ) -> Self {
        let alike = members.values().all(|share| share.weights.len() == base.len());
        assert!(alike, "a service would be shared by another one's weights");
        let (mut moved, mut cut) = (0, 0);
        let mut all = Vec::with_capacity(base.len());
        for (service, table) in base.iter().enumerate() {
            let weights =
                members.iter().map(|(&node, share)| (node, share.weights[service])).collect();
            let taken = taken.and_then(|taken| taken.get(service));
            let step = table.advance(&Plan { counter, weights, settled, taken });
            moved += (step.forced + step.balanced) as u32;
            cut += step.cut as u32;
            all.push(step.table);
        }
        Self { moved, cut, ..Self::of(Arc::new(all), rules.to_vec()) }
    }

    /// These, arranged for other rules: each that stays keeps its table, a new one gets a blank.
    pub(super) fn for_rules(&self, to: &[Rule], buckets: Buckets) -> Vec<Table> {
        let table = |rule: &Rule| {
            let at = self.rules.iter().position(|old| old == rule);
            at.map_or_else(|| Table::new(buckets), |at| self.all[at].clone())
        };
        to.iter().map(table).collect()
    }
}

impl Body {
    /// The same body, of these tables.
    pub(super) fn of(mut self, tables: &Tables) -> Self {
        self.digest = tables.digest;
        self
    }
}
