//! How a world begins, and how a node and the witness boot.

use std::collections::VecDeque;

use bytes::BytesMut;
use ha_core::config::{Identity, Limits, Policy};
use ha_core::{Config, Input, Mirror, Saved};
use ha_proto::wire::Keys;
use ha_proto::{
    Boot, ClusterId, Incarnation, Machine, ModuleId, NodeId, Outbox, Position, Prng, StoreId,
};
use ha_quorum::{Arbiter, Vote, ping};
use ha_replicate::Recovered;
use ha_replicate::scan::Scan;

use super::World;
use crate::check::{Checks, Seen};
use crate::client::Client;
use crate::clock::Clock;
use crate::disk::Disk;
use crate::fault::{Planned, RESOURCES};
use crate::host::{CLIENTS, Host};
use crate::lan::Lan;
use crate::network::Network;
use crate::node::{Address, Ailments, Effects, Node, Process};
use crate::options::{Keeper, Options};
use crate::plain::Plain;
use crate::queue::{Event, Queue};
use crate::rights::Rights;
use crate::scene::Scene;
use crate::stream::Stream;
use crate::trace::{Column, Trace};
use crate::weather::{MS, Weather};
use crate::witness::Witness;

/// The cluster of every world.
pub(crate) const CLUSTER: ClusterId = ClusterId(0x5157);
/// The module of every world.
pub(crate) const MODULE: ModuleId = ModuleId(1);
/// How many networks A and B share.
const LINKS: u8 = 2;

impl World {
    /// A world at time zero: both nodes blank and booting, the witness up.
    pub fn new(options: Options, weather: Weather, plan: Vec<Planned>) -> Self {
        let mut prng = Prng::new(options.seed ^ 0x0077_6f72_6c64);
        let timing = options.profile.timing();
        let nodes = [0, 1].map(|node| blank_node(node, &weather, prng.next_u64()));
        let mut scene = Scene {
            now: 0,
            vote: options.vote,
            lease: timing.lease,
            stop: timing.stop,
            heartbeat: timing.heartbeat,
            timeout: timing.timeout,
            nodes,
            witness: blank_witness(&weather, prng.next_u64()),
            network: Network::default(),
            lan: Lan::new(options.seed),
            overruled: None,
            founders: [false; 2],
            gaps: [0; CLIENTS],
        };
        if options.keeper == Keeper::Store {
            scene.witness.plain = Some(Plain::default());
        }
        let mut world = Self {
            options,
            scene,
            weather,
            trace: Trace::new(options.trace),
            violation: None,
            acknowledged: 0,
            operator: true,
            checks: Checks::new(options.vote),
            queue: Queue::default(),
            stream: Stream::default(),
            clients: [Client::default(); CLIENTS],
            plan,
            prng,
            keys: Keys::new(&[0x5a; 32]),
            liveness: false,
            whole: None,
            asked: BytesMut::new(),
            pulled: BytesMut::new(),
            arbiter_box: Outbox::new(Arbiter::OUTPUTS_MAX),
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.witness_boot();
        for node in 0..2 {
            let after = self.prng.below(20 * MS);
            self.at(after, Event::Boot { node, life: 0 });
        }
        for client in 0..CLIENTS {
            let after = 50 * MS + self.prng.below(500 * MS);
            self.at(after, Event::Client { client });
        }
        for index in 0..self.plan.len() {
            self.queue.push(self.plan[index].at, Event::Fault { index });
        }
        self.at(30 * MS, Event::Dial);
        self.at(40 * MS, Event::Operator);
    }

    /// Boots a node unless something else happened to it meanwhile.
    pub(super) fn boot_after(&mut self, node: usize, life: u32) {
        let here = &self.scene.nodes[node];
        if here.process == Process::Down && here.life == life {
            self.boot(node);
        }
    }

    /// Starts a node's process with what its disk holds.
    pub(crate) fn boot(&mut self, node: usize) {
        let now = self.scene.now;
        let (boot, seed) = (Boot(self.prng.next_u64() | 1), self.prng.next_u64());
        let config = self.config(node);
        let lease = self.scene.lease;
        let keys = self.keys.clone();
        self.recover(node);
        let here = &mut self.scene.nodes[node];
        assert!(here.process == Process::Down, "a process starts once");
        here.process = Process::Running;
        here.life += 1;
        here.clock = here.clock.restarted(now);
        here.storage_failed = false;
        here.log_failed = false;
        let local = here.clock.local(now);
        let alone = here.disk.saved.may_run_alone();
        here.rights = Rights::new(here.id, boot, lease, local, alone);
        let recovered = recovered(here);
        let saved = here.disk.saved.clone();
        here.mirror = Some(Mirror::new(config, keys, saved, recovered, boot, seed, local));
        let down = here.ailments.resources_down;
        self.addresses_begin(node);
        self.plain_boot(node);
        self.note(Column::of(node), || "boots".into());
        self.see(&Seen::Booted { node });
        for (index, _) in RESOURCES.into_iter().zip(down).filter(|(_, down)| *down > 0) {
            self.feed(node, Input::Resource { index, up: Some(false), blocks: true });
        }
        self.feed(node, Input::Timeout);
    }

    /// The library's own recovery must find what the model has, behind whatever was torn.
    pub(super) fn recover(&mut self, node: usize) {
        let log = &mut self.scene.nodes[node].disk.log;
        let bytes = log.recover();
        let mut scan = Scan::new(&bytes, Position::default());
        while scan.next().is_some() {}
        let (found, head) = (scan.position(), log.head());
        if found != head || scan.later().is_some() {
            self.broken("storage", format!("node {node} recovers {found:?}, there is {head:?}"));
        }
    }

    pub(super) fn config(&self, node: usize) -> Config {
        let ids = [0, 1].map(|id| NodeId::new(id).expect("0 and 1 are ids"));
        let identity = Identity {
            cluster: CLUSTER,
            module: MODULE,
            me: ids[node],
            peer: ids[1 - node],
            links: LINKS,
        };
        let vote = self.options.vote;
        let probe = self.options.profile.timing().round_trip;
        let ping = (vote == Vote::Ping).then_some(ping::Config { targets: 1, probe });
        let policy = Policy { vote, ping, ..Policy::default() };
        let timing = self.options.profile.timing();
        let limits = Limits { stall: timing.timeout * 2, ..Limits::default() };
        Config::new(identity, timing, policy, limits).expect("a profile is possible")
    }

    /// Boots the witness unless something else happened to it meanwhile.
    pub(super) fn witness_boot_after(&mut self, life: u32) {
        let witness = &self.scene.witness;
        if witness.process == Process::Down && witness.life == life {
            self.witness_boot();
        }
    }

    /// Starts the witness's process with what its disk holds.
    pub(crate) fn witness_boot(&mut self) {
        let now = self.scene.now;
        let witness = &mut self.scene.witness;
        assert!(witness.process == Process::Down, "a process starts once");
        witness.process = Process::Running;
        witness.life += 1;
        witness.clock = witness.clock.restarted(now);
        witness.booted = now;
        witness.kept = witness.stored;
        let local = witness.clock.local(now);
        if witness.plain.is_none() {
            let arbiter = Arbiter::new(local, witness.incarnation, witness.stored);
            witness.arbiter = Some(arbiter.expect("it stored this register itself"));
        }
        self.note(Column::W, || "boots".into());
    }
}

/// What a driver's storage would find.
pub(super) fn recovered(node: &Node) -> Recovered {
    let saved = &node.disk.saved;
    Recovered {
        position: node.disk.log.head(),
        lineage: saved.lineage.clone(),
        state: saved.state,
        membership: saved.is_initialised().then_some(saved.membership),
        store: saved.store,
        applied: node.host.state.applied,
        bytes: node.disk.log.len() as u64,
    }
}

fn blank_node(node: usize, weather: &Weather, store: u64) -> Node {
    let id = NodeId::new(node as u8).expect("0 and 1 are ids");
    let clock = Clock::new(0, weather.rates[node]);
    let rights = Rights::new(id, Boot(0), core::time::Duration::ZERO, clock.local(0), false);
    Node {
        id,
        process: Process::Down,
        life: 0,
        clock,
        mirror: None,
        upgrade: None,
        disk: Disk::blank(blank_saved(id, store)),
        host: Host::default(),
        address: Address::default(),
        rights,
        effects: Effects::default(),
        timer: None,
        inbox: VecDeque::new(),
        deferred: Vec::new(),
        excused_until: 0,
        lost_storage: false,
        storage_failed: false,
        log_failed: false,
        ailments: Ailments::default(),
    }
}

/// The file of a node that has never held anything, with a store of its own.
pub(super) fn blank_saved(id: NodeId, store: u64) -> Saved {
    Saved::blank(CLUSTER, MODULE, id, StoreId(store | 1))
}

fn blank_witness(weather: &Weather, incarnation: u64) -> Witness {
    Witness {
        process: Process::Down,
        life: 0,
        clock: Clock::new(0, weather.rates[2]),
        booted: 0,
        arbiter: None,
        incarnation: Incarnation(incarnation | 1),
        stored: None,
        told: false,
        told_record: None,
        kept: None,
        storing: None,
        store_waits: false,
        inbox: VecDeque::new(),
        disk_fail: false,
        sequence: 0,
        plain: None,
    }
}
