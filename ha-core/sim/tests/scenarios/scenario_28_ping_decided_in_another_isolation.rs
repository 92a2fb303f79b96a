//! `ping`: what a look decided counts in the isolation that it looked in, whenever its save lands.

use ha_core::Order;
use ha_quorum::Vote;
use ha_sim::fault::Fault;
use ha_sim::network::Channel;
use ha_sim::node::Node;
use ha_sim::script::{A, B, LONG};
use ha_sim::weather::MS;
use ha_sim::world::World;

/// B is primary: its epoch is above one of A's with the same counter, so that what it saves too late
/// stands.
fn whole_with_b() -> World {
    let mut world = World::scripted(Vote::Ping);
    world.order(A, Order::Swap);
    assert!(world.until(20_000, |world| world.primary() == Some(B) && world.is_whole()));
    world.pass(3_000);
    world
}

/// The same, and A makes no progress: B sees the outside and excludes it, and cannot save that.
fn excluding() -> World {
    let mut world = whole_with_b();
    world.inject(Fault::DiskHang { node: A, lasts: LONG });
    world.pass(500);
    world.inject(Fault::DiskHang { node: B, lasts: LONG });
    let looked = |world: &World| {
        let node = world.scene.nodes[B].mirror.as_ref().expect("it runs");
        node.view().witness.outside == Some(true)
    };
    assert!(world.until(20_000, looked), "{}", world.describe());
    world
}

/// B was cut off from everything, A goes on alone, and only now B's disk answers.
fn serves_once_when_its_disk_answers(mut world: World) {
    world.pass(10_000);
    assert_eq!(world.primary(), Some(A), "{}", world.describe());
    world.disk_answers(B);
    let both = world.until(20_000, |world| world.scene.nodes.iter().all(Node::serves));
    assert!(!both, "two primaries, and one sees no outside");
    world.mend_channels(CUT_OFF);
    assert!(world.until(30_000, World::is_whole), "{}", world.describe());
}

/// B from A and from the outside.
const CUT_OFF: u16 = Channel::AB | Channel::B_W | Channel::W_B;

#[test]
fn a_reign_alone_that_was_saved_too_late_gives_no_right() {
    let mut world = whole_with_b();
    // B sees the outside, decides to go on alone, and cannot save it.
    world.inject(Fault::DiskHang { node: B, lasts: LONG });
    world.cut(Channel::AB);
    let lost = |world: &World| {
        let node = world.scene.nodes[B].mirror.as_ref().expect("it runs");
        !node.status().peer_up
    };
    assert!(world.until(3_000, lost));
    world.pass(20);
    // They meet again, and A takes over from the disk that hangs.
    world.mend_channels(Channel::AB);
    let a = world.scene.nodes[A].id;
    let took = |world: &World| world.scene.nodes[A].disk.saved.membership.holder == a;
    assert!(world.until(20_000, took), "{}", world.describe());
    world.cut(CUT_OFF);
    serves_once_when_its_disk_answers(world);
}

#[test]
fn a_reign_alone_that_is_saved_beside_a_peer_that_serves_gives_no_right() {
    let mut world = excluding();
    // B stops for its disk, and A, whose own is back, serves in its place.
    world.disk_answers(A);
    assert!(world.until(20_000, |world| world.primary() == Some(A)), "{}", world.describe());
    world.cut(CUT_OFF);
    serves_once_when_its_disk_answers(world);
}

#[test]
fn who_yields_has_no_right_by_what_it_saves_later() {
    let mut world = excluding();
    world.disk_answers(A);
    let a = world.scene.nodes[A].id;
    let took = |world: &World| world.scene.nodes[A].disk.saved.membership.holder == a;
    assert!(world.until(20_000, took), "{}", world.describe());
    // B told that it yields, and never hears that A serves; its disk answers before it misses A.
    world.cut(CUT_OFF);
    world.disk_answers(B);
    let both = world.until(10_000, |world| world.scene.nodes.iter().all(Node::serves));
    assert!(!both, "two primaries, and one sees no outside");
    assert_eq!(world.primary(), Some(A), "{}", world.describe());
}

#[test]
fn what_was_seen_before_the_isolation_gives_no_right_in_it() {
    let mut world = excluding();
    world.cut(CUT_OFF);
    world.disk_answers(A);
    serves_once_when_its_disk_answers(world);
}

#[test]
fn who_decided_before_its_peer_died_looks_again_and_goes_on() {
    let mut world = excluding();
    world.lose(A);
    world.pass(10_000);
    world.disk_answers(B);
    assert!(world.until(20_000, |world| world.primary() == Some(B)), "{}", world.describe());
}

#[test]
fn who_won_over_another_primary_goes_on_when_its_peer_and_the_outside_are_lost() {
    let mut world = World::scripted(Vote::Ping);
    assert!(world.until(20_000, |world| world.primary() == Some(A) && world.is_whole()));
    world.pass(3_000);
    // Both see the outside: two primaries, as documented.
    world.cut(Channel::AB);
    assert!(world.until(20_000, |world| world.scene.nodes.iter().all(Node::serves)));
    world.pass(3_000);
    // A wins, and cannot save that before its peer dies and the outside is lost.
    world.inject(Fault::DiskHang { node: A, lasts: LONG });
    world.mend_channels(Channel::AB);
    assert!(world.until(6_000, |world| !world.scene.nodes[B].serves()), "{}", world.describe());
    world.lose(B);
    world.cut(Channel::A_W | Channel::W_A);
    world.pass(10_000);
    world.disk_answers(A);
    // What is saved says so already (R7).
    assert!(world.until(20_000, |world| world.primary() == Some(A)), "{}", world.describe());
}

/// What B decided on in another isolation is saved, and B is cut off from everything.
fn shut_out() -> World {
    let mut world = excluding();
    world.disk_answers(A);
    assert!(world.until(20_000, |world| world.primary() == Some(A)), "{}", world.describe());
    world.cut(CUT_OFF);
    world.pass(10_000);
    world.disk_answers(B);
    world.pass(5_000);
    assert_eq!(world.primary(), Some(A), "{}", world.describe());
    world
}

#[test]
fn a_contest_won_by_what_gives_no_right_gives_none_before_it_is_saved() {
    let mut world = shut_out();
    world.inject(Fault::DiskHang { node: B, lasts: LONG });
    world.mend_channels(CUT_OFF);
    // B wins as the former primary, and cannot save that.
    assert!(world.until(6_000, |world| world.primary() != Some(A)), "{}", world.describe());
    world.cut(CUT_OFF);
    world.pass(8_000);
    world.disk_answers(B);
    let both = world.until(20_000, |world| world.scene.nodes.iter().all(Node::serves));
    assert!(!both, "two primaries: {}", world.describe());
}

#[test]
fn an_upgrade_does_not_forget_that_it_gives_no_right() {
    let mut world = shut_out();
    world.inject(Fault::Upgrade { node: B, gap: 50 * MS, lost: false });
    let both = world.until(20_000, |world| world.scene.nodes.iter().all(Node::serves));
    assert!(!both, "two primaries: {}", world.describe());
}

#[test]
fn an_operators_override_gives_the_right_all_the_same() {
    let mut world = shut_out();
    world.order(B, Order::PrimForce);
    assert!(world.until(20_000, |world| world.scene.nodes[B].serves()), "{}", world.describe());
    // Also if the peer is lost before it is saved.
    let mut world = whole_with_b();
    world.inject(Fault::DiskHang { node: A, lasts: LONG });
    world.pass(300);
    world.order(A, Order::PrimForce);
    world.pass(100);
    world.cut(Channel::AB | Channel::A_W | Channel::W_A);
    world.pass(5_000);
    world.disk_answers(A);
    assert!(world.until(20_000, |world| world.scene.nodes[A].serves()), "{}", world.describe());
}
