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
    world.inject(Fault::WitnessKill { down: 30_000 * MS });
    world.pass(14_000);
    assert_eq!(world.primary(), Some(A), "the right to run alone needs no witness");
    assert!(!is_ready(&world, B), "who would be refused does not look like a spare");
    assert!(world.acknowledged_within(500) > 0);

    world.step("B dies again: nothing waits for it");
    world.lose(B);
    world.pass(2_000);
    assert!(world.acknowledged_within(500) > 0);

    world.step("B is back, and so is W; A dies");
    world.start(B);
    world.pass(4_000);
    assert!(!is_ready(&world, B));
    world.inject(Fault::PowerCut { node: A, down: LONG });
    world.pass(25_000);
    assert_eq!(world.primary(), None, "B is not in W's set");
    world.conclude();
}

/// Whether a node says that it could take over.
fn is_ready(world: &World, node: usize) -> bool {
    world.scene.nodes[node].mirror.as_ref().is_some_and(|mirror| mirror.status().ready)
}
