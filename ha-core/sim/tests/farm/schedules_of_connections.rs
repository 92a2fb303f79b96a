//! Schedules about connections, drains and frames that are handed on.

use ha_farm::Mode;
use ha_sim::farm::fault::Fault;
use ha_sim::farm::frame::Segment;
use ha_sim::farm::kernel::State;
use ha_sim::farm::network::Act;
use ha_sim::farm::script::proposes;
use ha_sim::farm::world::World;
use ha_sim::farm::world::build::Setup;

/// Buckets of member 2 drain towards the others.
fn draining() -> World {
    let mut world = World::scripted(&Setup::plain(3));
    world.inject(Fault::Weight { node: 2, weight: 0 });
    let moved = world.until(8, |world| {
        let takers = world.takers(0);
        takers.iter().all(|takers| takers.len() == 1 && takers[0] != 2)
    });
    assert!(moved, "{}its buckets go to the others", world.tail());
    world
}

/// Live socket. The usual socket look-up hides half-open ones and answers with the listener. Here the
/// kernel is the simulator's; that the real one is asked so is seen by `ha-core`'s `tests/plane`, with
/// sockets of the kernel in each state.
#[test]
fn half_open_sockets() {
    for (state, live) in
        [(State::Request, true), (State::Established, true), (State::TimeWait, false)]
    {
        let mut world = draining();
        let (flow, _) = world.draining_flow(2);
        world.connect(2, flow, state);
        let taken = world.show(&flow, Segment::Ack);
        assert_eq!(taken == [2], live, "a socket in {state:?}: {taken:?}");
        world.finish();
    }
}

/// F8. The same 4-tuple again after a move: old and new socket both answer.
#[test]
fn the_same_4_tuple_again_after_a_move() {
    let mut world = draining();
    let (flow, owner) = world.draining_flow(2);
    world.connect(2, flow, State::Established);
    assert_eq!(world.show(&flow, Segment::Ack), [2], "the old connection lives");
    assert_eq!(world.show(&flow, Segment::Syn), [owner], "a new one is the owner's");
    world.connect(owner, flow, State::Established);
    assert_eq!(world.show(&flow, Segment::Ack), [owner], "and the old claim has ended");
    world.finish();
}

/// F7. A drain towards a server that fails: the pinned bucket sends SYNs to it until the deadline.
#[test]
fn a_drain_towards_a_server_that_fails() {
    let mut world = draining();
    let (flow, owner) = world.draining_flow(2);
    world.kill_host(owner);
    let taken = world.until(8, |world| world.takers(0).iter().all(|takers| takers.len() == 1));
    assert!(taken, "{}every bucket is taken again, draining or not", world.tail());
    let syn = world.show(&flow, Segment::Syn);
    assert!(syn.len() == 1 && syn != [owner], "a new client is served: {syn:?}");
    world.finish();
}

/// F9. Directed, views askew: X → Y → X for ever.
#[test]
fn directed_views_askew() {
    let mut world = World::scripted(&Setup { mode: Mode::Directed, ..Setup::plain(3) });
    world.rule(Some(0), Some(1), proposes, Act::Drop, 200);
    world.inject(Fault::Weight { node: 2, weight: 0 });
    let mut askew = 0;
    for port in 0..400 {
        let flow = ha_sim::farm::frame::flow(ha_farm::Protocol::Tcp, 77, 2_000 + port);
        world.show(&flow, Segment::Syn);
        world.pass_hundredths(5);
        let [one, other] = [0, 1].map(|node| world.scene.nodes[node].view);
        askew += usize::from(one != other);
    }
    assert!(askew > 50, "the views of two that take differ at {askew} of 400 moments");
    world.finish();
}
