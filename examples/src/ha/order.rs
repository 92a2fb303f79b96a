//! Orders: shown, confirmed, given, and waited for.

use std::io::{self, BufRead, IsTerminal, Write};
use std::time::{Duration, Instant};

use ha_core::control::protocol::{OpLine, Outcome, Reply, Request, Verb};
use ha_core::control::{Exit, Plan, Refused};
use ha_core::verdict::span;

use super::args::Confirm;
use super::ask::{self, Answers, PATIENCE, strange};
use super::output::Output;
use super::run::{At, End};
use super::show;

/// An order on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order<'a> {
    at: &'a At<'a>,
    verb: Verb,
    confirm: Confirm,
}

impl<'a> Order<'a> {
    pub(super) fn new(at: &'a At<'a>, verb: Verb, confirm: Confirm) -> Self {
        Self { at, verb, confirm }
    }

    /// `prim`: the node whose data are kept is this one, or the order belongs elsewhere.
    pub(super) fn give_keeping(self, keep: &str) -> Result<End, Refused> {
        let modules = ask::status(self.at.socket, self.at.module, PATIENCE)?;
        let Some(status) = modules.first() else {
            return Err(Refused::new(Exit::Usage, "this node has no module"));
        };
        if keep == status.node {
            return self.give();
        }
        if keep == status.peer {
            let text = format!(
                "the data of {keep} are kept by an order there: on {keep}: ha prim --keep {keep}"
            );
            return Err(Refused::new(Exit::Failed, text));
        }
        let text = format!("no node {keep:?}: there are {} and {}", status.node, status.peer);
        Err(Refused::new(Exit::Usage, text))
    }

    /// Shows the plan, asks, orders, and waits until what was wanted is so.
    pub(super) fn give(self) -> Result<End, Refused> {
        let module = self.at.named();
        let plan = Request::Plan { module: module.clone(), verb: self.verb };
        let plan = match ask::once(self.at.socket, &plan)? {
            Reply::Plan(plan) => plan,
            other => return Err(strange(&other)),
        };
        self.show(&plan);
        let forced = self.confirm.force && plan.overridable;
        if let Some(refused) = plan.refused.filter(|_| !forced) {
            return Err(refused);
        }
        if self.confirm.plan {
            return Ok(End::Exit(Exit::Done));
        }
        if plan.confirm && !self.confirm.yes {
            confirm(self.verb.name())?;
        }
        let wait = self.at.timeout.unwrap_or(WAIT);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let force = self.confirm.force;
        let order = Request::Order { module, verb: self.verb, force, wait_ms };
        follow(self.at, &order, wait)
    }

    fn show(&self, plan: &Plan) {
        if !self.at.output.json {
            Output::line(show::plan(plan, self.at.output.style).trim_end());
        } else if self.confirm.plan {
            Output::json(&Reply::Plan(plan.clone()));
        }
    }
}

/// Waits for an order that was given before.
pub(super) fn attach(at: &At<'_>, id: u64) -> Result<End, Refused> {
    let wait = at.timeout.unwrap_or(WAIT);
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    follow(at, &Request::Op { id, wait_ms }, wait)
}

/// Reads how an order goes on.
fn follow(at: &At<'_>, request: &Request, wait: Duration) -> Result<End, Refused> {
    // The daemon counts the same time, in whole milliseconds, from a moment later on.
    let millis = u64::try_from(wait.min(WAIT_MAX).as_millis()).expect("a day has fewer");
    let end = Instant::now() + Duration::from_millis(millis);
    let mut answers = Answers::of(at.socket, request, Some(wait.saturating_add(PATIENCE)))?;
    let mut last: Option<OpLine> = None;
    while let Some(answer) = answers.next()? {
        match answer {
            Reply::Accepted(_) => {}
            Reply::Op(line) => {
                let news = last.as_ref().is_none_or(|last| last.text != line.text);
                if news && line.outcome == Outcome::Running && !line.text.is_empty() {
                    Output::note(&format!("… {}", line.text));
                }
                last = Some(line);
            }
            other => return Err(strange(&other)),
        }
    }
    let Some(last) = last else {
        return Err(Refused::new(Exit::Unavailable, "the daemon ended before it obeyed"));
    };
    if last.outcome == Outcome::Running && Instant::now() < end {
        let text = "the daemon has ended meanwhile: see `ha status` what came of the order";
        return Err(Refused::new(Exit::Unavailable, text));
    }
    let took = span(Duration::from_millis(last.took_ms));
    let (exit, text) = match last.outcome {
        Outcome::Done => (Exit::Done, format!("{}: done in {took}", last.verb.name())),
        Outcome::Failed => (Exit::Failed, format!("{}: failed: {}", last.verb.name(), last.text)),
        Outcome::Running => {
            (Exit::Running, format!("{}: still running: ha op {}", last.verb.name(), last.id))
        }
    };
    if at.output.json {
        Output::json(&Reply::Op(last));
    } else {
        Output::line(&text);
    }
    Ok(End::Exit(exit))
}

/// Asks whoever is there; without a terminal nobody is.
pub(super) fn confirm(word: &str) -> Result<(), Refused> {
    if !io::stdin().is_terminal() {
        let text = format!("{word} is confirmed first: add --yes");
        return Err(Refused::new(Exit::Denied, text));
    }
    let mut out = io::stdout().lock();
    // Whoever cannot be asked does not say yes.
    let _ = write!(out, "go on? [y/N] ").and_then(|()| out.flush());
    let mut answer = String::new();
    let said = io::stdin().lock().read_line(&mut answer).is_ok();
    if said && matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Refused::new(Exit::Denied, "nothing was done"))
}

/// How long an order is waited for unless `--timeout` says so: a start may take some time.
const WAIT: Duration = Duration::from_mins(2);
/// The longest that a daemon waits with whoever ordered.
const WAIT_MAX: Duration = Duration::from_hours(24);
