//! What `ha`, Prometheus and load balancers are told of a node, and what is done for them.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ha_core::control::{Checker, Command, ConfigTexts, Desk, Exit, Refused, Report};
use ha_core::driver::{Clock, Handle};
use ha_core::http::Source;
use ha_core::linux::scripts::Runs;
use ha_core::metrics::{Sample, render};
use ha_core::proto::{Instant, ModuleId};
use ha_core::tally::Exposure;
use ha_core::verdict::{Facts, HostFacts, Names, judge};
use ha_core::{Counters, Order, View};
use tokio::sync::mpsc::Sender;

use super::config::Node;
use super::daemon::Request;
use super::effective::effective;
use super::module::Timed;

/// The desk of a daemon: one for its socket and its HTTP server.
#[derive(Debug)]
pub struct NodeDesk {
    /// The main file.
    pub(super) file: PathBuf,
    /// What runs.
    pub(super) node: Node,
    pub(super) modules: Vec<Entry>,
    /// What the daemon itself is to do.
    pub(super) requests: Sender<Request>,
    pub(super) clock: Clock,
}

/// A module, for whoever asks.
#[derive(Debug)]
pub struct Entry {
    pub(super) name: String,
    pub(super) names: Names,
    pub(super) service: String,
    pub(super) handle: Handle,
    /// How long its application took to start and to stop.
    pub(super) timed: Timed,
    pub(super) runs: Option<Runs>,
    pub(super) ordered: Mutex<Ordered>,
    pub(super) exposure: Mutex<Exposure>,
}

/// What operators ordered of a module beside its node.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ordered {
    /// Until when it is maintained.
    maintenance: Option<Instant>,
    /// Whether a secondary takes over by itself, as it was ordered last.
    failover: Option<bool>,
}

impl Entry {
    fn ordered(&self) -> MutexGuard<'_, Ordered> {
        self.ordered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn order(&self, order: Order) -> Result<(), Refused> {
        self.handle.order(order).await.map_err(Refused::from)
    }
}

impl NodeDesk {
    fn find(&self, module: &str) -> Option<&Entry> {
        self.modules.iter().find(|entry| entry.name == module)
    }

    /// A maintenance that is over ends when somebody looks, and at the latest within a second.
    pub(super) async fn end_maintenance(&self) {
        let now = self.clock.now();
        for (at, entry) in self.modules.iter().enumerate() {
            let over = entry.ordered().maintenance.take_if(|until| *until <= now).is_some();
            if over {
                // What it refuses now, the driver's end for one, it would refuse later.
                let _ = entry.order(Order::Failover(self.failover(at))).await;
            }
        }
    }

    /// Whether a secondary takes over by itself where no maintenance says otherwise.
    fn failover(&self, at: usize) -> bool {
        let configured = self.node.modules[at].node.config.policy().failover;
        self.modules[at].ordered().failover.unwrap_or(configured)
    }

    fn host_facts(&self, entry: &Entry) -> HostFacts {
        let ordered = *entry.ordered();
        let (start, stop) = entry.timed.last();
        HostFacts {
            maintenance: ordered
                .maintenance
                .map(|until| until.saturating_since(self.clock.now()))
                .filter(|left| !left.is_zero()),
            checkers: true,
            restarts_left: None,
            config_differs: self.differs(),
            start,
            stop,
        }
    }

    /// Whether the files mean another thing than what runs; files that cannot work do.
    fn differs(&self) -> bool {
        Node::read(&self.file).is_ok_and(|read| read.raw != self.node.raw)
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
            vips: None,
            scripts: entry.runs.as_ref().map(Runs::last).unwrap_or_default(),
        })
    }
}

impl Desk for NodeDesk {
    fn modules(&self) -> Vec<(ModuleId, String)> {
        self.modules.iter().map(|entry| (entry.handle.module(), entry.name.clone())).collect()
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
            checkers: Vec::<Checker>::new(),
        })
    }

    async fn order(&self, module: &str, command: Command) -> Result<(), Refused> {
        let Some(at) = self.modules.iter().position(|entry| entry.name == module) else {
            let text = format!("there is no module {module:?}: `ha status` lists them");
            return Err(Refused::new(Exit::Usage, text));
        };
        let entry = &self.modules[at];
        match command {
            Command::Node(order) => {
                if let Order::Failover(on) = order {
                    entry.ordered().failover = Some(on);
                }
                entry.order(order).await
            }
            Command::Maintenance(Some(time)) => {
                entry.ordered().maintenance = Some(self.clock.now() + time);
                entry.order(Order::Failover(false)).await
            }
            Command::Maintenance(None) => {
                entry.ordered().maintenance = None;
                let failover = self.failover(at);
                entry.order(Order::Failover(failover)).await
            }
            Command::Checkers(_) => {
                let text = format!("module {module} has no checkers: there is nothing to suspend");
                Err(Refused::new(Exit::Usage, text))
            }
        }
    }

    async fn reload(&self) -> Result<String, Refused> {
        let read = Node::read(&self.file)
            .map_err(|error| Refused::new(Exit::Config, error.to_string()))?;
        if read.raw == self.node.raw {
            return Ok("the files say what runs: nothing to do".into());
        }
        self.requests
            .send(Request::Reload)
            .await
            .map_err(|_| Refused::new(Exit::Unavailable, "the daemon is ending"))?;
        Ok("the daemon goes on with the new files; the services are not stopped".into())
    }

    async fn config(&self) -> ConfigTexts {
        let read = Node::read(&self.file);
        ConfigTexts {
            path: self.file.display().to_string(),
            running: effective(&self.node),
            differs: read.as_ref().is_ok_and(|read| read.raw != self.node.raw),
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
