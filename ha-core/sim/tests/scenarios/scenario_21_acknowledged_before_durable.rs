//! Counterexample 21 (definition of *acknowledged*): a write counts once it is durable on every
//! member, not once it is received.

use ha_quorum::Vote;
use ha_sim::fault::Fault;
use ha_sim::script::{A, B, LONG};
use ha_sim::weather::MS;
use ha_sim::world::World;

#[test]
fn a_power_cut_at_the_member_and_the_loss_of_the_primary_lose_nothing() {
    for after in 0..8 {
        let mut world = World::scripted(Vote::Arbiter);
        world.inject(Fault::DiskSlow { node: B, lasts: LONG });
        world.pass(1_000);
        let head = |world: &World, node: usize| world.scene.nodes[node].disk.log.head().seq;
        let behind = |world: &World| head(world, A) > head(world, B);
        assert!(world.until(2_000, behind), "B has received what it has not synced");
        world.pass(after);
        world.lose(A);
        world.inject(Fault::PowerCut { node: B, down: 20 * MS });
        assert!(world.until(12_000, |world| world.primary() == Some(B)));
        assert!(world.acknowledged_within(2_000) > 0);
        world.conclude();
    }
}
