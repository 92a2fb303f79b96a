//! A witness: the pure arbiter behind a socket, with its registers on disk.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::format;
use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;
use std::string::String;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use ha_proto::wire::{self, DATAGRAM_MAX, Datagram, Header, Keys, Kind, Reject, Rejections};
use ha_proto::{ClusterId, Epoch, Incarnation, Machine, ModuleId, NodeId, Outbox};
use ha_quorum::arbiter::{Event, Input, Output};
use ha_quorum::{Answer, Ask, Register};
use tracing::{debug, error, info, info_span, warn};

use super::bind::bind;
use super::key::Secrets;
use super::strangers::Strangers;
use super::{Clock, Failure, StartError, random};
use crate::raw::{Key, cluster_id};
use crate::store::{Lock, StoreError, create, replace};

/// What an arbiter is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArbiterConfig {
    /// Address and UDP port to be asked at; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where it keeps its registers. A lost folder is another witness to the nodes: they adopt it
    /// by themselves. A folder restored from a copy must never be used.
    pub folder: PathBuf,
    /// The key of the clusters that ask, or two while it is changed: as at the nodes, and in the
    /// same three steps (`accept_key_file` of [`RawConfig`](crate::raw::RawConfig)). `None`: only
    /// those in `clusters` are served.
    pub key: Option<Key>,
    /// Clusters with a key of their own, by name, so that none can speak for another.
    pub clusters: BTreeMap<String, Key>,
}

impl ArbiterConfig {
    /// An arbiter of clusters that share one key.
    pub fn new(listen: SocketAddr, folder: impl Into<PathBuf>, key: Key) -> Self {
        Self { listen, folder: folder.into(), key: Some(key), clusters: BTreeMap::new() }
    }
}

/// A running arbiter; it ends when this is dropped, or by itself when it cannot go on:
/// [`Arbiter::wait`] says why, and the log.
///
/// One thread does it all, its disk included: while one register is stored, which takes a few
/// milliseconds, other pairs wait. The configured `round_trip` of the nodes has room for that.
#[derive(Debug)]
pub struct Arbiter {
    address: SocketAddr,
    strangers: Arc<Mutex<Strangers>>,
    ended: Arc<AtomicBool>,
    turns: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<(), Failure>>>,
}

impl Arbiter {
    /// Opens the folder and the socket, and answers. Its address may come later.
    ///
    /// # Errors
    /// [`StartError`] when the key, the folder or the socket cannot be used.
    pub fn start(config: &ArbiterConfig) -> Result<Self, StartError> {
        let keys = KeyRing::load(config)?;
        let shelf = Shelf::open(&config.folder)?;
        let (field, address) = ("listen", config.listen);
        let failed = |source| StartError::Bind { field, address, source };
        let socket = bind(field, address)?;
        socket.set_nonblocking(false).map_err(failed)?;
        socket.set_read_timeout(Some(LOOK)).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let machine = shelf.machine()?;
        let ended = Arc::new(AtomicBool::new(false));
        let strangers = Arc::new(Mutex::new(Strangers::default()));
        let refused = Arc::clone(&strangers);
        let mut desk = Desk { machine, keys, socket, shelf, clock: Clock::start(), refused };
        let turns = Arc::new(AtomicU64::new(0));
        let (seen, counted) = (Arc::clone(&ended), Arc::clone(&turns));
        let thread = thread::Builder::new().name(THREAD.into()).spawn(move || {
            let _span = info_span!("arbiter", %address).entered();
            let ended = catch_unwind(AssertUnwindSafe(|| desk.serve(&seen, &counted)))
                .unwrap_or_else(|_| Err(Failure::Panicked(THREAD.into())));
            if let Err(failure) = &ended {
                error!(%failure, "the arbiter ends");
            }
            ended
        })?;
        info!(%address, folder = %config.folder.display(), "the arbiter answers");
        Ok(Self { address, strangers, ended, turns, thread: Some(thread) })
    }

    /// Where it is asked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Datagrams refused since the start, by kind; what a network delivers twice is among them, as
    /// [`Reject::Replayed`]. Each kind is told in the log once for each sender.
    pub fn rejections(&self) -> Rejections {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner).total()
    }

    /// How often it looked for a datagram and was done with what there was: it works as long as
    /// this grows after each [`prod`], and by itself within a second.
    ///
    /// [`prod`]: Self::prod
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Acquire)
    }

    /// Gives it something to do: a datagram with nothing in it, which no one counts as refused.
    /// While its address is not on this machine none is sent: it would go elsewhere.
    ///
    /// # Errors
    /// There is no socket to send it from, or it may not be sent.
    pub fn prod(&self) -> io::Result<()> {
        let to = local(self.address);
        // With the scope of an address of one link.
        let mut from = to;
        from.set_port(0);
        match UdpSocket::bind(from) {
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Ok(()),
            socket => socket?.send_to(&[], to).map(drop),
        }
    }

    /// Whether it has ended by itself; [`wait`](Self::wait) says why.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until it ends: only a failure ends it.
    ///
    /// # Errors
    /// [`Failure`]; start it anew.
    pub fn wait(mut self) -> Result<(), Failure> {
        self.join()
    }

    fn join(&mut self) -> Result<(), Failure> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().expect("its panics are caught and told")
    }
}

impl Drop for Arbiter {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // So that it looks at once. Without that it does within a second.
        let _ = self.prod();
        // A failure is in the log.
        let _ = self.join();
    }
}

/// The arbiter with all that it needs.
struct Desk {
    machine: ha_quorum::Arbiter,
    keys: KeyRing,
    socket: UdpSocket,
    shelf: Shelf,
    clock: Clock,
    refused: Arc<Mutex<Strangers>>,
}

impl Desk {
    fn serve(&mut self, ended: &AtomicBool, turns: &AtomicU64) -> Result<(), Failure> {
        let mut buffer = [0; DATAGRAM_MAX + 1];
        loop {
            let received = persist(|| awaited(self.socket.recv_from(&mut buffer)));
            if ended.load(Ordering::Acquire) {
                return Ok(());
            }
            let failed = |source| Failure::Io { what: "the arbiter's socket", source };
            let asked = received.map_err(failed)?;
            if let Some((len, from)) = asked.filter(|(len, _)| *len > 0) {
                self.handle(&buffer[..len], from);
            }
            turns.fetch_add(1, Ordering::Release);
        }
    }

    fn handle(&mut self, bytes: &[u8], from: SocketAddr) {
        let (cluster, module, ask) = match self.open(bytes) {
            Ok(asked) => asked,
            Err(reject) => return self.refuse(reject, from),
        };
        let mut out = Outbox::new(ha_quorum::Arbiter::OUTPUTS_MAX);
        self.machine.handle(self.clock.now(), Input::Ask { cluster, module, ask }, &mut out);
        let mut genuine = true;
        while let Some(output) = out.pop() {
            match output {
                Output::Answer { cluster, module, answer } => {
                    self.answer(cluster, module, &answer, from);
                }
                Output::Store { ticket, register } => {
                    let input = match self.shelf.store(&register) {
                        Ok(()) => Input::Stored { ticket },
                        Err(error) => {
                            error!(%error, "a register could not be stored");
                            Input::StoreFailed { ticket }
                        }
                    };
                    self.machine.handle(self.clock.now(), input, &mut out);
                }
                Output::Event(Event::Replayed { .. }) => {
                    genuine = false;
                    self.refuse(Reject::Replayed, from);
                }
                Output::Event(event @ (Event::Changed { .. } | Event::StoreFailed { .. })) => {
                    info!(?event);
                }
            }
        }
        if genuine {
            self.refused().befriend(from.ip());
        }
    }

    /// The ask in a datagram that belongs to a cluster of our key.
    fn open(&self, bytes: &[u8]) -> Result<(ClusterId, ModuleId, Ask), Reject> {
        // The header says which cluster, and the seal covers it.
        let cluster = bytes.get(CLUSTER_AT..).and_then(|bytes| bytes.first_chunk());
        let cluster = ClusterId(u64::from_be_bytes(*cluster.ok_or(Reject::Truncated)?));
        let keys = self.keys.of(cluster).ok_or(Reject::Cluster)?;
        let packet = wire::open(bytes, keys, cluster)?;
        match packet.header.kind {
            Kind::Ask => {}
            Kind::Beat | Kind::Answer => return Err(Reject::Misplaced),
            Kind::Member | Kind::Propose | Kind::Pull | Kind::Part | Kind::Survey => {
                return Err(Reject::Misplaced);
            }
        }
        let ask = Ask::decode(packet.header.sender, packet.body)?;
        Ok((cluster, packet.header.module, ask))
    }

    fn refuse(&self, reject: Reject, from: SocketAddr) {
        if self.refused().count(from.ip(), reject) {
            warn!(%from, %reject, "a datagram is refused: told once, counted always");
        }
    }

    fn refused(&self) -> MutexGuard<'_, Strangers> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, cluster: ClusterId, module: ModuleId, answer: &Answer, to: SocketAddr) {
        let Some(keys) = self.keys.of(cluster) else { return };
        let datagram = seal(cluster, module, answer, keys);
        if let Err(error) = self.socket.send_to(datagram.as_bytes(), to) {
            debug!(%to, %error, "an answer is lost here");
        }
    }
}

/// Whose keys open whose datagrams.
struct KeyRing {
    shared: Option<Keys>,
    own: BTreeMap<ClusterId, Keys>,
}

impl KeyRing {
    fn load(config: &ArbiterConfig) -> Result<Self, StartError> {
        let shared = config.key.as_ref().map(Secrets::load).transpose()?;
        let own = config.clusters.iter().map(|(name, key)| {
            let secrets = Secrets::load(key)?;
            Ok((cluster_id(name), secrets.datagrams))
        });
        let own = own.collect::<Result<_, StartError>>()?;
        Ok(Self { shared: shared.map(|secrets| secrets.datagrams), own })
    }

    /// A cluster with a key of its own is never opened by the shared one.
    fn of(&self, cluster: ClusterId) -> Option<&Keys> {
        self.own.get(&cluster).or(self.shared.as_ref())
    }
}

/// The answer as a datagram: of the witness of this pair, whichever it is.
pub(super) fn seal(cluster: ClusterId, module: ModuleId, answer: &Answer, keys: &Keys) -> Datagram {
    let epoch = answer.register.map_or(Epoch::NONE, |register| register.membership.epoch);
    let header = Header {
        kind: Kind::Answer,
        sender: NodeId::new(NodeId::MAX).expect("the highest id is one"),
        flags: 0,
        cluster,
        module,
        waited: 0,
        epoch,
        sequence: answer.number,
        echo: answer.number,
    };
    wire::seal(&header, |body| answer.encode(body), keys)
}

/// The arbiter's folder: a file for each register, and one for the incarnation.
struct Shelf {
    folder: PathBuf,
    incarnation: Incarnation,
    _lock: Lock,
}

impl Shelf {
    fn open(folder: &Path) -> Result<Self, StartError> {
        create(folder)?;
        let lock = Lock::take(folder)?;
        let path = folder.join("incarnation");
        let incarnation = match fs::read(&path) {
            Ok(bytes) => {
                let damaged = || io::Error::other("it does not hold eight bytes");
                let bytes = bytes.try_into().map_err(|_| damaged());
                u64::from_be_bytes(bytes.map_err(StoreError::io("use", &path))?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let fresh = random()?.max(1);
                replace(folder, "incarnation", &fresh.to_be_bytes())?;
                fresh
            }
            Err(error) => return Err(StoreError::io("read", &path)(error).into()),
        };
        Ok(Self {
            folder: folder.to_path_buf(),
            incarnation: Incarnation(incarnation),
            _lock: lock,
        })
    }

    /// The arbiter with everything that it stored.
    fn machine(&self) -> Result<ha_quorum::Arbiter, StoreError> {
        let mut registers = Vec::new();
        let list = fs::read_dir(&self.folder).map_err(StoreError::io("list", &self.folder))?;
        for entry in list {
            let path = entry.map_err(StoreError::io("list", &self.folder))?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                let bytes = fs::read(&path).map_err(StoreError::io("read", &path))?;
                let damaged = |why| StoreError::Damaged { path: path.clone(), why };
                registers.push(Register::decode(&bytes).map_err(damaged)?);
            }
        }
        let now = Clock::start().now();
        let refused = |error| StoreError::io("use", &self.folder)(io::Error::other(error));
        ha_quorum::Arbiter::new(now, self.incarnation, registers).map_err(refused)
    }

    fn store(&self, register: &Register) -> Result<(), StoreError> {
        let (cluster, module) = (register.cluster, register.module.0);
        replace(&self.folder, &format!("{cluster}-{module}.{EXTENSION}"), &register.encode())
    }
}

/// Receives over errors that pass: the network's, or of an answer that nobody took.
fn persist<T>(mut receive: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..ERRORS_MAX {
        match receive() {
            Err(error) if passes(error.kind()) => debug!(%error, "the arbiter goes on"),
            received => return received,
        }
    }
    receive()
}

/// What came; `None` where nothing did for as long as is waited.
fn awaited<T>(received: io::Result<T>) -> io::Result<Option<T>> {
    match received {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        other => other.map(Some),
    }
}

/// Whether a socket with this error goes on to work.
fn passes(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::TimedOut
            | io::ErrorKind::OutOfMemory
    )
}

/// Where a socket bound to any address is reached from here.
fn local(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            (std::net::Ipv4Addr::LOCALHOST, v4.port()).into()
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            (std::net::Ipv6Addr::LOCALHOST, v6.port()).into()
        }
        bound => bound,
    }
}

/// Where the header names the cluster.
const CLUSTER_AT: usize = 8;
const EXTENSION: &str = "register";
const THREAD: &str = "ha-arbiter";
/// How long nobody may ask before it looks whether it is to end: no load, and a stop waits no longer.
const LOOK: Duration = Duration::from_secs(1);
/// Errors in a row that pass; with more the socket is broken, and would be asked for ever.
const ERRORS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_passes_is_not_the_end() {
        let mut errors = [io::ErrorKind::Interrupted, io::ErrorKind::ConnectionRefused].into_iter();
        let received = persist(|| errors.next().map_or(Ok(7), |kind| Err(kind.into())));
        assert_eq!(received.unwrap(), 7);
    }

    #[test]
    fn an_error_that_stays_is_the_end() {
        let mut asked = 0;
        let mut receive = |kind: io::ErrorKind| {
            let failed = persist(|| -> io::Result<()> {
                asked += 1;
                Err(kind.into())
            });
            (failed.unwrap_err().kind(), std::mem::take(&mut asked))
        };
        let denied = io::ErrorKind::PermissionDenied;
        assert_eq!(receive(denied), (denied, 1));
        let down = io::ErrorKind::NetworkDown;
        assert_eq!(receive(down), (down, ERRORS_MAX + 1));
    }
}
