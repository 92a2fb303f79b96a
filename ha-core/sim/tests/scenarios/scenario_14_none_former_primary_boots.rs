//! Counterexample 14 (without a witness, only a saved {self} starts alone): stale data are not
//! served, though addresses outside answer.

use ha_quorum::Vote;
use ha_sim::script::{A, B};
use ha_sim::world::World;

#[test]
fn a_node_that_was_one_of_two_waits_for_the_other() {
    for vote in [Vote::None, Vote::Ping] {
        let mut world = World::scripted(vote);
        world.lose(A);
        assert!(world.until(10_000, |world| world.primary() == Some(B)));
        assert!(world.acknowledged_within(2_000) > 0);
        world.lose(B);
        // Also what B said last: A knows nothing of its reign.
        world.pass(10);
        world.start(A);
        world.pass(20_000);
        assert_eq!(world.primary(), None, "A would serve stale data: {vote}");
        world.start(B);
        assert!(world.until(20_000, World::is_whole), "{}", world.describe());
        world.conclude();
    }
}
