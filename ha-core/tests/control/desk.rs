//! A daemon as small as can be: one module, the control socket, and its folder.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ha_core::Order;
use ha_core::control::protocol::{Reply, Request, Verb};
use ha_core::control::{
    Checker, Client, Command, ConfigTexts, Desk, EventLog, ModuleStatus, Refused, Report, Server,
};
use ha_core::driver::{Driver, Handle, Running};
use ha_core::raw::{NodeConfig, RawConfig};
use ha_core::verdict::{HostFacts, Names};
use ha_proto::{ModuleId, Role};

use crate::rig::{Pair, Toy};

/// What the host of a module adds, here.
pub(crate) struct Table {
    handle: Handle,
    names: Names,
    checkers: AtomicBool,
    maintenance: Mutex<Option<Duration>>,
}

impl Table {
    pub(crate) fn of(handle: Handle) -> Self {
        Self::named(handle, Names::default())
    }

    fn named(handle: Handle, names: Names) -> Self {
        let checkers = AtomicBool::new(true);
        Self { handle, names, checkers, maintenance: Mutex::default() }
    }
}

impl Desk for Table {
    fn modules(&self) -> Vec<(ModuleId, String)> {
        vec![(self.handle.module(), "web".into())]
    }

    async fn report(&self, module: &str) -> Option<Report> {
        assert_eq!(module, "web");
        let view = self.handle.view().await?;
        let maintenance = *self.maintenance.lock().unwrap();
        let checkers = self.checkers.load(Ordering::Relaxed);
        Some(Report {
            name: "web".into(),
            id: self.handle.module(),
            names: self.names.clone(),
            service: "a toy".into(),
            view,
            host: HostFacts { maintenance, checkers, ..HostFacts::default() },
            checkers: vec![Checker { name: "tcp".into(), up: Some(true), since: None }],
        })
    }

    async fn order(&self, _: &str, command: Command) -> Result<(), Refused> {
        match command {
            Command::Node(order) => self.handle.order(order).await?,
            Command::StopToStart => self.handle.order(Order::Stop).await?,
            Command::StartAgain => self.handle.order(Order::Start).await?,
            Command::Checkers(on) => self.checkers.store(on, Ordering::Relaxed),
            Command::Maintenance(span) => {
                *self.maintenance.lock().unwrap() = span;
                self.handle.order(Order::Failover(span.is_none())).await?;
            }
        }
        Ok(())
    }

    async fn reload(&self) -> Result<String, Refused> {
        Err(Refused::new(ha_core::control::Exit::Config, "links: none"))
    }

    async fn config(&self) -> ConfigTexts {
        ConfigTexts { path: "/etc/toy".into(), ..ConfigTexts::default() }
    }
}

/// A running node with its control socket.
pub(crate) struct Station {
    pub(crate) handle: Handle,
    pub(crate) socket: PathBuf,
    pub(crate) events: Arc<EventLog>,
    pub(crate) server: Option<Server>,
    pub(crate) running: Option<Running>,
    pub(crate) host: Toy,
}

impl Station {
    pub(crate) fn start(pair: &Pair, node: u8) -> Self {
        Self::run(pair, pair.raw(node, 0))
    }

    pub(crate) fn run(pair: &Pair, raw: RawConfig) -> Self {
        let host = Toy::default();
        let mut driver = Driver::new();
        let events = Arc::new(EventLog::new());
        let log = Arc::clone(&events);
        driver.observe(move |module, epoch, event| log.note(module, epoch, event));
        let config = NodeConfig::try_from(raw).unwrap();
        let me = config.config.identity().me.as_u8();
        let handle = driver.add(config, host.clone()).unwrap();
        let names = Names {
            me: format!("node{me}"),
            peer: format!("node{}", 1 - me),
            links: vec!["prod".into(), "repl".into()],
            resources: vec![],
        };
        let table = Table::named(handle.clone(), names);
        let running = driver.start().unwrap();
        let socket = pair.folder.path().join(format!("{me}.sock"));
        let server = Server::start(&socket, Arc::new(table), Arc::clone(&events)).unwrap();
        let (server, running) = (Some(server), Some(running));
        Self { handle, socket, events, server, running, host }
    }

    /// All answers to a request.
    pub(crate) fn ask(&self, request: &Request) -> Vec<Reply> {
        let mut client = Client::ask(&self.socket, request).unwrap();
        let mut answers = Vec::new();
        while let Some(answer) = client.next(Some(PATIENCE)).unwrap() {
            answers.push(answer);
        }
        answers
    }

    pub(crate) fn status(&self) -> ModuleStatus {
        let answers = self.ask(&Request::Status { module: None, watch: false });
        match &answers[..] {
            [Reply::Status(modules)] if modules.len() == 1 => modules[0].clone(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn order(&self, verb: Verb, force: bool) -> Vec<Reply> {
        let wait_ms = u64::try_from(PATIENCE.as_millis()).unwrap();
        self.ask(&Request::Order { module: None, verb, force, wait_ms })
    }

    /// Until the status is as wanted.
    pub(crate) fn watch(&self, mut wanted: impl FnMut(&ModuleStatus) -> bool) -> ModuleStatus {
        let request = Request::Status { module: Some("web".into()), watch: true };
        let mut client = Client::ask(&self.socket, &request).unwrap();
        let clock = ha_core::driver::Clock::start();
        loop {
            let Some(Reply::Status(modules)) = client.next(Some(PATIENCE)).unwrap() else {
                panic!("it watches no more");
            };
            if wanted(&modules[0]) {
                return modules[0].clone();
            }
            let late = clock.now() > ha_proto::Instant::ZERO + PATIENCE;
            assert!(!late, "never seen: {:#?}", modules[0]);
        }
    }

    pub(crate) fn is(&self, role: Role) -> ModuleStatus {
        self.watch(|status| status.here.role == role && status.here.ready)
    }
}

/// A whole pair: the first one serves, and the witness counts both.
pub(crate) fn pair(pair: &Pair) -> [Station; 2] {
    let both = [Station::start(pair, 0), Station::start(pair, 1)];
    both[0].watch(|status| status.verdict == "PROTECTED" && status.swap_refused.is_none());
    both[1].watch(|status| status.verdict == "PROTECTED");
    both
}

/// Far more than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
