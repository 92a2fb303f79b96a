//! The laws of a machine, for the node: whatever it is told, in whatever order, it never spins,
//! says nothing before its time, and equal nodes say the same.
#![allow(clippy::unwrap_used, reason = "a test fails where it is wrong")]

use core::time::Duration;

use bytes::{Bytes, BytesMut};
use ha_core::config::{Config, Identity, Limits, Policy};
use ha_core::proto::wire::Keys;
use ha_core::proto::{
    Boot, ClusterId, DataState, Instant, LinkId, ModuleId, NodeId, Position, Seq, StoreId, Ticket,
};
use ha_core::quorum::Vote;
use ha_core::replicate::Recovered;
use ha_core::{Answer, Baton, Effect, Input, Mirror, Order, Output, Profile, Saved, Source};
use proptest::prelude::*;

/// Something that a node is told; results are of the effects that it asked for, or of none.
#[derive(Clone, Debug)]
enum Fact {
    Pass(u64),
    Noise(bool, Vec<u8>),
    Stream(bool),
    Message(Vec<u8>),
    Done(usize, Option<bool>),
    Stranger(u64),
    Order(Order),
    Resource(u8, Option<bool>, bool),
    AddressLost,
    Propose(u8),
    /// Another process goes on, if this one can hand over.
    Upgrade,
}

fn fact() -> impl Strategy<Value = Fact> {
    let orders = prop::sample::select(vec![
        Order::Start,
        Order::Stop,
        Order::Restart,
        Order::Swap,
        Order::Prim,
        Order::Second,
        Order::PrimForce,
        Order::Failover(false),
        Order::Failover(true),
    ]);
    let bytes = || prop::collection::vec(any::<u8>(), 0..80);
    prop_oneof![
        4 => (0..4_000_u64).prop_map(Fact::Pass),
        1 => (any::<bool>(), bytes()).prop_map(|(witness, bytes)| Fact::Noise(witness, bytes)),
        1 => any::<bool>().prop_map(Fact::Stream),
        1 => bytes().prop_map(Fact::Message),
        6 => (0..8_usize, prop::option::weighted(0.9, Just(true)))
            .prop_map(|(at, done)| Fact::Done(at, done)),
        1 => any::<u64>().prop_map(Fact::Stranger),
        2 => orders.prop_map(Fact::Order),
        1 => (0..70_u8, any::<Option<bool>>(), any::<bool>())
            .prop_map(|(index, up, blocks)| Fact::Resource(index, up, blocks)),
        1 => Just(Fact::AddressLost),
        2 => any::<u8>().prop_map(Fact::Propose),
        4 => Just(Fact::Upgrade),
    ]
}

/// A node with what it waits for.
struct Node {
    mirror: Option<Mirror>,
    config: Config,
    /// What the disk holds.
    saved: Saved,
    end: Position,
    applied: Seq,
    asked: Vec<(Ticket, Effect)>,
    said: Vec<String>,
}

impl Node {
    fn new(vote: Vote) -> Self {
        let [me, peer] = [0, 1].map(|id| NodeId::new(id).unwrap());
        let (cluster, module) = (ClusterId(1), ModuleId(0));
        let identity = Identity { cluster, module, me, peer, links: 2 };
        let policy = Policy { vote, ..Policy::default() };
        let timing = Profile::Lan.timing();
        let config = Config::new(identity, timing, policy, Limits::default()).unwrap();
        let saved = Saved::blank(cluster, module, me, StoreId(7));
        let recovered = Recovered {
            position: Position::default(),
            lineage: saved.lineage.clone(),
            state: DataState::Blank,
            membership: None,
            store: saved.store,
            applied: Seq::ZERO,
            bytes: 0,
        };
        let keys = Keys::insecure();
        let kept = (config.clone(), saved.clone());
        let mirror = Mirror::new(config, keys, saved, recovered, Boot(1), 2, Instant::ZERO);
        let (asked, said) = (Vec::new(), Vec::new());
        let (end, applied) = (Position::default(), Seq::ZERO);
        let ((config, saved), mirror) = (kept, Some(mirror));
        Self { mirror, config, saved, end, applied, asked, said }
    }

    fn mirror(&mut self) -> &mut Mirror {
        self.mirror.as_mut().unwrap()
    }

    /// What an effect that is done leaves behind.
    fn perform(&mut self, effect: &Effect) {
        match effect {
            Effect::Save(saved) => self.saved = saved.clone(),
            // One that is answered covers those before it.
            Effect::Append(batch) if batch.last > self.end.seq => self.end = batch.end,
            Effect::Apply(batch) => self.applied = batch.last,
            Effect::Reset => self.applied = Seq::ZERO,
            _ => {}
        }
    }

    /// Another process goes on with this node, if that is possible at this moment.
    fn upgrade(&mut self, now: Instant) {
        let mirror = self.mirror.take().unwrap();
        let baton = match mirror.hand_over(now) {
            Ok(baton) => baton,
            Err((mirror, why)) => {
                self.said.push(format!("{why}"));
                self.mirror = Some(*mirror);
                return;
            }
        };
        let mut bytes = Vec::new();
        baton.encode(&mut bytes);
        let baton = Baton::decode(&bytes).unwrap();
        assert_eq!(baton.check(&self.config, &self.saved, now), Ok(()));
        let recovered = Recovered {
            position: self.end,
            lineage: self.saved.lineage.clone(),
            state: self.saved.state,
            membership: self.saved.is_initialised().then_some(self.saved.membership),
            store: self.saved.store,
            applied: self.applied,
            bytes: 0,
        };
        let (config, saved) = (self.config.clone(), self.saved.clone());
        let keys = Keys::insecure();
        let mirror = Mirror::resume(config, keys, saved, recovered, baton, 3, now);
        self.mirror = Some(mirror);
        self.asked.clear();
        self.tell(now, Input::Timeout);
    }

    fn tell(&mut self, now: Instant, input: Input<'_>) {
        self.mirror().handle_input(now, input);
        self.drain(now);
    }

    /// Takes all that it says; then it must not be due any more.
    fn drain(&mut self, now: Instant) {
        while let Some(output) = self.mirror().poll_output() {
            self.said.push(format!("{output:?}"));
            if let Output::Effect { ticket, effect } = output {
                self.asked.push((ticket, effect));
            }
        }
        let mut buffer = BytesMut::new();
        while self.mirror().poll_stream(now, 1 << 20, &mut buffer) > 0 {
            self.said.push(format!("{:?}", buffer.split()));
        }
        let due = self.mirror().poll_timeout().expect("a node beats for ever");
        assert!(due.at > now, "it would spin: {due:?} at {now}");
    }

    fn act(&mut self, now: Instant, fact: &Fact) {
        match fact {
            Fact::Pass(_) => self.tell(now, Input::Timeout),
            Fact::Upgrade => self.upgrade(now),
            Fact::Noise(witness, bytes) => {
                let source = if *witness { Source::Witness } else { Source::Peer(LinkId(1)) };
                self.tell(now, Input::Datagram { source, bytes });
            }
            Fact::Stream(up) => {
                self.tell(now, if *up { Input::Connected } else { Input::Disconnected });
            }
            Fact::Message(bytes) => {
                let message = Bytes::copy_from_slice(bytes);
                self.tell(now, Input::Stream { message });
            }
            Fact::Done(at, done) => {
                if let Some(len) = self.asked.len().checked_sub(1) {
                    let (ticket, effect) = self.asked.remove((*at).min(len));
                    let answer = answer(&effect, *done);
                    if answer != Answer::Failed {
                        self.perform(&effect);
                    }
                    self.tell(now, Input::Done { ticket, answer });
                }
            }
            Fact::Stranger(ticket) => {
                let ticket = Ticket(ticket | 1 << 63);
                self.tell(now, Input::Done { ticket, answer: Answer::Done });
            }
            Fact::Order(order) => {
                let answer = self.mirror().order(now, *order);
                self.said.push(format!("{answer:?}"));
                self.drain(now);
            }
            Fact::Resource(index, up, blocks) => {
                self.tell(now, Input::Resource { index: *index, up: *up, blocks: *blocks });
            }
            Fact::AddressLost => self.tell(now, Input::AddressLost),
            Fact::Propose(len) => {
                let proposed = self.mirror().propose(now, &vec![1; usize::from(*len)]);
                self.said.push(format!("{proposed:?}"));
                self.tell(now, Input::Timeout);
            }
        }
    }
}

/// A good answer to an effect, or the failure that a disk or an application may have.
fn answer(effect: &Effect, done: Option<bool>) -> Answer {
    match (effect, done) {
        (Effect::Read { .. }, _) | (_, None) => Answer::Failed,
        (Effect::SetAside { .. }, _) => Answer::Kept { bytes: 0 },
        (Effect::Truncate { .. }, _) => Answer::Truncated { head: Position::default(), bytes: 0 },
        (_, Some(_)) => Answer::Done,
    }
}

proptest! {
    #[test]
    fn whatever_a_node_is_told_it_keeps_the_laws(
        vote in prop::sample::select(vec![Vote::None, Vote::Manual, Vote::Arbiter]),
        facts in prop::collection::vec(fact(), 1..120),
    ) {
        let (mut one, mut other) = (Node::new(vote), Node::new(vote));
        let mut now = Instant::ZERO;
        for node in [&mut one, &mut other] {
            node.tell(now, Input::Timeout);
        }
        for fact in &facts {
            if let Fact::Pass(millis) = fact {
                now += Duration::from_millis(*millis);
            }
            one.act(now, fact);
            other.act(now, fact);
            prop_assert_eq!(&one.said, &other.said, "equal nodes say the same");
            one.said.clear();
            other.said.clear();
            // Before its time it has nothing to say.
            one.tell(now, Input::Timeout);
            prop_assert_eq!(&one.said, &Vec::<String>::new(), "after {:?}", fact);
        }
    }
}
