//! R13: a swap needs a peer that the witness counts, not only one whose acks are waited for.

use ha_core::Order;
use ha_quorum::Vote;
use ha_sim::fault::Fault;
use ha_sim::network::{Act, Site};
use ha_sim::script::{A, B, asks_admit};
use ha_sim::weather::MS;
use ha_sim::world::World;

#[test]
fn a_peer_that_is_not_admitted_yet_is_not_handed_the_service() {
    let mut world = World::scripted(Vote::Arbiter);
    world.inject(Fault::Kill { node: B, down: 8_000 * MS });
    assert!(world.until(6_000, |world| world.scene.may_run_alone(A)));
    world.rule(Site::Node(A), Site::Witness, asks_admit, Act::Drop, 1_000);
    let grown = |world: &World| !world.scene.may_run_alone(A);
    assert!(world.until(20_000, grown), "A waits for the acks of B");
    world.pass(20);
    world.order(A, Order::Swap);
    for _ in 0..40 {
        world.pass(100);
        assert_eq!(world.primary(), Some(A), "nobody serves for nothing");
    }
    world.forget_rules();
    world.conclude();
}
