//! Schedules about views: who takes which bucket.

use ha_sim::farm::fault::Fault;
use ha_sim::farm::network::Act;
use ha_sim::farm::script::proposes;
use ha_sim::farm::world::World;
use ha_sim::farm::world::build::Setup;

const LONG: u64 = 3_600_000_000_000;

fn farm(members: usize) -> World {
    World::scripted(&Setup::plain(members))
}

/// F3. A–B cut; {A, C} forms; B serves everything; B and C hear each other and both take.
#[test]
fn chain_a_c_b() {
    let mut world = farm(3);
    world.inject(Fault::CutPair { one: 0, other: 1, lasts: LONG });
    let formed = world.until(12, |world| {
        !world.scene.is_open(1) && world.takers(0).iter().all(|takers| takers.len() == 1)
    });
    assert!(formed, "{}B stands by, and A and C take everything", world.tail());
    world.pass(30);
    assert!(!world.scene.is_open(1), "B takes nothing as long as C is linked to it");
    world.finish();
}

/// F6. SIGSTOP, others take over, it resumes, finds everybody silent, takes everything.
#[test]
fn a_paused_daemon_hears_silence() {
    let mut world = farm(3);
    world.pause(2, 20 * world.scene.spans.interval);
    let over = world.until(8, |world| {
        let takers = world.takers(0);
        takers.iter().all(|takers| takers.len() == 1 && takers[0] != 2)
    });
    assert!(over, "{}the others take over", world.tail());
    world.pass(30);
    assert!(world.takers(0).iter().any(|takers| *takers == [2]), "it is back");
    world.finish();
}

/// F5. It resumes, its beat extends the lease, the old table opens again.
#[test]
fn an_ended_lease_is_renewed() {
    for hundredths in [185, 200, 230, 260, 290, 320, 350] {
        let mut world = farm(3);
        let before = world.scene.nodes[1].view;
        world.pause(1, hundredths * world.scene.spans.interval / 100);
        world.pass_hundredths(hundredths + 1);
        assert!(!world.scene.is_open(1), "its lease ended, and it waits for a new view");
        let back = world.until(20, |world| world.scene.is_open(1));
        assert!(back, "{}it serves again", world.tail());
        assert!(world.scene.nodes[1].view > before, "in a new view");
        world.finish();
    }
}

/// F4. At heal both propose the same counter; members stand by; nobody goes on.
#[test]
fn two_coordinators_one_counter() {
    let mut world = farm(4);
    let split = Fault::Split { group: 0b0011, lasts: LONG };
    world.inject(split);
    world.pass(20);
    let counters: Vec<u64> = world.scene.nodes.iter().map(|node| node.view.counter).collect();
    assert_eq!(counters[0], counters[2], "both groups went on from one counter");
    world.mend(split);
    world.finish();
}

/// View id with boot. A restarted coordinator reuses its counter: two tables, one epoch.
#[test]
fn a_restarted_coordinator_reuses_its_counter() {
    let mut world = farm(3);
    let before = world.scene.nodes[0].view;
    world.rule(Some(0), None, proposes, Act::Hold, u32::MAX);
    world.inject(Fault::Weight { node: 0, weight: 3 });
    world.pass_hundredths(30);
    world.inject(Fault::HostKill { node: 0, down: world.scene.spans.interval / 2 });
    world.scene.network.rules.clear();
    world.pass(3);
    world.release();
    world.pass(20);
    assert!(world.scene.nodes[0].view > before, "a new view came");
    world.finish();
}

/// Whole. A member refuses its coordinator's newer view and keeps its buckets.
#[test]
fn an_old_view_looks_complete() {
    let mut world = farm(4);
    world.rule(Some(0), Some(2), proposes, Act::Drop, 400);
    world.inject(Fault::HostKill { node: 3, down: LONG });
    world.pass(40);
    world.scene.network.rules.clear();
    let settled = world.until(12, |world| world.takers(0).iter().all(|takers| takers.len() == 1));
    assert!(settled, "{}member 2 goes on to the view of the others", world.tail());
    world.finish();
}

/// F2. The other takes, then an older proposal is installed by the first, and both take.
#[test]
fn a_stale_i_take_nothing() {
    let mut world = farm(3);
    // Member 2 stands by, and what would include it is under way.
    world.rule(Some(0), Some(2), proposes, Act::Hold, u32::MAX);
    world.inject(Fault::DaemonKill { node: 2, down: world.scene.spans.interval });
    world.pass(15);
    world.inject(Fault::CutPair { one: 0, other: 2, lasts: LONG });
    let mut late = 0;
    for _ in 0..40 {
        world.pass_hundredths(25);
        late += world.scene.network.held.len();
        world.release();
    }
    assert!(late > 0, "an older proposal came late");
    world.finish();
}

/// F6. Its buckets are given away while the old filter runs on to the end of its lease.
#[test]
fn daemon_killed_new_boot_at_50_ms() {
    let mut world = farm(3);
    world.kill_daemon(2);
    world.pass_hundredths(50);
    assert!(world.scene.is_open(2), "the dead daemon's filter runs on");
    world.boot(2);
    assert!(!world.scene.is_open(2), "and is closed before the first beat");
    world.finish();
}

/// F9, F5. A dead daemon's kernel still answers ARP.
#[test]
fn a_dead_daemons_kernel_answers_no_arp() {
    let mut world = farm(3);
    world.kill_daemon(1);
    for _ in 0..20 {
        world.ask();
        world.pass_hundredths(50);
    }
    assert!(!world.scene.is_open(1), "its lease has ended");
    world.finish();
}

/// F1, F3, FG3. A–B cut; C, which both are linked to, boots: both propose to it, each time it goes
/// on with the one that has the higher id, and takes nothing because of the better one.
#[test]
fn two_cliques_share_a_member() {
    let mut world = farm(3);
    world.inject(Fault::HostKill { node: 2, down: 8 * world.scene.spans.interval });
    world.inject(Fault::CutPair { one: 0, other: 1, lasts: LONG });
    world.pass(40);
    let takers = world.takers(0);
    assert!(
        takers.iter().all(|takers| takers.len() == 1 && takers[0] != 1),
        "{}A and C take everything",
        world.tail()
    );
    let view = world.scene.nodes[0].view;
    world.pass(20);
    assert_eq!(world.scene.nodes[0].view, view, "{}and go on with it", world.tail());
    world.finish();
}

/// F2, Messages. A hears nothing of B, which hears A: A cannot tell B of the view that goes on
/// without it, and C has to; it waits for B to be at that view or above.
#[test]
fn who_stands_by_is_told_by_whom_it_is_linked_to() {
    let mut world = farm(3);
    world.inject(Fault::Pause { node: 2, lasts: 20 * world.scene.spans.interval });
    world.inject(Fault::CutOneWay { from: 1, to: 0, lasts: LONG });
    world.pass(40);
    let takers = world.takers(0);
    assert!(
        takers.iter().all(|takers| takers.len() == 1 && takers[0] != 1),
        "{}A and C take everything",
        world.tail()
    );
    world.finish();
}
