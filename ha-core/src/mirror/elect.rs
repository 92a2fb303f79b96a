//! With a witness: what to ask it for (R2, R4, R6, R7, R8, R12, R13).

use ha_proto::{DataState, Incarnation, Instant, Role};
use ha_quorum::voter::Input as VoterInput;
use ha_quorum::{Grantor, Wish};

use crate::event::Exclusion;
use crate::{Event, Mirror};

impl Mirror {
    /// Tells the voter what this node wants now.
    pub(super) fn settle_wish(&mut self, now: Instant) {
        if self.voter.is_none() {
            return;
        }
        let wish = self.wish(now);
        if let Wish::Give { .. } = wish {
            self.witness.given = self.memory.saved().membership.epoch;
            if self.plan.give(now) {
                self.drop_tenure(now);
            }
        }
        if let Wish::Exclude = wish {
            self.tell_exclusion(now);
        }
        let saved = self.memory.saved();
        let (mut expected, incarnation) = (saved.membership.epoch, saved.incarnation);
        if let (Wish::Force { .. }, Some(register)) = (wish, self.witness.register) {
            // The override is above anything that the witness has.
            expected = register.membership.epoch;
        }
        self.check_wish(now, wish);
        self.ask(now, VoterInput::Wish { wish, expected, incarnation });
    }

    /// What every question implies, whichever way led to it.
    fn check_wish(&self, now: Instant, wish: Wish) {
        let saved = self.memory.saved();
        let (member, holds) = (saved.membership, saved.membership.holder == self.me());
        let asks = !matches!(wish, Wish::Watch);
        assert!(!asks || self.memory.is_settled(), "R1: an epoch is saved before it is used");
        match wish {
            Wish::Watch | Wish::Create { .. } | Wish::Adopt { .. } | Wish::Force { .. } => {}
            Wish::Take => {
                assert!(saved.state == DataState::Complete, "R2: only a complete node asks");
                assert!(!self.broken, "R2: a node that met a storage error never takes");
                assert!(!self.is_bound(now), "R6: it promised not to");
                assert!(member.set.contains(self.me()), "W refuses who is not in the set");
            }
            Wish::Renew => {
                assert!(holds, "only the holder has something to renew");
                assert!(self.witness.minted == Some(member.epoch), "R12: take first");
            }
            Wish::Exclude => {
                assert!(holds, "only the holder excludes");
                assert!(!self.is_bound(now), "R6: it promised not to");
            }
            Wish::Admit { peer } => {
                assert!(holds && member.set.contains(peer), "R4: the own set grows first");
                assert!(self.peer_has_all(), "R4: W would count a copy that lacks something");
            }
            Wish::Give { .. } => {
                assert!(holds, "only the holder gives");
                assert!(self.service.is_down(), "R13: the application is stopped first");
                assert!(!self.reign.leads(), "R13: what it wrote is flushed first");
            }
        }
    }

    fn wish(&self, now: Instant) -> Wish {
        let saved = self.memory.saved();
        let membership = saved.membership;
        if !self.memory.is_settled() {
            return Wish::Watch;
        }
        if self.is_founding() {
            return match saved.incarnation {
                Incarnation(0) => Wish::Watch,
                incarnation => Wish::Create { incarnation, data: membership.data },
            };
        }
        if !saved.is_initialised() {
            return Wish::Watch;
        }
        if self.witness.empty == Some(saved.incarnation) {
            let incarnation = saved.incarnation;
            return Wish::Adopt { incarnation, membership, state: saved.state };
        }
        let known = self.witness.register.is_some();
        if self.plan.force && membership.epoch.is_override() && known {
            return Wish::Force { membership };
        }
        if membership.holder == self.me() {
            self.holder_wish(now)
        } else if self.is_candidate(now) {
            Wish::Take
        } else {
            Wish::Watch
        }
    }

    fn holder_wish(&self, now: Instant) -> Wish {
        let saved = self.memory.saved();
        if self.is_giving(now) {
            return Wish::Give { to: self.peer_id() };
        }
        // R6: bound, a holder neither takes nor excludes. R2: only a complete node asks.
        if self.is_bound(now) || saved.state != DataState::Complete || self.broken {
            return Wish::Watch;
        }
        // R6: a holder that may not start renews nowhere; one that still stops must.
        if !self.wants_to_serve(now) && self.service.is_harmless() {
            return Wish::Watch;
        }
        if self.witness.minted != Some(saved.membership.epoch) {
            return Wish::Take;
        }
        if self.why_exclude(now).is_some() && self.may_serve(now) {
            return Wish::Exclude;
        }
        if self.is_admitting() {
            return Wish::Admit { peer: self.peer_id() };
        }
        Wish::Renew
    }

    /// R13: everything here is down and flushed, and the peer can start.
    pub(super) fn is_giving(&self, now: Instant) -> bool {
        let idle = !self.wants_to_serve(now) && self.service.is_down() && !self.reign.leads();
        // W refuses what is not in the set: it would be asked for in vain, and bind for ever.
        let member = self.memory.saved().membership.set.contains(self.peer_id());
        idle && member && (self.plan.has_given() || self.peer_is_ready()) && self.peer_is_alive()
    }

    /// R4 grow, last step: this holder waits for the peer's acks already, the peer has all that
    /// was ever acknowledged, and the witness does not know it yet. A peer that was lost meanwhile
    /// is not asked for: it may come back without its storage.
    fn is_admitting(&self) -> bool {
        let saved = self.memory.saved().membership;
        let known = self.witness.register.filter(|r| r.membership.epoch == saved.epoch);
        let missing = known.is_some_and(|r| !r.membership.set.contains(self.peer_id()));
        let member = saved.set.contains(self.peer_id());
        member && missing && self.peer_is_alive() && self.peer_has_all()
    }

    pub(super) fn peer_has_all(&self) -> bool {
        let peer = self.log.peer();
        peer.following
            && peer.state == Some(DataState::Complete)
            && peer.caught_up_to >= self.log.committed()
    }

    /// R4 grow, first step, and R7: the right to run alone is given up, durably, only while there
    /// is a lease at a witness that answers.
    pub(super) fn settle_growth(&mut self, now: Instant) {
        let saved = self.memory.saved().membership;
        let alone = self.reign.is_open() && self.may_run_alone() && self.memory.is_settled();
        let answering = self.voter.as_ref().is_some_and(ha_quorum::Voter::answering);
        let leased = self.tenure.until(Grantor::Witness).is_some_and(|until| {
            now + self.config.timing.stop + self.config.timing.heartbeat < until
        });
        let minted = self.witness.minted == Some(saved.epoch);
        if alone && answering && leased && minted && !self.is_bound(now) && self.peer_may_join() {
            let mut grown = saved;
            grown.set = saved.set.with(self.peer_id());
            assert!(self.peer_is_alive(), "a lost peer's acks would be waited for");
            self.memory.grow(grown);
        }
    }

    /// The peer follows, and lacks so little that waiting for its acks stalls nobody.
    pub(super) fn peer_may_join(&self) -> bool {
        let Some(facts) = self.peer else { return false };
        let peer = self.log.peer();
        let known = self.memory.saved().membership.epoch == facts.told.membership.epoch;
        let complete = known
            && facts.told.state == DataState::Complete
            && peer.state == Some(DataState::Complete)
            && !facts.told.broken;
        // Whatever would exclude it at once keeps it out: else the two would alternate for ever.
        let stays = facts.told.role != Role::Stop && !peer.needs_exclusion && !peer.stalled;
        let wanted = self.wants_to_serve(self.now) && self.service.is_up();
        let close = peer.following && self.caught_up && peer.lag <= Self::JOIN_LAG;
        complete && stays && close && self.peer_is_alive() && wanted
    }

    /// Records that a peer may lack when it is let in; it gets them within a round trip or two.
    const JOIN_LAG: u64 = 1_024;

    /// Why a member must leave the set, if it must.
    pub(super) fn why_exclude(&self, now: Instant) -> Option<Exclusion> {
        let saved = self.memory.saved().membership;
        if !saved.set.contains(self.peer_id()) {
            return None;
        }
        if !self.peer_is_alive() {
            // Right after a boot nobody was heard yet.
            return (now >= self.booted + self.config.timing.timeout).then_some(Exclusion::Lost);
        }
        let facts = self.peer?;
        let log = self.log.peer();
        if facts.told.role == Role::Stop {
            return Some(Exclusion::Lost);
        }
        if facts.told.state != DataState::Complete || facts.told.broken || log.needs_exclusion {
            return Some(Exclusion::Unusable);
        }
        (self.reign.leads() && log.stalled).then_some(Exclusion::Stalled)
    }

    fn tell_exclusion(&mut self, now: Instant) {
        let why = self.why_exclude(now);
        if let Some(why) = why.filter(|why| self.excluding != Some(*why)) {
            self.excluding = Some(why);
            self.event(Event::Excluded(why));
        }
    }

    /// Whether this node, not the holder, asks for the service.
    pub(super) fn is_candidate(&self, now: Instant) -> bool {
        let due = self.candidate_at().is_some_and(|at| now >= at);
        due && !self.is_bound(now) && self.may_stand(now)
    }

    /// R2 and the operator's wishes: everything about a candidate but for time.
    pub(super) fn may_stand(&self, now: Instant) -> bool {
        let saved = self.memory.saved();
        let member = saved.membership.set.contains(self.me());
        let able = self.is_able(now) && saved.is_initialised();
        let asked = self.plan.may_take_over() || self.is_handed_over();
        member && able && asked && self.memory.is_settled()
    }

    /// R8: by delay before asking; the holder itself does not wait.
    pub(super) fn candidate_at(&self) -> Option<Instant> {
        let delay = self.config.timing.heartbeat;
        Some(if self.plan.prim { self.vacant? } else { self.vacant? + delay })
    }

    /// Keeps in mind since when nobody but this node would serve.
    pub(super) fn settle_vacancy(&mut self, now: Instant) {
        let settled = now >= self.booted + self.config.timing.timeout || self.peer_is_alive();
        let follower = self.memory.wanted().membership.holder != self.me();
        let vacant = settled && follower && !self.peer_contends();
        self.vacant = if vacant { Some(self.vacant.unwrap_or(now)) } else { None };
    }

    /// The peer is alive and serves, or is about to.
    fn peer_contends(&self) -> bool {
        let Some(facts) = self.peer.filter(|_| self.peer_is_alive()) else { return false };
        // It may not know yet that it holds: this node has just handed over.
        let given = self.memory.wanted().membership.holder == self.peer_id();
        let holds = given || facts.told.membership.holder == self.peer_id();
        facts.told.role.serves() || facts.told.asks || (holds && facts.told.able)
    }

    /// This node's tenure is over, or may be: whatever was granted for it is void (R12).
    pub(super) fn drop_tenure(&mut self, now: Instant) {
        self.tenure.drop_all();
        self.tenure_began = now;
        self.witness.minted = None;
    }
}
