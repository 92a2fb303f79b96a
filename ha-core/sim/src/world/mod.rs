//! The world: everything that is not under test, and the loop that makes it happen.

mod addresses;
mod build;
mod clients;
mod deliver;
mod drive;
mod faults;
mod overruling;
mod perform;
mod plain;
mod streaming;
mod upgrading;
mod whole;
mod witnessing;

use bytes::BytesMut;
use ha_proto::Prng;
use ha_proto::wire::Keys;
use ha_quorum::arbiter;

use crate::check::{Checks, Seen, Violation};
use crate::client::Client;
use crate::fault::Planned;
use crate::host::CLIENTS;
use crate::options::Options;
use crate::queue::{Event, Queue};
use crate::scene::Scene;
use crate::stream::Stream;
use crate::trace::{Column, Trace};
use crate::weather::Weather;

/// One world with one pair, its witness, its clients and its operator.
#[derive(Debug)]
pub struct World {
    /// What it is about.
    pub options: Options,
    /// What observers see.
    pub scene: Scene,
    /// How rough it is.
    pub weather: Weather,
    /// What happened, for readers.
    pub trace: Trace,
    /// The first broken rule.
    pub violation: Option<Violation>,
    /// Acknowledged requests so far.
    pub acknowledged: u64,
    /// Whether the operator looks after the pair by itself.
    pub operator: bool,
    checks: Checks,
    queue: Queue,
    stream: Stream,
    clients: [Client; CLIENTS],
    plan: Vec<Planned>,
    prng: Prng,
    keys: Keys,
    liveness: bool,
    whole: Option<Whole>,
    asked: bytes::BytesMut,
    pulled: BytesMut,
    arbiter_box: ha_proto::Outbox<arbiter::Output>,
}

/// Since when the pair is whole, and what was acknowledged then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Whole {
    acknowledged: u64,
}

/// Why the world stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The time was over.
    Time,
    /// A rule is broken.
    Violation,
    /// The pair is whole, and writes go on.
    Whole,
}

impl World {
    /// Lets everything happen until true time `until`, or until faults stopped and the pair is
    /// whole.
    pub fn run(&mut self, until: u64) -> Stop {
        self.run_while(until, |world| !(world.liveness && world.is_proven()))
    }

    /// Lets everything happen until true time `until`, and says whether the pair is whole then.
    pub fn watch(&mut self, until: u64) -> Stop {
        match self.run_while(until, |_| true) {
            Stop::Time if self.is_proven() => Stop::Whole,
            stop @ (Stop::Time | Stop::Violation | Stop::Whole) => stop,
        }
    }

    /// [`Stop::Whole`] when `more` says no.
    fn run_while(&mut self, until: u64, more: impl Fn(&Self) -> bool) -> Stop {
        while let Some(at) = self.queue.next_at() {
            if at > until {
                break;
            }
            let (at, event) = self.queue.pop().expect("it was just seen");
            assert!(at >= self.scene.now, "time went back");
            self.scene.now = at;
            self.happen(event);
            if self.violation.is_some() {
                return Stop::Violation;
            }
            if !more(self) {
                return Stop::Whole;
            }
        }
        self.scene.now = self.scene.now.max(until);
        Stop::Time
    }

    /// True nanoseconds since the start.
    pub fn now(&self) -> u64 {
        self.scene.now
    }

    /// Shows something to the checkers.
    pub(crate) fn see(&mut self, seen: &Seen<'_>) {
        self.follow_override();
        self.show(seen);
    }

    /// Likewise, before anything follows from it: an override begins before it ends.
    fn show(&mut self, seen: &Seen<'_>) {
        if self.violation.is_some() {
            return;
        }
        if let Err(violation) = self.checks.see(&self.scene, seen) {
            let text = format!("BROKEN {}: {}", violation.rule, violation.text);
            self.trace.line(self.scene.now, Column::World, || text);
            self.violation = Some(violation);
        }
    }

    /// The history ends: what can only be told now is checked.
    pub fn end(&mut self) {
        self.see(&Seen::End);
    }

    pub(crate) fn at(&mut self, delay: u64, event: Event) {
        self.queue.push(self.scene.now + delay, event);
    }

    pub(crate) fn note(&mut self, column: Column, text: impl FnOnce() -> String) {
        self.trace.line(self.scene.now, column, text);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Timer { node } => self.timer(node),
            Event::Deliver { slot } => self.deliver(slot),
            Event::StreamDeliver { life, to } => self.stream_deliver(life, to),
            Event::StreamNotice { life, node } => self.stream_notice(life, node),
            Event::StreamTimeout { life } => self.stream_timeout(life),
            Event::Dial => self.dial(),
            Event::Effect { node, life, slot } => self.effect_ends(node, life, slot),
            Event::Client { client } => self.client(client),
            Event::Fault { index } => self.fault_begins(index),
            Event::Heal { index } => self.fault_ends(index),
            Event::Boot { node, life } => self.boot_after(node, life),
            Event::Resume { node, life } => self.resume(node, life),
            Event::AddressEnds { node } => self.address_ends(node),
            Event::AddressesDue { node } => self.addresses_due(node),
            Event::Frame { slot } => self.frame_arrives(slot),
            Event::PlainDo { number } => self.plain_do(number),
            Event::PlainReply { number } => self.plain_reply(number),
            Event::PlainTimeout { node, life, ticket } => self.plain_timeout(node, life, ticket),
            Event::PlainWake { node, life } => self.plain_wake(node, life),
            Event::WitnessStore { life } => self.witness_stored(life),
            Event::WitnessBoot { life } => self.witness_boot_after(life),
            Event::WitnessResume { life } => self.witness_resume(life),
            Event::Recheck { .. } => self.see(&Seen::Recheck),
            Event::StorageRestart { node, life } => self.storage_restart(node, life),
            Event::HandOver { node, life } => self.hand_over_again(node, life),
            Event::Succeed { node, life } => self.succeed_after(node, life),
            Event::Operator => self.look_after(),
            Event::Inspect => self.inspect(),
        }
    }
}
