//! The arbiter, call by call.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{CLUSTER, DATA, LEASE, LIFE, MODULE, ask, membership, node, register};
use ha_proto::{
    Boot, ClusterId, DataState, Epoch, Incarnation, Instant, Machine, Membership, ModuleId, Outbox,
    Ticket,
};
use ha_quorum::arbiter::{ArbiterError, Event, Input, Output};
use ha_quorum::{Answer, Arbiter, Ask, Outcome, Refusal, Register, Request};

/// The number of the next ask.
static NUMBER: AtomicU64 = AtomicU64::new(1);
/// L(1+ρ).
const LONGER: u64 = 3003;

fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

/// An arbiter that booted at zero with these registers.
fn arbiter(registers: &[Register]) -> Arbiter {
    Arbiter::new(at(0), LIFE, registers.iter().copied()).expect("lawful registers")
}

/// An arbiter that booted at zero with the register before this one, which its holder then took:
/// it knows the holder's boot, its next ticket is 2.
fn taken(register: Register) -> Arbiter {
    let membership = register.membership;
    let before = Membership {
        epoch: Epoch::new(membership.epoch.counter() - 1, membership.holder),
        ..membership
    };
    let mut w = arbiter(&[Register { membership: before, ..register }]);
    let take = ask(membership.holder.as_u8(), before.epoch, Request::Take);
    put(&mut w, 0, Ask { lease: register.lease, ..take });
    stored(&mut w, 0, 1);
    assert_eq!(w.registers().copied().collect::<Vec<_>>(), [register]);
    w
}

fn say(arbiter: &mut Arbiter, millis: u64, input: Input) -> Vec<Output> {
    let mut out = Outbox::new(Arbiter::OUTPUTS_MAX);
    arbiter.handle(at(millis), input, &mut out);
    assert_eq!(arbiter.deadline(), None);
    std::iter::from_fn(|| out.pop()).map(plain).collect()
}

/// The grace time and numbers have tests of their own; everywhere else the grace is a part of the
/// time left.
fn plain(mut said: Output) -> Output {
    if let Output::Answer { answer, .. } = &mut said {
        assert!(answer.grace <= answer.left);
        answer.grace = Duration::ZERO;
        answer.number = 1;
    }
    said
}

#[test]
fn an_answer_tells_the_grace_apart_from_the_lease() {
    let first = register(2, 0, 0b01);
    let mut w = taken(first);
    let mut graces = [1000, 3002, 3003].map(|millis| {
        let mut out = Outbox::new(Arbiter::OUTPUTS_MAX);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let ask = Ask { number, ..ask(0, first.membership.epoch, Request::Renew) };
        w.handle(at(millis), Input::Ask { cluster: CLUSTER, module: MODULE, ask }, &mut out);
        let Some(Output::Answer { answer, .. }) = out.pop() else { panic!("no answer") };
        assert_eq!(answer.left, Duration::from_millis(LONGER), "the lease was just renewed");
        answer.grace.as_millis()
    });
    graces.reverse();
    assert_eq!(graces, [0, 1, 2003]);
}

/// A new ask: numbers are `tests/replays.rs`'s, here each is above all before.
fn put(arbiter: &mut Arbiter, millis: u64, ask: Ask) -> Vec<Output> {
    let ask = Ask { number: NUMBER.fetch_add(1, Ordering::Relaxed), ..ask };
    say(arbiter, millis, Input::Ask { cluster: CLUSTER, module: MODULE, ask })
}

fn stored(arbiter: &mut Arbiter, millis: u64, ticket: u64) -> Vec<Output> {
    say(arbiter, millis, Input::Stored { ticket: Ticket(ticket) })
}

fn failed(arbiter: &mut Arbiter, millis: u64, ticket: u64) -> Vec<Output> {
    say(arbiter, millis, Input::StoreFailed { ticket: Ticket(ticket) })
}

fn answer(to: u8, outcome: Outcome, register: Option<Register>, left: u64) -> Output {
    Output::Answer {
        cluster: CLUSTER,
        module: MODULE,
        answer: Answer {
            to: node(to),
            boot: Boot(u64::from(to)),
            number: 1,
            incarnation: LIFE,
            outcome,
            register,
            left: Duration::from_millis(left),
            grace: Duration::ZERO,
        },
    }
}

fn refused(to: u8, refusal: Refusal, register: Option<Register>, left: u64) -> Output {
    answer(to, Outcome::Refused(refusal), register, left)
}

fn store(ticket: u64, register: Register) -> Output {
    Output::Store { ticket: Ticket(ticket), register }
}

fn changed(by: u8, request: Request, register: Register) -> Output {
    Output::Event(Event::Changed { register, by: node(by), request })
}

fn store_failed() -> Output {
    Output::Event(Event::StoreFailed { cluster: CLUSTER, module: MODULE })
}

fn epoch(counter: u64, owner: u8) -> Epoch {
    Epoch::new(counter, node(owner))
}

fn adopt(from: u8, membership: Membership, state: DataState) -> Ask {
    ask(from, Epoch::NONE, Request::Adopt { incarnation: LIFE, membership, state })
}

#[test]
fn without_a_register_it_says_that_it_is_empty() {
    let mut w = arbiter(&[]);
    let empty = arbiter(&[]);
    for request in [Request::Read, Request::Renew, Request::Take] {
        let said = put(&mut w, 0, ask(0, Epoch::NONE, request));
        assert_eq!(said, [answer(0, Outcome::Empty, None, 0)]);
    }
    assert_eq!(w, empty, "a question must not take room");
}

#[test]
fn a_change_is_answered_once_it_is_stored() {
    let mut w = arbiter(&[]);
    let create = Request::Create { incarnation: LIFE, data: DATA };
    let first = register(1, 0, 0b01);
    assert_eq!(put(&mut w, 5000, ask(0, Epoch::NONE, create)), [store(1, first)]);
    assert_eq!(w.registers().count(), 0);
    assert_eq!(put(&mut w, 5001, ask(1, Epoch::NONE, Request::Read)), []);
    assert_eq!(put(&mut w, 5002, ask(0, first.membership.epoch, Request::Renew)), []);
    assert_eq!(stored(&mut w, 5003, 7), [], "not its ticket");
    let said = stored(&mut w, 5003, 1);
    assert_eq!(said, [answer(0, Outcome::Ok, Some(first), 0), changed(0, create, first)]);
    assert_eq!(w.registers().copied().collect::<Vec<_>>(), [first]);
    assert_eq!(stored(&mut w, 5004, 1), [], "a result counts once");
    let again = put(&mut w, 5005, ask(0, Epoch::NONE, create));
    assert_eq!(again, [answer(0, Outcome::Ok, Some(first), 0)]);
}

#[test]
fn a_renewal_needs_no_store_and_holds_others_off() {
    let old = register(4, 0, 0b11);
    let mut w = taken(old);
    let renew = ask(0, epoch(4, 0), Request::Renew);
    let take = ask(1, epoch(4, 0), Request::Take);
    assert_eq!(put(&mut w, 5000, renew), [answer(0, Outcome::Ok, Some(old), LONGER)]);
    let held = |left| [refused(1, Refusal::LeaseHeld, Some(old), left)];
    assert_eq!(put(&mut w, 5000, take), held(LONGER));
    assert_eq!(put(&mut w, 8002, take), held(1));
    assert_eq!(put(&mut w, 8003, take), [store(2, register(5, 1, 0b11))]);
    assert_eq!(put(&mut w, 8003, renew), [], "or the lease would reach into the next reign");
}

#[test]
fn a_take_sets_no_lease() {
    let mut w = arbiter(&[register(4, 0, 0b11)]);
    put(&mut w, 5000, ask(1, epoch(4, 0), Request::Take));
    stored(&mut w, 5000, 1);
    let back = put(&mut w, 5000, ask(0, epoch(5, 1), Request::Take));
    assert_eq!(back, [store(2, register(6, 0, 0b11))]);
}

#[test]
fn after_a_boot_it_changes_no_holder_but_serves_the_holder() {
    let old = register(4, 0, 0b11);
    let mut w = arbiter(&[old]);
    let grace = |to, left| [refused(to, Refusal::Grace, Some(old), left)];
    assert_eq!(put(&mut w, 0, ask(1, epoch(4, 0), Request::Take)), grace(1, LONGER));
    let give = ask(0, epoch(4, 0), Request::Give { to: node(1) });
    assert_eq!(put(&mut w, 3002, give), grace(0, 1));
    let renewed = put(&mut w, 0, ask(0, epoch(4, 0), Request::Renew));
    assert_eq!(renewed, [refused(0, Refusal::Boot, Some(old), LONGER)]);
    let excluded = put(&mut w, 1, ask(0, epoch(4, 0), Request::Exclude));
    assert_eq!(excluded, [store(1, register(5, 0, 0b01))]);
    stored(&mut w, 2, 1);
    let renewed = put(&mut w, 2, ask(0, epoch(5, 0), Request::Renew));
    assert_eq!(renewed, [answer(0, Outcome::Ok, Some(register(5, 0, 0b01)), LONGER)]);
    let admitted = put(&mut w, 3, ask(0, epoch(5, 0), Request::Admit { peer: node(1) }));
    assert_eq!(admitted, [store(2, register(6, 0, 0b11))]);
    stored(&mut w, 4, 2);
    let taken = put(&mut w, 5, ask(0, epoch(6, 0), Request::Take));
    assert_eq!(taken, [store(3, register(7, 0, 0b11))]);
    stored(&mut w, 6, 3);
    let over = put(&mut w, 3005, ask(1, epoch(7, 0), Request::Take));
    assert_eq!(over, [store(4, register(8, 1, 0b11))]);
}

#[test]
fn give_ends_the_lease_of_the_giver() {
    let mut w = taken(register(4, 0, 0b11));
    let give = Request::Give { to: node(1) };
    let given = register(5, 1, 0b11);
    put(&mut w, 4000, ask(0, epoch(4, 0), Request::Renew));
    assert_eq!(put(&mut w, 4001, ask(0, epoch(4, 0), give)), [store(2, given)]);
    let said = stored(&mut w, 4002, 2);
    assert_eq!(said, [answer(0, Outcome::Ok, Some(given), 0), changed(0, give, given)]);
    let late = put(&mut w, 4003, ask(0, epoch(4, 0), Request::Renew));
    assert_eq!(late, [refused(0, Refusal::Epoch, Some(given), 0)]);
    let taken = put(&mut w, 4004, ask(1, epoch(5, 1), Request::Take));
    assert_eq!(taken, [store(3, register(6, 1, 0b11))]);
}

#[test]
fn a_failed_store_is_undone_before_anything_is_granted() {
    let old = register(4, 0, 0b11);
    let mut w = taken(old);
    let renew = ask(0, epoch(4, 0), Request::Renew);
    put(&mut w, 4000, ask(1, epoch(4, 0), Request::Take));
    assert_eq!(failed(&mut w, 4001, 2), [store_failed()]);
    assert_eq!(put(&mut w, 4002, renew), [store(3, old)], "the disk may have the other's reign");
    assert_eq!(failed(&mut w, 4003, 3), [store_failed()]);
    assert_eq!(put(&mut w, 4004, renew), [store(4, old)]);
    assert_eq!(stored(&mut w, 4005, 4), []);
    assert_eq!(put(&mut w, 4006, renew), [answer(0, Outcome::Ok, Some(old), LONGER)]);
}

#[test]
fn a_failed_first_store_leaves_nothing() {
    let mut w = arbiter(&[]);
    put(&mut w, 0, ask(0, Epoch::NONE, Request::Create { incarnation: LIFE, data: DATA }));
    assert_eq!(failed(&mut w, 1, 1), [store_failed()]);
    let said = put(&mut w, 2, ask(0, Epoch::NONE, Request::Read));
    assert_eq!(said, [answer(0, Outcome::Empty, None, 0)]);
}

#[test]
fn two_adopts_make_a_register_and_a_grace() {
    let mut w = arbiter(&[]);
    let a = adopt(0, membership(4, 0, 0b11), DataState::Complete);
    let b = adopt(1, membership(5, 1, 0b11), DataState::Complete);
    let made = register(7, 1, 0b11);
    assert_eq!(put(&mut w, 9000, a), [refused(0, Refusal::Waiting, None, 0)]);
    assert_eq!(put(&mut w, 9001, a), [refused(0, Refusal::Waiting, None, 0)], "itself is no other");
    assert_eq!(put(&mut w, 9002, b), [store(1, made)]);
    let said = stored(&mut w, 9003, 1);
    assert_eq!(said, [answer(1, Outcome::Ok, Some(made), LONGER), changed(1, b.request, made)]);
    assert_eq!(put(&mut w, 9004, a), [refused(0, Refusal::Exists, Some(made), LONGER - 1)]);
    let early = put(&mut w, 9005, ask(0, epoch(7, 1), Request::Take));
    assert_eq!(early, [refused(0, Refusal::Grace, Some(made), LONGER - 2)]);
}

#[test]
fn a_node_that_may_run_alone_is_adopted_at_once_unless_a_higher_record_is_in_hand() {
    let alone = adopt(0, membership(4, 0, 0b01), DataState::Complete);
    let mut w = arbiter(&[]);
    assert_eq!(put(&mut w, 0, alone), [store(1, register(6, 0, 0b01))]);
    for (counter, made) in [(3, register(6, 0, 0b01)), (9, register(11, 1, 0b11))] {
        let mut w = arbiter(&[]);
        let record = membership(counter, counter as u8 / 9, 0b11);
        put(&mut w, 0, adopt(1, record, DataState::Complete));
        assert_eq!(put(&mut w, 0, alone), [store(1, made)]);
    }
}

#[test]
fn a_blank_node_takes_back_what_it_had_said() {
    let mut w = arbiter(&[]);
    put(&mut w, 0, adopt(1, membership(5, 1, 0b11), DataState::Complete));
    let blank = put(&mut w, 1, adopt(1, membership(5, 1, 0b11), DataState::Blank));
    assert_eq!(blank, [refused(1, Refusal::Blank, None, 0)]);
    let other = put(&mut w, 2, adopt(0, membership(4, 0, 0b11), DataState::Complete));
    assert_eq!(other, [refused(0, Refusal::Waiting, None, 0)]);
}

#[test]
fn pairs_know_nothing_of_each_other() {
    let mut w = taken(register(4, 0, 0b11));
    let (cluster, module) = (ClusterId(9), ModuleId(0));
    let create = ask(1, Epoch::NONE, Request::Create { incarnation: LIFE, data: DATA });
    let made = Register { cluster, module, ..register(1, 1, 0b10) };
    assert_eq!(say(&mut w, 0, Input::Ask { cluster, module, ask: create }), [store(2, made)]);
    let renewed = put(&mut w, 1, ask(0, epoch(4, 0), Request::Renew));
    assert_eq!(renewed, [answer(0, Outcome::Ok, Some(register(4, 0, 0b11)), LONGER)]);
}

#[test]
fn a_full_arbiter_turns_new_pairs_away() {
    let max = u16::try_from(Arbiter::REGISTERS_MAX).expect("a small bound");
    let all: Vec<_> = (0..max)
        .map(|id| Register { cluster: ClusterId(1), module: ModuleId(id), ..register(1, 0, 0b01) })
        .collect();
    let mut w = arbiter(&all);
    let create = ask(0, Epoch::NONE, Request::Create { incarnation: LIFE, data: DATA });
    assert_eq!(put(&mut w, 0, create), [refused(0, Refusal::Full, None, 0)]);
    let more = all.into_iter().chain([register(1, 0, 0b01)]);
    assert_eq!(Arbiter::new(at(0), LIFE, more).err(), Some(ArbiterError::Full));
}

#[test]
fn it_does_not_boot_with_what_it_cannot_have_stored() {
    let one = register(1, 0, 0b01);
    let error = |life, registers: &[Register]| {
        Arbiter::new(at(0), life, registers.iter().copied()).expect_err("not its own registers")
    };
    assert_eq!(error(Incarnation(0), &[]), ArbiterError::Unknown);
    assert_eq!(error(Incarnation(3), &[one]), ArbiterError::Foreign);
    assert_eq!(error(LIFE, &[one, one]), ArbiterError::Twice);
}

#[test]
fn its_lease_is_as_long_as_the_register_says() {
    let old = Register { lease: LEASE * 2, ..register(4, 0, 0b11) };
    let mut w = taken(old);
    let renew = Ask { lease: LEASE * 2, ..ask(0, epoch(4, 0), Request::Renew) };
    assert_eq!(put(&mut w, 0, renew), [answer(0, Outcome::Ok, Some(old), 2 * LONGER)]);
}
