//! Counterexample 4 (R1, R12): a former primary does not serve on what its file says.

use ha_quorum::Vote;
use ha_sim::fault::Fault;
use ha_sim::network::Channel;
use ha_sim::script::{A, B};
use ha_sim::world::World;

#[test]
fn a_restarted_primary_that_reaches_nobody_waits() {
    let mut world = World::scripted(Vote::Arbiter);
    world.cut(Channel::AB | Channel::A_W | Channel::W_A);
    world.inject(Fault::Kill { node: A, down: 100_000_000 });
    assert!(world.until(10_000, |world| world.primary() == Some(B)));
    world.pass(10_000);
    assert!(!world.scene.nodes[A].serves());
    world.conclude();
}

#[test]
fn a_restarted_primary_that_reaches_its_peer_goes_on() {
    let mut world = World::scripted(Vote::Arbiter);
    world.inject(Fault::Kill { node: A, down: 100_000_000 });
    assert!(world.until(10_000, |world| world.primary().is_some()));
    assert!(world.acknowledged_within(3_000) > 0);
    world.conclude();
}
