//! The clerk says, one call at a time: whole lists of outputs.

mod common;

use std::time::Duration;

use common::{CLUSTER, DATA, LEASE, LIFE, MODULE, ask, membership, node, register};
use ha_proto::{DataState, Epoch, Incarnation, Instant, Machine, Membership, Outbox, Ticket};
use ha_quorum::clerk::{Config, Input, Output, Stored};
use ha_quorum::{Answer, Ask, Clerk, Entry, Note, Outcome, Refusal, Register, Request, longer};

/// Another store, or the same one restored from a copy.
const OTHER: Incarnation = Incarnation(0x2dea);

fn clerk(me: u8) -> Clerk {
    Clerk::new(Config { cluster: CLUSTER, module: MODULE, me: node(me), lease: LEASE })
        .expect("a lease")
}

fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

fn tell(clerk: &mut Clerk, millis: u64, input: Input) -> Vec<Said> {
    let mut out = Outbox::new(Clerk::OUTPUTS_MAX);
    clerk.handle(at(millis), input, &mut out);
    std::iter::from_fn(|| out.pop().map(|output| Said::of(&output))).collect()
}

/// What it says, and of a write for which of its asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Answer(Answer),
    Read(u64),
    Write { ticket: u64, over: Option<Stored>, entry: Entry, ask: u64 },
}

impl Said {
    fn of(output: &Output) -> Self {
        match *output {
            Output::Answer(answer) => Self::Answer(answer),
            Output::Read { ticket } => Self::Read(ticket.0),
            Output::Write { ticket, over, entry, ask } => {
                Self::Write { ticket: ticket.0, over, entry, ask: ask.number }
            }
        }
    }
}

fn numbered(number: u64, ask: Ask) -> Input {
    Input::Ask(Ask { number, ..ask })
}

fn stored(revision: u64, register: Register) -> Stored {
    Stored { revision, entry: Entry::Register(register) }
}

fn holds(ticket: u64, held: impl Into<Option<Stored>>) -> Input {
    Input::Holds { ticket: Ticket(ticket), incarnation: LIFE, stored: held.into() }
}

fn written(ticket: u64, revision: u64) -> Input {
    Input::Written { ticket: Ticket(ticket), incarnation: LIFE, revision }
}

fn failed(ticket: u64) -> Input {
    Input::Failed { ticket: Ticket(ticket) }
}

fn read(ticket: u64) -> Said {
    Said::Read(ticket)
}

/// A write, and for which ask.
fn write((ticket, ask): (u64, u64), over: impl Into<Option<Stored>>, next: Register) -> Said {
    Said::Write { ticket, over: over.into(), entry: Entry::Register(next), ask }
}

/// The answer to node `to`'s ask: what came of it, and the time left.
fn answer(
    (to, number): (u8, u64),
    outcome: Outcome,
    register: Option<Register>,
    (left, grace): (u64, u64),
) -> Said {
    let asked = ask(to, Epoch::NONE, Request::Read);
    Said::Answer(Answer {
        to: asked.from,
        boot: asked.boot,
        number,
        incarnation: LIFE,
        outcome,
        register,
        left: Duration::from_millis(left),
        grace: Duration::from_millis(grace),
    })
}

fn renewed(register: Register) -> Register {
    Register { renewals: register.renewals + 1, ..register }
}

fn epoch(counter: u64, holder: u8) -> Epoch {
    Epoch::new(counter, node(holder))
}

/// A clerk of `me` that saw this register first at 0, and asked for it as number 1.
fn seen(me: u8, revision: u64, register: Register) -> Clerk {
    let mut clerk = clerk(me);
    let asked = numbered(1, ask(me, Epoch::NONE, Request::Read));
    assert_eq!(tell(&mut clerk, 0, asked), [read(1)]);
    let said = tell(&mut clerk, 0, holds(1, stored(revision, register)));
    assert_eq!(said, [answer((me, 1), Outcome::Ok, Some(register), (3003, 3003))]);
    clerk
}

#[test]
fn a_pair_begins_in_an_empty_store() {
    let mut clerk = clerk(0);
    let create = Request::Create { incarnation: LIFE, data: DATA };
    assert_eq!(tell(&mut clerk, 0, numbered(1, ask(0, Epoch::NONE, Request::Read))), [read(1)]);
    let empty = answer((0, 1), Outcome::Empty, None, (0, 0));
    assert_eq!(tell(&mut clerk, 5, holds(1, None)), [empty]);
    let first = register(1, 0, 0b1);
    let said = tell(&mut clerk, 10, numbered(2, ask(0, Epoch::NONE, create)));
    assert_eq!(said, [write((2, 2), None, first)]);
    let done = answer((0, 2), Outcome::Ok, Some(first), (3003, 3003));
    assert_eq!(tell(&mut clerk, 15, written(2, 7)), [done]);
    assert_eq!(clerk.deadline(), None, "the holder has nothing to look for");
}

#[test]
fn a_renewal_is_one_write_over_what_is_known() {
    let old = register(4, 0, 0b11);
    let mut clerk = seen(0, 7, old);
    let said = tell(&mut clerk, 1000, numbered(2, ask(0, epoch(4, 0), Request::Renew)));
    assert_eq!(said, [write((2, 2), stored(7, old), renewed(old))]);
    let done = answer((0, 2), Outcome::Ok, Some(renewed(old)), (3003, 2000));
    assert_eq!(tell(&mut clerk, 1003, written(2, 8)), [done]);
    let said = tell(&mut clerk, 2000, numbered(3, ask(0, epoch(4, 0), Request::Renew)));
    assert_eq!(said, [write((3, 3), stored(8, renewed(old)), renewed(renewed(old)))]);
}

#[test]
fn a_candidate_takes_what_it_saw_unchanged_for_a_lease() {
    let old = register(4, 0, 0b11);
    let mut clerk = seen(1, 7, old);
    let take = ask(1, epoch(4, 0), Request::Take);
    // Refused only after a look of its own.
    assert_eq!(tell(&mut clerk, 3002, numbered(2, take)), [read(2)]);
    let held = Outcome::Refused(Refusal::Grace);
    let said = tell(&mut clerk, 3002, holds(2, stored(7, old)));
    assert_eq!(said, [answer((1, 2), held, Some(old), (1, 1))]);
    let next = register(5, 1, 0b11);
    assert_eq!(tell(&mut clerk, 3003, numbered(3, take)), [write((3, 3), stored(7, old), next)]);
    let done = answer((1, 3), Outcome::Ok, Some(next), (3003, 0));
    assert_eq!(tell(&mut clerk, 3005, written(3, 8)), [done]);
}

#[test]
fn the_time_counts_from_the_answer_of_the_first_look_that_showed_it() {
    let old = register(4, 0, 0b11);
    let mut clerk = seen(1, 7, old);
    // A look that takes 50 ms: when in them the renewal was written nobody knows.
    assert_eq!(clerk.deadline().map(|next| next.at), Some(at(300)));
    assert_eq!(tell(&mut clerk, 300, Input::Tick), [read(2)]);
    assert_eq!(tell(&mut clerk, 350, holds(2, stored(8, renewed(old)))), []);
    assert_eq!(clerk.deadline().map(|next| next.at), Some(at(650)));
    let take = ask(1, epoch(4, 0), Request::Take);
    assert_eq!(tell(&mut clerk, 3352, numbered(2, take)), [read(3)]);
    let said = tell(&mut clerk, 3352, holds(3, stored(8, renewed(old))));
    let held = Outcome::Refused(Refusal::LeaseHeld);
    assert_eq!(said, [answer((1, 2), held, Some(renewed(old)), (1, 0))]);
    let said = tell(&mut clerk, 3353, numbered(3, take));
    assert_eq!(
        said,
        [write((4, 3), stored(8, renewed(old)), Register { renewals: 1, ..register(5, 1, 0b11) })]
    );
}

#[test]
fn a_write_that_comes_second_is_judged_anew() {
    let old = register(4, 0, 0b11);
    let mut clerk = seen(1, 7, old);
    let take = ask(1, epoch(4, 0), Request::Take);
    let said = tell(&mut clerk, 4000, numbered(2, take));
    assert_eq!(said, [write((2, 2), stored(7, old), register(5, 1, 0b11))]);
    // The holder renewed meanwhile.
    let said = tell(&mut clerk, 4001, holds(2, stored(8, renewed(old))));
    let held = Outcome::Refused(Refusal::LeaseHeld);
    assert_eq!(said, [answer((1, 2), held, Some(renewed(old)), (3003, 0))]);
}

#[test]
fn a_lost_answer_is_no_refusal() {
    let old = register(4, 0, 0b11);
    for (landed, twice) in [(true, false), (false, false), (true, true)] {
        let mut clerk = seen(0, 7, old);
        let next = register(5, 0, 0b1);
        let exclude = ask(0, epoch(4, 0), Request::Exclude);
        let said = tell(&mut clerk, 10, numbered(2, exclude));
        assert_eq!(said, [write((2, 2), stored(7, old), next)]);
        let done = |ends: u64| answer((0, 2), Outcome::Ok, Some(next), (3003, 3003 - ends));
        if twice {
            // The adapter tried another member, after the first had done it.
            assert_eq!(tell(&mut clerk, 20, holds(2, stored(8, next))), [done(20)]);
            continue;
        }
        assert_eq!(tell(&mut clerk, 20, failed(2)), [read(3)]);
        let held = if landed { stored(8, next) } else { stored(7, old) };
        let said = tell(&mut clerk, 30, holds(3, held));
        if landed {
            assert_eq!(said, [done(30)]);
        } else {
            assert_eq!(said, [write((4, 2), stored(7, old), next)], "again, over the same");
            // The first one was only late.
            assert_eq!(tell(&mut clerk, 40, holds(4, stored(8, next))), [done(40)]);
        }
    }
}

#[test]
fn a_renewal_whose_answer_was_lost_is_written_anew() {
    let old = register(4, 0, 0b11);
    let mut clerk = seen(0, 7, old);
    let renew = ask(0, epoch(4, 0), Request::Renew);
    let said = tell(&mut clerk, 10, numbered(2, renew));
    assert_eq!(said, [write((2, 2), stored(7, old), renewed(old))]);
    // The node asks again, with a later start of the lease: what the first one wrote is not it.
    assert_eq!(tell(&mut clerk, 15, numbered(3, renew)), []);
    assert_eq!(tell(&mut clerk, 20, failed(2)), [write((3, 3), stored(7, old), renewed(old))]);
    let said = tell(&mut clerk, 30, holds(3, stored(8, renewed(old))));
    assert_eq!(said, [write((4, 3), stored(8, renewed(old)), renewed(renewed(old)))]);
    let done = answer((0, 3), Outcome::Ok, Some(renewed(renewed(old))), (3003, 2968));
    assert_eq!(tell(&mut clerk, 35, written(4, 9)), [done]);
}

#[test]
fn a_store_that_does_not_answer_is_left_alone_until_the_node_asks_again() {
    let mut clerk = clerk(0);
    let ask = ask(0, Epoch::NONE, Request::Read);
    assert_eq!(tell(&mut clerk, 0, numbered(1, ask)), [read(1)]);
    assert_eq!(tell(&mut clerk, 1, failed(1)), []);
    assert_eq!(clerk.deadline(), None);
    assert_eq!(tell(&mut clerk, 100, numbered(2, ask)), [read(2)]);
    assert_eq!(tell(&mut clerk, 100, numbered(3, ask)), [], "one effect at a time");
    assert_eq!(tell(&mut clerk, 100, numbered(4, ask)), []);
    assert_eq!(tell(&mut clerk, 101, failed(2)), [read(3)], "for the newest");
    let said = tell(&mut clerk, 102, holds(3, None));
    assert_eq!(said, [answer((0, 4), Outcome::Empty, None, (0, 0))]);
    assert_eq!(tell(&mut clerk, 103, holds(2, stored(7, register(4, 0, 0b11)))), [], "late");
}

#[test]
fn what_was_looked_at_before_an_ask_does_not_refuse_it() {
    let old = register(4, 0, 0b11);
    let mut clerk = seen(1, 7, old);
    assert_eq!(tell(&mut clerk, 300, Input::Tick), [read(2)]);
    let asked = numbered(2, ask(1, epoch(3, 0), Request::Take));
    assert_eq!(tell(&mut clerk, 301, asked), []);
    assert_eq!(tell(&mut clerk, 302, holds(2, stored(7, old))), [read(3)]);
    let said = tell(&mut clerk, 303, holds(3, stored(7, old)));
    let other = Outcome::Refused(Refusal::Epoch);
    assert_eq!(said, [answer((1, 2), other, Some(old), (2700, 2700))]);
}

/// What node `id` asks of a new store.
fn adopt(id: u8, membership: Membership) -> Ask {
    let request = Request::Adopt { incarnation: LIFE, membership, state: DataState::Complete };
    ask(id, membership.epoch, request)
}

fn note(id: u8, membership: Membership) -> Entry {
    Entry::Note(Note {
        cluster: CLUSTER,
        module: MODULE,
        from: node(id),
        lease: LEASE,
        incarnation: LIFE,
        membership,
        state: DataState::Complete,
    })
}

#[test]
fn one_adopt_waits_in_the_store_for_the_other() {
    let mut first = clerk(1);
    let saved = membership(4, 0, 0b11);
    let adopts = numbered(1, adopt(1, saved));
    assert_eq!(tell(&mut first, 0, adopts), [read(1)]);
    let noted = Said::Write { ticket: 2, over: None, entry: note(1, saved), ask: 1 };
    assert_eq!(tell(&mut first, 0, holds(1, None)), [noted]);
    let waits = Outcome::Refused(Refusal::Waiting);
    assert_eq!(tell(&mut first, 0, written(2, 3)), [answer((1, 1), waits, None, (0, 0))]);
    // Asked again, it waits on.
    let adopts = numbered(2, adopt(1, saved));
    assert_eq!(tell(&mut first, 1000, adopts), [read(3)]);
    let held = Stored { revision: 3, entry: note(1, saved) };
    let said = tell(&mut first, 1000, holds(3, held));
    assert_eq!(said, [answer((1, 2), waits, None, (0, 0))]);

    let mut second = clerk(0);
    assert_eq!(tell(&mut second, 0, numbered(1, adopt(0, saved))), [read(1)]);
    let both = register(6, 0, 0b11);
    assert_eq!(tell(&mut second, 0, holds(1, held)), [write((2, 1), held, both)]);
    let done = answer((0, 1), Outcome::Ok, Some(both), (3003, 3003));
    assert_eq!(tell(&mut second, 0, written(2, 4)), [done]);
}

#[test]
fn a_node_that_was_excluded_cannot_have_itself_adopted() {
    // Node 0 may run alone since an epoch that node 1 never heard of.
    let (stale, newer) = (membership(4, 0, 0b11), membership(5, 0, 0b1));
    let mut clerk = clerk(0);
    assert_eq!(tell(&mut clerk, 0, numbered(1, adopt(0, newer))), [read(1)]);
    let held = Stored { revision: 3, entry: note(1, stale) };
    let said = tell(&mut clerk, 0, holds(1, held));
    assert_eq!(said, [write((2, 1), held, register(7, 0, 0b1))]);
}

#[test]
fn what_another_life_of_the_store_left_counts_as_nothing() {
    let restored = Register { incarnation: OTHER, ..register(9, 1, 0b11) };
    let mut clerk = clerk(0);
    let saved = membership(4, 0, 0b1);
    assert_eq!(tell(&mut clerk, 0, numbered(1, ask(0, Epoch::NONE, Request::Read))), [read(1)]);
    let said = tell(&mut clerk, 0, holds(1, stored(3, restored)));
    assert_eq!(said, [answer((0, 1), Outcome::Empty, None, (0, 0))]);
    let said = tell(&mut clerk, 1, numbered(2, adopt(0, saved)));
    assert_eq!(said, [write((2, 2), stored(3, restored), register(6, 0, 0b1))]);
}

#[test]
fn a_write_that_landed_in_another_store_is_not_counted() {
    let old = register(4, 0, 0b11);
    let mut clerk = seen(0, 7, old);
    let renew = numbered(2, ask(0, epoch(4, 0), Request::Renew));
    assert_eq!(tell(&mut clerk, 1, renew), [write((2, 2), stored(7, old), renewed(old))]);
    let elsewhere = Input::Written { ticket: Ticket(2), incarnation: OTHER, revision: 8 };
    let Said::Answer(empty) = answer((0, 2), Outcome::Empty, None, (0, 0)) else { unreachable!() };
    let empty = Said::Answer(Answer { incarnation: OTHER, ..empty });
    assert_eq!(tell(&mut clerk, 2, elsewhere), [empty]);
}

#[test]
fn a_give_waits_until_no_adoption_can_be_young() {
    let old = register(4, 0, 0b11);
    let mut clerk = seen(0, 7, old);
    let give = ask(0, epoch(4, 0), Request::Give { to: node(1) });
    assert_eq!(tell(&mut clerk, 3002, numbered(2, give)), [read(2)]);
    let said = tell(&mut clerk, 3002, holds(2, stored(7, old)));
    let young = Outcome::Refused(Refusal::Grace);
    assert_eq!(said, [answer((0, 2), young, Some(old), (1, 1))]);
    let said = tell(&mut clerk, 3003, numbered(3, give));
    assert_eq!(said, [write((3, 3), stored(7, old), register(5, 1, 0b11))]);
}

#[test]
fn a_clerk_sees_its_own_writes_from_their_answers_on() {
    let old = register(4, 0, 0b11);
    let mut clerk = seen(0, 7, old);
    let give = numbered(2, ask(0, epoch(4, 0), Request::Give { to: node(1) }));
    let next = register(5, 1, 0b11);
    assert_eq!(tell(&mut clerk, 4000, give), [write((2, 2), stored(7, old), next)]);
    let done = answer((0, 2), Outcome::Ok, Some(next), (3003, 0));
    assert_eq!(tell(&mut clerk, 4100, written(2, 8)), [done]);
    assert_eq!(clerk.deadline().map(|next| next.at), Some(at(4400)), "it looks after the other");
    let again = ask(0, epoch(5, 1), Request::Take);
    assert_eq!(tell(&mut clerk, 7102, numbered(3, again)), [read(3)]);
    tell(&mut clerk, 7102, holds(3, stored(8, next)));
    let said = tell(&mut clerk, 7103, numbered(4, again));
    assert_eq!(said, [write((4, 4), stored(8, next), register(6, 0, 0b11))]);
}

#[test]
fn a_lease_out_of_range_is_refused() {
    let config = Config { cluster: CLUSTER, module: MODULE, me: node(0), lease: Duration::ZERO };
    assert_eq!(Clerk::new(config), Err(ha_quorum::clerk::ConfigError::Lease));
    assert_eq!(clerk(0).poll() * 10, LEASE);
    assert_eq!(longer(LEASE), Duration::from_millis(3003));
}
