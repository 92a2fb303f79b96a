//! What members must agree on: rules, hash, key, mode; and orders about one member.

use std::time::Duration;

use ha_core::farm::{Event, Input, Order, OrderError, Output, Policy};
use ha_core::proto::wire::{Header, Keys, Kind, seal_long};
use ha_core::proto::{Boot, ClusterId, Epoch, LinkId, ModuleId};
use ha_farm::{Buckets, Filter, Hash};
use ha_heartbeat::group::Pull;

use crate::rig::{Rig, millis, node, rule};

const BUCKETS: usize = 256;

#[test]
fn who_does_not_agree_is_left_out_and_the_farm_goes_on() {
    let rules = |policy: Policy| Policy { rules: vec![rule(81)], ..policy };
    let key = |policy: Policy| Policy { hash: Hash::Sip { key: [8; 16] }, ..policy };
    let hash = |policy: Policy| Policy { hash: Hash::Jhash { seed: 7 }, ..policy };
    let buckets = |policy: Policy| Policy { buckets: Buckets::Many, ..policy };
    let drain = |policy: Policy| Policy { drain: millis(2_001), ..policy };
    let changes: [fn(Policy) -> Policy; 5] = [rules, key, hash, buckets, drain];
    for change in changes {
        for other in 0..3 {
            let change = |id, policy| if id == other { change(policy) } else { policy };
            let mut rig = Rig::with(3, change);
            rig.run(millis(2_000));
            let shares: Vec<_> =
                (0..3).map(|id| if id == other { 0 } else { BUCKETS / 2 }).collect();
            assert_eq!(rig.shares(), shares, "{}", rig.show());
            for id in (0..3).filter(|id| *id != other) {
                assert_eq!(rig.told(id, Event::Disagrees(node(other))), 1, "told once");
                assert!(!rig.view(id).peers[&node(other)].agrees);
            }
            assert!(rig.view(other).why.is_some(), "it takes nothing, and says why");
        }
    }
}

/// FG4: it would propose as soon as it joins, and what drains would be over by its word.
#[test]
fn a_member_of_a_shorter_drain_does_not_end_those_of_others() {
    let short = |id, policy: Policy| {
        let drain = if id == 0 { Duration::ZERO } else { policy.drain };
        Policy { drain, ..policy }
    };
    let mut rig = Rig::with(3, short);
    rig.kill(0);
    rig.run(millis(1_500));
    rig.order(2, Order::Weight { service: None, weight: 2 });
    rig.run(millis(300));
    let drains = |rig: &Rig| rig.view(1).drains.into_keys().collect::<Vec<_>>();
    let before = drains(&rig);
    assert!(!before.is_empty());
    rig.boot(0);
    rig.run(millis(1_000));
    assert_eq!(drains(&rig), before, "they have two seconds");
}

#[test]
fn rules_come_into_force_once_every_member_has_them() {
    let mut rig = Rig::new(3);
    rig.run(millis(1_500));
    let before = rig.takers();
    let order =
        |weight| Order::Rules { rules: vec![rule(443), rule(80)], weights: vec![weight, 1] };
    for id in [2, 0] {
        rig.order(id, order(1));
        rig.run(millis(500));
        assert_eq!(rig.view(id).services.len(), 1, "one of them has not heard of it");
        assert_eq!(rig.takers(), before);
    }
    rig.order(1, order(2));
    rig.run(millis(500));
    for id in 0..3 {
        assert_eq!(rig.told(id, Event::Rules), 1);
        assert_eq!(rig.view(id).services.len(), 2);
        assert_eq!(rig.view(id).why, None);
    }
    assert_eq!(rig.takers_of(1), before, "a rule that stays keeps its table");
    let mut shares = [0; 3];
    rig.takers_of(0).iter().for_each(|takers| shares[takers[0]] += 1);
    assert_eq!(shares, [64, 128, 64], "and a new one is given out by weight");
}

/// F1: what is taken, and stays one's own, goes on.
#[test]
fn a_service_that_stays_is_taken_all_the_time_while_others_come_and_go() {
    let mut rig = Rig::new(3);
    rig.run(millis(1_500));
    let takers = |rig: &Rig| {
        let takes = |id: usize, bucket: usize| {
            let filter = rig.hosts[id].filter.as_ref().unwrap();
            let place = filter.setup().rules.iter().position(|it| *it == rule(80)).unwrap();
            filter.words(place)[bucket] & Filter::TAKE != 0
        };
        let who = |bucket| (0..3).filter(|&id| takes(id, bucket)).collect::<Vec<_>>();
        (0..BUCKETS).map(who).collect::<Vec<_>>()
    };
    let before = takers(&rig);
    for ports in [[443, 80], [80, 8_080]] {
        let rules = || ports.map(rule).to_vec();
        for id in 0..3 {
            rig.order(id, Order::Rules { rules: rules(), weights: vec![1, 1] });
        }
        for step in 0..2_000 {
            rig.run(Duration::from_micros(100));
            assert_eq!(takers(&rig), before, "{ports:?} after {step}: {}", rig.show());
        }
        assert!((0..3).all(|id| rig.view(id).services.len() == 2 && rig.view(id).full));
    }
}

/// F7: a member tells its weights in the order of its services in force, and others come in between.
#[test]
fn a_weight_is_that_of_its_service_wherever_new_rules_put_it() {
    let begins = |id, policy: Policy| Policy {
        rules: vec![rule(80), rule(443)],
        weights: vec![1, u16::from(id != 2)],
        ..policy
    };
    let mut rig = Rig::with(3, begins);
    rig.run(millis(5_000));
    let before = rig.takers();
    for id in 0..3 {
        let rules = [22, 443, 80].map(rule).to_vec();
        rig.order(id, Order::Rules { rules, weights: vec![1, u16::from(id != 2), 1] });
    }
    rig.run(millis(500));
    assert!((0..3).all(|id| rig.told(id, Event::Rules) == 1));
    assert_eq!(rig.takers_of(2), before, "{}", rig.show());
    let still = |id: usize| rig.view(id).services[2].table.drains().is_empty();
    assert!((0..3).all(still), "nothing moved and came back");
}

#[test]
fn a_weight_that_is_ordered_while_rules_wait_stays() {
    let mut rig = Rig::new(3);
    rig.run(millis(1_500));
    let rules = || Order::Rules { rules: vec![rule(443), rule(80)], weights: vec![1, 1] };
    rig.order(2, rules());
    rig.order(2, Order::Weight { service: Some(0), weight: 2 });
    rig.order(1, rules());
    rig.order(1, Order::Weight { service: None, weight: 2 });
    rig.order(0, rules());
    rig.run(millis(10_000));
    let told = |service: usize| {
        let weights = rig.view(0).services[service].weights.clone();
        (0..3).map(|id| weights[&node(id)] / weights[&node(0)]).collect::<Vec<_>>()
    };
    assert_eq!(told(1), [1, 2, 2], "the service that it was ordered for");
    assert_eq!(told(0), [1, 2, 1], "and not the one that has its place in the new rules");
}

#[test]
fn rules_that_are_taken_back_while_they_come_into_force_are_waited_for_again() {
    let mut rig = Rig::new(2);
    rig.run(millis(1_500));
    let services = |rig: &Rig| [0, 1].map(|id| rig.view(id).services.len());
    let old = || Order::Rules { rules: vec![rule(80)], weights: vec![1] };
    let new = || Order::Rules { rules: vec![rule(443), rule(80)], weights: vec![1, 1] };
    rig.order(0, new());
    rig.order(1, new());
    rig.hosts[1].effects.clear();
    rig.hosts[1].held = Some(Vec::new());
    while !rig.hosts[1].effects.contains(&"filter") {
        rig.run(millis(1));
    }
    rig.order(1, old());
    rig.answer(1);
    rig.run(millis(500));
    assert_eq!(services(&rig), [2, 2], "the other one has not heard of that");
    rig.order(0, old());
    rig.run(millis(500));
    assert_eq!(services(&rig), [1, 1], "{}", rig.show());
}

#[test]
fn a_closed_gate_and_a_checker_that_fails_drain() {
    let mut rig = Rig::new(3);
    rig.run(millis(1_500));
    for (off, on) in [
        (Order::Gate(false), Order::Gate(true)),
        (Order::Checker { ok: false, cut: false }, Order::Checker { ok: true, cut: false }),
        (Order::Checker { ok: false, cut: true }, Order::Checker { ok: true, cut: true }),
        (Order::Weight { service: Some(0), weight: 0 }, Order::Weight { service: None, weight: 1 }),
    ] {
        rig.hosts[1].effects.clear();
        let cut = matches!(off, Order::Checker { cut: true, .. });
        rig.order(1, off);
        rig.run(millis(300));
        assert_eq!(rig.shares(), [128, 0, 128], "{on:?}");
        assert_eq!(rig.hosts[1].effects.contains(&"reset"), cut);
        rig.order(1, on);
        rig.run(millis(5_000));
        let shares = rig.shares();
        assert!(shares.iter().all(|&share| share.abs_diff(BUCKETS / 3) <= 1), "{shares:?}");
    }
}

#[test]
fn orders_that_cannot_be_are_refused_and_change_nothing() {
    let mut rig = Rig::new(2);
    rig.run(millis(1_500));
    let now = rig.now;
    let farm = rig.hosts[0].farm.as_mut().unwrap();
    let before = farm.view(now);
    let order = Order::Weight { service: Some(1), weight: 2 };
    assert_eq!(farm.order(now, order), Err(OrderError::NoService(1)));
    assert!(farm.order(now, Order::Weight { service: None, weight: 1_001 }).is_err());
    assert!(farm.order(now, Order::Rules { rules: vec![], weights: vec![] }).is_err());
    let rules = Order::Rules { rules: vec![rule(1)], weights: vec![1, 1] };
    assert!(farm.order(now, rules).is_err());
    assert_eq!(farm.view(now), before);
}

#[test]
fn tables_are_given_to_the_process_that_runs_and_in_parts_that_fit() {
    let mut rig = Rig::new(2);
    rig.run(millis(1_500));
    let id = rig.view(0).id.unwrap();
    let pull = |boot| {
        let header = Header {
            kind: Kind::Pull,
            sender: node(1),
            flags: 0,
            cluster: ClusterId(1),
            module: ModuleId(1),
            waited: 0,
            epoch: Epoch::NONE,
            sequence: 0,
            echo: 0,
        };
        let mut body = Vec::new();
        Pull { boot, id, part: 0, count: 16 }.encode(&mut body);
        seal_long(&header, &body, &Keys::insecure())
    };
    let boot = rig.view(0).peers[&node(1)].boot.unwrap();
    let now = rig.now;
    let mut given = Vec::new();
    for boot in [Boot(boot.0 ^ 1), boot] {
        let farm = rig.hosts[0].farm.as_mut().unwrap();
        let bytes = pull(boot);
        farm.handle_input(now, Input::Datagram { link: LinkId(1), bytes: &bytes });
        let mut parts = 0;
        while let Some(output) = farm.poll_output() {
            if let Output::Transmit { link, to, datagram } = output {
                assert_eq!((link, to), (LinkId(1), node(1)), "by the link on which it asked");
                assert!(datagram.len() <= 1_200);
                parts += 1;
            }
        }
        given.push(parts);
    }
    assert_eq!(given[0], 0, "a recording of an older process is not answered");
    assert!(given[1] > 0);
}
