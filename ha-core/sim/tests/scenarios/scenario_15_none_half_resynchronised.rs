//! Counterexample 15 (`none`, the winner's record first): half a copy does not start.

use ha_quorum::Vote;
use ha_sim::network::Channel;
use ha_sim::node::Node;
use ha_sim::script::{A, B};
use ha_sim::world::World;

#[test]
fn a_loser_that_is_half_overwritten_waits() {
    for after in [2, 4, 6, 8, 10, 14, 20, 30] {
        let mut world = World::scripted(Vote::None);
        world.cut(Channel::AB);
        assert!(world.until(10_000, |world| world.scene.nodes.iter().all(Node::serves)));
        world.pass(3_000);
        world.mend_channels(Channel::AB);
        let yields = |world: &World| {
            let saved = &world.scene.nodes[B].disk.saved;
            saved.membership.holder == world.scene.nodes[A].id
        };
        assert!(world.until(20_000, yields), "B lost");
        world.pass(after);
        world.lose(A);
        world.lose(B);
        world.start(B);
        world.pass(15_000);
        let saved = &world.scene.nodes[B].disk.saved;
        assert!(world.primary().is_none(), "{:?} {} serves", saved.state, saved.membership);
        world.conclude();
    }
}
