//! What a node does not repeat after a pause: things have changed meanwhile.

use ha_quorum::Vote;
use ha_sim::fault::Fault;
use ha_sim::network::{Act, Site};
use ha_sim::script::{A, B, asks_admit};
use ha_sim::weather::MS;
use ha_sim::world::World;

#[test]
fn a_peer_that_was_lost_during_the_pause_is_not_admitted_after_it() {
    let mut world = World::scripted(Vote::Arbiter);
    world.rule(Site::Node(A), Site::Witness, asks_admit, Act::Hold, 1_000);
    world.inject(Fault::Kill { node: B, down: 3_000 * MS });
    assert!(world.until(20_000, |world| !world.scene.network.held.is_empty()));

    world.step("the Admit is on its way when A stands still, and B is lost");
    world.inject(Fault::Pause { node: A, lasts: 5_000 * MS });
    world.pass(50);
    world.lose(B);
    let asked = world.scene.network.held.len();
    world.pass(6_000);
    assert_eq!(world.scene.network.held.len(), asked, "B is asked for no more");

    world.step("what was asked may land all the same, and B comes back");
    world.forget_rules();
    world.release();
    world.start(B);
    world.conclude();
}
