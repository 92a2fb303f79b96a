//! The world of a farm: everything that is not under test, and the loop that makes it happen.

pub mod build;
mod clients;
mod deliver;
mod drive;
mod faults;
mod orders;
mod packets;
mod restarts;
mod settle;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ha_proto::wire::Keys;
use ha_proto::{Prng, Ticket};

use super::check::{Checks, Seen};
use super::client::Reply;
use super::fact::{Fact, Id};
use super::fault::{Fault, Planned};
use super::frame::Segment;
use super::options::Options;
use super::scene::Scene;
use super::weather::Weather;
use crate::check::Violation;
use crate::queue::Queue;
use crate::trace::{Column, Trace};

use build::Setup;

/// One thing that happens at an instant. `life` names the life of the member that it is meant for:
/// an event for an earlier one is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A member's deadline.
    Timer {
        /// Which member.
        node: usize,
    },
    /// A datagram arrives.
    Deliver {
        /// Its place among the parcels.
        slot: usize,
    },
    /// A driver's slow write is done.
    Written {
        /// Which member's.
        node: usize,
        /// In which life.
        life: u32,
    },
    /// An effect's answer arrives.
    Answer {
        /// At which member.
        node: usize,
        /// In which life.
        life: u32,
        /// For which effect.
        ticket: Ticket,
    },
    /// A fault begins.
    Fault {
        /// Its place in the plan.
        index: usize,
    },
    /// A fault that lasts ends.
    Heal {
        /// Its place in the plan.
        index: usize,
    },
    /// A host or a daemon boots.
    Boot {
        /// Which member.
        node: usize,
        /// The life that it follows.
        life: u32,
    },
    /// The next process of a daemon that handed over begins.
    Succeed {
        /// Which member.
        node: usize,
        /// The life between the two.
        life: u32,
    },
    /// A paused daemon goes on.
    Resume {
        /// Which member.
        node: usize,
        /// In which life.
        life: u32,
    },
    /// A client acts, if nothing came of its connection since.
    Client {
        /// Which one.
        client: usize,
        /// Its step.
        step: u64,
    },
    /// A client's packet arrives at the switch.
    Packet {
        /// Whose.
        client: usize,
        /// Of which of its connections.
        number: u64,
        /// What it says.
        segment: Segment,
    },
    /// A server's answer arrives at a client.
    Reply {
        /// Which client.
        client: usize,
        /// Of which of its connections.
        number: u64,
        /// By whom.
        node: usize,
        /// What it says.
        reply: Reply,
    },
    /// The observers look.
    Look,
}

/// One world with one farm, its clients and its operator.
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
    checks: Checks,
    queue: Queue<Event>,
    plan: Vec<Planned>,
    /// A cut that stays when the faults stop.
    pub stays: Option<Fault>,
    /// The set of services that every member's file says when the faults stop.
    pub rolls_out: Option<usize>,
    /// Faults that last and have not ended.
    lasting: BTreeSet<usize>,
    prng: Prng,
    keys: Keys,
    setup: Setup,
    /// The client's step of each client: an event of an earlier one is void.
    steps: Vec<u64>,
    /// Whom the clients' router believes to have the virtual address (mode directed).
    resolved: Option<usize>,
    /// Parts of proposals that were not seen whole yet.
    parts: BTreeMap<Id, BTreeMap<u16, Bytes>>,
    boots: u64,
    /// What was sent last, and what it says: a member sends one datagram to all others.
    sent: Option<(usize, Bytes, Fact)>,
}

/// Why the world stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The time was over.
    Time,
    /// A rule is broken.
    Violation,
}

impl World {
    /// Lets everything happen until true time `until`.
    pub fn run(&mut self, until: u64) -> Stop {
        while let Some(at) = self.queue.next_at().filter(|at| *at <= until) {
            let (_, event) = self.queue.pop().expect("it was just seen");
            assert!(at >= self.scene.now, "time went back");
            self.scene.now = at;
            self.happen(event);
            if self.violation.is_some() {
                return Stop::Violation;
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
        if self.violation.is_some() {
            return;
        }
        if let Err(violation) = self.checks.see(&self.scene, seen) {
            let text = format!("BROKEN {}: {}", violation.rule, violation.text);
            self.trace.line(self.scene.now, Column::World, || text);
            self.violation = Some(violation);
        }
    }

    fn at(&mut self, delay: u64, event: Event) {
        self.queue.push(self.scene.now + delay, event);
    }

    pub(crate) fn note(&mut self, column: Column, text: impl FnOnce() -> String) {
        self.trace.line(self.scene.now, column, text);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Timer { node } => self.timer(node),
            Event::Deliver { slot } => self.deliver(slot),
            Event::Written { node, life } => self.written(node, life),
            Event::Answer { node, life, ticket } => self.answered(node, life, ticket),
            Event::Fault { index } => self.fault_begins(index),
            Event::Heal { index } => self.fault_ends(index),
            Event::Boot { node, life } => self.boot_after(node, life),
            Event::Succeed { node, life } => self.succeed(node, life),
            Event::Resume { node, life } => self.resume(node, life),
            Event::Client { client, step } => self.client(client, step),
            Event::Packet { client, number, segment } => self.packet(client, number, segment),
            Event::Reply { client, number, node, reply } => {
                self.reply(client, number, node, reply);
            }
            Event::Look => self.look(),
        }
    }
}
