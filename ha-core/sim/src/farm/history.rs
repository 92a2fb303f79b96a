//! One history of a farm, from its seed to its verdict.

use ha_proto::Prng;

use super::check::Seen;
use super::fault;
use super::options::{Options, Spans};
use super::rollout::Rollout;
use super::services;
use super::weather::Weather;
use super::world::build::Setup;
use super::world::{Stop, World};
use crate::check::Violation;

/// How a history ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every rule held, and the farm settled.
    Good,
    /// A rule is broken.
    Unsafe(Violation),
    /// The farm did not settle in time (FG3): what it looked like.
    Stuck(String),
}

/// The world and the plan that a seed stands for.
pub fn draw(options: Options) -> World {
    let mut prng = Prng::new(options.seed);
    let setup = Setup::draw(&mut prng, options.members);
    let spans = Spans::new(&setup.timing, setup.drain, setup.warm_up);
    let weather = Weather::draw(&mut prng, &spans, u64::from(setup.timing.rho));
    let mut plan = fault::plan(&mut prng, &weather, setup.members, &spans);
    let sets = services::sets(setup.on).len();
    let rollout = Rollout::draw(&options, setup.members, sets, &spans);
    plan.extend(rollout.plan);
    let mut world = World::new(options, &setup, weather, plan);
    world.stays = fault::staying(&mut prng, setup.members);
    // Who differs and who is cut off at once: no rule says who of them is to serve.
    let mixed = rollout.stays_mixed && world.stays.is_none();
    world.rolls_out = rollout.last.filter(|_| !mixed);
    if rollout.last.is_some() {
        world.browse();
    }
    world
}

/// Runs a world through both phases: faults, then none but for a cut that stays.
pub fn run(world: &mut World) -> Verdict {
    let spans = world.scene.spans;
    // A cut that stays is one of the faults until it is nothing new any more.
    if world.run(spans.safety() - spans.timeout * 2) == Stop::Violation {
        return broken(world);
    }
    if let Some(cut) = world.stays {
        world.inject(cut);
    }
    if world.run(spans.safety()) == Stop::Violation {
        return broken(world);
    }
    world.stop_faults();
    conclude(world)
}

/// The second phase: the farm must settle, and then be balanced once nothing drains.
pub fn conclude(world: &mut World) -> Verdict {
    let spans = world.scene.spans;
    // Clocks may run slow, and what was on its way when faults stopped still arrives.
    let within = spans.liveness() + spans.interval / 8;
    let settled = world.now() + within + within / 500;
    if world.run(settled) == Stop::Violation {
        return broken(world);
    }
    judge(world, false);
    let balanced = settled + spans.drain.min(DRAIN_MAX) * 2 + spans.warm_up + spans.timeout * 3;
    if world.violation.is_none() {
        world.run(balanced + balanced / 500);
    }
    judge(world, true);
    match &world.violation {
        None => Verdict::Good,
        Some(violation) if violation.rule == "FG3" => Verdict::Stuck(violation.text.clone()),
        Some(violation) => Verdict::Unsafe(violation.clone()),
    }
}

/// Judges a calm farm, but not in the moment in which it goes from one view to the next: drains end
/// and servers warm up when they do.
fn judge(world: &mut World, balanced: bool) {
    let moment = world.scene.spans.round_trip * 2;
    for _ in 0..CHANGES_MAX {
        if world.now() > world.scene.written_at + moment {
            break;
        }
        world.run(world.now() + moment);
    }
    world.see(&Seen::Settling { balanced });
}

fn broken(world: &World) -> Verdict {
    Verdict::Unsafe(world.violation.clone().expect("it stopped the world"))
}

/// A calm farm makes a few views in a row at most.
const CHANGES_MAX: u32 = 10;
/// No history drains for longer.
const DRAIN_MAX: u64 = 20_000_000_000;
