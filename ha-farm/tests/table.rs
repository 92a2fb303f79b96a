//! Tables over long histories: only needed moves, fair shares, bytes and back.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![expect(clippy::cast_precision_loss, reason = "buckets and weights are small")]

use std::collections::BTreeMap;

use ha_farm::wire::{Assembly, PART_MAX, digest, parts};
use ha_farm::{Buckets, Plan, Step, Table};
use ha_proto::{NodeId, Prng};

fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

/// What must be true of each step, whatever came before.
fn check(old: &Table, plan: &Plan<'_>, step: &Step) {
    let weight = |node: &NodeId| plan.weights.get(node).copied().unwrap_or(0);
    let (before, after) = (old.shares(), step.table.shares());
    let mut forced = 0;
    let mut lost: BTreeMap<NodeId, usize> = BTreeMap::new();
    let mut gained: BTreeMap<NodeId, usize> = BTreeMap::new();
    for (old, new) in old.buckets().iter().zip(step.table.buckets()) {
        let drains = old.drains()
            && old.moved > plan.settled
            && old.previous.iter().flatten().any(|node| plan.weights.contains_key(node));
        let homeless = old.owner.is_none_or(|owner| weight(&owner) == 0);
        if new.owner != old.owner {
            assert!(homeless || !drains, "a draining bucket moved for balance");
            forced += usize::from(homeless);
            if let (Some(owner), false) = (old.owner, homeless) {
                *lost.entry(owner).or_default() += 1;
            }
            if let Some(owner) = new.owner {
                *gained.entry(owner).or_default() += 1;
            }
            let living = old.owner.filter(|owner| plan.weights.contains_key(owner));
            if living.is_some() && plan.counter > plan.settled {
                assert_eq!((new.previous[0], new.moved), (living, plan.counter));
            }
        }
        assert!(new.owner.is_none_or(|owner| weight(&owner) > 0), "{new:?}");
        assert_eq!(new.drains(), new.previous[0].is_some());
        assert!(new.previous.iter().flatten().all(|node| Some(*node) != new.owner));
        assert!(new.previous.iter().flatten().all(|node| plan.weights.contains_key(node)));
        assert!(new.previous[0].is_some() || new.previous[1].is_none());
    }
    assert_eq!(step.forced, forced);
    assert_eq!(step.balanced, lost.values().sum::<usize>());
    for node in lost.keys() {
        assert!(!gained.contains_key(node), "{node} gave some and got others");
        assert!(after.get(node).unwrap_or(&0) < &before[node]);
    }
    // A move for balance was needed: the seat that the loser lost is worth less than the winner's.
    let has = |node: &NodeId| after.get(node).copied().unwrap_or(0);
    let seat = |node: &NodeId, number: usize| f64::from(weight(node)) / (2 * number - 1) as f64;
    for loser in lost.keys() {
        for winner in gained.keys() {
            let (kept, got) = (has(loser), has(winner));
            assert!(
                seat(winner, got) > seat(loser, kept + 1) - 1e-9,
                "{loser} has {kept} and lost one to {winner} that has {got}"
            );
        }
    }
}

fn fair(plan: &Plan<'_>, node: NodeId, buckets: usize) -> f64 {
    let total: f64 = plan.weights.values().map(|weight| f64::from(*weight)).sum();
    f64::from(plan.weights[&node]) * buckets as f64 / total
}

fn change(plan: &mut Plan<'_>, prng: &mut Prng, highest: u64) {
    for _ in 0..=prng.below(2) {
        let node = node(prng.below(64) as u8);
        match prng.below(4) {
            0 => drop(plan.weights.remove(&node)),
            1 => drop(plan.weights.insert(node, 0)),
            2 | 3 => drop(plan.weights.insert(node, 1 + prng.below(highest) as u16)),
            _ => unreachable!("below four"),
        }
    }
}

fn history(seed: u64, buckets: Buckets, highest: u64, changes: u64) -> usize {
    let mut prng = Prng::new(seed);
    let mut table = Table::new(buckets);
    let weights = BTreeMap::from([(node(0), 1)]);
    let mut plan = Plan { counter: 0, weights, settled: 0, taken: None };
    let mut cut = 0;
    for counter in 1..=changes {
        plan.counter = counter;
        change(&mut plan, &mut prng, highest);
        if prng.below(4) == 0 {
            plan.settled = counter.saturating_sub(1 + prng.below(4));
        }
        let step = table.advance(&plan);
        check(&table, &plan, &step);
        cut += step.cut;
        table = step.table;
        if counter % 16 == 0 {
            round_trip(&table);
        }
        if counter % 8 == 0 && plan.weights.values().any(|weight| *weight > 0) {
            settle(&table, &plan, highest == 1);
        }
    }
    cut
}

/// Once all has drained each has its share, and nothing moves any more.
fn settle(table: &Table, plan: &Plan<'_>, equal: bool) {
    let done = Plan { counter: plan.counter + 1, settled: plan.counter, ..plan.clone() };
    let settled = table.next(&done);
    let once = Plan { counter: plan.counter + 2, settled: plan.counter + 1, ..plan.clone() };
    let again = settled.advance(&once);
    assert_eq!((again.forced, again.balanced), (0, 0), "equal members swap buckets");
    let shares = again.table.shares();
    let buckets = table.buckets().len();
    for (&node, &weight) in &plan.weights {
        let has = shares.get(&node).copied().unwrap_or(0) as f64;
        let fair = fair(plan, node, buckets);
        let off = (has - fair).abs();
        assert!(weight > 0 || has < 0.5);
        assert!(!equal || off < 1.0, "{has} of {fair}");
        assert!(buckets < 4096 || off <= 1.0 + fair / 100.0, "{has} of {fair}");
    }
}

fn round_trip(table: &Table) {
    let tables = [table.clone(), Table::new(table.size())];
    let parts = parts(&tables);
    assert!(parts.iter().all(|part| part.len() <= PART_MAX));
    let mut assembly = Assembly::new(2, table.size());
    for part in parts.iter().rev() {
        assert!(assembly.tables().is_none() && assembly.missing().is_some());
        assembly.add(part).unwrap();
    }
    assert_eq!(assembly.missing(), None);
    assert_eq!(assembly.tables().unwrap(), tables);
    assert_ne!(digest(&tables), digest(&[tables[1].clone(), tables[0].clone()]));
}

#[test]
fn a_hundred_thousand_changes_move_nothing_without_need() {
    let mut cut = 0;
    for (seed, highest) in [(1, 1), (2, 8), (3, 100), (4, 65_535)] {
        cut += history(seed, Buckets::Few, highest, 23_000);
        cut += history(seed, Buckets::Many, highest, 2_000);
    }
    assert!(cut > 0, "no history ever cut a previous owner off");
}

#[test]
fn of_equal_members_one_that_leaves_as_another_comes_moves_nobody_else() {
    let plan = |counter, ids: &[u8]| Plan {
        counter,
        weights: ids.iter().map(|&id| (node(id), 1)).collect(),
        settled: counter - 1,
        taken: None,
    };
    let old = Table::new(Buckets::Few).next(&plan(1, &[1, 2, 3]));
    let step = old.advance(&plan(2, &[0, 1, 2]));
    assert_eq!((step.forced, step.balanced, step.cut), (85, 0, 0));
}

#[test]
fn at_a_merge_each_gets_what_it_takes_already() {
    let plan = |counter, ids: &[u8]| Plan {
        counter,
        weights: ids.iter().map(|&id| (node(id), 1)).collect(),
        settled: 0,
        taken: None,
    };
    let ours = Table::new(Buckets::Many).next(&plan(1, &[0, 1, 2]));
    let theirs = Table::new(Buckets::Many).next(&plan(1, &[3, 4]));
    let both = Plan { taken: Some(&theirs), ..plan(2, &[0, 1, 2, 3, 4]) };
    let step = ours.advance(&both);
    check(&ours, &both, &step);
    let moved = ours.buckets().iter().zip(theirs.buckets()).zip(step.table.buckets());
    let moved: Vec<_> = moved.filter(|((old, _), new)| old.owner != new.owner).collect();
    assert_eq!(moved.len(), step.balanced);
    assert!(moved.iter().all(|((_, theirs), new)| theirs.owner == new.owner));
}

#[test]
fn a_member_that_drains_keeps_its_claim_until_the_end_and_gets_back_what_it_had() {
    let mut plan = Plan {
        counter: 1,
        weights: (0..3).map(|id| (node(id), 1)).collect(),
        settled: 0,
        taken: None,
    };
    let old = Table::new(Buckets::Few).next(&plan);
    plan.counter = 2;
    plan.weights.insert(node(0), 0);
    let drained = old.next(&plan);
    assert_eq!(drained.drains().into_iter().collect::<Vec<_>>(), [2]);
    // Both others die: everything is node 0's again, and what it had is whole at once.
    let alone = Plan { counter: 3, weights: BTreeMap::from([(node(0), 1)]), ..plan.clone() };
    assert!(drained.next(&alone).buckets().iter().all(|bucket| !bucket.drains()));
    // Nobody has a weight: who had them keeps its connections.
    plan.counter = 3;
    plan.weights.values_mut().for_each(|weight| *weight = 0);
    let nobody = drained.next(&plan);
    assert!(nobody.buckets().iter().all(|bucket| bucket.owner.is_none() && bucket.drains()));
}

#[test]
fn any_bytes_are_tables_or_an_error() {
    let mut prng = Prng::new(5);
    let table = Table::new(Buckets::Few).next(&Plan {
        counter: 1,
        weights: (0..5).map(|id| (node(id), 1)).collect(),
        settled: 0,
        taken: None,
    });
    let good = parts(&[table]).remove(0);
    for _ in 0..50_000 {
        let mut bytes = good.clone();
        for _ in 0..=prng.below(3) {
            let at = prng.below(bytes.len() as u64) as usize;
            bytes[at] = prng.next_u64() as u8;
        }
        bytes.truncate(prng.below(2 * bytes.len() as u64) as usize);
        let mut assembly = Assembly::new(1, Buckets::Few);
        match assembly.add(&bytes) {
            Ok(()) => {
                if let Some(tables) = assembly.tables() {
                    let mut again = Assembly::new(1, Buckets::Few);
                    for part in parts(&tables) {
                        again.add(&part).unwrap();
                    }
                    assert_eq!(again.tables().unwrap(), tables);
                }
            }
            Err(_) => assert_eq!(assembly, Assembly::new(1, Buckets::Few)),
        }
    }
}

/// Pinned: what a released version wrote can be read for ever.
#[test]
fn golden_bytes() {
    let plan = |counter, ids: &[u8]| Plan {
        counter,
        weights: ids.iter().map(|&id| (node(id), 1)).collect(),
        settled: 0,
        taken: None,
    };
    let table = Table::new(Buckets::Few).next(&plan(1, &[0])).next(&plan(7, &[0, 2]));
    let bytes = [
        1, 8, 1, // version, 2^8 buckets, one service
        0, 0, 0, 1, 0, // service 0, from bucket 0, 256 of them
        0x40, 127, 2, 0, 0, 0, 0, 0, 0, 0, 0, 7, // 128 of node 2, before of node 0, view 7
        0, 127, 0, // 128 of node 0
    ];
    assert_eq!(parts(&[table]), [bytes]);
}
