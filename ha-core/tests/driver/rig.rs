//! A pair of nodes with an arbiter, and a host that remembers what it was told.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ha_core::driver::{
    Arbiter, ArbiterConfig, Driver, Guard, Handle, Host, HostError, OrderError, ProposeError,
    Pulse, Running, StartError,
};
use ha_core::raw::{Key, Link, NodeConfig, RawConfig, RawVote, Replication};
use ha_core::{Event, Order, Profile, Status};
use ha_proto::{Epoch, Role, Seq};

/// What one host saw, readable from the test.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not exclude each other")]
pub(crate) struct Seen {
    pub(crate) applied: Vec<(u64, Bytes)>,
    pub(crate) serving: bool,
    pub(crate) refused: u64,
    pub(crate) fenced: u64,
    pub(crate) address: bool,
    /// Heartbeats that its guard was told.
    pub(crate) beats: u64,
    /// Whether the application, which is this, goes on without its driver.
    pub(crate) outlives: bool,
    /// How often it was started, adopted and stopped.
    pub(crate) calls: [u32; 3],
    pub(crate) events: Vec<Event>,
    /// Whether it panics at the next record.
    pub(crate) bug: bool,
}

/// A host that keeps every record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Toy {
    seen: Arc<Mutex<Seen>>,
}

pub(crate) struct ToyGuard(Toy);

impl Toy {
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn records(&self) -> Vec<Bytes> {
        self.look(|seen| seen.applied.iter().map(|(_, record)| record.clone()).collect())
    }
}

impl Host for Toy {
    type Guard = ToyGuard;

    fn guard(&mut self) -> ToyGuard {
        ToyGuard(self.clone())
    }

    async fn start(&mut self, _: Epoch, head: Seq) -> Result<(), HostError> {
        self.look(|seen| {
            assert!(seen.applied.last().map_or(0, |(seq, _)| *seq) <= head.0);
            seen.serving = true;
            seen.calls[0] += 1;
        });
        Ok(())
    }

    fn outlives(&self) -> bool {
        self.look(|seen| seen.outlives)
    }

    async fn adopt(&mut self, _: Epoch, _: Seq) -> Result<(), HostError> {
        self.look(|seen| {
            assert!(seen.serving, "it ran on");
            seen.calls[1] += 1;
        });
        Ok(())
    }

    fn applied(&self) -> Seq {
        let last = |seen: &mut Seen| seen.applied.last().map_or(0, |(seq, _)| *seq);
        self.look(|seen| Seq(if seen.outlives { last(seen) } else { 0 }))
    }

    async fn stop(&mut self, _: bool) -> Result<(), HostError> {
        self.look(|seen| {
            seen.serving = false;
            seen.calls[2] += 1;
        });
        Ok(())
    }

    async fn apply(&mut self, seq: Seq, record: Bytes) -> Result<(), HostError> {
        self.look(|seen| {
            assert!(!seen.bug, "a bug of the host's");
            let last = seen.applied.last().map_or(0, |(seq, _)| *seq);
            assert_eq!(seq.0, last + 1, "each record once, in order");
            seen.applied.push((seq.0, record));
        });
        Ok(())
    }

    async fn reset(&mut self) -> Result<(), HostError> {
        self.look(|seen| seen.applied.clear());
        Ok(())
    }

    fn refused(&mut self, _: Bytes, _: ha_core::replicate::ProposeError) {
        self.look(|seen| seen.refused += 1);
    }

    fn observe(&mut self, event: &Event) {
        self.look(|seen| seen.events.push(*event));
    }
}

impl Guard for ToyGuard {
    async fn fence(&mut self, _: Epoch) -> Result<(), HostError> {
        self.0.look(|seen| {
            seen.serving = false;
            seen.fenced += 1;
        });
        Ok(())
    }

    async fn take_address(&mut self, _: Epoch, _: Duration) -> Result<(), HostError> {
        self.0.look(|seen| seen.address = true);
        Ok(())
    }

    async fn drop_address(&mut self) -> Result<(), HostError> {
        self.0.look(|seen| seen.address = false);
        Ok(())
    }

    fn pulse(&mut self) -> Option<Pulse> {
        let toy = self.0.clone();
        Some(Pulse::new(move || toy.look(|seen| seen.beats += 1)))
    }
}

/// Two nodes' configurations with free ports and folders of their own.
pub(crate) struct Pair {
    pub(crate) folder: tempfile::TempDir,
    home: IpAddr,
    links: Vec<[SocketAddr; 2]>,
    streams: [SocketAddr; 2],
    pub(crate) witness: Option<SocketAddr>,
    key: String,
}

impl Pair {
    pub(crate) fn new() -> Self {
        // None that the kernel gives out: whoever binds all addresses would keep one of this pair
        // from being bound again.
        let home = ha_lab::own_loopback();
        let at = |port| SocketAddr::from((home, port));
        let mut pair = Self {
            home,
            links: vec![[at(7401), at(7402)], [at(7403), at(7404)]],
            streams: [at(7405), at(7406)],
            witness: None,
            key: String::new(),
            folder: tempfile::tempdir().unwrap(),
        };
        pair.key = pair.key_file("key", KEY);
        pair
    }

    /// Everything that another process needs to be a node of this pair, in a line.
    pub(crate) fn words(&self) -> String {
        let addresses = self.links.iter().flatten().chain(&self.streams).chain(&self.witness);
        let addresses = addresses.map(SocketAddr::to_string);
        addresses
            .chain([self.key.clone(), self.folder.path().to_str().unwrap().into()])
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The pair of [`Pair::words`], with a witness.
    pub(crate) fn read(words: &str) -> (Self, PathBuf) {
        let words: Vec<_> = words.split(' ').collect();
        let [.., key, folder] = words[..] else { panic!("{words:?}") };
        let address = |at: usize| words[at].parse::<SocketAddr>().unwrap();
        let pair = Self {
            folder: tempfile::tempdir().unwrap(),
            home: address(0).ip(),
            links: vec![[address(0), address(1)], [address(2), address(3)]],
            streams: [address(4), address(5)],
            witness: Some(address(6)),
            key: key.into(),
        };
        (pair, folder.into())
    }

    pub(crate) fn arbiter(&mut self) -> Arbiter {
        self.arbiter_with(Key::File(self.key.clone()))
    }

    pub(crate) fn arbiter_with(&mut self, key: Key) -> Arbiter {
        let listen = self.witness.unwrap_or_else(|| (self.home, 7407).into());
        let folder = self.folder.path().join("arbiter");
        let arbiter = Arbiter::start(&ArbiterConfig::new(listen, folder, key)).unwrap();
        self.witness = Some(arbiter.address());
        arbiter
    }

    pub(crate) fn raw(&self, node: u8, module: u16) -> RawConfig {
        let (here, there) = (usize::from(node), usize::from(1 - node));
        let link = |sides: &[SocketAddr; 2]| Link { local: sides[here], peer: sides[there] };
        let stream = Replication { listen: self.streams[here], connect: self.streams[there] };
        let links = self.links.iter().map(link).collect();
        let home = self.folder.path().join(format!("{node}-{module}"));
        let vote = if self.witness.is_some() { RawVote::Arbiter } else { RawVote::None };
        RawConfig {
            module,
            witness: self.witness,
            vote,
            profile: Profile::Fast,
            // Two shared cores with other work: a pause is no death.
            heartbeat: Some("20ms".parse().unwrap()),
            timeout: Some("400ms".parse().unwrap()),
            lease: Some("1500ms".parse().unwrap()),
            round_trip: Some("200ms".parse().unwrap()),
            stop: Some("200ms".parse().unwrap()),
            bootstrap: node == 0,
            segment_bytes: Some(4 << 20),
            key_file: Some(self.key.clone()),
            ..RawConfig::new("test", (node, 1 - node), links, stream, home.to_str().unwrap())
        }
    }

    /// One more file with a key.
    pub(crate) fn key_file(&self, name: &str, key: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, key.repeat(4)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        path.to_str().unwrap().into()
    }

    pub(crate) fn start(&self, node: u8) -> Node {
        Self::run(self.raw(node, 0))
    }

    pub(crate) fn run(raw: RawConfig) -> Node {
        Self::run_with(raw, Toy::default())
    }

    pub(crate) fn run_with(raw: RawConfig, host: Toy) -> Node {
        let mut driver = Driver::new();
        let config = NodeConfig::try_from(raw).unwrap();
        let handle = driver.add(config, host.clone()).unwrap();
        Node { host, handle, running: driver.start().unwrap() }
    }
}

/// A running node with one module.
pub(crate) struct Node {
    pub(crate) host: Toy,
    pub(crate) handle: Handle,
    pub(crate) running: Running,
}

impl Node {
    pub(crate) async fn until(&self, what: &str, wanted: impl FnMut(&Status) -> bool) -> Status {
        until(&self.handle, what, wanted).await
    }

    /// Waits until the host has heard of it, on its own thread.
    pub(crate) async fn told(&self, wanted: Event) {
        let heard = async {
            while !self.host.look(|seen| seen.events.contains(&wanted)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let heard = tokio::time::timeout(PATIENCE, heard).await;
        let events = || self.host.look(|seen| seen.events.clone());
        assert!(heard.is_ok(), "{wanted:?} is not told: {:?}", events());
    }

    /// Gives an order until `at` shows what comes of it: an order is refused while, as far as this
    /// node knows, the time is not right.
    pub(crate) async fn insist(
        &self,
        order: Order,
        at: &Self,
        mut wanted: impl FnMut(&Status) -> bool,
    ) {
        let mut watch = at.handle.status();
        let mut accepted = false;
        let asked = tokio::time::timeout(PATIENCE, async {
            loop {
                match self.handle.order(order).await {
                    Ok(()) => accepted = true,
                    // One that was accepted may have had its effect here already.
                    Err(OrderError::Refused(refused)) => {
                        assert!(accepted || refused.passes(), "{order:?}: {refused}");
                    }
                    Err(OrderError::Closed) => panic!("the driver runs"),
                }
                let seen = watch.until(&mut wanted);
                if tokio::time::timeout(Duration::from_millis(100), seen).await.is_ok() {
                    return;
                }
            }
        });
        asked.await.expect("the order has its effect");
    }

    /// Proposes, waits for the node to serve if it does not.
    pub(crate) async fn propose(&self, record: &[u8]) -> Seq {
        match self.handle.propose(Bytes::copy_from_slice(record)).await {
            Ok(seq) => seq,
            Err(ProposeError::Refused(_) | ProposeError::Busy | ProposeError::Closed) => {
                let status = self.handle.status().now();
                panic!("not proposed: {status:#?}")
            }
        }
    }
}

/// In that role, with all that it asks for done.
pub(crate) fn ready(role: Role) -> impl FnMut(&Status) -> bool {
    move |status| status.role == role && status.ready
}

/// Waits until the first node is primary and the second one ready to take over.
pub(crate) async fn whole(first: &Node, second: &Node) {
    first.until("primary", ready(Role::Prim)).await;
    second.until("secondary", ready(Role::Second)).await;
}

pub(crate) async fn until(
    handle: &Handle,
    what: &str,
    wanted: impl FnMut(&Status) -> bool,
) -> Status {
    let mut watch = handle.status();
    let Ok(status) = tokio::time::timeout(PATIENCE, watch.until(wanted)).await else {
        panic!("never {what}: {:#?}", watch.now());
    };
    status.expect("the driver runs")
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let _ = tracing_subscriber::fmt()
        .with_test_writer()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .try_init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work)
}

/// The error of a driver that must not start.
pub(crate) fn refused(result: Result<impl Sized, StartError>) -> String {
    match result {
        Ok(_) => panic!("it must not start"),
        Err(error) => error.to_string(),
    }
}

/// The cluster's key, four times, as a file has it.
pub(crate) const KEY: &str = "0123456789abcdef";
/// Far more than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
