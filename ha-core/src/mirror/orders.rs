//! What operators and configuration want.

use ha_heartbeat::Resources;
use ha_proto::{DataId, DataState, Instant, Membership, NodeSet, Role};
use ha_quorum::Vote;

use crate::config::{DefaultPrim, Policy};
use crate::mirror::baton::Flags;
use crate::{Event, Mirror, Order, OrderError, Saved};

/// What operators want, and what follows from it over several steps.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "wishes that do not exclude each other")]
pub(super) struct Plan {
    /// The module takes part.
    started: bool,
    failover: bool,
    /// Ask for nothing before the peer was seen (`second`).
    shy: bool,
    /// Become primary as soon as that is safe (`prim`).
    pub(super) prim: bool,
    /// Told to stop since then, and serving on until the peer can take over.
    leaving: Option<Instant>,
    /// Stopped since then, and waiting for the peer to take over.
    parting: Option<Instant>,
    /// Handing over (`swap`, `defaultprim`).
    yielding: bool,
    /// Give is asked for since then, and it may have happened (R12).
    given: Option<Instant>,
    /// An override is to be recorded at the witness.
    pub(super) force: bool,
    /// Bootstrap once the peer says that it is blank too.
    bootstrap: bool,
    /// This reign began because the peer was lost.
    pub(super) took_over: bool,
    resources: Resources,
    /// Those for which this node cannot serve, one bit each.
    blocking: u64,
    /// Since when the default primary could take over.
    home: Option<Instant>,
}

impl Plan {
    pub(super) fn new(policy: &Policy, saved: &Saved) -> Self {
        Self {
            started: policy.autostart,
            failover: policy.failover && policy.vote != Vote::Manual,
            shy: false,
            prim: false,
            leaving: None,
            parting: None,
            yielding: false,
            given: None,
            force: saved.membership.epoch.is_override() && saved.may_run_alone(),
            bootstrap: policy.bootstrap && !saved.is_initialised(),
            took_over: false,
            resources: Resources::default(),
            blocking: 0,
            home: None,
        }
    }

    /// What of it goes to the next process; the rest is refused, or begins anew.
    pub(super) fn hand_over(&self) -> Flags {
        Flags {
            started: self.started,
            failover: self.failover,
            shy: self.shy,
            prim: self.prim,
            took_over: self.took_over,
            ..Flags::default()
        }
    }

    /// What was in the way is so until it is told otherwise.
    pub(super) fn resume(&mut self, flags: Flags, blocking: u64) {
        (self.started, self.failover) = (flags.started, flags.failover);
        (self.shy, self.prim, self.took_over) = (flags.shy, flags.prim, flags.took_over);
        self.resources = Resources { known: blocking, up: 0 };
        self.blocking = blocking;
    }

    pub(super) fn resource(&mut self, index: u8, up: Option<bool>, blocks: bool) {
        let bit = 1_u64.checked_shl(u32::from(index)).unwrap_or(0);
        let with = |bits: u64, set: bool| if set { bits | bit } else { bits & !bit };
        self.resources.known = with(self.resources.known, up.is_some());
        self.resources.up = with(self.resources.up, up == Some(true));
        self.blocking = with(self.blocking, blocks);
        let sane = self.resources.up & !self.resources.known == 0;
        assert!(sane, "the peer would be told that what nobody knows is up");
    }

    /// Takes part, and no resource is in the way.
    pub(super) const fn is_willing(&self) -> bool {
        self.started && self.blocking == 0
    }

    pub(super) const fn is_started(&self) -> bool {
        self.started
    }

    /// Whether an operator lets it take over by itself.
    pub(super) const fn has_failover(&self) -> bool {
        self.failover
    }

    /// Ordered to meet the peer first.
    pub(super) const fn is_shy(&self) -> bool {
        self.shy
    }

    /// The resources for which this node cannot serve.
    pub(super) const fn blocking(&self) -> u64 {
        self.blocking
    }

    pub(super) const fn resources(&self) -> Resources {
        self.resources
    }

    /// Told to stop, and serving on until the peer can take over.
    pub(super) const fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    pub(super) const fn is_yielding(&self) -> bool {
        self.yielding
    }

    pub(super) const fn has_given(&self) -> bool {
        self.given.is_some()
    }

    pub(super) const fn may_take_over(&self) -> bool {
        self.started && !self.shy && (self.failover || self.prim)
    }

    /// Give is about to be asked for. Says whether it is the first time.
    pub(super) fn give(&mut self, now: Instant) -> bool {
        self.given.replace(self.given.unwrap_or(now)).is_none()
    }

    /// Since when Give is asked for.
    pub(super) const fn given_since(&self) -> Option<Instant> {
        self.given
    }

    /// The epoch is this node's by the witness's word, or the peer's: nothing is in flight.
    pub(super) fn taken(&mut self) {
        self.given = None;
    }

    pub(super) fn stop_yielding(&mut self) {
        self.yielding = false;
    }

    pub(super) fn met_peer(&mut self) {
        self.shy = false;
    }

    /// After a loss the binding deadlines of two swaps must not chase each other.
    pub(super) fn forget_home(&mut self) {
        self.home = None;
    }
}

impl Mirror {
    /// Whether the application should run here, were it allowed.
    pub(super) fn wants_to_serve(&self, now: Instant) -> bool {
        if self.plan.is_yielding() || !self.plan.is_started() || self.lost_contest {
            return false;
        }
        // What runs goes on although it could not be started now, unless the peer can do better.
        let running = self.reign.leads() && self.service.has_app();
        self.is_able(now) || (running && !self.service.is_cooling(now) && !self.peer_is_ready())
    }

    pub(super) fn obey(&mut self, now: Instant, order: Order) -> Result<(), OrderError> {
        match order {
            Order::Start => self.start(false),
            Order::Second => self.start(true),
            Order::Stop => self.plan.leaving = self.plan.started.then_some(now),
            Order::Restart => self.service.restart(),
            Order::Swap => self.order_swap(now)?,
            Order::Prim => self.order_prim()?,
            Order::PrimForce => self.order_force(now)?,
            Order::Failover(on) => self.plan.failover = on,
        }
        Ok(())
    }

    fn start(&mut self, shy: bool) {
        (self.plan.started, self.plan.leaving) = (true, None);
        self.plan.shy = shy && !self.peer_is_alive();
    }

    fn order_swap(&mut self, now: Instant) -> Result<(), OrderError> {
        self.may_swap(now)?;
        self.plan.yielding = true;
        Ok(())
    }

    /// Whether a swap ordered now is accepted.
    pub(super) fn may_swap(&self, now: Instant) -> Result<(), OrderError> {
        if !self.reign.leads() {
            return Err(OrderError::NotPrimary);
        }
        if !self.peer_is_ready() {
            return Err(OrderError::NotReady);
        }
        self.witness_allows_a_swap(now)
    }

    /// R13. A set that grows is saved here before the witness has it, which would refuse the Give.
    fn witness_allows_a_swap(&self, now: Instant) -> Result<(), OrderError> {
        let Some(voter) = &self.voter else { return Ok(()) };
        if !voter.answering() {
            return Err(OrderError::WitnessSilent);
        }
        if self.witness_in_grace(now) {
            return Err(OrderError::WitnessInGrace);
        }
        let epoch = self.memory.saved().membership.epoch;
        let minted = self.witness.minted == Some(epoch);
        let known = self.witness.register.map(|register| register.membership);
        let counted = known.is_some_and(|w| w.epoch == epoch && w.set.contains(self.peer_id()));
        if minted && counted { Ok(()) } else { Err(OrderError::NotCounted) }
    }

    fn order_prim(&mut self) -> Result<(), OrderError> {
        let saved = self.memory.saved();
        if self.peer.is_some_and(|peer| peer.told.role.serves()) && self.peer_is_alive() {
            return Err(OrderError::PeerServes);
        }
        if saved.is_initialised() {
            let usable = saved.state == DataState::Complete;
            if !usable || !saved.membership.set.contains(self.me()) {
                return Err(OrderError::Stale);
            }
            self.plan.prim = true;
        } else {
            self.bootstrap();
        }
        self.start(false);
        Ok(())
    }

    /// The first step of a bootstrap: this pair's data get a name here, durably.
    pub(super) fn bootstrap(&mut self) {
        let wanted = self.memory.wanted();
        if wanted.is_initialised() || wanted.membership.data != DataId(0) {
            return;
        }
        let data = DataId(self.prng.next_u64().max(1));
        assert!(wanted.state == DataState::Blank, "data that exist would be given a new name");
        self.memory.set_data(data);
        self.plan.bootstrap = false;
    }

    /// Whether this node named the data and waits for the first reign.
    pub(super) fn is_founding(&self) -> bool {
        let saved = self.memory.saved();
        !saved.is_initialised() && saved.membership.data != DataId(0)
    }

    /// `bootstrap = a`: only when both are blank, and each knows it of the other.
    pub(super) fn settle_bootstrap(&mut self) {
        let blank = |told: &ha_heartbeat::Status| {
            told.state == DataState::Blank && told.membership.epoch == ha_proto::Epoch::NONE
        };
        let both = self.peer.is_some_and(|peer| blank(&peer.told)) && self.peer_is_alive();
        if self.plan.bootstrap && self.plan.started && both {
            self.bootstrap();
        }
    }

    /// The contract's operator override.
    fn order_force(&mut self, now: Instant) -> Result<(), OrderError> {
        let held = self.witness.held_until.is_some_and(|until| now < until);
        if held && self.memory.wanted().membership.holder != self.me() {
            return Err(OrderError::LeaseRuns);
        }
        if self.is_bound(now) {
            return Err(OrderError::Promised);
        }
        if self.reign.leads() && self.rival().is_none() {
            return Err(OrderError::Serves);
        }
        let known = self.memory.wanted().membership;
        let data = if known.data == DataId(0) { self.prng.next_u64().max(1) } else { known.data.0 };
        let epoch = self.above(known.epoch).overridden_by(self.me());
        let set = NodeSet::only(self.me());
        let forced = Membership { epoch, holder: self.me(), set, data: DataId(data) };
        let newer = self.memory.learn(forced);
        assert!(newer, "an override below what is known would be refused by everyone");
        self.memory.set_state(DataState::Complete);
        (self.plan.started, self.plan.leaving) = (true, None);
        self.plan.force = true;
        self.plan.taken();
        self.lost_contest = false;
        self.event(Event::DataLossPossible(epoch));
        Ok(())
    }

    /// Ends what has been reached or cannot be reached any more.
    pub(super) fn settle_plan(&mut self, now: Instant) {
        if self.peer_is_alive() {
            self.plan.met_peer();
        }
        if self.reign.is_open() || self.memory.wanted().membership.holder == self.peer_id() {
            self.plan.prim = false;
        }
        if !self.memory.wanted().membership.epoch.is_override() {
            self.plan.force = false;
        }
        self.settle_stop(now);
        self.settle_yielding(now);
        self.settle_bootstrap();
        self.settle_home(now);
    }

    /// An orderly stop begins when the peer can take over at once, or not before long, or never:
    /// a service that is stopped while the witness gives nothing away is an outage for nothing.
    fn settle_stop(&mut self, now: Instant) {
        if self.plan.is_leaving() {
            let soon = self.witness_allows_a_swap(now).is_err_and(OrderError::is_brief);
            let early = self.leave_due().is_some_and(|due| now < due);
            if !(soon && early && self.reign.leads() && self.peer_is_ready()) {
                (self.plan.started, self.plan.leaving) = (false, None);
            }
        }
        let since = self.plan.parting.unwrap_or(now);
        self.plan.parting = self.is_parting().then_some(since);
    }

    /// When this node stops though the witness still gives nothing away: two leases after the order.
    pub(super) fn leave_due(&self) -> Option<Instant> {
        Some(self.plan.leaving? + self.config.timing.lease * 2)
    }

    /// When the witness lets this node, which is to stop, hand over.
    pub(super) fn leave_at(&self) -> Option<Instant> {
        self.witness.grace_until.filter(|_| self.plan.is_leaving())
    }

    /// Whether this node has stopped, and its peer is about to serve in its place: a process that
    /// ended now would take the hand-over, or the only word of it, with it.
    fn is_parting(&self) -> bool {
        if self.plan.is_started() || !self.memory.saved().is_initialised() {
            return false;
        }
        let given = self.memory.saved().membership;
        let knows = self.peer.is_none_or(|peer| peer.told.membership.epoch >= given.epoch);
        let untold = given.holder == self.peer_id() && self.peer_is_alive() && !knows;
        untold || (self.holds() && self.is_giving(self.now))
    }

    /// Stopped, with nothing to wait for; a peer that does not take over is not waited for longer.
    pub(super) fn has_parted(&self, now: Instant) -> bool {
        !self.is_parting() || self.part_due().is_some_and(|due| now >= due)
    }

    /// When a peer that has not taken over is not waited for any more: two leases after the stop.
    pub(super) fn part_due(&self) -> Option<Instant> {
        Some(self.plan.parting? + self.config.timing.lease * 2)
    }

    fn settle_yielding(&mut self, now: Instant) {
        if !self.plan.is_yielding() {
            return;
        }
        let late = self.yield_due().is_some_and(|due| now >= due);
        let local = self.voter.is_none();
        // Nobody but the peer itself can take over then; a register would remember the Give.
        let kept = local || !self.plan.has_given();
        let hopeless = !self.peer_is_ready() && kept;
        if !self.holds() || late || hopeless {
            self.plan.stop_yielding();
            if local {
                self.plan.taken();
            }
        } else if self.is_yielding_locally(now) {
            self.plan.give(now);
        }
    }

    /// When this node asks for the service again because nobody took it: two leases after it was
    /// given up.
    pub(super) fn yield_due(&self) -> Option<Instant> {
        let given = self.plan.given_since().filter(|_| self.plan.is_yielding())?;
        Some(given + self.config.timing.lease * 2)
    }

    /// `defaultprim`: the application goes home once that node has been ready for a while.
    fn settle_home(&mut self, now: Instant) {
        let wanted = match self.config.policy.default_prim {
            DefaultPrim::Alone => false,
            DefaultPrim::Node(node) => node == self.peer_id(),
            DefaultPrim::Last => self.plan.took_over,
        };
        let could = wanted && self.reign.is_open() && self.service.is_up() && self.peer_is_ready();
        if !could || self.plan.is_yielding() || self.witness_allows_a_swap(now).is_err() {
            return self.plan.forget_home();
        }
        let since = *self.plan.home.get_or_insert(now);
        if now >= since + self.home_delay() {
            self.plan.forget_home();
            self.plan.yielding = true;
        }
    }

    pub(super) fn home_delay(&self) -> core::time::Duration {
        self.config.timing.timeout * 4
    }

    pub(super) fn home_due(&self) -> Option<Instant> {
        self.plan.home.map(|since| since + self.home_delay())
    }

    /// The peer could serve at once, and would lose nothing.
    pub(super) fn peer_is_ready(&self) -> bool {
        let Some(peer) = self.peer else { return false };
        let member = self.memory.saved().membership.set.contains(self.peer_id());
        let follows =
            !self.reign.leads() || (self.log.peer().following && !self.log.peer().stalled);
        let able = peer.told.able && peer.told.state == DataState::Complete;
        self.peer_is_alive() && member && follows && able && peer.told.role != Role::Stop
    }

    pub(super) fn peer_is_alive(&self) -> bool {
        self.detector.alive(self.peer_id())
    }
}
