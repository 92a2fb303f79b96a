//! A daemon is replaced by another process of its boot while its application runs on.

use ha_proto::DataState;
use ha_quorum::Vote;
use ha_sim::fault::Fault;
use ha_sim::network::{Act, Channel, Site};
use ha_sim::script::{A, B, LONG, asks_give, asks_take, is_answer};
use ha_sim::weather::MS;
use ha_sim::world::World;

const MARK: &str = "the upgrade";

fn upgrade(world: &mut World, node: usize, millis: u64) {
    world.step(MARK);
    world.inject(Fault::Upgrade { node, gap: millis * MS, lost: false });
}

/// What was written into the trace since the upgrade.
fn since(world: &World) -> &str {
    let text = world.trace.text();
    &text[text.rfind(MARK).expect("a step was written")..]
}

/// Nobody noticed but by a moment without answers: the one that serves went on, the other one
/// stayed its secondary, and no application was touched.
fn unnoticed(world: &World) {
    let said = since(world);
    for never in ["StartApp", "StopApp", "Fence", "PeerDown", "PeerRestarted", "TakeAddress"] {
        assert!(!said.contains(never), "{never} in {}", world.tail());
    }
    for never in ["DropAddress", "Take at", "boots", "WitnessSilent", "Membership(M"] {
        assert!(!said.contains(never), "{never} in {}", world.tail());
    }
    assert!(said.contains("goes on in another process"), "{}", world.tail());
}

#[test]
fn a_primary_goes_on_in_another_process() {
    for vote in [Vote::Arbiter, Vote::None, Vote::Manual, Vote::Ping] {
        let mut world = World::scripted(vote);
        let epoch = world.scene.nodes[A].disk.saved.membership.epoch;
        for millis in [5, 120, 600] {
            upgrade(&mut world, A, millis);
            assert!(world.until(1_000, |world| world.primary() != Some(A)), "a moment");
            assert!(world.until(millis + 100, |world| world.primary() == Some(A)));
            assert!(world.acknowledged_within(3_000) > 10);
            unnoticed(&world);
            assert!(since(&world).contains("AdoptApp"));
        }
        assert!(world.is_whole());
        assert_eq!(world.scene.nodes[A].disk.saved.membership.epoch, epoch, "no new reign");
        world.conclude();
    }
}

#[test]
fn a_secondary_goes_on_in_another_process() {
    for vote in [Vote::Arbiter, Vote::None, Vote::Manual, Vote::Ping] {
        let mut world = World::scripted(vote);
        for millis in [5, 120, 600] {
            upgrade(&mut world, B, millis);
            assert!(world.acknowledged_within(3_000) > 10);
            unnoticed(&world);
            assert!(world.is_whole());
        }
        world.step("and it takes over like any other");
        world.lose(A);
        assert!(world.until(8_000, |world| world.primary() == Some(B)) || vote == Vote::Manual);
        world.conclude();
    }
}

#[test]
fn both_at_once_go_on() {
    let mut world = World::scripted(Vote::Arbiter);
    upgrade(&mut world, B, 300);
    world.inject(Fault::Upgrade { node: A, gap: 310 * MS, lost: false });
    assert!(world.acknowledged_within(3_000) > 10);
    unnoticed(&world);
    world.conclude();
}

#[test]
fn a_promise_binds_the_next_process() {
    let mut world = World::scripted(Vote::Arbiter);
    world.cut(Channel::A_W | Channel::W_A);
    world.pass(6_000);
    assert_eq!(world.primary(), Some(A), "on the promise of B alone");
    upgrade(&mut world, B, 700);
    world.cut(Channel::AB);
    let asked = |world: &World| since(world).contains("Take at");
    assert!(!world.until(2_300, asked), "R6: B has promised");
    assert!(world.until(6_000, |world| world.primary() == Some(B)));
    world.conclude();
}

#[test]
fn a_lease_ends_for_the_next_process_when_it_would_have_for_this_one() {
    let mut world = World::scripted(Vote::Arbiter);
    upgrade(&mut world, A, 1_500);
    world.cut(Channel::AB | Channel::A_W | Channel::W_A);
    assert!(world.until(2_000, |world| since(world).contains("goes on in another process")));
    assert!(world.scene.nodes[A].serves());
    assert!(world.until(3_000, |world| !world.scene.nodes[A].serves()), "R5");
    assert!(world.until(6_000, |world| world.primary() == Some(B)));
    world.conclude();
}

#[test]
fn what_was_answered_between_two_processes_extends_nothing() {
    let mut world = World::scripted(Vote::Arbiter);
    world.rule(Site::Witness, Site::Node(A), is_answer, Act::Hold, 1);
    assert!(world.until(2_000, |world| !world.scene.network.held.is_empty()));
    world.forget_rules();
    upgrade(&mut world, A, 50);
    world.pass(60);
    world.step("the answer to the old process comes to the new one");
    world.cut(Channel::AB | Channel::A_W | Channel::W_A);
    world.release();
    world.pass(5_000);
    assert!(!world.scene.nodes[A].serves());
    assert_eq!(world.primary(), Some(B));
    world.conclude();
}

#[test]
fn a_next_process_that_is_too_late_boots_and_the_guardian_was_in_time() {
    for lost in [false, true] {
        let mut world = World::scripted(Vote::Arbiter);
        world.step(MARK);
        world.inject(Fault::Upgrade { node: A, gap: 3_500 * MS, lost });
        assert!(world.until(500, |world| world.scene.nodes[A].is_handed_over()));
        assert!(world.scene.nodes[A].serves(), "it answers until its lifetime is over");
        assert!(world.until(3_400, |world| !world.scene.nodes[A].serves()));
        assert!(since(&world).contains("ended by its guardian"));
        assert!(world.until(4_000, |world| world.primary() == Some(B)));
        assert!(world.until(2_000, |world| since(world).contains("boots")));
        world.conclude();
    }
}

#[test]
fn a_baton_that_is_lost_is_a_boot() {
    let mut world = World::scripted(Vote::Arbiter);
    world.step(MARK);
    world.inject(Fault::Upgrade { node: B, gap: 100 * MS, lost: true });
    world.inject(Fault::PowerCut { node: A, down: LONG });
    assert!(world.until(500, |world| since(world).contains("boots")));
    let asked = |world: &World| since(world).contains("Take at");
    assert!(!world.until(2_900, asked), "R9: a boot is bound");
    assert!(world.until(4_000, |world| world.primary() == Some(B)));
    world.conclude();
}

#[test]
fn nobody_hands_over_while_the_service_is_given_away() {
    let mut world = World::scripted(Vote::Arbiter);
    world.pass(4_000);
    world.rule(Site::Node(A), Site::Witness, asks_give, Act::Drop, 1_000);
    world.inject(Fault::Order { node: A, order: ha_core::Order::Swap });
    assert!(world.until(2_000, |world| world.primary().is_none()));
    world.pass(300);
    upgrade(&mut world, A, 10);
    world.pass(2_000);
    let refused = "no upgrade: it hands the service over to its peer";
    assert!(since(&world).contains(refused), "{}", world.tail());
    world.conclude();
}

#[test]
fn a_candidate_that_waits_for_an_answer_asks_anew_in_the_next_process() {
    let mut world = World::scripted(Vote::Arbiter);
    world.lose(A);
    world.rule(Site::Node(B), Site::Witness, asks_take, Act::Hold, 1);
    assert!(world.until(8_000, |world| !world.scene.network.held.is_empty()));
    upgrade(&mut world, B, 20);
    world.step("the Take of the old process is late, the answer comes to the new one");
    world.release();
    assert!(world.until(3_000, |world| world.primary() == Some(B)));
    world.conclude();
}

#[test]
fn a_lone_primary_goes_on_without_its_witness() {
    let mut world = World::scripted(Vote::Arbiter);
    world.lose(B);
    let alone = |world: &World| world.scene.may_run_alone(A);
    assert!(world.until(8_000, alone));
    world.inject(Fault::WitnessKill { down: LONG });
    world.pass(4_000);
    upgrade(&mut world, A, 400);
    assert!(world.acknowledged_within(3_000) > 5);
    let said = since(&world);
    assert!(said.contains("goes on in another process") && !said.contains("StopApp"));
    world.conclude();
}

#[test]
fn without_a_witness_nothing_goes_on_after_the_peer_took_over() {
    let mut world = World::scripted(Vote::None);
    upgrade(&mut world, A, 1_300);
    assert!(world.until(5_000, |world| world.primary() == Some(B)));
    assert!(world.until(1_000, |world| since(world).contains("no baton: Err(Late(")));
    assert!(!since(&world).contains("goes on in another process"));
    world.conclude();
}

#[test]
fn a_node_whose_disk_failed_does_not_hand_over() {
    let mut world = World::scripted(Vote::Arbiter);
    world.inject(Fault::DiskFail { node: B });
    assert!(world.until(2_000, |world| world.scene.nodes[B].storage_failed));
    upgrade(&mut world, B, 10);
    let says = "no upgrade: its storage failed";
    assert!(world.until(100, |world| since(world).contains(says)), "{}", world.tail());
    assert!(world.scene.nodes[A].serves());
    world.inject(Fault::Kill { node: B, down: 100 * MS });
    assert!(world.until(20_000, World::is_whole), "{}", world.describe());
    world.conclude();
}

#[test]
fn a_node_whose_data_are_not_complete_boots() {
    let mut world = World::scripted(Vote::Arbiter);
    world.inject(Fault::NodeReplace { node: B, down: 100 * MS });
    let incomplete = |world: &World| {
        let node = &world.scene.nodes[B];
        node.runs() && node.disk.saved.state != DataState::Complete
    };
    assert!(world.until(2_000, incomplete), "{}", world.describe());
    upgrade(&mut world, B, 50);
    assert!(world.until(1_000, |world| since(world).contains("nothing to hand over")));
    assert!(world.until(1_000, |world| since(world).contains("boots")));
    assert!(world.scene.nodes[A].serves());
    assert!(world.until(20_000, World::is_whole), "{}", world.describe());
    world.conclude();
}
