//! `ping`: what a look decided counts in the isolation that it looked in, whenever its save lands.

use ha_core::Order;
use ha_quorum::Vote;
use ha_sim::fault::Fault;
use ha_sim::network::Channel;
use ha_sim::node::Node;
use ha_sim::script::{A, B, LONG};
use ha_sim::world::World;

#[test]
fn a_reign_alone_that_was_saved_too_late_gives_no_right() {
    let mut world = World::scripted(Vote::Ping);
    world.order(A, Order::Swap);
    assert!(world.until(20_000, |world| world.primary() == Some(B) && world.is_whole()));
    world.pass(3_000);
    // B sees the outside, decides to go on alone, and cannot save it.
    world.inject(Fault::DiskHang { node: B, lasts: LONG });
    world.cut(Channel::AB);
    let lost = |world: &World| {
        let node = world.scene.nodes[B].mirror.as_ref().expect("it runs");
        !node.status().peer_up
    };
    assert!(world.until(3_000, lost));
    world.pass(20);
    // They meet again, and A takes over from the disk that hangs.
    world.mend_channels(Channel::AB);
    let a = world.scene.nodes[A].id;
    let took = |world: &World| world.scene.nodes[A].disk.saved.membership.holder == a;
    assert!(world.until(20_000, took), "{}", world.describe());
    // B is cut off from everything, A goes on alone, and now B's disk answers.
    world.cut(Channel::AB | Channel::B_W | Channel::W_B);
    world.pass(10_000);
    assert_eq!(world.primary(), Some(A));
    world.disk_answers(B);
    let both = world.until(20_000, |world| world.scene.nodes.iter().all(Node::serves));
    assert!(!both, "two primaries, and one sees no outside");
    world.mend_channels(Channel::AB | Channel::B_W | Channel::W_B);
    assert!(world.until(30_000, World::is_whole), "{}", world.describe());
}

#[test]
fn a_reign_alone_that_is_saved_beside_a_peer_that_serves_gives_no_right() {
    let mut world = World::scripted(Vote::Ping);
    // B's epoch is above one of A's with the same counter: what it saves too late stands.
    world.order(A, Order::Swap);
    assert!(world.until(20_000, |world| world.primary() == Some(B) && world.is_whole()));
    world.pass(3_000);
    // A makes no progress; B sees the outside and excludes it, and cannot save that.
    world.inject(Fault::DiskHang { node: A, lasts: LONG });
    world.pass(500);
    world.inject(Fault::DiskHang { node: B, lasts: LONG });
    let looked = |world: &World| {
        let node = world.scene.nodes[B].mirror.as_ref().expect("it runs");
        node.view().witness.outside == Some(true)
    };
    assert!(world.until(20_000, looked), "{}", world.describe());
    // B stops for its disk, and A, whose own is back, serves in its place.
    world.disk_answers(A);
    assert!(world.until(20_000, |world| world.primary() == Some(A)), "{}", world.describe());
    // B is cut off from everything, and now its disk answers.
    world.cut(Channel::AB | Channel::B_W | Channel::W_B);
    world.pass(10_000);
    world.disk_answers(B);
    let both = world.until(20_000, |world| world.scene.nodes.iter().all(Node::serves));
    assert!(!both, "two primaries, and one sees no outside");
    world.mend_channels(Channel::AB | Channel::B_W | Channel::W_B);
    assert!(world.until(30_000, World::is_whole), "{}", world.describe());
}
