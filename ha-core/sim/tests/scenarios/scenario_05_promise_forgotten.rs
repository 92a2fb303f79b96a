//! Counterexample 5 (R6): who promised neither takes nor starts, whatever answer arrives.

use ha_quorum::Vote;
use ha_sim::network::{Act, Channel, Site};
use ha_sim::script::{A, B, asks_take};
use ha_sim::world::World;

/// A serves on the promise of B alone: its lease at W is long over.
fn on_promise_alone() -> World {
    let mut world = World::scripted(Vote::Arbiter);
    world.cut(Channel::A_W | Channel::W_A);
    world.pass(6_000);
    assert_eq!(world.primary(), Some(A), "one of the two leases is enough");
    world
}

#[test]
fn the_grantor_waits_until_its_promise_is_over() {
    let mut world = on_promise_alone();
    world.cut(Channel::AB);
    assert!(world.until(8_000, |world| world.primary() == Some(B)));
    assert!(world.acknowledged_within(2_000) > 0);
    world.conclude();
}

#[test]
fn a_grant_that_comes_after_a_promise_is_not_used() {
    let mut world = on_promise_alone();
    world.rule(Site::Node(B), Site::Witness, asks_take, Act::Hold, 1);
    world.cut(Channel::AB);
    assert!(world.until(8_000, |world| !world.scene.network.held.is_empty()));
    world.step("the Take of B is on its way; B hears A again, and promises");
    world.rule(Site::Node(B), Site::Witness, asks_take, Act::Drop, 1_000);
    world.mend_channels(Channel::AB);
    assert!(world.until(8_000, |world| world.primary() == Some(A)));

    world.step("W grants it now, and A does not hear of that");
    world.cut(Channel::AB);
    world.release();
    world.forget_rules();
    let id = world.scene.nodes[B].id;
    let granted = |world: &World| world.scene.nodes[B].disk.saved.membership.holder == id;
    assert!(world.until(1_000, granted));
    let moved = world.until(1_000, |world| world.primary() != Some(A));
    assert!(!moved && !world.scene.nodes[B].serves(), "B promised");
    assert!(world.until(8_000, |world| world.primary() == Some(B)));
    world.conclude();
}
