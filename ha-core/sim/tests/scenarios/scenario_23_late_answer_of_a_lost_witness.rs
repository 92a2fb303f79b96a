//! Counterexample 19, continued: a late answer of the old witness is void in whole, its register
//! too, once the node has saved the new witness's life.

use ha_quorum::Vote;
use ha_sim::fact::Fact;
use ha_sim::fault::Fault;
use ha_sim::network::{Act, Channel, Site};
use ha_sim::script::{A, B, LONG, is_answer};
use ha_sim::weather::MS;
use ha_sim::world::World;

/// An answer with a register whose set is its holder alone.
fn tells_alone(fact: &Fact) -> bool {
    register_set(fact) == Some(1)
}

fn tells_register(fact: &Fact) -> bool {
    register_set(fact).is_some()
}

fn register_set(fact: &Fact) -> Option<u32> {
    match fact {
        Fact::Answer(answer) => answer.register.map(|register| register.membership.set.len()),
        Fact::Beat(_) | Fact::Ask(_) => None,
    }
}

#[test]
fn an_exclusion_by_the_old_witness_gives_no_right_to_run_alone() {
    let mut world = World::scripted(Vote::Arbiter);
    world.rule(Site::Witness, Site::Node(A), tells_alone, Act::Hold, 1);
    world.rule(Site::Witness, Site::Node(A), tells_alone, Act::Drop, 1_000);
    world.cut(Channel::AB);
    let held = |world: &World| !world.scene.network.held.is_empty();
    assert!(world.until(3_000, held), "the Ok to A's Exclude is on its way");
    world.step("the witness is lost, and another adopts what both nodes have saved");
    world.inject(Fault::WitnessReplace { down: MS });
    world.forget_rules();
    world.rule(Site::Witness, Site::Node(A), tells_register, Act::Drop, 1_000);
    assert!(world.until(5_000, |world| world.witness_set().len() == 2), "{}", world.describe());
    world.release();
    world.pass(500);
    assert!(!world.scene.may_run_alone(A), "the new witness counts B");
    world.cut(Channel::A_W | Channel::W_A);
    world.forget_rules();
    world.pass(20_000);
    world.mend_channels(Channel::AB | Channel::A_W | Channel::W_A);
    world.conclude();
}

#[test]
fn a_holder_without_a_register_asks_at_the_usual_pace() {
    let mut world = World::scripted(Vote::Arbiter);
    world.inject(Fault::PowerCut { node: B, down: LONG });
    world.inject(Fault::WitnessReplace { down: MS });
    world.pass(1_000);
    world.rule(Site::Witness, Site::Node(A), is_answer, Act::Copy, 10_000);
    world.pass(9_000);
    let answers = world.scene.network.held.len();
    assert!(answers <= 40, "{answers} answers in three leases: the two nodes' asks chase replies");
    world.start(B);
    world.conclude();
}
