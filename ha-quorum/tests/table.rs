//! `apply` does what the table of `CONTRACT.md` "Messages" says, and nothing else.

mod common;

use std::time::Duration;

use common::{CLUSTER, DATA, LEASE, LIFE, MODULE, ask, membership, node, register};
use ha_proto::{DataId, DataState, Epoch, Incarnation, Membership, NodeSet};
use ha_quorum::{Ask, Facts, Refusal, Register, Request, apply};
use proptest::prelude::*;

fn facts(lease_over: bool, grace_over: bool) -> Facts {
    Facts { cluster: CLUSTER, module: MODULE, incarnation: LIFE, lease_over, grace_over }
}

const OVER: (bool, bool) = (true, true);
const LEASED: (bool, bool) = (false, true);
const GRACE: (bool, bool) = (true, false);

/// What becomes of the register (4.0 {0,1}) or (4.0 {0}) when `from` asks with its epoch.
fn outcome(
    set: u128,
    over: (bool, bool),
    from: u8,
    request: Request,
) -> Result<Membership, Refusal> {
    let old = register(4, 0, set);
    let ask = ask(from, old.membership.epoch, request);
    let new = apply(Some(&old), &ask, &facts(over.0, over.1))?;
    assert_eq!(Register { membership: old.membership, ..new }, old, "only the membership changes");
    Ok(new.membership)
}

#[test]
fn renew_counts_and_changes_nothing() {
    let old = register(4, 0, 0b11);
    let renew = ask(0, old.membership.epoch, Request::Renew);
    let renewed = apply(Some(&old), &renew, &facts(false, false));
    assert_eq!(renewed, Ok(Register { renewals: 1, ..old }));
    assert_eq!(outcome(0b11, OVER, 1, Request::Renew), Err(Refusal::NotHolder));
}

#[test]
fn take_moves_the_holder_and_leaves_the_set() {
    for over in [OVER, LEASED, GRACE] {
        assert_eq!(outcome(0b11, over, 0, Request::Take), Ok(membership(5, 0, 0b11)));
    }
    assert_eq!(outcome(0b11, OVER, 1, Request::Take), Ok(membership(5, 1, 0b11)));
    assert_eq!(outcome(0b11, LEASED, 1, Request::Take), Err(Refusal::LeaseHeld));
    assert_eq!(outcome(0b11, GRACE, 1, Request::Take), Err(Refusal::Grace));
    assert_eq!(outcome(0b01, OVER, 1, Request::Take), Err(Refusal::NotInSet));
}

#[test]
fn the_holder_changes_the_set_in_lease_and_grace() {
    let admit = |peer| Request::Admit { peer: node(peer) };
    for over in [OVER, LEASED, GRACE] {
        assert_eq!(outcome(0b11, over, 0, Request::Exclude), Ok(membership(5, 0, 0b01)));
        assert_eq!(outcome(0b01, over, 0, admit(1)), Ok(membership(5, 0, 0b11)));
        assert_eq!(outcome(0b11, over, 1, Request::Exclude), Err(Refusal::NotHolder));
        assert_eq!(outcome(0b11, over, 1, admit(0)), Err(Refusal::NotHolder));
    }
    assert_eq!(outcome(0b01, OVER, 0, admit(0)), Err(Refusal::Peer));
    assert_eq!(outcome(0b11, OVER, 0, admit(2)), Err(Refusal::Peer));
}

#[test]
fn give_moves_the_holder_within_the_set_but_not_in_grace() {
    let give = |to| Request::Give { to: node(to) };
    assert_eq!(outcome(0b11, OVER, 0, give(1)), Ok(membership(5, 1, 0b11)));
    assert_eq!(outcome(0b11, LEASED, 0, give(1)), Ok(membership(5, 1, 0b11)));
    assert_eq!(outcome(0b11, GRACE, 0, give(1)), Err(Refusal::Grace));
    assert_eq!(outcome(0b11, OVER, 1, give(0)), Err(Refusal::NotHolder));
    assert_eq!(outcome(0b01, OVER, 0, give(1)), Err(Refusal::NotInSet));
    assert_eq!(outcome(0b11, OVER, 0, give(0)), Err(Refusal::Peer));
}

#[test]
fn create_needs_no_register_or_the_very_same() {
    let create = |data| ask(1, Epoch::NONE, Request::Create { incarnation: LIFE, data });
    let first = apply(None, &create(DATA), &facts(true, false));
    assert_eq!(first, Ok(register(1, 1, 0b10)));
    let mine = register(6, 1, 0b11);
    assert_eq!(apply(Some(&mine), &create(DATA), &facts(true, true)), Ok(mine));
    let exists = Err(Refusal::Exists);
    assert_eq!(apply(Some(&mine), &create(DataId(1)), &facts(true, true)), exists);
    assert_eq!(apply(Some(&register(6, 0, 0b11)), &create(DATA), &facts(true, true)), exists);
    assert_eq!(apply(None, &create(DataId(0)), &facts(true, true)), Err(Refusal::Data));
    let stray = Request::Create { incarnation: Incarnation(3), data: DATA };
    let stray = apply(None, &ask(1, Epoch::NONE, stray), &facts(true, true));
    assert_eq!(stray, Err(Refusal::Incarnation), "it was meant for a witness that is gone");
    let later = Ask { expected: Epoch::new(8, node(0)), ..create(DATA) };
    assert_eq!(apply(None, &later, &facts(true, true)), Ok(register(9, 1, 0b10)));
}

#[test]
fn force_is_above_both_counters_and_alone_once_lease_and_grace_are_over() {
    let forced = |counter, data| Request::Force {
        membership: Membership {
            epoch: Epoch::new(counter, node(1)).overridden_by(node(1)),
            data,
            ..membership(1, 1, 0b10)
        },
    };
    assert_eq!(outcome(0b01, OVER, 1, forced(1, DATA)), Ok(membership(5, 1, 0b10)));
    assert_eq!(outcome(0b01, OVER, 1, forced(7, DATA)), Ok(membership(9, 1, 0b10)));
    assert_eq!(outcome(0b01, OVER, 1, forced(7, DataId(0))), Ok(membership(9, 1, 0b10)));
    assert_eq!(outcome(0b01, OVER, 1, forced(7, DataId(9))), Err(Refusal::Data));
    assert_eq!(outcome(0b01, LEASED, 1, forced(7, DATA)), Err(Refusal::LeaseHeld));
    assert_eq!(outcome(0b01, GRACE, 1, forced(7, DATA)), Err(Refusal::Grace));
    assert_eq!(outcome(0b01, OVER, 0, forced(7, DATA)), Err(Refusal::Record));
}

#[test]
fn adopt_needs_a_witness_without_register_and_one_that_may_run_alone_or_two() {
    let adopt = |from, membership, state, incarnation| {
        ask(from, Epoch::NONE, Request::Adopt { incarnation, membership, state })
    };
    let complete = DataState::Complete;
    let alone = adopt(0, membership(4, 0, 0b01), complete, LIFE);
    assert_eq!(apply(None, &alone, &facts(true, true)), Ok(register(6, 0, 0b01)));
    let there = register(9, 1, 0b10);
    assert_eq!(apply(Some(&there), &alone, &facts(true, true)), Err(Refusal::Exists));
    let refused = [
        (adopt(0, membership(4, 0, 0b11), complete, LIFE), Refusal::Waiting),
        (adopt(1, membership(4, 0, 0b01), complete, LIFE), Refusal::Waiting),
        (adopt(0, membership(4, 0, 0b01), DataState::Target, LIFE), Refusal::Waiting),
        (adopt(0, membership(4, 0, 0b01), DataState::Blank, LIFE), Refusal::Blank),
        (adopt(0, membership(4, 0, 0b01), complete, Incarnation(3)), Refusal::Incarnation),
        (adopt(0, membership(4, 0, 0b10), complete, LIFE), Refusal::Record),
    ];
    for (ask, refusal) in refused {
        assert_eq!(apply(None, &ask, &facts(true, true)), Err(refusal), "{ask:?}");
    }
}

#[test]
fn another_lease_is_refused_to_all_but_a_read() {
    let old = register(4, 0, 0b11);
    let other = Duration::from_secs(4);
    let ask = |request| Ask { lease: other, ..ask(0, old.membership.epoch, request) };
    assert_eq!(apply(Some(&old), &ask(Request::Read), &facts(true, true)), Ok(old));
    for request in
        [Request::Renew, Request::Take, Request::Create { incarnation: LIFE, data: DATA }]
    {
        let outcome = apply(Some(&old), &ask(request), &facts(true, true));
        assert_eq!(outcome, Err(Refusal::LeaseDiffers));
    }
    let silly =
        Ask { lease: Duration::ZERO, ..ask(Request::Create { incarnation: LIFE, data: DATA }) };
    assert_eq!(apply(None, &silly, &facts(true, true)), Err(Refusal::LeaseDiffers));
}

#[test]
fn the_last_counter_is_a_refusal_and_no_panic() {
    let last = register(Epoch::COUNTER_MAX, 0, 0b11);
    let take = ask(0, last.membership.epoch, Request::Take);
    assert_eq!(apply(Some(&last), &take, &facts(true, true)), Err(Refusal::Counter));
    let create = ask(0, last.membership.epoch, Request::Create { incarnation: LIFE, data: DATA });
    assert_eq!(apply(None, &create, &facts(true, true)), Err(Refusal::Counter));
}

fn requests() -> impl Strategy<Value = Request> {
    let record =
        (1..6_u64, 0..3_u8, 1..8_u128, 0..2_u64).prop_map(|(counter, holder, set, data)| {
            Membership { data: DataId(data * DATA.0), ..membership(counter, holder, set) }
        });
    prop_oneof![
        Just(Request::Read),
        (0..2_u64)
            .prop_map(|data| Request::Create { incarnation: LIFE, data: DataId(data * DATA.0) }),
        Just(Request::Renew),
        Just(Request::Take),
        Just(Request::Exclude),
        (0..3_u8).prop_map(|peer| Request::Admit { peer: node(peer) }),
        (0..3_u8).prop_map(|to| Request::Give { to: node(to) }),
        record.prop_map(|membership| Request::Force { membership }),
    ]
}

/// The table, read once more: the new holder and set, or `None` when W does not accept.
fn table(old: &Membership, ask: &Ask, facts: &Facts) -> Option<(u8, u128, u64)> {
    let (holder, set) = (old.holder.as_u8(), old.set.bits());
    let (from, me) = (ask.from.as_u8(), 1 << ask.from.as_u8());
    let over = facts.lease_over && facts.grace_over;
    let counter = old.epoch.counter();
    if ask.request == Request::Read {
        return Some((holder, set, counter));
    }
    if ask.lease != LEASE {
        return None;
    }
    if let Request::Create { data, .. } = ask.request {
        return (data == old.data && from == holder).then_some((holder, set, counter));
    }
    if ask.expected != old.epoch {
        return None;
    }
    let holds = from == holder;
    match ask.request {
        Request::Read | Request::Create { .. } | Request::Adopt { .. } => None,
        Request::Renew => holds.then_some((holder, set, counter)),
        Request::Take => (set & me != 0 && (holds || over)).then_some((from, set, counter + 1)),
        Request::Exclude => holds.then_some((holder, me, counter + 1)),
        Request::Admit { peer } => {
            let pair = me | 1 << peer.as_u8();
            let fits = pair != me && set & !pair == 0;
            (holds && fits).then_some((holder, pair, counter + 1))
        }
        Request::Give { to } => {
            let member = set & (1 << to.as_u8()) != 0 && to != ask.from;
            (holds && member && facts.grace_over).then_some((to.as_u8(), set, counter + 1))
        }
        Request::Force { membership } => {
            let alone = membership.holder == ask.from && membership.set.bits() == me;
            let data = membership.data == old.data || membership.data == DataId(0);
            let counter = counter.max(membership.epoch.counter()) + 1;
            (over && alone && data).then_some((from, me, counter))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn every_request_does_what_the_table_says(
        (holder, other) in (0..2_u8, 0..3_u8),
        (from, request) in (0..3_u8, requests()),
        (stale, other_lease) in (prop::bool::weighted(0.1), prop::bool::weighted(0.1)),
        (lease_over, grace_over) in any::<(bool, bool)>(),
    ) {
        let old = register(4, holder, 1 << holder | 1 << other);
        let expected = if stale { Epoch::new(3, node(holder)) } else { old.membership.epoch };
        let lease = if other_lease { LEASE * 2 } else { LEASE };
        let ask = Ask { lease, ..ask(from, expected, request) };
        let facts = facts(lease_over, grace_over);
        let wanted = table(&old.membership, &ask, &facts);
        let got = apply(Some(&old), &ask, &facts);
        prop_assert_eq!(got.is_ok(), wanted.is_some(), "{:?}", got);
        if let (Ok(new), Some((holder, set, counter))) = (got, wanted) {
            prop_assert_eq!(new.membership, Membership {
                epoch: Epoch::new(counter, node(holder)),
                holder: node(holder),
                set: NodeSet::from_bits(set),
                data: DATA,
            });
            prop_assert!(new.encode().len() < 200);
            prop_assert_eq!(Register::decode(&new.encode()), Ok(new));
        }
    }
}
