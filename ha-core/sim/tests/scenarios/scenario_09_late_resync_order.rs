//! Counterexample 9 (R14 pull): an order to overwrite that comes late finds a member, and is void.

use ha_quorum::Vote;
use ha_sim::fault::Fault;
use ha_sim::script::{A, B};
use ha_sim::weather::MS;
use ha_sim::world::World;

#[test]
fn greetings_that_cross_resets_overwrite_nobody() {
    let mut world = World::scripted(Vote::Arbiter);
    for round in 0..12 {
        world.step("the stream breaks in the middle of a greeting");
        let node = if round % 2 == 0 { B } else { A };
        world.inject(Fault::Kill { node, down: 100 * MS });
        world.pass(200 + 37 * round);
        world.inject(Fault::Reset);
        world.pass(60 + 11 * round);
        world.inject(Fault::Reset);
        world.pass(4_000);
    }
    world.conclude();
}
