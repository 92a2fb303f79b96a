//! Two detectors over two bad links, through random histories.
//!
//! Both processes crash, restart and pause; the links lose, delay, duplicate and reorder, one way
//! or both; and whatever was ever sent is sent again. All is compared with what the world knows.

mod status;
mod world;

use ha_heartbeat::{Counters, Output};
use proptest::prelude::*;
use world::{INTERVAL, TIMEOUT, World};

/// What happens in a history.
#[derive(Clone, Copy, Debug)]
enum Step {
    Run(u64),
    Cut { from: usize, link: usize, cut: bool },
    Crash(usize),
    Restart(usize),
    Pause(usize, u64),
    SendNow(usize),
    Noise(bool),
    Replay { to: usize, pick: u64, link: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let side = 0..2_usize;
    prop_oneof![
        8 => (1..60_u64).prop_map(Step::Run),
        4 => (side.clone(), side.clone(), any::<bool>())
            .prop_map(|(from, link, cut)| Step::Cut { from, link, cut }),
        1 => side.clone().prop_map(Step::Crash),
        2 => side.clone().prop_map(Step::Restart),
        1 => (side.clone(), 1..150_u64).prop_map(|(node, long)| Step::Pause(node, long)),
        1 => side.clone().prop_map(Step::SendNow),
        1 => any::<bool>().prop_map(Step::Noise),
        6 => (side.clone(), any::<u64>(), side)
            .prop_map(|(to, pick, link)| Step::Replay { to, pick, link }),
    ]
}

fn history() -> impl Strategy<Value = (u64, Vec<Step>)> {
    (any::<u64>(), proptest::collection::vec(step(), 1..80))
}

fn play(world: &mut World, step: Step) {
    match step {
        Step::Run(long) => world.run(long),
        Step::Cut { from, link, cut } => world.cut[from][link] = cut,
        Step::Crash(node) => world.crash(node),
        Step::Restart(node) => world.restart(node),
        Step::Pause(node, long) => world.pause(node, long),
        Step::SendNow(node) => world.send_now(node),
        Step::Noise(noise) => world.noise = noise,
        Step::Replay { to, pick, link } => world.replay(to, pick, link),
    }
}

/// Ends all faults but replays: the links work and both processes run.
fn heal(world: &mut World) {
    world.noise = false;
    world.cut = [[false; 2]; 2];
    world.resume();
    for node in 0..2 {
        if !world.runs(node) {
            world.restart(node);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// The world checks after each call that no dead or deaf peer is up (see `World::check`).
    #[test]
    fn only_who_lives_and_hears_me_is_up((seed, steps) in history(), replays: bool) {
        let mut world = World::new(seed);
        for step in steps {
            if replays || !matches!(step, Step::Replay { .. }) {
                play(&mut world, step);
            }
        }
    }

    /// With three former boots of each node replayed in every millisecond, on any link.
    #[test]
    fn both_are_up_soon_after_healing_whatever_is_replayed((seed, steps) in history()) {
        let mut world = World::new(seed);
        for step in steps {
            play(&mut world, step);
        }
        heal(&mut world);
        for _ in 0..HEALING {
            for node in 0..2 {
                let (pick, link) = world.draw();
                world.replay(node, pick, link);
            }
            world.run(1);
        }
        for node in 0..2 {
            let peer = world.detector(node).newest(World::id(1 - node));
            prop_assert!(world.up(node), "{node} at {}", world.now);
            prop_assert_eq!(peer.map(|(boot, _)| boot), Some(world.boot(1 - node)));
            prop_assert!(world.links_up(node), "{node} at {}", world.now);
        }
    }

    /// R11: a cut in one direction is noticed on both sides.
    #[test]
    fn a_one_way_cut_takes_both_down(seed: u64, from in 0..2_usize, phase in 0..30_u64) {
        let mut world = World::new(seed);
        world.run(200 + phase);
        prop_assert!(world.up(0) && world.up(1));
        world.cut[from] = [true; 2];
        world.run(TIMEOUT + INTERVAL + world::CALM_DELAY);
        prop_assert!(!world.up(0) && !world.up(1));
        world.cut[from] = [false; 2];
        world.run(HEALING);
        prop_assert!(world.up(0) && world.up(1));
    }

    /// Neither a peer that crashed nor one that restarted is impersonated by its old datagrams.
    #[test]
    fn the_recordings_of_the_dead_are_not_believed(
        seed: u64,
        crashes in 1..3_u64,
        picks in proptest::collection::vec(any::<u64>(), 1..600),
    ) {
        let mut world = World::new(seed);
        for _ in 0..crashes {
            world.run(150);
            world.crash(1);
            world.run(20);
            world.restart(1);
        }
        world.run(150);
        prop_assert!(world.up(0));
        world.crash(1);
        world.run(world::CALM_DELAY);
        let before = world.detector(0).counters();
        for (at, pick) in (0..).zip(picks) {
            world.replay(0, pick, (pick % 2) as usize);
            world.run(u64::from(at % 4 == 0));
        }
        world.run(TIMEOUT + INTERVAL);
        prop_assert!(!world.up(0));
        prop_assert_eq!(world.detector(0).counters().restarts, before.restarts);
    }
}

/// How long after the end of all faults both must be up, in milliseconds: a round, then four
/// candidates each in turn, then the proof and the proof's echo; each step as long as an interval
/// and the delay.
const HEALING: u64 = 8 * (INTERVAL + world::CALM_DELAY);

#[test]
fn a_calm_pair_is_quiet() {
    let mut world = World::new(1);
    world.run(1_000);
    for node in 0..2 {
        let counters = world.detector(node).counters();
        let sent = 2 * (1_000 / INTERVAL);
        assert_eq!(counters, Counters { sent, received: counters.received, ..quiet(counters) });
        assert!(counters.received > sent - 6);
        assert!(counters.stale <= 4);
        let margin = world.detector(node).margin(World::id(1 - node), ha_proto::LinkId(0)).unwrap();
        assert!(margin.headroom() > 0.5, "{margin:?}");
    }
    let changes = world
        .said
        .iter()
        .filter(|(_, _, output)| !matches!(output, Output::PeerUp(..) | Output::LinkUp(..)));
    assert_eq!(changes.count(), 0, "nothing but coming up");
}

fn quiet(counters: Counters) -> Counters {
    Counters { stale: counters.stale, ..Counters::default() }
}
