//! How long clients wait when the primary is lost: keepalived and `mirror-node` side by side.

#![forbid(unsafe_code)]
// A bench is about real time.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use std::error::Error;
use std::time::Duration;

use clap::Parser;
use ha_benches::takeover::{Fault, Ground, Keepalived, Pair, Row, Setting, Table, Trial};
use rustix::process::geteuid;

/// Keepalived and mirror-node in one lab of network namespaces: the longest time that a client is
/// without an answer.
#[derive(Debug, Parser)]
struct Options {
    /// One setting, and one run of each row.
    #[arg(long)]
    short: bool,
    /// Runs of each row.
    #[arg(long)]
    runs: Option<u32>,
    /// Only these parts (`keepalived`); default all.
    parts: Vec<String>,
    /// Cargo says so.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    if !geteuid().is_root() {
        println!("takeover: skipped: needs root");
        return Ok(());
    }
    let mut table = Table::default();
    if options.wants("keepalived") {
        keepalived(&options, &mut table)?;
    }
    println!("\n{table}");
    Ok(())
}

impl Options {
    fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }

    fn settings(&self) -> &'static [Setting] {
        if self.short { &Setting::ALL[1..2] } else { &Setting::ALL }
    }

    fn runs(&self) -> u32 {
        self.runs.unwrap_or(if self.short { 1 } else { 5 })
    }

    /// How long an address that nobody takes off is watched.
    fn watch(&self) -> Duration {
        Duration::from_secs(if self.short { 5 } else { 10 })
    }
}

fn keepalived(options: &Options, table: &mut Table) -> Result<(), Box<dyn Error>> {
    for fault in Fault::ALL {
        for &setting in options.settings() {
            let name = "keepalived".to_owned();
            let start = |ground: &Ground| Ok(Box::new(Keepalived::start(ground, setting)?) as _);
            let outcomes = trials(options, fault, setting, &start)?;
            let row = Row { fault, setting, daemon: name, outcomes, bound: None };
            eprintln!("{row}");
            table.0.push(row);
        }
    }
    Ok(())
}

/// A fresh network and a fresh pair for each run.
fn trials(
    options: &Options,
    fault: Fault,
    setting: Setting,
    start: &dyn Fn(&Ground) -> std::io::Result<Box<dyn Pair>>,
) -> Result<Vec<ha_benches::takeover::Outcome>, Box<dyn Error>> {
    let runs = options.runs();
    let mut outcomes = Vec::new();
    for run in 0..runs {
        let mut ground = Ground::make()?;
        let pair = start(&ground)?;
        // The runs begin at equal parts of the time between two signs of life.
        let rest = LEAD + setting.heartbeat() * run / runs;
        let limit = setting.timeout() * 4 + PATIENCE;
        let trial = Trial { fault, rest, limit, watch: options.watch() };
        outcomes.push(trial.run(&mut ground, &*pair)?);
    }
    Ok(outcomes)
}

/// So long the client is served before anything happens.
const LEAD: Duration = Duration::from_millis(300);

/// Beyond what the settings tell: for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(10);
