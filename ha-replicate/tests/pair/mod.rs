//! A pair of logs, two disks, a stream that breaks, and a register that is never wrong.

mod disk;
mod node;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use disk::Disk;
use ha_proto::{
    Chain, DataId, DataState, Epoch, Instant, Membership, NodeId, NodeSet, Seq, StoreId,
};
use ha_replicate::{Input, Log};
pub(crate) use node::LANES;
use node::Node;
use proptest::prelude::*;

/// One step of a history. `who` is one of the two nodes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Propose {
        who: usize,
        len: usize,
    },
    Tick,
    /// Everything goes on for a while, but for one thing that is stuck.
    Run {
        rounds: usize,
        stuck: usize,
    },
    Finish {
        who: usize,
        lane: usize,
    },
    Send {
        who: usize,
    },
    Deliver {
        to: usize,
    },
    Connect,
    Break,
    Crash {
        who: usize,
        kept: usize,
    },
    Restart {
        who: usize,
        keep_applied: bool,
    },
    Replace {
        who: usize,
    },
    Detach {
        who: usize,
    },
    Elect {
        who: usize,
    },
    /// The holder serves again, in the epoch that it has saved (R12: on its peer's promise).
    Resume {
        who: usize,
    },
    Tell {
        who: usize,
    },
    Exclude,
    Grow,
    Admit,
}

pub(crate) struct Pair {
    now: Instant,
    pub(crate) nodes: [Node; 2],
    connected: bool,
    /// On their way to each node.
    wires: [VecDeque<Bytes>; 2],
    pub(crate) register: Membership,
    /// The chain at each acknowledged record.
    acknowledged: BTreeMap<Seq, Chain>,
    stores: u64,
}

impl Pair {
    /// Node 0 began to serve alone, node 1 was blank; by now both have everything.
    pub(crate) fn new() -> Self {
        let ids = [NodeId::new(0).unwrap(), NodeId::new(1).unwrap()];
        let node = |at: usize| {
            let disk = Disk::blank(StoreId(at as u64 + 1));
            Node::new(ids[at], ids[1 - at], disk)
        };
        let register = Membership {
            epoch: Epoch::new(1, ids[0]),
            holder: ids[0],
            set: NodeSet::only(ids[0]),
            data: DataId(7),
        };
        let mut pair = Self {
            now: Instant::from_nanos(1),
            nodes: [node(0), node(1)],
            connected: false,
            wires: [VecDeque::new(), VecDeque::new()],
            register,
            acknowledged: BTreeMap::new(),
            stores: 2,
        };
        pair.nodes[0].disk.state = DataState::Complete;
        pair.nodes[0].start(true);
        pair.nodes[1].start(true);
        pair.nodes[0].lead(register);
        pair.finish_all();
        pair.recover();
        pair
    }

    pub(crate) fn step(&mut self, step: Step) {
        self.now += Duration::from_millis(1);
        let now = self.now;
        match step {
            Step::Propose { who, len } => self.propose(who, len),
            Step::Tick => self.tick(),
            Step::Run { rounds, stuck } => self.run(rounds, stuck),
            Step::Finish { who, lane } => {
                self.nodes[who].finish(now, LANES[lane]);
            }
            Step::Send { who } => {
                self.send(who);
            }
            Step::Deliver { to } => {
                self.deliver(to);
            }
            Step::Connect => self.connect(),
            Step::Break => self.break_stream(),
            Step::Crash { who, kept } => {
                self.nodes[who].crash(kept);
                self.break_stream();
            }
            Step::Restart { who, keep_applied } => self.restart(who, keep_applied),
            Step::Replace { who } => self.replace(who),
            Step::Detach { who } => self.nodes[who].detach(now),
            Step::Elect { who } => self.elect(who),
            Step::Resume { who } => self.resume(who),
            Step::Tell { who } => self.inform(who),
            Step::Exclude => self.exclude(),
            Step::Grow => self.grow(),
            Step::Admit => self.admit(),
        }
        self.check();
    }

    fn propose(&mut self, who: usize, len: usize) {
        if let Some(log) = &mut self.nodes[who].log {
            let _ = log.propose(self.now, &vec![7; len]);
        }
    }

    fn tick(&mut self) {
        for node in &mut self.nodes {
            node.tell(self.now, Input::Tick);
        }
    }

    fn send(&mut self, who: usize) -> bool {
        if !self.connected {
            return false;
        }
        let message = self.nodes[who].poll(self.now);
        let sent = message.is_some();
        self.wires[1 - who].extend(message);
        sent
    }

    fn deliver(&mut self, to: usize) -> bool {
        let Some(message) = self.wires[to].pop_front() else { return false };
        let node = &mut self.nodes[to];
        let lower = lower_frames(&message, node.disk.membership);
        let before = node.log.as_ref().map(Log::head);
        node.tell(self.now, Input::Message(message));
        let after = node.log.as_ref().map(Log::head);
        assert!(!lower || before == after, "R3: frames of a lower epoch were accepted");
        true
    }

    fn connect(&mut self) {
        if !self.connected && self.nodes.iter().all(|node| node.log.is_some()) {
            self.connected = true;
            for node in &mut self.nodes {
                node.tell(self.now, Input::Connected);
            }
        }
    }

    fn break_stream(&mut self) {
        self.wires = [VecDeque::new(), VecDeque::new()];
        if self.connected {
            self.connected = false;
            for node in &mut self.nodes {
                node.tell(self.now, Input::Disconnected);
            }
        }
    }

    fn restart(&mut self, who: usize, keep_applied: bool) {
        if self.nodes[who].log.is_none() {
            self.nodes[who].start(keep_applied);
        }
    }

    /// One permanent loss at a time: only while the other node has everything.
    fn replace(&mut self, who: usize) {
        let other = &self.nodes[1 - who];
        if self.register.set.contains(other.id) && other.disk.state == DataState::Complete {
            self.stores += 1;
            self.nodes[who].replace(StoreId(self.stores));
            self.break_stream();
        }
    }

    /// W: Take. The former holder may go on serving for a while: its epoch is lower.
    fn elect(&mut self, who: usize) {
        let node = &mut self.nodes[who];
        let able = self.register.set.contains(node.id) && node.disk.state == DataState::Complete;
        let taken = Membership {
            epoch: self.register.epoch.next(node.id),
            holder: node.id,
            ..self.register
        };
        if able && node.lead(taken) {
            self.register = taken;
        }
    }

    fn resume(&mut self, who: usize) {
        let register = self.register;
        let node = &mut self.nodes[who];
        let saved = node.disk.membership.filter(|saved| saved.epoch == register.epoch);
        if let Some(saved) = saved.filter(|saved| saved.holder == node.id && !node.leads()) {
            node.lead(saved);
        }
    }

    /// A node learns what W has.
    fn inform(&mut self, who: usize) {
        let register = self.register;
        let node = &mut self.nodes[who];
        if register.holder == node.peer {
            node.follow(register);
        }
    }

    fn holder(&self) -> usize {
        usize::from(self.register.holder.as_u8())
    }

    /// Whether the holder serves in W's epoch.
    fn serves(&self) -> bool {
        let node = &self.nodes[self.holder()];
        let epoch = node.disk.membership.map(|saved| saved.epoch);
        epoch == Some(self.register.epoch) && node.leads()
    }

    fn change(&mut self, set: NodeSet) {
        let node = &mut self.nodes[usize::from(self.register.holder.as_u8())];
        let epoch = self.register.epoch.next(node.id);
        let changed = Membership { epoch, set, ..self.register };
        if node.lead(changed) {
            self.register = changed;
        }
    }

    fn exclude(&mut self) {
        if self.serves() {
            self.change(NodeSet::only(self.register.holder));
        }
    }

    /// The holder saves the larger set before W has it (R4).
    fn grow(&mut self) {
        let node = &mut self.nodes[usize::from(self.register.holder.as_u8())];
        let Some(log) = &node.log else { return };
        let ready = log.peer().following && log.peer().state == Some(DataState::Complete);
        if ready && self.serves() {
            let set = self.register.set.with(NodeId::new(0).unwrap());
            let set = set.with(NodeId::new(1).unwrap());
            let grown = Membership { set, ..self.register };
            let holder = self.holder();
            self.nodes[holder].lead(grown);
        }
    }

    fn admit(&mut self) {
        let node = &self.nodes[self.holder()];
        let (Some(log), Some(saved)) = (&node.log, node.disk.membership) else { return };
        let all = log.peer().following && log.peer().caught_up_to >= log.committed();
        if saved.set.len() == 2 && self.register.set.len() == 1 && all && self.serves() {
            self.change(saved.set);
        }
    }

    /// Everything that must hold after every step.
    fn check(&mut self) {
        for who in 0..2 {
            let commits = std::mem::take(&mut self.nodes[who].committed);
            for seq in commits {
                self.acknowledge(who, seq);
            }
            assert_eq!(self.nodes[who].unreadable, 0);
            self.check_applied(who);
            self.check_member(who);
        }
        self.check_acks();
    }

    /// A leader of W's epoch that commits has acknowledged; a follower must agree.
    fn acknowledge(&mut self, who: usize, upto: Seq) {
        let disk = &self.nodes[who].disk;
        let from = self.acknowledged.len() as u64 + 1;
        for seq in (from..=upto.0).map(Seq) {
            let position = disk.durable_position(seq).expect("committed before it is durable");
            self.acknowledged.insert(seq, position.chain);
        }
        let position = disk.durable_position(upto).expect("committed before it is durable");
        let agreed = self.acknowledged[&upto];
        assert_eq!(position.chain, agreed, "node {who} commits another record {upto}");
    }

    fn check_applied(&self, who: usize) {
        for position in self.nodes[who].applied.iter().rev().take(3) {
            let agreed = self.acknowledged.get(&position.seq);
            assert_eq!(agreed, Some(&position.chain), "applied what was not committed");
        }
    }

    /// G4: every member of W's set that has storage is complete and has what was acknowledged.
    fn check_member(&self, who: usize) {
        let node = &self.nodes[who];
        let is_blank = node.disk.state == DataState::Blank;
        let Some((last, chain)) = self.acknowledged.last_key_value() else { return };
        if is_blank || !self.register.set.contains(node.id) {
            return;
        }
        assert_eq!(node.disk.state, DataState::Complete, "G4: node {who} is overwritten");
        let position = node.disk.durable_position(*last);
        assert_eq!(position.map(|position| position.chain), Some(*chain), "G4: node {who}");
    }

    /// R15: what the holder counts as acknowledged is durable at the peer.
    fn check_acks(&self) {
        let holder = self.holder();
        let (node, peer) = (&self.nodes[holder], &self.nodes[1 - holder]);
        let Some(log) = node.log.as_ref().filter(|_| self.serves()) else { return };
        let view = log.peer();
        if view.store == Some(peer.disk.store) && view.caught_up_to > Seq::ZERO {
            let theirs = peer.disk.durable_position(view.caught_up_to);
            let ours = node.disk.durable_position(view.caught_up_to);
            assert!(theirs.is_some(), "R15: acknowledged and not durable");
            assert!(ours.is_none() || ours == theirs, "R15: another record was acknowledged");
        }
    }

    /// All faults stop: the pair must become whole, with the same records everywhere.
    pub(crate) fn recover(&mut self) {
        for who in 0..2 {
            self.restart(who, true);
        }
        self.elect_anyone();
        let mut rounds = 0;
        while !self.is_whole() {
            rounds += 1;
            assert!(rounds < 400, "not whole: {}", self.describe());
            self.step(Step::Connect);
            self.step(Step::Tell { who: 1 - self.holder() });
            self.run_until_idle();
            let holder = self.holder();
            if std::mem::take(&mut self.nodes[holder].wants_exclusion) {
                self.step(Step::Exclude);
                self.run_until_idle();
            }
            if std::mem::take(&mut self.nodes[holder].caught_up) {
                self.step(Step::Grow);
                self.run_until_idle();
                self.step(Step::Admit);
            }
        }
    }

    fn elect_anyone(&mut self) {
        for who in [self.holder(), 1 - self.holder()] {
            if !self.serves() {
                self.run_until_idle();
                self.step(Step::Elect { who });
                self.run_until_idle();
            }
        }
        assert!(self.serves(), "nobody can be elected: {}", self.describe());
    }

    fn finish_all(&mut self) -> bool {
        self.finish_but(NOTHING_STUCK)
    }

    /// One of each lane finishes, but for the lane that is stuck.
    fn finish_but(&mut self, stuck: usize) -> bool {
        let mut moved = false;
        for at in (0..2 * LANES.len()).filter(|&at| at != stuck) {
            let (who, lane) = (at / LANES.len(), LANES[at % LANES.len()]);
            moved |= self.nodes[who].finish(self.now, lane);
        }
        self.check();
        moved
    }

    fn run_until_idle(&mut self) {
        for _ in 0..2_000 {
            if !self.round(NOTHING_STUCK) {
                return;
            }
        }
        panic!("the pair talks without end: {}", self.describe());
    }

    fn run(&mut self, rounds: usize, stuck: usize) {
        for _ in 0..rounds {
            self.round(stuck);
        }
    }

    /// One of everything; whether anything happened.
    fn round(&mut self, stuck: usize) -> bool {
        self.tick();
        let mut moved = self.finish_but(stuck);
        for who in 0..2 {
            moved |= self.send(who);
            moved |= stuck != 2 * LANES.len() + who && self.deliver(who);
            self.check();
        }
        moved
    }

    fn is_whole(&self) -> bool {
        let all = |node: &Node| {
            node.log.as_ref().is_some_and(|log| {
                let head = self.nodes[self.holder()].log.as_ref().unwrap().head();
                log.durable() == head && log.committed() == head.seq && log.applied() == head.seq
            })
        };
        self.register.set.len() == 2 && self.serves() && self.nodes.iter().all(all)
    }

    fn describe(&self) -> String {
        let node = |node: &Node| {
            let log = node.log.as_ref();
            let at = log.map(|log| (log.head().seq, log.durable().seq, log.committed()));
            let peer = log.map(|log| (log.peer(), log.applied(), log.counters()));
            format!("{:?} {:?} {at:?} {peer:?}", node.disk.state, node.disk.membership)
        };
        format!("{:?}\n0: {}\n1: {}", self.register, node(&self.nodes[0]), node(&self.nodes[1]))
    }
}

/// Which thing [`Step::Run`] leaves out: lanes, then wires, then nothing.
const NOTHING_STUCK: usize = 2 * LANES.len() + 2;

/// How many steps of histories saw each interesting thing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reached {
    acknowledged: u64,
    acknowledged_by_both: u64,
    led_by_the_other: u64,
    two_leaders: u64,
    cut: u64,
    refused: u64,
    ignored: u64,
    read: u64,
    copying: u64,
    stalled: u64,
    admitted: u64,
}

impl Reached {
    pub(crate) fn note(&mut self, pair: &Pair) {
        let logs = || pair.nodes.iter().filter_map(|node| node.log.as_ref());
        let counters = || logs().map(Log::counters);
        self.acknowledged = self.acknowledged.max(pair.acknowledged.len() as u64);
        self.two_leaders += u64::from(pair.nodes.iter().all(Node::leads));
        self.cut += u64::from(pair.nodes.iter().map(|node| node.truncated).sum::<u32>());
        self.refused += counters().map(|counters| counters.refused_epoch).sum::<u64>();
        self.ignored += counters().map(|counters| counters.ignored).sum::<u64>();
        self.read += counters().map(|counters| counters.reads).sum::<u64>();
        let targets = pair.nodes.iter().filter(|node| node.disk.state == DataState::Target);
        self.copying += targets.count() as u64;
        self.stalled += logs().filter(|log| log.peer().stalled).count() as u64;
        let admitted = pair.register.set.len() == 2;
        self.admitted += u64::from(admitted);
        self.led_by_the_other += u64::from(pair.holder() == 1);
        let both = logs().map(Log::committed).min().filter(|_| logs().count() == 2);
        self.acknowledged_by_both += both.map_or(0, |seq| u64::from(admitted && seq > Seq::ZERO));
    }

    pub(crate) fn everything(&self) -> bool {
        let all = [
            self.acknowledged,
            self.acknowledged_by_both,
            self.led_by_the_other,
            self.two_leaders,
            self.cut,
            self.refused,
            self.ignored,
            self.read,
            self.copying,
            self.stalled,
            self.admitted,
        ];
        all.iter().all(|&count| count > 0)
    }
}

/// Whether these are frames of a lower epoch than the saved one.
fn lower_frames(message: &[u8], saved: Option<Membership>) -> bool {
    let epoch = message.get(1..9).map(|bytes| u64::from_be_bytes(bytes.try_into().unwrap()));
    let saved = saved.map(|saved| saved.epoch.bits());
    message[0] == 3 && epoch < saved
}

pub(crate) fn steps() -> impl Strategy<Value = Step> {
    let who = 0..2_usize;
    prop_oneof![
        12 => (who.clone(), 0..300_usize).prop_map(|(who, len)| Step::Propose { who, len }),
        6 => Just(Step::Tick),
        8 => (1..12_usize, 0..20_usize).prop_map(|(rounds, stuck)| Step::Run { rounds, stuck }),
        30 => (who.clone(), 0..4_usize).prop_map(|(who, lane)| Step::Finish { who, lane }),
        30 => who.clone().prop_map(|who| Step::Send { who }),
        30 => who.clone().prop_map(|to| Step::Deliver { to }),
        6 => Just(Step::Connect),
        1 => Just(Step::Break),
        2 => (who.clone(), 0..3_usize).prop_map(|(who, kept)| Step::Crash { who, kept }),
        5 => (who.clone(), any::<bool>())
            .prop_map(|(who, keep_applied)| Step::Restart { who, keep_applied }),
        1 => who.clone().prop_map(|who| Step::Replace { who }),
        1 => who.clone().prop_map(|who| Step::Detach { who }),
        2 => who.clone().prop_map(|who| Step::Elect { who }),
        3 => who.clone().prop_map(|who| Step::Resume { who }),
        8 => who.prop_map(|who| Step::Tell { who }),
        2 => Just(Step::Exclude),
        5 => Just(Step::Grow),
        5 => Just(Step::Admit),
    ]
}
