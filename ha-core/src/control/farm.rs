//! What is seen and ordered of a farm's member.

use alloc::collections::BTreeMap;
use core::net::IpAddr;
use core::time::Duration;
use std::format;
use std::prelude::rust_2024::*;
use std::vec;

use ha_farm::Bucket;
use ha_proto::{ModuleId, NodeId, NodeSet, Role};
use serde::{Deserialize, Serialize};

use crate::control::status::millis;
use crate::control::{Checker, CheckerStatus, Exit, Plan, Refused};
use crate::farm::{LinkView, Peer, View, Why};
use crate::verdict::{link, span};

/// How a farm's member is doing, as its daemon says it.
#[derive(Clone, Debug)]
pub struct FarmReport {
    /// The farm's name.
    pub name: String,
    /// Its number.
    pub id: ModuleId,
    /// How the members are called.
    pub members: BTreeMap<NodeId, String>,
    /// How the services are called, in the rules' order.
    pub services: Vec<String>,
    /// How the networks between the members are called, in their order.
    pub links: Vec<String>,
    /// `invisible` or `directed`.
    pub mode: String,
    /// `bpf` or `nft`.
    pub plane: String,
    /// Why it is that one, and what it cannot do.
    pub plane_why: String,
    /// What its node knows.
    pub view: View,
    /// For how long its verdict is what it is ([`FarmReport::verdict`]).
    pub verdict_for: Duration,
    /// For how long this process has been its daemon.
    pub up: Duration,
    /// Until when, after the death of a member, the others have its clients.
    pub takeover: Duration,
    /// Its checkers.
    pub checkers: Vec<Checker>,
    /// Who else answers for its addresses.
    pub strangers: Vec<FarmStranger>,
    /// The configuration's file is not what runs.
    pub config_differs: bool,
}

/// One farm as one member sees it: what `ha status --json` prints. Fields are added, never renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of a report")]
pub struct FarmStatus {
    /// The farm.
    pub module: String,
    /// Its number.
    pub id: u16,
    /// This member.
    pub node: String,
    /// `PROTECTED`: others go on if this one dies. `UNPROTECTED`: it serves alone, or a stranger
    /// answers for its address. `DOWN`: it takes nothing.
    pub verdict: String,
    /// For how long.
    pub verdict_for_ms: u64,
    /// `UP`, it takes; `WAIT`, it takes nothing yet; or `STOP`, its application does not run.
    pub role: Role,
    /// Whether clients are to be sent here.
    pub ready: bool,
    /// Why it is not protected.
    pub why: Option<String>,
    /// What happens if this member dies now.
    pub if_dies: String,
    /// What to do where it is not protected.
    pub next: Option<String>,
    /// How long its daemon has been running.
    pub up_ms: u64,
    /// `invisible` or `directed`.
    pub mode: String,
    /// `bpf` or `nft`.
    pub plane: String,
    /// Why that one.
    pub plane_why: String,
    /// The view that it is at.
    pub view: Option<String>,
    /// Who answers and announces ARP and neighbor discovery.
    pub announcer: Option<String>,
    /// Whether it takes all that is its own.
    pub full: bool,
    /// Whom it waits for.
    pub waits_for: Vec<String>,
    /// How long its filter takes on by itself.
    pub lease_ms: u64,
    /// Whether it takes no new clients.
    pub drained: bool,
    /// Whether its gate is open.
    pub gate: bool,
    /// Whether no checker fails.
    pub checked: bool,
    /// Every member that is configured.
    pub members: Vec<FarmMember>,
    /// The services.
    pub services: Vec<FarmService>,
    /// Members of which one does not hear the other: who, whom.
    pub missing: Vec<(String, String)>,
    /// The longest that connections of moved clients may still go on at their old server.
    pub drains_ms: Option<u64>,
    /// The checkers.
    pub checkers: Vec<CheckerStatus>,
    /// Who else answers for its addresses, as far as this member asks: the announcer does.
    #[serde(default)]
    pub strangers: Vec<FarmStranger>,
    /// The configuration's file is not what runs.
    pub config_differs: bool,
}

/// A member of a farm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarmMember {
    /// How it is called.
    pub name: String,
    /// Its id.
    pub id: u8,
    /// `serves`; `drained`, in the view, and no bucket is its own; `waits`, likewise, but its share
    /// comes once it has drained elsewhere; `stands_by`, `disagrees` or `silent`.
    pub state: String,
    /// Why it does not serve, as far as this member knows.
    pub why: Option<String>,
    /// When it was heard last.
    pub age_ms: Option<u64>,
    /// Its buckets in each service.
    pub buckets: Vec<u32>,
    /// The networks to it; none of this member itself.
    #[serde(default)]
    pub links: Vec<FarmLink>,
}

/// One network between this member and another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarmLink {
    /// Its name.
    pub name: String,
    /// Whether it works: each hears the other on it.
    pub up: bool,
    /// For how long that is so; of a member that is silent, when it was heard on it last.
    pub since_ms: Option<u64>,
}

/// A service of a farm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarmService {
    /// How it is called.
    pub name: String,
    /// How many buckets it has.
    pub buckets: u32,
    /// How many of them drain.
    pub draining: u32,
}

/// Somebody who is none of the farm and answers for one of its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarmStranger {
    /// Which address.
    pub vip: IpAddr,
    /// From which card.
    pub mac: String,
}

/// A service's table, in runs of equal buckets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarmTable {
    /// The service.
    pub service: String,
    /// The view.
    pub view: Option<String>,
    /// The runs, in order.
    pub runs: Vec<FarmRun>,
}

/// Buckets that lie side by side and are alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarmRun {
    /// The first one.
    pub first: u32,
    /// The last one.
    pub last: u32,
    /// Whose they are.
    pub owner: Option<String>,
    /// Whose they were, and who may have connections.
    pub previous: Vec<String>,
}

/// What can be ordered of a farm's member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum FarmVerb {
    /// Take no new clients, or take part again.
    Drain {
        /// Which member: this one.
        node: String,
        /// No new clients.
        on: bool,
    },
    /// How large its share is.
    Weight {
        /// Which member: this one.
        node: String,
        /// 0 to 1000.
        weight: u16,
        /// In which service; all if none is named.
        service: Option<String>,
    },
    /// As drain, for the scripts of the application.
    Gate {
        /// New clients come.
        open: bool,
    },
    /// Start the application and join.
    Start,
    /// Leave, and stop the application.
    Stop,
    /// Go on as the program and the file that are there now; the filter stays meanwhile.
    RestartDaemon,
}

impl FarmVerb {
    /// The word of the command line.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Drain { .. } => "drain",
            Self::Weight { .. } => "weight",
            Self::Gate { .. } => "gate",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::RestartDaemon => "restart-daemon",
        }
    }

    /// Whether what was wanted is so.
    pub(crate) fn is_reached(&self, report: &FarmReport) -> bool {
        let view = &report.view;
        // Its service starts or stops, and a script of that may be who waits for this.
        let (starts, stops) = (view.why.is_some(), view.why == Some(Why::Stopped));
        match self {
            Self::Drain { on: true, .. } | Self::Gate { open: false } => stops || !view.owns(),
            // Another reason may hold it back; and its buckets come once they have drained elsewhere.
            Self::Drain { on: false, .. } | Self::Gate { open: true } => {
                starts || view.drained || weighs(view, view.me)
            }
            // The table follows within an interval, if the weight changes anything at all; and the
            // next process answers for itself.
            Self::Weight { .. } | Self::RestartDaemon => true,
            Self::Start => view.why.is_none(),
            Self::Stop => view.why.is_some(),
        }
    }

    /// What it would do.
    pub(crate) fn plan(&self, report: &FarmReport) -> Plan {
        let (mut steps, confirm) = self.steps(report);
        steps.extend(self.connections(report));
        let (refused, overridable) = match self.misplaced(report) {
            Some(refused) => (Some(refused), false),
            None => (self.unsafe_now(report), true),
        };
        Plan {
            module: report.name.clone(),
            steps,
            takes_ms: None,
            away_ms: None,
            confirm,
            overridable: overridable && refused.is_some(),
            refused,
        }
    }

    /// What becomes of connections whose clients move.
    fn connections(&self, report: &FarmReport) -> Option<String> {
        let (me, nft) = (report.me(), report.plane == "nft");
        match self {
            Self::Drain { on: true, .. } if !nft => Some(format!(
                "{me}'s connections go on until they end, or the drain's time is over"
            )),
            Self::Drain { on: true, .. }
            | Self::Weight { weight: 0, service: None, .. }
            | Self::Gate { open: false } => {
                let cut =
                    || format!("{me}'s connections break: the plane nft cannot let them go on");
                nft.then(cut)
            }
            Self::Drain { on: false, .. }
            | Self::Weight { .. }
            | Self::Gate { open: true }
            | Self::Start => {
                let cut = "connections of clients that move break: the plane nft cannot let them \
                           go on";
                nft.then(|| cut.into())
            }
            // What it says of them is so by each plane.
            Self::Stop | Self::RestartDaemon => None,
        }
    }

    /// What happens, and whether to ask before.
    fn steps(&self, report: &FarmReport) -> (Vec<String>, bool) {
        let me = report.me();
        let others = "its clients' new connections go to the others at once";
        match self {
            Self::Drain { on: true, .. } | Self::Weight { weight: 0, .. } => {
                (vec![format!("{me} takes no new clients: {others}")], true)
            }
            Self::Drain { on: false, .. } => {
                let later =
                    "buckets whose connections still drain come to it when these have ended";
                (vec![format!("{me} gets its share of new clients again"), later.into()], false)
            }
            Self::Weight { weight, service, .. } => {
                let of = service.as_ref().map(|it| format!(" in {it}")).unwrap_or_default();
                (vec![format!("{me} has weight {weight}{of}: some clients move")], false)
            }
            Self::Gate { open: true } => {
                (vec![format!("{me}'s gate opens: new clients come")], false)
            }
            Self::Gate { open: false } => (vec![format!("{me}'s gate closes: {others}")], false),
            Self::Start => (vec![format!("the service of {me} starts, and it joins")], false),
            Self::Stop => {
                let cut = if report.others() > 0 {
                    format!("{me} leaves: {others}, and its open connections break")
                } else {
                    format!("{me} leaves, and nobody serves")
                };
                (vec![cut, format!("the service of {me} stops")], true)
            }
            Self::RestartDaemon => {
                let stays = format!(
                    "its filter stays in the kernel, open for {} at most: no connection breaks \
                     if the next process is there by then",
                    span(report.view.lease)
                );
                let next = "it goes on as the program and the file that are there now";
                (
                    vec![
                        format!("the daemon of {me} ends, and its service runs on"),
                        stays,
                        next.into(),
                    ],
                    false,
                )
            }
        }
    }

    /// Why it would leave clients without a server.
    fn unsafe_now(&self, report: &FarmReport) -> Option<Refused> {
        match self {
            Self::Drain { on: true, .. } | Self::Weight { weight: 0, service: None, .. } => {}
            Self::RestartDaemon => {
                let why = report.view.why?;
                let text = format!(
                    "{} takes nothing ({why}), so there is nothing to go on with: restart its \
                     unit, or add --force",
                    report.me()
                );
                return Some(Refused::new(Exit::Unsafe, text));
            }
            Self::Drain { on: false, .. }
            | Self::Weight { .. }
            | Self::Gate { .. }
            | Self::Start
            | Self::Stop => return None,
        }
        if report.others() > 0 {
            return None;
        }
        let text = format!(
            "no other member serves: new clients would be turned away; start one, or add --force \
             to {} {} all the same",
            self.name(),
            report.me()
        );
        Some(Refused::new(Exit::Unsafe, text))
    }

    /// Orders are given where they are obeyed.
    fn misplaced(&self, report: &FarmReport) -> Option<Refused> {
        let (node, rest) = match self {
            Self::Drain { node, on: true } => (node, String::new()),
            Self::Drain { node, on: false } => (node, " --off".into()),
            Self::Weight { node, weight, .. } => (node, format!(" {weight}")),
            Self::Gate { .. } | Self::Start | Self::Stop | Self::RestartDaemon => return None,
        };
        let names: Vec<&str> = report.members.values().map(String::as_str).collect();
        if node == report.me() {
            return None;
        }
        if !names.contains(&node.as_str()) {
            let text = format!("no member {node:?}: there are {}", names.join(", "));
            return Some(Refused::new(Exit::Usage, text));
        }
        let word = self.name();
        let text = format!(
            "each member obeys its own daemon: on {node}: ha {word} {node}{rest}, or over ssh"
        );
        Some(Refused::new(Exit::Failed, text))
    }
}

impl FarmReport {
    /// `PROTECTED`, `UNPROTECTED` or `DOWN`.
    pub fn verdict(&self) -> &'static str {
        judge(self).0
    }

    /// Other members that have a share.
    fn others(&self) -> usize {
        let serves = |&&node: &&NodeId| buckets(self, node).iter().any(|&own| own > 0);
        let members = self.view.members.keys();
        members.filter(serves).filter(|&&node| node != self.view.me).count()
    }

    /// How this member is called.
    pub(crate) fn me(&self) -> &str {
        self.called(self.view.me)
    }

    fn called(&self, node: NodeId) -> &str {
        self.members.get(&node).map_or("?", String::as_str)
    }

    fn all(&self, nodes: NodeSet) -> Vec<String> {
        nodes.iter().map(|node| self.called(node).into()).collect()
    }
}

impl FarmStatus {
    /// What a report says.
    pub fn new(report: &FarmReport) -> Self {
        let view = &report.view;
        let (verdict, why, next) = judge(report);
        Self {
            module: report.name.clone(),
            id: report.id.0,
            node: report.me().into(),
            verdict: verdict.into(),
            verdict_for_ms: millis(report.verdict_for),
            role: role(view),
            ready: view.is_ready(),
            if_dies: if_dies(report),
            why,
            next,
            up_ms: millis(report.up),
            mode: report.mode.clone(),
            plane: report.plane.clone(),
            plane_why: report.plane_why.clone(),
            view: view.id.map(|id| format!("{id}")),
            announcer: view.announcer.map(|node| report.called(node).into()),
            full: view.full,
            waits_for: report.all(view.waits_for),
            lease_ms: millis(view.lease),
            drained: view.drained,
            gate: view.gate,
            checked: view.checked,
            members: report.members.keys().map(|&node| member(report, node)).collect(),
            services: services(report),
            missing: missing(report),
            drains_ms: view.drains.values().max().copied().map(millis),
            checkers: report.checkers.iter().map(checker).collect(),
            strangers: report.strangers.clone(),
            config_differs: report.config_differs,
        }
    }
}

fn checker(checker: &Checker) -> CheckerStatus {
    let since_ms = checker.since.map(millis);
    CheckerStatus { name: checker.name.clone(), up: checker.up, since_ms }
}

fn judge(report: &FarmReport) -> (&'static str, Option<String>, Option<String>) {
    let view = &report.view;
    let me = report.me();
    if let Some(why) = view.why {
        let next = if view.members.is_empty() {
            "see `missing` for whom it does not hear, and the journal"
        } else {
            "it goes on by itself once the reason is gone"
        };
        return ("DOWN", Some(format!("{me} takes nothing: {why}")), Some(next.into()));
    }
    if let Some(FarmStranger { vip, mac }) = report.strangers.first() {
        let why = format!("{mac} answers for {vip} too: clients may go there and not to this farm");
        let next = "give one of the two another address; this farm serves on meanwhile";
        return ("UNPROTECTED", Some(why), Some(next.into()));
    }
    if report.others() > 0 {
        return ("PROTECTED", None, None);
    }
    let why = format!("{me} serves alone: if it dies, nobody does");
    ("UNPROTECTED", Some(why), Some("start another member, or end its drain".into()))
}

fn if_dies(report: &FarmReport) -> String {
    let view = &report.view;
    let owns = buckets(report, view.me).iter().any(|&own| own > 0);
    if view.why.is_some() || !owns {
        return "nothing changes: it has no clients".into();
    }
    match report.others() {
        0 => "nobody serves".into(),
        1 => format!("the other one has its clients within {}", span(report.takeover)),
        _ => format!("the others have its clients within {}", span(report.takeover)),
    }
}

fn role(view: &View) -> Role {
    match view.why {
        None => Role::Up,
        Some(Why::Stopped) => Role::Stop,
        Some(_) => Role::Wait,
    }
}

/// A member's buckets, by service. Of others as they were last known here.
fn buckets(report: &FarmReport, node: NodeId) -> Vec<u32> {
    let left_out = node == report.view.me && !report.view.is_current();
    let count = |service: &crate::farm::Service| {
        let share = service.table.shares().get(&node).copied().filter(|_| !left_out).unwrap_or(0);
        u32::try_from(share).expect("a table has 4,096 buckets at most")
    };
    report.view.services.iter().map(count).collect()
}

fn member(report: &FarmReport, node: NodeId) -> FarmMember {
    let view = &report.view;
    let own = buckets(report, node);
    let owns = own.iter().any(|&count| count > 0);
    let inside = view.members.contains_key(&node);
    let (state, why, age) = if node == view.me {
        let (state, why) = myself(view, owns);
        (state, why, Some(Duration::ZERO))
    } else {
        let peer = view.peers.get(&node).cloned().unwrap_or_default();
        let (state, why) = other(report, node, inside, owns);
        (state, why, peer.last.map(|last| view.at.saturating_since(last)))
    };
    FarmMember {
        name: report.called(node).into(),
        id: node.as_u8(),
        state: state.into(),
        why,
        age_ms: age.map(millis),
        buckets: own,
        links: links(report, node),
    }
}

/// The networks to another member.
fn links(report: &FarmReport, node: NodeId) -> Vec<FarmLink> {
    let view = &report.view;
    let known = view.peers.get(&node).map_or(&[][..], |peer| &peer.links);
    let link = |(at, known): (usize, &LinkView)| FarmLink {
        name: link(at, &report.links),
        up: known.up,
        since_ms: known.since.map(|since| millis(view.at.saturating_since(since))),
    };
    known.iter().enumerate().map(link).collect()
}

/// Whether a member has a part in the view's shares.
fn weighs(view: &View, node: NodeId) -> bool {
    view.services.iter().any(|service| service.weights.get(&node).is_some_and(|&own| own > 0))
}

fn myself(view: &View, owns: bool) -> (&'static str, Option<String>) {
    if let Some(why) = view.why {
        return ("stands_by", Some(format!("{why}")));
    }
    if owns {
        let waits = (!view.full).then(|| "it waits to take all that is its own".into());
        return ("serves", waits);
    }
    if !view.gate {
        return ("drained", Some("its gate is closed".into()));
    }
    if !view.checked {
        return ("drained", Some("a checker fails".into()));
    }
    without_share(view, view.me)
}

/// Of a member of the view that owns no bucket.
fn without_share(view: &View, node: NodeId) -> (&'static str, Option<String>) {
    if weighs(view, node) {
        let why = "it gets its share once the connections there have had their time";
        return ("waits", Some(why.into()));
    }
    ("drained", Some("it drains, or its weight is 0".into()))
}

fn other(
    report: &FarmReport,
    node: NodeId,
    inside: bool,
    owns: bool,
) -> (&'static str, Option<String>) {
    let peer: Peer = report.view.peers.get(&node).cloned().unwrap_or_default();
    if !peer.heard {
        let why = if peer.boot.is_some() { "it is silent" } else { "it was never heard" };
        return ("silent", Some(why.into()));
    }
    if !peer.agrees {
        let why = "its rules, hash, key, buckets or mode are not this member's";
        return ("disagrees", Some(why.into()));
    }
    if !peer.linked {
        return ("stands_by", Some(format!("it does not hear {}", report.me())));
    }
    if !peer.able {
        return ("stands_by", Some("its application or filter does not work".into()));
    }
    if !inside {
        let why = if peer.takes { "it serves in another view" } else { "it is in no view yet" };
        return ("stands_by", Some(why.into()));
    }
    if owns { ("serves", None) } else { without_share(&report.view, node) }
}

fn services(report: &FarmReport) -> Vec<FarmService> {
    let numbered = report.view.services.iter().enumerate();
    let service = |(at, service): (usize, &crate::farm::Service)| {
        let all = service.table.buckets();
        let draining = all.iter().filter(|bucket| bucket.drains()).count();
        let count = |number| u32::try_from(number).expect("4,096 buckets at most");
        let name = report.services.get(at).cloned().unwrap_or_else(|| format!("{at}"));
        FarmService { name, buckets: count(all.len()), draining: count(draining) }
    };
    numbered.map(service).collect()
}

/// Who does not hear whom, of those that are heard here.
fn missing(report: &FarmReport) -> Vec<(String, String)> {
    let view = &report.view;
    let heard = || view.peers.iter().filter(|(_, peer)| peer.heard);
    let mut missing = Vec::new();
    for (&one, peer) in heard() {
        for other in heard().map(|(&node, _)| node).chain([view.me]) {
            if one != other && !peer.hears.contains(other) {
                missing.push((report.called(one).into(), report.called(other).into()));
            }
        }
    }
    for (&node, _) in view.peers.iter().filter(|(_, peer)| !peer.heard) {
        missing.push((report.me().into(), report.called(node).into()));
    }
    missing
}

/// The tables of these services, or of all.
///
/// # Errors
/// There is no such service.
pub(super) fn tables(
    report: &FarmReport,
    service: Option<&str>,
) -> Result<Vec<FarmTable>, Refused> {
    if let Some(wanted) = service.filter(|wanted| !report.services.iter().any(|it| it == wanted)) {
        let text = format!("no service {wanted:?}: there are {}", report.services.join(", "));
        return Err(Refused::new(Exit::Usage, text));
    }
    let named = report.services.iter().zip(&report.view.services);
    let wanted = named.filter(|(name, _)| service.is_none_or(|wanted| wanted == *name));
    let table = |(name, it): (&String, &crate::farm::Service)| FarmTable {
        service: name.clone(),
        view: report.view.tables.map(|id| format!("{id}")),
        runs: runs(report, it.table.buckets()),
    };
    Ok(wanted.map(table).collect())
}

fn runs(report: &FarmReport, buckets: &[Bucket]) -> Vec<FarmRun> {
    let mut runs = Vec::<FarmRun>::new();
    let alike = |a: &Bucket, b: &Bucket| (a.owner, a.previous) == (b.owner, b.previous);
    let mut at = 0;
    for part in buckets.chunk_by(alike) {
        let first = u32::try_from(at).expect("4,096 buckets at most");
        at += part.len();
        let previous = part[0].previous.iter().flatten();
        runs.push(FarmRun {
            first,
            last: first + u32::try_from(part.len()).expect("4,096 buckets at most") - 1,
            owner: part[0].owner.map(|node| report.called(node).into()),
            previous: previous.map(|&node| report.called(node).into()).collect(),
        });
    }
    runs
}

#[cfg(test)]
mod tests {
    use ha_farm::{Buckets, HashOn, Plan, Protocol, Rule, Table};
    use ha_proto::Instant;
    use ha_proto::wire::Rejections;

    use super::*;

    /// Of a member that serves by this plane.
    fn report(plane: &str) -> FarmReport {
        let me = NodeId::new(0).unwrap();
        let view = View {
            me,
            at: Instant::ZERO,
            id: None,
            members: BTreeMap::new(),
            peers: BTreeMap::new(),
            why: None,
            full: true,
            waits_for: NodeSet::EMPTY,
            lease: Duration::ZERO,
            announcer: None,
            services: Vec::new(),
            tables: None,
            drained: false,
            gate: true,
            checked: true,
            drains: BTreeMap::new(),
            rejections: Rejections::default(),
        };
        FarmReport {
            name: "farm".into(),
            id: ModuleId(0),
            members: BTreeMap::from([(me, "web1".into())]),
            services: vec!["web".into()],
            links: vec!["prod".into()],
            mode: "invisible".into(),
            plane: plane.into(),
            plane_why: String::new(),
            view,
            verdict_for: Duration::ZERO,
            up: Duration::ZERO,
            takeover: Duration::ZERO,
            checkers: Vec::new(),
            strangers: Vec::new(),
            config_differs: false,
        }
    }

    fn weight(weight: u16, service: Option<&str>) -> FarmVerb {
        FarmVerb::Weight { node: "web1".into(), weight, service: service.map(Into::into) }
    }

    fn drain(on: bool) -> FarmVerb {
        FarmVerb::Drain { node: "web1".into(), on }
    }

    #[test]
    fn scripts_do_not_wait_for_themselves_and_others_wait_until_it_is_so() {
        let (on, off) = ([drain(true), FarmVerb::Gate { open: false }], [drain(false), OPEN]);
        let mut report = report("bpf");
        // It owns nothing, and has no weight: it is out as it was told, and not in yet.
        assert!(on.iter().all(|verb| verb.is_reached(&report)));
        assert!(!off.iter().any(|verb| verb.is_reached(&report)));
        report.view.why = Some(Why::Boot);
        assert!(on.iter().chain(&off).all(|verb| verb.is_reached(&report)));
        // Nor does one that only stands by for a moment take part before it is out.
        report.view.services = vec![own_all(report.view.me)];
        report.view.why = Some(Why::Gap);
        assert!(!on.iter().any(|verb| verb.is_reached(&report)));
        report.view.why = Some(Why::Stopped);
        assert!(on.iter().all(|verb| verb.is_reached(&report)));
    }

    const OPEN: FarmVerb = FarmVerb::Gate { open: true };

    /// A service whose buckets are all this member's.
    fn own_all(me: NodeId) -> crate::farm::Service {
        let weights = BTreeMap::from([(me, 1)]);
        let plan = Plan { counter: 1, weights: weights.clone(), settled: 0, taken: None };
        let rule = Rule {
            vip: [192, 0, 2, 1].into(),
            ports: 80..=80,
            protocol: Protocol::Tcp,
            on: HashOn::Addr,
        };
        crate::farm::Service { rule, weights, table: Table::new(Buckets::Few).next(&plan) }
    }

    #[test]
    fn a_plan_by_the_plane_nft_says_whose_connections_break() {
        let own = "web1's connections break: the plane nft cannot let them go on";
        let moved = "connections of clients that move break: the plane nft cannot let them go on";
        let verbs = [
            (drain(true), own),
            (weight(0, None), own),
            (FarmVerb::Gate { open: false }, own),
            (weight(0, Some("web")), moved),
            (weight(2, None), moved),
            (drain(false), moved),
            (FarmVerb::Gate { open: true }, moved),
            (FarmVerb::Start, moved),
        ];
        for (verb, said) in verbs {
            assert_eq!(verb.plan(&report("nft")).steps.last().unwrap(), said, "{verb:?}");
            let bpf = verb.plan(&report("bpf")).steps;
            assert!(!bpf.iter().any(|step| step.contains("nft")), "{bpf:?}");
        }
        for verb in [FarmVerb::Stop, FarmVerb::RestartDaemon] {
            assert_eq!(verb.plan(&report("nft")).steps, verb.plan(&report("bpf")).steps);
        }
    }
}
