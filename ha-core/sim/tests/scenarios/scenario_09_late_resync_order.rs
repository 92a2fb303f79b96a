//! Counterexample 9 (R14 pull): an order to overwrite that comes late finds a member, and is void.

use bytes::Bytes;
use ha_quorum::Vote;
use ha_sim::fault::Fault;
use ha_sim::network::{Act, Channel, Site};
use ha_sim::script::{A, B, LONG, asks_exclude};
use ha_sim::weather::MS;
use ha_sim::world::World;

/// The first byte of an order that says where to go on.
const SYNC: u8 = 2;

/// A was ordered to overwrite its tail, which B lacks, and has caught up and is a member since.
/// With the order.
fn resynchronised() -> (World, Bytes) {
    let mut world = World::scripted(Vote::Arbiter);
    world.rule(Site::Node(A), Site::Witness, asks_exclude, Act::Drop, 1_000);
    world.cut(Channel::AB);
    world.pass(1_500);
    world.inject(Fault::PowerCut { node: A, down: 3_400 * MS });
    assert!(world.until(8_000, |world| world.primary() == Some(B)), "B took over");
    world.remember_stream();
    world.mend_channels(Channel::AB);
    world.forget_rules();
    let aside = |world: &World| !world.scene.nodes[A].disk.aside.is_empty();
    assert!(world.until(20_000, aside), "B believes that A diverged, and it had");
    let order = world.remembered(A, SYNC).expect("nobody overwrites without an order");
    assert!(world.until(20_000, World::is_whole));
    (world, order)
}

/// The order comes again, B dies, and A has everything.
fn comes_late(mut world: World, order: Bytes) {
    let before = world.scene.nodes[A].disk.aside.len();
    world.say_late(A, order);
    world.pass(50);
    assert!(world.is_whole(), "{}", world.describe());
    assert_eq!(world.scene.nodes[A].disk.aside.len(), before, "A overwrites nothing");
    world.inject(Fault::PowerCut { node: B, down: LONG });
    assert!(world.until(8_000, |world| world.primary() == Some(A)));
    assert!(world.acknowledged_within(2_000) > 0);
    world.conclude();
}

#[test]
fn an_order_that_arrives_after_the_admission_is_void() {
    let (world, order) = resynchronised();
    comes_late(world, order);
}

#[test]
fn an_order_of_an_older_stream_is_void() {
    let (mut world, order) = resynchronised();
    world.inject(Fault::Reset);
    world.pass(2_000);
    assert!(world.until(20_000, World::is_whole));
    comes_late(world, order);
}

#[test]
fn greetings_that_cross_resets_overwrite_nobody() {
    let mut world = World::scripted(Vote::Arbiter);
    for round in 0..12 {
        world.step("the stream breaks in the middle of a greeting");
        let node = if round % 2 == 0 { B } else { A };
        world.inject(Fault::Kill { node, down: 100 * MS });
        world.pass(200 + 37 * round);
        world.inject(Fault::Reset);
        world.pass(60 + 11 * round);
        world.inject(Fault::Reset);
        world.pass(4_000);
    }
    world.conclude();
}
