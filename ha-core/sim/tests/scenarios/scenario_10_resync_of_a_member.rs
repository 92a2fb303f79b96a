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
    world.inject(Fault::PowerCut { node: A, down: 9_000 * MS });
    world.rule(Site::Node(B), Site::Witness, asks_exclude, Act::Drop, 1_000);
    assert!(world.until(8_000, |world| world.primary() == Some(B)));
    world.mend_channels(Channel::AB);
    world
}

#[test]
fn the_tail_is_kept_aside_after_the_exclusion() {
    let mut world = with_a_tail();
    world.pass(6_000);
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
        world.pass(4_000);
        world.forget_rules();
        assert!(world.until(20_000, |world| world.witness_set().len() == 1));
        world.pass(after);
        world.inject(Fault::PowerCut { node: B, down: LONG });
        world.pass(8_000);
        assert_ne!(world.primary(), Some(A), "A is not in the set");
        world.conclude();
    }
}
