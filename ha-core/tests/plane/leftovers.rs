//! What others leave behind or take away: a killed daemon, another farm, a firewall, and a file that
//! was copied from another machine.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process;
use std::thread;
use std::time::Duration;

use ha_core::driver::Clock;
use ha_core::farm::{Config, Identity, Isolated, Policy, Timing};
use ha_core::ha_farm::{
    Buckets, Filter, Hash, HashOn, Mac, Mode, Plan, Protocol, Rule, Setup, Table, Uncovered,
};
use ha_core::linux::farm::{self, Front, Link, NoApplication, start};
use ha_core::linux::plane::bpf::{Bpf, Settings};
use ha_core::linux::plane::nft::{self, Nft};
use ha_core::linux::plane::{Memory, Plane};
use ha_core::proto::{ClusterId, ModuleId, NodeId};
use ha_core::raw::Key;
use ha_lab::{Bridge, Host, Lab, within};

const PORT: u16 = 80;
const SIP: Hash = Hash::Sip { key: *b"key of this test" };
const JHASH: Hash = Hash::Jhash { seed: 7 };

/// The kernel looks at the new programs for a while, and they are pinned then.
#[test]
fn who_ends_while_its_programs_are_renewed_leaves_nothing() {
    let Some(mut stage) = Stage::new("renewed_late") else { return };
    let settings = stage.settings("one");
    let pins = PathBuf::from("/sys/fs/bpf/ha-node").join(&settings.module);
    stage.server.inside(|| drop(Bpf::open(settings.clone()).unwrap())).unwrap();
    stage
        .server
        .inside(|| {
            let mut bpf = Bpf::adopt(settings).unwrap();
            assert!(bpf.adopted());
            bpf.renew();
            Box::new(bpf).remove().unwrap();
        })
        .unwrap();
    let renews = || {
        let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
        let name =
            |it: fs::DirEntry| fs::read_to_string(it.path().join("comm")).unwrap_or_default();
        threads.map(name).any(|name| name.trim() == "ha-farm-renew")
    };
    assert!(within(Duration::from_secs(30), || !renews()));
    assert!(!pins.exists(), "nobody would take them away");
    stage.lab.take();
}

/// F6: what a killed daemon left drops all, and no other plane of its module filters behind it.
#[test]
fn what_a_killed_daemon_left_is_taken_away_by_another_plane() {
    let Some(mut stage) = Stage::new("another_plane") else { return };
    let Settings { module, interfaces, .. } = stage.settings("one");
    let pins = PathBuf::from("/sys/fs/bpf/ha-node").join(&module);
    let tables = || {
        let listed = stage.server.command("nft").args(["list", "tables"]).output().unwrap();
        String::from_utf8(listed.stdout).unwrap().matches(&module).count()
    };
    let bpf = || {
        let opened = stage.server.inside(|| Bpf::open(stage.settings("one")));
        let mut bpf = opened.unwrap().unwrap();
        bpf.install(&stage.filter(SIP)).unwrap();
        bpf
    };
    // Dropped, as with their process: both leave what they put into the kernel.
    drop(bpf());
    assert!(pins.exists());
    let settings = nft::Settings { module: module.clone(), interfaces };
    let nft = stage.server.inside(|| Nft::open(settings)).unwrap();
    let mut nft = nft.unwrap();
    stage.server.inside(|| nft.install(&stage.filter(JHASH))).unwrap().unwrap();
    assert!(!pins.exists(), "its programs drop what the rules take");
    drop(nft);
    assert_eq!(tables(), 1);
    let bpf = bpf();
    assert_eq!(tables(), 0, "its rules drop what the programs take");
    stage.server.inside(|| Box::new(bpf).remove()).unwrap().unwrap();
    stage.lab.take();
}

/// F9: no member ever sends ARP with the VIP as sender and its own MAC.
#[test]
fn a_farm_that_stops_leaves_the_kernel_as_the_other_farm_needs_it() {
    let Some(mut stage) = Stage::new("arp_announce") else { return };
    let interface = stage.server.interface(&stage.bridge);
    let setup = |vip: u8, port: u16, front| {
        let vip = stage.bridge.v4(vip).into();
        stage.setup(vip, SocketAddr::new(stage.server.v4(&stage.bridge).into(), port), front)
    };
    let front = || Some(Front { interface: interface.clone() });
    let (one, two) = (setup(201, 7_001, front()), setup(202, 7_002, front()));
    let one = stage.server.inside(|| start(one)).unwrap().unwrap();
    let two = stage.server.inside(|| start(two)).unwrap().unwrap();
    drop(one);
    let of = |name: &str| {
        let path = format!("/proc/sys/net/ipv4/conf/{interface}/{name}");
        stage.server.inside(|| fs::read_to_string(path)).unwrap().unwrap().trim().to_owned()
    };
    let seen = [of("arp_ignore"), of("arp_announce")];
    drop(two);
    assert_eq!(seen, ["1", "2"], "the kernel answers and asks in the other farm's name");
    stage.lab.take();
}

/// F9: the address is on `lo`, so every card of the machine would answer for it, filtered or not.
#[test]
fn a_second_card_of_a_member_does_not_answer_for_the_farms_address() {
    let Some(mut stage) = Stage::new("second_card") else { return };
    let interface = stage.server.interface(&stage.bridge);
    let vip = stage.bridge.v4(205);
    let local = SocketAddr::new(stage.server.v4(&stage.bridge).into(), 7_005);
    let all = |stage: &Stage| {
        let read = |name| fs::read_to_string(format!("/proc/sys/net/ipv4/conf/all/{name}"));
        let read = || ["arp_ignore", "arp_announce"].map(|name| read(name).unwrap());
        stage.server.inside(read).unwrap()
    };
    let before = all(&stage);
    let setup = stage.setup(vip.into(), local, Some(Front { interface }));
    let running = stage.server.inside(|| start(setup)).unwrap().unwrap();
    assert!(within(Duration::from_secs(10), || stage.server.holds(vip.into()).unwrap()));
    let mut route = stage.client.command("ip");
    let other = stage.client.interface(&stage.other);
    route.args(["route", "add", &format!("{vip}/32"), "dev", &other]);
    assert!(route.status().unwrap().success());
    let asks = || UdpSocket::bind("0.0.0.0:0")?.send_to(&[0], (vip, 9));
    stage.client.inside(asks).unwrap().unwrap();
    let told = || {
        let mut ip = stage.client.command("ip");
        let shown = ip.args(["neigh", "show", &vip.to_string()]).output().unwrap();
        String::from_utf8(shown.stdout).unwrap()
    };
    let over = || told().contains("FAILED") || told().contains("lladdr");
    assert!(within(Duration::from_secs(20), over), "{}", told());
    let told = told();
    drop(running);
    let after = all(&stage);
    stage.lab.take();
    assert!(told.contains("FAILED"), "its other card answers: {told}");
    assert_eq!(after, before, "and it is put back");
}

/// The file that was copied without a change of `node`: its own address is another machine's.
#[test]
fn a_member_whose_own_address_is_not_this_machines_serves_nothing() {
    let Some(mut stage) = Stage::new("copied_file") else { return };
    let vip = stage.bridge.v4(203).into();
    let elsewhere = SocketAddr::new(stage.bridge.v4(99).into(), 7_003);
    let memory = Memory::new();
    let setup =
        farm::Setup { plane: Box::new(memory.clone()), ..stage.setup(vip, elsewhere, None) };
    let started = stage.server.inside(|| start(setup)).unwrap();
    let takes = || memory.takes(0, 0, Clock::of_the_machine().now());
    let served = within(Duration::from_secs(3), takes);
    drop(started);
    stage.lab.take();
    assert!(!served, "it can neither hear nor be heard, nobody said so, and it serves everything");
}

/// `systemctl reload nftables` begins with it.
#[test]
fn a_firewall_that_is_loaded_anew_does_not_silence_a_member() {
    let Some(mut stage) = Stage::new("flush_ruleset") else { return };
    let running = stage.member_of_nft(7_004, Isolated::All);
    assert!(within(Duration::from_secs(10), || stage.is_served()), "it serves alone");
    stage.nft("flush ruleset");
    let again = within(Duration::from_secs(6), || stage.is_served());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let why = runtime.block_on(running.handle().view()).unwrap().why;
    drop(running);
    stage.lab.take();
    assert!(again || why.is_some(), "its kernel takes nothing any more, and it says that it does");
}

/// No lease is written that would find it: its kernel would answer all, as long as it stands by.
#[test]
fn a_member_that_stands_by_does_not_answer_once_its_rules_are_flushed() {
    let Some(mut stage) = Stage::new("flush_standing_by") else { return };
    let running = stage.member_of_nft(7_006, Isolated::Nothing);
    let rules = || {
        let listed = stage.server.command("nft").args(["list", "ruleset"]).output().unwrap();
        String::from_utf8(listed.stdout).unwrap()
    };
    assert!(within(Duration::from_secs(10), || rules().contains("vips_")));
    assert!(!stage.is_served(), "it takes nothing");
    stage.nft("flush ruleset");
    let filters = within(Duration::from_secs(6), || rules().contains("vips_"));
    let served = stage.is_served();
    drop(running);
    stage.lab.take();
    assert!(!served, "its kernel answers for all");
    assert!(filters, "its rules are back");
}

struct Stage {
    lab: Option<Lab>,
    bridge: Bridge,
    /// A second network that both share.
    other: Bridge,
    server: Host,
    client: Host,
    vip: IpAddr,
    modules: Vec<String>,
}

impl Stage {
    fn new(test: &str) -> Option<Self> {
        let mut lab = Lab::root_or_skip(test)?;
        let (bridge, other) = (lab.bridge().unwrap(), lab.bridge().unwrap());
        let vip: IpAddr = bridge.v4(200).into();
        let server = lab.host("s", &[&bridge, &other]).unwrap();
        let client = lab.host("c", &[&bridge, &other]).unwrap();
        let mut command = server.command("ip");
        command.args(["address", "add", &format!("{vip}/32"), "dev", "lo"]);
        assert!(command.status().unwrap().success());
        // The card takes frames to the address that clients send to, as the front has it do.
        let mac = Mac::of_vip(vip);
        let mut command = server.command("bridge");
        let interface = server.interface(&bridge);
        let line = format!("fdb replace {mac} dev {interface} self permanent");
        command.args(line.split(' '));
        assert!(command.status().unwrap().success());
        let listener = server.inside(|| TcpListener::bind(SocketAddr::new(vip, PORT)));
        let listener = listener.unwrap().unwrap();
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                drop(stream.write_all(&[7]));
            }
        });
        client.pin_neighbour(vip, ha_lab::Mac(mac.0), &bridge).unwrap();
        let modules = vec![format!("leftovers-{}-{test}-one", process::id())];
        Some(Self { lab: Some(lab), bridge, other, server, client, vip, modules })
    }

    fn settings(&self, name: &str) -> Settings {
        let module = self.modules.iter().find(|module| module.ends_with(name)).unwrap();
        Settings::new(module.clone(), vec![self.server.interface(&self.bridge)])
    }

    /// One that filters by nftables, and hears nobody.
    fn member_of_nft(&self, port: u16, isolated: Isolated) -> farm::Running {
        let module = format!("leftovers-{}-{port}", process::id());
        let interface = self.server.interface(&self.bridge);
        let settings = nft::Settings { module, interfaces: vec![interface.clone()] };
        let plane = self.server.inside(|| Nft::open(settings)).unwrap().unwrap();
        let local = SocketAddr::new(self.server.v4(&self.bridge).into(), port);
        let mut setup = self.setup(self.vip, local, Some(Front { interface }));
        let policy = Policy { hash: JHASH, isolated, ..setup.config.policy().clone() };
        let identity = *setup.config.identity();
        let timing = Timing { lease: Duration::from_millis(176), ..Timing::default() };
        setup.config = Config::new(identity, timing, policy).unwrap();
        let setup = farm::Setup { plane: Box::new(plane), ..setup };
        self.server.inside(|| start(setup)).unwrap().unwrap()
    }

    fn nft(&self, order: &str) {
        let mut nft = self.server.command("nft");
        assert!(nft.args(order.split(' ')).status().unwrap().success());
    }

    fn is_served(&self) -> bool {
        let address = SocketAddr::new(self.vip, PORT);
        let ask = || {
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
            stream.read_exact(&mut [0]).ok()
        };
        self.client.inside(ask).unwrap().is_some()
    }

    /// A farm of which this node is all.
    fn filter(&self, hash: Hash) -> Filter {
        let plan = Plan { counter: 1, weights: [(node(0), 1)].into(), settled: 0, taken: None };
        let setup = Setup {
            me: node(0),
            mode: Mode::Invisible,
            uncovered: Uncovered::Deny,
            hash,
            rules: vec![rule(self.vip, PORT)],
            macs: BTreeMap::new(),
        };
        Filter::new(setup, &[Table::new(Buckets::Few).next(&plan)], |_, _| true).unwrap()
    }

    fn setup(&self, vip: IpAddr, local: SocketAddr, front: Option<Front>) -> farm::Setup {
        let identity = Identity {
            cluster: ClusterId(u64::from(local.port())),
            module: ModuleId(1),
            me: node(0),
            members: (0..2).map(node).collect(),
            links: 1,
        };
        let policy = Policy {
            rules: vec![rule(vip, PORT)],
            weights: vec![1],
            buckets: Buckets::Few,
            hash: SIP,
            mode: Mode::Invisible,
            uncovered: Uncovered::Deny,
            mac: None,
            isolated: Isolated::All,
            drain: Duration::from_secs(1),
            warm_up: Duration::ZERO,
        };
        let other = SocketAddr::new(self.bridge.v4(98).into(), local.port());
        farm::Setup {
            config: Config::new(identity, Timing::default(), policy).unwrap(),
            key: Key::Insecure,
            links: vec![Link { local, peers: [(node(1), other)].into() }],
            plane: Box::new(Memory::new()),
            front,
            application: Box::new(NoApplication),
            observer: Box::new(|_| {}),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for module in &self.modules {
            drop(fs::remove_dir_all(PathBuf::from("/sys/fs/bpf/ha-node").join(module)));
        }
    }
}

fn rule(vip: IpAddr, port: u16) -> Rule {
    Rule { vip, ports: port..=port, protocol: Protocol::Tcp, on: HashOn::AddrPort }
}

fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}
