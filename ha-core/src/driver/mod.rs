//! Runs mirrors: sockets, timers, log files and the host around the pure [`Mirror`].
//!
//! One thread owns all modules of a process and everything that they share: a UDP socket for each
//! link and witness, and one replication stream to the peer's process. What may block (disk, host,
//! guard) runs on threads of its own and comes back as a fact.
//!
//! ```no_run
//! use bytes::Bytes;
//! use ha_core::driver::{Driver, Guard, Host, HostError};
//! use ha_core::proto::{Epoch, Seq};
//! use ha_core::raw::{Link, NodeConfig, RawConfig, RawVote, Replication};
//!
//! struct Counter(u64);
//! struct Fence;
//!
//! impl Guard for Fence {
//!     async fn fence(&mut self, _: Epoch) -> Result<(), HostError> {
//!         Ok(()) // answer nobody any more
//!     }
//! }
//!
//! impl Host for Counter {
//!     type Guard = Fence;
//!     fn guard(&mut self) -> Fence {
//!         Fence
//!     }
//!     async fn start(&mut self, _: Epoch, _: Seq) -> Result<(), HostError> {
//!         Ok(()) // open the service
//!     }
//!     async fn stop(&mut self, _: bool) -> Result<(), HostError> {
//!         Ok(()) // close it
//!     }
//!     async fn apply(&mut self, _: Seq, _: Bytes) -> Result<(), HostError> {
//!         self.0 += 1; // committed: acknowledge it where it was asked for
//!         Ok(())
//!     }
//!     async fn reset(&mut self) -> Result<(), HostError> {
//!         self.0 = 0;
//!         Ok(())
//!     }
//! }
//!
//! let link = Link { local: "10.0.0.1:7400".parse()?, peer: "10.0.0.2:7400".parse()? };
//! let stream = Replication {
//!     listen: "10.0.0.1:7401".parse()?,
//!     connect: "10.0.0.2:7401".parse()?,
//! };
//! let mut raw = RawConfig::new("shop", (0, 1), vec![link], stream, "/var/lib/shop");
//! raw.vote = RawVote::None;
//! raw.key_file = Some("/etc/shop.key".into());
//!
//! let mut driver = Driver::new();
//! let handle = driver.add(NodeConfig::try_from(raw)?, Counter(0))?;
//! let running = driver.start()?;
//! handle.submit(Bytes::from_static(b"one more"))?;
//! running.wait()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arbiter;
mod bind;
mod cipher;
#[cfg(feature = "etcd")]
mod clerk;
mod clock;
mod dial;
mod echo;
mod error;
#[cfg(feature = "etcd")]
mod etcd;
mod greetings;
mod handle;
mod host;
mod hosting;
mod key;
mod mailbox;
mod module;
mod probe;
mod session;
mod strangers;
mod turn;
mod udp;
mod upgrade;
mod watched;

use core::fmt;
use core::future::poll_fn;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::prelude::rust_2024::*;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use ha_proto::wire::DATAGRAM_MAX;
use ha_proto::{Boot, Epoch, ModuleId, StoreId};
use ha_replicate::Recovered;
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::sync::{Notify, Semaphore, watch};
use tracing::{error, info, info_span};

#[cfg(feature = "linux")]
pub(crate) use self::bind::bind;
#[cfg(feature = "http")]
pub(crate) use self::bind::listen;
use self::cipher::{Ends, StreamKeys};
pub(crate) use self::clock::Alarm;
use self::dial::Patience;
#[cfg(feature = "linux")]
pub(crate) use self::echo::Ping;
use self::greetings::Refused;
use self::handle::{PROPOSALS_MAX, Shared};
use self::hosting::Hosting;
pub(crate) use self::key::Secrets;
use self::mailbox::{Letter, Mailbox};
use self::module::{Module, Observers, Ports};
use self::turn::Loop;
pub(crate) use self::udp::Port;
#[cfg(feature = "linux")]
pub(crate) use self::watched::watch;
use crate::raw::{Key, NodeConfig};
use crate::store::{Ids, Storage, Store, StoreLimits};
use crate::{Answer, Event, Mirror, Saved, Status};

pub use self::arbiter::{Arbiter, ArbiterConfig};
pub use self::clock::Clock;
pub use self::error::{Failure, StartError};
pub use self::handle::{Handle, OrderError, ProposeError, Watch};
pub use self::host::{Guard, Host, HostError, Pulse};
pub use self::key::hash_key;
pub use self::session::{Session, Source};
pub use self::upgrade::{NotHandedOver, WhyUnready};

/// The modules of a process, before they run.
#[derive(Default)]
pub struct Driver {
    mailbox: Arc<Mailbox>,
    refused: Arc<Refused>,
    /// Told when a module hears its peer again.
    heard: Arc<Notify>,
    modules: Vec<Prepared>,
    observers: Observers,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("modules", &self.modules).finish_non_exhaustive()
    }
}

/// A driver at work. It ends when this is dropped, or when any [`Handle`] says so, or by itself
/// when it cannot go on: [`Running::wait`] says why.
///
/// However it ends, the addresses are dropped and the applications stopped by force, as far as the
/// hosts still can; but for [`Running::hand_over`], which leaves both to another process.
#[derive(Debug)]
pub struct Running {
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<Result<(), Failure>>>,
}

/// A module with its folder open and its threads at work.
#[derive(Debug)]
struct Prepared {
    config: NodeConfig,
    saved: Saved,
    recovered: Recovered,
    /// What an earlier process handed over.
    baton: Option<Vec<u8>>,
    outlives: bool,
    shared: Arc<Shared>,
    status: watch::Sender<Option<Status>>,
    storage: Storage,
    prober: probe::Prober,
    hosting: Hosting,
}

impl Driver {
    /// A driver without modules.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the key can be used, for programs that want to know before anything else.
    ///
    /// # Errors
    /// [`StartError::Key`] or [`StartError::KeyFormat`].
    pub fn check_key(key: &Key) -> Result<(), StartError> {
        Secrets::load(key).map(drop)
    }

    /// Adds a module: opens its folder and recovers its log. Nothing is sent before
    /// [`Driver::start`]. Where an earlier process handed this module over
    /// ([`Running::hand_over`]), it goes on as that one's successor, if that is still right.
    ///
    /// # Errors
    /// [`StartError`] when the module does not fit the others, or its folder cannot be used.
    pub fn add<H: Host>(&mut self, config: NodeConfig, host: H) -> Result<Handle, StartError> {
        self.check(&config)?;
        if cfg!(not(feature = "etcd")) && config.etcd.is_some() {
            return Err(StartError::NoEtcd);
        }
        let identity = *config.config.identity();
        let ids = Ids { cluster: identity.cluster, module: identity.module, node: identity.me };
        let limits =
            StoreLimits { segment_bytes: config.segment_bytes, aside_bytes: config.aside_bytes };
        let mut store = Store::open(Path::new(&config.folder), ids, limits, StoreId(random()?))?;
        let baton = store.take_baton();
        let saved = store.saved().clone();
        let recovered = Recovered {
            position: store.position(),
            lineage: saved.lineage.clone(),
            state: saved.state,
            membership: saved.is_initialised().then_some(saved.membership),
            store: saved.store,
            applied: host.applied(),
            bytes: store.bytes(),
        };
        let outlives = host.outlives();
        let place = self.modules.len();
        let storage = Storage::start(store, self.answers(place), deaths(&self.mailbox))?;
        let prober = probe::Prober::new(config.ping.clone(), self.answers(place));
        let hosting =
            Hosting::start(identity.module, host, self.answers(place), deaths(&self.mailbox))?;
        let (status, seen) = watch::channel(None);
        let shared = Arc::new(Shared {
            id: identity.module,
            place,
            mailbox: Arc::clone(&self.mailbox),
            permits: Semaphore::new(PROPOSALS_MAX),
            status: seen,
            refused: Arc::clone(&self.refused),
            heard: Arc::clone(&self.heard),
        });
        let handle = Handle { shared: Arc::clone(&shared) };
        let prepared = Prepared {
            config,
            saved,
            recovered,
            baton,
            outlives,
            shared,
            status,
            storage,
            prober,
            hosting,
        };
        self.modules.push(prepared);
        Ok(handle)
    }

    /// Has `observer` called for each event of each module, with the epoch saved then. On the node's
    /// own thread and at once, whatever the hosts are doing: it must return at once, too.
    pub fn observe(&mut self, observer: impl Fn(ModuleId, Epoch, &Event) + Send + Sync + 'static) {
        self.observers.push(Box::new(observer));
    }

    /// Opens the sockets and runs all modules, on a thread of its own.
    ///
    /// # Errors
    /// [`StartError`] when there is no module, or the key, a socket or a thread is not to be had.
    pub fn start(self) -> Result<Running, StartError> {
        let Some(first) = self.modules.first() else { return Err(StartError::Modules(0)) };
        let secrets = Secrets::load(&first.config.key)?;
        let sockets = Sockets::bind(&self.modules)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mailbox = Arc::clone(&self.mailbox);
        let node = first.config.config.identity().me.as_u8();
        let thread = thread::Builder::new().name(NODE_THREAD.into()).spawn(move || {
            let _span = info_span!("node", node).entered();
            let ended = runtime.block_on(run(self, secrets, sockets));
            match &ended {
                Ok(()) => info!("the driver ends"),
                Err(failure) => error!(%failure, "the driver ends"),
            }
            ended
        })?;
        Ok(Running { mailbox, thread: Some(thread) })
    }

    /// What the threads of a module do with the results of its effects.
    fn answers(&self, module: usize) -> impl Fn(ha_proto::Ticket, Answer) + Send + Sync + 'static {
        let mailbox = Arc::clone(&self.mailbox);
        move |ticket, answer| {
            // A driver that has ended needs no answers.
            let _ = mailbox.post(Letter::Done { module, ticket, answer });
        }
    }

    /// Whether `config` fits the modules that are there already.
    fn check(&self, config: &NodeConfig) -> Result<(), StartError> {
        if self.modules.len() == MODULES_MAX {
            return Err(StartError::Modules(MODULES_MAX + 1));
        }
        let second = config.config.identity();
        for other in &self.modules {
            let first = other.config.config.identity();
            if first.module == second.module {
                return Err(StartError::Twice(second.module));
            }
            let rows = [
                ("cluster", first.cluster == second.cluster),
                ("node", first.me == second.me),
                ("peer", first.peer == second.peer),
                ("links", other.config.links == config.links),
                ("replication", other.config.replication == config.replication),
                ("key_file", other.config.key == config.key),
            ];
            if let Some((field, _)) = rows.into_iter().find(|(_, same)| !same) {
                let (first, second) = (first.module, second.module);
                return Err(StartError::Differ { field, first, second });
            }
        }
        Ok(())
    }
}

impl Running {
    /// Ends the driver: no datagram is sent any more, the hosts' applications are stopped by force,
    /// and what was being written is durable when this returns. A service that should go on
    /// elsewhere at once is handed over before, by [`Order::Stop`](crate::Order::Stop).
    pub fn shutdown(self) {
        drop(self);
    }

    /// Waits until the driver ends.
    ///
    /// # Errors
    /// [`Failure`] when it ended by itself.
    pub fn wait(mut self) -> Result<(), Failure> {
        self.join()
    }

    fn join(&mut self) -> Result<(), Failure> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| {
            error!("the node's thread has panicked");
            Err(Failure::Panicked(NODE_THREAD.into()))
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already takes no letters.
        let _ = self.mailbox.post(Letter::Shutdown);
        // A failure is in the log.
        let _ = self.join();
    }
}

/// The process's sockets, bound on the caller's thread so that errors come back to it.
#[derive(Debug)]
struct Sockets {
    links: Vec<UdpSocket>,
    /// By the address to ask from, and the one to ask.
    witnesses: BTreeMap<(SocketAddr, SocketAddr), UdpSocket>,
    /// At the node that is dialled.
    listener: Option<TcpListener>,
}

impl Sockets {
    fn bind(modules: &[Prepared]) -> Result<Self, StartError> {
        let first = &modules.first().expect("a driver without modules does not start").config;
        let links = first.links.iter().map(|link| bind::bind("links", link.local));
        let links = links.collect::<Result<_, _>>()?;
        let mut witnesses = BTreeMap::new();
        for (from, witness) in modules.iter().filter_map(|module| asks(&module.config)) {
            if let Entry::Vacant(place) = witnesses.entry((from, witness)) {
                place.insert(bind::bind("witness_from", from)?);
            }
        }
        let identity = first.config.identity();
        let listens = identity.me > identity.peer;
        let stream = || bind::listen("replication.listen", first.replication.listen);
        let listener = listens.then(stream).transpose()?;
        Ok(Self { links, witnesses, listener })
    }
}

/// From where a module asks its witness, and where that is.
fn asks(config: &NodeConfig) -> Option<(SocketAddr, SocketAddr)> {
    let witness = config.witness?;
    let from = config.witness_from.map(|own| SocketAddr::new(own, 0));
    Some((from.unwrap_or_else(|| udp::any_for(witness)), witness))
}

/// The node's thread.
async fn run(driver: Driver, secrets: Secrets, sockets: Sockets) -> Result<(), Failure> {
    let failed = |source| Failure::Io { what: "putting the node together", source };
    let mut node = assemble(driver, &secrets, sockets).map_err(failed)?;
    poll_fn(|cx| node.poll(cx)).await
}

/// Puts the loop together, inside its runtime.
fn assemble(driver: Driver, secrets: &Secrets, sockets: Sockets) -> io::Result<Loop> {
    let Driver { mailbox, refused, heard, modules, observers } = driver;
    let observers = Arc::new(observers);
    // What is handed over counts on one clock for all processes.
    let clock = Clock::of_the_machine();
    let boot = Boot(random()?);
    let first = &modules.first().expect("a driver without modules does not start").config;
    connect(first, secrets.stream.clone(), sockets.listener, &mailbox, (refused, heard));
    let witnesses: Vec<_> = sockets.witnesses.keys().copied().collect();
    let port = |socket| Port::new(socket, DATAGRAM_MAX);
    let ports = Ports {
        links: sockets.links.into_iter().map(port).collect::<io::Result<_>>()?,
        witnesses: sockets.witnesses.into_values().map(port).collect::<io::Result<_>>()?,
    };
    let places = modules.iter().map(|module| (module.shared.id, module.shared.place)).collect();
    let made = modules.into_iter().map(|module| {
        let keys = secrets.datagrams.clone();
        #[cfg(feature = "etcd")]
        let clerk = start_clerk(&module, &keys, &mailbox)?;
        let Prepared { config, saved, recovered, baton, outlives, shared, status, .. } = module;
        let (storage, prober, hosting) = (module.storage, module.prober, module.hosting);
        let witness = asks(&config).and_then(|ends| {
            let place = witnesses.binary_search(&ends).ok()?;
            Some((place, ends.1))
        });
        let (now, seed) = (clock.now(), random()?);
        let baton = baton.and_then(|bytes| upgrade::usable(&bytes, &config, &saved, now));
        let mirror = match baton {
            Some(baton) => Mirror::resume(config.config, keys, saved, recovered, baton, seed, now),
            None => Mirror::new(config.config, keys, saved, recovered, boot, seed, now),
        };
        Ok(Module {
            mirror,
            shared,
            status,
            storage,
            prober,
            observers: Arc::clone(&observers),
            outlives,
            hosting,
            peers: config.links.iter().map(|link| link.peer).collect(),
            witness,
            #[cfg(feature = "etcd")]
            clerk,
            proposals: std::collections::VecDeque::new(),
            due: None,
            touched: true,
            streams: true,
        })
    });
    let modules = made.collect::<io::Result<_>>()?;
    let alarm = Alarm::new(clock)?;
    let (session, letters, streaming, leaving) = (None, Vec::new(), Vec::new(), None);
    Ok(Loop { clock, alarm, ports, mailbox, modules, places, session, letters, streaming, leaving })
}

/// The clerk of a module whose register an etcd keeps.
#[cfg(feature = "etcd")]
fn start_clerk(
    module: &Prepared,
    keys: &ha_proto::wire::Keys,
    mailbox: &Arc<Mailbox>,
) -> io::Result<Option<clerk::Caller>> {
    let Some(etcd) = &module.config.etcd else { return Ok(None) };
    let place = module.shared.place;
    let answers = Arc::clone(mailbox);
    let answer = move |datagram| {
        // A driver that has ended needs no answers.
        let _ = answers.post(Letter::Witness { module: place, datagram: Box::new(datagram) });
    };
    let died = deaths(mailbox);
    clerk::Caller::start(&module.config, etcd, keys.clone(), answer, died).map(Some)
}

/// What a thread of a module does when it panicked: without it the node could look alive for ever
/// and do nothing, so the driver ends and the peer takes over.
fn deaths(mailbox: &Arc<Mailbox>) -> impl Fn(&str) + Send + Sync + 'static {
    let mailbox = Arc::clone(mailbox);
    move |thread| {
        error!(thread, "a thread has panicked");
        // A driver that has ended needs not be told to.
        let _ = mailbox.post(Letter::Died { thread: thread.into() });
    }
}

/// Begins to dial, or to listen: the lower id dials.
fn connect(
    config: &NodeConfig,
    keys: Option<StreamKeys>,
    listener: Option<TcpListener>,
    mailbox: &Arc<Mailbox>,
    (refused, heard): (Arc<Refused>, Arc<Notify>),
) {
    let (identity, timing) = (config.config.identity(), config.config.timing());
    let ends = Ends { cluster: identity.cluster, me: identity.me, peer: identity.peer, keys };
    let patience = Patience::new(timing.heartbeat, timing.timeout);
    let mailbox = Arc::clone(mailbox);
    let (own, to) = (config.replication.listen, config.replication.connect);
    match listener {
        Some(listener) => {
            tokio::spawn(dial::listen(ends, listener, patience, mailbox, refused));
        }
        None => {
            tokio::spawn(dial::dial(ends, own, to, patience, mailbox, refused, heard));
        }
    }
}

/// A random number of the system's.
pub(crate) fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(u64::from_be_bytes(bytes))
}

const NODE_THREAD: &str = "ha-node";
/// Modules of one process: each has threads of its own.
const MODULES_MAX: usize = 256;

const _: () = assert!(MODULES_MAX <= 1 << 16, "a module's number has sixteen bits");
