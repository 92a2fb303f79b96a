//! Vote `ping`: what it promises, and where it is known to end with two primaries.

use ha_quorum::Vote;
use ha_sim::network::Channel;
use ha_sim::node::Node;
use ha_sim::script::{A, B};
use ha_sim::world::World;

fn serves(world: &World, node: usize) -> bool {
    world.scene.nodes[node].serves()
}

#[test]
fn a_primary_that_is_cut_off_stops_and_the_other_takes_over() {
    let mut world = World::scripted(Vote::Ping);
    world.cut(Channel::AB | Channel::A_W | Channel::W_A);
    assert!(world.until(5_000, |world| !serves(world, A)), "it sees that it is the one");
    assert!(!serves(&world, B), "it waits until A must have stopped");
    assert!(world.until(2_000, |world| world.primary() == Some(B)));
    world.mend_channels(Channel::ALL);
    assert!(world.until(20_000, World::is_whole), "{}", world.describe());
    assert_eq!(world.primary(), Some(B), "A follows");
    world.conclude();
}

#[test]
fn a_secondary_that_is_cut_off_waits_and_the_primary_goes_on() {
    let mut world = World::scripted(Vote::Ping);
    world.cut(Channel::AB | Channel::B_W | Channel::W_B);
    assert!(!world.until(10_000, |world| !serves(world, A) || serves(world, B)));
    assert!(world.acknowledged_within(2_000) > 0, "alone");
    world.conclude();
}

#[test]
fn a_secondary_takes_over_from_a_dead_primary() {
    let mut world = World::scripted(Vote::Ping);
    world.lose(A);
    assert!(world.until(5_000, |world| world.primary() == Some(B)));
    world.conclude();
}

#[test]
fn the_loss_of_the_outside_alone_changes_nothing() {
    let mut world = World::scripted(Vote::Ping);
    world.cut(Channel::A_W | Channel::W_A | Channel::B_W | Channel::W_B);
    assert!(!world.until(15_000, |world| world.primary() != Some(A)));
    assert!(world.acknowledged_within(1_000) > 0);
    world.conclude();
}

#[test]
fn a_primary_alone_survives_the_loss_of_the_outside() {
    let mut world = World::scripted(Vote::Ping);
    world.lose(B);
    world.pass(5_000);
    assert!(world.acknowledged_within(1_000) > 0);
    world.cut(Channel::A_W | Channel::W_A);
    assert!(!world.until(15_000, |world| world.primary() != Some(A)));
    world.conclude();
}

#[test]
fn without_peer_and_outside_both_wait_and_resume_when_they_meet() {
    let mut world = World::scripted(Vote::Ping);
    world.cut(Channel::ALL);
    assert!(world.until(5_000, |world| !serves(world, A)));
    assert!(!world.until(20_000, |world| serves(world, A) || serves(world, B)));
    world.mend_channels(Channel::ALL);
    assert!(world.until(20_000, World::is_whole), "{}", world.describe());
    assert_eq!(world.primary(), Some(A), "the holder resumes on its peer's promise");
    world.conclude();
}

/// The documented limit: evidence is not a vote.
#[test]
fn two_primaries_when_only_the_link_between_the_nodes_is_cut() {
    let mut world = World::scripted(Vote::Ping);
    world.cut(Channel::AB);
    assert!(world.until(10_000, |world| world.scene.nodes.iter().all(Node::serves)));
    world.pass(2_000);
    world.mend_channels(Channel::AB);
    assert!(world.until(20_000, World::is_whole), "{}", world.describe());
    assert_eq!(world.primary(), Some(A), "the former primary goes on");
    assert!(!world.scene.nodes[B].disk.aside.is_empty(), "what only B had is kept");
    world.conclude();
}
