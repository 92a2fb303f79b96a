//! Two nodes in memory, with a perfect network and disks that are done at once.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ha_core::config::{Identity, Limits, Policy};
use ha_core::{Answer, Config, Destination, Effect, Input, Mirror, Output, Profile, Saved, Source};
use ha_proto::wire::{Datagram, Keys};
use ha_proto::{Boot, ClusterId, Instant, LinkId, ModuleId, NodeId, Role, Seq, StoreId};
use ha_quorum::Vote;
use ha_replicate::{Batch, Recovered};

/// A mirror pair that needs nothing of the world: what one node sends the other has at once, and
/// what is to be written is written. So all that it costs is ours.
#[derive(Debug)]
pub struct Pair {
    nodes: [Node; 2],
    now: Instant,
    buffer: BytesMut,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) mirror: Mirror,
    /// Its newest batches, for what is read back.
    log: VecDeque<Batch>,
    pub(crate) applied: Seq,
    /// Whether datagrams to the other node pass.
    sends: bool,
    sent: Option<Datagram>,
}

pub(crate) const CLUSTER: ClusterId = ClusterId(0x6265_6e63_6865_7321);
/// Batches that are kept to be read back: a follower that starts reads a few.
const BATCHES: usize = 64;
/// A stream message is at most a batch and its head.
const ROOM: usize = 2 << 20;
/// More rounds without an end are a pair that never falls silent.
const ROUNDS_MAX: usize = 100_000;

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

impl Pair {
    /// A pair in service: node 0 is `PRIM`, node 1 is `SECOND`, both ready.
    ///
    /// # Panics
    /// If it does not get there within a virtual minute.
    pub fn new() -> Self {
        let nodes = [0, 1].map(Node::new);
        let mut pair = Self { nodes, now: Instant::ZERO, buffer: BytesMut::new() };
        for at in 0..2 {
            pair.tell(at, Input::Connected);
        }
        let limit = Instant::ZERO + Duration::from_mins(1);
        while !pair.is_whole() {
            assert!(pair.now < limit, "a pair without faults is whole within seconds");
            pair.step();
        }
        pair
    }

    /// Proposes `payload` so many times at once and brings it all to be committed and applied.
    pub fn commit(&mut self, payload: &[u8], times: u64) {
        let goal = Seq(self.nodes[0].applied.0 + times);
        for _ in 0..times {
            let proposed = self.nodes[0].mirror.propose(self.now, payload);
            proposed.expect("the primary of a whole pair takes what fits its window");
        }
        self.tell(0, Input::Timeout);
        assert!(self.nodes[0].applied == goal, "what both hold is committed and applied");
    }

    /// The next moment at which one of them has something to do, and all that follows.
    pub fn step(&mut self) {
        let next = self.nodes.iter().filter_map(|node| node.mirror.poll_timeout()).map(|at| at.at);
        self.now = next.min().expect("a pair beats for ever").max(self.now);
        for at in 0..2 {
            self.tell(at, Input::Timeout);
        }
    }

    /// The next beat of node 1 to node 0, undelivered, and the time at which it was sent. Node 0
    /// is to be told by [`Pair::hear`].
    pub fn next_beat(&mut self) -> Datagram {
        self.nodes[1].sends = false;
        self.nodes[1].sent = None;
        loop {
            self.step();
            if let Some(datagram) = self.nodes[1].sent.take() {
                self.nodes[1].sends = true;
                return datagram;
            }
        }
    }

    /// Node 0 hears a beat; how many things it said.
    pub fn hear(&mut self, beat: &Datagram) -> usize {
        let mirror = &mut self.nodes[0].mirror;
        let source = Source::Peer(LinkId(0));
        mirror.handle_input(self.now, Input::Datagram { source, bytes: beat.as_bytes() });
        let mut said = 0;
        while mirror.poll_output().is_some() {
            said += 1;
        }
        said
    }

    /// The primary and its secondary, apart, and the time at which theirs stands still.
    pub(crate) fn split(self) -> ([Node; 2], Instant) {
        (self.nodes, self.now)
    }

    /// Whether node 0 is `PRIM` and node 1 `SECOND`, both ready.
    pub fn is_whole(&self) -> bool {
        let roles = [Role::Prim, Role::Second];
        self.nodes.iter().zip(roles).all(|(node, role)| {
            let status = node.mirror.status();
            status.role == role && status.ready
        })
    }

    /// Tells one node something, and both whatever follows, until they are silent.
    fn tell(&mut self, at: usize, input: Input<'_>) {
        self.nodes[at].mirror.handle_input(self.now, input);
        for _ in 0..ROUNDS_MAX {
            if !(self.exchange(0) | self.exchange(1)) {
                return;
            }
        }
        panic!("the pair never falls silent");
    }

    /// Does what one node said; whether it said anything.
    fn exchange(&mut self, at: usize) -> bool {
        let [one, other] = &mut self.nodes;
        let (node, peer) = if at == 0 { (one, other) } else { (other, one) };
        let mut spoke = false;
        while let Some(output) = node.mirror.poll_output() {
            spoke = true;
            match output {
                Output::Transmit { to: Destination::Peer(link), datagram } if node.sends => {
                    let source = Source::Peer(link);
                    let bytes = datagram.as_bytes();
                    peer.mirror.handle_input(self.now, Input::Datagram { source, bytes });
                }
                Output::Transmit { datagram, .. } => node.sent = Some(datagram),
                Output::Effect { ticket, effect } => {
                    let answer = node.perform(effect);
                    node.mirror.handle_input(self.now, Input::Done { ticket, answer });
                }
                Output::Event(_) => {}
            }
        }
        while node.mirror.poll_stream(self.now, ROOM, &mut self.buffer) > 0 {
            spoke = true;
            let message = self.buffer.split().freeze();
            peer.mirror.handle_input(self.now, Input::Stream { message });
        }
        if node.mirror.poll_timeout().is_some_and(|deadline| deadline.at <= self.now) {
            node.mirror.handle_input(self.now, Input::Timeout);
            spoke = true;
        }
        spoke
    }
}

impl Node {
    fn new(me: u8) -> Self {
        let [me, peer] = [me, 1 - me].map(|id| NodeId::new(id).expect("0 and 1 are ids"));
        let module = ModuleId(1);
        let identity = Identity { cluster: CLUSTER, module, me, peer, links: 1 };
        let policy = Policy { vote: Vote::None, bootstrap: me.as_u8() == 0, ..Policy::default() };
        let config = Config::new(identity, Profile::Lan.timing(), policy, Limits::default());
        let config = config.expect("the default durations fit");
        let saved = Saved::blank(CLUSTER, module, me, StoreId(u64::from(me.as_u8()) + 1));
        let recovered = Recovered {
            position: ha_proto::Position::default(),
            lineage: saved.lineage.clone(),
            state: saved.state,
            membership: None,
            store: saved.store,
            applied: Seq::ZERO,
            bytes: 0,
        };
        let boot = Boot(u64::from(me.as_u8()) + 1);
        let keys = Keys::new(&[7; 32]);
        let mirror = Mirror::new(config, keys, saved, recovered, boot, 1, Instant::ZERO);
        Self { mirror, log: VecDeque::new(), applied: Seq::ZERO, sends: true, sent: None }
    }

    pub(crate) fn perform(&mut self, effect: Effect) -> Answer {
        match effect {
            Effect::Append(batch) => {
                if self.log.len() == BATCHES {
                    self.log.pop_front();
                }
                self.log.push_back(batch);
                Answer::Done
            }
            Effect::Read { from, .. } => Answer::Records(self.read(from)),
            Effect::Apply(batch) => {
                self.applied = batch.last;
                Answer::Done
            }
            Effect::SetAside { .. } => Answer::Kept { bytes: 0 },
            Effect::Save(_)
            | Effect::Truncate { .. }
            | Effect::Reset
            | Effect::TakeAddress { .. }
            | Effect::KeepAddress { .. }
            | Effect::AdoptAddress { .. }
            | Effect::AdoptApp { .. }
            | Effect::DropAddress
            | Effect::Probe { .. }
            | Effect::StartApp { .. }
            | Effect::StopApp { .. }
            | Effect::Fence { .. } => Answer::Done,
        }
    }

    fn read(&self, from: Seq) -> Bytes {
        let found = self.log.iter().find_map(|batch| batch.after(from.previous()));
        found.expect("only what is still kept is read back").bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_commits_and_beats() {
        let mut pair = Pair::new();
        pair.commit(&[1; 340], 1);
        pair.commit(&[2; 340], 100);
        assert_eq!(pair.nodes[0].applied, Seq(101));
        let beat = pair.next_beat();
        pair.hear(&beat);
        assert!(pair.is_whole());
    }
}
