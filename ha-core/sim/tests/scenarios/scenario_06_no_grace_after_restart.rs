//! Counterexample 6 (R9): a node that boots is bound as by a promise.

use ha_quorum::Vote;
use ha_sim::fault::Fault;
use ha_sim::network::Channel;
use ha_sim::script::{A, B};
use ha_sim::world::World;

#[test]
fn a_promise_outlives_the_process_that_gave_it() {
    let mut world = World::scripted(Vote::Arbiter);
    world.cut(Channel::A_W | Channel::W_A);
    world.pass(6_000);
    assert_eq!(world.primary(), Some(A));
    world.cut(Channel::AB);
    world.inject(Fault::Kill { node: B, down: 20_000_000 });
    assert!(world.until(10_000, |world| world.primary() == Some(B)));
    world.conclude();
}
