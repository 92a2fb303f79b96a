//! The process of a mirror node.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use ha_core::Order;
use ha_core::driver::{Driver, Failure, Handle, Running, StartError};
use ha_core::proto::Role;
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

use super::config::{FileError, Module, Node};
use super::log::EX_CONFIG;
use super::module::{ModuleError, ModuleHost};

/// A node with all its modules at work.
#[derive(Debug)]
pub struct Daemon {
    runtime: Runtime,
    running: Running,
    modules: Vec<Member>,
    /// How long an orderly stop may take.
    patience: Duration,
    /// Let go at the end.
    _locks: [File; 2],
}

/// A module at work.
#[derive(Debug)]
struct Member {
    name: String,
    handle: Handle,
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
    #[error("{field}: cannot make {}: {source}", path.display())]
    Folder {
        /// The field of the configuration.
        field: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A daemon runs already.
    #[error("{field}: another mirror-node uses {}: stop it, or name another folder", path.display())]
    InUse {
        /// The field of the configuration.
        field: &'static str,
        /// Which folder.
        path: PathBuf,
    },
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
            Self::File(_) | Self::Module(_) | Self::Start(_) | Self::Folder { .. } => EX_CONFIG,
            Self::InUse { .. } | Self::Runtime(_) | Self::Failure(_) => 1,
        }
    }
}

impl Daemon {
    /// Reads the files and runs what they say.
    ///
    /// # Errors
    /// [`DaemonError`]: nothing runs then.
    pub fn start(file: &Path) -> Result<Self, DaemonError> {
        Self::start_node(&Node::read(file)?)
    }

    fn start_node(node: &Node) -> Result<Self, DaemonError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(DaemonError::Runtime)?;
        // Before anything else is touched: another daemon's addresses look like what a killed one
        // left behind.
        let locks = [lock("run", &node.raw.run)?, lock("state", &node.raw.state)?];
        if let Some(module) = node.modules.first() {
            Driver::check_key(&module.node.key)?;
        }
        let mut driver = Driver::new();
        let mut modules = Vec::new();
        for module in &node.modules {
            let later = Arc::new(OnceLock::new());
            let host = ModuleHost::new(node, module, &later, |_| {})?;
            let handle = driver.add(module.node.clone(), host)?;
            later.set(handle.clone()).expect("it is set here alone");
            modules.push(Member { name: module.name.clone(), handle });
        }
        let running = driver.start()?;
        let patience = node.modules.iter().map(patience).max().unwrap_or_default();
        info!(node = node.name, modules = modules.len(), "the node is up");
        Ok(Self { runtime, running, modules, patience, _locks: locks })
    }

    /// Works until it is told to end, by SIGTERM or SIGINT. It leaves in order then: a primary with
    /// a ready secondary hands over, and the services here are stopped. A second signal does not
    /// wait for that.
    ///
    /// # Errors
    /// [`DaemonError::Failure`]: it ended by itself.
    pub fn run(self) -> Result<(), DaemonError> {
        let Self { runtime, running, modules, patience, _locks } = self;
        runtime.block_on(async {
            let mut signals = Signals::new().map_err(DaemonError::Runtime)?;
            let ended = watch(running)?;
            tokio::pin!(ended);
            tokio::select! {
                result = &mut ended => return told(result),
                () = signals.end() => {}
            }
            info!("told to end: the modules stop, those with a ready secondary hand over");
            tokio::select! {
                result = &mut ended => return told(result),
                () = signals.end() => warn!("told again: it ends without an orderly stop"),
                () = stop(&modules, patience) => {}
            }
            let any = modules.first().expect("a node has modules");
            any.handle.shutdown();
            told(ended.await)
        })
    }
}

/// Makes a folder, and holds it against other daemons.
fn lock(field: &'static str, path: &Path) -> Result<File, DaemonError> {
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

type Ended = oneshot::Receiver<Result<(), Failure>>;

/// Waits for the driver's end on a thread of its own.
fn watch(running: Running) -> Result<Ended, DaemonError> {
    let (tell, ended) = oneshot::channel();
    let wait = move || {
        // Who waits for it may be gone.
        let _ = tell.send(running.wait());
    };
    thread::Builder::new().name("ha-wait".into()).spawn(wait).map_err(DaemonError::Runtime)?;
    Ok(ended)
}

fn told(ended: Result<Result<(), Failure>, oneshot::error::RecvError>) -> Result<(), DaemonError> {
    Ok(ended.expect("the thread that waits says what it heard")?)
}

/// Stops all modules in order, for `patience` at most.
async fn stop(modules: &[Member], patience: Duration) {
    let mut stopping = JoinSet::new();
    for Member { name, handle } in modules {
        let (name, handle) = (name.clone(), handle.clone());
        stopping.spawn(async move {
            if let Err(error) = handle.order(Order::Stop).await {
                warn!(module = name, %error, "it does not stop");
                return;
            }
            let stopped = |status: &ha_core::Status| status.role == Role::Stop && status.ready;
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

/// What ends the daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
