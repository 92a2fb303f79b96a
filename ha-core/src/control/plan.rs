//! What an order would do, before it is given; when it has done it.

use core::time::Duration;
use std::format;
use std::prelude::rust_2024::*;
use std::vec;

use ha_proto::Role;
use serde::{Deserialize, Serialize};

use crate::OrderError;
use crate::control::protocol::Verb;
use crate::control::status::millis;
use crate::control::{Exit, Refused, Report};
use crate::verdict::{Facts, Verdict, Word, judge};
use crate::view::{Stage, Wait};

/// What an order would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The module.
    pub module: String,
    /// Step by step.
    pub steps: Vec<String>,
    /// How long it takes, as far as was ever measured here.
    pub takes_ms: Option<u64>,
    /// For how long the service is away meanwhile; `null` when it is not touched.
    pub away_ms: Option<u64>,
    /// Whether it takes the service away, or risks data: then it is confirmed.
    pub confirm: bool,
    /// Why it would be refused.
    pub refused: Option<Refused>,
    /// Whether `--force` would help against that.
    pub overridable: bool,
}

/// What the steps are made of.
struct Times {
    stop: Duration,
    start: Duration,
    /// A hand-over by witness or beats.
    hand: Duration,
    /// Until the witness gives the service away: an orderly stop waits for that, and serves on.
    grace: Duration,
}

impl Plan {
    /// The plan of an order of a module as it is now.
    pub fn new(report: &Report, verb: Verb) -> Self {
        let (view, host) = (&report.view, &report.host);
        let times = Times {
            stop: host.stop.unwrap_or(view.timing.stop),
            start: host.start.unwrap_or(Duration::ZERO),
            hand: view.timing.heartbeat + view.timing.round_trip,
            grace: view.witness.grace.filter(|_| view.swap.is_err()).unwrap_or(Duration::ZERO),
        };
        let (steps, takes, away) = steps(report, verb, &times);
        let unsafe_now = needs_force(report, verb);
        let refused = refusal(report, verb).or_else(|| unsafe_now.clone());
        let risks = matches!(verb, Verb::Primforce | Verb::Prim);
        Self {
            module: report.name.clone(),
            steps,
            takes_ms: takes.map(millis),
            away_ms: away.map(millis),
            confirm: away.is_some() || risks,
            overridable: unsafe_now.is_some() && refused == unsafe_now,
            refused,
        }
    }
}

fn serves(report: &Report) -> bool {
    report.view.role.serves() || report.view.service.stage != Stage::Down
}

/// Whether the other node takes over when this one stops in order, which waits for a witness that
/// gives nothing away yet.
fn hands_over(report: &Report) -> bool {
    serves(report) && report.view.swap.err().is_none_or(OrderError::is_brief)
}

/// What is unsafe unless the operator insists.
pub(crate) fn needs_force(report: &Report, verb: Verb) -> Option<Refused> {
    let (me, peer) = (&report.names.me, &report.names.peer);
    match verb {
        Verb::Stop | Verb::Stopstart if serves(report) && !hands_over(report) => {
            let text = format!(
                "{me} serves and {peer} cannot take over: the service would stop; --force stops it \
                 all the same"
            );
            Some(Refused::new(Exit::Unsafe, text))
        }
        Verb::Primforce if !matches!(report.view.wait, Some(Wait::Stale | Wait::Incomplete)) => {
            let text = format!(
                "{me} does not wait for data that only {peer} has: `ha prim` loses nothing; \
                 --force overrides all the same"
            );
            Some(Refused::new(Exit::Unsafe, text))
        }
        Verb::Start
        | Verb::Stop
        | Verb::Restart
        | Verb::Stopstart
        | Verb::Swap
        | Verb::Prim
        | Verb::Second
        | Verb::Primforce
        | Verb::Failover { .. }
        | Verb::Checkers { .. }
        | Verb::Maintenance { .. } => None,
    }
}

/// What is known to be refused, without asking.
fn refusal(report: &Report, verb: Verb) -> Option<Refused> {
    match verb {
        Verb::Swap => report.view.swap.err().map(Refused::from),
        Verb::Restart if !serves(report) => {
            let text = format!("the application does not run on {}", report.names.me);
            Some(Refused::new(Exit::Failed, text))
        }
        Verb::Start
        | Verb::Stop
        | Verb::Restart
        | Verb::Stopstart
        | Verb::Prim
        | Verb::Second
        | Verb::Primforce
        | Verb::Failover { .. }
        | Verb::Checkers { .. }
        | Verb::Maintenance { .. } => None,
    }
}

type Steps = (Vec<String>, Option<Duration>, Option<Duration>);

fn steps(report: &Report, verb: Verb, times: &Times) -> Steps {
    let (me, peer) = (&report.names.me, &report.names.peer);
    let Times { stop, start, hand, grace } = *times;
    let (stops, starts) =
        (format!("stop the application on {me}"), format!("start the application on {me}"));
    let over = format!("hand over to {peer}, which starts the application");
    match verb {
        Verb::Start | Verb::Second => {
            let join = format!("{me} takes part: it follows {peer}, or serves if it should");
            (vec![join], Some(hand + start), None)
        }
        Verb::Stop if hands_over(report) => {
            let away = stop + hand + start;
            let stops = once_given(stops, grace);
            (vec![stops, over, format!("{me} takes part no more")], Some(grace + away), Some(away))
        }
        Verb::Stop if serves(report) => {
            let end = format!("nobody serves until `ha start` on {me}");
            (vec![stops, end], Some(stop), Some(stop))
        }
        Verb::Stop => (vec![format!("{me} takes part no more")], Some(Duration::ZERO), None),
        Verb::Restart => (vec![stops, starts], Some(stop + start), Some(stop + start)),
        Verb::Stopstart if hands_over(report) => {
            let away = stop + hand + start;
            let back = format!("{me} takes part again, as secondary");
            let stops = once_given(stops, grace);
            (vec![stops, over, back], Some(grace + away + hand), Some(away))
        }
        Verb::Stopstart if serves(report) => {
            let away = stop + hand + start;
            (vec![stops, starts], Some(away), Some(away))
        }
        Verb::Stopstart => (vec![format!("{me} leaves and joins again")], Some(hand), None),
        Verb::Swap => {
            let away = stop + hand + start;
            (vec![stops, over, format!("{me} follows {peer}")], Some(away), Some(away))
        }
        Verb::Prim => (prim(report), Some(hand + start), None),
        Verb::Primforce => {
            let lost = format!("what only {peer} has acknowledged is lost");
            (vec![format!("{me} serves its own data"), lost], Some(hand + start), None)
        }
        Verb::Failover { .. } | Verb::Checkers { .. } | Verb::Maintenance { .. } => {
            (vec![setting(report, verb)], Some(Duration::ZERO), None)
        }
    }
}

/// A stop that waits for the witness.
fn once_given(stops: String, grace: Duration) -> String {
    if grace.is_zero() {
        return stops;
    }
    let span = crate::verdict::span(grace);
    format!("serve on until the witness gives the service away, in {span}; {stops}")
}

fn setting(report: &Report, verb: Verb) -> String {
    let me = &report.names.me;
    match verb {
        Verb::Failover { on: true } => format!("{me} takes over by itself"),
        Verb::Failover { on: false } => {
            format!("{me} does not take over by itself: if the primary dies, nobody serves")
        }
        Verb::Checkers { on: true } => format!("checkers act on {me} again"),
        Verb::Checkers { on: false } => format!("checkers do not act on {me}"),
        Verb::Maintenance { for_ms: None } => format!("maintenance on {me} ends"),
        Verb::Maintenance { for_ms: Some(millis) } => {
            let span = crate::verdict::span(Duration::from_millis(millis));
            format!("for {span}: {me} does not take over by itself, and checkers do not act")
        }
        Verb::Start
        | Verb::Stop
        | Verb::Restart
        | Verb::Stopstart
        | Verb::Swap
        | Verb::Prim
        | Verb::Second
        | Verb::Primforce => String::new(),
    }
}

fn prim(report: &Report) -> Vec<String> {
    let (me, peer) = (&report.names.me, &report.names.peer);
    if report.view.wait == Some(Wait::NeverInitialised) {
        let copy = format!("{peer} gets a copy of it; what it holds is set aside");
        return vec![format!("a new pair begins with the data of {me}"), copy];
    }
    vec![format!("{me} serves its own data, if none newer were acknowledged elsewhere")]
}

/// What an order is to lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Serving, or ready to.
    Ready,
    /// Taking part, whatever comes of it.
    Started,
    /// Stopped.
    Stopped,
    /// Serving anew.
    Restarted,
    /// The other node serves.
    Away,
    /// Serving here.
    Serving,
    /// The daemon's word is enough.
    Told,
}

impl Goal {
    /// What the first part of an order is to lead to.
    pub(crate) const fn of(verb: Verb) -> Self {
        match verb {
            Verb::Start => Self::Ready,
            Verb::Second => Self::Started,
            Verb::Stop | Verb::Stopstart => Self::Stopped,
            Verb::Restart => Self::Restarted,
            Verb::Swap => Self::Away,
            Verb::Prim | Verb::Primforce => Self::Serving,
            Verb::Failover { .. } | Verb::Checkers { .. } | Verb::Maintenance { .. } => Self::Told,
        }
    }

    /// Whether it is reached. `restarted`: the application has begun to serve since the order.
    pub(crate) fn is_reached(self, report: &Report, restarted: bool) -> bool {
        let view = &report.view;
        let up = view.service.stage == Stage::Up && view.ready;
        match self {
            Self::Ready => view.ready && (view.role == Role::Second || up),
            Self::Started => view.started && view.role != Role::Stop,
            Self::Stopped => view.role == Role::Stop && view.ready,
            Self::Restarted => up && restarted,
            Self::Away => {
                let told = view.peer.told.as_ref().filter(|_| view.peer.up);
                let there = told.is_some_and(|(_, told)| told.role.serves() && told.ready);
                there && !view.role.serves()
            }
            Self::Serving => up && view.role.serves(),
            Self::Told => true,
        }
    }
}

/// What is going on, for whoever waits.
pub(crate) fn progress(report: &Report) -> String {
    let facts = Facts { view: &report.view, host: &report.host, names: &report.names };
    let role = report.view.role;
    let ready = if report.view.ready { "ready" } else { "not ready" };
    let verdict = judge(&facts);
    let why = match &verdict {
        Verdict::Down(down) => down.why.clone(),
        Verdict::Unprotected { blockers } => {
            blockers.first().map_or_else(String::new, |blocker| blocker.why.clone())
        }
        Verdict::Protected { .. } => format!("{}", Word::Protected),
    };
    format!("{} is {role}, {ready}: {why}", report.names.me)
}
