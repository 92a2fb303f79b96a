//! A witness that lost its register gets one from the nodes that loses nothing (`CONTRACT.md`
//! "Order", replacement of W; G4, *Member*).

mod common;

use common::{CLUSTER, DATA, LEASE, LIFE, MODULE, ask, membership, node};
use ha_proto::{DataState, Epoch, Incarnation, Membership, NodeSet};
use ha_quorum::{Ask, Facts, Refusal, Register, Request, apply, reconcile};
use proptest::prelude::*;

const FACTS: Facts = Facts {
    cluster: CLUSTER,
    module: MODULE,
    incarnation: LIFE,
    lease_over: true,
    grace_over: true,
};

fn adopt(from: u8, membership: Membership, state: DataState) -> Ask {
    ask(from, Epoch::NONE, Request::Adopt { incarnation: LIFE, membership, state })
}

fn complete(from: u8, membership: Membership) -> Ask {
    adopt(from, membership, DataState::Complete)
}

/// What two Adopts make, in either order.
fn both(one: Ask, other: Ask) -> Result<Membership, Refusal> {
    let made = reconcile(&one, &other, &FACTS).map(|register| register.membership);
    let again = reconcile(&other, &one, &FACTS).map(|register| register.membership);
    assert_eq!(made, again, "the order of two Adopts decides");
    made
}

#[test]
fn the_higher_record_wins_two_counters_up() {
    let made = both(complete(0, membership(4, 0, 0b11)), complete(1, membership(5, 1, 0b11)));
    assert_eq!(made, Ok(membership(7, 1, 0b11)));
}

#[test]
fn a_set_that_only_the_holder_has_grown_does_not_count() {
    let grown = complete(0, membership(4, 0, 0b11));
    let target = adopt(1, membership(4, 0, 0b01), DataState::Target);
    assert_eq!(both(grown, complete(1, membership(4, 0, 0b01))), Ok(membership(6, 0, 0b01)));
    assert_eq!(both(grown, complete(1, membership(3, 0, 0b01))), Ok(membership(6, 0, 0b01)));
    assert_eq!(both(grown, target), Ok(membership(6, 0, 0b01)));
}

#[test]
fn of_two_sets_of_one_epoch_only_what_both_have_counts() {
    let made = both(complete(0, membership(4, 0, 0b01)), complete(1, membership(4, 0, 0b11)));
    assert_eq!(made, Ok(membership(6, 0, 0b01)));
}

#[test]
fn a_node_that_is_being_overwritten_does_not_count() {
    let target = adopt(1, membership(3, 0, 0b11), DataState::Target);
    assert_eq!(both(complete(0, membership(4, 0, 0b11)), target), Ok(membership(6, 0, 0b01)));
}

#[test]
fn whom_the_holder_itself_does_not_count_does_not_count() {
    // An operator forced node 0 before it heard that it holds a higher epoch: it was alone since.
    let mut forced = membership(3, 0, 0b01);
    forced.epoch = membership(2, 0, 0b11).epoch.overridden_by(node(0));
    let made = both(complete(0, forced), complete(1, membership(4, 0, 0b11)));
    assert_eq!(made, Ok(membership(6, 0, 0b01)));
}

#[test]
fn records_that_do_not_fit_make_nothing() {
    let one = complete(0, membership(4, 0, 0b11));
    let two = complete(1, membership(3, 0, 0b11));
    let other_data = Membership { data: ha_proto::DataId(1), ..membership(3, 0, 0b11) };
    let refused = [
        (complete(0, membership(3, 0, 0b11)), Refusal::Waiting),
        (complete(1, other_data), Refusal::Data),
        (complete(2, membership(3, 0, 0b11)), Refusal::Record),
        (Ask { lease: LEASE * 2, ..two }, Refusal::LeaseDiffers),
        (adopt(1, membership(3, 0, 0b11), DataState::Blank), Refusal::Blank),
        (ask(1, Epoch::NONE, Request::Take), Refusal::Record),
    ];
    for (other, refusal) in refused {
        assert_eq!(both(one, other), Err(refusal), "{other:?}");
    }
    let request = Request::Adopt {
        incarnation: Incarnation(1),
        membership: membership(3, 0, 0b11),
        state: DataState::Complete,
    };
    assert_eq!(both(one, ask(1, Epoch::NONE, request)), Err(Refusal::Incarnation));
}

/// A pair that follows R1, R3, R4 and R13, and what is true of its data.
struct Pair {
    register: Register,
    saved: [Membership; 2],
    /// The node lacks a write that was acknowledged.
    lacks: [bool; 2],
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Take,
    Exclude,
    Give,
    /// The node learns the register.
    Save,
    /// The holder counts its peer again, in its own set only.
    Grow,
    /// The peer gets all that it lacks.
    CatchUp,
    Admit,
    /// The holder acknowledges a write that only it has.
    AckAlone,
}

impl Pair {
    fn new() -> Self {
        let membership = membership(1, 0, 0b11);
        let register = common::register(1, 0, 0b11);
        Self { register, saved: [membership; 2], lacks: [false; 2] }
    }

    fn step(&mut self, at: usize, step: Step) {
        let peer = 1 - at;
        let (me, other) = (node(at as u8), node(peer as u8));
        let now = self.register.membership;
        let mine = self.saved[at];
        let holds = mine.epoch == now.epoch && now.holder == me;
        match step {
            Step::Take => self.request(at, Request::Take),
            Step::Exclude if holds => self.request(at, Request::Exclude),
            Step::Give if holds => self.request(at, Request::Give { to: other }),
            Step::Save if now.epoch > mine.epoch => self.saved[at] = now,
            Step::Grow if holds && self.saved[peer].epoch == mine.epoch => {
                self.saved[at].set = NodeSet::only(me).with(other);
            }
            Step::CatchUp if holds && mine.set.contains(other) => self.lacks[peer] = false,
            Step::Admit if holds && mine.set.contains(other) && !self.lacks[peer] => {
                self.request(at, Request::Admit { peer: other });
            }
            Step::AckAlone if holds && mine.is_alone(me) => self.lacks[peer] = true,
            Step::Exclude
            | Step::Give
            | Step::Save
            | Step::Grow
            | Step::CatchUp
            | Step::Admit
            | Step::AckAlone => {}
        }
    }

    /// Asks with the saved epoch; the answer is lost until the node saves.
    fn request(&mut self, at: usize, request: Request) {
        let ask = ask(at as u8, self.saved[at].epoch, request);
        if let Ok(register) = apply(Some(&self.register), &ask, &FACTS) {
            self.register = register;
        }
    }

    fn check(&self, made: &Membership) {
        assert!(made.epoch.counter() > self.register.membership.epoch.counter(), "G1");
        for (at, lacks) in self.lacks.into_iter().enumerate() {
            let member = made.set.contains(node(at as u8));
            assert!(!(member && lacks), "G4: {made} counts a node that lacks a write");
        }
    }
}

fn steps() -> impl Strategy<Value = Step> {
    prop::sample::select(vec![
        Step::Take,
        Step::Exclude,
        Step::Exclude,
        Step::Give,
        Step::Save,
        Step::Save,
        Step::Save,
        Step::Grow,
        Step::Grow,
        Step::CatchUp,
        Step::Admit,
        Step::AckAlone,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_new_witness_counts_no_node_that_lacks_a_write(
        history in prop::collection::vec((0..2_usize, steps()), 0..60)
    ) {
        let mut pair = Pair::new();
        for (at, step) in history {
            pair.step(at, step);
        }
        let [a, b] = [complete(0, pair.saved[0]), complete(1, pair.saved[1])];
        let made = both(a, b);
        prop_assert!(made.is_ok(), "{:?}", made);
        pair.check(&made.expect("checked above"));
        for one in [a, b] {
            match apply(None, &one, &FACTS) {
                Ok(register) => pair.check(&register.membership),
                Err(refusal) => prop_assert_eq!(refusal, Refusal::Waiting),
            }
        }
        prop_assert_eq!(pair.register.membership.data, DATA);
    }
}
