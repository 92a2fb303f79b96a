//! `Lineage::compare` against logs that hold every record: it must find what comparing the
//! records themselves finds.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::collections::BTreeSet;

use ha_proto::{Chain, Comparison, Epoch, Lineage, LineageEntry, NodeId, Position, Seq};
use proptest::prelude::*;

/// What one node has: every record, as its epoch and a value that no other record has.
#[derive(Clone, Debug, Default)]
struct Log {
    records: Vec<(Epoch, u64)>,
    lineage: Lineage,
    reign: Option<Epoch>,
}

impl Log {
    fn head(&self) -> Position {
        let chain = self.records.iter().fold(0, |chain: u64, (epoch, value)| {
            (chain ^ epoch.bits() ^ value.rotate_left(32))
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(29)
        });
        let epoch = self.records.last().map_or(Epoch::NONE, |record| record.0);
        Position { epoch, seq: Seq(self.records.len() as u64), chain: Chain(chain) }
    }

    fn common(&self, other: &Self) -> usize {
        let pairs = self.records.iter().zip(&other.records);
        pairs.take_while(|(ours, theirs)| ours == theirs).count()
    }

    /// The model: looks at every record.
    fn compare(&self, other: &Self) -> Comparison {
        let common = self.common(other);
        match (common == self.records.len(), common == other.records.len()) {
            (true, true) => Comparison::Equal,
            (true, false) => Comparison::Behind,
            (false, true) => Comparison::Ahead,
            (false, false) => Comparison::Diverged { common: Seq(common as u64) },
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A node begins a reign, in a new epoch or, after a restart, in its own.
    Lead { node: usize, again: bool },
    /// If it reigns, it writes so many records.
    Write { node: usize, records: u8 },
    /// It saves the other one's lineage and takes at most so many records; what only it has, it
    /// drops.
    Follow { node: usize, records: u8 },
    /// It crashes and loses so many records of its tail.
    Crash { node: usize, lost: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0usize..2;
    prop_oneof![
        2 => (node.clone(), any::<bool>()).prop_map(|(node, again)| Step::Lead { node, again }),
        4 => (node.clone(), 0u8..5).prop_map(|(node, records)| Step::Write { node, records }),
        3 => (node.clone(), 0u8..8).prop_map(|(node, records)| Step::Follow { node, records }),
        2 => (node, 0u8..4).prop_map(|(node, lost)| Step::Crash { node, lost }),
    ]
}

/// Two nodes whose reigns are their own affair: every divergence that there can be.
#[derive(Debug, Default)]
struct World {
    logs: [Log; 2],
    counter: u64,
    value: u64,
    /// Reigns and places at which one began: the same twice would be another history under an
    /// equal entry, which only chains at the head can tell.
    begun: BTreeSet<(Epoch, Seq)>,
}

impl World {
    fn step(&mut self, step: &Step) {
        match *step {
            Step::Lead { node, again } => self.lead(node, again),
            Step::Write { node, records } => self.write(node, records),
            Step::Follow { node, records } => self.follow(node, records),
            Step::Crash { node, lost } => {
                let log = &mut self.logs[node];
                let keep = log.records.len().saturating_sub(usize::from(lost));
                log.records.truncate(keep);
                log.reign = None;
            }
        }
    }

    fn lead(&mut self, node: usize, again: bool) {
        let owner = NodeId::new(u8::try_from(node).unwrap()).unwrap();
        let log = &mut self.logs[node];
        let head = log.head();
        log.lineage.clip(head.seq);
        let last = log.lineage.last().map(|entry| entry.epoch);
        let own = last.filter(|epoch| {
            again
                && epoch.owner() == Some(owner)
                && !self.begun.contains(&(*epoch, head.seq.next()))
        });
        let epoch = own.unwrap_or_else(|| {
            self.counter += 1;
            Epoch::new(self.counter, owner)
        });
        let entry = LineageEntry { epoch, first: head.seq.next(), chain: head.chain };
        self.begun.insert((epoch, entry.first));
        log.lineage.push(entry);
        log.reign = Some(epoch);
    }

    fn write(&mut self, node: usize, records: u8) {
        let Some(epoch) = self.logs[node].reign else { return };
        for _ in 0..records {
            self.value += 1;
            self.logs[node].records.push((epoch, self.value));
        }
    }

    fn follow(&mut self, node: usize, records: u8) {
        let leader = self.logs[1 - node].clone();
        if leader.reign.is_none() {
            return;
        }
        let log = &mut self.logs[node];
        log.records.truncate(log.common(&leader));
        let from = log.records.len();
        log.records.extend(leader.records[from..].iter().take(usize::from(records)));
        log.lineage = leader.lineage;
        log.reign = None;
    }

    fn compare(&self) -> [Comparison; 2] {
        let [a, b] = &self.logs;
        [
            a.lineage.compare(a.head(), &b.lineage, b.head()),
            b.lineage.compare(b.head(), &a.lineage, a.head()),
        ]
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn lineages_tell_what_the_records_tell(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World::default();
        for step in &steps {
            world.step(step);
            let [a, b] = &world.logs;
            prop_assert_eq!(world.compare(), [a.compare(b), b.compare(a)], "after {:?}", step);
        }
    }

    #[test]
    fn every_record_is_its_reigns(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World::default();
        for step in &steps {
            world.step(step);
        }
        for log in &world.logs {
            for (at, &(epoch, _)) in log.records.iter().enumerate() {
                prop_assert_eq!(log.lineage.epoch_at(Seq(at as u64 + 1)), Some(epoch));
            }
        }
    }
}

#[test]
fn histories_reach_every_comparison() {
    let log = |parts: &[(usize, u8)]| {
        let mut world = World::default();
        for &(node, records) in parts {
            world.step(&Step::Lead { node, again: false });
            world.step(&Step::Write { node, records });
        }
        world.compare()[0]
    };
    assert_eq!(log(&[]), Comparison::Equal);
    assert_eq!(log(&[(0, 2)]), Comparison::Ahead);
    assert_eq!(log(&[(1, 2)]), Comparison::Behind);
    assert_eq!(log(&[(0, 2), (1, 2)]), Comparison::Diverged { common: Seq::ZERO });
}
