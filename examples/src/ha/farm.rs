//! A farm: how it is doing, and orders to one of its members.

use std::time::Duration;

use ha_core::control::protocol::{Reply, Request};
use ha_core::control::{Exit, FarmStatus, FarmTable, FarmVerb, Plan, Refused};
use ha_core::verdict::span;

use super::args::Confirm;
use super::ask::{self, Answers, strange};
use super::order::confirm;
use super::output::Output;
use super::run::{At, End};
use super::show::{self, Style};

/// How the farms of the daemon are doing; `None` where it is no farm's.
pub(super) fn farms(at: &At<'_>, patience: Duration) -> Result<Option<Vec<FarmStatus>>, Refused> {
    let request = Request::Status { module: at.named(), watch: false };
    match ask::within(at.socket, &request, patience)? {
        Reply::Farms(farms) => Ok(Some(farms)),
        Reply::Status(_) => Ok(None),
        other => Err(strange(&other)),
    }
}

/// Shows the plan, asks, orders, and waits until what was wanted is so.
pub(super) fn give(at: &At<'_>, verb: FarmVerb, how: Confirm) -> Result<End, Refused> {
    let plan = Request::FarmPlan { module: at.named(), verb: verb.clone() };
    let plan: Plan = match ask::once(at.socket, &plan)? {
        Reply::Plan(plan) => plan,
        other => return Err(strange(&other)),
    };
    if let Some(refused) = plan.refused {
        return Err(refused);
    }
    if !at.output.json {
        Output::line(show::plan(&plan, at.output.style).trim_end());
    } else if how.plan {
        Output::json(&Reply::Plan(plan.clone()));
    }
    if how.plan {
        return Ok(End::Exit(Exit::Done));
    }
    if plan.confirm && !how.yes {
        confirm(verb.name())?;
    }
    let wait = at.timeout.unwrap_or(WAIT);
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let order = Request::FarmOrder { module: at.named(), verb, wait_ms };
    let mut answers = Answers::of(at.socket, &order, Some(wait + ask::PATIENCE))?;
    match answers.next()? {
        Some(answer @ Reply::Said(_)) if at.output.json => Output::json(&answer),
        Some(Reply::Said(said)) => Output::line(&said),
        Some(other) => return Err(strange(&other)),
        None => return Err(Refused::new(Exit::Unavailable, "the daemon has ended")),
    }
    Ok(End::Exit(Exit::Done))
}

/// Who owns which buckets.
pub(super) fn table(at: &At<'_>, service: Option<&str>) -> Result<End, Refused> {
    let request = Request::Table { module: at.named(), service: service.map(Into::into) };
    let answer = ask::once(at.socket, &request)?;
    let Reply::Tables(tables) = &answer else { return Err(strange(&answer)) };
    if at.output.json {
        Output::json(&answer);
    } else {
        let pages: Vec<String> = tables.iter().map(table_page).collect();
        Output::line(pages.join("\n").trim_end());
    }
    Ok(End::Exit(Exit::Done))
}

fn table_page(table: &FarmTable) -> String {
    let view = table.view.as_deref().unwrap_or("none");
    let mut text = format!("{}  view {view}\n", table.service);
    for run in &table.runs {
        let owner = run.owner.as_deref().unwrap_or("nobody");
        let before = match &run.previous[..] {
            [] => String::new(),
            previous => format!("  drains from {}", previous.join(", ")),
        };
        text.push_str(&format!("  {:>4}-{:<4}  {owner}{before}\n", run.first, run.last));
    }
    text
}

/// For a monitor: the worst of them, and what it says.
pub(super) fn check(farms: &[FarmStatus]) -> End {
    let severity = |farm: &FarmStatus| match farm.verdict.as_str() {
        "PROTECTED" => 0,
        "UNPROTECTED" => 1,
        _ => 2,
    };
    for farm in farms {
        let why = farm.why.as_deref().unwrap_or("others go on if this member dies");
        Output::line(&format!("{} {}: {why}", farm.module, farm.verdict));
    }
    End::Own(farms.iter().map(severity).max().unwrap_or(3))
}

/// One farm, as `ha status` shows it.
pub fn status(farm: &FarmStatus, style: Style) -> String {
    let mut lines = vec![head(farm, style)];
    let widest = farm.members.iter().map(|member| member.name.chars().count()).max();
    let widest = widest.unwrap_or(4).max(4);
    for (at, service) in farm.services.iter().enumerate() {
        lines.push(format!("  {}", service_line(service.name.as_str(), service.draining, farm)));
        for member in &farm.members {
            let own = member.buckets.get(at).copied().unwrap_or(0);
            let star = if member.name == farm.node { "*" } else { " " };
            let state = member.state.replace('_', " ");
            let name = &member.name;
            let row = format!(
                "    {name:<widest$} {star} {} {:>3} %  {state}",
                bar(own, service.buckets),
                percent(own, service.buckets),
            );
            lines.push(row);
        }
    }
    for member in farm.members.iter().filter(|member| member.why.is_some()) {
        let age = member.age_ms.filter(|age| *age > 1_000).map(time).unwrap_or_default();
        let ago = if age.is_empty() { age } else { format!(", heard {age} ago") };
        let why = member.why.as_deref().unwrap_or_default();
        lines.push(format!("  {:<8} {why}{ago}", member.name));
    }
    for (one, other) in &farm.missing {
        lines.push(format!("  missing  {one} does not hear {other}"));
    }
    let announcer = farm.announcer.as_deref().unwrap_or("nobody");
    let view = farm.view.as_deref().unwrap_or("none");
    lines.push(format!("  view     {view}, {}, announcer {announcer}", farm.mode));
    lines.push(format!("  plane    {}: {}", farm.plane, farm.plane_why));
    if !farm.checkers.is_empty() {
        lines.push(format!("  checks   {}", checkers(farm)));
    }
    if !farm.waits_for.is_empty() {
        lines.push(format!("  waits    for {}", farm.waits_for.join(", ")));
    }
    if let Some(why) = &farm.why {
        lines.push(format!("  why      {why}"));
    }
    if let Some(next) = &farm.next {
        lines.push(format!("  next     {next}"));
    }
    if farm.config_differs {
        lines.push("  note     the file says something else than what runs: ha reload".into());
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn head(farm: &FarmStatus, style: Style) -> String {
    let gap = style.columns.saturating_sub(farm.module.chars().count() + farm.verdict.len());
    let code = match farm.verdict.as_str() {
        "PROTECTED" => "32",
        "UNPROTECTED" => "33",
        _ => "31",
    };
    let word = if style.colour {
        format!("\x1b[1;{code}m{}\x1b[0m", farm.verdict)
    } else {
        farm.verdict.clone()
    };
    format!("{}{}{word}", farm.module, " ".repeat(gap.max(2)))
}

fn service_line(name: &str, draining: u32, farm: &FarmStatus) -> String {
    if draining == 0 {
        return name.into();
    }
    let left = farm.drains_ms.map(|left| format!(", {} left at most", time(left)));
    format!("{name}   {draining} buckets drain{}", left.unwrap_or_default())
}

fn checkers(farm: &FarmStatus) -> String {
    let one = |it: &ha_core::control::CheckerStatus| match it.up {
        Some(true) => format!("{} up", it.name),
        Some(false) => format!("{} DOWN", it.name),
        None => format!("{} ?", it.name),
    };
    farm.checkers.iter().map(one).collect::<Vec<_>>().join("   ")
}

fn bar(own: u32, all: u32) -> String {
    let full = (own as usize * BAR).checked_div(all as usize).unwrap_or(0);
    let full = if own > 0 { full.max(1) } else { 0 };
    (0..BAR).map(|at| if at < full { '█' } else { '·' }).collect()
}

fn percent(own: u32, all: u32) -> u32 {
    (own * 100 + all / 2).checked_div(all).unwrap_or(0)
}

fn time(millis: u64) -> String {
    span(Duration::from_millis(millis))
}

/// Columns of a bar.
const BAR: usize = 30;
/// An order takes an interval or two; a start runs scripts.
const WAIT: Duration = Duration::from_mins(2);
