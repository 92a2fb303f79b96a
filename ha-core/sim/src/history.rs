//! One history, from its seed to its verdict.

use ha_proto::Prng;

use crate::check::Violation;
use crate::fault::{self, Planned};
use crate::options::Options;
use crate::weather::Weather;
use crate::world::{Stop, World};

/// How a history ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every rule held, and the pair became whole.
    Good,
    /// A rule is broken.
    Unsafe(Violation),
    /// The pair did not become whole in time (G7): what it looked like.
    Stuck(String),
}

/// The world and the plan that a seed stands for.
pub fn draw(options: Options) -> World {
    let mut prng = Prng::new(options.seed);
    let weather = Weather::draw(&mut prng, options.lease());
    let mut plan = fault::plan(&mut prng, &weather, options.lease(), options.safety());
    if options.upgrades {
        plan.extend(fault::upgrades(&mut prng, options.lease(), options.safety()));
    }
    if options.meddling {
        plan.extend(fault::meddling(&mut prng, options.lease(), options.safety()));
    }
    World::new(options, weather, plan)
}

/// A world with the weather that a seed stands for, and with these faults.
pub fn with_plan(options: Options, plan: Vec<Planned>) -> World {
    let weather = Weather::draw(&mut Prng::new(options.seed), options.lease());
    World::new(options, weather, plan)
}

/// Runs a world through both phases; a pair that is whole must stay so to the end.
pub fn run(world: &mut World) -> Verdict {
    let safety = world.options.safety();
    if world.run(safety) == Stop::Violation {
        return broken(world);
    }
    world.stop_faults();
    let mut stop = world.run(safety + world.options.liveness());
    if stop == Stop::Whole {
        stop = world.watch(world.options.length());
    }
    if stop == Stop::Time {
        // An Exclude that was seconds on its way may have landed just before: the bound is the
        // same, and whoever is whole again within it keeps it.
        stop = world.run(safety + world.options.liveness());
    }
    if stop != Stop::Violation {
        world.end();
    }
    match stop {
        _ if world.violation.is_some() => broken(world),
        Stop::Whole => Verdict::Good,
        Stop::Time if world.is_excused() => Verdict::Good,
        Stop::Time | Stop::Violation => Verdict::Stuck(world.describe()),
    }
}

fn broken(world: &World) -> Verdict {
    Verdict::Unsafe(world.violation.clone().expect("it stopped the world"))
}
