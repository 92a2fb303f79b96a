//! Counterexample 10 (R14 exclude first): a tail that only one node has is undone only outside of
//! W's set.

use ha_quorum::Vote;
use ha_sim::fault::Fault;
use ha_sim::network::{Act, Channel, Site};
use ha_sim::script::{A, B, LONG, asks_exclude};
use ha_sim::weather::MS;
use ha_sim::world::World;

/// A comes back with a tail that nobody acknowledged, while B serves without it.
fn with_a_tail() -> World {
    let mut world = World::scripted(Vote::Arbiter);
    world.rule(Site::Node(A), Site::Witness, asks_exclude, Act::Drop, 1_000);
    world.cut(Channel::AB);
    world.pass(1_500);
    let tail = world.scene.nodes[A].disk.log.head().seq > world.scene.nodes[B].disk.log.head().seq;
    assert!(tail, "writes that nobody has acknowledged");
    world.inject(Fault::PowerCut { node: A, down: 3_400 * MS });
    world.rule(Site::Node(B), Site::Witness, asks_exclude, Act::Drop, 1_000);
    let started = |world: &World| world.scene.nodes[B].host.run.is_some_and(|run| run.started);
    assert!(world.until(8_000, started), "B took over");
    world.mend_channels(Channel::AB);
    world
}

#[test]
fn the_tail_is_kept_aside_after_the_exclusion() {
    let mut world = with_a_tail();
    world.pass(1_500);
    assert!(world.scene.nodes[A].runs() && world.witness_set().len() == 2);
    assert!(world.scene.nodes[A].disk.aside.is_empty(), "W still has both");
    world.forget_rules();
    assert!(world.until(20_000, World::is_whole));
    assert!(!world.scene.nodes[A].disk.aside.is_empty());
    world.conclude();
}

#[test]
fn the_holder_dies_in_the_middle_of_it() {
    for after in [1, 3, 5, 8, 12, 20, 40, 80] {
        let mut world = with_a_tail();
        world.pass(1_500);
        world.forget_rules();
        assert!(world.until(20_000, |world| world.witness_set().len() == 1));
        world.pass(after);
        world.inject(Fault::PowerCut { node: B, down: LONG });
        let member = world.witness_set().contains(world.scene.nodes[A].id);
        world.pass(8_000);
        assert_eq!(world.primary(), member.then_some(A), "{after} ms: {}", world.describe());
        world.conclude();
    }
}
