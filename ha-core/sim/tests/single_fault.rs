//! G3, G6: from a whole pair, one fault; who serves, and how soon.

use std::time::Duration;

use ha_core::Profile;
use ha_proto::NodeSet;
use ha_quorum::Vote;
use ha_sim::check::g3;
use ha_sim::fault::Fault;
use ha_sim::network::Channel;
use ha_sim::script::{A, B, LONG};
use ha_sim::weather::MS;
use ha_sim::world::World;

/// G3 in the profile `lan` and the calm world of a script, in which a round trip takes below a
/// millisecond and an application starts within 32.
fn takeover() -> u64 {
    let bound = g3::takeover(&Profile::Lan.timing(), MILLISECOND, 40 * MILLISECOND);
    bound.as_millis() as u64
}

/// How long writes may stall: clients ask again within 350 ms.
fn stall() -> u64 {
    g3::stall(&Profile::Lan.timing(), MILLISECOND).as_millis() as u64
}

const MILLISECOND: Duration = Duration::from_millis(1);

/// A whole pair in the middle of its life: W's grace time is over.
fn pair() -> World {
    let mut world = World::scripted(Vote::Arbiter);
    world.pass(5_000);
    world
}

/// The fault changes nothing for clients but a stall, and the pair becomes whole again.
fn stays(fault: Fault) {
    let mut world = pair();
    let epoch = world.scene.nodes[A].host.run.map(|run| run.epoch);
    world.inject(fault);
    let moved = world.until(stall(), |world| world.primary() != Some(A));
    assert!(!moved, "{fault:?}: A serves on");
    assert!(world.acknowledged_within(600) > 0, "{fault:?}: writes go on");
    let moved = world.until(10_000, |world| world.primary() != Some(A));
    assert!(!moved, "{fault:?}: A serves on");
    assert_eq!(world.scene.nodes[A].host.run.map(|run| run.epoch), epoch, "no restart");
    world.conclude();
}

/// B takes over in time.
fn moves(fault: Fault) {
    let mut world = pair();
    world.inject(fault);
    assert!(world.until(takeover(), |world| world.primary() == Some(B)), "{fault:?}: B takes over");
    assert!(world.acknowledged_within(1_000) > 0, "{fault:?}: writes go on");
    world.conclude();
}

#[test]
fn the_loss_of_the_primary_moves_the_service() {
    moves(Fault::PowerCut { node: A, down: LONG });
    moves(Fault::Kill { node: A, down: LONG });
    moves(Fault::NodeReplace { node: A, down: LONG });
}

#[test]
fn a_paused_primary_is_replaced() {
    moves(Fault::Pause { node: A, lasts: 20_000 * MS });
}

#[test]
fn the_loss_of_the_secondary_stalls_writes_and_moves_nothing() {
    stays(Fault::PowerCut { node: B, down: LONG });
    stays(Fault::Pause { node: B, lasts: LONG });
    stays(Fault::NodeReplace { node: B, down: 200 * MS });
}

/// How long a disk may not answer, and a peer make no progress, in a world: two timeouts.
fn silence() -> u64 {
    2 * Profile::Lan.timing().timeout.as_millis() as u64
}

#[test]
fn a_disk_of_the_primary_that_answers_no_more_moves_the_service() {
    let mut world = pair();
    let acknowledged = world.acknowledged;
    world.inject(Fault::DiskHang { node: A, lasts: LONG });
    // It is noticed, the application stops, and then A's lease ends: A cannot save that it gave.
    let bound = silence() + takeover();
    assert!(world.until(bound, |world| world.primary() == Some(B)), "B takes over");
    assert!(world.acknowledged >= acknowledged);
    assert_eq!(world.scene.nodes[A].disk.saved.membership.holder, world.scene.nodes[A].id);
    // A cannot follow: it is excluded, once, like any peer without progress.
    world.pass(silence() + stall());
    assert!(world.acknowledged_within(1_000) > 0, "writes go on");
    assert_eq!(world.witness_set(), NodeSet::only(world.scene.nodes[B].id));
    let epoch = world.scene.register().map(|register| register.membership.epoch);
    world.pass(10_000);
    assert_eq!(world.scene.register().map(|register| register.membership.epoch), epoch);
    world.conclude();
}

#[test]
fn a_disk_of_the_secondary_that_answers_no_more_excludes_it_once() {
    let mut world = pair();
    let epoch = world.scene.register().unwrap().membership.epoch;
    world.inject(Fault::DiskHang { node: B, lasts: LONG });
    let alone = NodeSet::only(world.scene.nodes[A].id);
    let excluded = world.until(silence() + stall(), |world| world.witness_set() == alone);
    assert!(excluded && world.primary() == Some(A));
    assert!(world.acknowledged_within(1_000) > 0, "writes go on");
    for _ in 0..100 {
        world.pass(100);
        assert_eq!((world.witness_set(), world.primary()), (alone, Some(A)), "no flapping");
    }
    let counter = world.scene.register().unwrap().membership.epoch.counter();
    assert_eq!(counter, epoch.counter() + 1, "one exclusion");
    world.disk_answers(B);
    assert!(world.until(5_000, World::is_whole), "it is let in once it acknowledges");
    world.conclude();
}

#[test]
fn a_disk_that_hangs_for_less_than_that_moves_nothing() {
    for node in [A, B] {
        let mut world = pair();
        let register = world.scene.register().copied();
        world.inject(Fault::DiskHang { node, lasts: LONG });
        world.pass(silence() * 9 / 10);
        world.disk_answers(node);
        assert!(world.acknowledged_within(600) > 0);
        world.pass(5_000);
        assert_eq!((world.scene.register().copied(), world.primary()), (register, Some(A)));
        world.conclude();
    }
}

#[test]
fn the_loss_of_the_witness_is_not_noticed() {
    stays(Fault::WitnessKill { down: LONG });
    stays(Fault::WitnessPause { lasts: LONG });
    stays(Fault::WitnessReplace { down: 500 * MS });
}

#[test]
fn the_loss_of_one_link_moves_nothing() {
    let to_w = [Channel::A_W | Channel::W_A, Channel::B_W | Channel::W_B];
    let one_way = [Channel::A_W, Channel::W_A, Channel::B_W, Channel::W_B];
    let stream = Channel::A_B0 | Channel::B_A0;
    for channels in to_w.into_iter().chain(one_way).chain([Channel::AB, stream]) {
        let mut world = pair();
        world.cut(channels);
        let moved = world.until(8_000, |world| world.primary() != Some(A));
        assert!(!moved, "{channels:08b}: A serves on");
        assert!(world.acknowledged_within(600) > 0, "{channels:08b}: writes go on");
        world.conclude();
    }
}

#[test]
fn a_one_way_cut_between_the_nodes_moves_nothing() {
    for channels in [Channel::A_B0 | Channel::A_B1, Channel::B_A0 | Channel::B_A1] {
        let mut world = pair();
        world.cut(channels);
        let moved = world.until(8_000, |world| world.primary() != Some(A));
        assert!(!moved, "{channels:08b}: A serves on");
        assert!(world.acknowledged_within(600) > 0);
        world.conclude();
    }
}

#[test]
fn a_primary_that_reaches_nobody_stops_within_l() {
    let mut world = pair();
    world.cut(Channel::AB | Channel::A_W | Channel::W_A);
    assert!(world.until(3_000, |world| !world.scene.nodes[A].serves()), "G6");
    assert!(world.until(takeover(), |world| world.primary() == Some(B)));
    world.conclude();
}

#[test]
fn a_secondary_that_reaches_nobody_waits() {
    let mut world = pair();
    world.cut(Channel::AB | Channel::B_W | Channel::W_B);
    let moved = world.until(10_000, |world| world.primary() != Some(A));
    assert!(!moved);
    assert!(world.acknowledged_within(600) > 0, "A goes on alone");
    world.conclude();
}
