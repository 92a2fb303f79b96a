//! What the witness says.

use ha_proto::wire::{self, Header, Kind};
use ha_proto::{DataState, Epoch, Incarnation, Instant, Machine, Outbox};
use ha_quorum::voter::{Input as VoterInput, Output as VoterOutput};
use ha_quorum::{Ask, Grantor, Outcome, Refusal, Register, Request};

use crate::io::{Destination, Output};
use crate::{Event, Mirror};

/// An answer that counts, with what was asked.
#[derive(Clone, Copy, Debug)]
struct Answered {
    request: Request,
    expected: Epoch,
    outcome: Outcome,
    register: Option<Register>,
    sent: Instant,
    left: core::time::Duration,
    grace: core::time::Duration,
    incarnation: Incarnation,
    foreign: bool,
}

impl Mirror {
    /// Calls the voter, if this pair has a witness, and translates all that it says.
    pub(super) fn ask(&mut self, now: Instant, input: VoterInput) {
        let Some(voter) = &mut self.voter else { return };
        let mut out = core::mem::replace(&mut self.boxes.voter, Outbox::new(0));
        voter.handle(now, input, &mut out);
        while let Some(said) = out.pop() {
            match said {
                VoterOutput::Ask(ask) => self.send_ask(&ask),
                VoterOutput::Answered {
                    request,
                    expected,
                    outcome,
                    register,
                    sent,
                    left,
                    grace,
                    incarnation,
                    foreign,
                } => {
                    let answered = Answered {
                        request,
                        expected,
                        outcome,
                        register,
                        sent,
                        left,
                        grace,
                        incarnation,
                        foreign,
                    };
                    self.answered(now, &answered);
                }
                VoterOutput::Silent => self.event(Event::WitnessSilent),
                VoterOutput::Back => self.event(Event::WitnessBack),
                VoterOutput::Void { why: _ } => self.void_answers += 1,
            }
        }
        self.boxes.voter = out;
    }

    fn send_ask(&mut self, ask: &Ask) {
        let identity = self.config.identity;
        let header = Header {
            kind: Kind::Ask,
            sender: identity.me,
            flags: 0,
            cluster: identity.cluster,
            module: identity.module,
            waited: 0,
            epoch: ask.expected,
            sequence: ask.number,
            echo: 0,
        };
        let datagram = wire::seal(&header, |mut body| ask.encode(&mut body), &self.keys);
        self.say(Output::Transmit { to: Destination::Witness, datagram });
    }

    fn answered(&mut self, now: Instant, answered: &Answered) {
        let known = self.memory.wanted().incarnation;
        if known != answered.incarnation {
            // The save voids whatever another life of the witness answered or will answer.
            self.memory.set_incarnation(answered.incarnation);
            if known != Incarnation::default() {
                self.witness.minted = None;
                if !self.memory.wanted().is_initialised() {
                    // What was being founded may exist by now, at the peer: an operator asks anew.
                    self.memory.set_data(ha_proto::DataId(0));
                }
                self.event(Event::WitnessReplaced);
            }
        }
        let counts = !answered.foreign && known == answered.incarnation;
        // Also an Adopt that waits for the peer's: asking for anything else would be in vain.
        let empty = answered.register.is_none();
        self.witness.empty = empty.then_some(answered.incarnation);
        self.witness.held_until = Some(now + answered.left);
        self.witness.grace_until = Some(now + answered.grace);
        self.refused_lease(answered);
        self.refused_boot(answered);
        let Some(register) = answered.register else { return };
        if counts {
            self.witness.register = Some(register);
        }
        if !self.is_overriding(&register) {
            self.learn(now, register.membership);
        }
        if answered.outcome == Outcome::Ok && (counts || known == Incarnation::default()) {
            self.granted(now, answered, &register);
        }
    }

    /// [`Self::overrides`], and mends what data it is of.
    fn is_overriding(&mut self, register: &Register) -> bool {
        let (ours, theirs) = (self.memory.wanted().membership, register.membership);
        let overrides = self.overrides(theirs);
        if overrides && theirs.data != ours.data && self.memory.is_settled() {
            // A node that had lost everything could not know which data it overrides.
            let epoch = ours.epoch.max(theirs.epoch).overridden_by(self.me());
            self.memory.learn(ha_proto::Membership { epoch, data: theirs.data, ..ours });
        }
        overrides
    }

    /// An operator's override stands against what the witness had before, whoever tells it, until
    /// the witness has the override too: with a counter above both, and of the same data.
    pub(super) fn overrides(&self, told: ha_proto::Membership) -> bool {
        let ours = self.memory.wanted().membership;
        // Recorded, it is of the same data and of this node alone: a reign of its own that it had not
        // heard of counts its peer, which lacks what is acknowledged since.
        let recorded = told.is_alone(self.me()) && told.data == ours.data;
        let stands = self.voter.is_some() && self.plan.force && ours.epoch.is_override();
        stands && !recorded && !told.epoch.is_override()
    }

    fn granted(&mut self, now: Instant, answered: &Answered, register: &Register) {
        let membership = register.membership;
        let mine = membership.holder == self.me() && membership.epoch == self.memory.epoch();
        match answered.request {
            Request::Read | Request::Give { .. } | Request::Adopt { .. } => {}
            Request::Renew => {
                // R12: only in the boot that got its epoch from the witness, and for this tenure.
                let minted = self.witness.minted.is_some() && answered.sent >= self.tenure_began;
                if mine && minted && self.holds() {
                    assert!(answered.sent <= now, "a lease would begin in the future");
                    assert!(!answered.foreign, "R9: another life's answer grants nothing");
                    self.tenure.granted(Grantor::Witness, answered.sent);
                }
            }
            Request::Take
            | Request::Exclude
            | Request::Admit { .. }
            | Request::Create { .. }
            | Request::Force { .. } => {
                // R12: an answer that is late leaves a Give of its own epoch in flight.
                if mine && membership.epoch > self.witness.given {
                    assert!(!membership.epoch.is_override(), "only W mints epochs");
                    self.witness.minted = Some(membership.epoch);
                    self.plan.taken();
                    self.minted(now, answered.request);
                }
            }
        }
    }

    fn minted(&mut self, now: Instant, request: Request) {
        if matches!(request, Request::Create { .. }) {
            self.memory.set_state(DataState::Complete);
        }
        if matches!(request, Request::Take) && !self.reign.leads() {
            self.tenure_began = now;
        }
    }

    /// R12: a witness that has restarted knows no boot, and wants a Take before it renews. What the
    /// peer and this witness granted until now holds on meanwhile.
    fn refused_boot(&mut self, answered: &Answered) {
        let unknown = answered.outcome == Outcome::Refused(Refusal::Boot);
        if unknown && self.witness.minted == Some(answered.expected) {
            self.witness.minted = None;
        }
    }

    fn refused_lease(&mut self, answered: &Answered) {
        if answered.outcome != Outcome::Refused(Refusal::LeaseDiffers) {
            return;
        }
        if !core::mem::replace(&mut self.witness.lease_told, true) {
            let theirs = answered.register.map_or(answered.left, |register| register.lease);
            self.event(Event::LeaseDiffers { theirs, ours: self.config.timing.lease });
        }
    }

    /// Whether the witness says that it changes no holder yet (R9, R13).
    pub(super) fn witness_in_grace(&self, now: Instant) -> bool {
        self.witness.grace_until.is_some_and(|until| now < until)
    }
}
