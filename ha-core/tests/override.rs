//! The operator's override: refused while somebody else may serve, recorded at the witness with a
//! counter above both, and of the witness's data.
#![allow(clippy::unwrap_used, reason = "a test fails where it is wrong")]

use core::time::Duration;

use ha_core::config::{Config, Identity, Limits, Policy};
use ha_core::proto::wire::{self, Datagram, Header, Keys, Kind};
use ha_core::proto::{
    Boot, ClusterId, DataId, DataState, Epoch, Incarnation, Instant, Membership, ModuleId, NodeId,
    NodeSet, Position, Seq, StoreId,
};
use ha_core::quorum::{Answer as WitnessAnswer, Ask, Outcome, Refusal, Register, Request};
use ha_core::replicate::Recovered;
use ha_core::{
    Answer, Destination, Effect, Event, Input, Mirror, Order, OrderError, Output, Profile, Saved,
    Source,
};

const CLUSTER: ClusterId = ClusterId(5);
const MODULE: ModuleId = ModuleId(1);
const LIFE: Incarnation = Incarnation(9);

/// One node whose disk is done at once, whose peer is gone, and a witness that the test plays.
struct Bench {
    node: Mirror,
    now: Instant,
    asks: Vec<Ask>,
    events: Vec<Event>,
    /// Of the lease, as the witness answers.
    left: Duration,
}

fn id(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

fn membership(counter: u64, holder: u8, data: u64) -> Membership {
    let epoch = Epoch::new(counter, id(holder));
    Membership { epoch, holder: id(holder), set: NodeSet::from_bits(0b11), data: DataId(data) }
}

impl Bench {
    fn new(membership: Option<Membership>) -> Self {
        let (me, peer) = (id(1), id(0));
        let identity = Identity { cluster: CLUSTER, module: MODULE, me, peer, links: 1 };
        let timing = Profile::Lan.timing();
        let config = Config::new(identity, timing, Policy::default(), Limits::default()).unwrap();
        let mut saved = Saved::blank(CLUSTER, MODULE, me, StoreId(3));
        if let Some(membership) = membership {
            (saved.membership, saved.state) = (membership, DataState::Complete);
            saved.incarnation = LIFE;
        }
        let recovered = Recovered {
            position: Position::default(),
            lineage: saved.lineage.clone(),
            state: saved.state,
            membership,
            store: saved.store,
            applied: Seq::ZERO,
            bytes: 0,
        };
        let now = Instant::ZERO;
        let node = Mirror::new(config, Keys::insecure(), saved, recovered, Boot(8), 4, now);
        let (asks, events, left) = (Vec::new(), Vec::new(), Duration::ZERO);
        let mut bench = Self { node, now, asks, events, left };
        bench.tell(Input::Timeout);
        bench
    }

    fn tell(&mut self, input: Input<'_>) {
        self.node.handle_input(self.now, input);
        self.drain();
    }

    fn order(&mut self, order: Order) -> Result<(), OrderError> {
        let answer = self.node.order(self.now, order);
        self.drain();
        answer
    }

    fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Transmit { to: Destination::Witness, datagram } => self.asked(&datagram),
                Output::Transmit { .. } => {}
                Output::Event(event) => self.events.push(event),
                Output::Effect { ticket, effect } => {
                    let answer = match effect {
                        Effect::SetAside { .. } => Answer::Kept { bytes: 0 },
                        _ => Answer::Done,
                    };
                    self.node.handle_input(self.now, Input::Done { ticket, answer });
                }
            }
        }
    }

    fn asked(&mut self, datagram: &Datagram) {
        let packet = wire::open(datagram.as_bytes(), &Keys::insecure(), CLUSTER).unwrap();
        self.asks.push(Ask::decode(packet.header.sender, packet.body).unwrap());
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.node.poll_timeout().filter(|due| due.at <= end) {
            self.now = due.at.max(self.now);
            self.tell(Input::Timeout);
        }
        self.now = end;
    }

    /// The witness answers the newest ask.
    fn answer(&mut self, outcome: Outcome, membership: Membership) {
        let ask = *self.asks.last().unwrap();
        let lease = Profile::Lan.timing().lease;
        let (cluster, module) = (CLUSTER, MODULE);
        let register =
            Register { cluster, module, membership, lease, incarnation: LIFE, renewals: 0 };
        let answer = WitnessAnswer {
            to: ask.from,
            boot: ask.boot,
            number: ask.number,
            incarnation: LIFE,
            outcome,
            register: Some(register),
            left: self.left,
            grace: Duration::ZERO,
        };
        let header = Header {
            kind: Kind::Answer,
            sender: id(100),
            flags: 0,
            cluster,
            module,
            waited: 0,
            epoch: membership.epoch,
            sequence: ask.number,
            echo: 0,
        };
        let datagram = wire::seal(&header, |mut body| answer.encode(&mut body), &Keys::insecure());
        let bytes = datagram.as_bytes();
        self.tell(Input::Datagram { source: Source::Witness, bytes });
    }

    fn serves(&self) -> bool {
        self.node.status().serving
    }

    fn forced(&self) -> Option<&Ask> {
        self.asks.last().filter(|ask| matches!(ask.request, Request::Force { .. }))
    }
}

#[test]
fn it_is_refused_while_this_node_may_have_promised_something() {
    let mut bench = Bench::new(Some(membership(2, 0, 77)));
    assert_eq!(bench.order(Order::PrimForce), Err(OrderError::Promised));
    bench.pass(Duration::from_millis(3_100));
    bench.order(Order::PrimForce).unwrap();
    bench.pass(Duration::from_millis(10));
    assert!(bench.serves());
    let told = bench.events.iter().any(|event| matches!(event, Event::DataLossPossible(_)));
    assert!(told, "an operator must know");
    assert!(bench.node.status().membership.epoch.is_override());
}

#[test]
fn it_stands_against_a_higher_register_until_that_is_above_both() {
    let mut bench = Bench::new(Some(membership(2, 0, 77)));
    bench.pass(Duration::from_millis(3_100));
    bench.order(Order::PrimForce).unwrap();
    bench.pass(Duration::from_millis(10));
    let ours = bench.node.status().membership.epoch;
    let theirs = membership(6, 0, 77);
    bench.answer(Outcome::Refused(Refusal::Epoch), theirs);
    bench.pass(Duration::from_secs(2));
    assert!(bench.serves(), "the register of before the override does not end it");
    let ask = bench.forced().expect("it is asked for until it is recorded");
    assert_eq!(ask.expected, theirs.epoch);
    let set = NodeSet::only(id(1));
    let recorded = Membership { set, ..membership(7, 1, 77) };
    bench.answer(Outcome::Ok, recorded);
    bench.pass(Duration::from_millis(10));
    let status = bench.node.status();
    assert_eq!(status.membership, recorded);
    assert!(status.membership.epoch > ours && bench.serves());
    assert!(bench.forced().is_none());
}

#[test]
fn a_reign_of_its_own_that_it_had_not_heard_of_is_not_the_override() {
    let mut bench = Bench::new(Some(membership(2, 0, 77)));
    bench.pass(Duration::from_millis(3_100));
    bench.order(Order::PrimForce).unwrap();
    bench.pass(Duration::from_millis(10));
    // A set of both: it was alone since, and the other node lacks what it acknowledges.
    bench.answer(Outcome::Refused(Refusal::Epoch), membership(6, 1, 77));
    bench.pass(Duration::from_secs(2));
    assert!(bench.serves() && bench.node.status().membership.epoch.is_override());
    let ask = bench.forced().expect("it is asked for until it is recorded");
    assert_eq!(ask.expected, membership(6, 1, 77).epoch);
}

#[test]
fn a_node_that_lost_everything_takes_the_name_of_the_data_from_the_witness() {
    let mut bench = Bench::new(None);
    bench.pass(Duration::from_millis(3_100));
    bench.order(Order::PrimForce).unwrap();
    bench.pass(Duration::from_millis(10));
    assert!(bench.serves());
    assert_ne!(bench.node.status().membership.data, DataId(77));
    // The first answer tells the witness's life, the second one counts.
    for _ in 0..2 {
        bench.answer(Outcome::Refused(Refusal::Data), membership(6, 0, 77));
        bench.pass(Duration::from_secs(2));
    }
    let membership = bench.node.status().membership;
    assert_eq!(membership.data, DataId(77));
    assert!(membership.epoch.is_override() && bench.serves());
}

#[test]
fn it_is_refused_while_the_witness_leases_to_the_other_node() {
    let mut bench = Bench::new(Some(membership(2, 0, 77)));
    bench.pass(Duration::from_millis(3_100));
    bench.left = Duration::from_secs(2);
    bench.answer(Outcome::Refused(Refusal::Epoch), membership(2, 0, 77));
    assert_eq!(bench.order(Order::PrimForce), Err(OrderError::LeaseRuns));
    bench.pass(Duration::from_millis(2_100));
    assert_eq!(bench.order(Order::PrimForce), Ok(()));
}

#[test]
fn an_order_that_is_refused_changes_nothing() {
    let set = NodeSet::only(id(0));
    let mut bench = Bench::new(Some(Membership { set, ..membership(2, 0, 77) }));
    bench.order(Order::Stop).unwrap();
    assert_eq!(bench.order(Order::Prim), Err(OrderError::Stale), "its copy is not in the set");
    assert_eq!(bench.order(Order::Swap), Err(OrderError::NotPrimary));
    bench.pass(Duration::from_secs(10));
    assert!(!bench.serves());
    assert_eq!(bench.node.status().role, ha_core::proto::Role::Stop, "it was not started");
}
