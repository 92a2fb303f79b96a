//! `witness-node` as a process: where it listens, and what it takes.
#![allow(clippy::unwrap_used, reason = "a test says what failed by where it stopped")]

use std::fs;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command};
use std::time::Duration;

use ha_core::proto::wire::{self, DATAGRAM_MAX, Header, Keys, Kind};
use ha_core::proto::{Boot, ClusterId, DataId, Epoch, Incarnation, ModuleId, NodeId};
use ha_core::quorum::{Answer, Ask, Outcome, Request};
use ha_core::raw::cluster_id;
use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take that is expected to come.
const SOON: Duration = Duration::from_secs(30);

/// A witness without a key that listens at an address. All gone at the drop.
struct Rig {
    folder: tempfile::TempDir,
    witness: Child,
    /// As systemd has it.
    notices: UnixDatagram,
}

impl Rig {
    /// Fed as its watchdog wants it, if there is one: what nobody reads fills the socket.
    fn start(listen: &str, watchdog: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (file, home) = (folder.path().join("witness.toml"), folder.path().join("w"));
        let text =
            format!("listen = \"{listen}\"\nfolder = \"{}\"\ninsecure = true\n", home.display());
        fs::write(&file, text).unwrap();
        let socket = folder.path().join("notify");
        let notices = UnixDatagram::bind(&socket).unwrap();
        notices.set_read_timeout(Some(SOON)).unwrap();
        let mut witness = Command::new(env!("CARGO_BIN_EXE_witness-node"));
        witness.arg("--config").arg(file);
        witness.env("NOTIFY_SOCKET", socket);
        if let Some(micros) = watchdog {
            witness.env("WATCHDOG_USEC", micros);
        }
        Self { folder, witness: witness.spawn().unwrap(), notices }
    }

    /// Waits until it says so; in time, or not at all.
    fn wait_for(&self, word: &str) {
        let mut buffer = [0; 512];
        loop {
            let len = self.notices.recv(&mut buffer).expect(word);
            if String::from_utf8_lossy(&buffer[..len]).contains(word) {
                return;
            }
        }
    }

    fn end(&mut self) {
        let pid = Pid::from_raw(self.witness.id().cast_signed()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        assert!(self.witness.wait().unwrap().success(), "it ends in order");
    }

    /// What is resident of it, in KiB: `VmRSS` all, `RssAnon` without what is of files.
    fn resident(&self, what: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.witness.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.witness.kill();
        let _ = self.witness.wait();
    }
}

/// A machine whose network is late comes up with its witness, as a node does.
#[test]
fn a_witness_starts_without_its_address_is_alive_and_ends_in_order() {
    // Documentation's own: no machine has it.
    let mut rig = Rig::start("192.0.2.77:7402", Some("100000"));
    rig.wait_for("READY=1");
    for _ in 0..2 {
        rig.wait_for("WATCHDOG=1");
    }
    rig.end();
}

/// The shortest: for so long a witness that has just started gives nothing away.
const LEASE: Duration = ha_core::quorum::LEASE_MIN;

/// The only node of a pair that ever asks.
struct Node {
    socket: UdpSocket,
    cluster: ClusterId,
    module: ModuleId,
    number: u64,
}

impl Node {
    fn ask(&mut self, request: Request) -> Answer {
        self.number += 1;
        let from = NodeId::new(0).unwrap();
        let (boot, lease) = (Boot(7), LEASE);
        let ask = Ask { from, boot, number: self.number, expected: Epoch::NONE, lease, request };
        let header = Header {
            kind: Kind::Ask,
            sender: from,
            flags: 0,
            cluster: self.cluster,
            module: self.module,
            waited: 0,
            epoch: Epoch::NONE,
            sequence: self.number,
            echo: 0,
        };
        let keys = Keys::insecure();
        let datagram = wire::seal(&header, |mut body| ask.encode(&mut body), &keys);
        self.socket.send(datagram.as_bytes()).unwrap();
        let mut buffer = [0; DATAGRAM_MAX];
        let len = self.socket.recv(&mut buffer).unwrap();
        Answer::decode(wire::open(&buffer[..len], &keys, self.cluster).unwrap().body).unwrap()
    }

    /// Founds the pair, once the witness is past its grace.
    fn create(&mut self) {
        let incarnation: Incarnation = self.ask(Request::Read).incarnation;
        let create = Request::Create { incarnation, data: DataId(1) };
        while self.ask(create).outcome != Outcome::Ok {}
    }
}

/// Less than 5 MiB, also of a build that is hardly optimised: 4.8 MiB when this was written, 4.0 MiB
/// with `--release`, most of them pages of the program and of libc. What is its own depends on no build.
#[test]
fn a_witness_of_a_hundred_registers_is_small() {
    let free = UdpSocket::bind((ha_lab::own_loopback(), 0)).unwrap().local_addr().unwrap();
    let mut rig = Rig::start(&free.to_string(), None);
    rig.wait_for("READY=1");
    for module in 0..100 {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(free).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        let (cluster, module) = (cluster_id(&format!("shop{}", module % 10)), ModuleId(module));
        Node { socket, cluster, module, number: 0 }.create();
    }
    let kept = fs::read_dir(rig.folder.path().join("w")).unwrap();
    let paths = kept.map(|entry| entry.unwrap().path());
    let registers =
        paths.filter(|path| path.extension().is_some_and(|it| it == "register")).count();
    assert_eq!(registers, 100);
    let [all, own] = ["VmRSS", "RssAnon"].map(|what| rig.resident(what));
    println!("resident: {all} KiB, {own} of them its own");
    assert!(all < 5 << 10, "{all} KiB are resident");
    assert!(own < 1 << 10, "{own} KiB are held for a hundred registers");
    rig.end();
}
