//! One thing changes in a farm of 2, 3 and 5: every bucket is taken again, by one member, in time.

use std::time::Duration;

use ha_core::farm::{Event, Order, Policy, Why};

use crate::rig::{Later, Rig, millis, node};

const BUCKETS: usize = 256;

/// A farm that has settled.
fn settled(nodes: usize) -> Rig {
    let mut rig = Rig::new(nodes);
    rig.run(millis(1_500));
    let shares = rig.shares();
    assert!(shares.iter().all(|&share| share.abs_diff(BUCKETS / nodes) <= 1), "{shares:?}");
    rig
}

#[test]
fn nodes_that_start_form_one_view_and_take_every_bucket() {
    for nodes in [2, 3, 5] {
        let rig = settled(nodes);
        let views: Vec<_> =
            rig.hosts.iter().map(|host| host.farm.as_ref().unwrap().view(rig.now)).collect();
        assert!(views.iter().all(|view| view.id == views[0].id && view.full), "{}", rig.show());
        assert_eq!(views[0].members.len(), nodes);
        let announcers = rig.hosts.iter().filter(|host| host.announces).count();
        assert_eq!(announcers, 1, "one member answers for the virtual address");
    }
}

#[test]
fn a_dead_host_is_replaced_within_d_and_a_few_milliseconds() {
    for nodes in [2, 3, 5] {
        for victim in 0..nodes {
            let mut rig = settled(nodes);
            rig.kill(victim);
            let mut spent = Duration::ZERO;
            while !rig.is_taken() {
                rig.run(millis(1));
                spent += millis(1);
                assert!(spent < millis(310), "{nodes} nodes without {victim}: {}", rig.show());
            }
            assert_eq!(rig.shares()[victim], 0);
        }
    }
}

#[test]
fn a_host_that_returns_gets_its_share_back() {
    for nodes in [2, 3, 5] {
        for victim in 0..nodes {
            let mut rig = settled(nodes);
            rig.kill(victim);
            rig.run(millis(1_000));
            rig.boot(victim);
            rig.run(millis(4_000));
            let shares = rig.shares();
            assert!(shares.iter().all(|&share| share.abs_diff(BUCKETS / nodes) <= 1), "{shares:?}");
        }
    }
}

#[test]
fn weights_change_the_shares() {
    let mut rig = settled(3);
    rig.order(2, Order::Weight { service: None, weight: 2 });
    rig.run(millis(300));
    assert_eq!(rig.shares(), [64, 64, 128]);
}

#[test]
fn a_drained_node_takes_no_new_clients_and_its_connections_end_in_their_time() {
    let mut rig = settled(3);
    rig.order(1, Order::Drain(true));
    rig.run(millis(300));
    assert_eq!(rig.shares(), [128, 0, 128]);
    let view = rig.hosts[0].farm.as_ref().unwrap().view(rig.now);
    assert!(!view.drains.is_empty(), "connections go on at their old server");
    rig.run(millis(2_500));
    let view = rig.hosts[0].farm.as_ref().unwrap().view(rig.now);
    assert!(view.drains.is_empty(), "the drain is over: {:?}", view.drains);
    rig.order(1, Order::Drain(false));
    rig.run(millis(3_000));
    assert_eq!(rig.shares().iter().sum::<usize>(), BUCKETS);
    assert!(rig.shares()[1] >= 85);
}

/// FG4: each move has its whole drain, though a view lists few of them.
#[test]
fn however_often_weights_change_no_drain_ends_early() {
    let mut rig =
        Rig::with(3, |_, policy| Policy { drain: millis(60_000), weights: vec![1_000], ..policy });
    rig.kill(2);
    rig.run(millis(130_000));
    assert!(rig.view(0).drains.is_empty());
    let mut first = None;
    for weight in (200..1_000).rev().step_by(10) {
        rig.order(1, Order::Weight { service: None, weight });
        rig.run(millis(200));
        first = first.or(rig.view(0).drains.keys().next().copied());
    }
    let first = first.expect("a change moves something");
    let still = |rig: &Rig, id: usize| rig.view(id).drains.contains_key(&first);
    assert!(rig.view(0).drains.len() > 64, "{}", rig.view(0).drains.len());
    assert!(still(&rig, 0) && still(&rig, 1));
    // Nor is any kept that no bucket has: there are no more than buckets.
    let table = |rig: &Rig, id: usize| rig.view(id).services[0].table.drains();
    assert!(rig.view(0).drains.into_keys().eq(table(&rig, 0)));
    // Who joins, and makes views from now on, knows of some by the view only.
    rig.boot(2);
    rig.hand_over(1, millis(5)).unwrap();
    rig.run(millis(30_000));
    assert!((0..3).all(|id| still(&rig, id)), "{}", rig.show());
    rig.run(millis(80_000));
    assert!((0..3).all(|id| !still(&rig, id)), "{}", rig.show());
    let drains = |id: usize| rig.view(id).drains.len();
    assert!((0..3).all(|id| drains(id) <= 1), "what the newcomer got moves");
    rig.order(0, Order::Drain(true));
    rig.run(millis(500));
    assert!(!rig.view(1).drains.is_empty());
    rig.kill(0);
    rig.run(millis(1_000));
    assert!(rig.view(1).drains.into_keys().eq(table(&rig, 1)), "a previous owner is gone");
}

#[test]
fn a_farm_that_was_split_heals() {
    let mut rig = settled(5);
    for one in 0..2 {
        for other in 2..5 {
            rig.cut.extend([(one, other), (other, one)]);
        }
    }
    rig.run(millis(1_000));
    let takers = rig.takers();
    assert!(takers.iter().all(|takers| takers.len() == 2), "each half serves everything");
    rig.cut.clear();
    rig.run(millis(705));
    assert_eq!(rig.shares().iter().sum::<usize>(), BUCKETS, "{}", rig.show());
    rig.run(millis(5_000));
    assert!(rig.shares().iter().all(|&share| share.abs_diff(BUCKETS / 5) <= 1));
}

#[test]
fn of_a_chain_one_end_stands_by_and_says_why() {
    let mut rig = settled(3);
    rig.cut.extend([(0, 1), (1, 0)]);
    rig.run(millis(1_500));
    assert_eq!(rig.shares(), [128, 0, 128], "{}", rig.show());
    let view = rig.hosts[1].farm.as_ref().unwrap().view(rig.now);
    assert!(matches!(view.why, Some(Why::LeftOut | Why::Yields(_))), "{:?}", view.why);
    assert!(!view.peers[&node(0)].heard, "the missing link is shown");
}

#[test]
fn a_node_whose_filter_cannot_be_written_is_left_out_until_it_can() {
    let mut rig = settled(3);
    rig.hosts[1].fails = true;
    rig.order(2, Order::Weight { service: None, weight: 2 });
    rig.run(millis(900));
    assert_eq!(rig.shares()[1], 0, "{}", rig.show());
    rig.hosts[1].fails = false;
    rig.run(millis(5_000));
    assert_eq!(rig.shares(), [64, 64, 128], "{}", rig.show());
}

#[test]
fn a_stopped_node_leaves_at_once() {
    let mut rig = settled(3);
    rig.order(0, Order::Stop { force: false });
    rig.run(millis(150));
    assert_eq!(rig.shares()[0], 0, "{}", rig.show());
    rig.order(0, Order::Start);
    rig.run(millis(4_000));
    assert!(rig.shares()[0] >= 85, "{}", rig.show());
}

#[test]
fn whose_tables_are_of_a_later_version_is_named_by_who_asked_for_them() {
    let mut rig = settled(3);
    rig.kill(2);
    rig.run(millis(1_000));
    rig.later.insert(0, Later::Tables);
    rig.boot(2);
    rig.run(millis(2_000));
    let told = [0, 1].map(|giver| rig.told(2, Event::Newer(node(giver))));
    assert_eq!(told, [1, 0], "{}", rig.show());
    assert_eq!(rig.told(1, Event::Newer(node(0))), 0, "nobody else asked");
    // It says that it is unable, and nothing is given to it.
    assert_eq!(rig.view(2).why, Some(Why::Newer(node(0))), "{}", rig.show());
    assert_eq!(rig.shares(), [128, 128, 0], "{}", rig.show());
    rig.later.clear();
    rig.kill(0);
    rig.boot(0);
    rig.run(millis(4_000));
    assert!(rig.shares().iter().all(|share| *share >= 85), "{}", rig.show());
}

/// Who makes views while the first one waits (F6) may be of a later version; it is soon not asked.
#[test]
fn a_moment_in_which_views_cannot_be_read_passes() {
    let mut rig = settled(3);
    rig.later.insert(1, Later::Views);
    rig.kill(0);
    rig.boot(0);
    rig.run(millis(4_000));
    assert!(rig.is_taken(), "{}", rig.show());
    assert!(rig.shares().iter().all(|share| *share >= 85), "{}", rig.show());
}

/// F2: the others would wait for ever for one that comes to no view, and nobody take what moved.
#[test]
fn who_cannot_read_the_views_of_another_one_is_left_out_until_that_one_is_gone() {
    let mut rig = settled(3);
    rig.later.insert(0, Later::Views);
    rig.order(1, Order::Weight { service: None, weight: 2 });
    rig.run(millis(1_000));
    assert_eq!(rig.shares(), [256, 0, 0], "{}", rig.show());
    for id in [1, 2] {
        assert_eq!(rig.told(id, Event::Newer(node(0))), 1, "{}", rig.show());
        assert_eq!(rig.view(id).why, Some(Why::Newer(node(0))), "{}", rig.show());
    }
    // Each can read what the other writes: the first one need not be gone, if it takes nothing.
    rig.hosts[0].fails = true;
    rig.order(0, Order::Weight { service: None, weight: 3 });
    rig.run(millis(2_000));
    assert_eq!(rig.shares()[0], 0, "{}", rig.show());
    assert!(rig.is_taken(), "{}", rig.show());
    rig.kill(0);
    rig.hosts[0].fails = false;
    rig.run(millis(1_000));
    assert_eq!(rig.shares().iter().sum::<usize>(), 256, "{}", rig.show());
    assert!(rig.shares()[1] > rig.shares()[2] && rig.shares()[2] > 0, "{}", rig.show());
    rig.later.clear();
    rig.boot(0);
    rig.run(millis(4_000));
    assert!(rig.is_taken() && rig.shares().iter().all(|share| *share > 0), "{}", rig.show());
}
