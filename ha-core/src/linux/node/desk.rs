//! What `ha`, Prometheus and load balancers are told of a node, and what is done for them.

use std::collections::BTreeMap;
use std::format;
use std::io;
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Sender;
use tokio::sync::{Mutex as AsyncMutex, oneshot};
use tracing::{info, warn};

use super::check::{Open, check};
use super::config::Node;
use super::daemon::Request;
use super::effective::effective;
use super::module::{Told, group_name};
use super::program::Program;
use crate::checker::State;
use crate::control::{
    Checker, Command, ConfigTexts, Desk, EventLog, Exit, HandedLog, Refused, Report,
};
use crate::driver::{Clock, Handle};
use crate::http::Source;
use crate::linux::VipsSeen;
use crate::linux::cgroup::Cgroup;
use crate::linux::checkers::Checkers;
use crate::linux::scripts::Runs;
use crate::metrics::{Sample, render};
use crate::proto::{DataState, Instant, ModuleId, Role};
use crate::tally::Exposure;
use crate::verdict::{Facts, HostFacts, Names, judge};
use crate::{Counters, Order, View};

/// The desk of a daemon: one for its socket and its HTTP server.
#[derive(Debug)]
pub struct NodeDesk {
    /// The main file.
    pub(super) file: PathBuf,
    pub(super) program: Program,
    /// What happened.
    pub(super) events: Arc<EventLog>,
    /// What runs.
    pub(super) node: Node,
    pub(super) modules: Vec<Entry>,
    /// Those of all modules, if any has some.
    pub(super) checkers: Arc<Option<Checkers>>,
    /// What the daemon itself is to do.
    pub(super) requests: Sender<Request>,
    pub(super) clock: Clock,
    /// Whether the files differ, and when that was looked at.
    pub(super) compared: Mutex<Option<(Instant, bool)>>,
}

/// A module, for whoever asks.
#[derive(Debug)]
pub struct Entry {
    pub(super) name: String,
    pub(super) names: Names,
    pub(super) service: String,
    pub(super) handle: Handle,
    pub(super) told: Told,
    /// Orders come one after the other.
    pub(super) turn: AsyncMutex<()>,
    pub(super) ordered: Mutex<Ordered>,
    pub(super) exposure: Mutex<Exposure>,
}

/// What operators ordered of a module beside its node.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ordered {
    /// Until when it is maintained, by the machine's clock: the next process reads the same.
    maintenance: Option<Instant>,
    /// Whether a secondary takes over by itself, as it was ordered last.
    failover: Option<bool>,
    /// Checkers are suspended, by an order of their own.
    suspended: bool,
    /// It is stopped only to be started again, and has not been: by whom.
    starter: Option<Starter>,
}

/// Who starts a module again once it has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Starter {
    /// The control socket's server, for whoever waits there.
    Server,
    /// The daemon, since that server was of the process before.
    Daemon,
}

impl Ordered {
    /// What it was, as the process before wrote it down.
    pub(super) fn resume(kept: &Kept) -> Self {
        let maintenance = kept.maintenance.map(Instant::from_nanos);
        let starter = kept.starts.then_some(Starter::Daemon);
        Self { maintenance, failover: kept.failover, suspended: kept.suspended, starter }
    }

    /// Whether checkers act.
    pub(super) const fn acts(&self) -> bool {
        !self.suspended && self.maintenance.is_none()
    }
}

/// What the next process goes on with, beside what the modules' folders say.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Handed {
    /// How many events nobody was told of who should be.
    pub(super) untold: u64,
    /// The takeovers that were, and the number of the newest event.
    pub(super) log: HandedLog,
    /// By module.
    pub(super) modules: BTreeMap<String, Kept>,
}

/// What operators ordered, for the next process, and how often the application failed by itself.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Kept {
    /// In nanoseconds of the machine's clock.
    maintenance: Option<u64>,
    failover: Option<bool>,
    suspended: bool,
    starts: bool,
    /// Automatic restarts, in nanoseconds of the machine's clock.
    pub(super) failures: Vec<u64>,
    /// Likewise, as the checkers count them.
    pub(super) restarts: Vec<u64>,
}

/// Beside the last good configuration.
const KEPT: &str = "ordered.toml";

impl Handed {
    /// As the process before wrote it down.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn read(folder: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(folder.join(KEPT))?;
        toml::from_str(&text).map_err(io::Error::other)
    }
}

impl Entry {
    pub(super) fn ordered(&self) -> MutexGuard<'_, Ordered> {
        self.ordered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn order(&self, order: Order) -> Result<(), Refused> {
        self.handle.order(order).await.map_err(Refused::from)
    }
}

impl NodeDesk {
    /// What the files say, if a daemon could go on with it.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn may_reload(&self) -> Result<Node, Refused> {
        let read = Node::read(&self.file);
        let read = read.map_err(|error| Refused::new(Exit::Config, error.to_string()))?;
        if read.raw.run != self.node.raw.run || read.raw.state != self.node.raw.state {
            let text = "run and state cannot be changed while it runs: restart the daemon";
            return Err(Refused::new(Exit::Config, text));
        }
        if let Some(refused) = self.abandons(&read) {
            return Err(refused);
        }
        // Past the hand-over nobody is left to go on as it was.
        let could = check(&read, Open::Of(&self.node));
        could.map_err(|error| Refused::new(Exit::Config, error.to_string()))?;
        self.program.try_it().await?;
        for entry in &self.modules {
            // It boots in the next process, which would not know of what `start_both` left.
            let view = entry.handle.view().await;
            let boots = view.is_some_and(|view| view.state != DataState::Complete);
            if boots && self.has_processes(&entry.name).unwrap_or_default() {
                let name = &entry.name;
                let text = format!(
                    "module {name}: its data are not complete, and what start_both started runs: \
                     reload once it is in sync, or `ha stop {name}` first"
                );
                return Err(Refused::new(Exit::Busy, text));
            }
        }
        Ok(read)
    }

    /// Why the new files would leave a service that runs here with nobody to stop it in order.
    fn abandons(&self, read: &Node) -> Option<Refused> {
        let runs = |entry: &Entry| {
            let serves = entry.handle.status().now().is_some_and(|it| it.serving);
            // What `start_both` started runs on a secondary, too.
            serves || self.has_processes(&entry.name).unwrap_or_default()
        };
        let mut modules = self.node.modules.iter().zip(&self.modules);
        let (module, what) = modules.find_map(|(module, entry)| {
            let what = match read.modules.iter().find(|it| it.name == module.name) {
                None => "the module is not in the new files",
                Some(next) if next.node.config.identity() != module.node.config.identity() => {
                    "the module has another id in the new files"
                }
                Some(next) if next.service_is() != module.service_is() => {
                    "the new files change its scripts or unit"
                }
                Some(_) => return None,
            };
            runs(entry).then_some((&module.name, what))
        })?;
        let text = format!(
            "module {module}: {what} while its service runs here: `ha swap {module}` or \
             `ha stop {module}` first, then reload"
        );
        Some(Refused::new(Exit::Config, text))
    }

    /// Whether scripts of a module left something that runs.
    fn has_processes(&self, module: &str) -> io::Result<bool> {
        let group = Cgroup::home()?.join(group_name(&self.node, module));
        for below in ["prim", "both"] {
            match Cgroup::open(group.join(below)) {
                Ok(group) if !group.is_empty()? => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Writes down what operators ordered, how often applications failed, and what happened.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn keep(&self, folder: &Path, untold: u64) -> io::Result<()> {
        let kept = |entry: &Entry| {
            let Ordered { maintenance, failover, suspended, starter } = *entry.ordered();
            let maintenance = maintenance.map(Instant::as_nanos);
            let failures = entry.told.failures.restarts();
            let checkers = (*self.checkers).as_ref();
            let restarts = checkers.map(|it| it.restarts(&entry.name)).unwrap_or_default();
            let by_checker = checkers.is_some_and(|it| it.starts_again(&entry.name));
            let starts = starter.is_some() || by_checker;
            let kept = Kept { maintenance, failover, suspended, starts, failures, restarts };
            (entry.name.clone(), kept)
        };
        let modules = self.modules.iter().map(kept).collect();
        let handed = Handed { untold, log: self.events.hand_over(), modules };
        let text = toml::to_string(&handed).map_err(io::Error::other)?;
        std::fs::write(folder.join(KEPT), text)
    }

    /// Tells the nodes what was ordered of the process before: one may have booted meanwhile.
    pub(super) async fn resume_orders(&self) {
        for (at, entry) in self.modules.iter().enumerate() {
            let _turn = entry.turn.lock().await;
            let failover = self.failover(at) && entry.ordered().maintenance.is_none();
            if let Err(refused) = entry.order(Order::Failover(failover)).await {
                warn!(module = entry.name, why = refused.text, "failover is as it was handed over");
            }
        }
    }

    /// Starts what was stopped for that by the process before, unless an operator has ordered
    /// something else since.
    pub(super) async fn start_again(&self) {
        for entry in &self.modules {
            let _turn = entry.turn.lock().await;
            let status = entry.handle.status().now();
            let stopped = status.is_some_and(|it| it.role == Role::Stop && it.ready);
            // Ordered already, by whoever asked before.
            let started = status.is_some_and(|it| it.role != Role::Stop && it.ready);
            entry.ordered().starter.take_if(|it| started && *it == Starter::Daemon);
            let ours = |starter: &mut Starter| stopped && *starter == Starter::Daemon;
            if entry.ordered().starter.take_if(ours).is_none() {
                continue;
            }
            info!(module = entry.name, "started again: it was stopped for that");
            if let Err(refused) = entry.order(Order::Start).await {
                warn!(module = entry.name, why = refused.text, "not started again: `ha start`");
            }
        }
    }

    fn find(&self, module: &str) -> Option<&Entry> {
        self.modules.iter().find(|entry| entry.name == module)
    }

    /// A maintenance that is over ends when somebody looks, and at the latest within a second.
    pub(super) async fn end_maintenance(&self) {
        let now = self.clock.now();
        for (at, entry) in self.modules.iter().enumerate() {
            let _turn = entry.turn.lock().await;
            let over = entry.ordered().maintenance.take_if(|until| *until <= now).is_some();
            if over {
                // What it refuses now, the driver's end for one, it would refuse later.
                let _ = entry.order(Order::Failover(self.failover(at))).await;
                let _ = self.watch(entry);
            }
        }
    }

    /// Whether a secondary takes over by itself where no maintenance says otherwise.
    fn failover(&self, at: usize) -> bool {
        let configured = self.node.modules[at].node.config.policy().failover;
        self.modules[at].ordered().failover.unwrap_or(configured)
    }

    /// Lets checkers act, or not, as the orders have it.
    fn watch(&self, entry: &Entry) -> Result<(), Refused> {
        let Some(checkers) = &*self.checkers else { return Ok(()) };
        if checkers.report(&entry.name).is_empty() {
            return Ok(());
        }
        let told = if entry.ordered().acts() {
            checkers.resume(&entry.name)
        } else {
            checkers.suspend(&entry.name)
        };
        told.map_err(|error| Refused::new(Exit::Busy, error.to_string()))
    }

    /// All automatic restarts are left again: somebody looks.
    fn obeyed(&self, entry: &Entry, order: Order) {
        entry.told.failures.reset();
        let Some(checkers) = &*self.checkers else { return };
        if !checkers.report(&entry.name).is_empty()
            && let Err(error) = checkers.ordered(&entry.name, order)
        {
            warn!(module = entry.name, %error, "automatic restarts are counted on");
        }
    }

    fn host_facts(&self, entry: &Entry) -> HostFacts {
        let ordered = *entry.ordered();
        let (start, stop) = entry.told.timed.last();
        HostFacts {
            maintenance: ordered
                .maintenance
                .map(|until| until.saturating_since(self.clock.now()))
                .filter(|left| !left.is_zero()),
            checkers: ordered.acts(),
            restarts_left: Some(entry.told.failures.left()),
            config_differs: self.differs(),
            start,
            stop,
        }
    }

    /// Whether the files mean another thing than what runs, or nothing that could run, as of the
    /// last few seconds.
    fn differs(&self) -> bool {
        let now = self.clock.now();
        let mut compared = self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        match *compared {
            Some((at, differs)) if now < at + COMPARE_EVERY => differs,
            Some(_) | None => {
                // Files that cannot be read are not those that run either.
                let read = Node::read(&self.file);
                let differs = read.map_or(true, |read| read.raw != self.node.raw);
                *compared = Some((now, differs));
                differs
            }
        }
    }

    /// How long a module was unprotected, looked at now.
    fn expose(&self, entry: &Entry, view: &View, host: &HostFacts) -> Duration {
        let verdict = judge(&Facts { view, host, names: &entry.names });
        let mut exposure = entry.exposure.lock().unwrap_or_else(PoisonError::into_inner);
        exposure.pass(self.clock.now(), verdict.word());
        exposure.unprotected()
    }

    /// Looks at every module, so that its times are exact to the second.
    pub(super) async fn look(&self) {
        for entry in &self.modules {
            if let Some(view) = entry.handle.view().await {
                self.expose(entry, &view, &self.host_facts(entry));
            }
        }
    }

    async fn sample(&self, entry: &Entry) -> Option<Sample> {
        let view = entry.handle.view().await?;
        let counters: Counters = entry.handle.counters().await?;
        let host = self.host_facts(entry);
        let unprotected = self.expose(entry, &view, &host);
        let verdict = judge(&Facts { view: &view, host: &host, names: &entry.names });
        Some(Sample {
            module: entry.name.clone(),
            view,
            counters,
            host,
            names: entry.names.clone(),
            verdict,
            unprotected,
            vips: entry.told.vips.as_ref().map(VipsSeen::now),
            scripts: entry.told.runs.as_ref().map(Runs::last).unwrap_or_default(),
        })
    }
}

/// How often the files are read to be compared: every look at every module asks.
const COMPARE_EVERY: Duration = Duration::from_secs(5);

impl Desk for NodeDesk {
    fn modules(&self) -> Vec<(ModuleId, String)> {
        self.modules.iter().map(|entry| (entry.handle.module(), entry.name.clone())).collect()
    }

    fn orders_before(&self) -> u64 {
        // A millisecond of the machine's clock: more than all orders of the daemon before.
        self.clock.now().as_nanos() / 1_000_000
    }

    async fn report(&self, module: &str) -> Option<Report> {
        self.end_maintenance().await;
        let entry = self.find(module)?;
        let view = entry.handle.view().await?;
        Some(Report {
            name: entry.name.clone(),
            id: entry.handle.module(),
            names: entry.names.clone(),
            service: entry.service.clone(),
            view,
            host: self.host_facts(entry),
            checkers: checkers_of((*self.checkers).as_ref(), &entry.name),
        })
    }

    async fn order(&self, module: &str, command: Command) -> Result<(), Refused> {
        let Some(at) = self.modules.iter().position(|entry| entry.name == module) else {
            let text = format!("there is no module {module:?}: `ha status` lists them");
            return Err(Refused::new(Exit::Usage, text));
        };
        let entry = &self.modules[at];
        let _turn = entry.turn.lock().await;
        match command {
            Command::StopToStart => {
                entry.order(Order::Stop).await?;
                entry.ordered().starter = Some(Starter::Server);
                self.obeyed(entry, Order::Stop);
                Ok(())
            }
            Command::StartAgain => {
                if entry.ordered().starter != Some(Starter::Server) {
                    return Err(Refused::new(Exit::Failed, "another order came in between"));
                }
                entry.order(Order::Start).await?;
                entry.ordered().starter = None;
                Ok(())
            }
            Command::Node(order) => {
                let maintained = entry.ordered().maintenance.is_some();
                match order {
                    // Until its end a maintenance keeps it off.
                    Order::Failover(on) => {
                        entry.order(Order::Failover(on && !maintained)).await?;
                        entry.ordered().failover = Some(on);
                    }
                    order => {
                        entry.order(order).await?;
                        entry.ordered().starter = None;
                    }
                }
                self.obeyed(entry, order);
                Ok(())
            }
            Command::Maintenance(Some(time)) => {
                entry.order(Order::Failover(false)).await?;
                entry.ordered().maintenance = Some(self.clock.now() + time);
                self.watch(entry)
            }
            Command::Maintenance(None) => {
                let failover = self.failover(at);
                entry.order(Order::Failover(failover)).await?;
                entry.ordered().maintenance = None;
                self.watch(entry)
            }
            Command::Checkers(_)
                if checkers_of((*self.checkers).as_ref(), &entry.name).is_empty() =>
            {
                let text = format!("module {module} has no checkers: there is nothing to suspend");
                Err(Refused::new(Exit::Usage, text))
            }
            Command::Checkers(on) => {
                entry.ordered().suspended = !on;
                self.watch(entry)
            }
        }
    }

    async fn reload(&self) -> Result<String, Refused> {
        let read = self.may_reload().await?;
        if read.raw == self.node.raw && !self.program.is_replaced() {
            return Ok("the files say what runs: nothing to do".into());
        }
        let (refuse, refused) = oneshot::channel();
        let busy = |_| Refused::new(Exit::Busy, "another reload is under way: order it again");
        self.requests.try_send(Request::Reload(refuse)).map_err(busy)?;
        // Once it has handed over this program ends, and nobody is answered.
        let ending = |_| Refused::new(Exit::Unavailable, "the daemon is ending");
        Err(refused.await.unwrap_or_else(ending))
    }

    async fn config(&self) -> ConfigTexts {
        let read = Node::read(&self.file);
        ConfigTexts {
            path: self.file.display().to_string(),
            running: effective(&self.node),
            differs: read.as_ref().map_or(true, |read| read.raw != self.node.raw),
            file: read.ok().as_ref().map(effective),
        }
    }
}

impl Source for NodeDesk {
    fn ready(&self, module: &str) -> Option<bool> {
        let status = self.find(module)?.handle.status().now();
        Some(status.is_some_and(|status| status.takes_clients()))
    }

    async fn metrics(&self) -> Option<String> {
        self.end_maintenance().await;
        let mut samples = Vec::new();
        for entry in &self.modules {
            samples.push(self.sample(entry).await?);
        }
        let mut page = String::new();
        render(env!("CARGO_PKG_VERSION"), &samples, &mut page);
        Some(page)
    }
}

/// What a module's checkers see, for who asks.
pub(crate) fn checkers_of(checkers: Option<&Checkers>, module: &str) -> Vec<Checker> {
    let reports = checkers.map(|checkers| checkers.report(module));
    let told = reports.unwrap_or_default().into_iter().map(|report| Checker {
        name: report.name,
        up: match report.state {
            State::Up => Some(true),
            State::Down => Some(false),
            State::Off | State::Pending => None,
        },
        since: Some(report.age),
    });
    told.collect()
}
