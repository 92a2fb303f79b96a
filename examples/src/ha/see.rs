//! The commands that only look.

use std::time::{Duration, Instant};

use ha_core::control::protocol::{EventLine, Reply, Request};
use ha_core::control::{Exit, ModuleStatus, Refused};
use ha_core::proto::Role;
use ha_core::verdict::span;

use super::args::State;
use super::ask::{self, Answers, PATIENCE, strange};
use super::farm;
use super::output::Output;
use super::reload;
use super::run::{At, End};
use super::show;

pub(super) fn status(at: &At<'_>, watch: bool) -> Result<End, Refused> {
    let request = Request::Status { module: at.named(), watch };
    let patience = if watch { ask::PATIENCE } else { at.patience() };
    let mut answers = Answers::of(at.socket, &request, Some(patience))?;
    while let Some(answer) = answers.next()? {
        if at.output.json && matches!(answer, Reply::Status(_) | Reply::Farms(_)) {
            Output::json(&answer);
            continue;
        }
        let style = at.output.style;
        let pages: Vec<String> = match &answer {
            Reply::Status(modules) => modules.iter().map(|it| show::status(it, style)).collect(),
            Reply::Farms(farms) => farms.iter().map(|it| farm::status(it, style)).collect(),
            other => return Err(strange(other)),
        };
        let clear = if watch && at.output.style.colour { "\x1b[H\x1b[J" } else { "" };
        Output::line(format!("{clear}{}", pages.join("\n")).trim_end());
    }
    if watch {
        return Err(Refused::new(Exit::Unavailable, "the daemon has ended"));
    }
    Ok(End::Exit(Exit::Done))
}

pub(super) fn explain(at: &At<'_>) -> Result<End, Refused> {
    if let Some(farms) = farm::farms(at, at.patience())? {
        if at.output.json {
            Output::json(&Reply::Farms(farms));
        } else {
            let pages = farms.iter().map(|it| farm::explain(it, at.output.style));
            Output::line(pages.collect::<Vec<_>>().join("\n").trim_end());
        }
        return Ok(End::Exit(Exit::Done));
    }
    let modules = ask::status(at.socket, at.module, at.patience())?;
    if at.output.json {
        Output::json(&Reply::Status(modules));
        return Ok(End::Exit(Exit::Done));
    }
    let pages: Vec<String> =
        modules.iter().map(|module| show::explain(module, at.output.style)).collect();
    Output::line(pages.join("\n").trim_end());
    Ok(End::Exit(Exit::Done))
}

pub(super) fn events(at: &At<'_>, follow: bool, since: u64) -> Result<End, Refused> {
    let request = Request::Events { module: at.named(), since, follow };
    let mut answers = Answers::of(at.socket, &request, (!follow).then_some(at.patience()))?;
    while let Some(answer) = answers.next()? {
        match &answer {
            answer if at.output.json => Output::json(answer),
            Reply::Event(event) => Output::line(&event_line(event)),
            Reply::Forgotten(count) => Output::line(&format!("… {count} older ones are forgotten")),
            Reply::Status(_) | Reply::Farms(_) | Reply::Ready(_) => {}
            other => return Err(strange(other)),
        }
    }
    if follow {
        return Err(Refused::new(Exit::Unavailable, "the daemon has ended"));
    }
    Ok(End::Exit(Exit::Done))
}

fn event_line(event: &EventLine) -> String {
    let EventLine { seq, module, epoch, at, level, event: _, text } = event;
    // The date is decoration: the time of the day is enough on a line.
    let time = at.get(11..23).unwrap_or(at);
    format!("{seq:>5} {time} {module} {epoch} {level:<5} {text}")
}

/// One line for each module; the worst is the code.
pub(super) fn check(at: &At<'_>) -> Result<End, Refused> {
    if let Some(farms) = farm::farms(at, at.patience())? {
        return Ok(farm::check(at, &farms));
    }
    let modules = ask::status(at.socket, at.module, at.patience())?;
    let worst = modules.iter().map(severity).max().unwrap_or(3);
    if at.output.json {
        Output::json(&Reply::Status(modules));
        return Ok(End::Own(worst));
    }
    for status in &modules {
        let why = match (&status.down, status.blockers.first()) {
            (Some(down), _) => down.why.clone(),
            (None, Some(blocker)) => format!("{} ({})", blocker.why, blocker.kind),
            (None, None) => {
                let takes = span(Duration::from_millis(status.takeover_ms));
                format!("a takeover takes {takes} at most")
            }
        };
        Output::line(&format!("{} {}: {why}", status.module, status.verdict));
    }
    Ok(End::Own(worst))
}

fn severity(status: &ModuleStatus) -> u8 {
    match status.verdict.as_str() {
        "PROTECTED" => 0,
        "UNPROTECTED" => 1,
        "DOWN" => 2,
        _ => 3,
    }
}

pub(super) fn role(at: &At<'_>, quiet: bool) -> Result<End, Refused> {
    if let Some(farms) = farm::farms(at, at.patience())? {
        return farm::role(at, &farms, quiet);
    }
    let modules = ask::status(at.socket, at.module, at.patience())?;
    if quiet {
        let [status] = &modules[..] else {
            return Err(Refused::new(Exit::Usage, "which module? name one with -m"));
        };
        return Ok(End::Own(code(status.here.role)));
    }
    if at.output.json {
        Output::json(&Reply::Status(modules));
        return Ok(End::Exit(Exit::Done));
    }
    for status in &modules {
        let ready = if status.here.ready { "ready" } else { "not ready" };
        let name = if modules.len() > 1 { format!("{} ", status.module) } else { String::new() };
        Output::line(&format!("{name}{} {ready}", status.here.role));
    }
    Ok(End::Exit(Exit::Done))
}

/// The codes of `SafeKit`.
pub(super) const fn code(role: Role) -> u8 {
    match role {
        Role::Stop => 0,
        Role::Wait => 1,
        Role::Alone | Role::Up => 2,
        Role::Prim => 3,
        Role::Second => 4,
    }
}

pub(super) fn history(at: &At<'_>) -> Result<End, Refused> {
    let history = Request::History { module: at.named() };
    let answer = ask::within(at.socket, &history, at.patience())?;
    let Reply::History(modules) = &answer else { return Err(strange(&answer)) };
    if at.output.json {
        Output::json(&answer);
        return Ok(End::Exit(Exit::Done));
    }
    let time = |millis| span(Duration::from_millis(millis));
    for (module, past) in modules {
        for line in past {
            let decide = line.decide_ms.map(|it| format!("decided in {}, ", time(it)));
            let risk = line.at_risk.as_deref().unwrap_or("nothing");
            Output::line(&format!(
                "{} {module} {} {}: {}started in {}; at risk: {risk}",
                line.at,
                line.epoch,
                line.cause,
                decide.unwrap_or_default(),
                time(line.start_ms),
            ));
        }
    }
    Ok(End::Exit(Exit::Done))
}

/// Watches until the state is seen, also when the daemon goes on as another process meanwhile.
pub(super) fn wait(at: &At<'_>, state: State) -> Result<End, Refused> {
    let patience = at.timeout.unwrap_or(WAIT);
    let end = Instant::now() + patience;
    let watch = !patience.is_zero();
    loop {
        if let Some(exit) = wait_on_one(at, state, watch, end)? {
            return Ok(End::Exit(exit));
        }
        let ended = |_| Refused::new(Exit::Unavailable, "the daemon has ended");
        reload::await_next(at, end.min(Instant::now() + PATIENCE)).map_err(ended)?;
        if Instant::now() >= end {
            return Ok(End::Exit(Exit::Running));
        }
    }
}

/// As long as one daemon answers; `None` when it ended.
fn wait_on_one(
    at: &At<'_>,
    state: State,
    watch: bool,
    end: Instant,
) -> Result<Option<Exit>, Refused> {
    let request = Request::Status { module: at.named(), watch };
    let mut answers = Answers::of(at.socket, &request, Some(PATIENCE))?;
    while let Some(answer) = answers.next()? {
        let so = match &answer {
            Reply::Status(modules) => {
                if let [status] = &modules[..] {
                    Some(is(status, state)?)
                } else {
                    None
                }
            }
            Reply::Farms(farms) => {
                if let [farm] = &farms[..] {
                    Some(farm::is(farm, state)?)
                } else {
                    None
                }
            }
            other => return Err(strange(other)),
        };
        let Some(so) = so else {
            return Err(Refused::new(Exit::Usage, "which module? name one with -m"));
        };
        if so {
            return Ok(Some(Exit::Done));
        }
        if Instant::now() >= end {
            return Ok(Some(if watch { Exit::Running } else { Exit::No }));
        }
    }
    Ok((!watch).then_some(Exit::No))
}

fn is(status: &ModuleStatus, state: State) -> Result<bool, Refused> {
    let here = &status.here;
    let ready = |role: Role| here.role == role && here.ready;
    Ok(match state {
        State::Stop => ready(Role::Stop),
        State::Wait => here.role == Role::Wait,
        State::Second => ready(Role::Second),
        State::Prim => ready(Role::Prim),
        State::Alone => ready(Role::Alone),
        State::Serving => status.verdict != "DOWN",
        State::Protected => status.verdict == "PROTECTED",
        State::Up => {
            let text = "up is a state of a farm: a mirror's are prim, second, alone, wait, stop";
            return Err(Refused::new(Exit::Usage, text));
        }
    })
}

/// How long a state is waited for unless `--timeout` says so.
const WAIT: Duration = Duration::from_mins(1);
