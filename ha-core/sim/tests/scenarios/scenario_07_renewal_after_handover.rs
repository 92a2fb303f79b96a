//! Counterexample 7 (R12, R13): what was given is not renewed.

use ha_core::Order;
use ha_quorum::Vote;
use ha_sim::fault::Fault;
use ha_sim::network::{Act, Site};
use ha_sim::script::{A, B, asks_give};
use ha_sim::world::World;

/// W grants no hand-over right after its own boot.
fn past_the_grace_time() -> World {
    let mut world = World::scripted(Vote::Arbiter);
    world.pass(4_000);
    world
}

#[test]
fn a_delayed_give_is_void_once_the_giver_took_again() {
    let mut world = past_the_grace_time();
    world.rule(Site::Node(A), Site::Witness, asks_give, Act::Hold, 1_000);
    world.order(A, Order::Swap);
    assert!(world.until(5_000, |world| !world.scene.network.held.is_empty()));
    world.pass(10_000);
    world.release();
    world.pass(10_000);
    world.conclude();
}

#[test]
fn a_delayed_give_and_a_crash_of_the_giver() {
    let mut world = past_the_grace_time();
    world.rule(Site::Node(A), Site::Witness, asks_give, Act::Hold, 1_000);
    world.order(A, Order::Swap);
    assert!(world.until(5_000, |world| !world.scene.network.held.is_empty()));
    world.inject(Fault::Kill { node: A, down: 100_000_000 });
    world.pass(6_000);
    world.release();
    world.pass(10_000);
    world.conclude();
}

#[test]
fn an_undisturbed_swap_moves_the_service() {
    let mut world = past_the_grace_time();
    world.order(A, Order::Swap);
    assert!(world.until(3_000, |world| world.primary() == Some(B)));
    assert!(world.until(3_000, World::is_whole));
    world.conclude();
}
