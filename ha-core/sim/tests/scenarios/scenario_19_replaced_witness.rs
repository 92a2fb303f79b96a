//! Counterexample 19 (Adopt, incarnation): what the old witness said is void.

use ha_quorum::Vote;
use ha_sim::fault::Fault;
use ha_sim::network::{Act, Site};
use ha_sim::script::{A, B, is_answer};
use ha_sim::weather::MS;
use ha_sim::world::World;

#[test]
fn answers_of_the_old_witness_do_not_count() {
    let mut world = World::scripted(Vote::Arbiter);
    world.rule(Site::Witness, Site::Node(A), is_answer, Act::Copy, 2);
    world.rule(Site::Witness, Site::Node(B), is_answer, Act::Copy, 2);
    world.pass(3_000);
    world.inject(Fault::WitnessReplace { down: 200 * MS });
    world.pass(300);
    world.release();
    let moved = world.until(10_000, |world| world.primary() != Some(A));
    assert!(!moved, "A serves on its peer's promise meanwhile");
    assert!(world.until(10_000, World::is_whole), "adopted: {}", world.describe());
    world.conclude();
}

#[test]
fn a_blank_node_does_not_vote_at_an_adoption() {
    let mut world = World::scripted(Vote::Arbiter);
    world.inject(Fault::NodeReplace { node: B, down: 100 * MS });
    assert!(world.until(10_000, |world| world.witness_set().len() == 1), "B is blank");
    assert!(world.until(1_000, |world| world.scene.may_run_alone(A)));
    world.inject(Fault::WitnessReplace { down: 200 * MS });
    world.lose(A);
    world.pass(15_000);
    assert_eq!(world.primary(), None, "B knows nothing");
    world.conclude();
}
