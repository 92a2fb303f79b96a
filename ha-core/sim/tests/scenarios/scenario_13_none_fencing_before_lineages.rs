//! Counterexample 13 (`none`, `ping`, lineages first): of two primaries that meet the former one wins.

use ha_quorum::Vote;
use ha_sim::network::Channel;
use ha_sim::node::Node;
use ha_sim::script::{A, B};
use ha_sim::world::World;

#[test]
fn the_former_primary_goes_on_and_the_other_keeps_its_records_aside() {
    for vote in [Vote::None, Vote::Ping] {
        let mut world = World::scripted(vote);
        world.cut(Channel::AB);
        assert!(world.until(10_000, |world| world.scene.nodes.iter().all(Node::serves)));
        world.pass(4_000);
        world.mend_channels(Channel::AB);
        assert!(world.until(20_000, World::is_whole), "{vote}: {}", world.describe());
        assert_eq!(world.primary(), Some(A), "{vote}");
        assert!(!world.scene.nodes[B].disk.aside.is_empty(), "{vote}: what only B had is kept");
        assert!(world.scene.nodes[A].disk.aside.is_empty(), "{vote}");
        world.conclude();
    }
}
