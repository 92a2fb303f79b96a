//! Counterexample 3 (R4 shrink): no write is acknowledged alone before W has excluded the other.

use ha_quorum::Vote;
use ha_sim::network::{Act, Channel, Site};
use ha_sim::script::{A, B, asks_exclude};
use ha_sim::world::World;

#[test]
fn writes_stall_while_exclude_is_lost() {
    let mut world = World::scripted(Vote::Arbiter);
    world.rule(Site::Node(A), Site::Witness, asks_exclude, Act::Drop, 1_000);
    world.cut(Channel::AB);
    world.pass(50);
    let before = world.acknowledged;
    world.pass(5_000);
    assert_eq!(world.acknowledged, before, "nobody may acknowledge");

    world.lose(A);
    assert!(world.until(8_000, |world| world.primary() == Some(B)));
    world.conclude();
}
