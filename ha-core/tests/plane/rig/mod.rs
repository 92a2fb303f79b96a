//! A farm of daemons with all that they have: beats, the filter in the kernel, the addresses on
//! `lo`, answers to whoever asks where these are; and a client that counts who serves.

mod case;
mod daemon;
mod held;
mod servers;
mod shown;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use ha_core::proto::NodeId;
use ha_lab::{Bridge, Host, Lab, Process, within};
use socket2::{Domain, Socket, Type};

pub(crate) use case::{Case, Kind};
pub(crate) use daemon::{BEATS, Spec};
pub(crate) use held::Held;
pub(crate) use servers::BULK;
pub(crate) use shown::Shown;

use servers::Servers;

/// A service whose clients are spread by address and port.
pub(crate) const PORT: u16 = 80;
/// And by address alone.
pub(crate) const STICKY: u16 = 180;
/// Likewise, of UDP.
pub(crate) const UDP: u16 = 90;
pub(crate) const UDP_STICKY: u16 = 91;
/// By the client's network, so many bits of its address.
pub(crate) const NET: u16 = 280;
pub(crate) const NET_BITS: [u8; 2] = [28, 124];
/// A service of UDP by the identification of packets.
pub(crate) const IPID: u16 = 92;
/// Of no rule, and answered by every server's kernel that gets it.
pub(crate) const UNCOVERED: u16 = 380;
/// Connections in most tests.
pub(crate) const CONNECTIONS: usize = 120;
/// Far more than anything here takes on a loaded machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// How long an answer may take on loaded cores.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Farm {
    pub(crate) case: Case,
    pub(crate) members: Vec<Option<Process>>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) client: Host,
    pub(crate) network: Bridge,
    pub(crate) vips: [IpAddr; 2],
    /// What the next daemons are told; a test may change it.
    pub(crate) specs: Vec<Spec>,
    /// How many processes each had.
    begun: Vec<usize>,
    servers: Vec<Servers>,
    /// Last: it goes when nothing of it is used any more.
    pub(crate) lab: Lab,
}

impl Farm {
    /// Three servers.
    pub(crate) fn start(test: &str, case: Case) -> Option<Self> {
        Self::of(3, test, case)
    }

    pub(crate) fn of(servers: usize, test: &str, case: Case) -> Option<Self> {
        static FARMS: AtomicU32 = AtomicU32::new(0);
        let mut lab = Lab::root_or_skip(test)?;
        let network = lab.bridge().unwrap();
        let hosts: Vec<Host> =
            (0..servers).map(|id| lab.host(&format!("s{id}"), &[&network]).unwrap()).collect();
        let client = lab.host("client", &[&network]).unwrap();
        let vips = [network.v4(100).into(), network.v6(100).into()];
        let farm = FARMS.fetch_add(1, Ordering::Relaxed);
        let addresses: Vec<IpAddr> = hosts.iter().map(|host| host.v4(&network).into()).collect();
        let spec = |id: usize| Spec {
            me: id,
            module: format!("members-{}-{farm}-{id}", process::id()),
            mac: ha_core::ha_farm::Mac(hosts[id].mac(&network).unwrap().0),
            vips,
            case,
            addresses: addresses.clone(),
            ..Spec::default()
        };
        let specs = (0..servers).map(spec).collect();
        let serve = |(id, host)| Servers::start(host, id as u8, &vips);
        let services = hosts.iter().enumerate().map(serve).collect();
        let members = hosts.iter().map(|_| None).collect();
        let (begun, servers) = (vec![0; hosts.len()], services);
        Some(Self { case, members, hosts, client, network, vips, specs, begun, servers, lab })
    }

    /// Begins a daemon, and does not wait for it.
    fn spawn(&mut self, id: usize) {
        self.begun[id] += 1;
        let (spec, control) = (self.lab.folder().join(format!("spec-{id}")), self.control(id));
        self.specs[id].write(&spec);
        let program = env::current_exe().unwrap();
        let daemon = self.hosts[id].spawn(&program, |command| {
            command.env("HA_TEST_MEMBER", spec).env("HA_TEST_CONTROL", control);
            command.args(["--exact", "rig::daemon::daemon", "--nocapture"])
        });
        self.members[id] = Some(daemon.unwrap());
    }

    pub(crate) fn boot(&mut self, id: usize) {
        self.spawn(id);
        self.wait_started(id);
    }

    fn wait_started(&self, id: usize) {
        let daemon = self.members[id].as_ref().unwrap();
        assert!(daemon.wait_for("started\n", SOON), "{}", daemon.output());
    }

    /// All of them, until each takes what is its own.
    pub(crate) fn boot_all(&mut self) {
        let all: Vec<usize> = (0..self.hosts.len()).collect();
        for &id in &all {
            self.spawn(id);
        }
        for &id in &all {
            self.wait_started(id);
        }
        self.settle(&all);
    }

    pub(crate) fn kill(&mut self, id: usize) {
        self.members[id].as_ref().unwrap().kill().unwrap();
        self.members[id] = None;
    }

    /// Kills a daemon, and takes its host off the network.
    pub(crate) fn kill_host(&mut self, id: usize) {
        self.network.unplug(&self.hosts[id]).unwrap();
        self.kill(id);
    }

    /// Another process goes on in the place of this one, which hands over once that is loaded.
    pub(crate) fn restart(&mut self, id: usize) {
        self.replace(id);
        let next = self.members[id].as_ref().unwrap();
        let resumed = next.wait_for("Resumed {", SOON);
        assert!(resumed, "{:?}: it began anew: {}", self.case, next.output());
    }

    /// Likewise, whether it can go on with what it finds or not.
    pub(crate) fn replace(&mut self, id: usize) {
        let baton = self.lab.folder().join(format!("baton-{id}"));
        let (before, control) = (self.members[id].take().unwrap(), self.control(id));
        self.specs[id].baton = Some(baton.clone());
        self.spawn(id);
        self.specs[id].baton = None;
        let next = self.members[id].as_ref().unwrap();
        assert!(next.wait_for("loaded\n", SOON), "{}", next.output());
        let handed = tell(&control, &format!("hand-over {}", baton.display()));
        assert_eq!(handed, "handed over", "{:?}: {}", self.case, before.output());
        self.wait_started(id);
    }

    fn control(&self, id: usize) -> PathBuf {
        self.lab.folder().join(format!("control-{id}-{}", self.begun[id]))
    }

    /// Tells a daemon something, and gives what it answers.
    pub(crate) fn order(&self, id: usize, order: &str) -> String {
        tell(&self.control(id), order)
    }

    pub(crate) fn view(&self, id: usize) -> Shown {
        let shown = self.order(id, "view");
        shown.parse().unwrap_or_else(|()| panic!("{shown:?}"))
    }

    /// What its filter took of each service, handed on of it, and let by.
    pub(crate) fn counters(&self, id: usize) -> Vec<[u64; 2]> {
        let counted = self.order(id, "counters");
        let pairs = counted.split_whitespace().map(|pair| pair.split_once(',').unwrap());
        pairs.map(|(taken, handed)| [taken.parse().unwrap(), handed.parse().unwrap()]).collect()
    }

    /// How many packets of a service the servers took, all in all.
    pub(crate) fn taken(&self, service: usize) -> u64 {
        let of = |id| self.counters(id).get(service).map_or(0, |[taken, _]| *taken);
        (0..self.hosts.len()).map(of).sum()
    }

    /// Waits until these are one view, and each takes what is its own; their shares are as even as
    /// what they weigh when nothing else was asked for.
    pub(crate) fn settle(&self, members: &[usize]) {
        let alike = |views: &[Shown]| views.iter().all(|view| view.id == views[0].id);
        self.settle_as(members, alike);
    }

    /// Waits until the views of these fit.
    pub(crate) fn settle_as(&self, members: &[usize], fits: impl Fn(&[Shown]) -> bool) {
        let set: BTreeSet<usize> = members.iter().copied().collect();
        let mut views = Vec::new();
        let settled = within(SOON, || {
            views = members.iter().map(|&id| self.view(id)).collect();
            views.iter().all(|view| view.full && view.members == set) && fits(&views)
        });
        assert!(settled, "{:?}: they do not agree: {views:#?}\n{}", self.case, self.said());
    }

    /// Waits until this member owns buckets of each service, or none, as all see it.
    pub(crate) fn settle_owner(&self, members: &[usize], id: usize, owns: bool) {
        self.settle_as(members, |views| {
            let of_each =
                |view: &Shown| view.shares.iter().all(|shares| shares.contains_key(&id) == owns);
            views.iter().all(|view| of_each(view) && view.id == views[0].id)
        });
    }

    /// Waits until nothing drains at these any more, and each owns a fair share (FG2).
    pub(crate) fn settle_evenly(&self, members: &[usize]) {
        self.settle_as(members, |views| {
            let even = |shares: &BTreeMap<usize, usize>| {
                // Ten times: |buckets - fair| < 1.2.
                let off = |count: &usize| (count * members.len()).abs_diff(256);
                shares.len() == members.len()
                    && shares.values().all(|count| 10 * off(count) < 12 * members.len())
            };
            let fits = |view: &Shown| view.drains == 0 && view.shares.iter().all(even);
            views.iter().all(|view| fits(view) && view.id == views[0].id)
        });
    }

    /// All that the daemons printed.
    pub(crate) fn said(&self) -> String {
        let said: Vec<_> = self.members.iter().flatten().map(Process::output).collect();
        said.join("\n---\n")
    }

    /// Connections to a VIP, and who serves each.
    pub(crate) fn connect(&self, vip: IpAddr, count: usize) -> Vec<(TcpStream, u8)> {
        self.connect_to(SocketAddr::new(vip, PORT), count)
    }

    pub(crate) fn connect_to(&self, to: SocketAddr, count: usize) -> Vec<(TcpStream, u8)> {
        let served = self.client.inside(|| (0..count).map(|_| open(to)).collect());
        let served: io::Result<Vec<_>> = served.unwrap();
        served.unwrap_or_else(|error| panic!("{:?} {to}: {error}\n{}", self.case, self.said()))
    }

    /// Who answers datagrams from as many ports, one each; each is answered once.
    pub(crate) fn ask_by_udp(&self, to: SocketAddr, count: usize) -> Vec<u8> {
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0_u8; 16].into() };
        let asked = self.client.inside(|| (0..count).map(|_| ask_by_udp(any, to)).collect());
        let asked: io::Result<Vec<u8>> = asked.unwrap();
        asked.unwrap_or_else(|error| panic!("{:?} {to}: {error}\n{}", self.case, self.said()))
    }

    /// Who serves a connection from an address of the client's.
    pub(crate) fn connect_from(&self, from: IpAddr, to: SocketAddr) -> u8 {
        let asked = self.client.inside(|| {
            let stream = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
            stream.bind(&SocketAddr::new(from, 0).into())?;
            stream.connect_timeout(&to.into(), PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            ask(&mut stream.into())
        });
        asked.unwrap().unwrap_or_else(|error| panic!("{:?} {from} {to}: {error}", self.case))
    }

    /// Likewise a datagram.
    pub(crate) fn ask_by_udp_from(&self, from: IpAddr, to: SocketAddr) -> u8 {
        let asked = self.client.inside(|| ask_by_udp(from, to));
        asked.unwrap().unwrap_or_else(|error| panic!("{:?} {from} {to}: {error}", self.case))
    }

    /// Each echo request is answered, and by one.
    pub(crate) fn check_ping(&self, vip: IpAddr) {
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
        self.servers.clear();
        for spec in &self.specs {
            drop(fs::remove_dir_all(format!("/sys/fs/bpf/ha-node/{}", spec.module)));
        }
    }
}

fn tell(control: &Path, order: &str) -> String {
    let mut stream = UnixStream::connect(control).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(format!("{order}\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.trim().to_owned()
}

/// A connection, and who serves it.
pub(crate) fn open(to: SocketAddr) -> io::Result<(TcpStream, u8)> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let by = ask(&mut stream)?;
    Ok((stream, by))
}

pub(crate) fn ask(stream: &mut TcpStream) -> io::Result<u8> {
    let mut answer = [0];
    stream.write_all(&[0])?;
    stream.read_exact(&mut answer)?;
    Ok(answer[0])
}

fn ask_by_udp(from: IpAddr, to: SocketAddr) -> io::Result<u8> {
    // Ports of their own, so that a capture tells the answers apart.
    static ASKED: AtomicU16 = AtomicU16::new(0);
    let port = 10_000 + ASKED.fetch_add(1, Ordering::Relaxed) % 9_000;
    let socket = UdpSocket::bind((from, port))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(&[0])?;
    let mut answer = [0; 8];
    assert_eq!(socket.recv(&mut answer)?, 1, "the service answers with one byte");
    socket.set_nonblocking(true)?;
    let again = socket.recv(&mut [0; 8]).map_err(|error| error.kind());
    assert_eq!(again, Err(io::ErrorKind::WouldBlock), "{to}: it is answered twice");
    Ok(answer[0])
}

pub(crate) fn shares<'a>(served: impl IntoIterator<Item = &'a u8>) -> BTreeMap<u8, usize> {
    let mut shares = BTreeMap::new();
    for by in served {
        *shares.entry(*by).or_default() += 1;
    }
    shares
}

pub(crate) fn node(id: usize) -> NodeId {
    NodeId::new(id as u8).unwrap()
}
