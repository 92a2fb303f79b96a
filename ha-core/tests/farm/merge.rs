//! Two groups that could not hear each other become one (F7: who takes a bucket keeps it).

use ha_core::farm::Order;
use ha_farm::Buckets;

use crate::rig::{Rig, millis};

fn split(nodes: usize, at: usize) -> Rig {
    let mut rig = Rig::new(nodes);
    rig.run(millis(1_500));
    for one in 0..at {
        for other in at..nodes {
            rig.cut.extend([(one, other), (other, one)]);
        }
    }
    rig.run(millis(1_500));
    assert!(rig.takers().iter().all(|takers| takers.len() == 2), "each group serves everything");
    rig
}

#[test]
fn a_surplus_bucket_goes_to_a_member_that_takes_it_already() {
    // All 256 where it can be: every bucket is taken by one of the joining group. Of three and two,
    // what one of the two still misses may be left with an owner that has nothing more to give: F7
    // asks for the first choice, bucket by bucket, and for no best matching.
    for (nodes, at, least) in [(2, 1, 256), (4, 2, 256), (5, 2, 218), (5, 4, 256)] {
        let mut rig = split(nodes, at);
        let before = rig.takers();
        rig.cut.clear();
        let mut gap = 0;
        for _ in 0..800 {
            rig.run(millis(1));
            gap += usize::from(rig.takers().iter().any(Vec::is_empty));
        }
        // A member that yields before the others propose waits for the next view, at most i later.
        assert!(gap <= 110, "{nodes} nodes, {at} apart: no taker for {gap} ms");
        for when in ["at once", "once nothing drains"] {
            let now = rig.takers();
            let kept = now.iter().zip(&before).filter(|(new, old)| old.contains(&new[0])).count();
            println!("{nodes} nodes, {at} apart: {kept} kept {when}, no taker for {gap} ms");
            assert!(kept >= least, "{nodes} nodes: {kept} stay where they were, {when}");
            rig.run(millis(8_000));
        }
        let (shares, fair) = (rig.shares(), Buckets::Few.count() / nodes);
        assert!(shares.iter().all(|share| share.abs_diff(fair) <= 1), "{shares:?}");
    }
}

#[test]
fn two_groups_that_meet_take_no_bucket_twice_for_long() {
    let mut rig = split(5, 2);
    rig.cut.clear();
    // They are linked after a beat of each; FG1: 2 i + r later no bucket is taken twice.
    rig.run(millis(100 + 205));
    for _ in 0..1_000 {
        let twice = rig.takers().iter().position(|takers| takers.len() > 1);
        assert_eq!(twice, None, "{}", rig.show());
        rig.run(millis(1));
    }
}

/// The tables of others may be older than all of one's own: one and the other of them are needed.
#[test]
fn tables_of_two_groups_that_stood_still_are_kept_until_they_are_one() {
    let mut rig = Rig::new(5);
    rig.run(millis(1_500));
    let group = [0, 1, 1, 2, 2];
    for (one, other) in (0..5).flat_map(|one| (0..5).map(move |other| (one, other))) {
        if group[one] != group[other] {
            rig.cut.insert((one, other));
        }
    }
    rig.run(millis(1_000));
    for turn in 0..14 {
        rig.order(0, Order::Drain(turn % 2 == 0));
        if turn < 4 {
            rig.order(3, Order::Drain(turn % 2 == 0));
        }
        rig.run(millis(200));
    }
    rig.cut.clear();
    rig.run(millis(2_000));
    assert!(rig.is_taken(), "{}", rig.show());
    assert_eq!(rig.view(0).members.len(), 5);
}
