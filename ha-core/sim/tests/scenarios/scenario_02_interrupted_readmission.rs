//! Counterexample 2 (R4): a started Admit is undone only by an Exclude that succeeded.

use ha_quorum::Vote;
use ha_sim::fault::Fault;
use ha_sim::network::{Act, Channel, Site};
use ha_sim::script::{A, B, LONG, asks_admit, asks_exclude};
use ha_sim::world::World;

#[test]
fn a_delayed_admit_finds_nothing_acknowledged_alone() {
    let mut world = World::scripted(Vote::Arbiter);
    world.rule(Site::Node(A), Site::Witness, asks_admit, Act::Hold, 1_000);
    world.inject(Fault::Kill { node: B, down: 3_000_000_000 });
    assert!(world.until(20_000, |world| !world.scene.network.held.is_empty()));

    world.step("A hears nothing of its Admit, loses B, and knows W's set as {A}");
    world.rule(Site::Node(A), Site::Witness, asks_exclude, Act::Drop, 1_000);
    world.cut(Channel::AB);
    world.pass(20);
    let before = world.acknowledged;
    world.pass(2_000);
    assert_eq!(world.witness_set().len(), 1);
    assert_eq!(world.acknowledged, before, "at any moment W may count B");

    world.step("the Admit lands, and A dies");
    world.release();
    world.pass(50);
    assert_eq!(world.witness_set().len(), 2);
    world.inject(Fault::PowerCut { node: A, down: LONG });
    assert!(world.until(8_000, |world| world.primary() == Some(B)));
    assert!(world.acknowledged_within(2_000) > 0);
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
