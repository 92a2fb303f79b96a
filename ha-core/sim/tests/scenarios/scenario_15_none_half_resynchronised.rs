//! Counterexample 15 (`none`, `ping`, the winner's record first): half a copy does not start.

use ha_quorum::Vote;
use ha_sim::fault::Fault;
use ha_sim::network::Channel;
use ha_sim::node::Node;
use ha_sim::script::{A, B, LONG};
use ha_sim::world::World;

#[test]
fn a_loser_that_is_half_overwritten_waits() {
    let moments = [0, 1, 2, 4, 8, 14, 20, 40];
    let all = moments.into_iter().flat_map(|after| [(after, Vote::None), (after, Vote::Ping)]);
    for (after, vote) in all {
        let mut world = World::scripted(vote);
        world.cut(Channel::AB);
        assert!(world.until(10_000, |world| world.scene.nodes.iter().all(Node::serves)));
        world.pass(3_000);
        let alone = world.scene.nodes[B].disk.log.head();
        world.inject(Fault::DiskSlow { node: B, lasts: LONG });
        world.mend_channels(Channel::AB);
        let cut = |world: &World| {
            let log = &world.scene.nodes[B].disk.log;
            !log.has(alone.seq, alone.chain)
        };
        assert!(world.until(20_000, cut), "B lost, and is being overwritten");
        world.pass(after);
        world.lose(A);
        world.lose(B);
        // Also what A said last: B knows what its file says.
        world.pass(10);
        world.start(B);
        world.pass(15_000);
        let saved = &world.scene.nodes[B].disk.saved;
        assert!(world.primary().is_none(), "{:?} {} serves", saved.state, saved.membership);
        world.conclude();
    }
}
