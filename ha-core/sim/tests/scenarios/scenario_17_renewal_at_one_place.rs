//! Counterexample 17 (R6 both): a primary that loses its peer still has its lease at W.

use ha_quorum::Vote;
use ha_sim::network::Channel;
use ha_sim::script::A;
use ha_sim::world::World;

#[test]
fn who_serves_does_not_change_when_the_link_is_cut() {
    let mut world = World::scripted(Vote::Arbiter);
    world.pass(10_000);
    world.cut(Channel::AB);
    let moved = world.until(15_000, |world| world.primary() != Some(A));
    assert!(!moved, "no move, no restart");
    assert!(world.acknowledged_within(500) > 0);
    world.conclude();
}

#[test]
fn nor_when_the_witness_is_cut_off() {
    let mut world = World::scripted(Vote::Arbiter);
    world.cut(Channel::A_W | Channel::W_A);
    let moved = world.until(15_000, |world| world.primary() != Some(A));
    assert!(!moved, "the peer renews as well");
    world.conclude();
}
