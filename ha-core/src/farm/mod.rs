//! A member of a farm: all servers run the service, and each one's kernel decides which packets
//! are its own (`CONTRACT-FARM.md`).
//!
//! [`Farm`] is pure: facts go in ([`Farm::handle_input`]), effects come out
//! ([`Farm::poll_output`]), and it says when it wants to be called next ([`Farm::poll_timeout`]).
//! Its host performs the effects in their order, each before the next is begun: the beat is sent,
//! then the lease is written that counts from before it.
//!
//! ```
//! use std::collections::VecDeque;
//! use std::time::Duration;
//!
//! use ha_core::farm::{
//!     Config, Effect, Farm, Identity, Input, Isolated, Output, Policy, Timing,
//! };
//! use ha_core::proto::wire::Keys;
//! use ha_core::proto::{Boot, ClusterId, Instant, LinkId, ModuleId, NodeId, NodeSet};
//! use ha_farm::{Buckets, Filter, Hash, HashOn, Mode, Protocol, Rule, Uncovered};
//!
//! let nodes = [0, 1].map(|id| NodeId::new(id).expect("below 128"));
//! let rule = Rule {
//!     vip: "192.0.2.1".parse()?,
//!     ports: 80..=80,
//!     protocol: Protocol::Tcp,
//!     on: HashOn::Addr,
//! };
//! let policy = Policy {
//!     rules: vec![rule],
//!     weights: vec![1],
//!     buckets: Buckets::Few,
//!     hash: Hash::Sip { key: [7; 16] },
//!     mode: Mode::Invisible,
//!     uncovered: Uncovered::Deny,
//!     mac: None,
//!     isolated: Isolated::All,
//!     drain: Duration::from_secs(60),
//!     warm_up: Duration::ZERO,
//! };
//! let mut now = Instant::ZERO;
//! let mut farms = Vec::new();
//! for me in nodes {
//!     let (cluster, module) = (ClusterId(1), ModuleId(1));
//!     let members: NodeSet = nodes.into_iter().collect();
//!     let identity = Identity { cluster, module, me, members, links: 1 };
//!     let config = Config::new(identity, Timing::default(), policy.clone())?;
//!     farms.push(Farm::new(config, Keys::insecure(), Boot(11 + farms.len() as u64), now));
//! }
//!
//! // A host of both: a network without delay, and kernels that obey at once.
//! let mut taken = [0, 0];
//! while taken != [128, 128] {
//!     let due = farms.iter().filter_map(|farm| farm.poll_timeout()).map(|due| due.at).min();
//!     now = due.expect("a beat is always due").max(now);
//!     let mut wire = VecDeque::new();
//!     for at in 0..2 {
//!         farms[at].handle_input(now, Input::Timeout);
//!         while let Some(output) = farms[at].poll_output() {
//!             match output {
//!                 Output::Transmit { to, datagram, .. } => wire.push_back((to, datagram)),
//!                 Output::Effect { ticket, effect } => {
//!                     if let Effect::Filter(filter) = effect {
//!                         let takes = |word: &&u32| *word & Filter::TAKE != 0;
//!                         taken[at] = filter.words(0).iter().filter(takes).count();
//!                     }
//!                     farms[at].handle_input(now, Input::Done { ticket, ok: true });
//!                 }
//!                 Output::Event(_) => {}
//!             }
//!         }
//!     }
//!     for (to, bytes) in wire {
//!         let link = LinkId(0);
//!         let farm = &mut farms[usize::from(to.as_u8())];
//!         farm.handle_input(now, Input::Datagram { link, bytes: &bytes });
//!     }
//!     assert!(now < Instant::ZERO + Duration::from_secs(1), "they share the work in time");
//! }
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod baton;
mod body;
mod build;
mod config;
mod drive;
mod event;
mod io;
mod links;
mod network;
mod newer;
mod order;
mod orders;
mod report;
pub mod survey;
mod tables;
mod view;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use ha_farm::{Mac, Rule, Table};
use ha_heartbeat::group::{self, Cause, Group, ViewId};
use ha_proto::wire::{Keys, Rejections};
use ha_proto::{Boot, Deadline, Instant, Machine, NodeId, NodeSet, Outbox, Ticket};

use crate::farm::body::{Body, Facts};
use crate::farm::drive::Flight;
use crate::farm::links::Links;
use crate::farm::tables::Shelf;

pub use baton::{Baton, Void};
pub use config::{Config, ConfigError, Identity, Isolated, Policy, Timing};
pub use event::{Event, Why};
pub use io::{Effect, Input, Output};
pub use links::LinkView;
pub use order::{Order, OrderError};
pub use view::{Peer, Service, View};

/// One member of a farm: who is in the view, which buckets are this node's, and until when.
///
/// - Facts: [`Farm::handle_input`]; orders: [`Farm::order`].
/// - Effects: [`Farm::poll_output`], to be performed in order.
/// - Time: [`Farm::poll_timeout`].
/// - Questions: [`Farm::view`], [`Farm::rules`].
/// - Another process: [`Farm::beat`], [`Farm::hand_over`], [`Farm::adopt`].
///
/// Any order of calls is legal. Time may stand still but is never taken back: an earlier `now`
/// counts as the latest one.
#[derive(Debug)]
pub struct Farm {
    config: Config,
    keys: Keys,
    now: Instant,
    group: Group,
    rules: Ruling,
    /// The rules that come into force once every member has them.
    next: Option<Ruling>,
    /// The weights that its file said last: in the rules that wait, or else in those in force.
    configured: Vec<u16>,
    shelf: Shelf,
    /// What the present view says, if this node is a member of it.
    present: Option<Present>,
    /// What the kernel's filter takes: a row for each service.
    took: Vec<Vec<bool>>,
    flight: Option<Flight>,
    /// The hardware addresses that it was written with last, and the write for these alone.
    macs: BTreeMap<NodeId, Mac>,
    introduced: Option<Ticket>,
    /// What others say of themselves.
    facts: BTreeMap<NodeId, Facts>,
    /// Until when what a view moved may go on at its old servers, by the view's counter.
    drains: BTreeMap<u64, Instant>,
    asked: Asked,
    app: App,
    /// A write of the filter or of its lease failed: when another one is tried.
    broken: Option<Instant>,
    /// The lease that was written last, and one that ends as it begins, to see if it can be.
    lease: Option<Ticket>,
    trial: Option<Ticket>,
    /// Who has this node's hardware address, and goes before it.
    clash: Option<NodeId>,
    /// Connections are cut once this node gets no new ones.
    cuts: bool,
    /// Who sent the part of tables that is being read.
    giver: Option<NodeId>,
    warm: Warm,
    announces: bool,
    told: Told,
    links: Links,
    /// Who was told to be of a later version.
    newer: NodeSet,
    /// Whose views this program cannot read, as was seen by one that it was to be a member of.
    unread: NodeSet,
    /// The view that was checked last.
    offered: Option<ViewId>,
    rejections: Rejections,
    tickets: u64,
    outbox: Outbox<group::Output>,
    outputs: VecDeque<Output>,
    due: Option<Deadline>,
}

/// Rules, and this node's weight in each.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ruling {
    rules: Vec<Rule>,
    weights: Vec<u16>,
    accord: u64,
}

/// A view that is in force here.
#[derive(Clone, Debug)]
struct Present {
    id: ViewId,
    since: Instant,
    body: Body,
    tables: Arc<Vec<Table>>,
}

/// What operators, scripts and checkers asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "orders that do not exclude each other")]
struct Asked {
    drain: bool,
    gate: bool,
    checked: bool,
    stopped: bool,
}

/// The application on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum App {
    Starting(Ticket),
    Runs,
    /// Stopped, or never started because that failed.
    Down,
}

/// How far a server that joins has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Warm {
    /// It has been in no view yet.
    Cold,
    Since(Instant),
    Done,
}

/// What the group was told last.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    facts: Bytes,
    accord: u64,
    next: u64,
    able: bool,
    wanted: bool,
}

impl Farm {
    /// A node that starts now. `boot` is a random number for this start of the process. Its first
    /// output is [`Effect::Shut`]: a filter that an earlier process left is closed before the first
    /// beat (F6).
    pub fn new(config: Config, keys: Keys, boot: Boot, now: Instant) -> Self {
        let group = Group::new(group_config(&config), boot, now);
        let mut farm = Self::with(config, keys, group, now);
        farm.effect(Effect::Shut);
        let start = farm.effect(Effect::Start);
        farm.app = App::Starting(start);
        farm
    }

    fn with(config: Config, keys: Keys, group: Group, now: Instant) -> Self {
        let (policy, accord) = (&config.policy, config.accord());
        let (rules, weights) = (policy.rules.clone(), policy.weights.clone());
        let warm = if policy.warm_up.is_zero() { Warm::Done } else { Warm::Cold };
        let configured = weights.clone();
        Self {
            keys,
            now,
            group,
            rules: Ruling { rules, weights, accord },
            configured,
            next: None,
            shelf: Shelf::default(),
            present: None,
            took: Vec::new(),
            flight: None,
            macs: BTreeMap::new(),
            introduced: None,
            facts: BTreeMap::new(),
            drains: BTreeMap::new(),
            asked: Asked { drain: false, gate: true, checked: true, stopped: false },
            app: App::Down,
            broken: None,
            lease: None,
            trial: None,
            clash: None,
            cuts: false,
            giver: None,
            warm,
            announces: false,
            told: Told { facts: Bytes::new(), accord: 0, next: 0, able: false, wanted: false },
            links: Links::new(&config.identity, &config.timing),
            newer: NodeSet::EMPTY,
            unread: NodeSet::EMPTY,
            offered: None,
            rejections: Rejections::default(),
            tickets: 0,
            outbox: Outbox::new(Group::OUTPUTS_MAX),
            outputs: VecDeque::new(),
            due: Some(Deadline { at: now, why: "begins" }),
            config,
        }
    }

    /// Takes one fact.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        let now = self.catch_up(now);
        match input {
            Input::Timeout => self.drive(now, group::Input::Tick),
            Input::Datagram { link, bytes } => self.receive(now, link, bytes),
            Input::Done { ticket, ok } => self.done(now, ticket, ok),
        }
        self.conclude(now);
    }

    /// Takes an order about this node.
    ///
    /// # Errors
    /// Why it is refused, and what to do. Nothing has changed then.
    pub fn order(&mut self, now: Instant, order: Order) -> Result<(), OrderError> {
        let now = self.catch_up(now);
        let answer = self.obey(order);
        self.conclude(now);
        answer
    }

    /// The next thing to do or to tell, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Farm::handle_input`] with [`Input::Timeout`] if nothing happens before.
    /// Now, while outputs wait.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        if self.outputs.is_empty() {
            self.due
        } else {
            Some(Deadline { at: self.now, why: "outputs wait" })
        }
    }

    /// The services in force here, in the filter's order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules.rules
    }

    /// F6: what was due long ago is a gap, whether it was the group's or this node's.
    fn catch_up(&mut self, now: Instant) -> Instant {
        let now = now.max(self.now);
        self.now = now;
        let slack = self.config.timing.slack;
        let late =
            |due: Option<Deadline>| due.map_or(Duration::ZERO, |due| now.saturating_since(due.at));
        let (mine, groups) = (late(self.due), late(self.group.deadline()));
        if groups > slack {
            // Whatever is to be told, the group first notices that it is late.
            self.drive(now, group::Input::Tick);
        } else if mine > slack {
            self.drive(now, group::Input::Gap(mine));
        }
        now
    }

    fn conclude(&mut self, now: Instant) {
        self.tend(now);
        self.tell(now);
        self.cut();
        self.announce();
        self.due = Deadline::sooner(self.group.deadline(), self.own_deadline(now));
        self.hold_together();
    }

    /// What is so after every call, whatever came.
    fn hold_together(&self) {
        let takes = self.group.stands_by().is_none();
        assert!(takes || self.took.iter().flatten().all(|taken| !taken), "F1: it would keep them");
        assert!(takes || !self.announces, "F9: a switch would send it what it drops");
        assert!(!takes || self.present.is_some(), "it would take by no table at all");
        assert!(!takes || self.broken.is_none(), "its kernel does not do what it says");
        assert!(!takes || self.clash.is_none(), "no filter could tell the two apart");
        assert!(!takes || self.later().is_none(), "the others would wait for it for ever (F2)");
        let services = self.rules.rules.len();
        assert!(self.rules.weights.len() == services, "a service would have no weight");
        let alike = self.present.as_ref().is_none_or(|it| it.body.accord == self.rules.accord);
        assert!(alike, "its tables would be read by other rules than they are of");
        let waits = self.next.as_ref().is_none_or(|next| next.accord != self.rules.accord);
        assert!(waits, "rules in force would be waited for");
        let last = self.next.as_ref().unwrap_or(&self.rules);
        assert!(self.configured.len() == last.rules.len(), "a weight would be another service's");
        assert!(self.took.is_empty() || self.took.len() == services, "a row would be another's");
        assert!(!self.cuts || !self.asked.checked, "a healthy server would cut its connections");
        let chosen = self.present.as_ref().is_some_and(|it| it.body.announcer == self.me());
        assert!(!self.announces || chosen, "F9: two would answer for an address");
        let last = self.present.as_ref().map_or(0, |present| present.id.counter);
        assert!(
            self.drains.keys().all(|&counter| counter <= last),
            "a drain of no view never ends"
        );
        let asked = self.flight.as_ref().is_none_or(|flight| flight.ticket.0 <= self.tickets);
        assert!(asked, "an answer to nothing would be waited for");
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn effect(&mut self, effect: Effect) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.outputs.push_back(Output::Effect { ticket, effect });
        ticket
    }

    fn me(&self) -> NodeId {
        self.config.identity.me
    }

    /// Why this node takes nothing; `None` while it takes.
    fn why(&self) -> Option<Why> {
        let cause = self.group.stands_by()?;
        Some(match cause {
            _ if self.asked.stopped || self.app == App::Down => Why::Stopped,
            _ if self.broken.is_some() => Why::Filter,
            // Whether it follows the views that leave it out for that or not.
            _ if self.later().is_some() => self.why_unable(),
            Cause::Boot => Why::Boot,
            Cause::Gap => Why::Gap,
            Cause::Lease => Why::Lease,
            Cause::Yields(id) => Why::Yields(id),
            Cause::LeftOut => Why::LeftOut,
            Cause::Isolated => Why::Isolated,
            Cause::Unable => self.why_unable(),
            Cause::Twice => Why::Twice,
        })
    }

    fn why_unable(&self) -> Why {
        let newer = self.later().map(Why::Newer);
        self.clash.map(Why::Mac).or(newer).unwrap_or(Why::Filter)
    }
}

fn group_config(config: &Config) -> group::Config {
    let (identity, timing) = (&config.identity, &config.timing);
    group::Config {
        me: identity.me,
        members: identity.members,
        interval: timing.interval,
        lease: timing.lease,
        slack: timing.slack,
        alone: config.policy.isolated == Isolated::All,
    }
}
