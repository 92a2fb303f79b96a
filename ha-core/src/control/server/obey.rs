//! Orders: checked, given, and watched until what was wanted is so.

use core::time::Duration;
use std::format;
use std::prelude::rust_2024::*;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::info;

use super::Office;
use crate::Event;
use crate::control::ops::State;
use crate::control::plan::{Goal, needs_force, progress};
use crate::control::protocol::{Outcome, Verb};
use crate::control::{Command, Desk, Refused, Report};

impl<D: Desk> Office<D> {
    /// Gives an order; its number.
    pub(super) async fn begin(
        self: &Arc<Self>,
        module: Option<&str>,
        verb: Verb,
        force: bool,
    ) -> Result<u64, Refused> {
        let report = self.one(module).await?;
        if let Some(refused) = needs_force(&report, verb).filter(|_| !force) {
            return Err(refused);
        }
        let since = self.events.newest() + 1;
        let state = State {
            module: report.name.clone(),
            verb,
            outcome: Outcome::Running,
            text: String::new(),
            began: self.events.clock().now(),
            ended: None,
        };
        let (id, tell) = self.ops().begin(state)?;
        if let Err(refused) = self.desk.order(&report.name, verb.command()).await {
            self.end(&tell, Outcome::Failed, refused.text.clone());
            return Err(refused);
        }
        info!(module = report.name, order = verb.name(), id, "an order is under way");
        let office = Arc::clone(self);
        tokio::spawn(async move { office.pursue(report, verb, since, tell).await });
        Ok(id)
    }

    /// Watches an order to its end.
    async fn pursue(
        self: Arc<Self>,
        report: Report,
        verb: Verb,
        since: u64,
        tell: watch::Sender<State>,
    ) {
        let first = self.reach(&report, Goal::of(verb), since, &tell).await;
        let reached = match (first, verb) {
            (Ok(()), Verb::Stopstart) => {
                match self.desk.order(&report.name, Command::StartAgain).await {
                    Ok(()) => self.reach(&report, Goal::Ready, since, &tell).await,
                    Err(refused) => Err(refused.text),
                }
            }
            (first, _) => first,
        };
        match reached {
            Ok(()) => self.end(&tell, Outcome::Done, format!("{}: done", verb.name())),
            Err(why) => self.end(&tell, Outcome::Failed, why),
        }
    }

    /// Waits until the goal is reached.
    async fn reach(
        &self,
        report: &Report,
        goal: Goal,
        since: u64,
        tell: &watch::Sender<State>,
    ) -> Result<(), String> {
        let mut follower = self.events.follow();
        let clock = self.events.clock();
        let end = clock.now() + PURSUED_MAX;
        let (mut restarted, mut yields, mut next) = (false, false, since);
        loop {
            loop {
                let found = self.events.since(next);
                let ours = found.entries.iter().filter(|entry| entry.module == report.id);
                restarted |= ours.into_iter().any(|it| matches!(it.event, Event::Serving(_)));
                if found.entries.is_empty() {
                    break;
                }
                next = found.next;
            }
            let Some(report) = self.desk.report(&report.name).await else {
                return Err("the daemon is ending".into());
            };
            if goal.is_reached(&report, restarted) {
                return Ok(());
            }
            yields |= report.view.yielding;
            if goal == Goal::Away && yields && !report.view.yielding && report.view.role.serves() {
                return Err(format!("given up: {} serves again", report.names.me));
            }
            let text = progress(&report);
            tell.send_if_modified(|state| {
                let changed = state.text != text;
                state.text = text;
                changed
            });
            if clock.now() > end {
                return Err("given up after an hour".into());
            }
            sleep(PAUSE).await;
            let _ = timeout(BETWEEN, follower.changed()).await;
        }
    }

    fn end(&self, tell: &watch::Sender<State>, outcome: Outcome, text: String) {
        let now = self.events.clock().now();
        tell.send_modify(|state| {
            (state.outcome, state.text, state.ended) = (outcome, text, Some(now));
        });
    }
}

/// After so long an order is forgotten: an operator has looked since.
const PURSUED_MAX: Duration = Duration::from_hours(1);
/// Events come in bursts: one look at a module serves for all of them.
const PAUSE: Duration = Duration::from_millis(20);
/// What comes without an event is looked at as often.
const BETWEEN: Duration = Duration::from_millis(500);
