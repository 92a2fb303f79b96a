//! A module's service and addresses, as a host of the driver.

use std::format;
use std::io;
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ha_proto::{Epoch, Instant, Seq};
use ha_replicate::Batch;
use thiserror::Error;
use tracing::error;

use super::check::unit_of;
use super::config::{Module, Node, Service};
use crate::checker::Loops;
use crate::driver::{Clock, Guard, Handle, Host, HostError, Pulse};
use crate::linux::cgroup::Cgroup;
use crate::linux::checkers::Surroundings;
use crate::linux::guardian::Post;
use crate::linux::scripts::{Abort, Runs, ScriptError, Scripts, Settings};
use crate::linux::service::{
    AddressGuard, AddressHost, Addresses, Bounds, NoAddresses, ScriptGuard, ScriptHost,
};
use crate::linux::unit::Unit;
use crate::linux::{VipError, Vips, VipsConfig, VipsSeen};
use crate::vip;
use crate::{Event, Order};

/// The host of a module: what an administrator configured.
pub struct ModuleHost {
    kind: Kind,
    module: Later,
    /// What others want to know of it.
    told: Told,
}

/// How often an application may fail by itself before its module is stopped (`maxloop`): one that
/// cannot be started would else be started for ever.
#[derive(Clone, Debug)]
pub struct Failures {
    loops: Arc<Mutex<Loops>>,
    clock: Clock,
}

impl Failures {
    fn new(loops: Loops) -> Self {
        // The next process counts on.
        Self { loops: Arc::new(Mutex::new(loops)), clock: Clock::of_the_machine() }
    }

    /// When they were, in nanoseconds of the machine's clock, the oldest first.
    pub(super) fn restarts(&self) -> Vec<u64> {
        self.loops().restarts().map(Instant::as_nanos).collect()
    }

    /// Counts those of the process before.
    pub(super) fn resume(&self, restarts: &[u64]) {
        for &at in restarts {
            self.loops().take(Instant::from_nanos(at));
        }
    }

    /// How many are left.
    pub fn left(&self) -> u8 {
        self.loops().left(self.clock.now())
    }

    /// Somebody looks: all are left again.
    pub fn reset(&self) {
        self.loops().reset();
    }

    /// A checker had it restarted, which counts as well.
    pub(super) fn count(&self) {
        self.loops().take(self.clock.now());
    }

    /// One more; whether it may be tried again.
    fn take(&self) -> bool {
        self.loops().take(self.clock.now())
    }

    fn loops(&self) -> MutexGuard<'_, Loops> {
        self.loops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What others want to know of a module.
#[derive(Clone, Debug)]
pub struct Told {
    /// How often its application may still fail by itself.
    pub failures: Failures,
    /// How long its starts and stops took.
    pub timed: Timed,
    /// How long its scripts took, if it has any.
    pub runs: Option<Runs>,
    /// To end them by force.
    pub abort: Option<Abort>,
    /// How its addresses are doing, if it has any.
    pub vips: Option<VipsSeen>,
    /// What executables of its checkers are called in.
    pub surroundings: Surroundings,
}

/// How long an application took to start, and to stop, when it did so last.
#[derive(Clone, Debug, Default)]
pub struct Timed(Arc<Mutex<(Option<Duration>, Option<Duration>)>>);

impl Timed {
    /// The last start, and the last stop.
    pub fn last(&self) -> (Option<Duration>, Option<Duration>) {
        *self.times()
    }

    fn times(&self) -> MutexGuard<'_, (Option<Duration>, Option<Duration>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A module with a service, and one that is addresses alone.
enum Kind {
    Service(Box<ScriptHost>),
    Addresses(AddressHost),
}

/// The guard of a [`ModuleHost`].
pub enum ModuleGuard {
    /// Of one with a service.
    Service(ScriptGuard),
    /// Of one without.
    Addresses(AddressGuard),
}

/// The module's handle, for what is made before there is one.
pub type Later = Arc<OnceLock<Handle>>;

/// Why a module cannot be run here. Nothing of it runs then.
#[derive(Debug, Error)]
pub enum ModuleError {
    /// Its addresses.
    #[error("module {module}: vips: {source}")]
    Vips {
        /// Which.
        module: String,
        /// Why not.
        source: VipError,
    },
    /// Its scripts.
    #[error("module {module}: scripts: {source}")]
    Scripts {
        /// Which.
        module: String,
        /// Why not.
        source: ScriptError,
    },
    /// Its control group.
    #[error(
        "module {module}: no control group: {source}: run as root, or let systemd delegate one"
    )]
    Group {
        /// Which.
        module: String,
        /// Why not.
        source: io::Error,
    },
    /// A folder.
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
    /// Its unit.
    #[error("module {module}: unit: {source}")]
    Unit {
        /// Which.
        module: String,
        /// Why not.
        source: io::Error,
    },
    /// Its guardian.
    #[error("module {module}: guardian {}: {why}", program.display())]
    Guardian {
        /// Which.
        module: String,
        /// The program.
        program: PathBuf,
        /// Why not.
        why: HostError,
    },
}

impl ModuleHost {
    /// Prepares a module: looks for its addresses and scripts, and starts its guardian. No address
    /// is set and no script is run. `later` gets the module's handle once there is one.
    ///
    /// # Errors
    /// [`ModuleError`], in one line.
    pub fn new(node: &Node, module: &Module, later: &Later) -> Result<Self, ModuleError> {
        let held = module.vips.clone().map(|vips| Held::start(&module.name, vips, later));
        let held = held.transpose()?;
        let vips = held.as_ref().map(|held| held.0.seen());
        let addresses: Box<dyn Addresses> = match held {
            Some(held) => Box::new(held),
            None => Box::new(NoAddresses),
        };
        let (kind, of_scripts, surroundings) = if let Some(service) = &module.service {
            let (host, of_scripts, surroundings) = host(node, module, service, addresses)?;
            (Kind::Service(Box::new(host)), Some(of_scripts), surroundings)
        } else {
            let (name, folder) = (node.name.clone(), node.raw.run.clone());
            let surroundings = Surroundings { node: name, folder, output: None, group: None };
            (Kind::Addresses(AddressHost::new(addresses)), None, surroundings)
        };
        let failures = Failures::new(module.loops.clone());
        let (runs, abort) = of_scripts.unzip();
        let told = Told { failures, timed: Timed::default(), runs, abort, vips, surroundings };
        Ok(Self { kind, module: Arc::clone(later), told })
    }

    /// What others want to know of it.
    pub fn told(&self) -> Told {
        self.told.clone()
    }
}

fn host(
    node: &Node,
    module: &Module,
    service: &Service,
    addresses: Box<dyn Addresses>,
) -> Result<(ScriptHost, (Runs, Abort), Surroundings), ModuleError> {
    let name = &module.name;
    let run = node.raw.run.join(name);
    make("run", &run)?;
    make("log", &node.raw.log)?;
    let folder = match &service.scripts {
        Some(folder) => Ok(folder.clone()),
        // A unit alone has no scripts: none of them is found here.
        None => make("run", &run.join("scripts")).map(|()| run.join("scripts")),
    }?;
    let group = group(node, name)?;
    let scripts = Scripts::new(Settings {
        folder,
        run: run.clone(),
        log: node.raw.log.join(format!("{name}.log")),
        log_bytes: node.raw.log_bytes,
        group: group.clone(),
        module: name.clone(),
        node: node.name.clone(),
        start: service.start,
        stop: service.stop,
        force: service.force,
    });
    let scripts =
        scripts.map_err(|source| ModuleError::Scripts { module: name.clone(), source })?;
    let failed = |source| ModuleError::Unit { module: name.clone(), source };
    let unit = service.unit.as_ref().map(|unit| unit_of(unit, service));
    let unit = unit.transpose().map_err(failed)?;
    let runs_in = unit.as_ref().map(Unit::place).transpose().map_err(failed)?;
    let post = Post {
        socket: run.join("guardian.sock"),
        group: runs_in.unwrap_or_else(|| group.join("prim")),
        grace: service.grace,
        watchdog: node.raw.watchdog.clone(),
    };
    let program = guardian(node);
    let bounds = Bounds::of(&module.node.config);
    let of_scripts = (scripts.runs(), scripts.abort());
    let mut surroundings = scripts.surroundings();
    if unit.is_some() {
        surroundings.group = None;
    }
    let host = ScriptHost::new(scripts, addresses, bounds, Some((program.clone(), post)), unit)
        .map_err(|why| ModuleError::Guardian { module: name.clone(), program, why })?;
    Ok((host, of_scripts, surroundings))
}

/// The control group of a module, which is its own in this machine whatever other clusters and
/// nodes there are.
fn group(node: &Node, module: &str) -> Result<PathBuf, ModuleError> {
    let failed = |source| ModuleError::Group { module: module.into(), source };
    let name = group_name(node, module);
    let group = Cgroup::make(&Cgroup::home().map_err(failed)?, &name).map_err(failed)?;
    Ok(group.folder().into())
}

/// What that is called.
pub(super) fn group_name(node: &Node, module: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let cluster: String = node.raw.cluster.chars().map(plain).collect();
    format!("ha-{cluster}-{}-{module}", node.raw.node)
}

/// The guardian's program, as the daemon names it: beside the daemon unless the file says so.
pub(super) fn guardian(node: &Node) -> PathBuf {
    node.raw.guardian.clone().unwrap_or_else(beside)
}

/// The guardian's program, as the daemon of `node` names it, for another program that may be
/// installed elsewhere.
pub fn guardian_of_daemon(node: &Node) -> PathBuf {
    let installed = || Some(PathBuf::from(INSTALLED)).filter(|path| path.exists());
    node.raw.guardian.clone().or_else(installed).unwrap_or_else(beside)
}

/// Where the packages and the units of systemd have it.
const INSTALLED: &str = "/usr/lib/ha-node/ha-guardian";

fn beside() -> PathBuf {
    let beside = |program: PathBuf| program.with_file_name("ha-guardian");
    std::env::current_exe().map_or_else(|_| "ha-guardian".into(), beside)
}

fn make(field: &'static str, path: &Path) -> Result<(), ModuleError> {
    std::fs::create_dir_all(path).map_err(|source| ModuleError::Folder {
        field,
        path: path.into(),
        source,
    })
}

/// The virtual addresses of a module, whose loss makes its node step down.
#[derive(Debug)]
struct Held(Vips);

impl Held {
    fn start(name: &str, config: VipsConfig, module: &Later) -> Result<Self, ModuleError> {
        let lost = Arc::clone(module);
        // An earlier daemon may have left them for this one.
        let vips = Vips::resume(config, move |event| {
            if let (vip::Event::Lost(_), Some(module)) = (event, lost.get()) {
                module.address_lost();
            }
        });
        let vips = vips.map_err(|source| ModuleError::Vips { module: name.into(), source })?;
        Ok(Self(vips))
    }
}

impl Addresses for Held {
    fn take(&mut self, epoch: Epoch, lifetime: Duration) -> Result<(), HostError> {
        self.0.take(epoch, lifetime)
    }

    fn keep(&mut self, lifetime: Duration) -> Result<(), HostError> {
        self.0.keep(lifetime)
    }

    fn announce(&mut self) {
        self.0.announce();
    }

    fn release(&mut self) -> Result<(), HostError> {
        self.0.release()
    }

    fn leave(&mut self) {
        self.0.leave();
    }
}

impl ModuleHost {
    /// No restart is left (`maxloop`).
    fn give_up(&self) {
        let Some(module) = self.module.get().cloned() else { return };
        error!(
            module = module.module().0,
            "the application fails again and again: the module is stopped until an operator looks"
        );
        tokio::spawn(async move {
            // A driver that has ended runs nothing.
            let _ = module.order(Order::Stop).await;
        });
    }
}

fn since(clock: Clock) -> Duration {
    clock.now().saturating_since(Instant::ZERO)
}

impl Host for ModuleHost {
    type Guard = ModuleGuard;

    fn guard(&mut self) -> ModuleGuard {
        match &mut self.kind {
            Kind::Service(host) => ModuleGuard::Service(host.guard()),
            Kind::Addresses(host) => ModuleGuard::Addresses(host.guard()),
        }
    }

    async fn start(&mut self, epoch: Epoch, head: Seq) -> Result<(), HostError> {
        let began = Clock::start();
        let done = match &mut self.kind {
            Kind::Service(host) => host.start(epoch, head).await,
            Kind::Addresses(host) => host.start(epoch, head).await,
        };
        self.told.timed.times().0 = Some(since(began));
        done
    }

    async fn stop(&mut self, force: bool) -> Result<(), HostError> {
        let began = Clock::start();
        let done = match &mut self.kind {
            Kind::Service(host) => host.stop(force).await,
            Kind::Addresses(host) => host.stop(force).await,
        };
        self.told.timed.times().1 = Some(since(began));
        done
    }

    fn outlives(&self) -> bool {
        match &self.kind {
            Kind::Service(host) => host.outlives(),
            Kind::Addresses(host) => host.outlives(),
        }
    }

    async fn adopt(&mut self, epoch: Epoch, head: Seq) -> Result<(), HostError> {
        match &mut self.kind {
            Kind::Service(host) => host.adopt(epoch, head).await,
            Kind::Addresses(host) => host.adopt(epoch, head).await,
        }
    }

    fn leave(&mut self) {
        match &mut self.kind {
            Kind::Service(host) => host.leave(),
            Kind::Addresses(host) => host.leave(),
        }
    }

    async fn apply(&mut self, _: Seq, _: Bytes) -> Result<(), HostError> {
        Ok(())
    }

    async fn apply_batch(&mut self, _: &Batch) -> Result<(), HostError> {
        Ok(())
    }

    async fn reset(&mut self) -> Result<(), HostError> {
        Ok(())
    }

    fn observe(&mut self, event: &Event) {
        if *event == Event::ApplicationFailed && !self.told.failures.take() {
            self.give_up();
        }
        match &mut self.kind {
            Kind::Service(host) => host.observe(event),
            Kind::Addresses(host) => host.observe(event),
        }
    }
}

impl Guard for ModuleGuard {
    async fn fence(&mut self, epoch: Epoch) -> Result<(), HostError> {
        match self {
            Self::Service(guard) => guard.fence(epoch).await,
            Self::Addresses(guard) => guard.fence(epoch).await,
        }
    }

    async fn take_address(&mut self, epoch: Epoch, lifetime: Duration) -> Result<(), HostError> {
        match self {
            Self::Service(guard) => guard.take_address(epoch, lifetime).await,
            Self::Addresses(guard) => guard.take_address(epoch, lifetime).await,
        }
    }

    async fn adopt_address(&mut self, epoch: Epoch, lifetime: Duration) -> Result<(), HostError> {
        match self {
            Self::Service(guard) => guard.adopt_address(epoch, lifetime).await,
            Self::Addresses(guard) => guard.adopt_address(epoch, lifetime).await,
        }
    }

    fn announce_address(&mut self) {
        match self {
            Self::Service(guard) => guard.announce_address(),
            Self::Addresses(guard) => guard.announce_address(),
        }
    }

    fn pulse(&mut self) -> Option<Pulse> {
        match self {
            Self::Service(guard) => guard.pulse(),
            Self::Addresses(guard) => guard.pulse(),
        }
    }

    fn leave(&mut self) {
        match self {
            Self::Service(guard) => guard.leave(),
            Self::Addresses(guard) => guard.leave(),
        }
    }

    async fn keep_address(&mut self, lifetime: Duration) -> Result<(), HostError> {
        match self {
            Self::Service(guard) => guard.keep_address(lifetime).await,
            Self::Addresses(guard) => guard.keep_address(lifetime).await,
        }
    }

    async fn drop_address(&mut self) -> Result<(), HostError> {
        match self {
            Self::Service(guard) => guard.drop_address().await,
            Self::Addresses(guard) => guard.drop_address().await,
        }
    }
}
