//! A plain compare-and-set store in the place of the arbiter: what may be lost, late or twice.

use std::time::Duration;

use ha_core::{Order, Profile};
use ha_proto::{Epoch, NodeSet};
use ha_quorum::Request;
use ha_quorum::clerk::Output;
use ha_sim::check::g3;
use ha_sim::fault::Fault;
use ha_sim::network::Channel;
use ha_sim::plain::Act;
use ha_sim::script::{A, B, LONG};
use ha_sim::weather::MS;
use ha_sim::world::World;

/// G3 with an arbiter, and one look of the clerk.
fn takeover() -> u64 {
    let timing = Profile::Lan.timing();
    let millisecond = Duration::from_millis(1);
    let bound = g3::takeover(&timing, millisecond, 40 * millisecond) + timing.lease / 10;
    bound.as_millis() as u64
}

/// A whole pair that has long seen its register.
fn pair() -> World {
    let mut world = World::scripted_store();
    world.pass(5_000);
    world
}

fn epoch(world: &World) -> Epoch {
    world.scene.register().map(|register| register.membership.epoch).expect("there is a register")
}

fn writes(output: &Output, request: Request) -> bool {
    matches!(output, Output::Write { ask, .. } if ask.request == request)
}

fn renews(output: &Output) -> bool {
    writes(output, Request::Renew)
}

fn excludes(output: &Output) -> bool {
    writes(output, Request::Exclude)
}

fn held(world: &World) -> usize {
    world.scene.witness.plain.as_ref().map_or(0, |plain| plain.waiting.len())
}

#[test]
fn a_takeover_takes_one_look_longer_than_with_an_arbiter() {
    for phase in 0..10 {
        let mut world = pair();
        world.pass(phase * 103);
        world.inject(Fault::PowerCut { node: A, down: LONG });
        let took = world.until(takeover(), |world| world.primary() == Some(B));
        assert!(took, "phase {phase}: {}", world.describe());
        world.conclude();
    }
}

#[test]
fn an_exclusion_whose_answer_is_lost_is_found_to_have_happened() {
    let mut world = pair();
    let before = epoch(&world);
    world.plain_rule(A, excludes, Act::Mute, 1);
    world.inject(Fault::PowerCut { node: B, down: LONG });
    let excluded = world.until(2_500, |world| world.scene.may_run_alone(A));
    assert!(excluded, "{}", world.describe());
    world.pass(2_000);
    assert_eq!(epoch(&world).counter(), before.counter() + 1, "once, and no Take after it");
    assert!(world.acknowledged_within(1_000) > 0, "writes go on");
    world.conclude();
}

#[test]
fn a_renewal_whose_answer_is_lost_is_written_once_more() {
    let mut world = pair();
    let before = epoch(&world);
    world.plain_rule(A, renews, Act::Mute, 3);
    assert!(!world.until(8_000, |world| world.primary() != Some(A)));
    assert_eq!(epoch(&world), before);
    world.conclude();
}

#[test]
fn a_renewal_that_lands_late_is_void_once_the_other_node_has_taken() {
    let mut world = pair();
    world.plain_rule(A, renews, Act::Hold, 1);
    assert!(world.until(2_000, |world| held(world) == 1), "it is on its way");
    world.inject(Fault::PowerCut { node: A, down: LONG });
    assert!(world.until(takeover(), |world| world.primary() == Some(B)));
    let before = epoch(&world);
    world.step("now it lands");
    world.plain_release();
    assert!(!world.until(8_000, |world| world.primary() != Some(B)));
    assert_eq!(epoch(&world), before);
    world.conclude();
}

#[test]
fn a_renewal_that_lands_before_that_is_waited_for() {
    let mut world = pair();
    world.plain_rule(A, renews, Act::Hold, 1);
    assert!(world.until(2_000, |world| held(world) == 1), "it is on its way");
    world.inject(Fault::PowerCut { node: A, down: LONG });
    world.pass(1_900);
    world.step("it lands as if A still lived");
    world.plain_release();
    // The checker of the table sees that nobody takes before a lease has passed from here.
    assert!(!world.until(2_990, |world| world.primary() == Some(B)), "too early");
    assert!(world.until(takeover() - 2_990, |world| world.primary() == Some(B)));
    world.conclude();
}

#[test]
fn an_exclusion_of_an_earlier_boot_is_void() {
    let mut world = pair();
    world.plain_rule(A, excludes, Act::Hold, 1);
    world.step("B stands still, and A dies while it excludes it");
    world.inject(Fault::Pause { node: B, lasts: 1_200 * MS });
    assert!(world.until(1_500, |world| held(world) == 1));
    world.inject(Fault::Kill { node: A, down: 10 * MS });
    assert!(world.until(15_000, World::is_whole), "{}", world.describe());
    let before = epoch(&world);
    world.plain_release();
    world.pass(3_000);
    assert_eq!((epoch(&world), world.witness_set()), (before, NodeSet::from_bits(0b11)));
    world.conclude();
}

#[test]
fn a_process_that_goes_on_has_a_clerk_of_its_own() {
    let mut world = pair();
    world.step("A's process is replaced while its clerk waits for the store");
    world.plain_rule(A, renews, Act::Hold, 1);
    assert!(world.until(2_000, |world| held(world) == 1), "it is on its way");
    world.inject(Fault::Upgrade { node: A, gap: 5 * MS, lost: false });
    world.pass(200);
    world.inject(Fault::PowerCut { node: B, down: LONG });
    let excluded = world.until(2_500, |world| world.scene.may_run_alone(A));
    assert!(excluded, "the next process asks as any other: {}", world.describe());
    world.step("what the earlier process wanted lands");
    let before = epoch(&world);
    world.plain_release();
    assert!(!world.until(8_000, |world| world.primary() != Some(A)));
    assert_eq!((epoch(&world), world.witness_set()), (before, NodeSet::from_bits(0b01)));
    world.conclude();
}

#[test]
fn the_loss_of_the_store_or_of_the_way_to_it_moves_nothing() {
    let mut worlds = Vec::new();
    for fault in [
        Fault::WitnessKill { down: LONG },
        Fault::WitnessPause { lasts: LONG },
        Fault::WitnessReplace { down: 500 * MS },
    ] {
        let mut world = pair();
        world.inject(fault);
        worlds.push(world);
    }
    for channels in [Channel::A_W, Channel::W_A, Channel::B_W | Channel::W_B, Channel::AB] {
        let mut world = pair();
        world.cut(channels);
        worlds.push(world);
    }
    for mut world in worlds {
        assert!(!world.until(8_000, |world| world.primary() != Some(A)), "A serves on");
        assert!(world.acknowledged_within(1_000) > 0, "writes go on");
        world.conclude();
    }
}

#[test]
fn a_swap_works_where_the_store_loses_every_other_answer() {
    let mut world = pair();
    for node in [A, B] {
        world.plain_rule(node, |output| matches!(output, Output::Write { .. }), Act::Mute, 2);
    }
    world.order(A, Order::Swap);
    assert!(world.until(5_000, |world| world.primary() == Some(B)), "{}", world.describe());
    world.conclude();
}
