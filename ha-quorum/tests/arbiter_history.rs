//! Random histories of asks, duplicates, failing stores and crashes of the arbiter (G1, G2, R9).

mod common;

use std::time::Duration;

use common::{CLUSTER, DATA, LEASE, LIFE, MODULE, ask, membership, node, register};
use ha_proto::{Boot, DataState, Epoch, Instant, Machine, Membership, Outbox, Ticket, laws};
use ha_quorum::arbiter::{Input, Output};
use ha_quorum::{Answer, Arbiter, Ask, Outcome, Register, Request, longer};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A new ask that expects the epoch of so many durable changes ago.
    Ask {
        from: u8,
        request: Request,
        ago: usize,
    },
    /// A datagram once more.
    Again(prop::sample::Index),
    /// A node boots.
    Boot(u8),
    Stored,
    Failed {
        landed: bool,
    },
    Crash {
        landed: bool,
    },
    Wait(u64),
}

struct World {
    now: Instant,
    booted: Instant,
    arbiter: Arbiter,
    disk: Option<Register>,
    storing: Option<(Ticket, Register)>,
    asks: Vec<Ask>,
    /// The boots of the nodes.
    boots: [u64; 2],
    /// How many of the asks were said before the arbiter booted.
    before: usize,
    /// What answers told, oldest first.
    told: Vec<Membership>,
    /// Until when the holder may count on the witness, crash or not.
    leased: Option<Instant>,
}

impl World {
    fn new() -> Self {
        let now = Instant::from_nanos(1);
        let arbiter = Arbiter::new(now, LIFE, []).expect("an empty disk");
        Self {
            now,
            booted: now,
            arbiter,
            disk: None,
            storing: None,
            asks: Vec::new(),
            boots: [1, 2],
            before: 0,
            told: Vec::new(),
            leased: None,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Ask { from, request, ago } => {
                let told = self.told.len().checked_sub(1 + ago).map(|at| self.told[at].epoch);
                let (boot, number) =
                    (Boot(self.boots[usize::from(from)]), self.asks.len() as u64 + 1);
                let ask = ask(from, told.unwrap_or_default(), request);
                self.asks.push(Ask { boot, number, ..ask });
                self.put(self.asks.len() - 1);
            }
            Step::Again(which) if !self.asks.is_empty() => {
                let (at, leased) = (which.index(self.asks.len()), self.leased);
                self.put(at);
                let late = at < self.asks.len() - 1 || self.before == self.asks.len();
                let renews = self.asks[at].request == Request::Renew;
                assert!(self.leased == leased || !renews || !late, "a replay keeps a lease alive");
            }
            Step::Boot(node) => self.boots[usize::from(node)] += 2,
            Step::Stored => {
                if let Some((ticket, register)) = self.storing.take() {
                    self.disk = Some(register);
                    self.handle(Input::Stored { ticket }, None);
                }
            }
            Step::Failed { landed } => {
                if let Some((ticket, register)) = self.storing.take() {
                    self.disk = if landed { Some(register) } else { self.disk };
                    self.handle(Input::StoreFailed { ticket }, None);
                }
            }
            Step::Crash { landed } => self.crash(landed),
            Step::Wait(millis) => self.now += Duration::from_millis(millis),
            Step::Again(_) => {}
        }
    }

    fn put(&mut self, at: usize) {
        let ask = self.asks[at];
        self.handle(Input::Ask { cluster: CLUSTER, module: MODULE, ask }, Some(&ask));
    }

    fn crash(&mut self, landed: bool) {
        if let (Some((_, register)), true) = (self.storing.take(), landed) {
            self.disk = Some(register);
        }
        self.booted = self.now;
        self.before = self.asks.len();
        self.arbiter = Arbiter::new(self.now, LIFE, self.disk).expect("its own register");
    }

    fn handle(&mut self, input: Input, ask: Option<&Ask>) {
        let before = self.arbiter.registers().next().copied();
        let mut out = Outbox::new(Arbiter::OUTPUTS_MAX);
        self.arbiter.handle(self.now, input, &mut out);
        while let Some(output) = out.pop() {
            match output {
                Output::Answer { answer, .. } => self.answered(&answer, ask),
                Output::Store { ticket, register } => {
                    assert!(self.storing.is_none(), "two stores in flight");
                    self.storing = Some((ticket, register));
                    if let (Some(old), Some(ask)) = (before, ask) {
                        self.check_change(&old, &register, ask);
                    }
                }
                Output::Event(_) => {}
            }
        }
    }

    /// The step from one register to the next, as the table has it.
    fn check_change(&mut self, old: &Register, new: &Register, ask: &Ask) {
        let (old, new) = (old.membership, new.membership);
        if old == new {
            return;
        }
        assert_eq!(new.epoch.owner(), Some(new.holder));
        assert!(new.epoch > old.epoch, "G1: an epoch did not rise");
        assert_eq!(ask.expected, old.epoch, "applied to a register that the sender did not know");
        let by_holder = ask.from == old.holder;
        let gives = matches!(ask.request, Request::Give { .. });
        if new.holder != old.holder {
            let grace_over = self.booted + longer(LEASE) <= self.now;
            let lease_over = self.leased.is_none_or(|until| until <= self.now);
            assert!(grace_over, "R9: a holder changed in the grace time");
            assert!(lease_over || (gives && by_holder), "G2: a holder changed within a lease");
        }
        if new.set != old.set {
            let forced = matches!(ask.request, Request::Force { .. });
            assert!(by_holder || forced, "a set changed by another than the holder");
        }
        if gives {
            // Who gives has dropped all its leases before (R13).
            self.leased = None;
        }
    }

    fn answered(&mut self, answer: &Answer, ask: Option<&Ask>) {
        let Some(register) = answer.register else {
            assert_ne!(answer.outcome, Outcome::Ok, "nothing to be so");
            return;
        };
        assert_eq!(Some(register), self.disk, "an answer from what is not durable");
        let membership = register.membership;
        if let Some(last) = self.told.last() {
            assert!(membership.epoch >= last.epoch, "G1: an epoch fell");
            let same = membership.epoch == last.epoch;
            assert!(!same || membership == *last, "G1: two records of one epoch");
        }
        if self.told.last() != Some(&membership) {
            self.told.push(membership);
        }
        let renewed = ask.is_some_and(|ask| ask.request == Request::Renew);
        if renewed && answer.outcome == Outcome::Ok {
            assert_eq!(answer.to, membership.holder, "G2: a lease for another than the holder");
            self.leased = Some(self.now + longer(register.lease));
        }
    }
}

fn requests() -> impl Strategy<Value = Request> {
    let record =
        (1..9_u64, 0..2_u8).prop_map(|(counter, holder)| membership(counter, holder, 1 << holder));
    prop_oneof![
        1 => Just(Request::Read),
        1 => Just(Request::Create { incarnation: LIFE, data: DATA }),
        3 => Just(Request::Renew),
        4 => Just(Request::Take),
        1 => Just(Request::Exclude),
        3 => (0..2_u8).prop_map(|peer| Request::Admit { peer: node(peer) }),
        1 => (0..2_u8).prop_map(|to| Request::Give { to: node(to) }),
        1 => record.clone().prop_map(|membership| Request::Force { membership }),
        1 => record.prop_map(|membership| Request::Adopt {
            incarnation: LIFE,
            membership,
            state: DataState::Complete,
        }),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..2_u8, requests(), prop_oneof![8 => Just(0), 1 => 1..3_usize])
            .prop_map(|(from, request, ago)| Step::Ask { from, request, ago }),
        2 => any::<prop::sample::Index>().prop_map(Step::Again),
        1 => (0..2_u8).prop_map(Step::Boot),
        6 => Just(Step::Stored),
        1 => any::<bool>().prop_map(|landed| Step::Failed { landed }),
        1 => any::<bool>().prop_map(|landed| Step::Crash { landed }),
        4 => prop_oneof![0..50_u64, 2900..3100_u64].prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_history_breaks_a_reign(history in prop::collection::vec(steps(), 0..120)) {
        let mut world = World::new();
        for step in history {
            world.step(step);
        }
    }
}

proptest! {
    #[test]
    fn the_arbiter_is_a_lawful_machine(
        history in prop::collection::vec((0..4000_u64, 0..2_u8, requests(), 3..9_u64, 0..9), 0..60)
    ) {
        let arbiter = Arbiter::new(Instant::ZERO, LIFE, [register(4, 0, 0b11)]).expect("lawful");
        let mut tickets = 0..;
        let inputs = history.into_iter().zip(1..).map(|(step, number)| {
            let (gap, from, request, counter, kind) = step;
            let ask = Ask { number, ..ask(from, Epoch::new(counter, node(from)), request) };
            let mut ticket = || Ticket(tickets.next().expect("endless"));
            let input = match kind {
                0 => Input::StoreFailed { ticket: ticket() },
                1..3 => Input::Stored { ticket: ticket() },
                _ => Input::Ask { cluster: CLUSTER, module: MODULE, ask },
            };
            (Duration::from_millis(gap), input)
        });
        laws::check(arbiter, || Input::Tick, inputs);
    }
}
