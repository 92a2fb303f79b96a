//! From one process to the next one of the same boot, without stopping the application.
//!
//! To everybody else an upgrade is a pause. The model of the contract lets a process stand still for
//! any time, loses any datagram, and lets the stream break; a node whose process is replaced so
//! that nobody could tell it from one that met just these keeps every rule, with no new argument.
//! So the baton carries what a paused process would still know and cannot learn anew, and nothing
//! that a loss of datagrams and a break of the stream would have taken:
//!
//! | handed over | because |
//! |---|---|
//! | the boot, the newest number of beats and of asks | R9, R12: a new boot is bound, and one that counts anew is a replay to its peer and its witness |
//! | what was heard of the peer: its boot and numbers, until when its proofs last, its last word | R10, R11: it did not restart and is not lost; what was recorded of it stays a replay |
//! | the ends of both leases | R5: instants, so that the time in between counts |
//! | the binding, and the promise that it comes from | R6: a promise is not forgotten |
//! | whether the witness gave the saved epoch to this boot | R12: renewed, not taken again |
//! | what operators and the vote decided; resources that are down | else an order would be undone |
//! | that the application runs, and since which reign; the announced role | it is adopted |
//!
//! Left behind are rounds and asks that were sent (an answer to them proves and grants nothing,
//! which is the safe side; both are sent anew at once), the register (asked for at once; until then
//! nothing is admitted or swapped, and an override waits as if the longest lease ran), since when
//! nobody serves (R8: whoever missed something waits for its turn anew), and the log, whose mode is
//! told anew to one that was recovered: this node leads on in a new entry of the lineage, of the
//! same epoch, as it does whenever it starts to serve twice in one.
//!
//! [`Mirror::may_hand_over`] refuses where that is not enough: while an effect is under way, as its
//! result would be lost; while two primaries are brought together or this node finds out whether it
//! is cut off, which are steps of seconds with a state of their own; while the service is given away
//! (R13), as an upgrade would be one more way to abort a swap. Where a boot costs nothing (storage
//! that failed, data that are not complete) there is no baton: once nothing runs, the process may
//! end as it is, and the next one boots.
//!
//! One owner at any instant: the machine that hands over is consumed, and so is the baton. It is
//! void once its node could not stop in time what runs (R5: S before the application and its
//! addresses end by themselves, by the kernel and by the guardian, when their lifetime does), and
//! after a lease, when the binding of a boot (R9) costs nothing more. Without a witness the peer
//! takes over after D, so nothing goes on later than that. Whatever refuses a baton boots.

use alloc::boxed::Box;

use ha_heartbeat::{Detector, Echo};
use ha_proto::{DataState, Instant, wire};
use ha_quorum::{Binding, Grantor, Tenure, Voter, longer};
use ha_replicate::Recovered;
use thiserror::Error;

use crate::mirror::baton::{Baton, Flags, Of};
use crate::mirror::reign::Reign;
use crate::mirror::rights::Right;
use crate::mirror::service::Service;
use crate::mirror::{Facts, report};
use crate::{Config, Event, Mirror, Saved};

/// Why a node does not hand over now. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HandOverError {
    /// The storage failed, and nothing runs here any more. The next process could not open it, and
    /// would end with all others that it goes on with.
    #[error("its storage failed: mend that first, or take the module out of the files")]
    Broken,
    /// The storage failed, and what runs goes on, as nobody else could serve.
    #[error("its storage failed, and it serves on until its peer can: mend the peer, or stop it")]
    Failing,
    /// There is no whole copy here. Nothing runs or is being written, and a boot costs nothing.
    #[error("its data are not complete: nothing runs here, the next process boots")]
    Incomplete,
    /// Outputs wait to be polled.
    #[error("it has something to do at this moment")]
    Outputs,
    /// The saved file is being written, or something newer is known than it has.
    #[error("it saves something at this moment")]
    Saving,
    /// Records are being written, read or applied.
    #[error("its log is busy: records are being written, read or applied")]
    Log,
    /// The application or its addresses are being started, stopped or moved.
    #[error("its application or addresses are on their way up or down")]
    Service,
    /// R13: the service is being given away, or may be.
    #[error("it hands the service over to its peer")]
    Giving,
    /// Two primaries met.
    #[error("two primaries met and are being brought together")]
    Contest,
    /// Vote `ping`: it lost its peer, and what it sees outside decides.
    #[error("it lost its peer and finds out whether it is cut off")]
    Isolated,
}

impl HandOverError {
    /// Whether it passes by itself, mostly within moments.
    pub const fn passes(self) -> bool {
        match self {
            Self::Broken | Self::Failing | Self::Incomplete => false,
            Self::Outputs
            | Self::Saving
            | Self::Log
            | Self::Service
            | Self::Giving
            | Self::Contest
            | Self::Isolated => true,
        }
    }

    /// Whether there is nothing to hand over, and nothing to lose where this process ends all the
    /// same and the next one boots (R9).
    pub const fn is_a_boot(self) -> bool {
        match self {
            Self::Incomplete => true,
            Self::Broken
            | Self::Failing
            | Self::Outputs
            | Self::Saving
            | Self::Log
            | Self::Service
            | Self::Giving
            | Self::Contest
            | Self::Isolated => false,
        }
    }
}

impl Mirror {
    /// Whether this node could hand over to another process of its boot now.
    ///
    /// # Errors
    /// [`HandOverError`] says what is in the way.
    pub fn may_hand_over(&self, now: Instant) -> Result<(), HandOverError> {
        let now = now.max(self.now);
        let saved = self.memory.saved();
        let (epoch, local) = (saved.membership.epoch, self.voter.is_none());
        let log = self.log_is_at_rest();
        let gives = self.plan.is_leaving() || self.plan.is_yielding() || self.plan.has_given();
        let ready = match self.reign {
            Reign::None => self.service.is_down(),
            Reign::Open(reign) => reign == epoch && self.service.is_up() && self.is_watched(now),
            Reign::Opening(_) | Reign::Rising { .. } => false,
        };
        let incomplete = saved.state != DataState::Complete || !saved.is_initialised();
        let runs = !self.service.is_down() || !self.service.is_at_rest(now);
        let rows = [
            (!self.outputs.is_empty(), HandOverError::Outputs),
            (self.broken && self.service.is_up(), HandOverError::Failing),
            ((self.broken || incomplete) && runs, HandOverError::Service),
            (self.broken, HandOverError::Broken),
            // Or whoever waits for the end of this process would wait for its disk.
            (incomplete && self.memory.writing().is_some(), HandOverError::Saving),
            (incomplete && self.log_tickets.is_under_way(), HandOverError::Log),
            (incomplete, HandOverError::Incomplete),
            (!self.memory.is_settled(), HandOverError::Saving),
            (!log, HandOverError::Log),
            (gives, HandOverError::Giving),
            (!ready || !self.service.is_at_rest(now), HandOverError::Service),
            (local && (self.lost_contest || self.rival().is_some()), HandOverError::Contest),
            // The next process would not know that what is saved gives no right.
            (self.is_outdated(), HandOverError::Isolated),
            (!self.outside.is_at_rest(self.may_run_alone()), HandOverError::Isolated),
        ];
        rows.into_iter().find(|(wrong, _)| *wrong).map_or(Ok(()), |(_, why)| Err(why))
    }

    /// Ends this machine, so that another process of the same boot goes on as this node. The driver
    /// sends nothing of it and performs nothing for it any more: nothing is under way.
    ///
    /// # Errors
    /// The node as it was, and what is in the way ([`Mirror::may_hand_over`]).
    pub fn hand_over(self, now: Instant) -> Result<Baton, (Box<Self>, HandOverError)> {
        let now = now.max(self.now);
        match self.may_hand_over(now) {
            Ok(()) => Ok(self.baton(now)),
            Err(why) => Err((Box::new(self), why)),
        }
    }

    fn baton(self, now: Instant) -> Baton {
        let timing = self.config.timing;
        let app = self.service.app();
        assert!(app.is_some() == self.reign.leads(), "R1: what runs and what leads would part");
        let watched = app.map_or(now + timing.lease, |_| self.watched_until());
        let alone = self.voter.is_some() || self.may_run_alone();
        let until = if alone { watched } else { watched.min(now + timing.timeout) };
        let epoch = self.memory.saved().membership.epoch;
        Baton {
            of: Of::new(&self.config, self.memory.saved()),
            boot: self.boot,
            booted: self.booted,
            at: now,
            until: until.min(now + timing.lease),
            app,
            role: self.announced.0,
            flags: Flags {
                minted: self.witness.minted == Some(epoch),
                agreed: self.agreed,
                yielded: self.yielded,
                was_second: self.was_second,
                ready: self.announced.1,
                ..self.plan.hand_over()
            },
            blocking: self.plan.blocking(),
            leases: [Grantor::Witness, Grantor::Peer].map(|by| self.tenure.until(by)),
            bound: self.binding.until(),
            promise: self.binding.promise(),
            asked: self.voter.as_ref().map(Voter::hand_over).unwrap_or_default(),
            peer: self.peer.map(|peer| peer.told),
            heard: self.detector.hand_over(),
        }
    }

    /// Whether what runs ends by itself in time, if no process goes on: after S at the soonest, and
    /// not after the lease. It may, where it was last kept by the right to run alone, which was given
    /// up since (R7): until it is kept again.
    fn is_watched(&self, now: Instant) -> bool {
        let leased = match self.right() {
            Some(Right::Standing) => true,
            Some(Right::Until(end)) => self.service.kept_until() <= end,
            None => false,
        };
        leased && self.watched_until() > now
    }

    /// Until when the next process could still stop in time what runs, or keep it: whatever the
    /// node does not keep is ended when its lifetime is over.
    fn watched_until(&self) -> Instant {
        self.service.kept_until() - self.config.timing.stop
    }

    /// The node that an earlier process of the same boot handed over, at work again. All but
    /// `baton` is as for [`Mirror::new`]: what the store holds now, and what was recovered.
    ///
    /// The driver tells it that it is connected, and which resources are up and down, as after any
    /// start.
    ///
    /// # Panics
    /// When [`Baton::check`] refuses it.
    pub fn resume(
        config: Config,
        keys: wire::Keys,
        saved: Saved,
        recovered: Recovered,
        baton: Baton,
        seed: u64,
        now: Instant,
    ) -> Self {
        let fits = baton.check(&config, &saved, now);
        assert!(fits.is_ok(), "R9: a node would go on in a boot that is not its own");
        let mut node = Self::new(config, keys, saved, recovered, baton.boot, seed, now);
        node.go_on(now, baton);
        node.check(now);
        node
    }

    fn go_on(&mut self, now: Instant, baton: Baton) {
        let timing = self.config.timing;
        let Baton { of, booted, app, role, flags, blocking, leases, .. } = baton;
        let Baton { bound, promise, asked, peer: told, heard, .. } = baton;
        self.booted = booted;
        self.resumed = Some(now + timing.timeout);
        let [witness, peer] = leases;
        self.tenure = Tenure::resume(timing.lease, witness, peer);
        self.binding = Binding::resume(timing.lease, bound, promise);
        self.promise = promise.map(|from| Echo { boot: from.boot, number: from.number });
        self.service = Service::resume(timing.heartbeat, timing.lease, app);
        self.plan.resume(flags, blocking);
        self.served_since = app.map(|_| self.now);
        (self.agreed, self.yielded) = (flags.agreed, flags.yielded);
        self.was_second = flags.was_second;
        self.announced = (role, flags.ready);
        self.witness.minted = flags.minted.then_some(of.epoch);
        // Until the witness answers: an override waits for a lease that may run.
        self.witness.held_until = Some(now + longer(timing.lease));
        if self.voter.is_some() {
            let config = report::voter_config(&self.config, self.boot);
            self.voter = Some(Voter::resume(config, asked));
        }
        let config = report::detector_config(&self.config, self.boot);
        self.detector = Detector::resume(config.clone(), self.told, &heard);
        let newest = self.detector.newest(self.peer_id());
        self.peer = newest
            .zip(told)
            .map(|((boot, number), told)| Facts { told, echo: Echo { boot, number } });
        if app.is_some() {
            let lineage = self.log.next_lineage(of.epoch);
            self.memory.set_lineage(lineage);
            self.reign = Reign::Rising { from: of.epoch, to: of.epoch };
        }
        // The first round says what this node is, not that it has just begun.
        self.told = self.status_now(now);
        self.detector = Detector::resume(config, self.told, &heard);
        self.event(Event::Resumed(role));
    }

    /// Whether nothing of the log is under way, and what is known of it is on disk.
    fn log_is_at_rest(&self) -> bool {
        let (head, durable) = (self.log.head(), self.log.durable());
        let applied = self.log.applied() == self.log.committed();
        head == durable && applied && self.log.is_settled() && self.log_tickets.is_at_rest()
    }
}
