//! R12, G3: whatever a node once asked W, said again and again by somebody without the key, keeps
//! no lease alive and changes nothing; not even when W has restarted and forgotten who asked it.

use ha_proto::Epoch;
use ha_quorum::{Request, Vote};
use ha_sim::fact::Fact;
use ha_sim::fault::Fault;
use ha_sim::network::{Act, Site};
use ha_sim::script::{A, B, LONG};
use ha_sim::weather::MS;
use ha_sim::world::World;

/// How long the service may be away when A dies: the lease, and the start at B.
const TAKEOVER: u64 = 3_500;

fn is_ask(fact: &Fact) -> bool {
    fact.request().is_some()
}

fn asks_renew(fact: &Fact) -> bool {
    fact.request() == Some(Request::Renew)
}

fn epoch(world: &World) -> Epoch {
    world.scene.register().map(|register| register.membership.epoch).expect("W has a register")
}

/// A stranger has the last asks of A, and says them twice a second for so long, unless `want`.
fn said_again(world: &mut World, millis: u64, want: impl Fn(&World) -> bool) -> bool {
    (0..millis / 500).any(|_| {
        world.say_again();
        world.until(500, &want)
    })
}

#[test]
fn a_dead_primary_whose_asks_are_said_again_is_replaced_in_time() {
    let mut world = World::scripted(Vote::Arbiter);
    world.rule(Site::Node(A), Site::Witness, is_ask, Act::Copy, 1_000);
    world.pass(10_000);
    world.inject(Fault::Kill { node: A, down: LONG });
    assert!(said_again(&mut world, TAKEOVER, |world| world.primary() == Some(B)), "B takes over");
    let moved = said_again(&mut world, 10_000, |world| world.primary() != Some(B));
    assert!(!moved, "and stays");
    world.conclude();
}

#[test]
fn nor_do_they_help_a_dead_primary_at_a_witness_that_has_restarted() {
    let mut world = World::scripted(Vote::Arbiter);
    world.rule(Site::Node(A), Site::Witness, is_ask, Act::Copy, 1_000);
    world.pass(10_000);
    world.inject(Fault::Kill { node: A, down: LONG });
    world.inject(Fault::WitnessKill { down: 100 * MS });
    let took = said_again(&mut world, TAKEOVER + 500, |world| world.primary() == Some(B));
    assert!(took, "B takes over when W's grace is over");
    world.conclude();
}

#[test]
fn a_running_primary_does_not_notice_them() {
    let mut world = World::scripted(Vote::Arbiter);
    world.rule(Site::Node(A), Site::Witness, is_ask, Act::Copy, 1_000);
    world.rule(Site::Node(B), Site::Witness, is_ask, Act::Copy, 1_000);
    world.pass(10_000);
    let before = epoch(&world);
    assert!(!said_again(&mut world, 10_000, |world| world.primary() != Some(A)));
    assert_eq!(epoch(&world), before);
    world.conclude();
}

#[test]
fn a_running_primary_takes_at_a_witness_that_has_restarted_without_stopping() {
    let mut world = World::scripted(Vote::Arbiter);
    world.pass(5_000);
    let before = epoch(&world);
    let run = world.scene.nodes[A].host.run.map(|run| run.epoch);
    world.inject(Fault::WitnessKill { down: 100 * MS });
    world.rule(Site::Node(A), Site::Witness, asks_renew, Act::Copy, 2);
    // It renews within a third of the lease, and is refused; its Take takes one round trip more.
    let refused = world.until(1_200, |world| !world.scene.network.held.is_empty());
    assert!(refused, "A renews at W");
    let took = world.until(100, |world| epoch(world) > before);
    assert!(took, "A takes in one round trip and a store");
    let renews = world.until(100, |world| world.scene.network.held.len() == 2);
    assert!(renews, "and renews again");
    let stops = world.until(10_000, |world| world.primary() != Some(A));
    assert!(!stops);
    assert_eq!(world.scene.nodes[A].host.run.map(|run| run.epoch), run, "no restart");
    assert_eq!(epoch(&world).counter(), before.counter() + 1, "once");
    assert!(world.acknowledged_within(500) > 0);
    world.conclude();
}

#[test]
fn so_does_a_primary_that_is_alone() {
    let mut world = World::scripted(Vote::Arbiter);
    world.inject(Fault::Kill { node: B, down: LONG });
    assert!(world.until(5_000, |world| world.witness_set().len() == 1));
    world.pass(5_000);
    let before = epoch(&world);
    world.inject(Fault::WitnessKill { down: 100 * MS });
    assert!(!world.until(10_000, |world| world.primary() != Some(A)));
    assert_eq!(epoch(&world).counter(), before.counter() + 1);
    world.conclude();
}
