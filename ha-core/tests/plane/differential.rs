//! The decision in Rust and the one in the kernel, on the same frames.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use aya::programs::{TestRun, TestRunOptions};
use ha_core::ha_farm::{
    Buckets, Decision, Filter, Flow, Hash, HashOn, Mac, Mode, Plan, Protocol, Reason, Rule, Setup,
    Table, Uncovered, Verdict,
};
use ha_core::linux::plane::Service;
use ha_core::linux::plane::bpf::{Load, Object};
use ha_core::proto::{Instant, NodeId, Prng};
use ha_farm::generate::Generator;
use ha_lab::Lab;

use crate::sockets::{Connections, Model};

/// In a run of CI; some seconds on one core.
const FRAMES: usize = 1_000_000;
/// Of each filter.
const EACH: usize = 2_500;
/// More would not fit the page that the kernel tests with.
const FRAME_MAX: usize = 2_048;
const _: () = assert!(Generator::FRAME_MAX <= FRAME_MAX);

#[test]
fn the_kernel_decides_as_rust_does() {
    let Some(mut lab) = Lab::root_or_skip("the_kernel_decides") else { return };
    let network = lab.bridge().unwrap();
    let [server, client] = ["server", "client"].map(|name| lab.host(name, &[&network]).unwrap());
    let vips: [IpAddr; 2] = [network.v4(100).into(), network.v6(100).into()];
    for vip in vips {
        server.add_address(vip, &network).unwrap();
    }
    // The kernel looks for sockets in the network that the test is in.
    server
        .inside(|| compare(&Connections::open([&server, &client], &network, &vips).unwrap()))
        .unwrap();
}

fn compare(connections: &Connections) {
    let seed = std::env::var("HA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let frames = std::env::var("HA_FRAMES").ok().and_then(|n| n.parse().ok()).unwrap_or(FRAMES);
    let mut rig = Rig::new(seed, connections);
    let mut done = 0;
    while done < frames {
        rig.another_filter();
        for _ in 0..EACH {
            rig.compare();
            done += 1;
        }
        rig.check_counters();
    }
    connections.check();
    println!("{done} frames, seed {seed}: {:?}", rig.seen);
    for verdict in ["pass", "neighbour", "accept", "forward"] {
        assert!(rig.seen.contains_key(verdict), "no frame was a case of {verdict}");
    }
    for reason in Reason::ALL {
        assert!(rig.seen.contains_key(reason.name()), "no frame was a case of {}", reason.name());
    }
}

/// What rules are made of.
struct Pool {
    vips: Vec<IpAddr>,
    ports: Vec<u16>,
    /// Connections that the server has.
    flows: BTreeSet<Flow>,
}

struct Rig {
    prng: Prng,
    object: Object,
    pool: Pool,
    generator: Generator,
    model: Model,
    filter: Filter,
    open: bool,
    seen: BTreeMap<&'static str, u64>,
    /// What is expected of the counters, by reason.
    dropped: [u64; Reason::ALL.len()],
    early: [u64; Reason::ALL.len()],
    passed: u64,
    neighbours: u64,
    /// Of the services of the filter in force.
    services: Vec<Service>,
    /// What the counters of services said when the filter came into force.
    before: Vec<Service>,
}

impl Rig {
    fn new(seed: u64, connections: &Connections) -> Self {
        let flows: BTreeSet<Flow> = connections.flows.iter().copied().collect();
        let vips: BTreeSet<IpAddr> = flows.iter().map(|flow| flow.vip).collect();
        let ports: BTreeSet<u16> = flows.iter().map(|flow| flow.port).collect();
        let mut pool = Pool { vips: Vec::from_iter(vips), ports: vec![80, 81, 443, 5_000], flows };
        pool.vips.push(IpAddr::from([192, 0, 2, 9]));
        pool.ports.extend(ports);
        let model = Model { live: connections.live.clone(), ..Model::default() };
        let mut prng = Prng::new(seed);
        let filter = filter(&mut prng, &pool);
        let generator = Generator::new(prng.next_u64(), filter.setup());
        let object = Object::load(&Load { trace: true, ..Load::default() }).unwrap();
        Self {
            prng,
            object,
            pool,
            generator,
            model,
            filter,
            open: false,
            seen: BTreeMap::new(),
            dropped: [0; Reason::ALL.len()],
            early: [0; Reason::ALL.len()],
            passed: 0,
            neighbours: 0,
            services: Vec::new(),
            before: Vec::new(),
        }
    }

    fn another_filter(&mut self) {
        self.filter = filter(&mut self.prng, &self.pool);
        self.generator = Generator::new(self.prng.next_u64(), self.filter.setup())
            .with_flows(self.pool.flows.clone());
        self.object.install(&self.filter).unwrap();
        let none = Service { owners: vec![0; 128], ..Service::default() };
        self.services = vec![none; self.filter.setup().rules.len()];
        self.before = self.object.counters().unwrap().services;
        self.open = !one_in(&mut self.prng, 20);
        let until = if self.open { u64::MAX } else { 1 };
        self.object.lease(Instant::from_nanos(until)).unwrap();
    }

    fn compare(&mut self) {
        let mut bytes = Vec::new();
        self.generator.next(&mut bytes);
        let bytes = &bytes[..];
        let early = (bytes.len() >= 14).then(|| {
            let options = TestRunOptions { data_in: Some(bytes), ..TestRunOptions::new() };
            self.object.xdp().unwrap().test_run(options).unwrap().return_value
        });
        // XDP does not look at the time, for it takes nothing.
        let untimed = self.filter.examine(bytes, true, &mut self.model.clone());
        let expected = self.filter.examine(bytes, self.open, &mut self.model);
        self.note(&expected);
        // The kernel has no frame without an Ethernet header.
        let Some(early) = early else {
            assert_eq!(expected.verdict, Verdict::Pass, "{bytes:02x?}");
            return;
        };
        let (mut ctx, mut out) = ([0; 192], [0; FRAME_MAX + 64]);
        let options = TestRunOptions {
            data_in: Some(bytes),
            data_out: Some(&mut out),
            ctx_out: Some(&mut ctx),
            ..TestRunOptions::new()
        };
        let run = match self.object.tc().test_run(options) {
            Ok(run) => run,
            // The kernel's test refuses frames that end inside of the IP header.
            Err(_) if bytes.len() < 14 + 40 => {
                assert_eq!(expected.verdict, Verdict::Pass, "{bytes:02x?}");
                return;
            }
            Err(error) => panic!("{error}: {bytes:02x?}"),
        };
        let setup = self.filter.setup();
        assert_eq!(read(&ctx, run.return_value), words(&expected), "{bytes:02x?}\n{setup:?}");
        self.check_macs(bytes, &out, &expected);
        self.check_early(early, &untimed, bytes);
        if let Verdict::Drop(reason) = expected.verdict {
            self.dropped[reason.index()] += 1;
        }
        if let Verdict::Drop(reason) = untimed.verdict {
            self.early[reason.index()] += u64::from(early == XDP_DROP);
        }
        self.passed += u64::from(expected.verdict == Verdict::Pass);
        self.neighbours += u64::from(expected.verdict == Verdict::Neighbour);
        self.note_owner(&expected, self.open);
        if early == XDP_DROP {
            self.note_owner(&untimed, true);
        }
    }

    fn note(&mut self, decision: &Decision) {
        let name = match decision.verdict {
            Verdict::Pass => "pass",
            Verdict::Neighbour => "neighbour",
            Verdict::Accept => "accept",
            Verdict::Forward { .. } => "forward",
            Verdict::Drop(reason) => reason.name(),
        };
        *self.seen.entry(name).or_default() += 1;
    }

    fn note_owner(&mut self, decision: &Decision, open: bool) {
        let Some(place) = decision.place.filter(|_| open) else { return };
        let at = usize::from(place.service);
        let [owner, ..] = self.filter.words(at)[usize::from(place.bucket)].to_le_bytes();
        if owner != 0xff {
            self.services[at].owners[usize::from(owner)] += 1;
        }
        if decision.verdict == Verdict::Accept {
            self.services[at].accepted += 1;
        }
    }

    /// What is handed on comes from us and goes to the last of the nodes that get it.
    fn check_macs(&self, bytes: &[u8], out: &[u8], decision: &Decision) {
        let macs = &self.filter.setup().macs;
        let (to, from) = match decision.verdict {
            Verdict::Forward { to, .. } => {
                let last = to.iter().last().expect("it is handed to somebody");
                (macs[&last].0, macs[&self.filter.setup().me].0)
            }
            Verdict::Pass | Verdict::Neighbour | Verdict::Accept | Verdict::Drop(_) => {
                (bytes[..6].try_into().unwrap(), bytes[6..12].try_into().unwrap())
            }
        };
        assert_eq!(out[..12], [to, from].concat(), "{decision:?}");
        assert_eq!(out[12..bytes.len()], bytes[12..], "the rest of the frame changed");
    }

    /// XDP drops nothing that tc would not, and all that needs no socket to be dropped.
    fn check_early(&self, early: u32, decision: &Decision, bytes: &[u8]) {
        let setup = self.filter.setup();
        let reason = match decision.verdict {
            Verdict::Drop(Reason::Released)
            | Verdict::Pass
            | Verdict::Neighbour
            | Verdict::Accept
            | Verdict::Forward { .. } => {
                assert_eq!(early, XDP_PASS, "{decision:?} {bytes:02x?}\n{setup:?}");
                return;
            }
            Verdict::Drop(reason) => reason,
        };
        let word = decision.place.map_or(0, |place| {
            self.filter.words(usize::from(place.service))[usize::from(place.bucket)]
        });
        let [owner, last, before, _] = word.to_le_bytes();
        let me = setup.me.as_u8();
        let asks = word & Filter::DRAIN != 0 && [owner, last, before].contains(&me);
        let hands_on = setup.mode == Mode::Directed && decision.place.is_some();
        let expected = if asks || hands_on { early } else { XDP_DROP };
        assert_eq!(early, expected, "{reason:?} {bytes:02x?}\n{setup:?}");
    }

    fn check_counters(&mut self) {
        let counted = self.object.counters().unwrap();
        for reason in Reason::ALL {
            let at = reason.index();
            let sum = self.dropped[at] + self.early[at];
            assert_eq!(counted.dropped[at], sum, "counter of {}", reason.name());
        }
        assert_eq!(counted.passed, self.passed, "frames left alone are counted at tc only");
        assert_eq!(counted.neighbour, self.neighbours, "so are ARP and neighbor discovery");
        for (at, expected) in self.services.iter().enumerate() {
            let (now, before) = (&counted.services[at], &self.before[at]);
            let owners: Vec<u64> =
                now.owners.iter().zip(&before.owners).map(|(now, before)| now - before).collect();
            assert_eq!(owners, expected.owners, "packets of service {at} by owner");
            let accepted = now.accepted - before.accepted;
            assert_eq!(accepted, expected.accepted, "packets of service {at} that were taken");
        }
    }
}

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// What the program did, and what it left in the packet's control block, which begins at byte 48.
fn read(ctx: &[u8], returned: u32) -> [u32; 5] {
    let word = |at: usize| u32::from_ne_bytes(ctx[48 + at * 4..][..4].try_into().unwrap());
    [returned, word(0), word(1), word(2), word(3)]
}

/// The same of what Rust decided.
fn words(decision: &Decision) -> [u32; 5] {
    let place = decision
        .place
        .map_or(u32::MAX, |place| u32::from(place.service) << 16 | u32::from(place.bucket));
    match decision.verdict {
        Verdict::Pass => [u32::MAX, 0, place, 0, 0],
        Verdict::Neighbour => [2, 1, place, 0, 0],
        Verdict::Accept => [0, 2, place, 0, 1],
        Verdict::Drop(reason) => [2, 16 + reason.index() as u32, place, 0, 0],
        Verdict::Forward { to, accept } => {
            let mut nodes = [0; 4];
            for (at, node) in to.iter().enumerate() {
                nodes[at] = node.as_u8();
                nodes[3] += 1;
            }
            [7, 3, place, u32::from_le_bytes(nodes), u32::from(accept)]
        }
    }
}

fn mac(id: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, id])
}

fn node(id: u64) -> NodeId {
    NodeId::new(id as u8).unwrap()
}

/// Some filter: any mode, rules and tables with some buckets that drain.
fn filter(prng: &mut Prng, pool: &Pool) -> Filter {
    let rules = rules(prng, pool);
    let tables: Vec<_> = rules.iter().map(|_| table(prng)).collect();
    let mut key = [0; 16];
    key[..8].copy_from_slice(&prng.next_u64().to_le_bytes());
    key[8..].copy_from_slice(&prng.next_u64().to_le_bytes());
    let setup = Setup {
        me: node(prng.below(5)),
        mode: pick(prng, &[Mode::Invisible, Mode::Directed]),
        uncovered: pick(prng, &[Uncovered::Deny, Uncovered::Deny, Uncovered::Pass]),
        hash: Hash::Sip { key },
        rules,
        macs: (0..5).map(|id| (node(id), mac(id as u8))).collect(),
    };
    Filter::new(setup, &tables, |_, _| prng.below(10) > 0).unwrap()
}

fn rules(prng: &mut Prng, pool: &Pool) -> Vec<Rule> {
    let mut rules = Vec::new();
    for _ in 0..=prng.below(12) {
        let vip = pick(prng, &pool.vips);
        let first = pick(prng, &pool.ports);
        let ports = if one_in(prng, 2) { 1..=u16::MAX } else { first..=first.saturating_add(1) };
        let protocol = pick(prng, &[Protocol::Tcp, Protocol::Udp]);
        let net = HashOn::Net { v4: prng.below(33) as u8, v6: prng.below(129) as u8 };
        let on = pick(prng, &[HashOn::Addr, HashOn::AddrPort, HashOn::AddrPort, net, HashOn::IpId]);
        let rule = Rule { vip, ports, protocol, on };
        rules.push(rule);
        if Rule::check(&rules).is_err() {
            rules.pop();
        }
    }
    if rules.is_empty() { self::rules(prng, pool) } else { rules }
}

/// A table after some changes, none of which has settled.
fn table(prng: &mut Prng) -> Table {
    let buckets = pick(prng, &[Buckets::Few, Buckets::Few, Buckets::Many]);
    let mut table = Table::new(buckets);
    let settled = prng.below(3);
    for counter in 1..=prng.below(5) {
        let mut weights = BTreeMap::new();
        for id in 0..5 {
            let heavy = if one_in(prng, 2) { 40 } else { 1 };
            weights.insert(node(id), (prng.below(3) * heavy) as u16);
        }
        table = table.next(&Plan { counter, weights, settled, taken: None });
    }
    table
}

pub(crate) fn pick<T: Copy>(prng: &mut Prng, from: &[T]) -> T {
    from[prng.below(from.len() as u64) as usize]
}

pub(crate) fn one_in(prng: &mut Prng, n: u64) -> bool {
    prng.below(n) == 0
}
