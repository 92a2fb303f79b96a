//! How long clients wait when the primary is lost: keepalived and `mirror-node` side by side.

#![forbid(unsafe_code)]
// A bench is about real time.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use std::error::Error;
use std::io;
use std::time::Duration;

use clap::Parser;
use ha_benches::takeover::{
    Bounds, Durations, Fault, Ground, Keepalived, Mirror, Pair, Programs, Row, Setting, Table,
    Trial, Usage, Vote,
};
use ha_lab::root_or_skip;

/// Keepalived and mirror-node in one lab of network namespaces: the longest time that a client is
/// without an answer from who is entitled, for each fault. Prints a table. Fails if a run of
/// mirror-node was none, if two answered after a cut or a swap where an arbiter decides, or if something stayed behind
/// that is to go; with `--judge` also if a time is beyond its bound.
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "words of a command line")]
struct Options {
    /// One setting, and one run of each row
    #[arg(long)]
    short: bool,
    /// Runs of each row; default 5, and 20 of planned swaps with the vote none
    #[arg(long)]
    runs: Option<u32>,
    /// Fail if a time is beyond its bound, too: for a machine that does nothing else
    #[arg(long, conflicts_with_all = ["idle", "minutes"])]
    judge: bool,
    /// Only what the daemons cost while nothing happens, with one module and with a hundred
    #[arg(long)]
    idle: bool,
    /// Only a pair at 10 ms x 3 for so many minutes, with every core loaded
    #[arg(long)]
    minutes: Option<u32>,
    /// Only these faults: cut, kill, stop, swap; default all
    #[arg(long, value_parser = fault, conflicts_with_all = ["idle", "minutes"])]
    fault: Vec<Fault>,
    /// Only with this time between two signs of life: 1s, 100ms, 10ms; default each
    #[arg(long, value_parser = setting, conflicts_with_all = ["short", "idle", "minutes"])]
    setting: Option<Setting>,
    /// Only these daemons: keepalived, none, ping, arbiter; default all
    daemons: Vec<String>,
    /// Cargo says so
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    if !root_or_skip() {
        return Ok(());
    }
    if options.idle {
        return idle(&Programs::build()?);
    }
    if let Some(minutes) = options.minutes {
        return loaded(&Programs::build()?, Duration::from_mins(1) * minutes);
    }
    let mirror = Vote::ALL.iter().any(|vote| options.wants(&vote.to_string()));
    let programs = if mirror { Some(Programs::build()?) } else { None };
    let mut table = Table::default();
    for fault in options.faults() {
        for setting in options.settings() {
            rows(&options, (fault, setting), programs.as_ref(), &mut table)?;
        }
    }
    println!("\n{table}");
    let amiss: Vec<_> = table.0.iter().flat_map(|row| row.amiss(options.judge)).collect();
    if amiss.is_empty() { Ok(()) } else { Err(amiss.join("\n").into()) }
}

fn fault(name: &str) -> Result<Fault, &'static str> {
    match name {
        "cut" => Ok(Fault::Cut),
        "kill" => Ok(Fault::Kill),
        "stop" => Ok(Fault::Stop),
        "swap" => Ok(Fault::Swap),
        _ => Err("name one of cut, kill, stop, swap"),
    }
}

fn setting(heartbeat: &str) -> Result<Setting, &'static str> {
    let named = |setting: &Setting| format!("{:?}", setting.heartbeat()) == heartbeat;
    Setting::ALL.into_iter().find(named).ok_or("name one of 1s, 100ms, 10ms")
}

impl Options {
    fn wants(&self, daemon: &str) -> bool {
        self.daemons.is_empty() || self.daemons.iter().any(|wanted| wanted == daemon)
    }

    fn faults(&self) -> impl Iterator<Item = Fault> {
        let wants = |fault: &Fault| self.fault.is_empty() || self.fault.contains(fault);
        Fault::ALL.into_iter().filter(wants)
    }

    fn settings(&self) -> impl Iterator<Item = Setting> {
        let one = if self.short { Some(Setting::ALL[1]) } else { self.setting };
        Setting::ALL.into_iter().filter(move |&setting| one.is_none_or(|one| setting == one))
    }

    fn runs(&self, fault: Fault, daemon: &str) -> u32 {
        let medians = fault == Fault::Swap && daemon == "none";
        let usual = if medians { 20 } else { 5 };
        self.runs.unwrap_or(if self.short { 1 } else { usual })
    }

    /// How long what a daemon left behind is watched.
    fn watch(&self) -> Duration {
        Duration::from_secs(if self.short { 5 } else { 10 })
    }
}

/// The rows of one fault in one setting, keepalived first: the others stand beside it.
fn rows(
    options: &Options,
    case: (Fault, Setting),
    programs: Option<&Programs>,
    table: &mut Table,
) -> Result<(), Box<dyn Error>> {
    let (fault, setting) = case;
    let mut beside = None;
    if options.wants("keepalived") {
        let start = |ground: &Ground| Ok(Box::new(Keepalived::start(ground, setting)?) as _);
        let row = trials(options, case, "keepalived", Bounds::default(), &start)?;
        beside = Some(row.worst(0).max(row.worst(1)));
        add(table, row);
    }
    for vote in Vote::ALL.into_iter().filter(|vote| options.wants(&vote.to_string())) {
        let programs = programs.expect("they were built for these");
        let start =
            |ground: &Ground| Ok(Box::new(Mirror::start(ground, programs, setting, vote, 0)?) as _);
        let bounds = bounds(fault, setting, vote, beside);
        add(table, trials(options, case, &vote.to_string(), bounds, &start)?);
    }
    Ok(())
}

fn add(table: &mut Table, row: Row) {
    eprintln!("{row}");
    table.0.push(row);
}

/// What is promised: beside the worst of keepalived, or by the contract.
fn bounds(fault: Fault, setting: Setting, vote: Vote, beside: Option<Duration>) -> Bounds {
    let durations = Durations::of(setting);
    let and_a_tenth = |time: Duration| time + time / 10;
    let beside = beside.map(and_a_tenth);
    let gap = match (fault, vote) {
        (Fault::Swap, Vote::None) => Some(SWAP),
        (Fault::Swap, Vote::Ping | Vote::Arbiter) => None,
        (Fault::Cut | Fault::Kill | Fault::Stop, Vote::None) => beside,
        (Fault::Cut | Fault::Kill | Fault::Stop, Vote::Ping) => {
            beside.map(|time| time + durations.probe + durations.stop + setting.heartbeat())
        }
        (Fault::Cut | Fault::Kill | Fault::Stop, Vote::Arbiter) => {
            Some(and_a_tenth(durations.takeover(setting)))
        }
    };
    // Without a lease the guardian waits for the longer of D and a second.
    let right = match vote {
        Vote::Arbiter => durations.lease,
        Vote::None | Vote::Ping => setting.timeout().max(SECOND),
    };
    let promised = |time| fault.leaves_nobody().then_some(time);
    Bounds { gap, address: promised(durations.lifetime() + SECOND / 2), service: promised(right) }
}

/// A planned swap of a stateless service.
const SWAP: Duration = Duration::from_millis(20);

const SECOND: Duration = Duration::from_secs(1);

/// Both daemons of a pair at 100 ms, beside what is aimed at, and what guards their services.
fn idle(programs: &Programs) -> Result<(), Box<dyn Error>> {
    for vote in [Vote::Arbiter, Vote::None] {
        for (more, core, resident) in [(0, 1.0, 20.0), (99, 10.0, 60.0)] {
            let ground = Ground::make()?;
            let pair = Mirror::start(&ground, programs, Setting::ALL[1], vote, more)?;
            let [a, b] = pair.daemons().each_ref().map(|daemon| [daemon.pid()]);
            let guardians = [pair.guardians(0)?, pair.guardians(1)?];
            let [a, b, of_a, of_b] = Usage::of([&a, &b, &guardians[0], &guardians[1]], WATCH)?;
            for (name, daemon, rest) in [("primary", a, of_a), ("secondary", b, of_b)] {
                println!(
                    "idle {name:<9} {vote:<7} {:>3} modules at 100 ms: {:5.2} % of a core \
                     (<= {core} %), {:5.1} MiB (<= {resident} MiB); guardians {:5.2} %, {:5.1} MiB",
                    1 + u32::from(more),
                    daemon.core,
                    daemon.resident,
                    rest.core,
                    rest.proportional
                );
            }
        }
    }
    Ok(())
}

/// How long each daemon is watched.
const WATCH: Duration = Duration::from_secs(20);

fn loaded(programs: &Programs, time: Duration) -> Result<(), Box<dyn Error>> {
    let ground = Ground::make()?;
    let pair = Mirror::start(&ground, programs, Setting::ALL[2], Vote::Arbiter, 0)?;
    let load = ground.lab.load_cores(time + PATIENCE)?;
    std::thread::sleep(time);
    drop(load);
    let (lost, served) = pair.losses();
    println!(
        "10 ms x 3, every core loaded for {time:?}: a peer was lost {lost} times, {} false takeovers",
        served.saturating_sub(1)
    );
    if (lost, served) != (0, 1) {
        for daemon in pair.daemons() {
            println!("{}", daemon.output());
        }
    }
    Ok(())
}

/// A fresh network and a fresh pair for each run. One that fails is told, and counted.
fn trials(
    options: &Options,
    (fault, setting): (Fault, Setting),
    daemon: &str,
    bounds: Bounds,
    start: &dyn Fn(&Ground) -> io::Result<Box<dyn Pair>>,
) -> Result<Row, Box<dyn Error>> {
    let runs = options.runs(fault, daemon);
    let (mut outcomes, mut failed) = (Vec::new(), 0);
    for run in 0..runs {
        let mut ground = Ground::make()?;
        // The runs begin at equal parts of the time between two signs of life.
        let rest = LEAD + setting.heartbeat() * run / runs;
        let limit = setting.timeout() * 4 + PATIENCE;
        let trial = Trial { fault, rest, limit, watch: options.watch() };
        match start(&ground).and_then(|pair| trial.run(&mut ground, &*pair)) {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => {
                failed += 1;
                eprintln!("{fault}, {setting}, {daemon}: run {run}: {error}");
            }
        }
    }
    if outcomes.is_empty() {
        return Err(format!("{fault}, {setting}, {daemon}: no run succeeded").into());
    }
    Ok(Row { fault, setting, daemon: daemon.to_owned(), outcomes, failed, bounds })
}

/// So long the client is served before anything happens.
const LEAD: Duration = Duration::from_millis(300);

/// Beyond what the settings tell: for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(10);
