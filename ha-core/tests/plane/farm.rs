//! Three servers of one address, and a client that counts who answers.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use ha_core::driver::Clock;
use ha_core::ha_farm::{
    Buckets, Filter, Hash, HashOn, Mac, Mode, NoSockets, Plan, Protocol, Rule, Setup, Table,
    Uncovered, Verdict,
};
use ha_core::linux::plane::bpf::{Bpf, Settings};
use ha_core::linux::plane::{Plane, PlaneError};
use ha_core::proto::{Instant, NodeId};
use ha_lab::{Bridge, Host, Lab};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

const SERVERS: usize = 3;
const PORT: u16 = 80;
const CONNECTIONS: usize = 200;
/// Longer than any test.
const LONG: Duration = Duration::from_mins(10);
/// How long an answer may take on loaded cores; twice the kernel's first wait for one.
const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn every_connection_is_served_by_the_one_that_rust_names() {
    for (mode, tcx) in [(Mode::Invisible, true), (Mode::Directed, true), (Mode::Invisible, false)] {
        let Some(mut farm) = Farm::start("every_connection", mode, tcx) else { return };
        let table = Farm::table([1, 1, 1], 1, None);
        farm.install(&table);
        for vip in farm.vips {
            let served = farm.connect(vip, CONNECTIONS);
            let mut shares = BTreeMap::<u8, usize>::new();
            for (stream, server) in &served {
                assert_eq!(*server, farm.owner(vip, stream), "{mode:?} {vip}");
                *shares.entry(*server).or_default() += 1;
            }
            assert_eq!(shares.len(), SERVERS, "{mode:?} {vip}: somebody serves nobody: {shares:?}");
        }
        farm.check_counters(mode);
        farm.remove();
    }
}

#[test]
fn a_connection_stays_where_it_is_while_its_bucket_moves() {
    for mode in [Mode::Invisible, Mode::Directed] {
        let Some(mut farm) = Farm::start("a_connection_stays", mode, true) else { return };
        let before = Farm::table([1, 1, 1], 1, None);
        farm.install(&before);
        let mut open = Vec::new();
        for vip in farm.vips {
            open.extend(farm.connect(vip, 60));
        }
        // All that the first one had goes to the others; then, while that drains, all to it.
        let mut table = before;
        for (counter, weights) in [(2, [0, 1, 1]), (3, [1, 0, 0])] {
            table = Farm::table(weights, counter, Some(&table));
            farm.install(&table);
            for (stream, server) in &mut open {
                assert_eq!(ask(stream).unwrap(), *server, "{mode:?}: a connection has moved");
            }
            for vip in farm.vips {
                let served = farm.connect(vip, 60);
                for (stream, server) in &served {
                    let owner = farm.owner(vip, stream);
                    assert_eq!(*server, owner, "{mode:?} {vip}: a SYN goes to the new owner");
                }
            }
        }
        farm.remove();
    }
}

#[test]
fn a_filter_whose_lease_is_over_is_silent() {
    for mode in [Mode::Invisible, Mode::Directed] {
        let Some(mut farm) = Farm::start("a_lease_is_over", mode, true) else { return };
        let table = Farm::table([1, 1, 1], 1, None);
        farm.install(&table);
        let vip = farm.vips[0];
        let mut open = farm.connect(vip, 12);
        let end = Clock::of_the_machine().now() + Duration::from_millis(50);
        farm.lease(end);
        while Clock::of_the_machine().now() < end {
            thread::yield_now();
        }
        for (stream, _) in &mut open {
            stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            assert!(ask(stream).is_err(), "{mode:?}: a live socket was served without a lease");
        }
        let refused = farm.client.inside(|| {
            TcpStream::connect_timeout(&SocketAddr::new(vip, PORT), Duration::from_millis(300))
        });
        let error = refused.unwrap().expect_err("nobody takes anything");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "no answer, not even a reset");
        farm.lease(Clock::of_the_machine().now() + LONG);
        farm.connect(vip, 12);
        farm.remove();
    }
}

#[test]
fn a_filter_outlives_its_daemon_and_the_next_one_finds_it() {
    for tcx in [true, false] {
        outlives(tcx);
    }
}

fn outlives(tcx: bool) {
    let Some(mut farm) = Farm::start("a_filter_outlives", Mode::Invisible, tcx) else { return };
    let table = Farm::table([1, 1, 1], 1, None);
    farm.install(&table);
    let vip = farm.vips[0];
    let mut open = farm.connect(vip, 30);
    farm.restart(Bpf::adopt);
    for server in &mut farm.servers {
        let bpf = server.bpf.as_mut().unwrap();
        assert!(bpf.adopted(), "it is there, by a link or at clsact");
        // As a daemon does that has adopted it; a new release's programs come in so.
        server.host.inside(|| bpf.renew()).unwrap();
        assert!(ha_lab::within(LONG, || bpf.rests()));
    }
    for (stream, server) in &mut open {
        assert_eq!(ask(stream).unwrap(), *server, "what was adopted goes on");
    }
    farm.connect(vip, 30);
    farm.restart(Bpf::open);
    let refused = farm.client.inside(|| {
        TcpStream::connect_timeout(&SocketAddr::new(vip, PORT), Duration::from_millis(300))
    });
    refused.unwrap().expect_err("what was found is shut");
    farm.install(&table);
    farm.connect(vip, 30);
    let folders: Vec<_> = (0..SERVERS).map(|id| farm.folder(id)).collect();
    assert!(folders.iter().all(|folder| folder.exists()), "{folders:?}");
    farm.remove();
    assert!(!folders.iter().any(|folder| folder.exists()), "{folders:?}");
}

#[test]
fn what_cannot_work_is_said_in_one_line() {
    let Some(mut lab) = Lab::root_or_skip("plane_errors") else { return };
    let bridge = lab.bridge().unwrap();
    let host = lab.host("a", &[&bridge]).unwrap();
    let settings = Settings::new(format!("test-{}-errors", process::id()), vec!["none7".into()]);
    let error = host.inside(|| Bpf::open(settings.clone())).unwrap().unwrap_err();
    assert!(matches!(error, PlaneError::NoInterface(_)), "{error}");
    assert!(!pins(&settings.module).exists(), "what could not be attached is not left behind");
    // The loopback's driver has no XDP of its own.
    let settings = Settings { interfaces: vec!["lo".into()], ..settings };
    let bpf = host.inside(|| Bpf::open(settings.clone())).unwrap().unwrap();
    let notes = bpf.notes().to_vec();
    assert!(notes.len() == 1 && notes[0].starts_with("lo: no XDP ("), "{notes:?}");
    host.inside(|| Box::new(bpf).remove()).unwrap().unwrap();
}

#[test]
fn a_process_without_the_rights_is_told_which_and_leaves_nothing() {
    const LACKS: &str = "HA_TEST_LACKS";
    let settings = |of: u32| Settings::new(format!("test-{of}-rights"), vec!["lo".into()]);
    if let Ok(lacks) = env::var(LACKS) {
        // The process within: aya looks once for what the kernel lets its process do.
        let lacks = CapabilitySet::from_bits_retain(lacks.parse().unwrap());
        let mut own = capabilities(None).unwrap();
        own.effective.remove(lacks | CapabilitySet::SYS_ADMIN);
        set_capabilities(None, own).unwrap();
        let error = Bpf::open(settings(process::id())).unwrap_err();
        let left = pins(&settings(process::id()).module).exists();
        println!("\n{error}; pins left: {left}");
        return;
    }
    let Some(mut lab) = Lab::root_or_skip("plane_rights") else { return };
    let host = lab.host("a", &[]).unwrap();
    // Without the first nothing is loaded; without the second, maps but no program.
    for lacks in [CapabilitySet::BPF, CapabilitySet::NET_ADMIN] {
        let mut within = host.command(env::current_exe().unwrap());
        within.args(["--nocapture", "a_process_without_the_rights"]);
        let output = within.env(LACKS, lacks.bits().to_string()).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let line = "the filter needs CAP_BPF and CAP_NET_ADMIN: run as root, or grant it \
                    (AmbientCapabilities= of systemd); pins left: false";
        assert!(said.lines().any(|said| said == line), "without {lacks:?}: {said}");
    }
}

#[test]
fn the_owner_of_a_bucket_that_drains_takes_who_answers_its_cookie() {
    for mode in [Mode::Invisible, Mode::Directed] {
        let Some(mut farm) = Farm::start("syn_cookies", mode, true) else { return };
        for server in &farm.servers {
            server.host.sysctl("net.ipv4.tcp_syncookies", "2").unwrap();
        }
        farm.all_drains_to_the_first();
        for vip in farm.vips {
            for (_, server) in farm.connect(vip, 20) {
                assert_eq!(server, 0, "{mode:?} {vip}: a cookie is all that there is of it");
            }
        }
        farm.remove();
    }
}

#[test]
fn what_is_handed_on_and_taken_is_taken_as_it_came() {
    let Some(mut farm) = Farm::start("taken_as_it_came", Mode::Directed, true) else { return };
    farm.all_drains_to_the_first();
    let table = "table inet seen {
        chain input {
            type filter hook input priority 0
            tcp dport 80 ether saddr == MAC counter
            tcp dport 80 ether saddr != MAC counter
        }
    }\n";
    let mac = farm.client.mac(&farm.bridge).unwrap().to_string();
    let nft = |words: &str| {
        let output = farm.servers[0].host.command("nft").arg(words).output().unwrap();
        assert!(output.status.success(), "nft {words}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    nft(&table.replace("MAC", &mac));
    for vip in farm.vips {
        farm.connect(vip, 5);
    }
    let shown = nft("list table inet seen");
    let counted = |sign: &str| {
        let line = shown.lines().find(|line| line.contains(sign)).unwrap();
        let (_, count) = line.split_once("counter packets ").unwrap();
        count.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert!(counted("!= ") == 0, "they come from the client and not from us: {shown}");
    assert!(counted("saddr") >= 20, "they went by: {shown}");
    let forwarded = farm.servers[0].bpf.as_mut().unwrap().counters().unwrap().services;
    assert!(forwarded.iter().all(|of| of.forwarded >= 10), "none was handed on: {forwarded:?}");
    farm.remove();
}

#[test]
fn an_echo_request_is_answered_once() {
    for mode in [Mode::Invisible, Mode::Directed] {
        let Some(mut farm) = Farm::start("an_echo_request", mode, true) else { return };
        farm.install(&Farm::table([1, 1, 1], 1, None));
        for vip in farm.vips {
            let mut ping = farm.client.command("ping");
            let output = ping.args(["-c", "3", "-i", "0.2", &vip.to_string()]).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            assert!(said.contains("3 received"), "{mode:?} {vip}: {said}");
            assert!(!said.contains("duplicates"), "{mode:?} {vip}: {said}");
        }
        farm.remove();
    }
}

struct Farm {
    lab: Lab,
    bridge: Bridge,
    servers: Vec<Server>,
    client: Host,
    vips: [IpAddr; 2],
    macs: Vec<Mac>,
    mode: Mode,
    /// Those in force, one of each server.
    filters: Vec<Filter>,
}

struct Server {
    host: Host,
    bpf: Option<Bpf>,
    settings: Settings,
}

/// Sets the tests of one process apart.
static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Farm {
    fn start(test: &str, mode: Mode, tcx: bool) -> Option<Self> {
        let mut lab = Lab::root_or_skip(test)?;
        let bridge = lab.bridge().unwrap();
        let vips = [bridge.v4(200).into(), bridge.v6(200).into()];
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut servers = Vec::new();
        for id in 0..SERVERS {
            let host = lab.host(&format!("s{id}"), &[&bridge]).unwrap();
            let module = format!("test-{}-{number}-{id}", process::id());
            let settings = Settings { tcx, ..Settings::new(module, vec![host.interface(&bridge)]) };
            let bpf = host.inside(|| Bpf::open(settings.clone())).unwrap().unwrap();
            assert_eq!(bpf.notes(), [] as [&str; 0], "a veth pair has XDP of its own");
            let server = Server { host, bpf: Some(bpf), settings };
            server.host.sysctl("net.ipv4.conf.all.arp_ignore", "1").unwrap();
            server.host.sysctl("net.ipv4.conf.all.arp_announce", "2").unwrap();
            for vip in vips {
                serve(&server.host, vip, id as u8);
            }
            servers.push(server);
        }
        let client = lab.host("client", &[&bridge]).unwrap();
        for vip in vips {
            let mac = match mode {
                Mode::Invisible => ha_lab::Mac([0x5a, 0xfe, 10, 77, 0, 200]),
                Mode::Directed => servers[0].host.mac(&bridge).unwrap(),
            };
            client.pin_neighbour(vip, mac, &bridge).unwrap();
        }
        let mac = |server: &Server| Mac(server.host.mac(&bridge).unwrap().0);
        let macs = servers.iter().map(mac).collect();
        Some(Self { lab, bridge, servers, client, vips, macs, mode, filters: Vec::new() })
    }

    /// The next table of services with these weights.
    fn table(weights: [u16; SERVERS], counter: u64, before: Option<&Table>) -> Table {
        let empty = Table::new(Buckets::Few);
        let weights = (0..).map(node).zip(weights).collect();
        before.unwrap_or(&empty).next(&Plan { counter, weights, settled: 0, taken: None })
    }

    fn filter(&self, me: u8, table: &Table) -> Filter {
        let rule = |&vip: &IpAddr| Rule {
            vip,
            ports: PORT..=PORT,
            protocol: Protocol::Tcp,
            on: HashOn::AddrPort,
        };
        let setup = Setup {
            me: node(me),
            mode: self.mode,
            uncovered: Uncovered::Deny,
            hash: Hash::Sip { key: *b"key of this test" },
            rules: self.vips.iter().map(rule).collect(),
            macs: (0..SERVERS).map(|id| (node(id as u8), self.macs[id])).collect(),
        };
        Filter::new(setup, &[table.clone(), table.clone()], |_, _| true).unwrap()
    }

    fn install(&mut self, table: &Table) {
        self.filters = (0..SERVERS as u8).map(|id| self.filter(id, table)).collect();
        for (server, filter) in self.servers.iter_mut().zip(&self.filters) {
            server.bpf.as_mut().unwrap().install(filter).unwrap();
        }
        self.lease(Clock::of_the_machine().now() + LONG);
    }

    /// Node 0 is the owner of all, and all drains from node 1.
    fn all_drains_to_the_first(&mut self) {
        let before = Self::table([0, 1, 0], 1, None);
        self.install(&Self::table([1, 0, 0], 2, Some(&before)));
    }

    fn lease(&mut self, until: Instant) {
        for server in &mut self.servers {
            let bpf = server.bpf.as_mut().unwrap();
            bpf.lease(until).unwrap();
            assert_eq!(bpf.leased().unwrap(), until);
        }
    }

    /// Connections to a VIP, and who serves each.
    fn connect(&self, vip: IpAddr, count: usize) -> Vec<(TcpStream, u8)> {
        let connect = || {
            let mut served = Vec::new();
            for _ in 0..count {
                let address = SocketAddr::new(vip, PORT);
                let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                let by = ask(&mut stream)?;
                served.push((stream, by));
            }
            Ok::<_, io::Error>(served)
        };
        let served = self.client.inside(connect).unwrap();
        served.unwrap_or_else(|error| panic!("{:?} {vip}: {error}", self.mode))
    }

    /// Who takes the SYN of that connection: exactly one of the servers.
    fn owner(&self, vip: IpAddr, stream: &TcpStream) -> u8 {
        let client = stream.local_addr().unwrap();
        let mut takers = Vec::new();
        for (id, filter) in self.filters.iter().enumerate() {
            // As if it had been handed on.
            let bytes = syn(client, SocketAddr::new(vip, PORT), self.macs[id], self.macs[0]);
            if filter.decide(&bytes, true, &mut NoSockets) == Verdict::Accept {
                takers.push(id as u8);
            }
        }
        assert_eq!(takers.len(), 1, "FG1: a bucket has one owner: {takers:?}");
        takers[0]
    }

    fn check_counters(&mut self, mode: Mode) {
        let counted: Vec<_> =
            self.servers.iter_mut().map(|s| s.bpf.as_mut().unwrap().counters().unwrap()).collect();
        for service in 0..2 {
            let taken: u64 = counted.iter().map(|of| of.services[service].accepted).sum();
            assert!(taken >= 3 * CONNECTIONS as u64, "each connection has three packets: {taken}");
        }
        let handed: u64 = counted[0].services.iter().map(|of| of.forwarded).sum();
        let expected = mode == Mode::Directed;
        assert_eq!(handed > 0, expected, "{mode:?}: {handed} frames were handed on");
    }

    /// As if the daemon ended and another one began.
    fn restart(&mut self, begin: fn(Settings) -> Result<Bpf, PlaneError>) {
        for server in &mut self.servers {
            server.bpf = None;
            let bpf = server.host.inside(|| begin(server.settings.clone())).unwrap();
            server.bpf = Some(bpf.unwrap());
        }
    }

    fn folder(&self, id: usize) -> PathBuf {
        pins(&self.servers[id].settings.module)
    }

    fn remove(mut self) {
        for server in &mut self.servers {
            let bpf = server.bpf.take().unwrap();
            server.host.inside(|| Box::new(bpf).remove()).unwrap().unwrap();
        }
        drop(self.lab);
    }
}

impl Drop for Server {
    /// After a panic: pins outlive namespaces.
    fn drop(&mut self) {
        drop(fs::remove_dir_all(pins(&self.settings.module)));
    }
}

fn pins(module: &str) -> PathBuf {
    PathBuf::from("/sys/fs/bpf/ha-node").join(module)
}

fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

/// Gives the host the VIP, unannounced, and a service there that answers each byte with `id`.
fn serve(host: &Host, vip: IpAddr, id: u8) {
    let prefix = if vip.is_ipv4() { 32 } else { 128 };
    let mut command = host.command("ip");
    command.args(["address", "add", &format!("{vip}/{prefix}"), "dev", "lo"]);
    // Otherwise the address can be bound to only some moments later.
    command.args(vip.is_ipv6().then_some("nodad"));
    assert!(command.status().unwrap().success(), "{command:?}");
    let listener = host.inside(|| TcpListener::bind(SocketAddr::new(vip, PORT))).unwrap().unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            thread::spawn(move || {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() && stream.write_all(&[id]).is_ok() {}
            });
        }
    });
}

fn ask(stream: &mut TcpStream) -> io::Result<u8> {
    let mut answer = [0];
    stream.write_all(&[0])?;
    stream.read_exact(&mut answer)?;
    Ok(answer[0])
}

fn syn(client: SocketAddr, server: SocketAddr, to: Mac, from: Mac) -> Vec<u8> {
    let mut bytes = [to.0, from.0].concat();
    match (client.ip(), server.ip()) {
        (IpAddr::V4(client), IpAddr::V4(server)) => {
            bytes.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]);
            bytes.extend([client.octets(), server.octets()].concat());
        }
        (IpAddr::V6(client), IpAddr::V6(server)) => {
            bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
            bytes.extend([client.octets(), server.octets()].concat());
        }
        _ => panic!("{client} cannot talk to {server}"),
    }
    bytes.extend([client.port().to_be_bytes(), server.port().to_be_bytes()].concat());
    bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]);
    bytes
}
