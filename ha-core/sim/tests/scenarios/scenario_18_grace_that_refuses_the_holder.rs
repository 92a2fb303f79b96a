//! Counterexample 18 (R9): a witness that just booted still serves the holder.

use ha_quorum::Vote;
use ha_sim::fault::Fault;
use ha_sim::script::{A, B};
use ha_sim::weather::MS;
use ha_sim::world::World;

#[test]
fn the_holder_excludes_during_the_grace_time() {
    let mut world = World::scripted(Vote::Arbiter);
    world.inject(Fault::WitnessKill { down: 100 * MS });
    world.pass(150);
    world.lose(B);
    world.pass(1_400);
    assert!(world.acknowledged_within(200) > 0, "writes stall D and a round trip to W");
    let stopped = world.until(1_500, |world| world.primary() != Some(A));
    assert!(!stopped, "A serves on");
    assert_eq!(world.witness_set().len(), 1, "excluded within the grace time");
    assert!(world.acknowledged_within(1_000) > 0);
    world.conclude();
}
