//! One node of a mirror pair, as a state machine over the five small ones.

mod answers;
mod baton;
mod copy;
mod disk;
mod elect;
mod hear;
mod local;
mod memory;
mod orders;
mod outside;
mod reign;
mod report;
mod rights;
mod service;
mod settle;
mod upgrade;
mod view;

use alloc::collections::VecDeque;
use core::time::Duration;

use bytes::{Bytes, BytesMut};
use ha_heartbeat::{Detector, Echo, Status as Told};
use ha_proto::wire::{self, Kind, Reject, Rejections};
use ha_proto::{
    Boot, Deadline, Epoch, Incarnation, Instant, Machine, NodeId, Outbox, Position, Prng, Role,
    Seq, Ticket,
};
use ha_quorum::{Answer as WitnessAnswer, Binding, Register, Tenure, Vote, Voter};
use ha_replicate::{Log, ProposeError, Recovered};

use crate::event::Exclusion;
use crate::mirror::copy::LogTickets;
use crate::mirror::disk::DiskWatch;
use crate::mirror::memory::Memory;
use crate::mirror::orders::Plan;
use crate::mirror::outside::Outside;
use crate::mirror::reign::{LogMode, Reign};
use crate::mirror::service::Service;
use crate::tally::Tally;
use crate::{Answer, Config, Effect, Event, Input, Order, OrderError, Output, Saved, Source};

pub use crate::mirror::baton::{Baton, Void};
pub use crate::mirror::report::{Counters, Status};
pub use crate::mirror::upgrade::HandOverError;

/// One module on one node of a mirror pair: who serves, whose copy counts, and when.
///
/// - Facts: [`Mirror::handle_input`], [`Mirror::propose`]; orders: [`Mirror::order`].
/// - Effects: [`Mirror::poll_output`], [`Mirror::poll_stream`].
/// - Time: [`Mirror::poll_timeout`].
/// - Questions: [`Mirror::status`], [`Mirror::view`], [`Mirror::counters`].
/// - Another process: [`Mirror::hand_over`], [`Mirror::resume`].
///
/// Any order of calls is legal. Time may stand still but is never taken back: an earlier `now`
/// counts as the latest one.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not exclude each other")]
pub struct Mirror {
    config: Config,
    keys: wire::Keys,
    prng: Prng,
    now: Instant,
    boot: Boot,
    booted: Instant,
    /// A secondary that goes on in this process stays one until then, with no stream yet.
    resumed: Option<Instant>,
    memory: Memory,
    detector: Detector,
    voter: Option<Voter>,
    log: Log,
    service: Service,
    /// The right to serve, as a holder (R5, R6).
    tenure: Tenure,
    /// When the present tenure began: what was granted for an ask before it is void.
    tenure_began: Instant,
    /// What keeps this node from asking and starting (R6, R9).
    binding: Binding,
    /// The beat of the peer to which this node says yes.
    promise: Option<Echo>,
    reign: Reign,
    log_mode: LogMode,
    /// The peer's acks are waited for, before it is in any set (votes without a witness).
    growing: bool,
    /// The peer had all that was committed when the log began to lead in this way.
    caught_up: bool,
    /// The peer agreed that this node serves (votes without a witness).
    agreed: bool,
    /// This node told the peer to serve in its place: it must agree anew, or be lost (votes without
    /// a witness).
    yielded: bool,
    /// This node was a secondary in sync in this boot.
    was_second: bool,
    /// Two primaries met, and this one gives way.
    lost_contest: bool,
    /// The highest reign of the peer that gives way to this node's.
    won_over: Epoch,
    peer: Option<Facts>,
    /// The newest word of the peer, and when it came; kept when the peer is lost, for operators only.
    heard: Option<(Instant, Told)>,
    greeting: Option<Greeting>,
    witness: Witness,
    /// What is seen of the world outside (vote `ping`).
    outside: Outside,
    plan: Plan,
    /// Since when nobody but this node would serve.
    vacant: Option<Instant>,
    told: Told,
    /// The epoch of which an event told last.
    told_epoch: Epoch,
    /// The exclusion of which an event told last.
    excluding: Option<Exclusion>,
    announced: (Role, bool),
    /// When the application began to serve here last.
    served_since: Option<Instant>,
    void_answers: u64,
    tickets: u64,
    log_tickets: LogTickets,
    disk: DiskWatch,
    broken: bool,
    rejections: [Rejections; 2],
    tally: Tally,
    boxes: Boxes,
    outputs: VecDeque<Output>,
    /// The soonest deadline of all machines, as of the last call that could move one: it is asked
    /// for several times in between.
    due: Option<Deadline>,
}

/// What the peer said of itself in its newest beat that proves its life.
#[derive(Clone, Copy, Debug)]
struct Facts {
    told: Told,
    echo: Echo,
}

/// What the peer said of its log when the stream came up (votes without a witness).
#[derive(Clone, Copy, Debug)]
struct Greeting {
    /// The holder of the last reign that both logs know; `None` when they know none.
    former: Option<NodeId>,
    /// The peer's epoch, of which it is the holder.
    epoch: Epoch,
}

/// What is known of the witness.
#[derive(Clone, Copy, Debug, Default)]
struct Witness {
    register: Option<Register>,
    /// The epoch that it gave to this node in this boot, unless given away since (R12).
    minted: Option<Epoch>,
    /// The highest epoch that this boot asked to give away: the Give may still be on its way (R12).
    given: Epoch,
    /// The life that answered that it has no register.
    empty: Option<Incarnation>,
    /// Until when it lets nobody but the holder hold, as it said last.
    held_until: Option<Instant>,
    /// Until when it changes no holder at all, as it said last.
    grace_until: Option<Instant>,
    lease_told: bool,
    data_told: bool,
}

#[derive(Debug)]
struct Boxes {
    detector: Outbox<ha_heartbeat::Output>,
    voter: Outbox<ha_quorum::voter::Output>,
    log: Outbox<ha_replicate::Output>,
}

impl Mirror {
    /// The most outputs that may wait to be polled: a few rounds of every machine's. More means
    /// that the driver stopped polling.
    pub const OUTPUTS_MAX: usize = 8_192;

    /// A node that starts now.
    ///
    /// `saved` is what the store holds, or [`Saved::blank`]; `recovered` what was found in the log;
    /// `boot` a random number for this start of the process; `seed` any number, for the ids that
    /// this node makes up.
    pub fn new(
        config: Config,
        keys: wire::Keys,
        saved: Saved,
        recovered: Recovered,
        boot: Boot,
        seed: u64,
        now: Instant,
    ) -> Self {
        let identity = config.identity;
        assert!(saved.cluster == identity.cluster, "another cluster's records would be believed");
        assert!(saved.node == identity.me, "another node's records would be believed");
        assert!(recovered.store == saved.store, "a log that is not this store's would be trusted");
        let timing = config.timing;
        let leased = config.policy.vote == Vote::Arbiter;
        let told = report::blank_status(&saved, recovered.position, config.policy.preference);
        let alone = !leased || saved.may_run_alone();
        Self {
            keys,
            prng: Prng::new(seed ^ boot.0),
            now,
            boot,
            booted: now,
            resumed: None,
            detector: Detector::new(report::detector_config(&config, boot), told, now),
            voter: leased.then(|| Voter::new(report::voter_config(&config, boot))),
            log: Log::new(report::log_config(&config), recovered),
            service: Service::new(timing.heartbeat, timing.lease),
            tenure: Tenure::new(timing.lease),
            tenure_began: now,
            binding: Binding::at_boot(now, timing.lease, alone),
            promise: None,
            reign: Reign::None,
            log_mode: LogMode::Detached,
            growing: false,
            caught_up: false,
            agreed: false,
            yielded: false,
            was_second: false,
            lost_contest: false,
            won_over: Epoch::NONE,
            peer: None,
            heard: None,
            greeting: None,
            witness: Witness::default(),
            outside: Outside::new(config.policy.ping),
            plan: Plan::new(&config.policy, &saved),
            vacant: None,
            told,
            told_epoch: saved.membership.epoch,
            excluding: None,
            void_answers: 0,
            announced: (Role::Stop, true),
            served_since: None,
            tickets: 0,
            log_tickets: LogTickets::default(),
            disk: DiskWatch::default(),
            broken: false,
            rejections: [Rejections::default(); 2],
            tally: Tally::default(),
            boxes: Boxes {
                detector: Outbox::new(Detector::OUTPUTS_MAX),
                voter: Outbox::new(Voter::OUTPUTS_MAX),
                log: Outbox::new(Log::OUTPUTS_MAX),
            },
            outputs: VecDeque::new(),
            due: Some(Deadline { at: now, why: "begins" }),
            memory: Memory::new(saved),
            config,
        }
    }

    /// Takes one fact: routes it, lets the others see the time, and brings wish and fact together.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        let now = self.catch_up(now);
        self.route(now, input);
        self.conclude(now);
    }

    /// Takes an operator's order: what follows from it is seen in the outputs and in
    /// [`Mirror::status`].
    ///
    /// # Errors
    /// Why it is refused, and what to do. Nothing has changed then.
    pub fn order(&mut self, now: Instant, order: Order) -> Result<(), OrderError> {
        let now = self.catch_up(now);
        let answer = self.obey(now, order);
        self.conclude(now);
        answer
    }

    fn conclude(&mut self, now: Instant) {
        self.settle(now);
        self.check(now);
        self.due = self.soonest();
    }

    /// R10: what ended while this node did not run ends before anything else is believed.
    fn catch_up(&mut self, now: Instant) -> Instant {
        let now = now.max(self.now);
        let due = self.due.is_some_and(|deadline| deadline.at <= now);
        self.now = now;
        if due {
            self.tick(now);
        }
        now
    }

    /// Proposes one record of the application; its place in the log.
    ///
    /// It is committed once [`Effect::Apply`] has brought it back. The batch is closed by the next
    /// [`Mirror::handle_input`], which is due at once: propose all that wait, then go on.
    ///
    /// # Errors
    /// Nothing has changed then. [`ProposeError::Full`] passes: [`Event::LogWritable`] says when.
    /// [`ProposeError::Stalled`] passes with [`Event::DiskBack`].
    pub fn propose(&mut self, now: Instant, payload: &[u8]) -> Result<Seq, ProposeError> {
        let now = now.max(self.now);
        if !self.reign.leads() || !self.may_serve(now) {
            return Err(ProposeError::NotLeader);
        }
        if self.log_full() && !self.peer_is_ready() {
            // Nobody takes over where there is room: better refused than waited for without end.
            return Err(ProposeError::NoSpace);
        }
        if self.disk_stalled() && !self.peer_is_ready() {
            return Err(ProposeError::Stalled);
        }
        let proposed = self.log.propose(now, payload);
        self.due = Deadline::sooner(self.due, self.log.deadline());
        proposed
    }

    /// The next thing to do or to tell, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Mirror::handle_input`] with [`Input::Timeout`] if nothing happens before.
    /// Now, while outputs wait.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        if !self.outputs.is_empty() {
            return Some(Deadline { at: self.now, why: "outputs wait" });
        }
        self.due
    }

    /// As [`Mirror::poll_stream`], but for many records that lie in memory in one piece: they are left
    /// in `bulk`, to be sent behind `buf`, instead of being copied. The length is that of both.
    pub fn poll_stream_parts(
        &mut self,
        now: Instant,
        room: usize,
        buf: &mut BytesMut,
        bulk: &mut Option<Bytes>,
    ) -> usize {
        let len = self.log.poll_parts(now.max(self.now), room, buf, bulk);
        self.streamed(len)
    }

    /// What was sent may have moved the log's deadline.
    fn streamed(&mut self, len: usize) -> usize {
        if len > 0 {
            self.due = self.soonest();
        }
        len
    }

    fn soonest(&self) -> Option<Deadline> {
        let machines = [
            self.detector.deadline(),
            self.voter.as_ref().and_then(Machine::deadline),
            self.log.deadline(),
            self.service.deadline(),
            self.outside.deadline(),
            self.own_deadline(),
        ];
        machines.into_iter().fold(None, Deadline::sooner)
    }

    /// Writes the next whole message of this module for the replication stream behind `buf`'s
    /// content, if one is due and not longer than `room` bytes. Its length; zero when none is.
    pub fn poll_stream(&mut self, now: Instant, room: usize, buf: &mut BytesMut) -> usize {
        let len = self.log.poll_message(now.max(self.now), room, buf);
        self.streamed(len)
    }

    fn tick(&mut self, now: Instant) {
        self.detect(now, ha_heartbeat::Input::Tick);
        // After a pause the wish of before it may be void: it is looked at before it is repeated.
        self.settle_wish(now);
        self.replicate(now, ha_replicate::Input::Tick);
        self.service.tick(now);
        self.look(now, ha_quorum::ping::Input::Tick);
        self.settle(now);
    }

    fn route(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Timeout => {}
            Input::Datagram { source, bytes } => self.receive(now, source, bytes),
            Input::Connected => self.replicate(now, ha_replicate::Input::Connected),
            Input::Disconnected => {
                self.greeting = None;
                self.caught_up = false;
                self.replicate(now, ha_replicate::Input::Disconnected);
            }
            Input::Stream { message } => {
                self.replicate(now, ha_replicate::Input::Message(message));
            }
            Input::Done { ticket, answer } => self.done(now, ticket, answer),
            Input::Resource { index, up, blocks } => self.plan.resource(index, up, blocks),
            Input::AddressLost => {
                let step = self.service.lose();
                self.stepped(step);
            }
        }
    }

    fn receive(&mut self, now: Instant, source: Source, bytes: &[u8]) {
        let packet = match wire::open(bytes, &self.keys, self.config.identity.cluster) {
            Ok(packet) => packet,
            Err(reject) => return self.reject(source, reject),
        };
        let header = packet.header;
        if header.module != self.config.identity.module {
            return self.reject(source, Reject::Misplaced);
        }
        match (header.kind, source) {
            (Kind::Beat, Source::Peer(link)) if header.sender == self.config.identity.peer => {
                match ha_heartbeat::Beat::decode(header.sequence, packet.body) {
                    Ok(beat) => {
                        let (from, link_echo) = (header.sender, header.echo);
                        let waited = Duration::from_micros(header.waited.into());
                        let beat =
                            ha_heartbeat::Input::Beat { link, from, link_echo, waited, beat };
                        self.detect(now, beat);
                    }
                    Err(error) => self.reject(source, Reject::Decode(error)),
                }
            }
            (Kind::Answer, Source::Witness) => match WitnessAnswer::decode(packet.body) {
                Ok(answer) => self.ask(now, ha_quorum::voter::Input::Answer(answer)),
                Err(error) => self.reject(source, Reject::Decode(error)),
            },
            (Kind::Beat | Kind::Ask | Kind::Answer, Source::Peer(_) | Source::Witness)
            | (Kind::Member | Kind::Propose | Kind::Pull | Kind::Part | Kind::Survey, _) => {
                self.reject(source, Reject::Misplaced);
            }
        }
    }

    fn reject(&mut self, source: Source, reject: Reject) {
        let of = match source {
            Source::Peer(_) => 0,
            Source::Witness => 1,
        };
        if self.rejections[of].count(reject) {
            self.event(Event::Rejected(reject));
        }
    }

    fn done(&mut self, now: Instant, ticket: Ticket, answer: Answer) {
        let fine = !matches!(answer, Answer::Failed | Answer::Full);
        if self.memory.written(ticket, fine) {
            return self.saved(now);
        }
        if let Some(step) = self.service.done(now, ticket, fine) {
            return self.stepped(step);
        }
        if !self.probed(now, ticket, fine) {
            self.stored(now, ticket, answer);
        }
    }

    fn stepped(&mut self, step: service::Step) {
        match step {
            service::Step::Quiet => {}
            service::Step::Serving(epoch) => {
                self.served_since = Some(self.now);
                self.event(Event::Serving(epoch));
            }
            service::Step::Stopped(epoch) => self.event(Event::Stopped(epoch)),
            service::Step::Failed => self.event(Event::ApplicationFailed),
        }
    }

    fn next_ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn effect(&mut self, effect: Effect) -> Ticket {
        let ticket = self.next_ticket();
        self.say(Output::Effect { ticket, effect });
        ticket
    }

    fn event(&mut self, event: Event) {
        self.tally.event(self.now, &event);
        self.say(Output::Event(event));
    }

    fn say(&mut self, output: Output) {
        assert!(
            self.outputs.len() < Self::OUTPUTS_MAX,
            "the driver does not poll this node's outputs"
        );
        self.outputs.push_back(output);
    }

    fn me(&self) -> NodeId {
        self.config.identity.me
    }

    fn peer_id(&self) -> NodeId {
        self.config.identity.peer
    }

    fn position(&self) -> Position {
        self.log.durable()
    }
}
