//! The contract's paragraph "Time", in virtual time: i = 100, D = 300, F = 180 ms.

use ha_core::farm::{Event, Why};

use crate::rig::{Rig, millis, policy};

const BUCKETS: usize = 256;

/// Steps of a millisecond until each bucket is taken once; never by two on the way.
fn until_taken(rig: &mut Rig, most: u64) -> u64 {
    for spent in 0..=most {
        let takers = rig.takers();
        let twice = takers.iter().position(|takers| takers.len() > 1);
        assert_eq!(twice, None, "FG1: a bucket is taken twice after {spent} ms: {}", rig.show());
        if takers.iter().all(|takers| takers.len() == 1) {
            return spent;
        }
        rig.run(millis(1));
    }
    panic!("not taken after {most} ms: {}", rig.show());
}

#[test]
fn a_dead_daemons_buckets_are_taken_305_ms_after_its_last_beat() {
    for nodes in [2, 3, 5] {
        for victim in 0..nodes {
            for phase in [0, 33, 99] {
                let mut rig = Rig::new(nodes);
                rig.run(millis(1_500 + phase));
                rig.shares();
                rig.kill_daemon(victim);
                let mut closed = 0;
                while rig.takers().iter().any(|takers| takers.contains(&victim)) {
                    rig.run(millis(1));
                    closed += 1;
                    assert!(closed <= 180, "F5: its filter closes by itself");
                }
                let spent = closed + until_taken(&mut rig, 305 - closed);
                assert!(spent > 180, "no other takes while its filter may");
                assert_eq!(rig.shares()[victim], 0, "{nodes} nodes without {victim}");
            }
        }
    }
}

#[test]
fn sixty_four_members_form_one_view_and_replace_one_in_time() {
    let mut rig = Rig::new(64);
    rig.run(millis(650));
    assert!(rig.shares().iter().all(|&share| share == 4), "{}", rig.show());
    assert!((0..64).all(|id| rig.view(id).members.len() == 64));
    rig.kill_daemon(0);
    rig.run(millis(180));
    let spent = 180 + until_taken(&mut rig, 140);
    assert!(spent <= 320, "{spent} ms");
    let shares = rig.shares();
    assert!(shares[1..].iter().all(|share| [4, 5].contains(share)), "{shares:?}");
}

#[test]
fn a_server_that_joins_warms_up_in_steps() {
    let warm = |_: usize, policy| ha_core::farm::Policy { warm_up: millis(7_000), ..policy };
    let mut rig = Rig::with(2, warm);
    rig.run(millis(1_500));
    assert_eq!(rig.shares(), [128, 128], "who makes the first view is warm");
    rig.kill(1);
    rig.run(millis(1_000));
    rig.boot(1);
    rig.run(millis(700));
    let mut shares = vec![rig.shares()[1]];
    assert!(shares[0] <= BUCKETS / 8, "an eighth of its weight at first: {shares:?}");
    for _ in 0..8 {
        // A step, and the drain that the one before began: what drains is not moved for balance.
        rig.run(millis(1_000));
        shares.push(rig.shares()[1]);
    }
    assert!(shares.is_sorted(), "it only gets warmer: {shares:?}");
    assert!(shares.iter().any(|share| (40..110).contains(share)), "in steps: {shares:?}");
    rig.run(millis(4_000));
    assert_eq!(rig.shares(), [128, 128]);
}

#[test]
fn who_hears_nobody_serves_everything_or_nothing() {
    let mut rig = Rig::new(2);
    rig.run(millis(1_500));
    rig.kill(1);
    rig.run(millis(310));
    assert_eq!(rig.shares(), [BUCKETS, 0]);
    let nothing = ha_core::farm::Isolated::Nothing;
    let mut rig = Rig::with(2, |_, policy| ha_core::farm::Policy { isolated: nothing, ..policy });
    rig.run(millis(1_500));
    assert_eq!(rig.shares(), [128, 128]);
    rig.kill(1);
    rig.run(millis(310));
    assert_eq!(rig.view(0).why, Some(Why::Isolated));
    assert!(rig.takers().iter().all(Vec::is_empty));
    assert_eq!(rig.told(0, Event::StandsBy(Why::Isolated)), 1);
    rig.boot(1);
    rig.run(millis(1_500));
    assert_eq!(rig.shares().iter().sum::<usize>(), BUCKETS, "it hears another member again");
    assert_eq!(policy().isolated, ha_core::farm::Isolated::All);
}

#[test]
fn beats_go_out_on_every_link_to_every_member() {
    let mut rig = Rig::new(3);
    rig.run(millis(2_000));
    rig.sent.clear();
    rig.run(millis(100));
    for (from, to) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        for link in 0..2 {
            let count = rig.sent.iter().filter(|sent| **sent == (from, to, link)).count();
            assert_eq!(count, 1, "{from} to {to} on link {link}: one beat an interval");
        }
    }
}
