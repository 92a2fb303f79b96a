//! Counterexample 14 (`none`, only a saved {self} starts alone): stale data are not served.

use ha_quorum::Vote;
use ha_sim::script::{A, B};
use ha_sim::world::World;

#[test]
fn a_node_that_was_one_of_two_waits_for_the_other() {
    let mut world = World::scripted(Vote::None);
    world.lose(A);
    assert!(world.until(10_000, |world| world.primary() == Some(B)));
    assert!(world.acknowledged_within(2_000) > 0);
    world.lose(B);
    // Also what B said last: A knows nothing of its reign.
    world.pass(10);
    world.start(A);
    world.pass(20_000);
    assert_eq!(world.primary(), None, "A would serve stale data");
    world.start(B);
    assert!(world.until(20_000, World::is_whole), "{}", world.describe());
    world.conclude();
}
