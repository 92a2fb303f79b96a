//! What each command does, and what it ends with.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use ha_core::control::protocol::{Reply, Verb as Ordered};
use ha_core::control::{Exit, FarmVerb, Refused};

use super::args::{Confirm, Gate, Ha, OfFarm, Switch, Verb};
use super::order::Order;
use super::output::Output;
use super::{ask, doctor, farm, files, reload, see};

/// What a command ended with: a code of OPERATIONS, or one of a predicate's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As every command.
    Exit(Exit),
    /// As `check` and `role -q` say.
    Own(u8),
}

/// Where the daemon is, of what, and how long to wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'a> {
    pub(super) socket: &'a Path,
    pub(super) module: Option<&'a str>,
    pub(super) timeout: Option<Duration>,
    pub(super) output: Output,
}

impl At<'_> {
    /// How long the daemon may take to answer whoever only looks.
    pub(super) fn patience(&self) -> Duration {
        self.timeout.unwrap_or(ask::PATIENCE)
    }

    /// The module's name, owned.
    pub(super) fn named(&self) -> Option<String> {
        self.module.map(Into::into)
    }
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    match Ha::try_parse() {
        Ok(ha) => run(&ha),
        Err(error) => {
            // A closed pipe says nothing of the command line.
            let _ = error.print();
            let code = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            ExitCode::from(code.code())
        }
    }
}

/// Does what a command line says.
pub fn run(ha: &Ha) -> ExitCode {
    let output = Output::new(ha.json);
    let at = At { socket: &ha.socket, module: ha.module.as_deref(), timeout: ha.timeout, output };
    let end = match obey(&at, &ha.verb) {
        Ok(end) => end,
        Err(refused) => {
            if ha.json {
                Output::json(&Reply::Refused(refused.clone()));
            } else {
                Output::note(&format!("ha: {}", refused.text));
            }
            // A monitor's own codes say only what is known.
            if matches!(ha.verb, Verb::Check) { End::Own(3) } else { End::Exit(refused.exit) }
        }
    };
    ExitCode::from(match end {
        End::Exit(exit) => exit.code(),
        End::Own(code) => code,
    })
}

fn obey(at: &At<'_>, verb: &Verb) -> Result<End, Refused> {
    match verb {
        Verb::Status { watch } => see::status(at, *watch),
        Verb::Explain => see::explain(at),
        Verb::Events { follow, since } => see::events(at, *follow, *since),
        Verb::Check => see::check(at),
        Verb::Role { quiet } => see::role(at, *quiet),
        Verb::History => see::history(at),
        Verb::Wait { state } => see::wait(at, *state),
        Verb::Start(confirm) => either(at, Ordered::Start, FarmVerb::Start, *confirm),
        Verb::Stop(confirm) => either(at, Ordered::Stop, FarmVerb::Stop, *confirm),
        Verb::Restart(confirm) => give(at, Ordered::Restart, *confirm),
        Verb::Stopstart(confirm) => give(at, Ordered::Stopstart, *confirm),
        Verb::Swap(confirm) => give(at, Ordered::Swap, *confirm),
        Verb::Prim { keep, confirm } => Order::new(at, Ordered::Prim, *confirm).give_keeping(keep),
        Verb::Second(confirm) => give(at, Ordered::Second, *confirm),
        Verb::Primforce(confirm) => give(at, Ordered::Primforce, *confirm),
        Verb::Maintenance { switch, span, confirm } => {
            let span = span.filter(|_| *switch == Switch::On);
            let for_ms = span.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
            give(at, Ordered::Maintenance { for_ms }, *confirm)
        }
        Verb::Failover { switch, confirm } => {
            give(at, Ordered::Failover { on: *switch == Switch::On }, *confirm)
        }
        Verb::Checkers { switch, confirm } => {
            give(at, Ordered::Checkers { on: *switch == Switch::On }, *confirm)
        }
        Verb::Farm(verb) => of_farm(at, verb),
        Verb::Op { id } => super::order::attach(at, *id),
        Verb::Reload => reload::reload(at),
        Verb::Doctor { config } => Ok(doctor::run(at, config)),
        Verb::Config { action } => files::config(at, action),
        Verb::Keygen { file } => files::keygen(at, file),
        Verb::SetAside { config, name } => {
            files::set_aside(at, config, name.as_deref().or(at.module))
        }
        Verb::Completions { shell } => {
            // Whoever reads may stop in the middle, which the generator takes for a fault of its own.
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Ha::command(), "ha", &mut script);
            Output::line(String::from_utf8_lossy(&script).trim_end());
            Ok(End::Exit(Exit::Done))
        }
        Verb::Man { folder } => files::man(at, folder),
    }
}

/// The words that are a farm's alone.
fn of_farm(at: &At<'_>, verb: &OfFarm) -> Result<End, Refused> {
    match verb {
        OfFarm::Drain { node, off, confirm } => {
            farm::give(at, FarmVerb::Drain { node: node.clone(), on: !off }, *confirm)
        }
        OfFarm::Weight { node, weight, service, confirm } => {
            let (node, service) = (node.clone(), service.clone());
            farm::give(at, FarmVerb::Weight { node, weight: *weight, service }, *confirm)
        }
        OfFarm::Gate { gate, confirm } => {
            farm::give(at, FarmVerb::Gate { open: *gate == Gate::Open }, *confirm)
        }
        OfFarm::RestartDaemon(confirm) => farm::give(at, FarmVerb::RestartDaemon, *confirm),
        OfFarm::Table { service } => farm::table(at, service.as_deref()),
    }
}

/// A word that mirrors and farms know.
fn either(at: &At<'_>, verb: Ordered, of_farm: FarmVerb, confirm: Confirm) -> Result<End, Refused> {
    if farm::farms(at, ask::PATIENCE)?.is_some() {
        return farm::give(at, of_farm, confirm);
    }
    give(at, verb, confirm)
}

fn give(at: &At<'_>, verb: Ordered, confirm: Confirm) -> Result<End, Refused> {
    Order::new(at, verb, confirm).give()
}
