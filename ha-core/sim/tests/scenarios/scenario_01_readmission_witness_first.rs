//! Counterexample 1 (R4 grow): W records the returning node before the primary waits for it.

use ha_quorum::Vote;
use ha_sim::fault::Fault;
use ha_sim::network::{Act, Channel, Site};
use ha_sim::script::{A, B, LONG, asks_admit, is_answer};
use ha_sim::world::World;

#[test]
fn nothing_is_acknowledged_alone_once_admit_is_sent() {
    let mut world = World::scripted(Vote::Arbiter);
    world.inject(Fault::Kill { node: B, down: 3_000_000_000 });
    assert!(world.until(3_000, |world| world.witness_set().len() == 1));
    assert!(world.acknowledged_within(1_000) > 0, "alone it goes on");

    world.step("Admit arrives, its answer is lost, and so is the link between the nodes");
    world.rule(Site::Node(A), Site::Witness, asks_admit, Act::Copy, 1);
    assert!(world.until(20_000, |world| world.scene.network.held.len() == 1));
    world.rule(Site::Witness, Site::Node(A), is_answer, Act::Drop, 1_000);
    world.cut(Channel::AB);
    assert!(world.until(1_000, |world| world.witness_set().len() == 2));
    world.pass(900);

    world.step("A dies: B must have everything");
    world.inject(Fault::PowerCut { node: A, down: LONG });
    assert!(world.until(8_000, |world| world.primary() == Some(B)));
    assert!(world.acknowledged_within(2_000) > 0);
    world.conclude();
}
