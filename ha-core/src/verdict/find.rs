//! What stands in the way of a takeover, and why a service does not run.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use ha_heartbeat::Status as Told;
use ha_proto::{DataState, Role};
use ha_quorum::Vote;

use crate::verdict::words::{link, listed, percent, span};
use crate::verdict::{Down, Facts, Finding, Kind, Mover};
use crate::view::{Stage, Wait};

/// Who serves, as far as this node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Primary {
    Here,
    There,
    Nowhere,
}

impl Facts<'_> {
    pub(super) fn primary(&self) -> Primary {
        let view = self.view;
        if view.service.stage == Stage::Up && view.role.serves() {
            return Primary::Here;
        }
        let there = self.told().is_some_and(|told| told.role.serves() && told.ready);
        if there { Primary::There } else { Primary::Nowhere }
    }

    /// What a peer that is alive says of itself.
    pub(super) fn told(&self) -> Option<&Told> {
        let peer = &self.view.peer;
        peer.told.as_ref().map(|(_, told)| told).filter(|_| peer.up)
    }

    /// Whether a node's witness does not answer it: this node's ([`Primary::Here`]), or the other's
    /// as far as that says so.
    pub(super) fn is_unanswered(&self, side: Primary) -> bool {
        match side {
            Primary::Here => self.view.witness.answering == Some(false),
            Primary::There => self.told().is_some_and(|told| told.unanswered),
            Primary::Nowhere => false,
        }
    }

    /// Whether the witness does not answer the node that would take over.
    fn is_standby_unanswered(&self) -> bool {
        match self.primary() {
            Primary::Here => self.is_unanswered(Primary::There),
            Primary::There | Primary::Nowhere => self.is_unanswered(Primary::Here),
        }
    }

    /// The node that would take over.
    fn standby(&self) -> &str {
        match self.primary() {
            Primary::Here => &self.names.peer,
            Primary::There | Primary::Nowhere => &self.names.me,
        }
    }

    fn finding(&self, kind: Kind, why: String, next: String) -> Finding {
        Finding { kind, since: None, why, if_dies: self.if_dies(kind), next }
    }

    /// What the loss of the primary means while this stands in the way.
    fn if_dies(&self, kind: Kind) -> String {
        let standby = self.standby();
        match kind {
            Kind::NoPeer => format!("no takeover ({standby} is lost); the service stops"),
            Kind::Stopped => format!("no takeover ({standby} is stopped); the service stops"),
            Kind::Storage => format!("no takeover (the disk of {standby}); the service stops"),
            Kind::NotInSync => {
                format!("no takeover ({standby} is not up to date); the service stops")
            }
            Kind::Resource => format!("no takeover ({standby} cannot run it); the service stops"),
            Kind::Witness if self.is_standby_unanswered() => {
                format!("no takeover until the witness answers {standby}; the service stops")
            }
            Kind::Witness => {
                format!("{standby} takes over; if that dies instead, the service stops")
            }
            Kind::Maintenance => "no takeover until the maintenance is over".into(),
            Kind::FailoverOff => "no takeover until an operator orders it".into(),
            Kind::Maxloop => {
                "a takeover, but the next failure of the application stops the module".into()
            }
            Kind::Config => "a takeover may be refused by the witness".into(),
            Kind::Network | Kind::Headroom | Kind::Checkers => {
                format!("{standby} takes over, unless something else is in the way")
            }
        }
    }
}

/// Everything for which a takeover would fail now, what weighs most first.
pub(super) fn blockers(facts: &Facts<'_>) -> Vec<Finding> {
    let standby = match facts.primary() {
        Primary::Here => there(facts),
        Primary::There => here(facts),
        Primary::Nowhere => None,
    };
    let rest = [witness(facts), maintenance(facts), failover(facts), maxloop(facts), lease(facts)];
    standby.into_iter().chain(rest.into_iter().flatten()).collect()
}

/// What is wrong with the other node as the one that would take over.
fn there(facts: &Facts<'_>) -> Option<Finding> {
    let (view, peer) = (facts.view, &facts.names.peer);
    let Some(told) = facts.told() else {
        let why = match &view.peer.told {
            Some((age, _)) => format!("{peer} is lost: silent for {}", span(*age)),
            None => format!("{peer} was not heard since this daemon started"),
        };
        let next = format!("start {peer} or mend its networks; protection returns by itself");
        return Some(facts.finding(Kind::NoPeer, why, next));
    };
    if told.role == Role::Stop {
        let why = format!("the module is stopped on {peer}");
        return Some(facts.finding(Kind::Stopped, why, format!("order `ha start` on {peer}")));
    }
    if told.broken {
        let why = format!("the storage of {peer} failed");
        let next = format!("mend the disk of {peer}, then restart its daemon");
        return Some(facts.finding(Kind::Storage, why, next));
    }
    let member = view.membership.set.contains(view.peer.id);
    let usable = told.state == DataState::Complete;
    if !member || !usable || !view.peer.copy.following {
        return Some(behind(facts));
    }
    let down = told.resources.known & !told.resources.up;
    if !told.able && down != 0 {
        let down = listed(down, &facts.names.resources);
        let why = format!("down on {peer}: {down}");
        let next = format!("see the log of {peer}; it is ready again when that is back");
        return Some(facts.finding(Kind::Resource, why, next));
    }
    if !told.able {
        let why = format!("{peer} could not run the application now");
        let next = format!("see `ha status` on {peer}");
        return Some(facts.finding(Kind::Resource, why, next));
    }
    let settled = told.role == Role::Second && told.ready && counted(facts);
    (!settled).then(|| behind(facts))
}

/// With a witness: whether it counts both copies already (R4).
fn counted(facts: &Facts<'_>) -> bool {
    let view = facts.view;
    if view.vote != Vote::Arbiter {
        return true;
    }
    let current = view.witness.register.filter(|register| register.epoch == view.membership.epoch);
    current.is_none_or(|register| register.set.contains(view.peer.id))
}

/// The other copy lacks something, or is not known to have all.
fn behind(facts: &Facts<'_>) -> Finding {
    let (view, peer) = (facts.view, &facts.names.peer);
    let copy = view.peer.copy;
    if let Some(under_way) = view.copy {
        let done = percent(under_way.done.0, under_way.goal.0);
        let why = format!("{peer} copies: {done} % of {} records", under_way.goal);
        return facts.finding(Kind::NotInSync, why, "wait: protection returns by itself".into());
    }
    if !copy.connected {
        let why = format!("no replication stream to {peer}");
        let next = format!("mend the replication network to {peer}; the copy follows by itself");
        return facts.finding(Kind::NotInSync, why, next);
    }
    let why = format!("{peer} is not in sync yet");
    facts.finding(Kind::NotInSync, why, "wait: protection returns by itself".into())
}

/// What is wrong with this node as the one that would take over.
fn here(facts: &Facts<'_>) -> Option<Finding> {
    let (view, me, peer) = (facts.view, &facts.names.me, &facts.names.peer);
    if !view.started {
        let why = format!("the module is stopped on {me}");
        return Some(facts.finding(Kind::Stopped, why, format!("order `ha start` on {me}")));
    }
    if let Some((why, next)) = disk(facts) {
        return Some(facts.finding(Kind::Storage, why, next));
    }
    if view.role != Role::Second || !view.ready {
        let (why, next) = match (view.copy, view.wait) {
            (Some(copy), _) => {
                let done = percent(copy.done.0, copy.goal.0);
                let why = format!("{me} copies from {peer}: {done} % of {} records", copy.goal);
                (why, "wait: protection returns by itself".into())
            }
            (None, Some(wait)) => {
                let (why, _, next, _) = waits(facts, wait);
                (why, next)
            }
            (None, None) => {
                let why = format!("{me} is not in sync yet");
                (why, "wait: protection returns by itself".into())
            }
        };
        return Some(facts.finding(Kind::NotInSync, why, next));
    }
    if view.blocking != 0 {
        let why = format!("down on {me}: {}", listed(view.blocking, &facts.names.resources));
        let next = "see the checker's lines in the log; it is ready again when that is back";
        return Some(facts.finding(Kind::Resource, why, next.into()));
    }
    let cooling = view.service.cooling?;
    let why = format!("the application failed on {me}");
    let next = format!("see the module's log; tried again in {}", span(cooling));
    Some(facts.finding(Kind::Resource, why, next))
}

/// What is wrong with the disk here, and what to do.
fn disk(facts: &Facts<'_>) -> Option<(String, String)> {
    let (log, me) = (facts.view.log, &facts.names.me);
    if log.broken {
        let why = format!("the storage of {me} failed");
        return Some((why, format!("mend the disk of {me}, then restart its daemon")));
    }
    if log.stalled {
        let why = format!("the disk of {me} does not answer");
        return Some((why, "mend the disk; it goes on by itself when it answers".into()));
    }
    if log.full {
        let why = format!("the log of {me} is full: {} of {} bytes", log.bytes, log.bytes_max);
        return Some((why, "free space or raise log_bytes; it goes on by itself".into()));
    }
    None
}

fn witness(facts: &Facts<'_>) -> Option<Finding> {
    let (me, peer) = (&facts.names.me, &facts.names.peer);
    let why = match [Primary::Here, Primary::There].map(|side| facts.is_unanswered(side)) {
        [false, false] => return None,
        [true, false] => format!("the witness does not answer {me}"),
        [false, true] => format!("the witness does not answer {peer}"),
        [true, true] => format!("the witness answers neither {me} nor {peer}"),
    };
    let next = "start the witness, or mend the way to it from there".into();
    Some(facts.finding(Kind::Witness, why, next))
}

fn maintenance(facts: &Facts<'_>) -> Option<Finding> {
    let left = facts.host.maintenance?;
    let why = format!("maintenance on {} for another {}", facts.names.me, span(left));
    Some(facts.finding(Kind::Maintenance, why, "end it early: `ha maintenance off`".into()))
}

fn failover(facts: &Facts<'_>) -> Option<Finding> {
    let view = facts.view;
    if view.vote == Vote::Manual {
        let why = "vote = \"manual\": nobody takes over without an operator".into();
        let next = "on the survivor: `ha prim`".into();
        return Some(facts.finding(Kind::FailoverOff, why, next));
    }
    let (off, node) = match facts.primary() {
        Primary::Here => (facts.told().is_some_and(|told| told.waits), &facts.names.peer),
        Primary::There => (view.started && !view.failover, &facts.names.me),
        Primary::Nowhere => (false, &facts.names.me),
    };
    off.then(|| {
        let there = node == &facts.names.peer;
        let (or, look) =
            if there { (" or maintained", "look: `ha status`, then ") } else { ("", "") };
        let why = format!("{node} does not take over by itself: failover is off{or}");
        facts.finding(Kind::FailoverOff, why, format!("{look}order `ha failover on` on {node}"))
    })
}

fn maxloop(facts: &Facts<'_>) -> Option<Finding> {
    if facts.host.restarts_left != Some(0) {
        return None;
    }
    let why = format!("no automatic restart is left on {} (maxloop)", facts.names.me);
    let next = "find out why it restarted; any operator's order counts anew".into();
    Some(facts.finding(Kind::Maxloop, why, next))
}

fn lease(facts: &Facts<'_>) -> Option<Finding> {
    facts.view.witness.lease_differs.then(|| {
        let why = format!("the witness leases for another time than {}", facts.names.me);
        let next = "configure the same lease on both nodes, then restart the daemon".into();
        facts.finding(Kind::Config, why, next)
    })
}

/// Everything that no takeover would fail for.
pub(super) fn notes(facts: &Facts<'_>) -> Vec<Finding> {
    let (view, host, names) = (facts.view, facts.host, facts.names);
    let mut found = Vec::new();
    if facts.primary() == Primary::Here
        && let Some((why, next)) = disk(facts)
    {
        found.push(facts.finding(Kind::Storage, why, next));
    }
    if host.config_differs {
        let why = "the file of the configuration is not what runs".into();
        let next = "`ha config check`, then reload or put the file back".into();
        found.push(facts.finding(Kind::Config, why, next));
    }
    let lost = view.links.iter().filter(|link| !link.up && view.peer.up);
    for down in lost.take(1) {
        let name = link(usize::from(down.id.0), &names.links);
        let why = format!("{name} is down between {} and {}", names.me, names.peer);
        let next = format!("cable or switch of {name}; it comes back by itself");
        found.push(facts.finding(Kind::Network, why, next));
    }
    let tight = view.links.iter().find(|link| {
        link.margin.is_some_and(|margin| view.peer.up && margin.longest_gap * 2 > margin.timeout)
    });
    if let Some((near, margin)) = tight.and_then(|link| Some((link, link.margin?))) {
        let name = link(usize::from(near.id.0), &names.links);
        let (gap, limit) = (span(margin.longest_gap), span(margin.timeout));
        let why = format!("beats on {name} were late by up to {gap} of {limit}");
        let next = "a longer timeout, or less load on the machines and the network".into();
        found.push(facts.finding(Kind::Headroom, why, next));
    }
    if !host.checkers {
        let why = format!("checkers are suspended on {}", names.me);
        found.push(facts.finding(Kind::Checkers, why, "order `ha checkers on`".into()));
    }
    found
}

/// Why the service runs nowhere, if that is so.
pub(super) fn down(facts: &Facts<'_>) -> Option<Down> {
    if facts.primary() != Primary::Nowhere {
        return None;
    }
    let (view, names) = (facts.view, facts.names);
    let told = facts.told();
    if let Some(told) = told.filter(|told| told.role.serves()) {
        assert!(!told.ready, "a ready primary is no cause of being down");
        let why = format!("{} is starting or stopping the application", names.peer);
        return Some(moved(why, Mover::Peer, format!("wait, or see the log of {}", names.peer)));
    }
    let (why, mover, next, within) = match view.role {
        Role::Prim | Role::Alone => starting(facts),
        Role::Stop => stopped(facts),
        Role::Wait => waits(facts, view.wait.unwrap_or(Wait::OnItsWay)),
        Role::Second | Role::Up => {
            let why = format!("{} no longer serves", names.peer);
            (why, Mover::Node, "wait: this node takes over".into(), Some(view.takeover))
        }
    };
    Some(Down { within, ..moved(why, mover, next) })
}

type Said = (String, Mover, String, Option<core::time::Duration>);

fn moved(why: String, mover: Mover, next: String) -> Down {
    Down { why, mover, next, within: None, since: None }
}

/// It is to serve here, and does not yet, or no longer.
fn starting(facts: &Facts<'_>) -> Said {
    let (view, me) = (facts.view, &facts.names.me);
    if let Some(cooling) = view.service.cooling {
        let why = format!("the application failed on {me}");
        return (why, Mover::Node, "see the module's log".into(), Some(cooling));
    }
    let doing = match view.service.stage {
        Stage::Down | Stage::Starting | Stage::Up => "starting",
        Stage::Stopping => "stopping",
        Stage::Fenced => "stopping by force",
    };
    let why = format!("{me} is {doing} the application");
    (why, Mover::Node, "wait, or see the module's log".into(), facts.host.start)
}

fn stopped(facts: &Facts<'_>) -> Said {
    let names = facts.names;
    let why = match facts.told().map(|told| told.role) {
        Some(Role::Stop) => "the module is stopped on both nodes".into(),
        Some(_) => format!("the module is stopped on {}; {} waits", names.me, names.peer),
        None => format!("the module is stopped on {}; {} is lost", names.me, names.peer),
    };
    (why, Mover::Operator, "order `ha start`".into(), None)
}

/// What each reason to wait means: why, whose move, what to do, for how long at most.
pub(super) fn waits(facts: &Facts<'_>, wait: Wait) -> Said {
    let (me, peer) = (&facts.names.me, &facts.names.peer);
    let by_itself = || String::from("wait: it goes on by itself");
    match wait {
        Wait::NeverInitialised => {
            let next = format!("on the node whose data count: `ha prim --keep {me}` (or {peer})");
            ("the pair was never initialised".into(), Mover::Operator, next, None)
        }
        Wait::Founding => {
            let why = "the witness is asked to found the pair".into();
            (why, Mover::Witness, "see that the witness runs".into(), None)
        }
        Wait::StorageFailed | Wait::DiskStalled | Wait::DiskFull => {
            let (why, next) = disk(facts)
                .unwrap_or_else(|| (format!("the disk of {me} takes no records"), by_itself()));
            (why, Mover::Operator, next, None)
        }
        Wait::Resources(bits) => {
            let why = format!("down on {me}: {}", listed(bits, &facts.names.resources));
            (why, Mover::Operator, "see the checker's lines in the log".into(), None)
        }
        Wait::Cooling(left) => {
            let why = format!("the application failed on {me}");
            (why, Mover::Node, "see the module's log; it is tried again".into(), Some(left))
        }
        Wait::NoCommonHistory => {
            let why = format!("{me} and {peer} hold data without a common history");
            let next = "choose whose to keep: `ha prim --keep NODE`; the other's are set aside";
            (why, Mover::Operator, next.into(), None)
        }
        Wait::GivesWay => (format!("{me} gives way to {peer}"), Mover::Peer, by_itself(), None),
        Wait::Incomplete => {
            let why = format!("the data of {me} are not complete: they come from {peer}");
            (why, Mover::Peer, format!("start {peer}"), None)
        }
        Wait::Stale | Wait::CutOff | Wait::PeerUnseen | Wait::Shy | Wait::FailoverOff => {
            operator_may(facts, wait)
        }
        Wait::Connecting => (format!("{me} connects to {peer}"), Mover::Node, by_itself(), None),
        Wait::Bound(left) => {
            let why = format!("{me} may have promised to let {peer} serve");
            (why, Mover::Node, by_itself(), Some(left))
        }
        Wait::WitnessSilent => {
            let why = format!("the witness does not answer {me}");
            (why, Mover::Witness, "start the witness or mend the way to it".into(), None)
        }
        Wait::LeaseHeld(left) => {
            let why = format!("the witness still counts on {peer}");
            (why, Mover::Witness, by_itself(), Some(left))
        }
        Wait::OnItsWay => (format!("{me} is starting"), Mover::Node, by_itself(), None),
    }
}

/// What ends when the other node comes back, or when an operator takes the risk.
fn operator_may(facts: &Facts<'_>, wait: Wait) -> Said {
    let (me, peer) = (&facts.names.me, &facts.names.peer);
    match wait {
        Wait::Stale => {
            let why = format!("the data of {me} may be stale: {peer} went on without it");
            let next = format!("start {peer}; if it is lost for good: `ha primforce`");
            (why, Mover::Peer, next, None)
        }
        Wait::CutOff => {
            let why = format!("{me} lost {peer} and reaches nothing outside");
            (why, Mover::Operator, format!("mend the networks of {me}"), None)
        }
        Wait::PeerUnseen => {
            let why = format!("{me} started without {peer}, whose data may be newer");
            let next = format!("start {peer}; if it is lost: `ha prim --keep {me}`");
            (why, Mover::Peer, next, None)
        }
        Wait::Shy => {
            let why = format!("{me} was ordered to wait for {peer}");
            (why, Mover::Peer, format!("start {peer}, or order `ha start`"), None)
        }
        Wait::FailoverOff
        | Wait::NeverInitialised
        | Wait::Founding
        | Wait::StorageFailed
        | Wait::DiskStalled
        | Wait::DiskFull
        | Wait::Resources(_)
        | Wait::Cooling(_)
        | Wait::NoCommonHistory
        | Wait::GivesWay
        | Wait::Incomplete
        | Wait::Connecting
        | Wait::Bound(_)
        | Wait::WitnessSilent
        | Wait::LeaseHeld(_)
        | Wait::OnItsWay => {
            let why = format!("{me} does not take over by itself: failover is off");
            (why, Mover::Operator, format!("order `ha prim --keep {me}`"), None)
        }
    }
}
