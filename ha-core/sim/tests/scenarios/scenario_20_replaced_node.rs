//! Counterexample 20 (Blank, store id): a blank node with the old id does not ask.

use ha_quorum::Vote;
use ha_sim::fault::Fault;
use ha_sim::network::Channel;
use ha_sim::script::{A, B};
use ha_sim::weather::MS;
use ha_sim::world::World;

#[test]
fn a_blank_member_never_serves() {
    let mut world = World::scripted(Vote::Arbiter);
    world.cut(Channel::AB);
    world.inject(Fault::NodeReplace { node: B, down: 20 * MS });
    world.lose(A);
    world.pass(20_000);
    assert_eq!(world.primary(), None);
    assert!(world.witness_set().contains(world.scene.nodes[A].id), "A can come back");
    world.conclude();
}
