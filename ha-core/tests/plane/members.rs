//! A farm of daemons with all that they have: beats, the filter in the kernel, the addresses on
//! `lo`, answers to whoever asks where these are. A client counts who serves.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use ha_core::farm::{Config, Event, Identity, Isolated, Order, Policy, Timing};
use ha_core::ha_farm::{Buckets, Hash, HashOn, Mac, Mode, Protocol, Rule, Uncovered};
use ha_core::linux::farm::{Front, Link, NoApplication, Setup, start};
use ha_core::linux::plane::Plane;
use ha_core::linux::plane::bpf::{Bpf, Settings};
use ha_core::linux::plane::nft::{self, Nft};
use ha_core::proto::{ClusterId, Instant, ModuleId, NodeId};
use ha_core::raw::Key;
use ha_lab::{Bridge, Host, Lab, Process, within};

const SERVERS: usize = 3;
const PORT: u16 = 80;
const BEATS: u16 = 7_777;
const CONNECTIONS: usize = 120;
/// Several full packets.
const BULK: usize = 64 << 10;
/// Far more than anything here takes on a loaded machine.
const SOON: Duration = Duration::from_secs(30);
/// How long an answer may take on loaded cores.
const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn clients_find_the_address_and_all_members_serve() {
    for case in Case::ALL {
        let Some(mut farm) = Farm::start("clients_find", case) else { return };
        farm.boot_all();
        for vip in farm.vips {
            let served = farm.connect(vip, CONNECTIONS);
            let shares = shares(&served);
            assert_eq!(shares.len(), SERVERS, "{case:?} {vip}: somebody serves nobody: {shares:?}");
            let mac = farm.client.neighbour(vip).unwrap().and_then(|it| it.mac).unwrap();
            match case.mode {
                Mode::Invisible => assert_eq!(mac.0, Mac::of_vip(vip).0, "{case:?} {vip}"),
                Mode::Directed => assert!(
                    farm.hosts.iter().any(|host| host.mac(&farm.network).unwrap() == mac),
                    "{case:?} {vip}: {mac:?} is nobody's"
                ),
            }
            farm.check_ping(vip);
        }
    }
}

#[test]
fn no_switch_learns_the_address_that_clients_of_mode_invisible_send_to() {
    for case in Case::ALL.into_iter().filter(|case| case.mode == Mode::Invisible) {
        let Some(mut farm) = Farm::start("no_switch_learns", case) else { return };
        farm.boot_all();
        let capture = farm.client.capture(&farm.network, "arp or icmp6").unwrap();
        for vip in farm.vips {
            farm.connect(vip, 20);
        }
        farm.client.forget_neighbours().unwrap();
        for vip in farm.vips {
            farm.connect(vip, 20);
        }
        let learned = farm.network.learned().unwrap();
        for vip in farm.vips {
            let mac = Mac::of_vip(vip).0;
            assert!(!learned.iter().any(|it| it.mac.0 == mac), "{case:?} {vip}: {learned:?}");
        }
        // F9: the VIP is never an ARP sender with a card's own address.
        let own: Vec<String> =
            farm.hosts.iter().map(|host| host.mac(&farm.network).unwrap().to_string()).collect();
        let vip = farm.vips[0].to_string();
        let lines = capture.lines().unwrap();
        let claims = lines.iter().filter(|line| line.contains(&format!("Reply {vip} is-at")));
        let claims: Vec<_> = claims.collect();
        assert!(!claims.is_empty(), "{case:?}: nobody answered: {lines:?}");
        for line in claims {
            assert!(!own.iter().any(|mac| line.contains(&format!("is-at {mac}"))), "{line}");
        }
    }
}

#[test]
fn a_drained_member_keeps_its_connections_and_gets_no_new_ones() {
    for case in Case::ALL {
        let Some(mut farm) = Farm::start("a_drained_member", case) else { return };
        farm.boot_all();
        let vip = farm.vips[0];
        let mut open = farm.connect(vip, CONNECTIONS);
        farm.drain(1, true);
        assert!(farm.until_without(1), "{case:?}: it still gets clients");
        let answered = farm.client.inside(|| {
            let mut kept = 0;
            for (stream, by) in &mut open {
                kept += usize::from(ask(stream).is_ok_and(|it| it == *by));
            }
            kept
        });
        let answered = answered.unwrap();
        match case.plane {
            Kind::Bpf => assert_eq!(answered, open.len(), "{case:?}: connections broke"),
            // FG4: those of the buckets that stayed.
            Kind::Nft => assert!(answered >= open.len() / 2, "{case:?}: {answered} are left"),
        }
        farm.drain(1, false);
        assert!(farm.until_with(1), "{case:?}: it gets no clients again");
    }
}

#[test]
fn a_killed_daemon_or_host_is_replaced_and_returns() {
    for case in Case::ALL {
        let Some(mut farm) = Farm::start("a_killed_daemon", case) else { return };
        farm.boot_all();
        for host_too in [false, true] {
            for victim in [2, 0] {
                farm.members[victim].as_ref().unwrap().kill().unwrap();
                if host_too {
                    farm.hosts[victim].link_down(&farm.network).unwrap();
                }
                let killed = ha_lab::now();
                farm.members[victim] = None;
                for vip in farm.vips {
                    assert!(farm.until_without(victim), "{case:?}: {victim} is dead");
                    let shares = shares(&farm.connect(vip, CONNECTIONS));
                    assert_eq!(shares.len(), SERVERS - 1, "{case:?} {vip}: {shares:?}");
                }
                let took = ha_lab::now().saturating_since(killed);
                println!("{case:?}: {victim} is replaced {took:?} after its end");
                if host_too {
                    farm.hosts[victim].link_up(&farm.network).unwrap();
                }
                farm.boot(victim);
                assert!(farm.until_with(victim), "{case:?}: {victim} does not return");
            }
        }
    }
}

/// Prints how long it takes from the death of a daemon until every other kernel has the next table;
/// a figure only on a machine that does nothing else.
#[test]
fn the_others_have_the_next_table_soon() {
    let rounds = env::var("HA_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(2);
    for case in Case::ALL {
        let Some(mut farm) = Farm::start("the_others_have", case) else { return };
        farm.boot_all();
        let mut worst = Duration::ZERO;
        for round in 0..rounds {
            let victim = round % SERVERS;
            let killed = ha_lab::now();
            farm.members[victim].take().unwrap().kill().unwrap();
            for id in (0..SERVERS).filter(|id| *id != victim) {
                let daemon = farm.members[id].as_ref().unwrap();
                let mut took = None;
                let told = within(SOON, || {
                    took = takes(&daemon.output()).into_iter().find(|at| *at > killed);
                    took.is_some()
                });
                assert!(told, "{case:?}: {}", daemon.output());
                worst = worst.max(took.unwrap().saturating_since(killed));
            }
            farm.boot(victim);
            assert!(farm.until_with(victim), "{case:?}: {victim} does not return");
        }
        println!("{case:?}: the next table is in every kernel {worst:?} after, worst of {rounds}");
        assert!(worst < Duration::from_secs(3), "{case:?}: {worst:?}");
    }
}

/// When a daemon said that it takes all that its view gives it.
fn takes(output: &str) -> Vec<Instant> {
    let times = output.lines().filter_map(|line| line.strip_prefix("takes all at "));
    times.filter_map(|nanos| Some(Instant::from_nanos(nanos.parse().ok()?))).collect()
}

#[test]
fn nobody_is_answered_twice_while_members_come_and_go() {
    for case in Case::ALL {
        let Some(mut farm) = Farm::start("nobody_is_answered", case) else { return };
        farm.boot_all();
        let vip = farm.vips[0];
        let filter = format!("src host {vip} and tcp port {PORT}");
        let capture = farm.client.capture(&farm.network, &filter).unwrap();
        for step in 0..4 {
            // While buckets move clients begin all the time; a handshake under way may break (FG4).
            farm.drain(1, step % 2 == 0);
            let moved = if step % 2 == 0 { farm.until_without(1) } else { farm.until_with(1) };
            assert!(moved, "{case:?}");
            farm.connect(vip, CONNECTIONS);
            if step == 1 {
                farm.members[2] = None;
                assert!(farm.until_without(2), "{case:?}");
                farm.boot(2);
                assert!(farm.until_with(2), "{case:?}");
            }
            farm.connect(vip, CONNECTIONS);
        }
        // To each client's port the number with which a server began: one that answers again sends
        // the same one, another server its own.
        let mut began: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for line in capture.lines().unwrap() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let after = |word: &str| {
                let at = words.iter().position(|it| *it == word)?;
                Some((*words.get(at + 1)?).to_owned())
            };
            if line.contains("Flags [S.]")
                && let (Some(client), Some(number), Some(ack)) =
                    (after(">"), after("seq"), after("ack"))
            {
                began.entry(format!("{client} {ack}")).or_default().insert(number);
            }
        }
        assert!(began.len() >= 8 * CONNECTIONS, "{case:?}: {} were captured", began.len());
        let twice: Vec<_> = began.iter().filter(|(_, numbers)| numbers.len() > 1).collect();
        assert!(twice.is_empty(), "{case:?}: {twice:?}");
    }
}

#[test]
fn a_router_with_a_smaller_mtu_is_heard_by_who_serves() {
    for case in Case::ALL {
        let Some(mut farm) = Farm::start("a_router_with", case) else { return };
        let far = farm.lab.bridge().unwrap();
        let router = farm.lab.router("router", &[&farm.network, &far]).unwrap();
        let client = farm.lab.host("far", &[&far]).unwrap();
        for host in &farm.hosts {
            host.route_via(&router, &farm.network).unwrap();
        }
        client.route_via(&router, &far).unwrap();
        let mut mtu = router.command("ip");
        mtu.args(["link", "set", "dev", &router.interface(&far), "mtu", "1300"]);
        assert!(mtu.status().unwrap().success());
        farm.boot_all();
        // The client itself would tell of a smaller size; only the router knows.
        farm.client = client;
        for vip in farm.vips {
            for (mut stream, by) in farm.connect(vip, 24) {
                let read = farm.client.inside(|| {
                    let mut bytes = vec![0; BULK];
                    stream.write_all(&[1])?;
                    stream.read_exact(&mut bytes).map(|()| bytes)
                });
                let read = read.unwrap();
                assert!(read.is_ok_and(|bytes| bytes.iter().all(|it| *it == by)), "{case:?} {vip}");
            }
        }
    }
}

/// Not a test: one daemon, until it is killed. Its orders come by lines of a file's name.
#[test]
fn daemon() {
    let Ok(text) = env::var("HA_TEST_MEMBER") else { return };
    let case = Case::ALL[env::var("HA_TEST_CASE").unwrap().parse::<usize>().unwrap()];
    let orders = env::var("HA_TEST_ORDERS").unwrap();
    let words: Vec<&str> = text.split(' ').collect();
    let running = start(setup(case, &words)).unwrap();
    println!("started");
    let mut done = String::new();
    let handle = running.handle();
    within(Duration::from_mins(3), || {
        let view = wait(handle.view()).unwrap();
        if view.full && view.members.len() > 1 && !done.contains("full") {
            println!("full with {} members", view.members.len());
            done.push_str("full");
        }
        let asked = std::fs::read_to_string(&orders).unwrap_or_default();
        if !asked.is_empty() && !done.ends_with(&asked) {
            done.push_str(&asked);
            wait(handle.order(Order::Drain(asked == "drain"))).unwrap();
        }
        false
    });
    drop(running);
}

/// The words: node, module, MAC, VIPs, then each member's address on the network.
fn setup(case: Case, words: &[&str]) -> Setup {
    let [me, module, mac, v4, v6, addresses @ ..] = words else { panic!("{words:?}") };
    let me = node(me.parse().unwrap());
    let all: Vec<SocketAddr> =
        addresses.iter().map(|it| SocketAddr::new(it.parse().unwrap(), BEATS)).collect();
    let identity = Identity {
        cluster: ClusterId(0xfa),
        module: ModuleId(1),
        me,
        members: (0..SERVERS).map(node).collect(),
        links: 1,
    };
    let bytes: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    let rule = |vip: &str| Rule {
        vip: vip.parse().unwrap(),
        ports: PORT..=PORT,
        protocol: Protocol::Tcp,
        on: HashOn::AddrPort,
    };
    let policy = Policy {
        rules: vec![rule(v4), rule(v6)],
        weights: vec![1, 1],
        buckets: Buckets::Few,
        hash: case.hash(),
        mode: case.mode,
        uncovered: Uncovered::Deny,
        mac: Some(Mac(bytes.try_into().unwrap())),
        isolated: Isolated::All,
        drain: Duration::from_secs(20),
        warm_up: Duration::ZERO,
    };
    let timing = Timing { tick: case.tick(), ..Timing::default() };
    let others = (0..SERVERS).map(|id| (node(id), all[id])).filter(|(id, _)| *id != me);
    Setup {
        config: Config::new(identity, timing, policy).unwrap(),
        key: Key::Insecure,
        links: vec![Link { local: all[usize::from(me.as_u8())], peers: others.collect() }],
        plane: case.plane(module),
        front: Some(Front { interface: "eth0".into() }),
        application: Box::new(NoApplication),
        observer: Box::new(|event| match event {
            Event::Takes(_) => println!("takes all at {}", ha_lab::now().as_nanos()),
            event => println!("{event:?}"),
        }),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bpf,
    Nft,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    mode: Mode,
    plane: Kind,
}

impl Case {
    const ALL: [Self; 4] = [
        Self { mode: Mode::Invisible, plane: Kind::Bpf },
        Self { mode: Mode::Directed, plane: Kind::Bpf },
        Self { mode: Mode::Invisible, plane: Kind::Nft },
        Self { mode: Mode::Directed, plane: Kind::Nft },
    ];

    fn place(self) -> usize {
        let same = |it: &Self| it.mode == self.mode && it.plane == self.plane;
        Self::ALL.iter().position(same).unwrap()
    }

    fn hash(self) -> Hash {
        match self.plane {
            Kind::Bpf => Hash::Sip { key: *b"key of this test" },
            Kind::Nft => Hash::Jhash { seed: 7 },
        }
    }

    fn tick(self) -> Duration {
        match self.plane {
            Kind::Bpf => Duration::ZERO,
            // A jiffy.
            Kind::Nft => Duration::from_millis(10),
        }
    }

    fn plane(self, module: &str) -> Box<dyn Plane + Send> {
        let interfaces = vec!["eth0".to_owned()];
        match self.plane {
            Kind::Bpf => Box::new(Bpf::open(Settings::new(module.into(), interfaces)).unwrap()),
            Kind::Nft => {
                let settings = nft::Settings { module: module.into(), interfaces };
                Box::new(Nft::open(settings).unwrap())
            }
        }
    }
}

struct Farm {
    case: Case,
    members: Vec<Option<Process>>,
    hosts: Vec<Host>,
    client: Host,
    network: Bridge,
    vips: [IpAddr; 2],
    module: String,
    /// Last: it goes when nothing of it is used any more.
    lab: Lab,
}

impl Farm {
    fn start(test: &str, case: Case) -> Option<Self> {
        static FARMS: AtomicU32 = AtomicU32::new(0);
        let mut lab = Lab::root_or_skip(test)?;
        let network = lab.bridge().unwrap();
        let names = ["a", "b", "c"];
        let hosts: Vec<Host> =
            names.iter().map(|name| lab.host(name, &[&network]).unwrap()).collect();
        let client = lab.host("client", &[&network]).unwrap();
        let vips = [network.v4(100).into(), network.v6(100).into()];
        for (id, host) in hosts.iter().enumerate() {
            serve(host, id as u8);
        }
        let number = FARMS.fetch_add(1, Ordering::Relaxed);
        let module = format!("members-{}-{number}", process::id());
        let members = names.map(|_| None).into();
        Some(Self { case, members, hosts, client, network, vips, module, lab })
    }

    fn boot(&mut self, id: usize) {
        let host = &self.hosts[id];
        let mut words = vec![id.to_string(), format!("{}-{id}", self.module)];
        words.push(host.mac(&self.network).unwrap().to_string());
        words.extend(self.vips.map(|vip| vip.to_string()));
        words.extend(self.hosts.iter().map(|host| host.v4(&self.network).to_string()));
        let program = env::current_exe().unwrap();
        std::fs::write(self.orders(id), "").unwrap();
        let daemon = host.spawn(&program, |command| {
            command.env("HA_TEST_MEMBER", words.join(" "));
            command.env("HA_TEST_CASE", self.case.place().to_string());
            command.env("HA_TEST_ORDERS", self.orders(id));
            command.args(["--exact", "members::daemon", "--nocapture"])
        });
        let daemon = daemon.unwrap();
        assert!(daemon.wait_for("started", SOON), "{}", daemon.output());
        self.members[id] = Some(daemon);
    }

    fn boot_all(&mut self) {
        (0..SERVERS).for_each(|id| self.boot(id));
        for id in 0..SERVERS {
            assert!(self.until_with(id), "{:?}: {id} gets no clients", self.case);
        }
    }

    fn orders(&self, id: usize) -> std::path::PathBuf {
        self.lab.folder().join(format!("orders-{id}"))
    }

    fn drain(&self, id: usize, drain: bool) {
        let word = if drain { "drain" } else { "serve" };
        std::fs::write(self.orders(id), word).unwrap();
    }

    /// Waits until new connections reach this member, and all get an answer.
    fn until_with(&self, id: usize) -> bool {
        self.until(|served| served.contains(&(id as u8)))
    }

    fn until_without(&self, id: usize) -> bool {
        self.until(|served| !served.contains(&(id as u8)))
    }

    fn until(&self, what: impl Fn(&BTreeSet<u8>) -> bool) -> bool {
        within(SOON, || {
            self.vips.iter().all(|&vip| {
                let served = self.try_connect(vip, 40, Duration::from_millis(900));
                served.is_ok_and(|all| what(&all.iter().map(|(_, by)| *by).collect()))
            })
        })
    }

    /// Connections to a VIP, and who serves each.
    fn connect(&self, vip: IpAddr, count: usize) -> Vec<(TcpStream, u8)> {
        let served = self.try_connect(vip, count, PATIENCE);
        served.unwrap_or_else(|error| {
            let said: Vec<_> = self.members.iter().flatten().map(Process::output).collect();
            panic!("{:?} {vip}: {error}\n{}", self.case, said.join("\n---\n"))
        })
    }

    fn try_connect(
        &self,
        vip: IpAddr,
        count: usize,
        patience: Duration,
    ) -> io::Result<Vec<(TcpStream, u8)>> {
        self.client.inside(|| {
            let mut served = Vec::new();
            for _ in 0..count {
                let mut stream = TcpStream::connect_timeout(&SocketAddr::new(vip, PORT), patience)?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_nodelay(true)?;
                let by = ask(&mut stream)?;
                served.push((stream, by));
            }
            Ok(served)
        })?
    }

    /// Each echo request is answered, and by one.
    fn check_ping(&self, vip: IpAddr) {
        let mut ping = self.client.command("ping");
        ping.args(["-c", "5", "-i", "0.05", "-W", "3", &vip.to_string()]);
        let output = ping.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("5 received"), "{:?} {vip}: {said}", self.case);
        assert!(!said.contains("DUP!"), "{:?} {vip}: {said}", self.case);
    }
}

impl Drop for Farm {
    /// After a panic too: pins outlive namespaces.
    fn drop(&mut self) {
        self.members.clear();
        for id in 0..SERVERS {
            let pins = format!("/sys/fs/bpf/ha-node/{}-{id}", self.module);
            drop(std::fs::remove_dir_all(pins));
        }
    }
}

fn shares(served: &[(TcpStream, u8)]) -> BTreeMap<u8, usize> {
    let mut shares = BTreeMap::new();
    for (_, by) in served {
        *shares.entry(*by).or_default() += 1;
    }
    shares
}

/// A service on every address that answers each zero with `id`, another byte with many of them.
fn serve(host: &Host, id: u8) {
    let listener = host.inside(|| TcpListener::bind(("::", PORT))).unwrap().unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            thread::spawn(move || {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() {
                    let answer = vec![id; if byte == [0] { 1 } else { BULK }];
                    if stream.write_all(&answer).is_err() {
                        break;
                    }
                }
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

fn node(id: usize) -> NodeId {
    NodeId::new(id as u8).unwrap()
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
