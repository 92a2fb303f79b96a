//! F6: one process of a member after the other, each of which goes on where the last one stopped.

use ha_core::farm::{Event, Order, Timing, Void, Why};
use ha_farm::Hash;

use crate::rig::{Rig, millis, node, rule};

fn settled(nodes: usize) -> Rig {
    let mut rig = Rig::new(nodes);
    rig.run(millis(1_500));
    rig.shares();
    rig
}

#[test]
fn a_rolling_restart_moves_no_bucket_and_closes_no_filter() {
    let mut rig = settled(3);
    let (takers, id) = (rig.takers(), rig.view(0).id);
    for next in [0, 1, 2, 0] {
        let before = rig.view(next).peers;
        rig.hand_over(next, millis(20)).unwrap();
        assert_eq!(rig.takers(), takers, "the kernel goes on meanwhile");
        let effects = &rig.hosts[next].effects;
        let closes = effects.iter().any(|effect| ["shut", "filter", "start"].contains(effect));
        assert!(!closes, "{effects:?}");
        let resumed = rig.hosts[next].events.iter().any(|e| matches!(e, Event::Resumed { .. }));
        assert!(resumed);
        rig.run(millis(1_000));
        let after = rig.view(next);
        assert_eq!((after.id, after.why), (id, None), "{}", rig.show());
        assert!(before.iter().all(|(node, peer)| after.peers[node].boot == peer.boot));
        assert_eq!(rig.takers(), takers);
    }
    let announcers = rig.hosts.iter().filter(|host| host.announces).count();
    assert_eq!(announcers, 1);
}

#[test]
fn a_beat_that_is_asked_for_renews_the_lease_between_two_others() {
    let mut rig = settled(3);
    rig.run(millis(40));
    let (takers, sent) = (rig.takers(), rig.sent.len());
    assert!(rig.view(1).lease < Timing::default().lease);
    rig.beat(1);
    assert_eq!(rig.view(1).lease, Timing::default().lease);
    assert_eq!(rig.sent.len(), sent + 4, "two others hear of it, by two links");
    rig.hand_over(1, millis(170)).unwrap();
    assert_eq!((rig.view(1).why, rig.takers()), (None, takers));
}

#[test]
fn what_was_ordered_and_what_drains_goes_on() {
    let mut rig = settled(3);
    rig.order(1, Order::Weight { service: None, weight: 2 });
    rig.run(millis(300));
    rig.order(2, Order::Drain(true));
    rig.run(millis(300));
    let drains = rig.view(1).drains;
    assert!(!drains.is_empty());
    for id in [1, 2] {
        rig.hand_over(id, millis(10)).unwrap();
    }
    rig.run(millis(500));
    assert_eq!(rig.view(1).drains.keys().collect::<Vec<_>>(), drains.keys().collect::<Vec<_>>());
    assert!(rig.view(2).drained);
    assert_eq!(rig.shares()[2], 0);
    rig.run(millis(3_000));
    assert!(rig.view(1).drains.is_empty(), "they end in their time");
    let shares = rig.shares();
    assert!(shares[1].abs_diff(shares[0] * 2) <= 2, "{shares:?}");
}

#[test]
fn too_late_a_process_starts_anew() {
    let mut rig = settled(3);
    assert_eq!(rig.hand_over(1, millis(200)), Err(Void::Late), "its lease has ended");
    rig.boot(1);
    assert_eq!(rig.hosts[1].effects.last(), Some(&"start"));
    rig.run(millis(4_000));
    assert!(rig.shares()[1] >= 85);
}

#[test]
fn a_process_that_takes_longer_than_the_slack_has_paused() {
    let mut rig = settled(3);
    // Its beat was due within 100 ms; the lease runs for 180 ms after the last one.
    rig.run(millis(1));
    let left = rig.view(1).lease;
    rig.hand_over(1, left.saturating_sub(millis(1))).unwrap();
    assert_eq!(rig.view(1).why, Some(Why::Gap), "F6");
    assert_eq!(rig.hosts[1].until, None, "its filter is shut");
    rig.run(millis(3_000));
    assert!(rig.shares()[1] >= 85, "{}", rig.show());
}

#[test]
fn a_baton_of_another_node_or_another_hash_is_refused() {
    let mut rig = settled(2);
    rig.hosts[0].policy.hash = Hash::Sip { key: [8; 16] };
    assert_eq!(rig.hand_over(0, millis(1)), Err(Void::Config));
    let mut rig = settled(2);
    let baton = rig.hosts[0].farm.as_mut().unwrap().hand_over(rig.now).unwrap();
    let keys = ha_core::proto::wire::Keys::insecure();
    let other = ha_core::farm::Farm::adopt(rig.config(1), keys, &baton, rig.now);
    assert_eq!(other.err(), Some(Void::Stranger));
}

/// A file with a second service, as an order that a reload gives.
fn reload(rig: &mut Rig, id: usize) {
    let policy = &mut rig.hosts[id].policy;
    (policy.rules, policy.weights) = (vec![rule(443), rule(80)], vec![1, 1]);
    let (rules, weights) = (policy.rules.clone(), policy.weights.clone());
    rig.order(id, Order::Rules { rules, weights });
    rig.run(millis(300));
}

fn services(rig: &Rig, id: usize) -> usize {
    rig.view(id).services.len()
}

/// A process goes on, and nobody notices.
fn replaced(rig: &mut Rig, id: usize) {
    let (takers, view) = (rig.takers(), rig.view(id).id);
    rig.hand_over(id, millis(20)).unwrap();
    rig.run(millis(500));
    let effects = &rig.hosts[id].effects;
    let closes = effects.iter().any(|effect| ["shut", "filter", "start"].contains(effect));
    assert!(!closes, "{effects:?}");
    assert_eq!((rig.view(id).id, rig.view(id).why), (view, None), "{}", rig.show());
    assert_eq!(rig.takers(), takers);
}

#[test]
fn services_that_wait_for_the_others_wait_on_in_the_next_process() {
    let mut rig = settled(3);
    let before = rig.takers();
    for id in [0, 2] {
        reload(&mut rig, id);
        replaced(&mut rig, id);
        // And so in the one after that.
        replaced(&mut rig, id);
        assert_eq!(services(&rig, id), 1, "one of them has not heard of it");
    }
    // The last one restarts with its old file: whoever else waits goes on waiting.
    replaced(&mut rig, 1);
    assert_eq!((services(&rig, 0), services(&rig, 2)), (1, 1));
    reload(&mut rig, 1);
    assert_eq!([0, 1, 2].map(|id| (services(&rig, id), rig.view(id).why)), [(2, None); 3]);
    assert_eq!(rig.takers_of(1), before, "a rule that stays keeps its table");
    (0..3).for_each(|id| replaced(&mut rig, id));
}

#[test]
fn a_file_that_nobody_reloaded_counts_as_reloaded_by_the_next_process() {
    let mut rig = settled(2);
    rig.hosts[0].policy.rules = vec![rule(80), rule(443)];
    rig.hosts[0].policy.weights = vec![1, 1];
    replaced(&mut rig, 0);
    assert_eq!(services(&rig, 0), 1);
    // It was put back.
    (rig.hosts[0].policy.rules, rig.hosts[0].policy.weights) = (vec![rule(80)], vec![1]);
    replaced(&mut rig, 0);
    let rules = vec![rule(80), rule(443)];
    rig.order(1, Order::Rules { rules, weights: vec![1, 1] });
    rig.run(millis(500));
    assert_eq!((services(&rig, 0), services(&rig, 1)), (1, 1), "one of them has it no more");
}

#[test]
fn weights_of_services_that_wait_are_handed_over_too() {
    let mut rig = settled(2);
    reload(&mut rig, 0);
    // In force, and where it has its place among those that wait.
    rig.order(0, Order::Weight { service: Some(0), weight: 3 });
    rig.run(millis(300));
    let weight = |rig: &Rig, service: usize| {
        let weights = &rig.view(0).services[service].weights;
        weights[&node(0)] / weights[&node(1)]
    };
    rig.hand_over(0, millis(20)).unwrap();
    rig.run(millis(500));
    assert_eq!(weight(&rig, 0), 3);
    reload(&mut rig, 1);
    assert_eq!([0, 1].map(|service| weight(&rig, service)), [1, 3], "what was ordered stays");
    rig.hand_over(0, millis(20)).unwrap();
    rig.run(millis(500));
    assert_eq!([0, 1].map(|service| weight(&rig, service)), [1, 3], "its file says what it did");
    rig.hosts[0].policy.weights = vec![2, 2];
    rig.hand_over(0, millis(20)).unwrap();
    rig.run(millis(500));
    assert_eq!([0, 1].map(|service| weight(&rig, service)), [2, 2], "and now another thing");
}

#[test]
fn who_takes_nothing_has_nothing_to_hand_over() {
    let mut rig = Rig::new(2);
    let farm = rig.hosts[0].farm.as_mut().unwrap();
    assert_eq!(farm.hand_over(rig.now), None);
    rig.run(millis(1_500));
    rig.order(0, Order::Stop { force: false });
    let farm = rig.hosts[0].farm.as_mut().unwrap();
    assert_eq!(farm.hand_over(rig.now), None);
}

#[test]
fn spoiled_bytes_are_refused_or_gone_on_with() {
    let mut rig = settled(2);
    let baton = rig.hosts[0].farm.as_mut().unwrap().hand_over(rig.now).unwrap();
    let mut bytes = Vec::new();
    baton.encode(&mut bytes);
    let mut prng = ha_core::proto::Prng::new(7);
    let (mut refused, mut adopted) = (0, 0);
    for _ in 0..4_000 {
        let mut spoiled = bytes.clone();
        let at = prng.below(bytes.len() as u64) as usize;
        spoiled[at] ^= 1 << prng.below(8);
        let Ok(read) = ha_core::farm::Baton::decode(&spoiled) else {
            refused += 1;
            continue;
        };
        let mut again = Vec::new();
        read.encode(&mut again);
        assert_eq!(again, spoiled, "byte {at}");
        let keys = ha_core::proto::wire::Keys::insecure();
        let farm = ha_core::farm::Farm::adopt(rig.config(0), keys, &read, rig.now);
        adopted += u32::from(farm.is_ok());
    }
    assert!(refused > 100 && adopted > 100, "{refused} refused, {adopted} adopted");
}
