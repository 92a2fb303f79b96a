//! Counterexample 11 (only W mints): a refused candidate disturbs nobody afterwards.

use ha_quorum::Vote;
use ha_sim::network::{Act, Channel, Site};
use ha_sim::script::{A, B, asks_take};
use ha_sim::world::World;

#[test]
fn a_refused_candidate_leaves_no_epoch_behind() {
    let mut world = World::scripted(Vote::Arbiter);
    world.step("A excludes B, and B hears nothing of it: its Take is refused");
    world.rule(Site::Node(B), Site::Witness, asks_take, Act::Copy, 1);
    world.cut(Channel::AB | Channel::W_B);
    assert!(world.until(8_000, |world| !world.scene.network.held.is_empty()));
    world.scene.network.held.clear();
    world.pass(500);
    assert_eq!(world.primary(), Some(A));
    assert_eq!(world.witness_set().len(), 1);

    world.step("they meet again");
    world.mend_channels(Channel::AB | Channel::W_B);
    let moved = world.until(20_000, |world| world.primary() != Some(A) || world.is_whole());
    assert!(moved && world.is_whole(), "B refuses the frames of A: {}", world.describe());
    assert_eq!(world.primary(), Some(A), "the heal stops nobody");
    assert!(world.acknowledged_within(1_000) > 0);
    let holder = world.scene.nodes[B].disk.saved.membership.holder;
    assert_eq!(holder, world.scene.nodes[A].id, "a request is not an epoch");
    world.conclude();
}
