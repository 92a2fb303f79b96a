//! Runs histories and judges them.
#![allow(
    clippy::disallowed_types,
    reason = "the program around the simulator picks a seed and measures its own speed"
)]

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ha_core::Profile;
use ha_quorum::Vote;
use ha_sim::farm;
use ha_sim::history::{Verdict, draw, run};
use ha_sim::options::{Keeper, Options};

const HELP: &str = "\
Simulates a mirror pair, its witness and everything that can go wrong around them.

ha-sim [--seed N] [--histories N | --minutes M] [--vote V] [--witness W] [--profile P]
       [--upgrades] [--meddling] [--trace]
ha-sim --farm [--members K] [--seed N] [--histories N | --minutes M] [--trace]

  --seed N        the seed, or the first of several; without it, one from the clock
  --histories N   so many, with the seeds N, N+1, ...
  --minutes M     as many as fit; a part of a minute is 0.3
  --vote V        arbiter (default), none, ping or manual
  --witness W     with the vote arbiter: arbiter (default), or store, a plain compare-and-set
                  store as etcd is one
  --profile P     lan (default), fast or wan
  --upgrades      daemons are replaced while their applications run, too
  --meddling      others remove and claim the virtual addresses, too
  --trace         print what happened, one column for each of A, W and B
  --farm          a farm in the place of a pair
  --members K     of so many, 2 to 16; without it, as many as the seed says

Exit codes: 0 all is well, 1 wrong usage, 2 a safety rule is broken, 3 the pair did not become
whole or the farm did not settle (liveness), 101 a machine panicked.";

struct Arguments {
    options: Options,
    what: What,
    end: End,
}

#[derive(Clone, Copy)]
enum What {
    Pair,
    /// Of so many members, if it is said.
    Farm(Option<usize>),
}

#[derive(Clone, Copy)]
enum End {
    Histories(u64),
    Time(Duration),
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            return ended(writeln!(io::stdout(), "{HELP}").map(|()| ExitCode::SUCCESS));
        }
        Err(text) => {
            eprintln!("{text}\n\n{HELP}");
            return ExitCode::FAILURE;
        }
    };
    std::panic::set_hook(Box::new(|info| eprintln!("{info}")));
    ended(all(&arguments))
}

/// An audience that has seen enough (`ha-sim --trace | head`) is no failure, and no panic of a
/// machine.
fn ended(result: io::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot print: {error}");
            ExitCode::FAILURE
        }
    }
}

fn all(arguments: &Arguments) -> io::Result<ExitCode> {
    let mut out = io::stdout();
    writeln!(out, "seed {}", arguments.options.seed)?;
    let began = Instant::now();
    let first = arguments.options.seed;
    let mut count = 0;
    loop {
        let over = match arguments.end {
            End::Histories(most) => count >= most,
            End::Time(most) => began.elapsed() >= most,
        };
        if over {
            break;
        }
        let options = Options { seed: first.wrapping_add(count), ..arguments.options };
        let ending = one(options, arguments.what);
        count += 1;
        if ending.code != 0 {
            // What was found counts, whoever listens.
            let _ = report(options, arguments.what, &ending);
            return Ok(ExitCode::from(ending.code));
        }
        if options.trace {
            out.write_all(ending.trace.as_bytes())?;
        }
    }
    let millis = began.elapsed().as_millis().max(1);
    let speed = u128::from(count) * 10_000 / millis;
    writeln!(out, "{count} histories, {}.{} a second: all is well", speed / 10, speed % 10)?;
    Ok(ExitCode::SUCCESS)
}

struct Ending {
    code: u8,
    text: String,
    trace: String,
}

fn one(options: Options, what: What) -> Ending {
    match what {
        What::Pair => one_pair(options),
        What::Farm(members) => {
            let (seed, trace) = (options.seed, options.trace);
            one_farm(farm::options::Options { seed, members, trace })
        }
    }
}

fn one_farm(options: farm::options::Options) -> Ending {
    use farm::history::{Verdict, draw, run};
    let mut world = None;
    let result = catch_unwind(AssertUnwindSafe(|| run(world.insert(draw(options)))));
    let trace = world.map(|world| world.trace.text().to_owned()).unwrap_or_default();
    let (code, text) = match result {
        Ok(Verdict::Good) => (0, String::new()),
        Ok(Verdict::Unsafe(violation)) => (2, format!("{}: {}", violation.rule, violation.text)),
        Ok(Verdict::Stuck(text)) => (3, format!("FG3: not settled in time: {text}")),
        Err(_) => (101, "a machine panicked".into()),
    };
    Ending { code, text, trace }
}

fn one_pair(options: Options) -> Ending {
    let mut world = None;
    let result = catch_unwind(AssertUnwindSafe(|| run(world.insert(draw(options)))));
    let trace = world.map(|world| world.trace.text().to_owned()).unwrap_or_default();
    let (code, text) = match result {
        Ok(Verdict::Good) => (0, String::new()),
        Ok(Verdict::Unsafe(violation)) => (2, format!("{}: {}", violation.rule, violation.text)),
        Ok(Verdict::Stuck(text)) => (3, format!("G7: not whole in time: {text}")),
        Err(_) => (101, "a machine panicked".into()),
    };
    Ending { code, text, trace }
}

fn report(options: Options, what: What, ending: &Ending) -> io::Result<()> {
    let trace = if options.trace {
        ending.trace.clone()
    } else {
        one(Options { trace: true, ..options }, what).trace
    };
    let mut out = io::stdout();
    out.write_all(trace.as_bytes())?;
    writeln!(out, "seed {} FAILED: {}", options.seed, ending.text)?;
    if let What::Farm(members) = what {
        let members = members.map(|members| format!(" --members {members}")).unwrap_or_default();
        let seed = options.seed;
        let command = format!("-- --farm --seed {seed}{members} --trace");
        return writeln!(out, "repeat: cargo run -p ha-sim --release {command}");
    }
    let profile = format!("{:?}", options.profile).to_lowercase();
    let witness = match options.keeper {
        Keeper::Arbiter => "",
        Keeper::Store => " --witness store",
    };
    let upgrades = if options.upgrades { " --upgrades" } else { "" };
    let meddling = if options.meddling { " --meddling" } else { "" };
    let vote = format!("{}{witness}", options.vote);
    writeln!(
        out,
        "repeat: cargo run -p ha-sim --release -- --seed {} --vote {vote} --profile \
         {profile}{upgrades}{meddling} --trace",
        options.seed
    )
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut options = Options::new(since.as_nanos() as u64, Vote::Arbiter);
    let mut end = End::Histories(1);
    let (mut farm, mut members) = (false, None);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--help" | "-h" => return Ok(None),
            "--trace" => options.trace = true,
            "--farm" => farm = true,
            "--members" => members = Some(members_of(&value()?)?),
            "--meddling" => options.meddling = true,
            "--upgrades" => options.upgrades = true,
            "--seed" => options.seed = number(&value()?)?,
            "--histories" => end = End::Histories(some(&value()?)?),
            "--minutes" => end = End::Time(minutes(&value()?)?),
            "--vote" => options.vote = vote(&value()?)?,
            "--witness" => options.keeper = keeper(&value()?)?,
            "--profile" => options.profile = profile(&value()?)?,
            _ => return Err(format!("unknown argument {word}")),
        }
    }
    if members.is_some() && !farm {
        return Err("--members is for --farm: a pair has two".into());
    }
    let what = if farm { What::Farm(members) } else { What::Pair };
    Ok(Some(Arguments { options, what, end }))
}

fn members_of(word: &str) -> Result<usize, String> {
    let most = farm::options::MEMBERS_MAX;
    match usize::try_from(number(word)?) {
        Ok(count) if (2..=most).contains(&count) => Ok(count),
        _ => Err(format!("{word} members: a simulated farm has 2 to {most}")),
    }
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("{word} is not a number"))
}

/// None at all would be well whatever is wrong.
fn some(word: &str) -> Result<u64, String> {
    match number(word)? {
        0 => Err("0 histories show nothing: at least 1".into()),
        count => Ok(count),
    }
}

fn minutes(word: &str) -> Result<Duration, String> {
    let minutes: Option<f64> = word.parse().ok().filter(|minutes| *minutes > 0.0);
    let time = minutes.and_then(|minutes| Duration::try_from_secs_f64(60.0 * minutes).ok());
    time.ok_or(format!("{word} is no number of minutes"))
}

fn vote(word: &str) -> Result<Vote, String> {
    match word {
        "arbiter" => Ok(Vote::Arbiter),
        "none" => Ok(Vote::None),
        "ping" => Ok(Vote::Ping),
        "manual" => Ok(Vote::Manual),
        _ => Err(format!("{word} is no vote: arbiter, none, ping or manual")),
    }
}

fn keeper(word: &str) -> Result<Keeper, String> {
    match word {
        "arbiter" => Ok(Keeper::Arbiter),
        "store" => Ok(Keeper::Store),
        _ => Err(format!("{word} is no witness: arbiter or store")),
    }
}

fn profile(word: &str) -> Result<Profile, String> {
    match word {
        "lan" => Ok(Profile::Lan),
        "fast" => Ok(Profile::Fast),
        "wan" => Ok(Profile::Wan),
        _ => Err(format!("{word} is no profile: lan, fast or wan")),
    }
}
