//! Bringing wish and fact together, one effect at a time, and watching the invariants.

use core::time::Duration;

use ha_heartbeat::{Input as DetectorInput, Status as Told};
use ha_proto::{DataState, Deadline, Instant, Role};
use ha_quorum::Vote;

use crate::mirror::service::Wish;
use crate::{Effect, Event, Mirror};

impl Mirror {
    /// Rounds after which nothing may be left to settle: each decision lets a few others follow.
    const ROUNDS: usize = 16;

    pub(super) fn settle(&mut self, now: Instant) {
        for round in 0.. {
            assert!(round < Self::ROUNDS, "decisions that undo each other would never end");
            let before = self.marks();
            self.settle_plan(now);
            self.settle_vacancy(now);
            self.settle_reign(now);
            self.settle_service(now);
            self.settle_growth(now);
            self.settle_local(now);
            self.settle_wish(now);
            self.settle_memory();
            self.answer_log_save(now);
            self.settle_failure(now);
            self.settle_log(now);
            self.settle_full_disk(now);
            self.settle_disk(now);
            if self.marks() == before {
                break;
            }
        }
        self.settle_status(now);
    }

    /// Whatever a round of decisions can change.
    fn marks(&self) -> impl PartialEq + use<> {
        let local = (self.growing, self.agreed, self.lost_contest, self.vacant);
        let said = (self.tickets, self.outputs.len(), self.memory.version());
        (local, said, self.reign, self.log_mode, self.plan)
    }

    fn settle_memory(&mut self) {
        let mut next = self.tickets;
        let write = self.memory.settle(|| {
            next += 1;
            ha_proto::Ticket(next)
        });
        self.tickets = next;
        if let Some((ticket, saved)) = write {
            self.say(crate::Output::Effect { ticket, effect: Effect::Save(saved) });
        }
    }

    fn service_wish(&self, now: Instant) -> Wish {
        if !self.may_serve(now) {
            return Wish::Fence;
        }
        if !self.reign.leads() || !self.wants_to_serve(now) {
            return Wish::Rest { lifetime: self.lifetime(now) };
        }
        let head = self.log.head().seq;
        Wish::Serve {
            epoch: self.memory.saved().membership.epoch,
            head,
            lifetime: self.lifetime(now),
        }
    }

    fn settle_service(&mut self, now: Instant) {
        let wish = self.service_wish(now);
        let mut next = self.tickets;
        let step = self.service.settle(now, wish, &mut || {
            next += 1;
            ha_proto::Ticket(next)
        });
        self.tickets = next;
        if let Some((ticket, effect)) = step {
            self.say(crate::Output::Effect { ticket, effect });
        }
    }

    /// What this node says of itself, in the next beat; at once where the peer waits for it.
    fn settle_status(&mut self, now: Instant) {
        self.settle_role(now);
        let status = self.status_now(now);
        if status == self.told {
            return;
        }
        let urgent = is_urgent(&self.told, &status);
        if status.yields {
            // From now on the peer may serve, whether this node hears of it or not.
            (self.agreed, self.yielded) = (false, true);
            // So a yes to what was asked before, at this very instant too, comes too late.
            self.tenure_began = now + Duration::from_nanos(1);
            self.outdate();
        }
        self.told = status;
        self.detect(now, DetectorInput::Status(status));
        if urgent {
            self.detect(now, DetectorInput::SendNow);
        }
    }

    fn settle_role(&mut self, now: Instant) {
        let (role, ready) = self.role(now);
        let (from, was_ready) = self.announced;
        if (role, ready) != (from, was_ready) {
            self.announced = (role, ready);
            self.was_second |= role == Role::Second && ready;
            self.event(Event::Role { from, to: role, ready });
        }
    }

    /// The role, and whether all that it asks for is done. A node that still stops is not `WAIT`.
    fn role(&self, now: Instant) -> (Role, bool) {
        let wishes = self.wants_to_serve(now);
        if self.reign.leads() || self.service.is_visible() {
            let member = self.memory.saved().membership.set.contains(self.peer_id());
            // A stopped one goes on to copy, and takes over from nobody.
            let stopped = self.peer.is_some_and(|peer| peer.told.role == Role::Stop);
            let copies = self.peer_is_alive() && self.log.peer().following && !stopped;
            let role = if member || copies { Role::Prim } else { Role::Alone };
            return (role, self.service.is_up() && wishes && !self.broken);
        }
        if !self.plan.is_started() {
            let parted = self.has_parted(now) && self.memory.is_settled();
            return (Role::Stop, self.service.is_down() && parted);
        }
        if self.memory.wanted().membership.holder == self.peer_id() && self.is_following() {
            let saved = self.memory.saved();
            let member = saved.membership.set.contains(self.me());
            let usable = saved.state == DataState::Complete && !self.broken;
            return (Role::Second, member && usable && self.log.peer().following);
        }
        (Role::Wait, false)
    }

    /// A secondary stays one while a new epoch of the same holder is being saved, and while a new
    /// process connects.
    fn is_following(&self) -> bool {
        let log = self.log.peer();
        let connects = self.resumed.is_some_and(|until| self.now < until);
        let stays = self.announced.0 == Role::Second && (log.connected || connects);
        self.peer_is_alive() && (log.following || stays)
    }

    pub(super) fn status_now(&self, now: Instant) -> Told {
        let saved = self.memory.saved();
        let (role, ready) = self.role(now);
        // A former holder says so only once it has stopped: the peer may start when it hears it.
        let holds = saved.membership.holder == self.me();
        let quiet = self.service.is_harmless();
        let membership = if holds || quiet { saved.membership } else { self.told.membership };
        Told {
            membership,
            role,
            ready,
            state: saved.state,
            store: saved.store,
            incarnation: saved.incarnation,
            position: self.position_told(),
            asks: self.asks(now),
            promise: self.promise.filter(|_| self.binding.bound(now)),
            able: self.is_able(now),
            broken: self.broken,
            yields: self.is_yielding_locally(now),
            waits: self.plan.is_started() && !self.plan.may_take_over(),
            unanswered: self.voter.as_ref().is_some_and(|voter| !voter.answering()),
            resources: self.plan.resources(),
            preference: self.config.policy.preference,
            joint: saved.joint,
        }
    }

    /// The position is told as of the last change of anything else: R8 needs it only roughly, and
    /// a new status for each record would cost a copy for each.
    fn position_told(&self) -> ha_proto::Position {
        if self.reign.leads() { self.told.position } else { self.position() }
    }

    /// R6: a holder asks the peer to renew while it serves, still stops, or could start.
    fn asks(&self, now: Instant) -> bool {
        if !self.holds() || self.plan.has_given() && self.plan.is_yielding() {
            return false;
        }
        !self.service.is_harmless() || self.wants_to_serve(now)
    }

    /// When this node itself must act although nothing happens; always later than now.
    pub(super) fn own_deadline(&self) -> Option<Deadline> {
        let timing = self.config.timing;
        let busy = !self.service.is_down() || self.reign.leads();
        let leased = self.config.policy.vote == Vote::Arbiter;
        let candidate = if leased { self.candidate_at() } else { self.local_candidate_at() };
        let rows = [
            (self.right_ends().filter(|_| busy), "right ends"),
            (self.binding.until().filter(|_| leased), "binding ends"),
            (candidate, "candidate"),
            (Some(self.booted + timing.timeout), "boot grace"),
            (Some(self.heard_at()), "the peer is heard"),
            (self.yield_due(), "hand-over late"),
            (self.leave_at(), "hand-over possible"),
            (self.leave_due(), "stop late"),
            (self.part_due(), "peer late"),
            (self.home_due(), "home"),
            (self.resume_alone_at(), "alone after"),
            (self.stopped_by(), "peer has stopped"),
            (self.resumed, "has connected"),
            (self.disk_retry_at(), "disk retry"),
            (self.disk_stalls_at(), "disk silent"),
        ];
        let later = |(at, why): (Option<Instant>, &'static str)| {
            at.filter(|&at| at > self.now).map(|at| Deadline { at, why })
        };
        rows.into_iter().map(later).fold(None, Deadline::sooner)
    }

    /// What must hold after every call. A node that breaks one of these stops here, rather than
    /// serve beside another or acknowledge what may be lost.
    pub(super) fn check(&self, now: Instant) {
        let saved = self.memory.saved().membership;
        assert!(self.memory.epoch() >= saved.epoch, "R3: a known epoch that falls");
        if self.reign.leads() {
            assert!(self.holds(), "R1: a log that leads without holding acknowledges for nobody");
            assert!(!self.is_bound(now), "R6: a node that promised would serve beside its peer");
        }
        if self.service.is_up() {
            assert!(!self.is_bound(now), "R6: a node that promised would serve beside its peer");
        }
        let grown = self.memory.wanted().membership.set;
        let waits = saved.set.is_subset_of(grown) || self.memory.is_rising();
        assert!(waits, "R4: a set that shrinks without the witness acknowledges what it lacks");
    }
}

/// Whether the peer should hear of a change at once: who holds, roles, asks and promises.
fn is_urgent(before: &Told, after: &Told) -> bool {
    before.membership != after.membership
        || before.role != after.role
        || before.ready != after.ready
        || before.state != after.state
        || before.able != after.able
        || before.yields != after.yields
        || before.broken != after.broken
        || (after.asks && !before.asks)
        || (after.promise.is_some() && before.promise.is_none())
}
