//! Counterexample 16 (Take leaves the set): a grant that is lost does not shut out the other.

use ha_quorum::Vote;
use ha_sim::network::{Act, Site};
use ha_sim::script::{A, B, is_answer};
use ha_sim::world::World;

#[test]
fn the_former_primary_returns_although_the_taker_is_gone() {
    let mut world = World::scripted(Vote::Arbiter);
    world.lose(A);
    world.rule(Site::Witness, Site::Node(B), is_answer, Act::Drop, 1_000);
    let id = world.scene.nodes[B].id;
    let taken = move |world: &World| {
        world.scene.register().is_some_and(|register| register.membership.holder == id)
    };
    assert!(world.until(10_000, taken), "W granted");
    world.lose(B);
    world.start(A);
    assert!(world.until(12_000, |world| world.primary() == Some(A)), "A has everything");
    assert!(world.acknowledged_within(2_000) > 0);
    world.conclude();
}
