//! Without a witness that votes (`none`, `ping`, `manual`): exclusion and minting are local, saved
//! and then used.

use ha_proto::{DataState, Epoch, Instant, Membership, NodeId, NodeSet};
use ha_quorum::Vote;

use crate::config::Winner;
use crate::event::Exclusion;
use crate::mirror::Greeting;
use crate::mirror::rights::Right;
use crate::{Event, Mirror};

impl Mirror {
    /// One decision, if one is due.
    pub(super) fn settle_local(&mut self, now: Instant) {
        self.look_when_left(now);
        if self.voter.is_some() || !self.memory.is_settled() || self.broken {
            return;
        }
        if self.is_founding() {
            return self.found_alone();
        }
        let saved = self.memory.saved();
        if !saved.is_initialised() || saved.state != DataState::Complete {
            return;
        }
        self.settle_contest();
        if !self.memory.is_settled() || self.lost_contest {
            return;
        }
        if self.holds() {
            self.lead_alone_or_together(now);
        } else if self.is_local_candidate(now) && self.may_leave_peer(now, Exclusion::Lost) {
            let together = self.is_handed_over();
            let set = if together { self.pair() } else { NodeSet::only(self.me()) };
            self.agreed = true;
            self.mint(now, set);
        }
    }

    fn pair(&self) -> NodeSet {
        NodeSet::only(self.me()).with(self.peer_id())
    }

    fn found_alone(&mut self) {
        assert!(!self.memory.saved().is_initialised(), "data that exist would be founded anew");
        let data = self.memory.saved().membership.data;
        let epoch = Epoch::NONE.next(self.me());
        let set = NodeSet::only(self.me());
        self.memory.set_state(DataState::Complete);
        self.learn(self.now, Membership { epoch, holder: self.me(), set, data });
    }

    /// The highest counter that was ever seen here: minting goes above it.
    pub(super) fn above(&self, epoch: Epoch) -> Epoch {
        let seen = self.peer.map_or(Epoch::NONE, |peer| peer.told.membership.epoch);
        let greeted = self.greeting.map_or(Epoch::NONE, |greeting| greeting.epoch);
        epoch.max(seen).max(greeted)
    }

    fn mint(&mut self, now: Instant, set: NodeSet) {
        let known = self.memory.wanted().membership;
        let epoch = self.above(known.epoch).next(self.me());
        assert!(epoch > known.epoch, "R3: a reign that is not new would be one of two");
        assert!(set.contains(self.me()), "a candidate's set contains it");
        assert!(!self.broken, "R2: a node that met a storage error would hold");
        self.growing = false;
        self.learn(now, Membership { epoch, holder: self.me(), set, ..known });
    }

    /// The holder's exclusion and re-admission.
    fn lead_alone_or_together(&mut self, now: Instant) {
        if self.may_resume_alone(now) {
            if !self.may_leave_peer(now, Exclusion::Lost) {
                return;
            }
            (self.agreed, self.yielded) = (true, false);
            return self.mint(now, NodeSet::only(self.me()));
        }
        let excludes = self.may_serve(now) && self.wants_to_serve(now);
        if let Some(why) = self.why_exclude(now).filter(|_| excludes) {
            if self.may_leave_peer(now, why) {
                self.event(Event::Excluded(why));
                self.mint(now, NodeSet::only(self.me()));
            }
            return;
        }
        self.keep_peer();
        let alone = self.reign.is_open() && self.may_run_alone();
        self.growing = alone && (self.growing || self.peer_may_join()) && self.peer_is_alive();
        if self.growing && self.peer_has_all() {
            self.mint(now, self.pair());
        }
    }

    /// A holder that booted as part of a pair goes on without its peer only by order, or after as
    /// long as the operator configured. One that told its peer to serve, and lost it, goes on.
    fn may_resume_alone(&self, now: Instant) -> bool {
        let waits = self.local_right().is_none() && self.is_able(now);
        let late = self.resume_alone_at().is_some_and(|at| now >= at);
        // The peer may serve since: as late as a candidate.
        let back =
            (self.yielded || self.is_outdated()) && self.stopped_by().is_none_or(|at| now >= at);
        waits && !self.peer_is_alive() && (self.plan.prim || late || back)
    }

    pub(super) fn resume_alone_at(&self) -> Option<Instant> {
        self.config.policy.alone_after.map(|patience| self.booted + patience)
    }

    /// R1 without leases: alone in the set, agreed with the peer, or serving already; unless it is
    /// this node that is cut off.
    pub(super) fn local_right(&self) -> Option<Right> {
        // Whoever cannot save cannot exclude the peer, which may go on.
        let stuck = self.broken && self.config.policy.ping.is_some() && !self.peer_is_alive();
        if (self.outside.is_shut_out() || stuck) && !self.stands_alone() {
            return None;
        }
        let heard = self.now >= self.heard_at() || self.peer_is_alive();
        let alone = self.stands_alone() && heard && !self.faces_primary();
        (alone || self.agreed || self.reign.leads()).then_some(Right::Standing)
    }

    /// From when on who booted has heard a peer that serves, if there is one. With `ping` a peer that
    /// took over while this node was down may be cut off: it notices, looks in vain and stops first.
    pub(super) fn heard_at(&self) -> Instant {
        let timing = self.config.timing;
        let looks = self.config.policy.ping.map(|ping| ping.probe + timing.stop + timing.heartbeat);
        self.booted + timing.timeout + looks.unwrap_or_default()
    }

    /// The peer says that it holds a reign of its own, which nobody has compared with this one's.
    fn faces_primary(&self) -> bool {
        let facts = self.peer.filter(|_| self.peer_is_alive());
        facts.is_some_and(|peer| self.is_contested(peer.told.membership))
    }

    /// A node that booted as part of a pair waits for the peer, or as long as the operator said.
    fn is_local_candidate(&self, now: Instant) -> bool {
        let Some(at) = self.local_candidate_at() else { return false };
        now >= at && self.may_stand(now)
    }

    pub(super) fn local_candidate_at(&self) -> Option<Instant> {
        if self.is_handed_over() {
            return Some(self.now);
        }
        // Nobody is asked, so no holder is to ask first (R8).
        let vacant = self.vacant?;
        if self.plan.prim {
            return Some(vacant);
        }
        if self.was_second {
            return Some(vacant.max(self.stopped_by().unwrap_or(vacant)));
        }
        let patience = self.config.policy.alone_after?;
        Some(vacant.max(self.booted + patience))
    }

    /// Vote `ping`: when a primary that was lost together with the outside has noticed it, has
    /// looked in vain and has stopped.
    pub(super) fn stopped_by(&self) -> Option<Instant> {
        let (timing, ping) = (self.config.timing, self.config.policy.ping?);
        Some(self.outside.lost_at()? + ping.probe + timing.stop + timing.heartbeat)
    }

    /// Two primaries: this node holds a reign of its own, and so does the teller.
    pub(super) fn is_contested(&self, told: Membership) -> bool {
        let (saved, wanted) = (self.memory.saved(), self.memory.wanted());
        let own = saved.membership.holder == self.me() && wanted.membership.holder == self.me();
        let claims = own && (self.reign.leads() || saved.may_run_alone());
        let rival = told.holder == self.peer_id() && told.epoch != saved.membership.epoch;
        // An operator's override has decided already.
        let decided = told.epoch.is_override() || told.epoch <= self.won_over;
        let open = !decided && !self.lost_contest;
        claims && rival && told.set.contains(told.holder) && open
    }

    /// Both compare lineages, and come to the same answer: the loser stops and says so, the winner
    /// mints above both.
    fn settle_contest(&mut self) {
        let Some(theirs) = self.rival() else {
            self.lost_contest = false;
            return self.settle_stranded();
        };
        let greeting = self.greeting.filter(|greeting| greeting.epoch == theirs.epoch);
        let Some(greeting) = greeting.filter(|_| self.is_contested(theirs)) else { return };
        let Some(former) = self.former_primary(greeting) else {
            if !core::mem::replace(&mut self.witness.data_told, true) {
                self.event(Event::NoCommonHistory);
            }
            return;
        };
        let wins = match self.config.policy.winner {
            Winner::FormerPrim => former == self.me(),
            Winner::FormerSecond => former != self.me(),
            Winner::MostRecent => self.memory.epoch() > theirs.epoch,
            Winner::Wait => false,
        };
        self.lost_contest = !wins;
        if wins {
            self.won_over = theirs.epoch;
            if self.memory.epoch() < theirs.epoch {
                self.mint(self.now, NodeSet::only(self.me()));
            }
        }
    }

    /// The holder of the last reign that both were copies in, as far as both remember one: it may
    /// have written nothing. Else that of the last one that wrote in both logs.
    fn former_primary(&self, greeting: Greeting) -> Option<NodeId> {
        let told = self.peer.map_or(Epoch::NONE, |peer| peer.told.joint);
        let joint = told.min(self.memory.saved().joint);
        if joint == Epoch::NONE { greeting.former } else { joint.owner() }
    }

    /// The peer holds a higher reign that never began: a hand-over to it that was given up here. It
    /// needs this node's acks for anything, and this node goes on alone: above it.
    fn settle_stranded(&mut self) {
        let Some(told) = self.peer.filter(|_| self.peer_is_alive()).map(|peer| peer.told) else {
            return;
        };
        let theirs = told.membership;
        let waits = theirs.set.contains(self.me()) && theirs.epoch > self.memory.epoch();
        if waits && self.is_contested(theirs) {
            self.won_over = theirs.epoch;
            self.mint(self.now, NodeSet::only(self.me()));
        }
    }

    /// What the peer holds, in a reign of its own that is not this node's, if it serves or could.
    pub(super) fn rival(&self) -> Option<Membership> {
        let told = self.peer.filter(|_| self.peer_is_alive())?.told;
        let theirs = told.membership;
        let own = theirs.holder == self.peer_id() && theirs.epoch != self.memory.epoch();
        (own && (theirs.is_alone(self.peer_id()) || told.role.serves())).then_some(theirs)
    }

    /// The peer has stopped and waits for this node to serve in its place.
    pub(super) fn is_handed_over(&self) -> bool {
        self.peer.is_some_and(|peer| peer.told.yields) && self.peer_is_alive()
    }

    /// Whether a hand-over is to be told: everything here is down and flushed.
    pub(super) fn is_yielding_locally(&self, now: Instant) -> bool {
        let local = self.config.policy.vote != Vote::Arbiter;
        let idle = !self.wants_to_serve(now) && self.service.is_down() && !self.reign.leads();
        local && self.holds() && idle && self.peer_is_ready()
    }
}
