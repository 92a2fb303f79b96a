//! A status as text.

use std::time::Duration;

use ha_core::control::{CopyStatus, Found, LinkStatus, ModuleStatus, Plan, There};
use ha_core::proto::{DataState, Role};
use ha_core::verdict::span;

/// How text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// With colours; they never say anything alone.
    pub colour: bool,
    /// The width, in columns.
    pub columns: usize,
}

/// One module, as `ha status` shows it. No line is longer than the style's columns, unless a single
/// word is.
pub fn status(status: &ModuleStatus, style: Style) -> String {
    let mut page = Page::new(style);
    head(&mut page, status);
    page.row("here", &here(status));
    page.row("there", &there(status));
    page.row("links", &links(status));
    if !status.checkers.is_empty() {
        page.row("checks", &checkers(status));
    }
    for blocker in &status.blockers {
        page.row("why", &with_age(blocker));
    }
    if let Some(first) = status.blockers.first() {
        page.plain(&format!("if {} dies now: {}", primary(status), first.if_dies));
        page.row("next", &first.next);
    } else if status.down.is_none() {
        let takes = time(status.takeover_ms);
        page.plain(&format!("if {} dies now: a takeover takes {takes} at most", primary(status)));
    }
    if let Some(down) = &status.down {
        page.row("why", &down.why);
        let within = down.within_ms.map(|left| format!(", within {}", time(left)));
        page.row("move", &format!("{}{}", mover(status, &down.mover), within.unwrap_or_default()));
        page.row("next", &down.next);
        if both_wait(status) {
            page.row("keep?", &both_sides(status));
        }
    }
    for note in &status.notes {
        page.row("note", &format!("{}: {}", note.why, note.next));
    }
    page.text
}

/// Why it is so, and what would happen next.
pub fn explain(status: &ModuleStatus, style: Style) -> String {
    let mut page = Page::new(style);
    head(&mut page, status);
    let explained = &status.explain;
    page.row("now", &explained.now);
    page.plain(&format!("if {} dies: {}", status.node, explained.this_dies));
    page.plain(&format!("if {} dies: {}", status.peer, explained.peer_dies));
    for network in &explained.networks {
        page.plain(&format!("without {network}"));
    }
    if let Some(witness) = &explained.witness_dies {
        page.plain(&format!("if the witness dies: {witness}"));
    }
    page.plain(&format!("on a swap: {}", explained.swap));
    page.text
}

/// What an order would do.
pub fn plan(plan: &Plan, style: Style) -> String {
    let mut page = Page::new(style);
    let takes = plan.takes_ms.map(|takes| format!("  takes {}", time(takes))).unwrap_or_default();
    page.line(&format!("{}: plan{takes}", plan.module));
    for (number, step) in (1..).zip(&plan.steps) {
        page.row(&format!("{number}."), step);
    }
    if let Some(away) = plan.away_ms {
        page.plain(&format!("the service is away for {} meanwhile", time(away)));
    }
    page.text
}

/// A page that grows line by line.
pub(super) struct Page {
    style: Style,
    pub(super) text: String,
}

impl Page {
    pub(super) fn new(style: Style) -> Self {
        Self { style, text: String::new() }
    }

    pub(super) fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// The module at the left, its verdict at the right, and for how long that is so.
    pub(super) fn head(&mut self, module: &str, verdict: &str, for_ms: u64) {
        let age = format!("for {}", time(for_ms));
        let right = format!("{verdict}  {age}");
        let space = self.style.columns.saturating_sub(module.chars().count() + right.len());
        let gap = " ".repeat(space.max(2));
        let code = match verdict {
            "PROTECTED" => "32",
            "UNPROTECTED" => "33",
            _ => "31",
        };
        let word = if self.style.colour {
            format!("\x1b[1;{code}m{verdict}\x1b[0m")
        } else {
            verdict.into()
        };
        self.line(&format!("{module}{gap}{word}  {age}"));
    }

    /// A line with a word in front, wrapped.
    pub(super) fn row(&mut self, word: &str, text: &str) {
        self.wrapped(&format!("  {word:<8}"), text);
    }

    /// A line without, wrapped.
    pub(super) fn plain(&mut self, text: &str) {
        self.wrapped("  ", text);
    }

    fn wrapped(&mut self, front: &str, text: &str) {
        let indent = " ".repeat(10);
        let mut line = front.to_string();
        let mut empty = true;
        for word in text.split(' ') {
            let room = self.style.columns.saturating_sub(line.chars().count());
            if !empty && word.chars().count() + 1 > room {
                let full = std::mem::replace(&mut line, indent.clone());
                self.line(&full);
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(word);
            empty = false;
        }
        self.line(&line);
    }
}

fn head(page: &mut Page, status: &ModuleStatus) {
    page.head(&status.module, &status.verdict, status.verdict_for_ms);
}

fn here(status: &ModuleStatus) -> String {
    let here = &status.here;
    let star = if here.application == "up" { "*" } else { " " };
    let ready = if here.ready { "ready" } else { "…" };
    let runs = if here.application == "down" { String::new() } else { running(status) };
    let what = data(status);
    format!("{} {star} {:<6} {ready:<6} {runs:<12} {what}", status.node, here.role.to_string())
}

/// What the application does.
fn running(status: &ModuleStatus) -> String {
    match status.here.application.as_str() {
        "up" => status.service.clone(),
        doing => format!("{} {doing}", status.service),
    }
}

/// What the data here are worth, against the other node's.
fn data(status: &ModuleStatus) -> String {
    let here = &status.here;
    if let Some(copy) = status.copy.as_ref().filter(|copy| copy.to == status.node) {
        return copying(copy);
    }
    let disk = match here.disk.as_str() {
        "ok" => "",
        "full" => ", disk full",
        "stalled" => ", disk silent",
        _ => ", disk failed",
    };
    let worth = match here.state {
        DataState::Blank => "no data",
        DataState::Target => "incomplete",
        DataState::Complete if status.set.contains(&status.node) => "up to date",
        DataState::Complete => "perhaps stale",
    };
    let lacks = here.head.saturating_sub(here.committed);
    let ahead = if lacks > 0 && here.role.serves() {
        format!(", {lacks} records wait for {}", status.peer)
    } else {
        String::new()
    };
    format!("{worth}{ahead}{disk}")
}

fn there(status: &ModuleStatus) -> String {
    let Some(there) = &status.there else {
        return format!("{}   not heard since this daemon started", status.peer);
    };
    let fresh = there.up && there.age_ms < STALE_MS;
    let ready = if there.ready { "ready" } else { "…" };
    let star = if there.role.serves() && fresh { "*" } else { " " };
    let role = there.role.to_string();
    let said = format!("{role:<6} {ready:<6} {}", their_data(status, there));
    let said = said.trim_end();
    if fresh {
        format!("{} {star} {said}", status.peer)
    } else {
        // What is old stands in parentheses, with its age.
        format!("{}   ({said}, {} ago)", status.peer, time(there.age_ms))
    }
}

fn their_data(status: &ModuleStatus, there: &There) -> String {
    if let Some(copy) = status.copy.as_ref().filter(|copy| copy.to == status.peer) {
        return copying(copy);
    }
    if there.broken {
        return "storage failed".into();
    }
    if !there.resources_down.is_empty() {
        return format!("down: {}", there.resources_down.join(", "));
    }
    match there.state {
        DataState::Blank => "no data".into(),
        DataState::Target => "incomplete".into(),
        DataState::Complete if status.set.contains(&status.peer) => "up to date".into(),
        DataState::Complete => "perhaps stale".into(),
    }
}

fn copying(copy: &CopyStatus) -> String {
    let percent = (copy.done.saturating_mul(100)).checked_div(copy.goal).unwrap_or(100).min(100);
    let rate = copy.rate.map(|rate| format!(" · {rate} records/s")).unwrap_or_default();
    let left = copy.left_ms.map(|left| format!(" · {} left", time(left))).unwrap_or_default();
    format!("{percent} %{rate}{left}")
}

fn links(status: &ModuleStatus) -> String {
    let links = status.links.iter().map(link);
    let witness = status.witness.as_ref().map(|witness| {
        if !witness.answers {
            return "witness SILENT".into();
        }
        let took = witness.round_trip_us.map(|micros| format!(" {}", fine(micros)));
        format!("witness{}", took.unwrap_or_default())
    });
    let vote = witness.unwrap_or_else(|| format!("vote {}", status.vote));
    let all: Vec<String> = links.chain([vote]).collect();
    all.join("   ")
}

fn link(link: &LinkStatus) -> String {
    if !link.up {
        let since = link.since_ms.map(|since| format!(" {}", time(since))).unwrap_or_default();
        return format!("{} DOWN{since}", link.name);
    }
    let took = link.round_trip_us.map(|micros| format!(" {}", fine(micros))).unwrap_or_default();
    format!("{}{took}", link.name)
}

fn checkers(status: &ModuleStatus) -> String {
    let one = |checker: &ha_core::control::CheckerStatus| match checker.up {
        Some(true) => format!("{} up", checker.name),
        Some(false) => {
            let since = checker.since_ms.map(|since| format!(" {}", time(since)));
            format!("{} DOWN{}", checker.name, since.unwrap_or_default())
        }
        None => format!("{} ?", checker.name),
    };
    let all: Vec<String> = status.checkers.iter().map(one).collect();
    all.join("   ")
}

fn with_age(found: &Found) -> String {
    match found.since_ms {
        Some(since) if since >= 1_000 => format!("{} (for {})", found.why, time(since)),
        Some(_) | None => found.why.clone(),
    }
}

/// Who serves.
fn primary(status: &ModuleStatus) -> &str {
    if status.here.role.serves() { &status.node } else { &status.peer }
}

fn mover<'a>(status: &'a ModuleStatus, mover: &'a str) -> &'a str {
    match mover {
        "node" => &status.node,
        "peer" => &status.peer,
        "witness" => "the witness",
        "operator" => "yours",
        other => other,
    }
}

fn both_wait(status: &ModuleStatus) -> bool {
    let there = status.there.as_ref().is_some_and(|there| there.up && there.role == Role::Wait);
    status.here.role == Role::Wait && there
}

/// Both sides' last writes: the operator says which to keep.
fn both_sides(status: &ModuleStatus) -> String {
    let there = status.there.as_ref().expect("both nodes wait");
    format!(
        "{}: record {} of epoch {}; {}: record {} of epoch {}. The other side's are set aside",
        status.node,
        status.here.durable,
        status.here.epoch,
        status.peer,
        there.durable,
        there.epoch
    )
}

pub(super) fn time(millis: u64) -> String {
    span(Duration::from_millis(millis))
}

/// A round trip.
fn fine(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..100_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        _ => format!("{} ms", micros / 1_000),
    }
}

/// What is older is no more than what was: shown in parentheses.
const STALE_MS: u64 = 5_000;
