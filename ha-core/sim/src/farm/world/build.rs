//! A world as it is before anything happens.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ha_core::farm::{Config, Identity, Isolated, Policy, Timing};
use ha_farm::{Buckets, Hash, HashOn, Mode, Protocol, Uncovered};
use ha_proto::wire::Keys;
use ha_proto::{ClusterId, Instant, ModuleId, NodeSet, Prng};

use super::{Event, World};
use crate::clock::Clock;
use crate::farm::check::Checks;
use crate::farm::client::{Client, Phase};
use crate::farm::fact::Id;
use crate::farm::fault::Planned;
use crate::farm::frame;
use crate::farm::kernel::Kernel;
use crate::farm::network::{LINKS, Network};
use crate::farm::node::{Node, Numbers};
use crate::farm::options::{Options, Spans};
use crate::farm::scene::{Scene, id};
use crate::farm::services::{self, SERVICES, Set};
use crate::farm::weather::Weather;
use crate::node::Process;
use crate::queue::Queue;
use crate::trace::Trace;

/// What all members are configured with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many members.
    pub members: usize,
    /// The durations.
    pub timing: Timing,
    /// How clients' frames reach them.
    pub mode: Mode,
    /// What chooses the bucket of the TCP service.
    pub on: HashOn,
    /// What a member does that hears nobody.
    pub isolated: Isolated,
    /// How long connections may go on at their old server.
    pub drain: Duration,
    /// How long a server takes to reach its weight.
    pub warm_up: Duration,
    /// Each member's weight at first.
    pub weights: Vec<u16>,
}

impl Setup {
    /// An ordinary farm: 100 ms, mode invisible, ports hashed, no warm-up.
    pub fn plain(members: usize) -> Self {
        Self {
            members,
            timing: Timing::default(),
            mode: Mode::Invisible,
            on: HashOn::AddrPort,
            isolated: Isolated::All,
            drain: Duration::from_secs(5),
            warm_up: Duration::ZERO,
            weights: vec![1; members],
        }
    }

    /// Drawn. Small farms are more likely: their histories are cheap, and most schedules that harm
    /// need three or four members.
    pub fn draw(prng: &mut Prng, members: Option<usize>) -> Self {
        let drawn = match prng.below(16) {
            0 => 2,
            1..=6 => 3,
            7..=10 => 4,
            11 | 12 => 5,
            13 => 6,
            14 => 7 + prng.below(4) as usize,
            _ => 11 + prng.below(6) as usize,
        };
        let members = members.unwrap_or(drawn);
        let mut setup = Self::plain(members);
        if prng.chance(300_000) {
            let millis = Duration::from_millis;
            setup.timing = Timing {
                interval: millis(10),
                lease: millis(18),
                slack: millis(7),
                round_trip: millis(1),
                rho: 1_000,
                ..Timing::default()
            };
        }
        let interval = setup.timing.interval;
        setup.mode = if prng.chance(300_000) { Mode::Directed } else { Mode::Invisible };
        setup.on = if prng.chance(700_000) { HashOn::AddrPort } else { HashOn::Addr };
        setup.isolated = if prng.chance(800_000) { Isolated::All } else { Isolated::Nothing };
        setup.drain = interval * [0, 3, 20, 100][prng.below(4) as usize];
        setup.warm_up = interval * [0, 0, 0, 30][prng.below(4) as usize];
        for weight in &mut setup.weights {
            *weight = if prng.chance(800_000) { 1 } else { 1 + prng.below(8) as u16 };
        }
        setup
    }

    /// What a member is configured with whose file says these services, with these weights.
    pub(super) fn config(&self, node: usize, set: &[usize], weights: [u16; SERVICES]) -> Config {
        let identity = Identity {
            cluster: ClusterId(0xfa),
            module: ModuleId(1),
            me: id(node),
            members: (0..self.members).map(id).collect::<NodeSet>(),
            links: LINKS as u8,
        };
        let policy = Policy {
            rules: set.iter().copied().map(services::rule).collect(),
            weights: set.iter().map(|service| weights[*service]).collect(),
            buckets: Buckets::Few,
            hash: Hash::Sip { key: *b"a key of the sim" },
            mode: self.mode,
            uncovered: Uncovered::Deny,
            mac: Some(frame::mac(node)),
            isolated: self.isolated,
            drain: self.drain,
            warm_up: self.warm_up,
        };
        Config::new(identity, self.timing, policy).expect("the simulator configures what can work")
    }
}

impl World {
    /// A world in which all hosts boot within the first moments.
    pub fn new(options: Options, setup: &Setup, weather: Weather, plan: Vec<Planned>) -> Self {
        let mut prng = Prng::new(options.seed ^ SALT);
        let spans = Spans::new(&setup.timing, setup.drain, setup.warm_up);
        let members = setup.members;
        let nodes = (0..members).map(|node| blank(node, members, &weather, setup)).collect();
        let clients = (0..weather.clients).map(|client| blank_client(client, &mut prng)).collect();
        let sets = services::sets(setup.on);
        let accord = |set: &Set| setup.config(0, set, [1; SERVICES]).accord();
        let accords = sets.iter().map(|set| (accord(set), set.clone())).collect();
        let grid = || vec![vec![0; BUCKETS]; SERVICES];
        let scene = Scene {
            now: 0,
            spans,
            mode: setup.mode,
            sets,
            accords,
            isolated: setup.isolated,
            nodes,
            network: Network::default(),
            clients,
            views: BTreeMap::new(),
            plans: BTreeMap::new(),
            moved: BTreeMap::new(),
            moved_at: BTreeMap::new(),
            linked: vec![vec![None; members]; members],
            apart: vec![0; members],
            alone: vec![0; members],
            lost: (0..members).map(|_| grid()).collect(),
            back: (0..members).map(|_| grid()).collect(),
            moves: vec![vec![Vec::new(); BUCKETS]; SERVICES],
            written_at: 0,
            calm_at: None,
            changed_at: vec![0; members],
            together: vec![0; members],
        };
        let mut world = Self {
            options,
            scene,
            weather,
            trace: Trace::new(options.trace),
            violation: None,
            checks: Checks::new(),
            queue: Queue::default(),
            plan,
            stays: None,
            lasting: BTreeSet::new(),
            prng,
            keys: Keys::insecure(),
            setup: setup.clone(),
            rolls_out: None,
            steps: Vec::new(),
            parts: BTreeMap::new(),
            resolved: None,
            boots: 0,
            sent: None,
        };
        world.begin(&spans);
        world
    }

    fn begin(&mut self, spans: &Spans) {
        for node in 0..self.scene.nodes.len() {
            let delay = 1 + self.prng.below(spans.interval * 3);
            self.at(delay, Event::Boot { node, life: 0 });
        }
        for client in 0..self.scene.clients.len() {
            let delay = spans.timeout * 3 + self.prng.below(spans.interval * 3);
            self.steps.push(0);
            self.at(delay, Event::Client { client, step: 0 });
        }
        for index in 0..self.plan.len() {
            let at = self.plan[index].at;
            self.at(at, Event::Fault { index });
        }
        self.at(1, Event::Look);
    }
}

fn blank(node: usize, members: usize, weather: &Weather, setup: &Setup) -> Node {
    Node {
        id: node,
        process: Process::Down,
        up: false,
        life: 0,
        boot: 0,
        clock: Clock::new(0, weather.rates[node]),
        farm: None,
        baton: None,
        kernel: Kernel::default(),
        app: false,
        announces: false,
        outputs: VecDeque::new(),
        answers: VecDeque::new(),
        busy: None,
        orders: VecDeque::new(),
        inbox: VecDeque::new(),
        timer: None,
        expected: None,
        acted: Instant::ZERO,
        beat_at: Instant::ZERO,
        begun: Instant::ZERO,
        begun_at: 0,
        hurt_at: 0,
        numbers: vec![Numbers::default(); members],
        fresh: 0,
        heard: vec![None; members],
        said: None,
        offers: BTreeMap::new(),
        beats: VecDeque::new(),
        stopped_at: 0,
        view: Id::default(),
        own: BTreeSet::new(),
        gap_view: None,
        highest: 0,
        write_failed: false,
        write_fails: 0,
        weights: [setup.weights[node]; SERVICES],
        file: 0,
        web: setup.weights[node],
        told: 0,
        came: [0; SERVICES],
        differs_at: 0,
        drained: [0; 3],
        stopped: 0,
    }
}

fn blank_client(client: usize, prng: &mut Prng) -> Client {
    let port = 1_024 + prng.below(60_000) as u16;
    Client {
        flow: frame::flow(Protocol::Tcp, client as u32 * 7 + 1, port),
        number: 0,
        phase: Phase::Idle,
        tries: 0,
        server: None,
        since: 0,
        left: 0,
        answered: 0,
    }
}

/// How many buckets a service of the simulated farm has: 4,096 would only take longer.
pub const BUCKETS: usize = Buckets::Few.count();
/// The world draws from another sequence than the weather and the plan.
const SALT: u64 = 0x0fa2_0fa2;
