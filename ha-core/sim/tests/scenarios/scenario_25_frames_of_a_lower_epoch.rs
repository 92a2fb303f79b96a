//! R3, G1: a follower takes no record from frames of an epoch below its own, not even the next one
//! with the right chain.

use ha_quorum::Vote;
use ha_sim::fault::Fault;
use ha_sim::script::{A, B, LONG};
use ha_sim::weather::MS;
use ha_sim::world::World;

/// The first byte of a message with records.
const FRAMES: u8 = 3;

#[test]
fn frames_that_outlive_their_epoch_are_refused() {
    let mut world = World::scripted(Vote::Arbiter);
    let head = |world: &World, node: usize| world.scene.nodes[node].disk.log.head().seq;
    world.inject(Fault::DiskSlow { node: B, lasts: LONG });
    world.remember_stream();
    assert!(world.until(2_000, |world| head(world, A) > head(world, B)));
    world.pass(1);
    let frames = world.remembered(B, FRAMES).expect("A sends what it appends");
    let kept = head(&world, B);
    assert!(head(&world, A) > kept, "B has received it, and not synced it");
    world.inject(Fault::PowerCut { node: B, down: 3_000 * MS });
    world.scene.nodes[B].disk.log.truncate(kept);

    world.step("A goes on in a higher epoch, and B follows it there");
    world.scene.nodes[B].ailments.disk_slow = 0;
    let follows = |world: &World| {
        let status = world.scene.nodes[B].mirror.as_ref().map(ha_core::Mirror::status);
        status.is_some_and(|status| status.peer.following)
    };
    assert!(world.until(20_000, follows));
    assert_eq!(head(&world, B), kept, "the record is still the next one");
    world.inject(Fault::Pause { node: A, lasts: 100 * MS });
    world.say_late(B, frames);
    world.pass(50);
    assert_eq!(head(&world, B), kept, "what came from below is refused");
    world.conclude();
}
