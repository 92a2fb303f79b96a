//! The arbiter: a witness that keeps registers and times leases.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use ha_proto::{
    ClusterId, Deadline, Incarnation, Instant, Machine, ModuleId, NodeId, Outbox, Ticket,
};
use thiserror::Error;

use crate::apply::{Facts, adopt, adoptable, apply};
use crate::boots::Boots;
use crate::lease::longer;
use crate::register::Register;
use crate::request::{Answer, Ask, Outcome, Refusal, Request};

/// The witness's own side: many registers, each of one pair; leases in memory only.
///
/// After a boot it changes no holder for L(1+ρ) (R9). A change is answered only when it is stored;
/// until then the register's other asks are dropped, and their senders ask again. When storing
/// failed, the disk may have either value: the old one is stored again, at the next ask, before
/// anything else is answered from it, or a renewal could be granted that a restart would forget.
///
/// A lease is renewed only for the boot that got its epoch here, in this life of the process; any
/// other boot Takes first (R12, [`Refusal::Boot`]). So a datagram that somebody plays back has no
/// effect: of a known boot its number is old, and of another one only a change can pass, by
/// compare-and-set, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arbiter {
    incarnation: Incarnation,
    booted: Instant,
    pairs: BTreeMap<Place, Pair>,
    ticket: Ticket,
}

/// A fact for the arbiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time passed. The arbiter has no deadline and needs none.
    Tick,
    /// An authenticated ask arrived.
    Ask {
        /// The cluster in its header.
        cluster: ClusterId,
        /// The module in its header.
        module: ModuleId,
        /// The ask.
        ask: Ask,
    },
    /// A register is durable.
    Stored {
        /// Of which [`Output::Store`].
        ticket: Ticket,
    },
    /// A register could not be stored; the disk has its old or its new value.
    StoreFailed {
        /// Of which [`Output::Store`].
        ticket: Ticket,
    },
}

/// What the arbiter says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this to `answer.to`.
    Answer {
        /// For the header.
        cluster: ClusterId,
        /// For the header.
        module: ModuleId,
        /// The body.
        answer: Answer,
    },
    /// Make this register durable in place of the pair's former one, then say so.
    Store {
        /// To name it by.
        ticket: Ticket,
        /// What to store.
        register: Register,
    },
    /// Something worth telling.
    Event(Event),
}

/// What an operator of the arbiter may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A register changed, durably, as `by` asked.
    Changed {
        /// The register now.
        register: Register,
        /// Who asked.
        by: NodeId,
        /// What was asked.
        request: Request,
    },
    /// A register could not be stored: the witness does not vote for this pair until it can.
    StoreFailed {
        /// Whose register.
        cluster: ClusterId,
        /// Which pair.
        module: ModuleId,
    },
    /// An ask was said before, or came behind a later one: it is not answered. Said each time:
    /// only the driver knows who sent it.
    Replayed {
        /// The cluster in its header.
        cluster: ClusterId,
        /// The module in its header.
        module: ModuleId,
        /// Whose ask it was, once.
        by: NodeId,
    },
}

/// Why stored registers are not those of this arbiter. Nothing was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ArbiterError {
    /// More than [`Arbiter::REGISTERS_MAX`].
    #[error("more registers than an arbiter keeps")]
    Full,
    /// Two registers of one pair.
    #[error("two registers of one pair")]
    Twice,
    /// A register that another life of the witness wrote.
    #[error("a register of another life of the witness")]
    Foreign,
    /// The incarnation is zero, which means unknown.
    #[error("the incarnation is zero")]
    Unknown,
}

impl Arbiter {
    /// How many pairs are kept: at a few hundred bytes each they fit in a megabyte, and a stranger
    /// with the key cannot fill the memory.
    pub const REGISTERS_MAX: usize = 1024;

    /// The arbiter that boots at `now`, with everything that its earlier boots stored.
    ///
    /// `incarnation` is random, made with its storage. A lost storage is a new incarnation.
    ///
    /// # Errors
    /// When `registers` are not what one arbiter of this incarnation stored.
    pub fn new(
        now: Instant,
        incarnation: Incarnation,
        registers: impl IntoIterator<Item = Register>,
    ) -> Result<Self, ArbiterError> {
        if incarnation == Incarnation::default() {
            return Err(ArbiterError::Unknown);
        }
        let mut pairs = BTreeMap::new();
        for register in registers {
            if register.incarnation != incarnation {
                return Err(ArbiterError::Foreign);
            }
            if pairs.len() == Self::REGISTERS_MAX {
                return Err(ArbiterError::Full);
            }
            let pair = Pair::stored(register, now);
            if pairs.insert(Place(register.cluster, register.module), pair).is_some() {
                return Err(ArbiterError::Twice);
            }
        }
        Ok(Self { incarnation, booted: now, pairs, ticket: Ticket(0) })
    }

    /// Which life of the witness this is.
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Every durable register, in the order of clusters and modules.
    pub fn registers(&self) -> impl Iterator<Item = &Register> {
        self.pairs.values().filter_map(|pair| pair.register.as_ref())
    }

    fn ask(&mut self, now: Instant, at: Place, ask: &Ask, out: &mut Outbox<Output>) {
        let full = self.pairs.len() == Self::REGISTERS_MAX;
        if full && !self.pairs.contains_key(&at) {
            let answer = self.answer(now, &Pair::default(), ask, Outcome::Refused(Refusal::Full));
            out.push(Output::Answer { cluster: at.0, module: at.1, answer });
            return;
        }
        let mut pair = self.pairs.remove(&at).unwrap_or_default();
        if !pair.hear(ask) {
            let (cluster, module, by) = (at.0, at.1, ask.from);
            out.push(Output::Event(Event::Replayed { cluster, module, by }));
        } else if pair.storing.is_none() {
            self.decide(now, at, &mut pair, ask, out);
        }
        if pair != Pair::default() {
            self.pairs.insert(at, pair);
        }
        assert!(
            self.pairs.len() <= Self::REGISTERS_MAX,
            "a witness without a bound would fill the memory"
        );
    }

    fn decide(
        &mut self,
        now: Instant,
        at: Place,
        pair: &mut Pair,
        ask: &Ask,
        out: &mut Outbox<Output>,
    ) {
        if let (true, Some(register)) = (pair.torn, pair.register) {
            out.push(self.store(pair, register, None));
            return;
        }
        let outcome = match pair.judge(ask, &self.facts(now, at, pair)) {
            Ok(_) if ask.request == Request::Renew && !pair.boots.knows(ask) => {
                Outcome::Refused(Refusal::Boot)
            }
            Ok(next) if ask.request == Request::Renew => {
                assert!(
                    next.membership.holder == ask.from,
                    "a lease for another than the holder would let two serve"
                );
                pair.lease_end = pair.lease_end.max(Some(now + longer(next.lease)));
                Outcome::Ok
            }
            Ok(next) if pair.register != Some(next) => {
                out.push(self.store(pair, next, Some(*ask)));
                return;
            }
            Ok(_) => Outcome::Ok,
            Err(Refusal::Empty) => Outcome::Empty,
            Err(refusal) => Outcome::Refused(refusal),
        };
        let answer = self.answer(now, pair, ask, outcome);
        out.push(Output::Answer { cluster: at.0, module: at.1, answer });
    }

    fn store(&mut self, pair: &mut Pair, register: Register, ask: Option<Ask>) -> Output {
        self.ticket = Ticket(self.ticket.0 + 1);
        let ticket = self.ticket;
        assert!(register.incarnation == self.incarnation, "the next boot would not take it");
        assert!(pair.storing.is_none(), "two stores in flight could land in either order");
        pair.storing = Some(Storing { ticket, register, ask });
        Output::Store { ticket, register }
    }

    fn stored(&mut self, now: Instant, ticket: Ticket, out: &mut Outbox<Output>) {
        let Some((at, mut pair, storing)) = self.landed(ticket) else { return };
        let fell = |old: Register| old.membership.epoch > storing.register.membership.epoch;
        assert!(!pair.register.is_some_and(fell), "an epoch that falls would be held twice");
        pair.register = Some(storing.register);
        pair.torn = false;
        if let Some(ask) = storing.ask {
            pair.changed(now, self.booted, &ask);
            let answer = self.answer(now, &pair, &ask, Outcome::Ok);
            out.push(Output::Answer { cluster: at.0, module: at.1, answer });
            let (register, by, request) = (storing.register, ask.from, ask.request);
            out.push(Output::Event(Event::Changed { register, by, request }));
        }
        self.pairs.insert(at, pair);
    }

    fn store_failed(&mut self, ticket: Ticket, out: &mut Outbox<Output>) {
        let Some((at, mut pair, _)) = self.landed(ticket) else { return };
        pair.torn = pair.register.is_some();
        if pair != Pair::default() {
            self.pairs.insert(at, pair);
        }
        out.push(Output::Event(Event::StoreFailed { cluster: at.0, module: at.1 }));
    }

    /// Takes out the pair whose store `ticket` names; `None` when nothing waits for it.
    fn landed(&mut self, ticket: Ticket) -> Option<(Place, Pair, Storing)> {
        let waits = |pair: &Pair| pair.storing.is_some_and(|storing| storing.ticket == ticket);
        let at = *self.pairs.iter().find(|(_, pair)| waits(pair))?.0;
        let mut pair = self.pairs.remove(&at)?;
        let storing = pair.storing.take()?;
        Some((at, pair, storing))
    }

    fn facts(&self, now: Instant, at: Place, pair: &Pair) -> Facts {
        Facts {
            cluster: at.0,
            module: at.1,
            incarnation: self.incarnation,
            lease_over: pair.lease_end.is_none_or(|end| end <= now),
            grace_over: pair.grace_end.is_none_or(|end| end <= now),
        }
    }

    fn answer(&self, now: Instant, pair: &Pair, ask: &Ask, outcome: Outcome) -> Answer {
        assert!(
            outcome != Outcome::Ok || pair.register.is_some(),
            "a node would take a vote without an epoch"
        );
        assert!(pair.storing.is_none(), "an answer would tell of what may never be stored");
        let end = pair.lease_end.max(pair.grace_end);
        Answer {
            to: ask.from,
            boot: ask.boot,
            number: ask.number,
            incarnation: self.incarnation,
            outcome,
            register: pair.register,
            left: end.map_or(Duration::ZERO, |end| end.saturating_since(now)),
            grace: pair.grace_end.map_or(Duration::ZERO, |end| end.saturating_since(now)),
        }
    }
}

impl Machine for Arbiter {
    type Input = Input;
    type Output = Output;
    /// An answer, and the change that it tells of.
    const OUTPUTS_MAX: usize = 2;

    fn handle(&mut self, now: Instant, input: Input, out: &mut Outbox<Output>) {
        match input {
            Input::Tick => {}
            Input::Ask { cluster, module, ask } => self.ask(now, Place(cluster, module), &ask, out),
            Input::Stored { ticket } => self.stored(now, ticket, out),
            Input::StoreFailed { ticket } => self.store_failed(ticket, out),
        }
    }

    /// None: leases are compared with the clock when somebody asks.
    fn deadline(&self) -> Option<Deadline> {
        None
    }
}

/// Whose register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place(ClusterId, ModuleId);

/// What is known of one pair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Pair {
    /// As it is durable; `None` while there is none.
    register: Option<Register>,
    lease_end: Option<Instant>,
    grace_end: Option<Instant>,
    storing: Option<Storing>,
    /// The disk may have another register than this.
    torn: bool,
    /// The Adopts in hand, of different nodes, newest last.
    adopts: Vec<Ask>,
    boots: Boots,
}

/// A register on its way to the disk, and the ask to answer then; `None` for a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Storing {
    ticket: Ticket,
    register: Register,
    ask: Option<Ask>,
}

impl Pair {
    fn stored(register: Register, booted: Instant) -> Self {
        let grace_end = Some(booted + longer(register.lease));
        Self { register: Some(register), grace_end, ..Self::default() }
    }

    /// Whether `ask` may be news; also an Adopt in hand is not replaced by an older one.
    fn hear(&mut self, ask: &Ask) -> bool {
        let mut adopts = self.adopts.iter().filter(|adopt| adopt.from == ask.from);
        let late = adopts.any(|adopt| adopt.boot == ask.boot && ask.number <= adopt.number);
        self.boots.hear(ask) && !late
    }

    fn judge(&mut self, ask: &Ask, facts: &Facts) -> Result<Register, Refusal> {
        let adopts = matches!(ask.request, Request::Adopt { .. });
        if self.register.is_some() || !adopts {
            return apply(self.register.as_ref(), ask, facts);
        }
        self.adopts.retain(|older| older.from != ask.from);
        adoptable(ask, facts)?;
        let other = self.adopts.last().copied();
        self.adopts.push(*ask);
        if self.adopts.len() > ADOPTS_MAX {
            self.adopts.remove(0);
        }
        assert!(self.adopts.len() <= ADOPTS_MAX, "adopts without a bound would fill the memory");
        adopt(ask, other.as_ref(), facts)
    }

    /// The register that `ask` made is durable: what follows for lease, grace and boots.
    fn changed(&mut self, now: Instant, booted: Instant, ask: &Ask) {
        self.adopts.clear();
        self.boots.accept(ask);
        match ask.request {
            Request::Create { .. } => self.grace_end = Some(booted + longer(ask.lease)),
            Request::Adopt { .. } => self.grace_end = Some(now + longer(ask.lease)),
            Request::Give { .. } => self.lease_end = None,
            Request::Read
            | Request::Renew
            | Request::Take
            | Request::Exclude
            | Request::Admit { .. }
            | Request::Force { .. } => {}
        }
    }
}

/// The Adopts kept of one pair: one of each node.
const ADOPTS_MAX: usize = 2;
