//! What other schemes do with the same input: why this one is not theirs.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};

use ha_farm::{Buckets, Plan, Table};
use ha_proto::NodeId;

/// Maglev's population of a table (Eisenbud et al., NSDI 2016, section 3.4): backends take turns
/// at the next free entry of their own permutation, which an offset and a skip make.
fn maglev(backends: &[(usize, [usize; 2])], size: usize) -> Vec<usize> {
    let mut entries = vec![None; size];
    let mut next = vec![0; backends.len()];
    for turn in 0.. {
        if entries.iter().all(Option::is_some) {
            break;
        }
        let at = turn % backends.len();
        let (backend, [offset, skip]) = backends[at];
        let free = loop {
            let entry = (offset + next[at] * skip) % size;
            next[at] += 1;
            if entries[entry].is_none() {
                break entry;
            }
        };
        entries[free] = Some(backend);
    }
    entries.into_iter().flatten().collect()
}

#[test]
fn maglev_moves_an_entry_without_need_and_the_farms_table_does_not() {
    // Table 1 of the paper.
    let backends = [(0, [3, 4]), (1, [0, 2]), (2, [3, 1])];
    let before = maglev(&backends, 7);
    let after = maglev(&[backends[0], backends[2]], 7);
    assert_eq!(before, [1, 0, 1, 0, 2, 2, 0]);
    assert_eq!(after, [0, 0, 0, 0, 2, 2, 2]);
    let needless = before.iter().zip(&after).filter(|(old, new)| **old != 1 && old != new);
    assert_eq!(needless.count(), 1);

    let node = |id| NodeId::new(id).unwrap();
    let plan = |counter, ids: &[u8]| {
        let weights: BTreeMap<_, _> = ids.iter().map(|&id| (node(id), 1)).collect();
        Plan { counter, weights, settled: 0, taken: None }
    };
    for buckets in [Buckets::Few, Buckets::Many] {
        let before = Table::new(buckets).next(&plan(1, &[0, 1, 2]));
        let step = before.advance(&plan(2, &[0, 2]));
        let lost = before.shares()[&node(1)];
        assert_eq!((step.forced, step.balanced), (lost, 0));
        let pairs = before.buckets().iter().zip(step.table.buckets());
        assert_eq!(pairs.filter(|(old, new)| old.owner != new.owner).count(), lost);
    }
}

/// The hash of network cards (Microsoft, RSS hashing functions), with the key of the suite that
/// verifies it.
fn toeplitz(input: &[u8]) -> u32 {
    const KEY: [u8; 40] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
        0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];
    let set = |bit: usize, bytes: &[u8]| bytes[bit / 8] & 0x80 >> (bit % 8) != 0;
    let window =
        |from: usize| (from..from + 32).fold(0, |w, bit| w << 1 | u32::from(set(bit, &KEY)));
    (0..input.len() * 8).filter(|&bit| set(bit, input)).fold(0, |hash, bit| hash ^ window(bit))
}

#[test]
fn toeplitz_gives_the_published_numbers_and_can_be_aimed() {
    let addresses = [66, 9, 149, 187, 161, 142, 100, 80];
    let ports = [0x0a, 0xea, 0x06, 0xe6];
    assert_eq!(toeplitz(&addresses), 0x323e_8fc2);
    assert_eq!(toeplitz(&[&addresses[..], &ports].concat()), 0x51cc_c178);
    // It is linear: from a few hashes that somebody saw all others follow, without the key.
    let hash = |one: u8, other: u8| toeplitz(&[10, 0, one, other]);
    let mut differ = BTreeSet::new();
    for low in 0..=255 {
        assert_eq!(hash(7, low), hash(7, 0) ^ hash(0, low) ^ hash(0, 0));
        differ.insert(hash(0, low));
    }
    assert_eq!(differ.len(), 256);
}
