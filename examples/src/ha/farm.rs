//! A farm: how it is doing, and orders to one of its members.

use std::fmt::Write as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ha_core::control::protocol::{Reply, Request};
use ha_core::control::{
    Exit, FarmLink, FarmMember, FarmStatus, FarmTable, FarmVerb, Plan, Refused,
};
use ha_core::proto::Role;
use ha_core::verdict::span;

use super::args::{Confirm, State};
use super::ask::{self, Answers, strange};
use super::order::confirm;
use super::output::Output;
use super::run::{At, End};
use super::see;
use super::show::{self, Page, Style, time};

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
    if !at.output.json {
        Output::line(show::plan(&plan, at.output.style).trim_end());
    } else if how.plan {
        Output::json(&Reply::Plan(plan.clone()));
    }
    let forced = how.force && plan.overridable;
    if let Some(refused) = plan.refused.filter(|_| !forced) {
        return Err(refused);
    }
    if how.plan {
        return Ok(End::Exit(Exit::Done));
    }
    if plan.confirm && !how.yes {
        confirm(verb.name())?;
    }
    let wait = at.timeout.unwrap_or(WAIT);
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let restarts = verb == FarmVerb::RestartDaemon;
    let order = Request::FarmOrder { module: at.named(), verb, force: how.force, wait_ms };
    let began = Instant::now();
    let mut answers = Answers::of(at.socket, &order, Some(wait + ask::PATIENCE))?;
    let said = match answers.next() {
        Ok(Some(Reply::Said(said))) => said,
        Ok(Some(other)) => return Err(strange(&other)),
        // It said nothing against it, and is replaced.
        Ok(None) if restarts => next_daemon(at, began, wait)?,
        Err(refused) if restarts && refused.exit == Exit::Unavailable => {
            next_daemon(at, began, wait)?
        }
        Ok(None) => return Err(Refused::new(Exit::Unavailable, "the daemon has ended")),
        Err(refused) => return Err(refused),
    };
    at.output.say(said);
    Ok(End::Exit(Exit::Done))
}

/// Waits for a daemon that is younger than the order, and takes what is its own.
fn next_daemon(at: &At<'_>, began: Instant, wait: Duration) -> Result<String, Refused> {
    loop {
        let farms = farms(at, at.patience()).ok().flatten().unwrap_or_default();
        let young = |farm: &FarmStatus| Duration::from_millis(farm.up_ms) <= began.elapsed();
        if let Some(farm) = farms.iter().find(|farm| young(farm) && farm.role == Role::Up) {
            let took = span(began.elapsed());
            return Ok(format!("restart-daemon: done in {took}, view {}", view_of(farm)));
        }
        if began.elapsed() >= wait {
            let text =
                "restart-daemon: given, and the next daemon does not serve yet: see its journal";
            return Err(Refused::new(Exit::Running, text));
        }
        sleep(PAUSE);
    }
}

fn view_of(farm: &FarmStatus) -> &str {
    farm.view.as_deref().unwrap_or("none")
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
        writeln!(text, "  {:>4}-{:<4}  {owner}{before}", run.first, run.last)
            .expect("a text takes all");
    }
    text
}

/// For a monitor: the worst of them, and what it says.
pub(super) fn check(at: &At<'_>, farms: &[FarmStatus]) -> End {
    let severity = |farm: &FarmStatus| match farm.verdict.as_str() {
        "PROTECTED" => 0,
        "UNPROTECTED" => 1,
        _ => 2,
    };
    if at.output.json {
        Output::json(&Reply::Farms(farms.into()));
    } else {
        for farm in farms {
            let calm = format!("if {} dies now, {}", farm.node, farm.if_dies);
            let why = farm.why.as_ref().unwrap_or(&calm);
            Output::line(&format!("{} {}: {why}", farm.module, farm.verdict));
        }
    }
    End::Own(farms.iter().map(severity).max().unwrap_or(3))
}

/// One farm, as `ha status` shows it. No line is longer than the style's columns, unless a single
/// word is.
pub fn status(farm: &FarmStatus, style: Style) -> String {
    let mut page = Page::new(style);
    page.head(&farm.module, &farm.verdict, farm.verdict_for_ms);
    shares(&mut page, farm, style);
    for member in farm.members.iter().filter(|member| member.why.is_some()) {
        let ago = member.age_ms.filter(|age| *age > STALE_MS);
        let ago = ago.map(|age| format!(", heard {} ago", time(age))).unwrap_or_default();
        let why = member.why.as_deref().unwrap_or_default();
        page.row(&member.name, &format!("{why}{ago}"));
    }
    for (one, other) in &farm.missing {
        page.row("missing", &format!("{one} does not hear {other}"));
    }
    let links = links(farm);
    if !links.is_empty() {
        page.row("links", &links);
    }
    let announcer = farm.announcer.as_deref().unwrap_or("nobody");
    let view = view_of(farm);
    page.row("view", &format!("{view}, {}, announcer {announcer}", farm.mode));
    page.row("plane", &format!("{}: {}", farm.plane, farm.plane_why));
    if !farm.checkers.is_empty() {
        page.row("checks", &checkers(farm));
    }
    if !farm.waits_for.is_empty() {
        page.row("waits", &format!("for {}", farm.waits_for.join(", ")));
    }
    if let Some(why) = &farm.why {
        page.row("why", why);
    }
    page.plain(&format!("if {} dies now: {}", farm.node, farm.if_dies));
    if let Some(next) = &farm.next {
        page.row("next", next);
    }
    for (what, next) in lost_links(farm) {
        page.row("note", &format!("{what}: {next}"));
    }
    if farm.config_differs {
        page.row("note", "the file says something else than what runs: ha reload");
    }
    page.text
}

/// Each network, and to whom of those that are heard it does not work.
fn links(farm: &FarmStatus) -> String {
    let one = |name: &str| {
        let down: Vec<String> = down(farm, name)
            .map(|(member, link)| {
                let since = link.since_ms.map(|since| format!(" {}", time(since)));
                format!("{}{}", member.name, since.unwrap_or_default())
            })
            .collect();
        if down.is_empty() { name.into() } else { format!("{name} DOWN to {}", down.join(", ")) }
    };
    names(farm).into_iter().map(one).collect::<Vec<String>>().join("   ")
}

/// What is to be said of networks that do not work, and to be done about it: for each network once.
pub(super) fn lost_links(farm: &FarmStatus) -> Vec<(String, String)> {
    let lost = |name: &str| {
        let to: Vec<&str> = down(farm, name).map(|(member, _)| member.name.as_str()).collect();
        let what = format!("{name} is down between {} and {}", farm.node, to.join(", "));
        let next = format!("cable or switch of {name}; it comes back by itself");
        (!to.is_empty()).then_some((what, next))
    };
    names(farm).into_iter().filter_map(lost).collect()
}

fn names(farm: &FarmStatus) -> Vec<&str> {
    let links = farm.members.iter().map(|member| &member.links);
    let all = links.max_by_key(|links| links.len());
    all.into_iter().flatten().map(|link| link.name.as_str()).collect()
}

/// To which members a network does not work. Of one that is silent that is no news.
fn down<'a>(
    farm: &'a FarmStatus,
    name: &'a str,
) -> impl Iterator<Item = (&'a FarmMember, &'a FarmLink)> {
    let heard = farm.members.iter().filter(|member| member.state != "silent");
    heard.flat_map(move |member| {
        let lost = member.links.iter().filter(move |link| link.name == name && !link.up);
        lost.map(move |link| (member, link))
    })
}

/// Each service with a bar for each member.
fn shares(page: &mut Page, farm: &FarmStatus, style: Style) {
    let names = farm.members.iter().map(|member| member.name.chars().count());
    let widest = names.max().unwrap_or(4).max(4);
    // What stands beside a bar: two gaps, a star, the share, and the longest state.
    let bars = style.columns.saturating_sub(widest + 27).clamp(8, BAR);
    for (at, service) in farm.services.iter().enumerate() {
        page.plain(&service_line(&service.name, service.draining, farm));
        for member in &farm.members {
            let own = member.buckets.get(at).copied().unwrap_or(0);
            let star = if member.name == farm.node { "*" } else { " " };
            let (name, state) = (&member.name, member.state.replace('_', " "));
            page.line(&format!(
                "    {name:<widest$} {star} {} {:>3} %  {state}",
                bar(own, service.buckets, bars),
                percent(own, service.buckets),
            ));
        }
    }
}

/// Why it is so, and what would happen.
pub fn explain(farm: &FarmStatus, style: Style) -> String {
    let mut page = Page::new(style);
    page.head(&farm.module, &farm.verdict, farm.verdict_for_ms);
    let me = &farm.node;
    let now = match &farm.why {
        Some(why) => why.clone(),
        None if farm.ready => format!("{me} has its share of the clients, and others have theirs"),
        None => format!("{me} takes no new clients; the others do"),
    };
    page.row("now", &now);
    page.plain(&format!("if {me} dies: {}", farm.if_dies));
    let left = time(farm.lease_ms);
    page.plain(&format!(
        "if only its daemon dies: the same, and its filter takes nothing after {left} at most"
    ));
    let stay = if farm.plane == "nft" {
        "those that move break: the plane nft looks up no connections"
    } else {
        "open connections stay where they are until they end, or the drain's time is over"
    };
    page.plain(&format!("when members join, leave or drain: {stay}"));
    for member in farm.members.iter().filter(|member| member.state != "serves") {
        let why = member.why.as_deref().unwrap_or("no reason is known here");
        page.row(&member.name, &format!("{}: {why}", member.state.replace('_', " ")));
    }
    page.text
}

/// What a farm's member is: `UP`, `WAIT` or `STOP`, and whether clients are to be sent there.
pub(super) fn role(at: &At<'_>, farms: &[FarmStatus], quiet: bool) -> Result<End, Refused> {
    if quiet {
        let [farm] = farms else {
            return Err(Refused::new(Exit::Usage, "which module? name one with -m"));
        };
        return Ok(End::Own(see::code(farm.role)));
    }
    if at.output.json {
        Output::json(&Reply::Farms(farms.into()));
        return Ok(End::Exit(Exit::Done));
    }
    for farm in farms {
        let ready = if farm.ready { "ready" } else { "not ready" };
        let name = if farms.len() > 1 { format!("{} ", farm.module) } else { String::new() };
        Output::line(&format!("{name}{} {ready}", farm.role));
    }
    Ok(End::Exit(Exit::Done))
}

/// Whether a farm's member is in a state; a mirror's are none.
pub(super) fn is(farm: &FarmStatus, state: State) -> Result<bool, Refused> {
    match state {
        State::Stop => Ok(farm.role == Role::Stop),
        State::Wait => Ok(farm.role == Role::Wait),
        State::Up => Ok(farm.role == Role::Up && farm.ready && farm.full),
        State::Serving => Ok(farm.verdict != "DOWN"),
        State::Protected => Ok(farm.verdict == "PROTECTED"),
        State::Second | State::Prim | State::Alone => {
            let text =
                "that is a state of a mirror: a farm's are up, wait, stop, serving, protected";
            Err(Refused::new(Exit::Usage, text))
        }
    }
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

fn bar(own: u32, all: u32, columns: usize) -> String {
    let full = (own as usize * columns + all as usize / 2).checked_div(all as usize).unwrap_or(0);
    let full = if own > 0 { full.max(1) } else { 0 };
    (0..columns).map(|at| if at < full { '█' } else { '·' }).collect()
}

fn percent(own: u32, all: u32) -> u32 {
    (own * 100 + all / 2).checked_div(all).unwrap_or(0)
}

/// Columns of a bar, where there is room.
const BAR: usize = 30;
/// What is older is no more than what was: its age is told.
const STALE_MS: u64 = 1_000;
/// Between two looks for the next daemon.
const PAUSE: Duration = Duration::from_millis(50);
/// An order takes an interval or two; a start runs scripts.
const WAIT: Duration = Duration::from_mins(2);
