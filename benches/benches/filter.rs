//! What the filter of a farm costs a packet, beside an empty program and beside other filters.
//!
//! `cargo bench -p ha-benches --bench filter`, as root; `-- --frames N` for other than two million
//! frames a figure. Each figure is the best of some rounds in which all take turns.
//!
//! The generator is the kernel's (`BPF_F_TEST_XDP_LIVE_FRAMES`): frames of 60 bytes (64 with the
//! checksum that no veth has), of one client that is another member's, so that each filter drops
//! all of them; on one core, which does nothing else. Two ways, of which each gets a table:
//!
//! - direct: the frames are there as a driver's are. XDP's programs are run on them, for the others
//!   a program of XDP passes them on, and the kernel makes packets of them and gives these to its
//!   stack as received by the interface, as a driver does. The generator's part is small.
//! - through a pair of veth: a program sends them into one end and the filter is at the other. The
//!   way costs more than a filter by XDP, and the same before each, so it makes them more alike.
#![allow(clippy::unwrap_used, reason = "a bench ends with the first thing that fails")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it measures time")]

use std::env;
use std::fmt::Write;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::process::Output;
use std::time::Duration;

use aya::programs::{TestRun, TestRunAttrs, TestRunOptions, XdpMode};
use ha_core::driver::Clock;
use ha_core::ha_farm::{
    Buckets, Filter, Hash, HashOn, Mac, Mode, NoSockets, Plan, Protocol, Reason, Rule, Setup,
    Table, Uncovered, Verdict,
};
use ha_core::linux::plane::Plane;
use ha_core::linux::plane::bpf::{Bpf, Early, Load, Object, Settings};
use ha_core::linux::plane::nft::{self, Nft};
use ha_core::proto::{Instant as Boot, NodeId};
use ha_lab::{Host, Lab};

const ROUNDS: usize = 5;
/// Frames at a time: few, so that some run undisturbed on a machine that does other things too.
const SLICE: u32 = 100_000;
/// Of the interface that receives.
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x42];
const MAC_TEXT: &str = "02:00:00:00:00:42";
const V4: &str = "10.77.200.1";
const V6: &str = "fd00:77:200::1";

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let given = arguments.iter().position(|word| word == "--frames");
    let frames = given.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(2_000_000);
    let Some(mut lab) = Lab::root_or_skip("filter") else { return };
    let bridge = lab.bridge().unwrap();
    let host = lab.host("a", &[&bridge]).unwrap();
    host.inside(|| program_time(frames)).unwrap();
    drop_rates(&host, frames);
}

/// Nanoseconds of a program above the empty one.
fn program_time(frames: u32) {
    let mut object = Object::load(&Load::default()).unwrap();
    object.install(&filter()).unwrap();
    object.lease(Boot::from_nanos(u64::MAX)).unwrap();
    let rounds = frames * ROUNDS as u32 / SLICE;
    println!("program time, ns a packet, the best of {rounds} (BPF_PROG_TEST_RUN, {SLICE} times)");
    println!("{:<34}{:>8}{:>8}{:>8}", "", "empty", "ours", "above");
    for (name, vip) in [("IPv4/TCP", V4), ("IPv6/TCP", V6)] {
        for (what, accept) in [("taken", true), ("another's", false)] {
            let frame = frame(vip, accept);
            let options = || TestRunOptions {
                data_in: Some(&frame),
                repeat: SLICE.min(frames),
                ..TestRunOptions::new()
            };
            let (mut tc, mut xdp) = ([Duration::MAX; 3], [Duration::MAX; 2]);
            for _ in 0..rounds.max(1) {
                let run = object.empty_tc().unwrap().test_run(options()).unwrap();
                tc[0] = tc[0].min(run.duration);
                let run = object.tc().test_run(options()).unwrap();
                tc[1] = tc[1].min(run.duration);
                let run = object.clock_tc().unwrap().test_run(options()).unwrap();
                tc[2] = tc[2].min(run.duration);
                let run = object.empty_xdp().unwrap().test_run(options()).unwrap();
                xdp[0] = xdp[0].min(run.duration);
                let run = object.xdp().unwrap().test_run(options()).unwrap();
                xdp[1] = xdp[1].min(run.duration);
            }
            let [empty, ours, clock] = tc;
            for (hook, empty, ours) in
                [("tc", empty, ours), ("tc, its clock", empty, clock), ("XDP", xdp[0], xdp[1])]
            {
                let [empty, ours] = [empty, ours].map(|time| time.as_nanos());
                let above = ours.saturating_sub(empty);
                let name = format!("{name}, {what}, {hook}");
                println!("{name:<34}{empty:>8}{ours:>8}{above:>8}");
            }
        }
    }
}

/// A filter, or what stands in for one.
struct Candidate {
    name: &'static str,
    /// Seconds a frame.
    best: f64,
    kind: Kind,
}

enum Kind {
    EmptyXdp,
    OurXdp,
    Tc,
    OurNft,
    Nft,
    Iptables(&'static str),
    Nothing,
}

/// Packets that each filter drops in a second.
fn drop_rates(host: &Host, frames: u32) {
    let candidate = |name, kind| Candidate { name, best: f64::INFINITY, kind };
    let mut all = vec![
        candidate("empty XDP program, drop", Kind::EmptyXdp),
        candidate("ours, XDP", Kind::OurXdp),
        candidate("ours, tc", Kind::Tc),
        candidate("ours, nft", Kind::OurNft),
        candidate("nftables ingress, jhash", Kind::Nft),
        candidate("iptables -t raw, drop", Kind::Iptables(RAW)),
        candidate("xt_cluster", Kind::Iptables(CLUSTER)),
        candidate("no filter: IP drops it", Kind::Nothing),
    ];
    let mut generator = Generator::new(host);
    for way in [Way::Direct, Way::Pair] {
        for candidate in &mut all {
            candidate.best = f64::INFINITY;
        }
        for _ in 0..ROUNDS {
            for candidate in &mut all {
                let took = generator.measure(candidate.name, &candidate.kind, way, frames);
                candidate.best = candidate.best.min(took);
            }
        }
        print_rates(&all, way, frames);
    }
}

fn print_rates(all: &[Candidate], way: Way, frames: u32) {
    let of = |at: usize| all[at].best;
    println!(
        "\ndropped, the best of {ROUNDS} rounds of {frames} frames of 60 bytes, by {SLICE}, one core,"
    );
    match way {
        Way::Direct => {
            println!("direct: XDP's programs run on the frames, the stack gets them so:");
        }
        Way::Pair => println!("through a pair of veth, whose cost is part of each figure:"),
    }
    println!("{:<28}{:>12}{:>10}{:>14}", "", "packets/s", "ns each", "ours on XDP");
    for (at, candidate) in all.iter().enumerate() {
        let (each, ratio) = (of(at), of(at) / of(1));
        let (rate, nanos) = (1.0 / each, each * 1e9);
        println!("{:<28}{rate:>12.0}{nanos:>10.1}{:>14}", candidate.name, format!("x {ratio:.1}"));
    }
    println!(
        "wanted: x 4 over nftables (is {:.1}; an empty program is {:.1}), x 7 over xt_cluster (is \
         {:.1}; {:.1})",
        of(4) / of(1),
        of(4) / of(0),
        of(6) / of(1),
        of(6) / of(0)
    );
}

/// How frames come to a filter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Pair,
}

/// The pair of interfaces: frames are sent into the first, and come out of the other.
const PAIR: [&str; 2] = ["sends", "receives"];

struct Generator<'a> {
    host: &'a Host,
    object: Object,
    frame: Vec<u8>,
    /// The number of the interface that receives.
    receives: u32,
}

impl<'a> Generator<'a> {
    fn new(host: &'a Host) -> Self {
        let [sends, receives] = PAIR;
        let pair = format!("link add {sends} type veth peer name {receives} address {MAC_TEXT}");
        run(host, "ip", &words(&pair));
        for interface in PAIR {
            run(host, "ip", &words(&format!("link set {interface} up")));
        }
        let [target, receives] = PAIR.map(|interface| {
            let shown = text(&run(host, "cat", &[format!("/proc/net/dev_snmp6/{interface}")]));
            shown.split_whitespace().nth(1).unwrap().parse().unwrap()
        });
        let mut object = Object::load(&Load { target, ..Load::default() }).unwrap();
        object.install(&filter()).unwrap();
        object.lease(Boot::from_nanos(u64::MAX)).unwrap();
        let mut frame = frame(V4, false);
        // Behind IP nothing sees frames to other hosts.
        frame[..6].copy_from_slice(&MAC);
        Self { host, object, frame, receives }
    }

    /// Seconds that a frame takes which this filter drops, in the best slice of so many frames.
    fn measure(&mut self, name: &str, kind: &Kind, way: Way, frames: u32) -> f64 {
        let mut plane = self.set_up(kind, way);
        let before = self.dropped(kind, plane.as_deref_mut());
        let host = self.host;
        let took = host.inside(|| self.send(kind, way, frames)).unwrap();
        if let (Some(before), Some(after)) = (before, self.dropped(kind, plane.as_deref_mut())) {
            let missed = u64::from(frames).saturating_sub(after - before);
            assert!(missed < u64::from(frames) / 1_000, "{name}: {missed} were not dropped");
        }
        self.clear(kind, plane);
        took
    }

    fn send(&mut self, kind: &Kind, way: Way, frames: u32) -> f64 {
        let behind = match (kind, way) {
            (Kind::EmptyXdp, Way::Pair) => Some(self.object.empty_xdp()),
            (Kind::OurXdp, Way::Pair) => None,
            // An end takes frames of XDP, or may be named as their receiver, only if it has a
            // program; where the frames are given to it directly that one is not run.
            (_, Way::Direct)
            | (
                Kind::Tc | Kind::OurNft | Kind::Nft | Kind::Iptables(_) | Kind::Nothing,
                Way::Pair,
            ) => Some(self.object.pass_xdp()),
        };
        let link = behind.map(|program| {
            let program = program.unwrap();
            let id = program.attach(PAIR[1], XdpMode::Driver).unwrap();
            program.take_link(id).unwrap()
        });
        let context = [0, self.frame.len() as u32, 0, self.receives, 0, 0];
        let context = context.map(u32::to_ne_bytes).concat();
        let frame = &self.frame;
        let options = || TestRunOptions {
            data_in: Some(frame),
            ctx_in: (way == Way::Direct).then_some(&context),
            repeat: SLICE,
            attrs: TestRunAttrs::new().xdp_live_frames(64),
            ..TestRunOptions::new()
        };
        let program = match (way, kind) {
            (Way::Pair, _) => self.object.send_xdp(),
            (Way::Direct, Kind::EmptyXdp) => self.object.empty_xdp(),
            (Way::Direct, Kind::OurXdp) => self.object.xdp(),
            (
                Way::Direct,
                Kind::Tc | Kind::OurNft | Kind::Nft | Kind::Iptables(_) | Kind::Nothing,
            ) => self.object.pass_xdp(),
        };
        let program = program.unwrap();
        let mut best = Duration::MAX;
        for _ in 0..frames / SLICE {
            // The kernel's own figure, a frame: without making and clearing the generator away.
            best = best.min(program.test_run(options()).unwrap().duration);
        }
        drop(link);
        best.as_secs_f64()
    }

    fn set_up(&self, kind: &Kind, way: Way) -> Option<Box<dyn Plane + Send>> {
        match kind {
            Kind::EmptyXdp | Kind::Nothing => None,
            Kind::OurXdp => (way == Way::Pair).then(|| self.bpf(Early::Native)),
            Kind::Tc => Some(self.bpf(Early::Off)),
            Kind::OurNft => Some(self.our_nft()),
            Kind::Nft => {
                let file = env::temp_dir().join(format!("ha-bench-{}.nft", std::process::id()));
                fs::write(&file, jhash(PAIR[1])).unwrap();
                run(self.host, "nft", &["-f".to_owned(), file.display().to_string()]);
                fs::remove_file(file).unwrap();
                None
            }
            Kind::Iptables(rule) => {
                run(self.host, "iptables", &words(rule));
                None
            }
        }
    }

    fn bpf(&self, early: Early) -> Box<dyn Plane + Send> {
        let settings = Settings { early, ..Settings::new(module(), vec![PAIR[1].to_owned()]) };
        let mut bpf = self.host.inside(|| Bpf::open(settings)).unwrap().unwrap();
        assert_eq!(bpf.notes(), [] as [&str; 0]);
        bpf.install(&filter()).unwrap();
        bpf.lease(Boot::from_nanos(u64::MAX)).unwrap();
        Box::new(bpf)
    }

    /// By a hash under which the frame is another member's, too.
    fn our_nft(&self) -> Box<dyn Plane + Send> {
        let hash = |seed| filter_by(Hash::Jhash { seed });
        let others = |filter: &Filter| {
            filter.decide(&self.frame, true, &mut NoSockets) == Verdict::Drop(Reason::NotMine)
        };
        let filter = (0..1_000).map(hash).find(others).unwrap();
        let settings = nft::Settings { module: module(), interfaces: vec![PAIR[1].to_owned()] };
        let install = || {
            let mut nft = Nft::open(settings).unwrap();
            nft.install(&filter).unwrap();
            nft.lease(Clock::of_the_machine().now() + Duration::from_hours(1)).unwrap();
            nft
        };
        Box::new(self.host.inside(install).unwrap())
    }

    /// What the filter's own counter says, if it has one.
    fn dropped(
        &mut self,
        kind: &Kind,
        plane: Option<&mut (dyn Plane + Send + 'static)>,
    ) -> Option<u64> {
        let said = match kind {
            Kind::EmptyXdp | Kind::Nothing => return None,
            Kind::OurXdp | Kind::Tc | Kind::OurNft => {
                let counted = match plane {
                    Some(plane) => plane.counters().unwrap(),
                    None => self.object.counters().unwrap(),
                };
                return Some(counted.dropped[Reason::NotMine.index()]);
            }
            Kind::Nft => run(self.host, "nft", &words("list table netdev bench")),
            Kind::Iptables(rule) => {
                let table = rule.split_whitespace().nth(1).unwrap();
                run(self.host, "iptables-save", &words(&format!("-c -t {table}")))
            }
        };
        let said = text(&said);
        let number = |from: &str, to: &str| {
            let (_, rest) = said.split_once(from)?;
            rest.split(to).next()?.trim().parse().ok()
        };
        let line = said.lines().find(|line| line.contains("-A PREROUTING"));
        match line {
            Some(line) => line.strip_prefix('[')?.split(':').next()?.parse().ok(),
            None => number("counter packets ", " bytes"),
        }
    }

    fn clear(&self, kind: &Kind, plane: Option<Box<dyn Plane + Send>>) {
        match kind {
            Kind::EmptyXdp | Kind::Nothing => {}
            Kind::OurXdp | Kind::Tc | Kind::OurNft => {
                let Some(plane) = plane else { return };
                self.host.inside(|| plane.remove()).unwrap().unwrap();
            }
            Kind::Nft => drop(run(self.host, "nft", &words("delete table netdev bench"))),
            Kind::Iptables(rule) => {
                run(self.host, "iptables", &words(&rule.replacen("-A", "-D", 1)));
            }
        }
    }
}

const RAW: &str = "-t raw -A PREROUTING -d 10.77.200.1 -j DROP";
/// Whichever node the client is, the rule is about it: the hash is computed, and it is dropped.
const CLUSTER: &str = "-t mangle -A PREROUTING -d 10.77.200.1 -m cluster --cluster-total-nodes 2 \
    --cluster-local-nodemask 3 --cluster-hash-seed 7 -j DROP";

fn module() -> String {
    format!("bench-{}", std::process::id())
}

/// The least that nftables can do: the bucket by jhash, those of others are dropped.
fn jhash(interface: &str) -> String {
    let mut buckets = String::new();
    for bucket in 0..256 {
        write!(buckets, "{}{bucket} : drop", if bucket == 0 { "" } else { ", " }).unwrap();
    }
    format!(
        "table netdev bench {{
            chain ingress {{
                type filter hook ingress device {interface} priority 0;
                ip daddr {V4} tcp dport 80 counter jhash ip saddr . tcp sport mod 256 seed 7 \
                    vmap {{ {buckets} }}
            }}
        }}\n"
    )
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn run(host: &Host, program: &str, arguments: &[String]) -> Output {
    let output: io::Result<Output> = host.command(program).args(arguments).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    output
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Node 0's, of three, with a few services that are not asked for.
fn filter() -> Filter {
    filter_by(Hash::Sip { key: [7; 16] })
}

fn filter_by(hash: Hash) -> Filter {
    let node = |id: u8| NodeId::new(id).unwrap();
    let rule = |vip: &str, ports| Rule {
        vip: vip.parse().unwrap(),
        ports,
        protocol: Protocol::Tcp,
        on: HashOn::AddrPort,
    };
    let rules = vec![rule(V4, 443..=443), rule(V4, 80..=80), rule(V6, 80..=80)];
    let weights = (0..3).map(|id| (node(id), 1)).collect();
    let plan = Plan { counter: 1, weights, settled: 0, taken: None };
    let table = Table::new(Buckets::Many).next(&plan);
    let setup = Setup {
        me: node(0),
        mode: Mode::Invisible,
        uncovered: Uncovered::Deny,
        hash,
        rules,
        macs: (0..3).map(|id| (node(id), Mac([2, 0, 0, 0, 0, id]))).collect(),
    };
    Filter::new(setup, &[table.clone(), table.clone(), table], |_, _| true).unwrap()
}

/// An ACK to the VIP, of a client that this node takes, or does not.
fn frame(vip: &str, accept: bool) -> Vec<u8> {
    let (filter, vip) = (filter(), vip.parse::<IpAddr>().unwrap());
    let frames = (1..=u16::MAX).map(|port| tcp(vip, port));
    let wanted = |frame: &Vec<u8>| match filter.decide(frame, true, &mut NoSockets) {
        Verdict::Accept => accept,
        Verdict::Drop(_) => !accept,
        Verdict::Pass | Verdict::Neighbour | Verdict::Forward { .. } => false,
    };
    frames.filter(wanted).take(1).next().unwrap()
}

fn tcp(vip: IpAddr, port: u16) -> Vec<u8> {
    let mut segment = [port.to_be_bytes(), 80_u16.to_be_bytes()].concat();
    segment.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    let mut bytes = vec![0x5a, 0xfe, 10, 77, 200, 1, 2, 0, 0, 0, 0, 99];
    match vip {
        IpAddr::V4(vip) => {
            let ends = [[10, 77, 0, 9], vip.octets()].concat();
            let mut header = [&[0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0], &ends[..]].concat();
            let sum = checksum(&header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            // Connection tracking looks at it.
            let sum = checksum(&[&ends[..], &[0, 6, 0, 20], &segment].concat());
            segment[16..18].copy_from_slice(&sum.to_be_bytes());
            bytes.extend([8, 0]);
            bytes.extend(header);
        }
        IpAddr::V6(vip) => {
            bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
            bytes.extend([0xfd, 0, 0, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
            bytes.extend(vip.octets());
        }
    }
    bytes.extend(segment);
    bytes.resize(bytes.len().max(60), 0);
    bytes
}

/// The one's complement of the sum in ones' complement (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1])).sum();
    !((sum >> 16) + (sum & 0xffff)) as u16
}
