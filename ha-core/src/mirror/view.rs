//! What a node knows, gathered for an operator.

use core::time::Duration;

use ha_proto::{DataState, Instant, LinkId, Role};
use ha_quorum::{Grantor, Vote, longer};

use crate::Mirror;
use crate::mirror::rights::Right as Held;
use crate::view::{
    CopyView, LinkView, LogView, PeerView, Right, ServiceView, View, Wait, WitnessView,
};

impl Mirror {
    /// Everything that an operator may ask of this node, as of the last call.
    pub fn view(&self) -> View {
        let now = self.now;
        let (role, ready) = self.announced;
        let saved = self.memory.saved();
        View {
            me: self.me(),
            vote: self.config.policy.vote,
            timing: self.config.timing,
            uptime: now.saturating_since(self.booted),
            role,
            ready,
            membership: saved.membership,
            epoch: self.memory.epoch(),
            state: saved.state,
            head: self.log.head(),
            durable: self.log.durable(),
            committed: self.log.committed(),
            applied: self.log.applied(),
            peer: self.peer_view(now),
            links: (0..self.config.identity.links)
                .map(|link| self.link_view(LinkId(link)))
                .collect(),
            witness: self.witness_view(now),
            right: self.right_view(now),
            service: ServiceView {
                stage: self.service.stage(),
                failed: self.service.has_failed(),
                cooling: left(now, self.service.cools_until()),
            },
            log: self.log_view(),
            copy: self.copy_view(),
            bound: self.bound_for(now),
            started: self.plan.is_started(),
            failover: self.plan.has_failover(),
            yielding: self.plan.is_yielding(),
            blocking: self.plan.blocking(),
            resources: self.plan.resources(),
            swap: self.may_swap(now),
            wait: (role == Role::Wait).then(|| self.why_wait(now)),
            takeover: self.takeover(),
        }
    }

    fn peer_view(&self, now: Instant) -> PeerView {
        PeerView {
            id: self.peer_id(),
            up: self.peer_is_alive(),
            told: self.heard.map(|(at, told)| (now.saturating_since(at), told)),
            copy: self.log.peer(),
        }
    }

    fn link_view(&self, id: LinkId) -> LinkView {
        LinkView {
            id,
            up: self.detector.link_up(self.peer_id(), id),
            round_trip: self.detector.round_trip(self.peer_id(), id),
            margin: self.detector.margin(self.peer_id(), id),
        }
    }

    fn witness_view(&self, now: Instant) -> WitnessView {
        let voter = self.voter.as_ref();
        WitnessView {
            answering: voter.map(ha_quorum::Voter::answering),
            round_trip: voter.and_then(ha_quorum::Voter::round_trip),
            register: self.witness.register.map(|register| register.membership),
            lease: left(now, self.tenure.until(Grantor::Witness)),
            held: left(now, self.witness.held_until),
            grace: left(now, self.witness.grace_until),
            lease_differs: self.witness.lease_told,
            outside: self.outside.reached(),
        }
    }

    fn right_view(&self, now: Instant) -> Right {
        match self.right() {
            None => Right::None,
            Some(Held::Standing) => Right::Standing,
            Some(Held::Until(end)) => left(now, Some(end)).map_or(Right::None, Right::Lease),
        }
    }

    fn log_view(&self) -> LogView {
        LogView {
            bytes: self.log.bytes(),
            bytes_max: self.config.limits.log_bytes,
            unacked: self.log.head().seq.0.saturating_sub(self.log.committed().0),
            full: self.log_full() || self.log.bytes() >= self.config.limits.log_bytes,
            stalled: self.disk_stalled(),
            broken: self.broken,
        }
    }

    fn copy_view(&self) -> Option<CopyView> {
        let saved = self.memory.saved();
        if self.reign.leads() {
            let peer = self.log.peer();
            let behind = !saved.membership.set.contains(self.peer_id());
            let copies = behind && peer.connected && self.peer_is_alive();
            let target = peer.state != Some(DataState::Complete);
            let goal = self.log.head().seq;
            let (to, done) = (self.peer_id(), peer.caught_up_to);
            return copies.then_some(CopyView { to, done, goal, target });
        }
        let leader = self.peer.filter(|peer| peer.told.role.serves() && self.peer_is_alive())?;
        let member = saved.membership.set.contains(self.me());
        let target = saved.state != DataState::Complete;
        let done = self.log.durable().seq;
        let goal = leader.told.position.seq.max(done);
        (target || !member).then_some(CopyView { to: self.me(), done, goal, target })
    }

    fn bound_for(&self, now: Instant) -> Option<Duration> {
        left(now, self.binding.until()).filter(|_| self.is_bound(now))
    }

    /// Contract, G3 and "Rules (`none`, `ping`)": the worst case but for the application's start.
    fn takeover(&self) -> Duration {
        let timing = self.config.timing;
        match self.config.policy.vote {
            Vote::Arbiter => {
                let lease = longer(timing.lease) + timing.lease / 1000;
                timing.timeout.max(lease) + timing.round_trip * 2
            }
            Vote::Ping => {
                let probe = self.config.policy.ping.map_or(Duration::ZERO, |ping| ping.probe);
                timing.timeout + probe + timing.stop + timing.heartbeat
            }
            Vote::None | Vote::Manual => timing.timeout + timing.heartbeat,
        }
    }

    /// Why this node neither serves nor follows: what stands first in its way.
    fn why_wait(&self, now: Instant) -> Wait {
        self.unusable(now).or_else(|| self.not_its_turn(now)).unwrap_or(Wait::OnItsWay)
    }

    /// What keeps it from serving whatever the others do.
    fn unusable(&self, now: Instant) -> Option<Wait> {
        let saved = self.memory.saved();
        let ours = saved.membership;
        let theirs = self.peer.map(|peer| peer.told.membership);
        let strange = theirs.is_some_and(|theirs| {
            theirs.data.0 != 0 && ours.data.0 != 0 && theirs.data != ours.data
        });
        let unrelated = self.greeting.is_some_and(|greeting| greeting.former.is_none());
        let rows = [
            (self.broken, Wait::StorageFailed),
            (self.disk_stalled(), Wait::DiskStalled),
            (self.log_full(), Wait::DiskFull),
            (self.plan.blocking() != 0, Wait::Resources(self.plan.blocking())),
            (strange || unrelated && self.rival().is_some(), Wait::NoCommonHistory),
            (self.is_founding(), Wait::Founding),
            (!saved.is_initialised(), Wait::NeverInitialised),
            (self.lost_contest, Wait::GivesWay),
        ];
        let cools = || left(now, self.service.cools_until()).map(Wait::Cooling);
        rows.into_iter().find_map(|(is, why)| is.then_some(why)).or_else(cools)
    }

    /// What it waits for of others.
    fn not_its_turn(&self, now: Instant) -> Option<Wait> {
        let saved = self.memory.saved();
        if self.peer.is_some_and(|peer| peer.told.role.serves()) && self.peer_is_alive() {
            return Some(Wait::Connecting);
        }
        if saved.state != DataState::Complete {
            return Some(Wait::Incomplete);
        }
        if !saved.membership.set.contains(self.me()) {
            return Some(Wait::Stale);
        }
        if self.outside.is_shut_out() {
            return Some(Wait::CutOff);
        }
        let holder = saved.membership.holder == self.me();
        if !holder && !self.plan.may_take_over() {
            return Some(if self.plan.is_shy() { Wait::Shy } else { Wait::FailoverOff });
        }
        if self.voter.is_none() {
            let patient = !holder && !self.was_second && !self.plan.prim;
            let waits = patient || holder && self.local_right().is_none();
            return (waits && !self.peer_is_alive()).then_some(Wait::PeerUnseen);
        }
        if let Some(bound) = self.bound_for(now) {
            return Some(Wait::Bound(bound));
        }
        if !self.voter.as_ref().is_none_or(ha_quorum::Voter::answering) {
            return Some(Wait::WitnessSilent);
        }
        left(now, self.witness.held_until).filter(|_| !holder).map(Wait::LeaseHeld)
    }
}

/// How long it is until then; `None` when that has passed.
fn left(now: Instant, until: Option<Instant>) -> Option<Duration> {
    until.filter(|&until| until > now).map(|until| until.saturating_since(now))
}
