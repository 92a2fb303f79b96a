//! An orderly stop of a primary with a ready secondary: the service is away for as long as a swap.

use ha_core::Order;
use ha_proto::{NodeId, Role};
use ha_quorum::Vote;
use ha_sim::fact::Fact;
use ha_sim::fault::Fault;
use ha_sim::network::{Act, Site};
use ha_sim::script::{A, B, LONG};
use ha_sim::weather::MS;
use ha_sim::world::World;

/// Whether a process that ended now would end in order.
fn has_stopped(world: &World, node: usize) -> bool {
    let view = world.scene.nodes[node].mirror.as_ref().expect("it runs").view();
    view.role == Role::Stop && view.ready
}

/// The longest time without a primary in the next `millis`.
fn longest_gap(world: &mut World, millis: u64) -> u64 {
    let (mut longest, mut gap) = (0, 0);
    for _ in 0..millis / 10 {
        world.pass(10);
        gap = if world.primary().is_none() { gap + 10 } else { 0 };
        longest = longest.max(gap);
    }
    longest
}

#[test]
fn a_primary_that_is_stopped_hands_over_first() {
    for vote in [Vote::Arbiter, Vote::None, Vote::Manual, Vote::Ping] {
        let mut world = World::scripted(vote);
        world.order(A, Order::Stop);
        let gap = longest_gap(&mut world, 4_000);
        assert!(gap <= 500 && world.primary() == Some(B), "{gap} ms {}", world.tail());
        assert!(has_stopped(&world, A));
        world.order(A, Order::Start);
        world.conclude();
    }
}

/// R9: a witness changes no holder for a lease after its start. Stopped at once, nobody would serve
/// until then.
#[test]
fn a_primary_that_is_stopped_serves_until_its_witness_gives_it_away() {
    let mut world = World::scripted(Vote::Arbiter);
    world.inject(Fault::WitnessKill { down: 200 * MS });
    world.pass(1_500);
    world.order(A, Order::Stop);
    world.pass(300);
    assert_eq!(world.primary(), Some(A), "{}", world.tail());
    let gap = longest_gap(&mut world, 6_000);
    assert!(gap <= 500 && world.primary() == Some(B), "{gap} ms {}", world.tail());
    assert!(has_stopped(&world, A));
    world.order(A, Order::Start);
    world.conclude();
}

/// Nobody else can serve, so there is nothing to wait for but the end of the stop itself.
#[test]
fn a_primary_without_a_ready_peer_stops_at_once() {
    let mut world = World::scripted(Vote::Arbiter);
    world.lose(B);
    assert!(world.until(6_000, |world| world.scene.may_run_alone(A)));
    world.order(A, Order::Stop);
    assert!(world.until(500, |world| has_stopped(world, A)), "{}", world.tail());
    world.start(B);
    world.order(A, Order::Start);
    world.conclude();
}

/// The peer is ready and cannot take over without the witness, which may never come back.
#[test]
fn a_stop_ends_though_nobody_takes_over() {
    let mut world = World::scripted(Vote::Arbiter);
    world.inject(Fault::WitnessKill { down: LONG });
    world.pass(3_000);
    world.order(A, Order::Stop);
    world.pass(1_000);
    assert_eq!(world.primary(), None, "{}", world.tail());
    assert!(world.until(7_000, |world| has_stopped(world, A)), "{}", world.tail());
    world.order(A, Order::Start);
    world.conclude();
}

/// One lost datagram, and the peer would wait for the end of its promise.
#[test]
fn a_process_that_ends_once_it_has_stopped_was_heard() {
    let told = |fact: &Fact| match fact {
        Fact::Beat(beat) => beat.status.membership.holder == NodeId::new(1).expect("an id"),
        Fact::Ask(_) | Fact::Answer(_) => false,
    };
    let mut world = World::scripted(Vote::Arbiter);
    world.rule(Site::Node(A), Site::Node(B), told, Act::Drop, 3);
    world.order(A, Order::Stop);
    assert!(world.until(3_000, |world| has_stopped(world, A)), "{}", world.tail());
    world.lose(A);
    assert!(world.until(1_000, |world| world.primary() == Some(B)), "{}", world.tail());
    world.start(A);
    world.conclude();
}
