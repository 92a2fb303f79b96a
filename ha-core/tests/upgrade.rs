//! R9: a node goes on in another process of its boot, and nobody could tell it from one that was
//! paused. Whatever does not fit is a boot.
#![allow(clippy::unwrap_used, reason = "a test fails where it is wrong")]

use core::mem;
use core::time::Duration;

use ha_core::config::{Config, Identity, Limits, Policy};
use ha_core::heartbeat::Beat;
use ha_core::proto::wire::{self, Keys, Kind};
use ha_core::proto::{
    Boot, ClusterId, DataState, Incarnation, Instant, ModuleId, NodeId, NodeSet, Position, Role,
    Seq, StoreId, Ticket,
};
use ha_core::quorum::{Ask, Request, Vote};
use ha_core::replicate::Recovered;
use ha_core::{
    Answer, Baton, Effect, Event, HandOverError, Input, Mirror, Order, Output, Profile, Saved, Void,
};

const CLUSTER: ClusterId = ClusterId(5);
const BOOT: Boot = Boot(8);

fn at(millis: u64) -> Instant {
    Instant::from_nanos(1_000_000_000) + Duration::from_millis(millis)
}

fn config(vote: Vote) -> Config {
    let [me, peer] = [0, 1].map(|id| NodeId::new(id).unwrap());
    let identity = Identity { cluster: CLUSTER, module: ModuleId(1), me, peer, links: 1 };
    let policy = Policy { vote, ..Policy::default() };
    Config::new(identity, Profile::Lan.timing(), policy, Limits::default()).unwrap()
}

/// A node, its disk and its application.
struct Node {
    mirror: Mirror,
    saved: Saved,
    end: Position,
    applied: Seq,
    /// Effects that are not answered.
    kept: Vec<(Ticket, Effect)>,
    /// Whether effects are answered.
    answers: bool,
}

/// What a node says in one call, in short.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Beat { number: u64, role: Role, ready: bool },
    Ask(u64, Request),
    Effect(Effect),
    Event(Event),
}

fn recovered(saved: &Saved, position: Position, applied: Seq) -> Recovered {
    Recovered {
        position,
        lineage: saved.lineage.clone(),
        state: saved.state,
        membership: saved.is_initialised().then_some(saved.membership),
        store: saved.store,
        applied,
        bytes: 0,
    }
}

impl Node {
    /// A node that has served alone for a while, without a witness.
    fn alone() -> Self {
        let me = NodeId::new(0).unwrap();
        let saved = Saved::blank(CLUSTER, ModuleId(1), me, StoreId(3));
        let found = recovered(&saved, Position::default(), Seq::ZERO);
        let keys = Keys::insecure();
        let mirror = Mirror::new(config(Vote::None), keys, saved.clone(), found, BOOT, 4, at(0));
        let (end, applied) = (Position::default(), Seq::ZERO);
        let mut node = Self { mirror, saved, end, applied, kept: Vec::new(), answers: true };
        node.mirror.order(at(0), Order::Prim).unwrap();
        let said = node.run(at(0), at(2_000));
        assert!(said.contains(&Said::Event(Event::Serving(node.saved.membership.epoch))));
        node
    }

    fn tell(&mut self, now: Instant, input: Input<'_>) -> Vec<Said> {
        self.mirror.handle_input(now, input);
        let mut said = Vec::new();
        while let Some(output) = self.mirror.poll_output() {
            match output {
                Output::Transmit { datagram, .. } => said.push(read(datagram.as_bytes())),
                Output::Event(event) => said.push(Said::Event(event)),
                Output::Effect { ticket, effect } => {
                    said.push(Said::Effect(effect.clone()));
                    if self.answers {
                        self.perform(&effect);
                        let answer = Answer::Done;
                        self.mirror.handle_input(now, Input::Done { ticket, answer });
                    } else {
                        self.kept.push((ticket, effect));
                    }
                }
            }
        }
        said
    }

    /// Answers all that was not answered.
    fn done(&mut self, now: Instant, answer: &Answer) {
        for (ticket, effect) in mem::take(&mut self.kept) {
            if *answer == Answer::Done {
                self.perform(&effect);
            }
            self.tell(now, Input::Done { ticket, answer: answer.clone() });
        }
    }

    fn perform(&mut self, effect: &Effect) {
        match effect {
            Effect::Save(saved) => self.saved = saved.clone(),
            Effect::Append(batch) => self.end = batch.end,
            Effect::Apply(batch) => self.applied = batch.last,
            _ => {}
        }
    }

    /// Wakes it for whatever it wants until `end`.
    fn run(&mut self, begin: Instant, end: Instant) -> Vec<Said> {
        let mut said = self.tell(begin, Input::Timeout);
        while let Some(due) = self.mirror.poll_timeout().filter(|due| due.at <= end) {
            said.extend(self.tell(due.at.max(begin), Input::Timeout));
        }
        said
    }

    fn hand_over(self, now: Instant) -> (Baton, Saved, Position, Seq) {
        let Self { mirror, saved, end, applied, .. } = self;
        let baton = mirror.hand_over(now).map_err(|(_, why)| why).unwrap();
        let mut bytes = Vec::new();
        baton.encode(&mut bytes);
        (Baton::decode(&bytes).unwrap(), saved, end, applied)
    }

    /// The node in another process, `gap` after this one ended.
    fn resumed(self, now: Instant, gap: Duration) -> Self {
        let (baton, saved, end, applied) = self.hand_over(now);
        let (now, found) = (now + gap, recovered(&saved, end, applied));
        let keys = Keys::insecure();
        let config = config(Vote::None);
        assert_eq!(baton.check(&config, &saved, now), Ok(()));
        let mirror = Mirror::resume(config, keys, saved.clone(), found, baton, 9, now);
        Self { mirror, saved, end, applied, kept: Vec::new(), answers: true }
    }
}

fn read(datagram: &[u8]) -> Said {
    let packet = wire::open(datagram, &Keys::insecure(), CLUSTER).unwrap();
    let header = packet.header;
    match header.kind {
        Kind::Beat => {
            let beat = Beat::decode(header.sequence, packet.body).unwrap();
            assert_eq!(beat.boot, BOOT, "it is one boot");
            let (role, ready) = (beat.status.role, beat.status.ready);
            Said::Beat { number: beat.number, role, ready }
        }
        Kind::Ask => {
            let ask = Ask::decode(header.sender, packet.body).unwrap();
            Said::Ask(ask.number, ask.request)
        }
        Kind::Answer => unreachable!("a node answers nobody"),
        Kind::Member | Kind::Propose | Kind::Pull | Kind::Part | Kind::Survey => {
            unreachable!("a pair sends no datagram of a farm")
        }
    }
}

#[test]
fn the_next_process_says_who_it_is_and_adopts_what_runs() {
    let mut node = Node::alone();
    let said = node.run(at(2_000), at(2_150));
    let [Said::Beat { number, .. }] = said[..] else { panic!("it is quiet: {said:?}") };
    let epoch = node.saved.membership.epoch;
    let mut node = node.resumed(at(2_150), Duration::from_millis(70));
    let said = node.tell(at(2_220), Input::Timeout);
    let lifetime = Profile::Lan.timing().lease;
    let expected = [
        Said::Event(Event::Resumed(Role::Alone)),
        Said::Beat { number: number + 1, role: Role::Alone, ready: true },
        Said::Effect(Effect::AdoptAddress { epoch, lifetime }),
        Said::Effect(Effect::AdoptApp { epoch, head: Seq::ZERO }),
    ];
    assert_eq!(said, expected);
    assert_eq!(node.tell(at(2_220), Input::Timeout), []);
    assert_eq!(node.mirror.propose(at(2_220), b"a record"), Ok(Seq(1)));
    node.tell(at(2_220), Input::Timeout);
    assert_eq!((node.end.seq, node.applied), (Seq(1), Seq(1)));
    assert!(node.mirror.status().serving);

    // A second time, with records of this reign behind and before it.
    let mut node = node.resumed(at(2_230), Duration::ZERO);
    node.tell(at(2_230), Input::Timeout);
    assert_eq!(node.mirror.propose(at(2_231), b"another"), Ok(Seq(2)));
    node.tell(at(2_231), Input::Timeout);
    assert_eq!((node.end.seq, node.applied), (Seq(2), Seq(2)));
    assert_eq!(node.saved.lineage.entries().len(), 2, "each run of the log has its entry");
    assert_eq!(node.saved.membership.epoch, epoch, "of the same reign");
}

#[test]
fn nothing_under_way_is_left_behind() {
    let mut node = Node::alone();
    node.answers = false;
    node.mirror.propose(at(2_001), b"a record").unwrap();
    assert_eq!(node.mirror.may_hand_over(at(2_001)), Err(HandOverError::Log));
    node.tell(at(2_001), Input::Timeout);
    assert_eq!(node.mirror.may_hand_over(at(2_001)), Err(HandOverError::Log), "on the disk");

    let mut node = Node::alone();
    node.answers = false;
    node.mirror.order(at(2_001), Order::Restart).unwrap();
    assert_eq!(node.mirror.may_hand_over(at(2_001)), Err(HandOverError::Outputs));
    node.tell(at(2_001), Input::Timeout);
    assert!(matches!(node.kept[..], [(_, Effect::StopApp { force: false })]), "{:?}", node.kept);
    let (mirror, why) = node.mirror.hand_over(at(2_001)).unwrap_err();
    assert_eq!(why, HandOverError::Service);
    assert!(why.passes());
    assert_eq!(mirror.status().role, Role::Alone, "it is as it was");
}

#[test]
fn who_has_nothing_to_lose_boots_once_nothing_is_under_way() {
    let me = NodeId::new(0).unwrap();
    let saved = Saved::blank(CLUSTER, ModuleId(1), me, StoreId(3));
    let (end, applied) = (Position::default(), Seq::ZERO);
    let found = recovered(&saved, end, applied);
    let keys = Keys::insecure();
    let mirror = Mirror::new(config(Vote::None), keys, saved.clone(), found, BOOT, 4, at(0));
    let mut node = Node { mirror, saved, end, applied, kept: Vec::new(), answers: false };
    node.tell(at(0), Input::Timeout);
    // What an earlier boot may have left.
    assert!(matches!(node.kept[..], [(_, Effect::DropAddress)]), "{:?}", node.kept);
    assert_eq!(node.mirror.may_hand_over(at(0)), Err(HandOverError::Service));
    node.answers = true;
    node.done(at(0), &Answer::Done);
    let why = node.mirror.may_hand_over(at(0)).unwrap_err();
    assert_eq!((why, why.is_a_boot()), (HandOverError::Incomplete, true));
}

#[test]
fn who_lost_its_storage_boots_once_its_application_has_stopped() {
    let mut node = Node::alone();
    node.answers = false;
    node.mirror.propose(at(2_001), b"a record").unwrap();
    node.tell(at(2_001), Input::Timeout);
    assert!(matches!(node.kept[..], [(_, Effect::Append(_))]), "{:?}", node.kept);
    node.done(at(2_001), &Answer::Failed);
    assert!(node.mirror.status().broken);
    let why = node.mirror.may_hand_over(at(2_001)).unwrap_err();
    assert_eq!((why, why.is_a_boot()), (HandOverError::Failing, false), "nobody else could serve");
    node.mirror.order(at(2_001), Order::Stop).unwrap();
    node.tell(at(2_001), Input::Timeout);
    let why = node.mirror.may_hand_over(at(2_001)).unwrap_err();
    assert_eq!((why, why.is_a_boot()), (HandOverError::Service, false));
    node.answers = true;
    node.done(at(2_001), &Answer::Done);
    node.run(at(2_001), at(2_500));
    assert!(!node.mirror.status().serving);
    assert_eq!(node.mirror.may_hand_over(at(2_500)), Err(HandOverError::Broken));
}

#[test]
fn a_baton_fits_its_own_node_in_its_own_time() {
    let node = Node::alone();
    let (baton, saved, ..) = node.hand_over(at(2_000));
    let same = config(Vote::None);
    let check = |config: &Config, saved: &Saved, now| baton.check(config, saved, now);
    assert_eq!(check(&same, &saved, at(2_000)), Ok(()));

    let late = baton.until().saturating_since(at(0)).as_millis() as u64;
    assert!((2_400..=4_500).contains(&late), "S before the lifetime is over: {late}");
    assert_eq!(check(&same, &saved, at(late - 1)), Ok(()));
    assert_eq!(check(&same, &saved, at(late)), Err(Void::Late(Duration::ZERO)));
    assert_eq!(check(&same, &saved, at(1_999)), Err(Void::Clock));

    assert_eq!(check(&config(Vote::Manual), &saved, at(2_000)), Err(Void::Config));
    let policy = Policy { vote: Vote::None, ..Policy::default() };
    let other =
        |identity, timing| Config::new(identity, timing, policy, Limits::default()).unwrap();
    let identity = *same.identity();
    let links = other(Identity { links: 2, ..identity }, Profile::Lan.timing());
    assert_eq!(check(&links, &saved, at(2_000)), Err(Void::Config));
    let wan = other(identity, Profile::Wan.timing());
    assert_eq!(check(&wan, &saved, at(2_000)), Err(Void::Config), "another lease");
    let module = other(Identity { module: ModuleId(2), ..identity }, Profile::Lan.timing());
    assert_eq!(check(&module, &saved, at(2_000)), Err(Void::Stranger));

    let replaced = Saved { store: StoreId(4), ..saved.clone() };
    assert_eq!(check(&same, &replaced, at(2_000)), Err(Void::Stranger));
    let mut newer = saved;
    newer.membership.epoch = newer.membership.epoch.next(NodeId::new(1).unwrap());
    newer.membership.holder = NodeId::new(1).unwrap();
    assert_eq!(check(&same, &newer, at(2_000)), Err(Void::Saved));
}

#[test]
fn a_pair_without_a_witness_waits_no_longer_than_its_peer_does() {
    // A secondary whose primary is lost at this moment, as far as it can know.
    let [me, peer] = [0, 1].map(|id| NodeId::new(id).unwrap());
    let mut saved = Saved::blank(CLUSTER, ModuleId(1), me, StoreId(3));
    saved.membership.epoch = ha_core::proto::Epoch::new(2, peer);
    saved.membership.holder = peer;
    saved.membership.set = NodeSet::from_bits(0b11);
    saved.membership.data = ha_core::proto::DataId(7);
    (saved.state, saved.incarnation) = (DataState::Complete, Incarnation(9));
    for (vote, most) in [(Vote::None, 1_000), (Vote::Manual, 1_000), (Vote::Arbiter, 3_000)] {
        let found = recovered(&saved, Position::default(), Seq::ZERO);
        let keys = Keys::insecure();
        let mirror = Mirror::new(config(vote), keys, saved.clone(), found, BOOT, 4, at(0));
        let (end, applied) = (Position::default(), Seq::ZERO);
        let mut node =
            Node { mirror, saved: saved.clone(), end, applied, kept: Vec::new(), answers: true };
        node.run(at(0), at(100));
        let (baton, ..) = node.hand_over(at(100));
        assert_eq!(baton.until(), at(100 + most), "{vote}");
        assert!(!baton.serves());
    }
}
