//! Counterexample 2 (R4): a started Admit is undone only by an Exclude that succeeded.

use ha_quorum::Vote;
use ha_sim::fault::Fault;
use ha_sim::network::{Act, Channel, Site};
use ha_sim::script::{A, B, LONG, asks_admit};
use ha_sim::world::World;

#[test]
fn a_delayed_admit_finds_nothing_acknowledged_alone() {
    let mut world = World::scripted(Vote::Arbiter);
    world.rule(Site::Node(A), Site::Witness, asks_admit, Act::Hold, 1_000);
    world.inject(Fault::Kill { node: B, down: 3_000_000_000 });
    assert!(world.until(20_000, |world| !world.scene.network.held.is_empty()));

    world.step("the nodes lose each other while Admit is on its way");
    world.cut(Channel::AB);
    world.pass(400);
    world.release();
    world.pass(400);
    world.inject(Fault::PowerCut { node: A, down: LONG });
    world.pass(8_000);
    assert!(world.witness_set().contains(world.scene.nodes[world.primary().unwrap_or(A)].id));
    world.conclude();
}

#[test]
fn an_exclude_that_overtook_it_makes_it_void() {
    let mut world = World::scripted(Vote::Arbiter);
    world.rule(Site::Node(A), Site::Witness, asks_admit, Act::Hold, 1_000);
    world.inject(Fault::Kill { node: B, down: 3_000_000_000 });
    assert!(world.until(20_000, |world| !world.scene.network.held.is_empty()));
    world.cut(Channel::AB);
    world.pass(4_000);
    assert!(world.acknowledged_within(1_000) > 0, "excluded, A goes on alone");
    world.release();
    world.pass(1_000);
    assert_eq!(world.witness_set().len(), 1, "the late Admit is refused");
    world.inject(Fault::PowerCut { node: A, down: LONG });
    world.pass(8_000);
    assert_eq!(world.primary(), None, "B lacks writes and waits");
    world.conclude();
}
