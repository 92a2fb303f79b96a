//! What a host, an operator or another member does wrong: the farm serves on with what agrees.

use std::time::Duration;

use ha_core::farm::{Config, Farm, Order, Policy, Timing};
use ha_core::proto::Boot;
use ha_core::proto::wire::Keys;
use ha_farm::{Mac, Mode};

use crate::rig::{Rig, millis, node, policy, rule};

/// F7, `reset`: clients that are cut come back at once, and must not come back here.
#[test]
fn connections_are_cut_once_new_ones_go_elsewhere() {
    let mut rig = Rig::new(2);
    rig.run(millis(1_500));
    rig.hosts[1].effects.clear();
    rig.order(1, Order::Checker { ok: false, cut: true });
    if rig.hosts[1].effects.contains(&"reset") {
        let still = rig.takers().iter().filter(|takers| takers.contains(&1)).count();
        assert_eq!(still, 0, "who is cut and comes back gets the failed server again");
    }
    rig.run(millis(1_000));
    assert!(rig.hosts[1].effects.contains(&"reset"), "they are cut");
}

/// Bad input: the farm keeps serving with what still agrees.
#[test]
fn two_members_with_one_mac_do_not_end_the_farm() {
    let mut rig = Rig::with(3, |id, policy| {
        let mac = Some(Mac([2, 0, 0, 0, 0, if id == 2 { 1 } else { id as u8 }]));
        Policy { mode: Mode::Directed, mac, ..policy }
    });
    rig.run(millis(5_000));
    let taken = rig.takers().iter().filter(|takers| !takers.is_empty()).count();
    assert!(rig.is_taken(), "{taken} buckets are taken at all: {}", rig.show());
}

fn directed(nodes: usize) -> Rig {
    Rig::with(nodes, |id, policy| Policy { mode: Mode::Directed, mac: Some(mac(id)), ..policy })
}

/// One member and the others, which have never met.
fn apart(nodes: usize, one: usize) -> Rig {
    let mut rig = directed(nodes);
    let others = (0..nodes).filter(|id| *id != one);
    rig.cut.extend(others.flat_map(|id| [(one, id), (id, one)]));
    rig.run(millis(1_500));
    rig
}

fn mac(id: usize) -> Mac {
    Mac([2, 0, 0, 0, 0, id as u8])
}

/// Whether a member's kernel takes, and would hand on what another one handed to it.
fn takes_for_a_client(rig: &Rig, id: usize, other: usize) -> bool {
    let open = rig.hosts[id].until.is_some_and(|until| rig.now < until);
    let filter = rig.hosts[id].filter.as_ref().filter(|_| open);
    filter.is_some_and(|filter| !filter.setup().macs.values().any(|known| *known == mac(other)))
}

/// F9: nobody hands frames to a member that has not said that it hears it.
#[test]
fn a_kernel_knows_the_address_of_whoever_is_told_that_it_is_heard() {
    let mut rig = apart(4, 3);
    assert!(takes_for_a_client(&rig, 1, 3), "they have never met");
    rig.cut.clear();
    let mut met = false;
    while !met {
        rig.run(Duration::from_micros(100));
        let told = |&id: &usize| rig.view(3).peers[&node(id)].linked;
        let mut told = (0..3).filter(told);
        assert!(!told.any(|id| takes_for_a_client(&rig, id, 3)), "{}", rig.show());
        met = (0..4).all(|id| rig.view(id).members.len() == 4);
    }
}

/// FG4: what serves goes on by the filter that it has.
#[test]
fn a_write_that_fails_for_an_address_alone_puts_nobody_out() {
    let mut rig = apart(3, 2);
    rig.cut.clear();
    rig.cut.extend([(0, 2), (1, 2)]);
    rig.hosts[0].effects.clear();
    rig.hosts[0].fails = true;
    while !rig.hosts[0].effects.contains(&"filter") {
        rig.run(Duration::from_micros(100));
    }
    rig.hosts[0].fails = false;
    assert_eq!(rig.view(0).why, None);
    rig.run(millis(200));
    assert_eq!(rig.view(0).why, None, "{}", rig.show());
    assert!(!takes_for_a_client(&rig, 0, 2), "it is tried again");
}

/// A kernel is told of all that are new at once, with the beat that tells them.
#[test]
fn many_that_are_heard_again_cost_few_writes() {
    const ALL: usize = 16;
    let mut rig = apart(ALL, 0);
    rig.cut.clear();
    rig.hosts[0].effects.clear();
    let whole = |rig: &Rig| rig.view(0).full && rig.view(0).members.len() == ALL;
    while !whole(&rig) {
        rig.run(millis(1));
    }
    let writes = rig.hosts[0].effects.iter().filter(|effect| **effect == "filter").count();
    assert!(writes <= 6, "{writes}");
}

/// F9: others hand frames on by views of before, for a while.
#[test]
fn who_restarts_is_told_the_address_of_whom_it_does_not_hear() {
    let mut rig = directed(3);
    rig.run(millis(1_500));
    rig.kill(0);
    rig.cut.extend([(0, 2), (2, 0), (1, 2), (2, 1)]);
    rig.boot(0);
    let takes = |rig: &Rig| rig.view(0).why.is_none();
    while !takes(&rig) {
        rig.run(Duration::from_micros(100));
    }
    let view = rig.view(0);
    let members: Vec<_> = view.members.keys().copied().collect();
    assert_eq!((members, view.id.unwrap().coordinator), (vec![node(0), node(1)], node(1)));
    assert!(!takes_for_a_client(&rig, 0, 2), "{}", rig.show());
    // Whoever makes the next one has not heard of it, either.
    rig.order(0, Order::Drain(true));
    rig.run(millis(1_000));
    assert_eq!(rig.view(1).id.unwrap().coordinator, node(0));
    assert!(!takes_for_a_client(&rig, 0, 2) && !takes_for_a_client(&rig, 1, 2));
}

/// `Farm`: "Any order of calls is legal."
#[test]
fn rules_may_change_twice_before_the_kernel_has_answered() {
    let mut rig = Rig::new(2);
    rig.run(millis(1_500));
    let rules = |ports: &[u16]| Order::Rules {
        rules: ports.iter().map(|&port| rule(port)).collect(),
        weights: vec![1; ports.len()],
    };
    rig.order(1, rules(&[80, 81, 82]));
    rig.run(millis(300));
    let now = rig.now;
    let farm = rig.hosts[0].farm.as_mut().unwrap();
    farm.order(now, rules(&[80, 81, 82])).unwrap();
    farm.order(now, rules(&[80, 83])).unwrap();
    rig.perform(0);
    rig.run(millis(2_000));
    assert_eq!(rig.view(0).services.len(), rig.view(1).services.len());
    assert!(rig.is_taken(), "{}", rig.show());
}

/// Bad input: a member id twice. The third machine was given the second one's id; it hears the
/// second one's beats, and knows.
#[test]
fn a_member_id_twice_leaves_each_bucket_to_one() {
    let mut rig = Rig::new(3);
    let config = rig.config(1);
    assert_eq!(policy().rules.len(), 1);
    rig.hosts[2].farm = Some(Farm::new(config, Keys::insecure(), Boot(999), rig.now));
    rig.perform(2);
    rig.run(millis(5_000));
    assert!(rig.is_taken(), "bucket 0 is taken by {:?}: {}", rig.takers()[0], rig.show());
}

/// A lease that cannot be written: others are to take what this kernel takes no more.
#[test]
fn who_cannot_write_its_lease_does_not_say_that_it_takes() {
    let mut rig = Rig::new(3);
    rig.run(millis(1_500));
    rig.hosts[1].unleased = true;
    rig.run(millis(3_000));
    let nobodys = rig.takers().iter().filter(|takers| takers.is_empty()).count();
    assert_eq!(nobodys, 0, "buckets that nobody takes: {}", rig.show());
}

/// F5 holds by the D of whoever takes over: it is told to nobody, and no part of the accord.
#[test]
fn members_of_other_intervals_do_not_take_one_bucket_twice() {
    let mut rig = Rig::new(2);
    let old = rig.config(1);
    let timing = Timing {
        interval: millis(1_000),
        lease: millis(1_800),
        slack: millis(750),
        ..Timing::default()
    };
    let config = Config::new(*old.identity(), timing, old.policy().clone()).unwrap();
    rig.hosts[1].farm = Some(Farm::new(config, Keys::insecure(), Boot(999), rig.now));
    rig.perform(1);
    let mut twice = 0;
    for _ in 0..3_000 {
        rig.run(millis(10));
        twice += u32::from(rig.takers().iter().any(|takers| takers.len() > 1));
    }
    assert_eq!(twice, 0, "of 3,000 looks: {}", rig.show());
}

/// As in `ha-heartbeat/tests/group/unobtainable.rs`, from the start: 0 and 1 are a farm, 2 hears only 0 of
/// them and follows, 3 serves alone. 2 and 3 find each other, then 0 and 1 die.
#[test]
fn who_followed_a_view_of_the_dead_goes_on_with_others() {
    let (done, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut rig = Rig::new(4);
        let both = |rig: &mut Rig, one, other, cut: bool| {
            for pair in [(one, other), (other, one)] {
                if cut {
                    rig.cut.insert(pair)
                } else {
                    rig.cut.remove(&pair)
                };
            }
        };
        for (one, other) in [(1, 2), (0, 3), (1, 3), (2, 3)] {
            both(&mut rig, one, other, true);
        }
        rig.run(millis(2_000));
        // The view that 2 follows is newer than that of 3.
        for weight in 2..6 {
            rig.order(0, Order::Weight { service: None, weight });
            rig.run(millis(200));
        }
        both(&mut rig, 2, 3, false);
        rig.run(millis(400));
        println!("{}", rig.show());
        rig.kill(0);
        rig.kill(1);
        rig.run(millis(2_000));
        println!("{}", rig.show());
        done.send(rig.is_taken())
    });
    let taken = end.recv_timeout(std::time::Duration::from_secs(20));
    assert_eq!(taken, Ok(true), "the node never comes back from an input");
}

/// FG1: a member that does not hear another one cannot install the view by which a third one, which
/// did not hear it, took what it takes.
#[test]
fn who_cannot_follow_lets_go_of_what_others_have_taken() {
    let mut rig = Rig::new(4);
    rig.run(millis(1_500));
    rig.shares();
    rig.cut.insert((3, 1));
    rig.run(millis(60));
    rig.cut.insert((1, 2));
    // A view is made just before the others are told that one of its members does not hear another.
    let heard = rig.view(1).peers[&node(3)].last.unwrap();
    rig.run((heard + Duration::from_micros(299_700)).saturating_since(rig.now));
    rig.order(2, Order::Weight { service: None, weight: 2 });
    // Nor by its next beat.
    rig.cut.insert((1, 0));
    rig.run(millis(50));
    rig.cut.remove(&(1, 0));
    let doubly = |rig: &Rig| rig.takers().iter().any(|takers| takers.len() > 1);
    let mut waited = 0;
    while !doubly(&rig) {
        rig.run(millis(1));
        waited += 1;
        assert!(waited < 1_000, "nothing was taken across the cut: {}", rig.show());
    }
    rig.cut.remove(&(1, 2));
    let both = |rig: &Rig| {
        let sees = |one: usize, other: usize| rig.view(one).peers[&node(other)].linked;
        sees(1, 2) && sees(2, 1)
    };
    while !both(&rig) {
        rig.run(millis(1));
        waited += 1;
        assert!(waited < 1_000, "they are never linked: {}", rig.show());
    }
    rig.run(millis(205));
    assert!(both(&rig) && !doubly(&rig), "{}", rig.show());
}
