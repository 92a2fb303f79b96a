//! Counterexample 12 (all changes at W): nobody is admitted while W is down.

use ha_quorum::Vote;
use ha_sim::fault::Fault;
use ha_sim::script::{A, B, LONG};
use ha_sim::weather::MS;
use ha_sim::world::World;

#[test]
fn a_secondary_that_returns_without_w_stays_outside() {
    let mut world = World::scripted(Vote::Arbiter);
    world.inject(Fault::Kill { node: B, down: 4_000 * MS });
    assert!(world.until(3_500, |world| world.witness_set().len() == 1));
    world.inject(Fault::WitnessKill { down: 16_000 * MS });
    world.pass(14_000);
    assert_eq!(world.primary(), Some(A), "the right to run alone needs no witness");
    assert!(world.acknowledged_within(500) > 0, "and nothing waits for B");
    world.inject(Fault::PowerCut { node: A, down: LONG });
    world.pass(15_000);
    assert_eq!(world.primary(), None, "B is not in W's set");
    world.conclude();
}
