//! The decision in Rust and that of the rules of nftables, on the same frames.

use std::net::IpAddr;
use std::os::fd::AsRawFd;

use ha_core::driver::Clock;
use ha_core::ha_farm::{
    Buckets, Filter, Hash, HashOn, Mac, Mode, NoSockets, Plan, Protocol, Reason, Rule, Setup,
    Table, Uncovered, Verdict,
};
use ha_core::linux::plane::nft::{Nft, Settings};
use ha_core::linux::plane::{Counters, Plane, Service};
use ha_core::proto::{Instant, NodeId, Prng};
use ha_farm::generate::Generator;
use ha_lab::{Host, Lab, within};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{LinkAddr, bind};
use socket2::{Domain, Socket, Type};
use std::time::Duration;

use crate::differential::{one_in, pick};

const FILTERS: usize = 60;
/// Of each filter.
const FRAMES: usize = 1_000;

#[test]
fn nftables_decides_as_rust_does() {
    let Some(mut rig) = Rig::start("nftables_decides") else { return };
    let seed = std::env::var("HA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut prng = Prng::new(seed);
    let mut met = [0_u64; 4];
    for round in 0..FILTERS {
        let filter = filter(&mut prng);
        rig.install(&filter);
        let open = !one_in(&mut prng, 10);
        let now = Clock::of_the_machine().now();
        rig.plane.lease(if open { now + Duration::from_mins(9) } else { now }).unwrap();
        let frames = frames(&mut prng, &filter, FRAMES);
        let frames: Vec<_> = frames.into_iter().filter(|it| is_plain(it, &filter, open)).collect();
        let before = rig.counters();
        if let Err(other) = rig.compare_each(&filter, &frames, open) {
            panic!("seed {seed}, round {round}: {other}");
        }
        let counted = rig.since(&before);
        met[0] += counted.services.iter().map(|of| of.accepted).sum::<u64>();
        met[1] += counted.services.iter().map(|of| of.forwarded).sum::<u64>();
        met[2] += counted.neighbour;
        met[3] += counted.dropped[Reason::Fragment.index()];
    }
    assert!(met.iter().all(|&met| met > 0), "some verdict was never one: {met:?}");
}

#[test]
fn a_lease_of_nftables_ends_by_itself() {
    let Some(mut rig) = Rig::start("a_lease_of_nftables") else { return };
    let filter = filter(&mut Prng::new(3));
    rig.install(&filter);
    let until = Clock::of_the_machine().now() + Duration::from_millis(300);
    rig.plane.lease(until).unwrap();
    let mut prng = Prng::new(4);
    let frames = frames(&mut prng, &filter, 200);
    let closed = |rig: &mut Rig| rig.counters().dropped[Reason::Closed.index()];
    let shut = within(Duration::from_secs(10), || {
        let before = closed(&mut rig);
        for frame in &frames {
            rig.send(frame);
        }
        closed(&mut rig) > before
    });
    assert!(shut, "the filter takes for ever");
    // The kernel counts whole ticks, of 10 ms at most: it may be one too soon, which is the safe side.
    let tick = Duration::from_millis(10);
    assert!(Clock::of_the_machine().now() + tick >= until, "it ended too soon");
    rig.plane.lease(Instant::ZERO).unwrap();
}

#[test]
fn what_another_process_left_is_shut_and_then_replaced() {
    let Some(mut rig) = Rig::start("what_another") else { return };
    let filter = filter(&mut Prng::new(3));
    rig.install(&filter);
    rig.plane.lease(Clock::of_the_machine().now() + Duration::from_mins(9)).unwrap();
    assert_eq!(rig.tables(), 1);
    assert!(rig.leased(), "it takes");
    // The first one is dropped, and leaves its table.
    rig.plane = Box::new(rig.host.inside(open).unwrap());
    assert_eq!(rig.tables(), 2, "the old one drops what goes to a VIP until the new one filters");
    assert!(!rig.leased(), "what another process left takes on (F6)");
    rig.install(&filter);
    assert_eq!(rig.tables(), 1);
    let Rig { plane, host, .. } = rig;
    host.inside(|| plane.remove()).unwrap().unwrap();
}

/// F6: for as long as a call takes the node is late, and it may be for 75 ms.
#[test]
#[ignore = "a measurement: run it with --nocapture"]
fn what_changes_and_counters_of_the_largest_farm_cost() {
    let Some(mut rig) = Rig::start("what_changes") else { return };
    for mode in [Mode::Invisible, Mode::Directed] {
        for taken in [usize::MAX, 4_000, 3_999, 1_000] {
            let filter = largest(mode, taken);
            let began = Clock::of_the_machine().now();
            rig.install(&filter);
            let took = Clock::of_the_machine().now().saturating_since(began);
            println!("{mode:?}: {taken} buckets of each service at most: installed in {took:?}");
        }
        let began = Clock::of_the_machine().now();
        rig.counters();
        let took = Clock::of_the_machine().now().saturating_since(began);
        println!("{mode:?}: counters read in {took:?}");
    }
    let Rig { plane, host, .. } = rig;
    host.inside(|| plane.remove()).unwrap().unwrap();
}

/// Two services of which one of two nodes takes those of its buckets that are below a number.
pub(crate) fn small(mode: Mode, below: usize) -> Filter {
    let largest = largest(mode, below);
    let mut setup = largest.setup().clone();
    setup.rules.truncate(2);
    let weights = (0..2).map(|id| (node(id), 1)).collect();
    let plan = Plan { counter: 1, weights, settled: 1, taken: None };
    let table = Table::new(Buckets::Few).next(&plan);
    Filter::new(setup, &vec![table; 2], |_, bucket| bucket < below).unwrap()
}

/// Sixteen services of 4,096 buckets, of which one of two nodes takes those that are its own below a
/// number.
pub(crate) fn largest(mode: Mode, below: usize) -> Filter {
    let rule = |port| Rule {
        vip: "198.18.0.1".parse().unwrap(),
        ports: port..=port,
        protocol: Protocol::Tcp,
        on: HashOn::AddrPort,
    };
    let setup = Setup {
        me: node(0),
        mode,
        uncovered: Uncovered::Deny,
        hash: Hash::Jhash { seed: 7 },
        rules: (0..16).map(|at| rule(80 + at)).collect(),
        macs: (0..2).map(|id| (node(id), mac(id as u8))).collect(),
    };
    let weights = (0..2).map(|id| (node(id), 1)).collect();
    let table =
        Table::new(Buckets::Many).next(&Plan { counter: 1, weights, settled: 1, taken: None });
    Filter::new(setup, &vec![table; 16], |_, bucket| bucket < below).unwrap()
}

pub(crate) struct Rig {
    pub(crate) plane: Box<dyn Plane + Send>,
    socket: Socket,
    pub(crate) host: Host,
    _lab: Lab,
}

impl Rig {
    pub(crate) fn start(test: &str) -> Option<Self> {
        let mut lab = Lab::root_or_skip(test)?;
        let host = lab.host("server", &[]).unwrap();
        let ip = |arguments: &str| {
            let status = host.command("ip").args(arguments.split(' ')).status().unwrap();
            assert!(status.success(), "{arguments}");
        };
        ip("link add t0 type veth peer name t1");
        ip("link set t0 up");
        ip("link set t1 up");
        let (plane, socket) = host.inside(|| (open(), packets())).unwrap();
        Some(Self { plane: Box::new(plane), socket, host, _lab: lab })
    }

    /// In the host's network: `nft` is run there.
    pub(crate) fn install(&mut self, filter: &Filter) {
        let plane = &mut self.plane;
        self.host.inside(|| plane.install(filter)).unwrap().unwrap();
    }

    /// Another process goes on with what this one left.
    pub(crate) fn adopt(&mut self) {
        let settings = Settings { module: "test".into(), interfaces: vec!["t0".into()] };
        self.plane = Box::new(self.host.inside(|| Nft::adopt(settings)).unwrap().unwrap());
        assert!(self.plane.adopted());
    }

    fn counters(&mut self) -> Counters {
        let plane = &mut self.plane;
        self.host.inside(|| plane.counters()).unwrap().unwrap()
    }

    /// Sends these, and gives what is counted then and what Rust would count.
    fn compare(&mut self, filter: &Filter, frames: &[Vec<u8>], open: bool) -> (Counters, Counters) {
        let mut expected = self.counters();
        expected.services.resize(filter.setup().rules.len(), Service::default());
        for frame in frames {
            count(&mut expected, filter, frame, open);
        }
        for frame in frames {
            self.send(frame);
        }
        within(Duration::from_secs(10), || total(&self.counters()) >= total(&expected));
        (self.counters(), expected)
    }

    /// Whether the kernel decides by this filter.
    pub(crate) fn decides_by(&mut self, filter: &Filter, open: bool) -> bool {
        let frames = frames(&mut Prng::new(4), filter, 300);
        let frames: Vec<_> = frames.into_iter().filter(|it| is_plain(it, filter, open)).collect();
        let (counted, expected) = self.compare(filter, &frames, open);
        let same = same(&counted, &expected);
        if !same {
            println!("{}\n{}", show(&counted), show(&expected));
        }
        same
    }

    fn send(&self, frame: &[u8]) {
        // The kernel refuses what is no frame at all.
        let _ = self.socket.send(frame);
    }

    fn tables(&self) -> usize {
        let listed = self.host.command("nft").args(["list", "tables", "netdev"]).output().unwrap();
        String::from_utf8(listed.stdout).unwrap().lines().count()
    }

    /// Whether a lease is written anywhere.
    fn leased(&self) -> bool {
        let mut nft = self.host.command("nft");
        let listed = nft.args(["-n", "list", "sets", "netdev"]).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let mut lines = listed.lines().skip_while(|line| !line.contains("set lease {"));
        let its = lines.by_ref().take_while(|line| line.trim() != "}");
        let has = its.collect::<Vec<_>>().iter().any(|line| line.contains("elements"));
        has || lines.any(|line| line.contains("elements") && line.contains("expires"))
    }

    /// Sends these one by one, and looks what each was counted as: sums would be right, too, if two
    /// frames had each other's verdict. The first that is something else than to Rust.
    fn compare_each(
        &mut self,
        filter: &Filter,
        frames: &[Vec<u8>],
        open: bool,
    ) -> Result<(), String> {
        let mut expected = self.plane.counters().unwrap();
        expected.services.resize(filter.setup().rules.len(), Service::default());
        for frame in frames {
            let before = show(&expected);
            count(&mut expected, filter, frame, open);
            self.send(frame);
            // What nothing counts has nothing to wait for: the next one would tell.
            if !within(Duration::from_secs(10), || same(&self.plane.counters().unwrap(), &expected))
            {
                let (now, wanted) = (show(&self.counters()), show(&expected));
                let decision = filter.examine(frame, open, &mut NoSockets);
                return Err(format!(
                    "{frame:02x?}\n{before}\n{now}\nexpected {wanted}\n{:?}\n{decision:?}",
                    filter.setup()
                ));
            }
        }
        Ok(())
    }

    /// What was counted since then.
    fn since(&mut self, before: &Counters) -> Counters {
        let mut now = self.counters();
        now.neighbour -= before.neighbour;
        for (now, before) in now.dropped.iter_mut().zip(before.dropped) {
            *now -= before;
        }
        for (now, before) in now.services.iter_mut().zip(&before.services) {
            now.accepted -= before.accepted;
            now.forwarded -= before.forwarded;
        }
        now
    }
}

fn open() -> Nft {
    Nft::open(Settings { module: "test".into(), interfaces: vec!["t0".into()] }).unwrap()
}

/// Sends to `t0`.
fn packets() -> Socket {
    let socket = Socket::new(Domain::PACKET, Type::RAW, None).unwrap();
    let of = |name: &str| {
        let mut all = getifaddrs().unwrap().filter(|one| one.interface_name == name);
        all.find_map(|one| one.address?.as_link_addr().copied())
    };
    let address: LinkAddr = of("t1").unwrap();
    bind(socket.as_raw_fd(), &address).unwrap();
    socket
}

fn frames(prng: &mut Prng, filter: &Filter, count: usize) -> Vec<Vec<u8>> {
    let mut generator = Generator::new(prng.next_u64(), filter.setup());
    let mut one = || {
        let mut frame = Vec::new();
        generator.next(&mut frame);
        frame
    };
    (0..count).map(|_| one()).collect()
}

/// What the rules count for this frame.
fn count(counters: &mut Counters, filter: &Filter, frame: &[u8], open: bool) {
    let decision = filter.examine(frame, open, &mut NoSockets);
    let service = decision.place.map_or(0, |place| usize::from(place.service));
    match decision.verdict {
        Verdict::Pass if to_vip(frame, filter) => counters.passed += 1,
        Verdict::Pass => {}
        Verdict::Neighbour => counters.neighbour += 1,
        Verdict::Accept => counters.services[service].accepted += 1,
        Verdict::Forward { .. } => counters.services[service].forwarded += 1,
        Verdict::Drop(Reason::NotYet | Reason::Nobody) => {
            counters.dropped[Reason::NotMine.index()] += 1;
        }
        Verdict::Drop(reason) => counters.dropped[reason.index()] += 1,
    }
}

/// Where IP begins, and which one it is.
fn ip(frame: &[u8]) -> Option<(u16, &[u8])> {
    let mut at = 12;
    for _ in 0..=1 {
        let kind = u16::from_be_bytes(*frame.get(at..)?.first_chunk()?);
        at += 2;
        match kind {
            0x8100 | 0x88a8 => at += 2,
            kind => return Some((kind, &frame[at..])),
        }
    }
    None
}

fn to_vip(frame: &[u8], filter: &Filter) -> bool {
    let to: Option<IpAddr> = match ip(frame) {
        Some((0x0800, packet)) => {
            packet.get(16..).and_then(|it| it.first_chunk::<4>()).map(|it| (*it).into())
        }
        Some((0x86dd, packet)) => {
            packet.get(24..).and_then(|it| it.first_chunk::<16>()).map(|it| (*it).into())
        }
        _ => None,
    };
    filter.setup().rules.iter().any(|rule| Some(rule.vip) == to)
}

/// Whether nftables reads all of the frame that decides. What contradicts itself the kernel drops
/// later, and some of the rarest it cannot follow.
fn is_plain(frame: &[u8], filter: &Filter, open: bool) -> bool {
    let verdict = filter.decide(frame, true, &mut NoSockets);
    let broken = [Reason::Malformed, Reason::Truncated, Reason::Headers].map(Verdict::Drop);
    if frame.len() < 14 || (open && broken.contains(&verdict)) {
        return false;
    }
    match ip(frame) {
        // Two tags.
        None => false,
        Some((0x0800, packet)) if packet.len() >= 20 => {
            let len = usize::from(packet[0] & 15) * 4;
            let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            let sound = packet[0] >> 4 == 4 && len >= 20 && total >= len && packet.len() >= total;
            let error = packet[9] == 1
                && packet.get(len).is_some_and(|kind| matches!(kind, 3 | 4 | 5 | 11 | 12));
            let inner = packet.get(len + 8..total.max(len + 8).min(packet.len()));
            sound && (!error || inner.is_some_and(is_plain_v4))
        }
        Some((0x86dd, packet)) if packet.len() >= 40 => is_plain_v6(packet),
        Some((0x0806, packet)) => packet.len() >= 28,
        Some(_) => true,
    }
}

fn is_plain_v4(inner: &[u8]) -> bool {
    inner.len() >= 24 && inner[0] == 0x45 && u16::from_be_bytes([inner[6], inner[7]]) << 3 == 0
}

fn is_plain_v6(packet: &[u8]) -> bool {
    let payload = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
    if packet[0] >> 4 != 6 || packet.len() < 40 + payload {
        return false;
    }
    let (mut next, mut at, mut fragment) = (packet[6], 40, false);
    while matches!(next, 0 | 43 | 44 | 51 | 60) {
        let Some(header) = packet.get(at..at + 4) else { return false };
        let upper = !matches!(header[0], 0 | 43 | 44 | 51 | 60);
        fragment |= next == 44;
        at += match next {
            44 if !upper => return false,
            // nftables takes an authentication header for what the packet carries.
            51 => return false,
            44 => 8,
            _ => 8 * (usize::from(header[1]) + 1),
        };
        next = header[0];
    }
    let Some(body) = packet.get(at..40 + payload) else { return false };
    let neighbour = next == 58 && matches!(body.first(), Some(135 | 136));
    if neighbour && (fragment || body.len() < 24) {
        // No host believes neighbor discovery in fragments (RFC 6980), or without an address;
        // nftables reads on into what pads the frame.
        return false;
    }
    if next != 58 || !body.first().is_some_and(|kind| (1..=4).contains(kind)) {
        return true;
    }
    body.len() >= 52 && body[8] >> 4 == 6 && matches!(body[14], 6 | 17 | 58)
}

fn same(one: &Counters, other: &Counters) -> bool {
    one.passed == other.passed
        && one.neighbour == other.neighbour
        && one.dropped == other.dropped
        && one
            .services
            .iter()
            .zip(&other.services)
            .all(|(one, other)| (one.accepted, one.forwarded) == (other.accepted, other.forwarded))
}

fn show(of: &Counters) -> String {
    let services: Vec<_> = of.services.iter().map(|of| (of.accepted, of.forwarded)).collect();
    format!("{} {} {:?} {services:?}", of.passed, of.neighbour, of.dropped)
}

fn total(of: &Counters) -> u64 {
    let services = of.services.iter().map(|of| of.accepted + of.forwarded).sum::<u64>();
    services + of.passed + of.neighbour + of.dropped.iter().sum::<u64>()
}

/// Some filter in which nothing drains.
pub(crate) fn filter(prng: &mut Prng) -> Filter {
    let vips = ["198.18.0.1", "2001:db8:77::1"].map(|vip| vip.parse::<IpAddr>().unwrap());
    let mut rules = Vec::new();
    while rules.is_empty() || one_in(prng, 2) && rules.len() < 12 {
        let vip = pick(prng, &vips);
        let first = pick(prng, &[80, 81, 443, 5_000]);
        let ports = if one_in(prng, 2) { 1..=u16::MAX } else { first..=first + 1 };
        let protocol = pick(prng, &[Protocol::Tcp, Protocol::Udp]);
        let net = HashOn::Net { v4: prng.below(33) as u8, v6: prng.below(129) as u8 };
        let on = pick(prng, &[HashOn::Addr, HashOn::AddrPort, HashOn::AddrPort, net, HashOn::IpId]);
        rules.push(Rule { vip, ports, protocol, on });
        if Rule::check(&rules).is_err() {
            rules.pop();
        }
    }
    let mut table = || {
        let weights = (0..5).map(|id| (node(id), prng.below(3) as u16)).collect();
        let buckets = pick(prng, &[Buckets::Few, Buckets::Many]);
        Table::new(buckets).next(&Plan { counter: 1, weights, settled: 1, taken: None })
    };
    let tables: Vec<_> = rules.iter().map(|_| table()).collect();
    let setup = Setup {
        me: node(prng.below(5)),
        mode: pick(prng, &[Mode::Invisible, Mode::Directed]),
        uncovered: pick(prng, &[Uncovered::Deny, Uncovered::Deny, Uncovered::Pass]),
        hash: Hash::Jhash { seed: if one_in(prng, 4) { 0 } else { prng.next_u64() as u32 } },
        rules,
        macs: (0..5).map(|id| (node(id), mac(id as u8))).collect(),
    };
    Filter::new(setup, &tables, |_, _| prng.below(10) > 0).unwrap()
}

fn mac(id: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, id])
}

fn node(id: u64) -> NodeId {
    NodeId::new(id as u8).unwrap()
}
