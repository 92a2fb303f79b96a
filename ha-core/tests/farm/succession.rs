//! F6: one process of a member after the other, each of which goes on where the last one stopped.

use ha_core::farm::{Event, Order, Void, Why};

use crate::rig::{Rig, millis};

fn settled(nodes: usize) -> Rig {
    let mut rig = Rig::new(nodes);
    rig.run(millis(1_500));
    rig.shares();
    rig
}

fn view(rig: &Rig, id: usize) -> ha_core::farm::View {
    rig.hosts[id].farm.as_ref().unwrap().view(rig.now)
}

#[test]
fn a_rolling_restart_moves_no_bucket_and_closes_no_filter() {
    let mut rig = settled(3);
    let (takers, id) = (rig.takers(), view(&rig, 0).id);
    for next in [0, 1, 2, 0] {
        let before = view(&rig, next).peers;
        rig.hand_over(next, millis(20)).unwrap();
        assert_eq!(rig.takers(), takers, "the kernel goes on meanwhile");
        let effects = &rig.hosts[next].effects;
        let closes = effects.iter().any(|effect| ["shut", "filter", "start"].contains(effect));
        assert!(!closes, "{effects:?}");
        let resumed = rig.hosts[next].events.iter().any(|e| matches!(e, Event::Resumed { .. }));
        assert!(resumed);
        rig.run(millis(1_000));
        let after = view(&rig, next);
        assert_eq!((after.id, after.why), (id, None), "{}", rig.show());
        assert!(before.iter().all(|(node, peer)| after.peers[node].boot == peer.boot));
        assert_eq!(rig.takers(), takers);
    }
    let announcers = rig.hosts.iter().filter(|host| host.announces).count();
    assert_eq!(announcers, 1);
}

#[test]
fn what_was_ordered_and_what_drains_goes_on() {
    let mut rig = settled(3);
    rig.order(1, Order::Weight { service: None, weight: 2 });
    rig.run(millis(300));
    rig.order(2, Order::Drain(true));
    rig.run(millis(300));
    let drains = view(&rig, 1).drains;
    assert!(!drains.is_empty());
    for id in [1, 2] {
        rig.hand_over(id, millis(10)).unwrap();
    }
    rig.run(millis(500));
    assert_eq!(view(&rig, 1).drains.keys().collect::<Vec<_>>(), drains.keys().collect::<Vec<_>>());
    assert!(view(&rig, 2).drained);
    assert_eq!(rig.shares()[2], 0);
    rig.run(millis(3_000));
    assert!(view(&rig, 1).drains.is_empty(), "they end in their time");
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
    let left = view(&rig, 1).lease;
    rig.hand_over(1, left - millis(1)).unwrap();
    assert_eq!(view(&rig, 1).why, Some(Why::Gap), "F6");
    assert_eq!(rig.hosts[1].until, None, "its filter is shut");
    rig.run(millis(3_000));
    assert!(rig.shares()[1] >= 85, "{}", rig.show());
}

#[test]
fn a_baton_of_another_node_or_other_rules_is_refused() {
    let mut rig = settled(2);
    rig.hosts[0].policy.rules[0].ports = 81..=81;
    assert_eq!(rig.hand_over(0, millis(1)), Err(Void::Config));
    let mut rig = settled(2);
    let baton = rig.hosts[0].farm.as_mut().unwrap().hand_over(rig.now).unwrap();
    let keys = ha_core::proto::wire::Keys::insecure();
    let other = ha_core::farm::Farm::adopt(rig.config(1), keys, &baton, rig.now);
    assert_eq!(other.err(), Some(Void::Stranger));
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
