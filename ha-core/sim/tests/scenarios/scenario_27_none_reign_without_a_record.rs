//! `none`: the former primary wins although its reign wrote nothing, so that no log knows of it.

use ha_core::Order;
use ha_quorum::Vote;
use ha_sim::network::Channel;
use ha_sim::node::Node;
use ha_sim::script::{A, B};
use ha_sim::weather::MS;
use ha_sim::world::World;

#[test]
fn the_holder_of_the_last_joint_reign_wins() {
    let mut world = World::scripted(Vote::None);
    // Nobody writes from here on.
    world.weather.think_max = 3_600_000 * MS;
    world.pass(3_000);
    let written = world.acknowledged;
    world.order(A, Order::Swap);
    assert!(world.until(20_000, |world| world.primary() == Some(B) && world.is_whole()));
    assert_eq!(world.acknowledged, written, "a reign without a record");
    world.pass(5_000);
    world.cut(Channel::AB);
    assert!(world.until(10_000, |world| world.scene.nodes.iter().all(Node::serves)));
    world.pass(4_000);
    world.mend_channels(Channel::AB);
    assert!(world.until(20_000, World::is_whole), "{}", world.describe());
    assert_eq!(world.primary(), Some(B), "the former PRIM wins by default");
}
