//! The clerk: a pair's witness where a plain compare-and-set store keeps the register.

use core::time::Duration;

use ha_proto::{
    ClusterId, Deadline, Incarnation, Instant, Machine, ModuleId, NodeId, Outbox, Ticket, Timer,
};
use thiserror::Error;

use crate::apply::{Facts, adopt, apply};
use crate::entry::{Entry, Note};
use crate::lease::longer;
use crate::register::{Register, is_lease};
use crate::request::{Answer, Ask, Outcome, Refusal, Request};

/// Answers the asks of one node as an [`Arbiter`](crate::Arbiter) would, from a store that can do
/// no more than read and compare-and-set (`CONTRACT.md` "Order", last paragraph). Each node of the
/// pair has a clerk of its own, in its own process; the store is all that they share.
///
/// - *The table* is the same ([`apply`](crate::apply())): the clerk judges by what the store held
///   when it looked last, and writes only over exactly that. So a change is what the table makes of
///   the register that it replaces, however late it lands, and once.
/// - *Time.* The store times nothing. A Renew is a write of its own (`renewals` rises), so whoever
///   sees a register unchanged knows of every lease: all were written before it was seen first, and
///   asked for before that. Another than the holder Takes when it has seen the register unchanged
///   for L(1+ρ), counted from when the *answer* of the first look came, not from its sending: what
///   it shows may have been written in between. A clerk that has just started has seen nothing.
/// - *Looks.* While another node holds, the clerk looks ten times in a lease, so that the time
///   during which it sees the register unchanged begins soon after the last change.
/// - *Unknown outcomes.* A write that nobody answered may have landed, or land later. It is never
///   taken for a refusal: the clerk looks again. If it finds what this ask would have written, the
///   ask is done, except a Renew: an earlier one of the same node writes the same bytes, and a
///   lease that counts from the later ask would outlive what others saw. It is written anew.
/// - *R12* needs no memory of boots here: an ask is a call inside of the process, so nobody can say
///   it again, and an earlier boot's write is void as soon as this boot has Taken.
/// - *R9.* The store forgets nothing when it restarts, so there is no grace for that. After it was
///   replaced, or when this clerk sees a register for the first time, no holder changes for L(1+ρ).
/// - *Lives.* The store's identity is the incarnation. An entry of another life (a store restored
///   from a copy) counts as none. An Adopt that needs the other node's is written down as a
///   [`Note`]: were the first one enough, a node that had been excluded could adopt itself a set
///   with itself in it.
///
/// One effect is under way at a time. Of asks that wait the newest counts: their sender asks again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clerk {
    config: Config,
    place: Option<Place>,
    work: Option<Work>,
    next: Option<Ask>,
    ticket: Ticket,
    look: Timer,
}

/// Whose clerk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The cluster of the pair.
    pub cluster: ClusterId,
    /// The pair.
    pub module: ModuleId,
    /// The node that asks.
    pub me: NodeId,
    /// The lease that it is configured with, [`LEASE_MIN`](crate::LEASE_MIN) to
    /// [`LEASE_MAX`](crate::LEASE_MAX).
    pub lease: Duration,
}

/// Why there can be no such clerk. Nothing was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The lease is not between [`LEASE_MIN`](crate::LEASE_MIN) and
    /// [`LEASE_MAX`](crate::LEASE_MAX).
    #[error("the lease is out of range")]
    Lease,
}

/// What is under the pair's key, and which write put it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The store's number of that write: no other write of this key has it.
    pub revision: u64,
    /// What it wrote.
    pub entry: Entry,
}

/// A fact for the clerk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time passed.
    Tick,
    /// The node asks.
    Ask(Ask),
    /// An effect has ended with what the store holds: a Read, or a Write that found something else
    /// than it was to replace and changed nothing. Read since the effect was asked for, and not
    /// from a copy that may be behind.
    Holds {
        /// Of which effect.
        ticket: Ticket,
        /// The store's identity; not zero.
        incarnation: Incarnation,
        /// What is there; `None` when there is nothing.
        stored: Option<Stored>,
    },
    /// A Write is durable.
    Written {
        /// Of which effect.
        ticket: Ticket,
        /// The store's identity; not zero.
        incarnation: Incarnation,
        /// Its number.
        revision: u64,
    },
    /// An effect ended and nobody knows how: a Write may have happened, may yet, or never will.
    Failed {
        /// Of which effect.
        ticket: Ticket,
    },
}

/// What the clerk says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Tell the node.
    Answer(Answer),
    /// Read the key, and say what it holds.
    Read {
        /// To name it by.
        ticket: Ticket,
    },
    /// Put `entry` under the key if exactly `over` is there now, at that revision; `None`: if
    /// nothing is.
    Write {
        /// To name it by.
        ticket: Ticket,
        /// What must be there.
        over: Option<Stored>,
        /// What is to be there.
        entry: Entry,
        /// The ask that makes it of that: for the log.
        ask: Ask,
    },
}

impl Clerk {
    /// A clerk that has not looked yet.
    ///
    /// # Errors
    /// When the lease is out of range.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        if !is_lease(config.lease) {
            return Err(ConfigError::Lease);
        }
        let (ticket, look) = (Ticket(0), Timer::IDLE);
        Ok(Self { config, place: None, work: None, next: None, ticket, look })
    }

    /// How often it looks while another node holds: ten times in a lease. A takeover waits as long
    /// in addition (G3).
    pub fn poll(&self) -> Duration {
        self.config.lease / LOOKS
    }

    fn asked(&mut self, now: Instant, ask: Ask, out: &mut Outbox<Output>) {
        assert!(ask.from == self.config.me, "another node's asks come with its own clerk's time");
        if self.work.is_some() {
            self.next = Some(ask);
        } else {
            self.serve(now, Serving::new(ask), Sight::Old, out);
        }
    }

    /// Does what `serving` needs next. What the store holds may be answered only if it was looked
    /// at for this ask.
    fn serve(
        &mut self,
        now: Instant,
        mut serving: Serving,
        sight: Sight,
        out: &mut Outbox<Output>,
    ) {
        assert!(self.work.is_none(), "two effects in flight could land in either order");
        let Some(place) = self.place else { return self.read(Some(serving), out) };
        match (self.judge(now, &place, &serving.ask), sight) {
            (Step::Write(entry), _) if serving.writes < WRITES_MAX => {
                serving.writes += 1;
                self.ticket = Ticket(self.ticket.0 + 1);
                let (ticket, writes) = (self.ticket, Some(Writing { entry, over: place }));
                self.work = Some(Work { ticket, writes, serving: Some(serving) });
                let (over, ask) = (place.stored, serving.ask);
                out.push(Output::Write { ticket, over, entry, ask });
            }
            // Somebody else is always first: the node asks again.
            (Step::Write(_), _) => {}
            (Step::Say(outcome), Sight::Fresh) => {
                out.push(self.answer(now, &serving.ask, outcome));
            }
            (Step::Say(_), Sight::Old) => self.read(Some(serving), out),
        }
    }

    fn read(&mut self, serving: Option<Serving>, out: &mut Outbox<Output>) {
        self.ticket = Ticket(self.ticket.0 + 1);
        self.work = Some(Work { ticket: self.ticket, writes: None, serving });
        out.push(Output::Read { ticket: self.ticket });
    }

    fn judge(&self, now: Instant, place: &Place, ask: &Ask) -> Step {
        let register = place.register();
        let facts = Facts {
            cluster: self.config.cluster,
            module: self.config.module,
            incarnation: place.incarnation,
            lease_over: place.lease_end().is_none_or(|end| end <= now),
            grace_over: place.grace_end().is_none_or(|end| end <= now),
        };
        let next = match (register, ask.request) {
            (None, Request::Adopt { .. }) => adopt(ask, place.other(ask.from).as_ref(), &facts),
            (
                _,
                Request::Read
                | Request::Create { .. }
                | Request::Renew
                | Request::Take
                | Request::Exclude
                | Request::Admit { .. }
                | Request::Give { .. }
                | Request::Adopt { .. }
                | Request::Force { .. },
            ) => apply(register.as_ref(), ask, &facts),
        };
        match next {
            Ok(next) if register != Some(next) => Step::Write(Entry::Register(next)),
            Ok(_) => Step::Say(Outcome::Ok),
            Err(Refusal::Empty) => Step::Say(Outcome::Empty),
            Err(Refusal::Waiting) => {
                let note = Note::of(ask, self.config.cluster, self.config.module);
                let entry = Entry::Note(note.expect("only an Adopt waits for another"));
                let noted = place.stored.is_some_and(|stored| stored.entry == entry);
                let waits = Outcome::Refused(Refusal::Waiting);
                if noted { Step::Say(waits) } else { Step::Write(entry) }
            }
            Err(refusal) => Step::Say(Outcome::Refused(refusal)),
        }
    }

    /// Takes the effect that `ticket` names; `None` when it is not under way.
    fn ended(&mut self, ticket: Ticket) -> Option<Work> {
        self.work.take_if(|work| work.ticket == ticket)
    }

    fn holds(
        &mut self,
        now: Instant,
        ticket: Ticket,
        (incarnation, stored): (Incarnation, Option<Stored>),
        out: &mut Outbox<Output>,
    ) {
        let Some(work) = self.ended(ticket) else { return };
        self.see(now, incarnation, stored);
        let Some(mut serving) = work.serving else { return };
        if let Some(writing) = work.writes {
            serving.wrote = Some(writing.entry);
        }
        let found = self.place.and_then(|place| place.entry());
        match serving.wrote.filter(|wrote| found == Some(*wrote)) {
            // Its own write landed, and the answer was lost; or it was done twice on the way.
            Some(wrote) if serving.ask.request != Request::Renew => {
                out.push(self.answer(now, &serving.ask, outcome_of(&wrote)));
            }
            Some(_) | None if self.next.is_none() => {
                self.serve(now, serving, Sight::Fresh, out);
            }
            Some(_) | None => {}
        }
    }

    fn written(
        &mut self,
        now: Instant,
        ticket: Ticket,
        (incarnation, revision): (Incarnation, u64),
        out: &mut Outbox<Output>,
    ) {
        let Some(work) = self.ended(ticket) else { return };
        let Some((writing, mut serving)) = work.writes.zip(work.serving) else {
            unreachable!("a Read is not written, and nothing is written unasked");
        };
        let entry = writing.entry;
        self.see(now, incarnation, Some(Stored { revision, entry }));
        if incarnation == writing.over.incarnation {
            out.push(self.answer(now, &serving.ask, outcome_of(&entry)));
        } else if self.next.is_none() {
            // It landed in another store than it was meant for, as an entry that counts for
            // nothing.
            serving.wrote = None;
            self.serve(now, serving, Sight::Fresh, out);
        }
    }

    fn failed(&mut self, ticket: Ticket, out: &mut Outbox<Output>) {
        let Some(work) = self.ended(ticket) else { return };
        // A store that cannot be read either is left alone until the node asks again.
        if let (Some(writing), Some(mut serving), None) = (work.writes, work.serving, self.next) {
            serving.wrote = Some(writing.entry);
            self.read(Some(serving), out);
        }
    }

    /// The store held this at some time up to `now`, so it has been there since `now` at the
    /// latest: earlier is not certain.
    fn see(&mut self, now: Instant, incarnation: Incarnation, stored: Option<Stored>) {
        assert!(incarnation != Incarnation::default(), "zero is a store that nobody knows");
        let last = self.place.filter(|place| place.incarnation == incarnation);
        if last.is_some_and(|last| last.stored == stored) {
            return;
        }
        let mut place = Place { incarnation, stored, since: now, first: None };
        if place.register().is_some() {
            place.first = last.and_then(|last| last.first).or(Some(now));
        }
        self.place = Some(place);
    }

    fn answer(&self, now: Instant, ask: &Ask, outcome: Outcome) -> Output {
        let place = self.place.expect("an answer tells what was seen");
        let register = place.register();
        assert!(
            outcome != Outcome::Ok || register.is_some(),
            "a node would take a vote without an epoch"
        );
        let left =
            |end: Option<Instant>| end.map_or(Duration::ZERO, |end| end.saturating_since(now));
        Output::Answer(Answer {
            to: ask.from,
            boot: ask.boot,
            number: ask.number,
            incarnation: place.incarnation,
            outcome,
            register,
            left: left(place.lease_end().max(place.grace_end())),
            grace: left(place.grace_end()),
        })
    }

    /// Goes on with the ask that waits, or sees to the next look, when nothing is under way.
    fn rest(&mut self, now: Instant, out: &mut Outbox<Output>) {
        if self.work.is_some() {
            return self.look.disarm();
        }
        if let Some(ask) = self.next.take() {
            return self.serve(now, Serving::new(ask), Sight::Old, out);
        }
        let register = self.place.and_then(|place| place.register());
        if register.is_none_or(|register| register.membership.holder == self.config.me) {
            self.look.disarm();
        } else if self.look.at().is_none() {
            self.look.arm(now + self.poll());
        }
    }
}

impl Machine for Clerk {
    type Input = Input;
    type Output = Output;
    /// An answer, and what the next ask needs.
    const OUTPUTS_MAX: usize = 2;

    fn handle(&mut self, now: Instant, input: Input, out: &mut Outbox<Output>) {
        match input {
            Input::Tick => {}
            Input::Ask(ask) => self.asked(now, ask, out),
            Input::Holds { ticket, incarnation, stored } => {
                self.holds(now, ticket, (incarnation, stored), out);
            }
            Input::Written { ticket, incarnation, revision } => {
                self.written(now, ticket, (incarnation, revision), out);
            }
            Input::Failed { ticket } => self.failed(ticket, out),
        }
        if self.look.expire(now) && self.work.is_none() {
            self.read(None, out);
        }
        self.rest(now, out);
    }

    fn deadline(&self) -> Option<Deadline> {
        self.look.deadline("look at the register")
    }
}

/// What the store held when it was looked at last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    incarnation: Incarnation,
    stored: Option<Stored>,
    /// When this was certainly there: at the answer of the first look that showed it.
    since: Instant,
    /// When a register of this life was seen first, if one is there.
    first: Option<Instant>,
}

impl Place {
    fn entry(&self) -> Option<Entry> {
        let entry = self.stored.map(|stored| stored.entry);
        entry.filter(|entry| entry.incarnation() == self.incarnation)
    }

    fn register(&self) -> Option<Register> {
        match self.entry()? {
            Entry::Register(register) => Some(register),
            Entry::Note(_) => None,
        }
    }

    /// The Adopt of another node that waits here.
    fn other(&self, me: NodeId) -> Option<Ask> {
        match self.entry()? {
            Entry::Note(note) if note.from != me => Some(note.ask()),
            Entry::Note(_) | Entry::Register(_) => None,
        }
    }

    /// When every lease that was given with this register, or before it, is over.
    fn lease_end(&self) -> Option<Instant> {
        self.register().map(|register| self.since + longer(register.lease))
    }

    /// When it is certain that no register was adopted within a lease.
    fn grace_end(&self) -> Option<Instant> {
        let register = self.register()?;
        self.first.map(|first| first + longer(register.lease))
    }
}

/// An effect under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Work {
    ticket: Ticket,
    /// What is being written; `None` for a Read.
    writes: Option<Writing>,
    /// For which ask; `None` for a look.
    serving: Option<Serving>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Writing {
    entry: Entry,
    /// What it was judged by.
    over: Place,
}

/// An ask, and what was tried for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Serving {
    ask: Ask,
    writes: u8,
    /// What may have been written for it.
    wrote: Option<Entry>,
}

impl Serving {
    const fn new(ask: Ask) -> Self {
        Self { ask, writes: 0, wrote: None }
    }
}

/// Whether what is known of the store was looked at for the ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    Fresh,
    Old,
}

/// What an ask needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Write(Entry),
    Say(Outcome),
}

/// What is answered once `entry` is written.
const fn outcome_of(entry: &Entry) -> Outcome {
    match entry {
        Entry::Register(_) => Outcome::Ok,
        Entry::Note(_) => Outcome::Refused(Refusal::Waiting),
    }
}

/// Looks in a lease, while another node holds. More would bring a takeover closer to the lease, by
/// less than a tenth of it, and cost a round trip each.
const LOOKS: u32 = 10;

/// Writes for one ask. Only the other node changes the register, a few times in a lease, so a
/// second try is the last one that ever needs to follow.
const WRITES_MAX: u8 = 4;
