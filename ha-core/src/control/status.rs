//! How a module is doing, as JSON says it.

use core::time::Duration;
use std::format;
use std::prelude::rust_2024::*;

use ha_proto::{DataState, NodeId, NodeSet, Role};
use serde::{Deserialize, Serialize};

use crate::control::Report;
use crate::control::board::Noted;
use crate::verdict::{self, Facts, Finding, Verdict, explain};
use crate::view::{LinkView, Right, Stage, View};

/// One module on one node: what `ha status --json` prints. Fields are added, never renamed; what is
/// not known is `null`. Times are whole milliseconds unless the name says microseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleStatus {
    /// The module.
    pub module: String,
    /// Its number.
    pub id: u16,
    /// This node.
    pub node: String,
    /// The other node.
    pub peer: String,
    /// What runs.
    pub service: String,
    /// `PROTECTED`, `UNPROTECTED` or `DOWN`.
    pub verdict: String,
    /// For how long it is that.
    pub verdict_for_ms: u64,
    /// How long a takeover would take at most; unless protected it may not happen at all.
    pub takeover_ms: u64,
    /// What stands in its way.
    pub blockers: Vec<Found>,
    /// What else an operator should know.
    pub notes: Vec<Found>,
    /// Why the service does not run.
    pub down: Option<DownStatus>,
    /// What would happen next.
    pub explain: Explained,
    /// The kind of vote: `none`, `ping`, `arbiter` or `manual`.
    pub vote: String,
    /// This node.
    pub here: Here,
    /// The other node, as it said last.
    pub there: Option<There>,
    /// The nodes whose copies count.
    pub set: Vec<String>,
    /// The networks.
    pub links: Vec<LinkStatus>,
    /// The witness, where the vote has one.
    pub witness: Option<WitnessStatus>,
    /// A copy under way.
    pub copy: Option<CopyStatus>,
    /// The checkers.
    pub checkers: Vec<CheckerStatus>,
    /// How long maintenance still lasts.
    pub maintenance_ms: Option<u64>,
    /// Whether checkers act.
    pub checkers_act: bool,
    /// Automatic restarts left.
    pub restarts_left: Option<u8>,
    /// The configuration's file is not what runs.
    pub config_differs: bool,
    /// Why a swap would be refused; `null` when it would be accepted.
    pub swap_refused: Option<String>,
}

/// A finding of the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// `no_peer`, `not_in_sync`, …
    pub kind: String,
    /// For how long.
    pub since_ms: Option<u64>,
    /// Why.
    pub why: String,
    /// What happens if the node that serves dies now.
    pub if_dies: String,
    /// What to do.
    pub next: String,
}

/// Why the service does not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownStatus {
    /// Why.
    pub why: String,
    /// Whose move it is: `node`, `peer`, `witness` or `operator`.
    pub mover: String,
    /// What to do, or to wait for.
    pub next: String,
    /// When the mover moves by itself, at the latest.
    pub within_ms: Option<u64>,
}

/// What would happen next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// Why things are as they are.
    pub now: String,
    /// If this node died.
    pub this_dies: String,
    /// If the other node died.
    pub peer_dies: String,
    /// If one network failed, each.
    pub networks: Vec<String>,
    /// If the witness died.
    pub witness_dies: Option<String>,
    /// On a swap.
    pub swap: String,
}

/// This node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of a report")]
pub struct Here {
    /// Its role.
    pub role: Role,
    /// Whether it is settled in it.
    pub ready: bool,
    /// What its data are worth.
    pub state: DataState,
    /// Its saved epoch.
    pub epoch: String,
    /// The application: `down`, `starting`, `up`, `stopping` or `fenced`.
    pub application: String,
    /// A step of the application failed.
    pub failed: bool,
    /// The right to serve: `none`, `standing` or `lease`.
    pub right: String,
    /// For how long, of a lease.
    pub right_ms: Option<u64>,
    /// For how long a promise, or the boot, binds it.
    pub bound_ms: Option<u64>,
    /// Whether it takes part.
    pub started: bool,
    /// Whether it takes over by itself.
    pub failover: bool,
    /// Whether it is handing over.
    pub yielding: bool,
    /// The last record, durable or not.
    pub head: u64,
    /// The last durable record.
    pub durable: u64,
    /// The last record that all copies have.
    pub committed: u64,
    /// The last record that the application has.
    pub applied: u64,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Its disk: `ok`, `full`, `stalled` or `failed`.
    pub disk: String,
    /// Resources that are down.
    pub resources_down: Vec<String>,
    /// How long its daemon runs.
    pub uptime_ms: u64,
}

/// The other node, as it said last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of a report")]
pub struct There {
    /// Whether it is alive: else all of this is old.
    pub up: bool,
    /// How old it is.
    pub age_ms: u64,
    /// Its role.
    pub role: Role,
    /// Whether it is settled in it.
    pub ready: bool,
    /// What its data are worth.
    pub state: DataState,
    /// Its saved epoch.
    pub epoch: String,
    /// Its last durable record, as of its last change of anything else.
    pub durable: u64,
    /// Whether it could serve.
    pub able: bool,
    /// Whether its storage failed.
    pub broken: bool,
    /// Whether it waits for an operator before it takes over.
    pub waits: bool,
    /// Resources that are down there.
    pub resources_down: Vec<String>,
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Its name.
    pub name: String,
    /// Whether it works.
    pub up: bool,
    /// For how long.
    pub since_ms: Option<u64>,
    /// The round trip, in microseconds.
    pub round_trip_us: Option<u64>,
    /// The longest time without a beat.
    pub longest_gap_ms: Option<u64>,
    /// The time after which it counts as down.
    pub timeout_ms: u64,
}

/// The witness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessStatus {
    /// Whether it answers this node.
    pub answers: bool,
    /// How long that takes, in microseconds.
    pub round_trip_us: Option<u64>,
    /// How long its lease for this node lasts.
    pub lease_ms: Option<u64>,
    /// For how long it lets nobody but the holder hold.
    pub held_ms: Option<u64>,
    /// The nodes whose copies it counts.
    pub set: Vec<String>,
}

/// A copy under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyStatus {
    /// Who gets it.
    pub to: String,
    /// Records that it has.
    pub done: u64,
    /// Records that it needs.
    pub goal: u64,
    /// Records a second.
    pub rate: Option<u64>,
    /// How long it will take at that rate.
    pub left_ms: Option<u64>,
}

/// A checker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckerStatus {
    /// Its name.
    pub name: String,
    /// Whether what it checks is up.
    pub up: Option<bool>,
    /// For how long.
    pub since_ms: Option<u64>,
}

impl ModuleStatus {
    pub(super) fn new(report: &Report, noted: &Noted) -> Self {
        let Report { view, host, names, .. } = report;
        let facts = Facts { view, host, names };
        let down = match &noted.verdict {
            Verdict::Down(down) => Some(DownStatus {
                why: down.why.clone(),
                mover: down.mover.name().into(),
                next: down.next.clone(),
                within_ms: down.within.map(millis),
            }),
            Verdict::Protected { .. } | Verdict::Unprotected { .. } => None,
        };
        Self {
            module: report.name.clone(),
            id: report.id.0,
            node: names.me.clone(),
            peer: names.peer.clone(),
            service: report.service.clone(),
            verdict: format!("{}", noted.verdict.word()),
            verdict_for_ms: millis(noted.age),
            takeover_ms: millis(verdict::takeover(&facts)),
            blockers: noted.verdict.blockers().iter().map(Found::new).collect(),
            notes: noted.notes.iter().map(Found::new).collect(),
            down,
            explain: Explained::new(explain(&facts)),
            vote: format!("{}", view.vote),
            here: Here::new(report),
            there: There::new(report),
            set: called(report, view.membership.set),
            links: links(report, noted),
            witness: WitnessStatus::new(report),
            copy: copying(report, noted),
            checkers: checkers(report),
            maintenance_ms: host.maintenance.map(millis),
            checkers_act: host.checkers,
            restarts_left: host.restarts_left,
            config_differs: host.config_differs,
            swap_refused: view.swap.err().map(|refused| format!("{refused}")),
        }
    }
}

impl Found {
    fn new(finding: &Finding) -> Self {
        Self {
            kind: finding.kind.name().into(),
            since_ms: finding.since.map(millis),
            why: finding.why.clone(),
            if_dies: finding.if_dies.clone(),
            next: finding.next.clone(),
        }
    }
}

impl Explained {
    fn new(explanation: verdict::Explanation) -> Self {
        let verdict::Explanation { now, this_dies, peer_dies, networks, witness_dies, swap } =
            explanation;
        Self { now, this_dies, peer_dies, networks, witness_dies, swap }
    }
}

impl Here {
    fn new(report: &Report) -> Self {
        let view = &report.view;
        let (right, right_ms) = match view.right {
            Right::None => ("none", None),
            Right::Standing => ("standing", None),
            Right::Lease(left) => ("lease", Some(millis(left))),
        };
        Self {
            role: view.role,
            ready: view.ready,
            state: view.state,
            epoch: format!("{}", view.membership.epoch),
            application: application(view.service.stage).into(),
            failed: view.service.failed,
            right: right.into(),
            right_ms,
            bound_ms: view.bound.map(millis),
            started: view.started,
            failover: view.failover,
            yielding: view.yielding,
            head: view.head.seq.0,
            durable: view.durable.seq.0,
            committed: view.committed.0,
            applied: view.applied.0,
            log_bytes: view.log.bytes,
            disk: disk(view).into(),
            resources_down: resources(report, view.resources.known & !view.resources.up),
            uptime_ms: millis(view.uptime),
        }
    }
}

impl There {
    fn new(report: &Report) -> Option<Self> {
        let (age, told) = report.view.peer.told.as_ref()?;
        Some(Self {
            up: report.view.peer.up,
            age_ms: millis(*age),
            role: told.role,
            ready: told.ready,
            state: told.state,
            epoch: format!("{}", told.membership.epoch),
            durable: told.position.seq.0,
            able: told.able,
            broken: told.broken,
            waits: told.waits,
            resources_down: resources(report, told.resources.known & !told.resources.up),
        })
    }
}

impl WitnessStatus {
    fn new(report: &Report) -> Option<Self> {
        let witness = &report.view.witness;
        let set = witness.register.map(|register| register.set).unwrap_or_default();
        Some(Self {
            answers: witness.answering?,
            round_trip_us: witness.round_trip.map(micros),
            lease_ms: witness.lease.map(millis),
            held_ms: witness.held.map(millis),
            set: called(report, set),
        })
    }
}

const fn application(stage: Stage) -> &'static str {
    match stage {
        Stage::Down => "down",
        Stage::Starting => "starting",
        Stage::Up => "up",
        Stage::Stopping => "stopping",
        Stage::Fenced => "fenced",
    }
}

const fn disk(view: &View) -> &'static str {
    match (view.log.broken, view.log.stalled, view.log.full) {
        (true, _, _) => "failed",
        (false, true, _) => "stalled",
        (false, false, true) => "full",
        (false, false, false) => "ok",
    }
}

fn links(report: &Report, noted: &Noted) -> Vec<LinkStatus> {
    let one = |(at, link): (usize, &LinkView)| LinkStatus {
        name: report.names.links.get(at).cloned().unwrap_or_else(|| format!("network {at}")),
        up: link.up,
        since_ms: noted.links.get(at).copied().map(millis),
        round_trip_us: link.round_trip.filter(|_| link.up).map(micros),
        longest_gap_ms: link.margin.map(|margin| millis(margin.longest_gap)),
        timeout_ms: millis(report.view.timing.timeout),
    };
    report.view.links.iter().enumerate().map(one).collect()
}

fn copying(report: &Report, noted: &Noted) -> Option<CopyStatus> {
    let copy = report.view.copy?;
    let missing = copy.goal.0.saturating_sub(copy.done.0);
    let left = noted.rate.and_then(|rate| missing.saturating_mul(1_000).checked_div(rate));
    Some(CopyStatus {
        to: name_of(report, copy.to),
        done: copy.done.0,
        goal: copy.goal.0,
        rate: noted.rate,
        left_ms: left,
    })
}

fn checkers(report: &Report) -> Vec<CheckerStatus> {
    let one = |checker: &crate::control::Checker| CheckerStatus {
        name: checker.name.clone(),
        up: checker.up,
        since_ms: checker.since.map(millis),
    };
    report.checkers.iter().map(one).collect()
}

fn resources(report: &Report, set: u64) -> Vec<String> {
    let names = &report.names.resources;
    let called = |bit: usize| names.get(bit).cloned().unwrap_or_else(|| format!("resource {bit}"));
    (0..64).filter(|bit| set >> bit & 1 == 1).map(called).collect()
}

fn called(report: &Report, set: NodeSet) -> Vec<String> {
    set.iter().map(|node| name_of(report, node)).collect()
}

fn name_of(report: &Report, node: NodeId) -> String {
    if node == report.view.me {
        report.names.me.clone()
    } else if node == report.view.peer.id {
        report.names.peer.clone()
    } else {
        format!("node {node}")
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
