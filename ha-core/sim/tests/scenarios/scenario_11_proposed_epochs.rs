//! Counterexample 11 (only W mints): a refused candidate disturbs nobody afterwards.

use ha_core::Order;
use ha_quorum::Vote;
use ha_sim::network::Channel;
use ha_sim::script::{A, B};
use ha_sim::world::World;

#[test]
fn a_refused_candidate_leaves_no_epoch_behind() {
    let mut world = World::scripted(Vote::Arbiter);
    world.cut(Channel::AB);
    world.order(B, Order::Prim);
    world.pass(10_000);
    assert_eq!(world.primary(), Some(A), "A renews at W all the time");
    assert!(world.acknowledged_within(1_000) > 0);
    world.mend_channels(Channel::AB);
    let moved = world.until(20_000, |world| world.primary() != Some(A) || world.is_whole());
    assert!(moved && world.is_whole());
    assert_eq!(world.primary(), Some(A), "the heal stops nobody");
    world.conclude();
}
