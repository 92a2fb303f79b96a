//! Counterexample 22 (R7): who runs alone keeps its address by itself.

use ha_quorum::Vote;
use ha_sim::fault::Fault;
use ha_sim::script::{A, B, LONG};
use ha_sim::world::World;

#[test]
fn the_address_stays_without_witness_and_peer() {
    let mut world = World::scripted(Vote::Arbiter);
    world.lose(B);
    assert!(world.until(5_000, |world| world.witness_set().len() == 1));
    world.pass(500);
    world.inject(Fault::WitnessKill { down: LONG });
    let gone = world.until(30_000, |world| world.primary() != Some(A));
    assert!(!gone, "it serves as long as it runs");
    world.conclude();
}

#[test]
fn the_right_survives_a_restart() {
    let mut world = World::scripted(Vote::Arbiter);
    world.lose(B);
    assert!(world.until(5_000, |world| world.witness_set().len() == 1));
    world.pass(500);
    world.inject(Fault::WitnessKill { down: LONG });
    world.inject(Fault::Kill { node: A, down: 100_000_000 });
    assert!(world.until(2_000, |world| world.primary() == Some(A)));
    world.conclude();
}
