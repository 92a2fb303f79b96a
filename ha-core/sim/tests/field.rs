//! What users of such systems suffer from, where it is logic: the rows of `FIELD.md` that need no
//! kernel.

use std::time::Duration;

use ha_core::{Order, Profile};
use ha_quorum::Vote;
use ha_sim::fault::Fault;
use ha_sim::lan::{Card, IPS};
use ha_sim::network::Channel;
use ha_sim::node::Node;
use ha_sim::options::Options;
use ha_sim::script::{A, B, LONG};
use ha_sim::weather::MS;
use ha_sim::world::World;

/// Kinds of vote with which a pair becomes whole again without an operator.
const VOTES: [Vote; 3] = [Vote::Arbiter, Vote::None, Vote::Ping];

const MINUTE: u64 = 60_000;

/// Row 1: stale caches after a short double master. The checker holds the clients' caches to the
/// winner within a second from when it hears its peer again; the test sees to it that they had
/// somewhere else to go.
#[test]
fn field_01_clients_find_the_winner_of_a_split() {
    for side in [A, B] {
        for millis in [20, 500, 5_000, 20_000] {
            let mut world = World::scripted(Vote::None);
            world.scene.lan.side = side;
            world.pass(5_000);
            world.cut(Channel::AB);
            world.pass(millis);
            let two = world.scene.nodes.iter().all(Node::serves);
            let long = Duration::from_millis(millis) > Profile::Lan.timing().timeout * 2;
            assert_eq!(two, long, "{millis} ms");
            let cached = if two { side } else { A };
            assert_eq!(world.scene.lan.cached, [Some(Card::Node(cached)); IPS], "{millis} ms");
            world.mend_channels(Channel::AB);
            assert!(world.until(15_000, World::is_whole), "{}", world.describe());
            world.pass(2_000);
            let winner = world.primary().expect("the pair is whole");
            assert_eq!(world.scene.lan.cached, [Some(Card::Node(winner)); IPS], "{millis} ms");
            world.conclude();
        }
    }
}

/// Row 5: addresses that somebody else removes come back, or the node steps down, as configured.
#[test]
fn field_05_addresses_that_others_remove_come_back_or_move() {
    for vote in VOTES {
        for place in 0..IPS {
            let mut world = World::scripted(vote);
            world.pass(5_000);
            world.inject(Fault::Unset { node: A, place });
            assert!(world.scene.nodes[A].address.until.iter().all(|until| *until > world.now()));
            let moved = world.until(10_000, |world| world.primary() != Some(A));
            assert!(!moved, "{vote:?}: it is put back");
            world.conclude();

            // The seed makes A one that steps down.
            let options = Options { meddling: true, ..Options::new(1, vote) };
            let mut world = World::calm(options);
            world.pass(5_000);
            world.inject(Fault::Unset { node: A, place });
            let moved = world.until(5_000, |world| world.primary() == Some(B));
            assert!(moved, "{vote:?}: B takes over {}", world.tail());
            world.conclude();
        }
    }
}

/// Rows 1 and 5: somebody who has an address that he has no business with is answered for as long as
/// he claims it, and has no clients once he is gone.
#[test]
fn field_05_a_stranger_with_an_address_keeps_no_clients() {
    for claims in [true, false] {
        let mut world = World::scripted(Vote::Arbiter);
        world.pass(5_000);
        world.inject(Fault::Intruder { place: 0, claims, lasts: 20_000 * MS });
        world.pass(20_000);
        assert!(world.trace.text().contains("Conflict"), "he is seen");
        assert_eq!(world.scene.lan.cached, [Some(Card::Node(A)); IPS]);
        world.conclude();
    }
}

/// Row 8: a pause looks like death. Shorter than the timeout it is not noticed; however long it is,
/// the pair is whole afterwards, and nothing that was acknowledged is lost.
#[test]
fn field_08_a_pause_of_any_length_is_survived() {
    for vote in VOTES {
        for node in [A, B] {
            for millis in [100, 300, 800, 1_500, 3_000, 10_000, MINUTE] {
                let mut world = World::scripted(vote);
                world.pass(5_000);
                world.inject(Fault::Pause { node, lasts: millis * MS });
                let moved = world.until(millis, |world| world.primary() == Some(B));
                let short = Profile::Lan.timing().timeout * 8 / 10;
                if Duration::from_millis(millis) <= short {
                    assert!(!moved, "{vote:?}: {millis} ms");
                }
                world.conclude();
            }
        }
    }
}

/// Row 10: the loss of the arbiter demotes a healthy primary.
#[test]
fn field_10_an_arbiter_that_is_down_for_an_hour_is_not_noticed() {
    let mut world = World::scripted(Vote::Arbiter);
    world.pass(5_000);
    let epoch = world.scene.nodes[A].host.run.map(|run| run.epoch);
    world.inject(Fault::WitnessKill { down: 60 * MINUTE * MS });
    let moved = world.until(60 * MINUTE - 1, |world| world.primary() != Some(A));
    assert!(!moved, "A serves on");
    assert_eq!(world.scene.nodes[A].host.run.map(|run| run.epoch), epoch, "no restart");
    assert!(world.acknowledged_within(600) > 0, "writes go on");
    world.conclude();
}

/// Row 11: a state with no way out. From every state that a pair passes through, every fault: it is
/// whole again once the fault is over, without an operator.
#[test]
fn field_11_there_is_a_way_out_of_every_state() {
    for vote in VOTES {
        for (name, state) in STATES {
            for fault in faults() {
                let mut world = World::scripted(vote);
                state(&mut world);
                world.step(name);
                world.inject(fault);
                world.pass(200);
                world.conclude();
            }
        }
    }
}

/// A state, and how a whole pair with A as its primary comes to it.
type State = (&'static str, fn(&mut World));

const STATES: [State; 10] = [
    ("whole", |_| {}),
    ("the secondary is just lost", |world| {
        world.inject(Fault::Kill { node: B, down: 8_000 * MS });
        world.pass(500);
    }),
    ("alone", |world| {
        world.inject(Fault::Kill { node: B, down: 8_000 * MS });
        world.pass(6_000);
    }),
    ("the secondary comes back", |world| {
        world.inject(Fault::Kill { node: B, down: 4_000 * MS });
        world.pass(4_020);
    }),
    ("the primary is just lost", |world| {
        world.inject(Fault::PowerCut { node: A, down: 8_000 * MS });
        world.pass(500);
    }),
    ("a takeover", |world| {
        world.inject(Fault::PowerCut { node: A, down: 8_000 * MS });
        let took = world.until(7_000, |world| world.scene.nodes[B].host.run.is_some());
        assert!(took, "B takes over");
    }),
    ("a swap", |world| {
        world.pass(4_000);
        world.order(A, Order::Swap);
        world.pass(3);
    }),
    ("cut from each other", |world| {
        world.inject(Fault::Cut { channels: Channel::AB, lasts: 3_000 * MS });
        world.pass(1_500);
    }),
    ("without a witness", |world| {
        world.inject(Fault::WitnessKill { down: 3_000 * MS });
        world.pass(1_000);
    }),
    ("both boot", |world| {
        world.inject(Fault::PowerCut { node: A, down: 300 * MS });
        world.inject(Fault::PowerCut { node: B, down: 320 * MS });
        world.pass(350);
    }),
];

fn faults() -> Vec<Fault> {
    let mut faults = vec![
        Fault::Reset,
        Fault::WitnessKill { down: 400 * MS },
        Fault::WitnessPause { lasts: 4_000 * MS },
    ];
    for node in [A, B] {
        faults.extend([
            Fault::Kill { node, down: 300 * MS },
            Fault::PowerCut { node, down: 5_000 * MS },
            Fault::Pause { node, lasts: 700 * MS },
            Fault::Pause { node, lasts: 5_000 * MS },
            Fault::DiskSlow { node, lasts: 3_000 * MS },
            Fault::DiskHang { node, lasts: 3_000 * MS },
        ]);
    }
    let one_way = [Channel::A_W, Channel::W_A, Channel::B_W, Channel::W_B];
    let to_b = Channel::A_B0 | Channel::A_B1;
    let to_a = Channel::B_A0 | Channel::B_A1;
    let isolated = Channel::AB | Channel::A_W | Channel::W_A;
    for channels in one_way.into_iter().chain([Channel::AB, to_a, to_b, isolated]) {
        faults.push(Fault::Cut { channels, lasts: 4_500 * MS });
    }
    faults
}

/// Row 12: unwanted failback.
#[test]
fn field_12_a_former_primary_that_returns_takes_nothing_back() {
    for vote in VOTES {
        let mut world = World::scripted(vote);
        world.pass(5_000);
        world.inject(Fault::PowerCut { node: A, down: 8_000 * MS });
        assert!(world.until(7_900, |world| world.primary() == Some(B)), "{vote:?}: B takes over");
        let moved = world.until(MINUTE, |world| world.primary() != Some(B));
        assert!(!moved, "{vote:?}: it stays");
        assert!(world.is_whole(), "{vote:?}: A follows");
        world.conclude();
    }
}

/// Row 13: scripts overlap or run out of order. A link flaps at 10 Hz, then it is down for long
/// enough to lose the peer, and flaps again as it comes back; a checker sees to the order of steps.
#[test]
fn field_13_a_link_that_flaps_moves_one_step_at_a_time() {
    const LOSSES: usize = 20;
    for vote in VOTES {
        let mut world = World::scripted(vote);
        world.pass(5_000);
        for loss in 0..LOSSES as u64 {
            for flap in 0..20 {
                world.cut(Channel::AB);
                world.pass(if flap == 10 { 3_000 } else { 50 });
                world.mend_channels(Channel::AB);
                world.pass(50);
            }
            world.pass(loss % 10 * 500);
        }
        let starts = world.trace.text().matches("StartApp").count();
        let most = if vote == Vote::Arbiter { 1 } else { 1 + 2 * LOSSES };
        assert!(starts <= most, "{vote:?}: {starts} starts");
        assert!(starts > LOSSES / 2 || vote == Vote::Arbiter, "{vote:?}: {starts} starts");
        assert!(world.until(15_000, World::is_whole), "{vote:?}: {}", world.describe());
        world.conclude();
    }
}

/// Row 20: an isolated member never comes back.
#[test]
fn field_20_an_hour_of_isolation_is_over_at_once() {
    for vote in VOTES {
        for node in [A, B] {
            let mut world = World::scripted(vote);
            world.pass(5_000);
            let witness =
                if node == A { Channel::A_W | Channel::W_A } else { Channel::B_W | Channel::W_B };
            let channels = Channel::AB | witness;
            world.inject(Fault::Cut { channels, lasts: LONG });
            world.pass(60 * MINUTE - 1);
            world.mend_channels(channels);
            assert!(world.until(15_000, World::is_whole), "{vote:?}: {}", world.describe());
            world.conclude();
        }
    }
}
