//! A pair whose register a real etcd of three members keeps, on loopback.
#![cfg(feature = "etcd")]
#![allow(clippy::unwrap_used, reason = "a test says what failed by where it stopped")]

#[path = "driver/rig.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod rig;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ha_core::driver::Clock;
use ha_core::quorum::{Entry, Register};
use ha_core::raw::{Endpoint, RawConfig, RawVote, cluster_id};
use ha_core::{Order, Status};
use ha_proto::{ModuleId, Role};
use rig::{Node, Pair, block_on, ready, whole};

/// L. Longer than an etcd takes to elect a leader, so that the loss of one is not noticed.
const LEASE: Duration = Duration::from_secs(3);

/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Three members, killed with this.
struct Cluster {
    folder: tempfile::TempDir,
    /// For clients, and for each other.
    addresses: [[SocketAddr; 2]; 3],
    members: [Option<Child>; 3],
}

impl Cluster {
    fn start() -> Self {
        // Held until all are taken, so that no two are the same.
        let home = ha_lab::own_loopback();
        let sockets = [[(); 2]; 3].map(|row| row.map(|()| TcpListener::bind((home, 0)).unwrap()));
        let addresses =
            sockets.each_ref().map(|row| row.each_ref().map(|socket| socket.local_addr().unwrap()));
        drop(sockets);
        let folder = tempfile::tempdir().unwrap();
        let mut cluster = Self { folder, addresses, members: [None, None, None] };
        (0..3).for_each(|member| cluster.run(member));
        cluster
    }

    /// Starts a member with what its folder holds.
    fn run(&mut self, member: usize) {
        let url = |address: SocketAddr| format!("http://{address}");
        let name = |member: usize| format!("m{member}");
        let [client, peer] = self.addresses[member].map(url);
        let peers = self.addresses.iter().enumerate();
        let peers = peers.map(|(at, of)| format!("{}={}", name(at), url(of[1])));
        let log = std::fs::File::create(self.folder.path().join(format!("log-{member}"))).unwrap();
        // It ends with this thread, whatever ends that.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "etcd", "--name", &name(member)])
            .arg("--data-dir")
            .arg(self.folder.path().join(name(member)))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &peers.collect::<Vec<_>>().join(",")])
            .arg("--initial-cluster-token")
            .arg(self.folder.path())
            .args(["--logger", "zap"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.members[member] = Some(child);
    }

    /// SIGKILL.
    fn kill(&mut self, member: usize) {
        if let Some(mut child) = self.members[member].take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        self.addresses.map(|[client, _]| Endpoint(client)).into()
    }

    /// What the first member answers, once it has a leader.
    async fn ask(&self, method: &str, body: &str) -> String {
        let answered = async {
            loop {
                match self.post(method, body) {
                    Ok(answer) if answer.starts_with("HTTP/1.1 200") => return answer,
                    Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.expect("etcd answers")
    }

    fn post(&self, method: &str, body: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.addresses[0][0])?;
        let len = body.len();
        let head = format!("POST /v3/kv/{method} HTTP/1.1\r\nHost: x\r\nConnection: close");
        write!(stream, "{head}\r\nContent-Length: {len}\r\n\r\n{body}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// The register under the pair's key, read by nobody's code but this.
    async fn register(&self) -> Register {
        let key = STANDARD.encode("/ha/test/0");
        let answer = self.ask("range", &format!(r#"{{"key":"{key}"}}"#)).await;
        let value = answer.split(r#""value":""#).nth(1).unwrap().split('"').next().unwrap();
        let bytes = STANDARD.decode(value).unwrap();
        match Entry::decode(&bytes, cluster_id("test"), ModuleId(0)).unwrap() {
            Entry::Register(register) => register,
            Entry::Note(note) => panic!("no register, but {note:?}"),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..3).for_each(|member| self.kill(member));
    }
}

fn raw(pair: &Pair, cluster: &Cluster, node: u8) -> RawConfig {
    RawConfig {
        vote: RawVote::Arbiter,
        etcd: cluster.endpoints(),
        lease: Some(format!("{}ms", LEASE.as_millis()).parse().unwrap()),
        round_trip: Some("450ms".parse().unwrap()),
        // What must not be noticed here lasts for seconds, and machines have other work.
        timeout: Some("1500ms".parse().unwrap()),
        ..pair.raw(node, 0)
    }
}

/// Nothing of `node` is otherwise than `wanted` for two leases, twice as long as anything needs
/// that would come of what just happened.
async fn stays(node: &Node, what: &str, mut wanted: impl FnMut(&Status) -> bool) {
    let mut watch = node.handle.status();
    let other = watch.until(|status| !wanted(status));
    let other = tokio::time::timeout(2 * LEASE, other).await;
    assert!(other.is_err(), "not {what}: {:#?}", watch.now());
}

#[test]
fn a_pair_lives_with_an_etcd() {
    if !ha_lab::installed_or_skip(&["etcd"]) {
        return;
    }
    let cluster = Cluster::start();
    block_on(async {
        let pair = Pair::new();
        let start = |node| Pair::run(raw(&pair, &cluster, node));
        let (first, second) = (start(0), start(1));
        whole(&first, &second).await;
        first.propose(b"one").await;
        let membership = first.handle.status().now().unwrap().membership;
        let register = cluster.register().await;
        assert_eq!((register.membership, register.lease), (membership, LEASE));
        assert!(register.incarnation.0 != 0);

        // The primary dies.
        let clock = Clock::start();
        first.running.shutdown();
        second.until("alone", ready(Role::Alone)).await;
        let took = clock.now().saturating_since(ha_proto::Instant::ZERO);
        println!("takeover with a lease of {LEASE:?}: {took:?}");
        // What it had renewed a third of the lease before, at most, is waited for.
        assert!(took + LEASE / 3 + Duration::from_millis(450) >= LEASE, "too early: {took:?}");
        second.propose(b"two").await;

        // It comes back, and takes the service back.
        let first = start(0);
        whole(&second, &first).await;
        second.insist(Order::Swap, &first, |status| status.role == Role::Prim).await;
        whole(&first, &second).await;
        first.propose(b"three").await;
        first.until("applied", |status| status.applied.0 == 3).await;
        second.until("applied there", |status| status.applied.0 == 3).await;
        assert_eq!(first.host.records(), second.host.records());
    });
}

#[test]
fn members_that_are_killed_stop_nobody() {
    if !ha_lab::installed_or_skip(&["etcd"]) {
        return;
    }
    let mut cluster = Cluster::start();
    block_on(async {
        let pair = Pair::new();
        let nodes = [0, 1].map(|node| Pair::run(raw(&pair, &cluster, node)));
        let [first, second] = &nodes;
        whole(first, second).await;
        let membership = first.handle.status().now().unwrap().membership;

        // One of three is nobody's loss: the others hold an election at most.
        cluster.kill(1);
        let same =
            |role| move |status: &Status| status.membership == membership && ready(role)(status);
        stays(first, "primary", same(Role::Prim)).await;
        stays(second, "secondary", same(Role::Second)).await;
        for node in &nodes {
            node.until("witnessed", |status| status.witness_up).await;
        }
        let before = cluster.register().await;
        assert_eq!(before.membership, membership);
        first.propose(b"with two").await;

        // Without any the primary goes on, as long as its peer renews (R6).
        cluster.kill(0);
        cluster.kill(2);
        for node in &nodes {
            node.until("without a witness", |status| !status.witness_up).await;
        }
        stays(first, "primary without etcd", same(Role::Prim)).await;
        first.propose(b"with none").await;

        // Back, whole again, and able to do what needs a witness.
        (0..3).for_each(|member| cluster.run(member));
        for node in &nodes {
            node.until("witnessed again", |status| status.witness_up).await;
        }
        let after = cluster.register().await;
        assert_eq!((after.membership, after.incarnation), (membership, before.incarnation));
        assert!(after.renewals >= before.renewals, "a renewal is a write");
        first.insist(Order::Swap, second, |status| status.role == Role::Prim).await;
        whole(second, first).await;
        second.propose(b"swapped").await;
        first.until("applied", |status| status.applied.0 == 3).await;
    });
}

#[test]
fn a_key_that_holds_something_else_is_never_overwritten() {
    if !ha_lab::installed_or_skip(&["etcd"]) {
        return;
    }
    let cluster = Cluster::start();
    block_on(async {
        let (key, value) = (STANDARD.encode("/ha/test/0"), STANDARD.encode("something else"));
        cluster.ask("put", &format!(r#"{{"key":"{key}","value":"{value}"}}"#)).await;
        let pair = Pair::new();
        let (first, second) =
            (Pair::run(raw(&pair, &cluster, 0)), Pair::run(raw(&pair, &cluster, 1)));
        stays(&first, "waiting", |status| status.role == Role::Wait && !status.witness_up).await;
        let there = cluster.ask("range", &format!(r#"{{"key":"{key}"}}"#)).await;
        assert!(there.contains(&value), "{there}");

        // An operator who deletes it lets the pair begin.
        cluster.ask("deleterange", &format!(r#"{{"key":"{key}"}}"#)).await;
        whole(&first, &second).await;
    });
}
