//! The process of a mirror node.

use std::collections::BTreeMap;
use std::format;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::string::String;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use std::vec::Vec;

use nix::sys::signal::{SigSet, raise};
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{self, Receiver};
use tokio::sync::{Mutex as AsyncMutex, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::EX_CONFIG;
use super::check::{self, check};
use super::config::{FileError, Module, Node};
use super::desk::{Entry, Handed, Kept, NodeDesk, Ordered};
use super::module::{Failures, ModuleError, ModuleHost};
use super::program::Program;
use crate::control::{EventLog, Exit, Refused, Server, ServerError};
use crate::driver::{Clock, Driver, Failure, NotHandedOver, Running, StartError, WhyUnready};
use crate::http;
use crate::linux::checkers::{self, Checkers, CheckersError, Watched};
use crate::linux::hook::{Hook, HookError, Named};
use crate::linux::realtime;
use crate::linux::scripts::Abort;
use crate::proto::{Instant, ModuleId, Role};
use crate::raw::PingTarget;
use crate::systemd::Notifier;
use crate::{Event, Order, Status};

/// A node with all its modules at work.
#[derive(Debug)]
pub struct Daemon {
    runtime: Runtime,
    /// Heard since before anything else was begun, so that none is lost or kills what comes up.
    signals: Signals,
    parts: Parts,
}

/// What runs of a daemon.
#[derive(Debug)]
struct Parts {
    running: Running,
    desk: Arc<NodeDesk>,
    requests: Receiver<Request>,
    systemd: Notifier,
    /// How long an orderly stop may take.
    patience: Duration,
    /// Ended, and let go, last.
    open: Open,
}

/// What is open as long as the daemon runs.
#[derive(Debug)]
#[expect(dead_code, reason = "they are held until they are dropped")]
struct Open {
    control: Server,
    http: Option<http::Server>,
    hook: Option<Arc<Hook>>,
    locks: [File; 2],
}

impl Open {
    /// Closes it at once, for the next program; how many events nobody was told of.
    fn let_go(mut self) -> u64 {
        self.hook.take().and_then(Arc::into_inner).map_or(0, Hook::give_up)
    }
}

/// What somebody asks the daemon itself to do.
#[derive(Debug)]
pub enum Request {
    /// To go on with what the files say now. Told why not if it cannot be now; dropped at the end
    /// of this program.
    Reload(oneshot::Sender<Refused>),
}

/// Why a daemon does not run. Nothing of it is left behind.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// A file of the configuration.
    #[error(transparent)]
    File(#[from] FileError),
    /// A module.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// The driver.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A folder that all modules share.
    #[error(
        "{field}: cannot make {}: {source}: run as root, or name a folder that this user may make",
        path.display()
    )]
    Folder {
        /// The field of the configuration.
        field: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A daemon runs already.
    #[error(
        "{field}: another daemon uses {}: stop it, or name another folder",
        path.display()
    )]
    InUse {
        /// The field of the configuration.
        field: &'static str,
        /// Which folder.
        path: PathBuf,
    },
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ServerError),
    /// Whoever is to be told.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// A checker.
    #[error(transparent)]
    Checkers(#[from] CheckersError),
    /// Where an address outside is to be asked from (vote `ping`).
    #[error(
        "ping: {target}: there is no interface {interface:?}: `ip link` lists those of this machine"
    )]
    PingFrom {
        /// The address, as it is written.
        target: PingTarget,
        /// What is not there.
        interface: String,
    },
    /// systemd.
    #[error("systemd: {0}: start this by its unit, or without NOTIFY_SOCKET")]
    Systemd(io::Error),
    /// The next program cannot be run.
    #[error("the next program cannot be run: {0}: start the daemon again, by hand or by systemd")]
    Exec(io::Error),
    /// Signals cannot be heard, or no thread be had.
    #[error("the system refuses a runtime: {0}")]
    Runtime(io::Error),
    /// It ended by itself.
    #[error("ended by itself: {0}: start it again")]
    Failure(#[from] Failure),
}

impl DaemonError {
    /// What the process ends with: 78 where the configuration is to be changed, else 1.
    pub const fn exit_code(&self) -> u8 {
        match self {
            // A port may be let go by then.
            Self::Start(StartError::Bind { .. } | StartError::Thread(_))
            | Self::InUse { .. }
            | Self::Control(_)
            | Self::Systemd(_)
            | Self::Exec(_)
            | Self::Runtime(_)
            | Self::Failure(_) => 1,
            Self::File(_)
            | Self::Module(_)
            | Self::Start(
                StartError::Key { .. }
                | StartError::KeyFormat { .. }
                | StartError::Differ { .. }
                | StartError::Twice(_)
                | StartError::Modules(_)
                | StartError::NoEtcd
                | StartError::Store(_),
            )
            | Self::Hook(_)
            | Self::Checkers(_)
            | Self::PingFrom { .. }
            | Self::Folder { .. } => EX_CONFIG,
        }
    }
}

impl Daemon {
    /// Reads the files and runs what they say.
    ///
    /// # Errors
    /// [`DaemonError`]: nothing runs then.
    pub fn start(file: &Path) -> Result<Self, DaemonError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(DaemonError::Runtime)?;
        let signals = runtime.block_on(async { Signals::new() }).map_err(DaemonError::Runtime)?;
        let parts = Parts::start(file, file, &runtime);
        let parts = match std::env::var_os(LAST_GOOD) {
            None => parts,
            // Handed over to: the services run, and wait for their lease at most.
            Some(last) => parts.or_else(|why| {
                error!(%why, "the new files cannot be run: going on with those that ran before");
                Parts::start(file, Path::new(&last), &runtime)
            }),
        };
        Ok(Self { runtime, signals, parts: parts? })
    }

    /// Works until it is told to end, by SIGTERM or SIGINT. It leaves in order then: a primary with
    /// a ready secondary hands over, and the services here are stopped. A second signal does not
    /// wait for that: scripts and what they started are killed. A unit of systemd stops in its time.
    ///
    /// # Errors
    /// [`DaemonError::Failure`]: it ended by itself.
    pub fn run(mut self) -> Result<(), DaemonError> {
        loop {
            let Parts { desk, requests, systemd, .. } = &mut self.parts;
            let next = self.runtime.block_on(work(desk, requests, systemd, &mut self.signals));
            match next {
                Next::Ended => return Ok(self.parts.running.wait()?),
                Next::Stop => break,
                Next::HandOver(asked) => self = self.replace(asked)?,
            }
        }
        info!("told to end: the modules stop, those with a ready secondary hand over");
        let Parts { running, desk, systemd, patience, .. } = self.parts;
        systemd.stopping("the modules stop");
        let aborts: Vec<_> = desk.modules.iter().filter_map(|it| it.told.abort.clone()).collect();
        self.runtime.block_on(async {
            tokio::select! {
                () = self.signals.end() => abort(&aborts),
                () = stop(&desk, patience) => {}
            }
        });
        ended(&self.runtime, &mut self.signals, || abort(&aborts), || running.shutdown());
        Ok(())
    }

    /// Goes on as the program and the files that are there now, in this same process: the services
    /// run on, and nobody else notices. Gives the daemon back, and tells who asked, where that
    /// cannot be now.
    ///
    /// # Errors
    /// [`DaemonError`]: nothing runs any more, or the guardians and the lifetimes of the addresses
    /// see to its end.
    fn replace(self, asked: Option<oneshot::Sender<Refused>>) -> Result<Self, DaemonError> {
        let Self { runtime, mut signals, parts } = self;
        let Parts { running, desk, requests, systemd, patience, open } = parts;
        let timing = desk.node.modules.first().expect("a node has modules").node.config.timing();
        systemd.reloading();
        info!("a reload: it hands over once no module is in the middle of something");
        match running.hand_over(timing.timeout / 3) {
            Ok(()) => {
                info!("handed over: the next program goes on");
                let untold = open.let_go();
                let mut next = Command::new(desk.program.path());
                next.args(std::env::args_os().skip(1));
                let folder = desk.node.raw.run.join("last.good");
                let kept = desk.node.texts.write(&folder);
                match kept.and_then(|last| desk.keep(&folder, untold).map(|()| last)) {
                    Ok(last) => drop(next.env(LAST_GOOD, last)),
                    Err(error) => {
                        warn!(%error, "what runs is not kept: the next one has only the files");
                        next.env_remove(LAST_GOOD);
                    }
                }
                // With the last one who knows them the checkers end, and the programs that they
                // run: the next program would neither bound them nor wait for their end.
                drop(desk);
                // Whatever is told from here on waits until the next program hears it.
                let held = runtime.block_on(signals.hold());
                if let Err(error) = held {
                    warn!(%error, "a signal that comes now may be lost: send it again");
                }
                Err(DaemonError::Exec(next.exec()))
            }
            Err(NotHandedOver::Ended(failure)) => Err(failure.into()),
            Err(NotHandedOver::Unready { running, module, why }) => {
                let refused = not_now(&desk, module, why);
                warn!("{}", refused.text);
                systemd.ready(&refused.text);
                if let Some(asked) = asked {
                    // Who asked may have gone.
                    let _ = asked.send(refused);
                }
                let parts = Parts { running, desk, requests, systemd, patience, open };
                Ok(Self { runtime, signals, parts })
            }
        }
    }
}

impl Parts {
    /// Runs what `source` says in the place of `file`.
    fn start(file: &Path, source: &Path, runtime: &Runtime) -> Result<Self, DaemonError> {
        let node = Node::read(source)?;
        let systemd = Notifier::from_env().map_err(DaemonError::Systemd)?;
        // Before anything else is touched: another daemon's addresses look like what a killed one
        // left behind.
        let locks = [lock("run", &node.raw.run)?, lock("state", &node.raw.state)?];
        // And before what was handed over is taken away, once and for all.
        check(&node, check::Open::Nothing)?;
        // Before anybody can order otherwise, and before a checker acts.
        let handed = handed();
        let mut driver = Driver::new();
        let mut entries = Vec::new();
        for module in &node.modules {
            let kept = handed.modules.get(&module.name).cloned().unwrap_or_default();
            entries.push(add(&mut driver, &node, module, &kept)?);
        }
        let checkers = Arc::new(watch_modules(&node, &entries, &handed)?);
        let events = Arc::new(EventLog::resume(handed.log.clone()));
        let hook = observe(&mut driver, &node, &events, &checkers, handed.untold)?;
        let (requests, asked) = mpsc::channel(REQUESTS_MAX);
        let patience = node.modules.iter().map(patience).max().unwrap_or_default();
        let (socket, listen) = (node.control_socket(), node.raw.http.map(|http| http.listen));
        let desk = Arc::new(NodeDesk {
            file: file.into(),
            program: Program::of_this_process().map_err(DaemonError::Runtime)?,
            events: Arc::clone(&events),
            node,
            modules: entries,
            checkers,
            requests,
            clock: Clock::of_the_machine(),
            compared: Mutex::default(),
        });
        let control = Server::start(&socket, Arc::clone(&desk), events)?;
        let http = listen.map(|listen| http::Server::start(listen, Arc::clone(&desk)));
        let open = Open { control, http: http.transpose()?, hook, locks };
        let running = driver.start()?;
        let first = desk.modules.first().expect("a node has modules");
        // The node's thread has its name before it has looked at a module.
        let _ = runtime.block_on(first.handle.status().until(|_| true));
        for refused in [realtime::lock_memory(), favour(&desk.node)] {
            if let Err(refused) = refused {
                warn!("{refused}");
            }
        }
        if last_good_folder().is_some() {
            runtime.block_on(desk.resume_orders());
        }
        info!(node = desk.node.name, modules = desk.modules.len(), "the node is up");
        Ok(Self { running, desk, requests: asked, systemd, patience, open })
    }
}

/// Why nothing was handed over.
fn not_now(desk: &NodeDesk, module: ModuleId, why: WhyUnready) -> Refused {
    let found = desk.modules.iter().find(|entry| entry.handle.module() == module);
    let name = found.map_or("", |entry| &entry.name);
    let text = format!("module {name}: not reloaded: {why}");
    if why.passes() {
        Refused::new(Exit::Busy, format!("{text}: order it again"))
    } else {
        Refused::new(Exit::Failed, text)
    }
}

/// Why the daemon does not go on as it is.
#[derive(Debug)]
enum Next {
    /// The driver has ended by itself.
    Ended,
    /// It is told to end.
    Stop,
    /// The next program is to go on; who asked for it.
    HandOver(Option<oneshot::Sender<Refused>>),
}

/// Works until something else is to be done.
async fn work(
    desk: &NodeDesk,
    requests: &mut Receiver<Request>,
    systemd: &Notifier,
    signals: &mut Signals,
) -> Next {
    let first = desk.modules.first().expect("a node has modules");
    systemd.ready(&format!("{} modules", desk.modules.len()));
    let alive = systemd.keep_alive(async || first.handle.counters().await.is_some());
    tokio::pin!(alive);
    let ended = async {
        let mut status = first.handle.status();
        while status.changed().await.is_some() {}
    };
    tokio::pin!(ended);
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            () = &mut ended => return Next::Ended,
            () = &mut alive => return Next::Ended,
            told = signals.next() => match told {
                Told::End => return Next::Stop,
                // Also for a new program that is there, though the files are as they were.
                Told::Reload => match desk.may_reload().await {
                    Ok(_) => return Next::HandOver(None),
                    Err(refused) => {
                        warn!(why = refused.text, "not reloaded: all goes on as it was");
                        // Or who asked by it would wait for the end of a reload.
                        systemd.reloading();
                        systemd.ready(&format!("not reloaded: {}", refused.text));
                    }
                },
            },
            Some(Request::Reload(asked)) = requests.recv() => return Next::HandOver(Some(asked)),
            _ = second.tick() => {
                desk.end_maintenance().await;
                desk.start_again().await;
                desk.look().await;
            }
        }
    }
}

/// Adds a module to the driver, and what others may ask of it; goes on with what the process before
/// kept of it.
fn add(
    driver: &mut Driver,
    node: &Node,
    module: &Module,
    kept: &Kept,
) -> Result<Entry, DaemonError> {
    let later = Arc::new(OnceLock::new());
    let host = ModuleHost::new(node, module, &later)?;
    let told = host.told();
    told.failures.resume(&kept.failures);
    let handle = driver.add(module.node.clone(), host)?;
    later.set(handle.clone()).expect("it is set here alone");
    Ok(Entry {
        name: module.name.clone(),
        names: node.names_in(module),
        service: module.says(),
        handle,
        told,
        turn: AsyncMutex::default(),
        ordered: Mutex::new(Ordered::resume(kept)),
        exposure: Mutex::default(),
    })
}

/// Starts the checkers of all modules that have some.
fn watch_modules(
    node: &Node,
    entries: &[Entry],
    handed: &Handed,
) -> Result<Option<Checkers>, DaemonError> {
    let with = node.modules.iter().zip(entries).filter(|(module, _)| !module.checkers.is_empty());
    let failures = entries.iter().map(|entry| (entry.name.clone(), entry.told.failures.clone()));
    let failures: BTreeMap<String, Failures> = failures.collect();
    let watched: Vec<Watched> = with
        .map(|(module, entry)| {
            let mut loops = module.loops.clone();
            let kept = handed.modules.get(&module.name);
            for &at in kept.into_iter().flat_map(|kept| &kept.restarts) {
                loops.take(Instant::from_nanos(at));
            }
            Watched {
                name: module.name.clone(),
                handle: Some(entry.handle.clone()),
                checkers: module.checkers.clone(),
                loops,
                surroundings: entry.told.surroundings.clone(),
                suspended: !entry.ordered().acts(),
            }
        })
        .collect();
    if watched.is_empty() {
        return Ok(None);
    }
    let checkers = Checkers::start(watched, move |module, event| match event {
        checkers::Event::Acts { checker: _, action } => {
            if let Some(failures) = failures.get(module).filter(|_| action.counts()) {
                failures.count();
            }
        }
        checkers::Event::Changed { .. }
        | checkers::Event::Refused { .. }
        | checkers::Event::LoopsSpent { .. } => {}
    });
    Ok(Some(checkers?))
}

/// Lets the log of events hear of them, and whoever is to be told.
///
/// Whoever is to be told is held by the caller, too: the driver's end waits for nobody then.
fn observe(
    driver: &mut Driver,
    node: &Node,
    events: &Arc<EventLog>,
    checkers: &Arc<Option<Checkers>>,
    untold: u64,
) -> Result<Option<Arc<Hook>>, DaemonError> {
    let log = Arc::clone(events);
    driver.observe(move |module, epoch, event| log.note(module, epoch, event));
    if checkers.is_some() {
        let id = |module: &Module| (module.node.config.identity().module, module.name.clone());
        let names: BTreeMap<ModuleId, String> = node.modules.iter().map(id).collect();
        let checkers = Arc::clone(checkers);
        driver.observe(move |module, _, event| {
            if let (Event::ApplicationFailed, Some(checkers)) = (event, checkers.as_ref()) {
                // A module without checkers is unknown there, and has nothing to count.
                let _ = checkers.failed(&names[&module]);
            }
        });
    }
    let Some(config) = node.hook.clone() else { return Ok(None) };
    let named = |module: &Module| {
        let named = Named { module: module.name.clone(), names: node.names_in(module) };
        (module.node.config.identity().module, named)
    };
    let modules = node.modules.iter().map(named).collect();
    let hook = Arc::new(Hook::resume(config, modules, untold)?);
    let (log, teller) = (Arc::clone(events), Arc::clone(&hook));
    // After the log, whose newest number is this event's.
    driver.observe(move |module, epoch, event| teller.tell(log.newest(), module, epoch, event));
    Ok(Some(hook))
}

/// Requests that may wait: each means the same as the one before.
const REQUESTS_MAX: usize = 1;

/// The name of the driver's own thread.
const NODE_THREAD: &str = "ha-node";

/// The name of the guards' threads, before a number.
const GUARD_THREADS: &str = "ha-guard";

/// The name of the threads that keep virtual addresses.
const VIP_THREAD: &str = "ha-vip";

/// Names the main file of the configuration that ran last, for the program that goes on.
const LAST_GOOD: &str = "HA_NODE_LAST_GOOD";

/// Where the process before left what this one goes on with, if it handed over.
fn last_good_folder() -> Option<PathBuf> {
    let file = PathBuf::from(std::env::var_os(LAST_GOOD)?);
    file.parent().map(Path::to_path_buf)
}

/// What the process before handed over beside the node's state.
fn handed() -> Handed {
    let Some(folder) = last_good_folder() else { return Handed::default() };
    Handed::read(&folder).unwrap_or_else(|error| {
        warn!(%error, "maintenance, other orders and the history are forgotten: give orders again");
        Handed::default()
    })
}

/// Makes a folder, and holds it against other daemons.
pub(crate) fn lock(field: &'static str, path: &Path) -> Result<File, DaemonError> {
    let failed = |source| DaemonError::Folder { field, path: path.into(), source };
    std::fs::create_dir_all(path).map_err(failed)?;
    let file = File::options().create(true).append(true).open(path.join("daemon.lock"));
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DaemonError::InUse { field, path: path.into() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Told to end once more.
pub(crate) fn abort(aborts: &[Abort]) {
    warn!("told again: it ends at once, without an orderly stop");
    aborts.iter().for_each(Abort::now);
}

/// Ends what may wait for scripts that are under way, and calls `told` for each signal that asks for
/// the end meanwhile.
pub(crate) fn ended<T: Send>(
    runtime: &Runtime,
    signals: &mut Signals,
    mut told: impl FnMut(),
    end: impl FnOnce() -> T + Send,
) -> T {
    std::thread::scope(|scope| {
        let (done, over) = oneshot::channel::<()>();
        let end = scope.spawn(move || {
            let result = end();
            drop(done);
            result
        });
        runtime.block_on(async {
            let mut over = pin!(over);
            loop {
                tokio::select! {
                    // It was dropped.
                    _ = &mut over => return,
                    () = signals.end() => told(),
                }
            }
        });
        end.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Lets those threads go first that must be in time: the node's; the guards', since what is fenced
/// must be so within S; and those that keep the addresses, which end by themselves else.
fn favour(node: &Node) -> Result<(), realtime::Refused> {
    realtime::raise_first(NODE_THREAD)?;
    realtime::raise(GUARD_THREADS)?;
    if node.modules.iter().any(|module| module.vips.is_some()) {
        realtime::raise(VIP_THREAD)?;
    }
    Ok(())
}

/// Stops all modules in order, for `patience` at most.
async fn stop(desk: &NodeDesk, patience: Duration) {
    let mut stopping = JoinSet::new();
    for entry in &desk.modules {
        let (name, handle) = (entry.name.clone(), entry.handle.clone());
        stopping.spawn(async move {
            if let Err(error) = handle.order(Order::Stop).await {
                warn!(module = name, %error, "it does not stop");
                return;
            }
            let stopped = |status: &Status| status.role == Role::Stop && status.ready;
            // `None`: the driver has ended before.
            let _ = handle.status().until(stopped).await;
        });
    }
    if timeout(patience, stopping.join_all()).await.is_err() {
        warn!(?patience, "not all modules have stopped in time: they are stopped by force");
    }
}

/// How long a module may take to stop in order: its scripts, and a hand-over before.
fn patience(module: &Module) -> Duration {
    let timing = module.node.config.timing();
    let scripts = module.service.as_ref().map(|it| it.stop + it.force);
    scripts.unwrap_or_default() + timing.lease * 3 + timing.stop + Duration::from_secs(10)
}

/// What the daemon is told by signals, from when it is made.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let (interrupt, hangup) = (SignalKind::interrupt(), SignalKind::hangup());
        let new = Self { terminate, interrupt: signal(interrupt)?, hangup: signal(hangup)? };
        // Held by the program before. Before any thread is started: a service with these blocked
        // could not be stopped.
        held().thread_unblock()?;
        Ok(new)
    }

    /// Keeps signals in the kernel for the next program of this process, those included that came
    /// since the last one was read.
    pub(crate) async fn hold(&mut self) -> io::Result<()> {
        held().thread_block()?;
        while let Ok(told) = timeout(Duration::from_millis(1), self.next()).await {
            raise(match told {
                Told::End => nix::sys::signal::SIGTERM,
                Told::Reload => nix::sys::signal::SIGHUP,
            })?;
        }
        Ok(())
    }

    pub(crate) async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::End,
            _ = self.interrupt.recv() => Told::End,
            _ = self.hangup.recv() => Told::Reload,
        }
    }

    pub(crate) async fn end(&mut self) {
        while self.next().await != Told::End {}
    }
}

/// The signals that [`Signals`] hears.
fn held() -> SigSet {
    [nix::sys::signal::SIGTERM, nix::sys::signal::SIGINT, nix::sys::signal::SIGHUP]
        .into_iter()
        .collect()
}

/// What a signal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Stop in order, and end.
    End,
    /// Read the files again.
    Reload,
}
