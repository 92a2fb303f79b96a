//! Counterexample 17 (R6 both): a primary that loses its peer still has its lease at W.

use ha_quorum::{Request, Vote};
use ha_sim::fact::Fact;
use ha_sim::network::{Act, Channel, Site};
use ha_sim::script::{A, asks_exclude};
use ha_sim::world::World;

fn asks_renew(fact: &Fact) -> bool {
    fact.request() == Some(Request::Renew)
}

#[test]
fn who_serves_does_not_change_when_the_link_is_cut() {
    let mut world = World::scripted(Vote::Arbiter);
    world.pass(10_000);
    world.rule(Site::Node(A), Site::Witness, asks_renew, Act::Copy, 1);
    world.until(2_000, |world| !world.scene.network.held.is_empty());
    world.scene.network.held.clear();
    world.pass(150);
    world.step("the promise of B ends before W's lease does; A's Exclude is late");
    world.rule(Site::Node(A), Site::Witness, asks_exclude, Act::Hold, 1_000);
    world.cut(Channel::AB);
    let moved = world.until(3_200, |world| world.primary() != Some(A));
    assert!(!moved, "A renews at W");
    world.forget_rules();
    world.release();
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
