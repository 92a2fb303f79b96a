//! What `ha`, Prometheus and load balancers are told of a farm's member, and what is done for them.

use std::collections::BTreeMap;
use std::format;
use std::path::PathBuf;
use std::prelude::rust_2024::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::vec;

use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::config::{FarmNode, RawPlane};
use super::daemon::check;
use super::effective::effective;
use super::follows::{Follows, now};
use super::plane::{ONE_PLANE, PlaneTold, hash, name, probe, tick};
use super::service::called;
use crate::control::{
    Command, ConfigTexts, Desk, Exit, FarmLog, FarmReport, FarmStranger, FarmVerb, Refused, Report,
};
use crate::farm::survey::Hashing;
use crate::farm::{Order, View, Why};
use crate::ha_farm::{Reason, Rule};
use crate::http::Source;
use crate::linux::checkers::Checkers;
use crate::linux::farm::{Handle, Reserved, Stranger};
use crate::linux::node::desk::checkers_of;
use crate::linux::node::program::Program;
use crate::linux::plane::Counters;
use crate::metrics::{FarmSample, Packets, render_farm};
use crate::proto::{ModuleId, NodeId, NodeSet};

/// Who waits to hear why the daemon was not replaced.
pub(super) type Restart = oneshot::Sender<Refused>;

/// The desk of a farm's daemon.
#[derive(Debug)]
pub struct FarmDesk {
    pub(super) file: PathBuf,
    /// What runs.
    pub(super) node: Mutex<FarmNode>,
    pub(super) handle: Handle,
    /// The program that goes on after a restart.
    pub(super) program: Program,
    pub(super) restarts: mpsc::Sender<Restart>,
    pub(super) plane: PlaneTold,
    /// What its node saw last.
    pub(super) seen: Mutex<Option<View>>,
    /// When this process began to be its daemon.
    pub(super) since: Instant,
    /// Its verdict, and when that began.
    pub(super) verdict: Mutex<Option<(&'static str, Instant)>>,
    pub(super) checkers: Option<Checkers>,
    /// What happened.
    pub(super) log: Arc<FarmLog>,
    /// Whether the files differ, and when that was looked at.
    pub(super) compared: Mutex<Option<(Instant, bool)>>,
    /// Held while the file is taken over: a signal and an order may come together.
    pub(super) reloading: tokio::sync::Mutex<()>,
    /// Members that run with the other plane, as it was told.
    pub(super) strangers: Mutex<NodeSet>,
    /// This machine cannot do the other plane.
    pub(super) unable: AtomicBool,
    pub(super) follows: Mutex<Follows>,
}

/// What a look at the node showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It goes on as it is.
    Fine,
    /// It has ended.
    Ended,
    /// It takes nothing since the others run with the other plane, which it can do and may choose.
    Anew,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FarmDesk {
    /// What runs now.
    pub(super) fn node(&self) -> FarmNode {
        locked(&self.node).clone()
    }

    /// What a file means here, with all defaults.
    fn means(&self, node: &FarmNode) -> String {
        effective(node, Some(Hashing::of(&self.plane.hash)))
    }

    /// Of the clock that ends its lease.
    fn tick(&self) -> Duration {
        tick(Hashing::of(&self.plane.hash))
    }

    fn module(&self) -> String {
        locked(&self.node).raw.module.clone()
    }

    /// Looks at the node.
    pub(super) async fn look(&self) -> Look {
        // For how long its verdict is what it is, is known without anybody who asks.
        let report = self.farm(&self.module()).await;
        let view = report.map(|report| report.view);
        locked(&self.seen).clone_from(&view);
        let Some(view) = view else { return Look::Ended };
        let node = self.node();
        let strangers = self.strangers(&node, &view);
        self.tell_strangers(&node, strangers);
        if self.would_follow(&node, &view, strangers) { Look::Anew } else { Look::Fine }
    }

    /// Why the plane is what it is, and who cannot be one farm with this member by it.
    fn plane_why(&self, node: &FarmNode, view: &View) -> String {
        let other = name(Hashing::of(&self.plane.other));
        let strangers = self.strangers(node, view);
        let others = strangers.iter().map(|id| format!("; {} runs with {other}", node.name_of(id)));
        format!("{}{}", self.plane.why, others.collect::<String>())
    }

    /// Who is heard, and differs from this member in nothing but the plane.
    fn strangers(&self, node: &FarmNode, view: &View) -> NodeSet {
        if view.peers.values().all(|peer| peer.agrees) {
            return NodeSet::EMPTY;
        }
        let other = node.config_as(self.plane.other).ok().map(|config| config.accord());
        let peers = view.peers.iter();
        let strange = peers.filter(|(_, peer)| peer.heard && !peer.agrees && peer.accord == other);
        strange.map(|(&id, _)| id).collect()
    }

    /// Tells of each once, as long as it is one.
    fn tell_strangers(&self, node: &FarmNode, strangers: NodeSet) {
        let told = std::mem::replace(&mut *locked(&self.strangers), strangers);
        for id in strangers.iter().filter(|id| !told.contains(*id)) {
            let (mine, other) = (self.plane.name, name(Hashing::of(&self.plane.other)));
            let member = node.name_of(id);
            error!(
                member,
                "it runs with {other}, this member with {mine}: one of them is {ONE_PLANE}"
            );
        }
    }

    /// Whether this member takes nothing for the sake of members that take with the other plane,
    /// and can be one of them.
    fn would_follow(&self, node: &FarmNode, view: &View, strangers: NodeSet) -> bool {
        let free = node.raw.plane == RawPlane::Auto && !view.drained && yields(view.why);
        let takers = || view.peers.iter().filter(|(_, peer)| peer.linked && peer.takes);
        let follows = takers().any(|(id, _)| strangers.contains(*id))
            && !takers().any(|(_, peer)| peer.agrees);
        if !free || !follows || self.unable.load(Ordering::Relaxed) {
            return false;
        }
        let read = FarmNode::read(&self.file);
        let same = read.is_ok_and(|read| self.means(&read) == self.means(node));
        if !same || !locked(&self.follows).may(now()) {
            // Somebody is at the file, or the last attempt came to nothing.
            return false;
        }
        let other = Hashing::of(&self.plane.other);
        if let Err(lacks) = probe(other) {
            warn!(%lacks, "this machine cannot do {}, which the others run with", name(other));
            self.unable.store(true, Ordering::Relaxed);
            return false;
        }
        locked(&self.follows).note(now());
        info!("begins anew, with {}: the others run with it, and it takes nothing", name(other));
        true
    }

    /// For the process that chooses anew.
    pub(super) fn follows(&self) -> Option<(&'static str, String)> {
        locked(&self.follows).told()
    }

    async fn order(&self, order: Order) -> Result<(), Refused> {
        self.handle.order(order).await.map_err(Refused::from)
    }

    fn names(node: &FarmNode, view: &View) -> Vec<String> {
        // Rules that wait for the others are not those of the view.
        let name = |rule: &Rule| {
            let named = node.services.iter().find(|service| service.rule == *rule);
            named.map_or_else(|| called(rule), |service| service.name.clone())
        };
        view.services.iter().map(|service| name(&service.rule)).collect()
    }

    /// When this verdict began.
    fn verdict_since(&self, verdict: &'static str) -> Instant {
        let mut last = locked(&self.verdict);
        match *last {
            Some((of, since)) if of == verdict => since,
            Some(_) | None => {
                let now = Instant::now();
                *last = Some((verdict, now));
                now
            }
        }
    }

    /// Whether the file means another thing than what runs, as of the last few seconds.
    fn differs(&self) -> bool {
        let mut compared = locked(&self.compared);
        match *compared {
            Some((at, differs)) if at.elapsed() < COMPARE_EVERY => differs,
            Some(_) | None => {
                let running = self.node();
                let read = FarmNode::read(&self.file);
                let differs = read.is_ok_and(|read| self.means(&read) != self.means(&running));
                *compared = Some((Instant::now(), differs));
                differs
            }
        }
    }

    /// Takes over what the file says now, if that can be done while it runs.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub(super) async fn reload_now(&self) -> Result<String, Refused> {
        let _one = self.reloading.lock().await;
        let read = FarmNode::read(&self.file);
        let read = read.map_err(|error| Refused::new(Exit::Config, error.to_string()))?;
        let running = self.node();
        if self.means(&read) == self.means(&running) {
            return Ok("the file says what runs: nothing to do".into());
        }
        if let Some(field) = needs_restart(&running, &read, self.tick()) {
            let text = format!("{field} cannot be changed while it runs: restart the daemon");
            return Err(Refused::new(Exit::Config, text));
        }
        let names = self.reserve_new_vips(&read).await?;
        let (rules, weights) = (read.rules(), read.weights());
        let said = if rules == running.rules() {
            "the weights of the file are in force"
        } else {
            "the services of the file come into force once every member has them"
        };
        self.hold(names, &read).await?;
        // Also for weights alone: the services of the last file may still wait for the others.
        if let Err(refused) = self.order(Order::Rules { rules, weights }).await {
            let nothing = Reserved::new([]).expect("there is nothing to hold");
            self.hold(nothing, &running).await?;
            return Err(refused);
        }
        *locked(&self.node) = read;
        *locked(&self.compared) = None;
        Ok(said.into())
    }

    /// Or this member would take what is for an address that it does not have. Its services may wait
    /// for other members, and another farm of this machine reload meanwhile: the names are held from
    /// now on.
    async fn reserve_new_vips(&self, read: &FarmNode) -> Result<Reserved, Refused> {
        let held = self.handle.addresses().await.map_err(|_| ending())?;
        let new = read.vips().into_iter().filter(|vip| !held.contains(vip));
        Reserved::new(new).map_err(|error| Refused::new(Exit::Config, format!("vip: {error}")))
    }

    async fn hold(&self, names: Reserved, of: &FarmNode) -> Result<(), Refused> {
        let wanted = of.vips().into_iter().collect();
        self.handle.reserve(names, wanted).await.map_err(|_| ending())
    }

    /// Where a service is among those in force, which may be others than the file's.
    async fn place(&self, name: &str) -> Result<u16, Refused> {
        let node = self.node();
        let at = node.services.iter().position(|service| service.name == name);
        let at = at.ok_or_else(|| {
            let names: Vec<&str> = node.services.iter().map(|it| &*it.name).collect();
            let text = format!("no service {name:?}: there are {}", names.join(", "));
            Refused::new(Exit::Usage, text)
        })?;
        let view = self.handle.view().await.map_err(|_| ending())?;
        let rule = &node.rules()[at];
        let force = view.services.iter().position(|service| service.rule == *rule);
        // A member of no view has what its file says.
        let at = if view.services.is_empty() { Some(at) } else { force };
        at.and_then(|at| u16::try_from(at).ok()).ok_or_else(|| {
            let text =
                format!("service {name} is in force once every member has it: see ha status");
            Refused::new(Exit::Busy, text)
        })
    }

    /// Goes on as the program and the file that are there now; returns only if that cannot be.
    async fn restart(&self) -> Result<(), Refused> {
        let read = FarmNode::read(&self.file);
        let read = read.map_err(|error| Refused::new(Exit::Config, error.to_string()))?;
        if let Some(field) = self.breaks(&read)? {
            let text = format!(
                "{field} of the file is not what runs, and connections would break by it: put it \
                 back, or restart the unit"
            );
            return Err(Refused::new(Exit::Config, text));
        }
        // The next process would end at it, with nothing to go back to.
        check(&read).map_err(|error| Refused::new(Exit::Config, error.to_string()))?;
        // The next process holds them from its start on.
        drop(self.reserve_new_vips(&read).await?);
        self.program.try_it().await?;
        let (refuse, answer) = oneshot::channel();
        self.restarts.send(refuse).await.map_err(|_| ending())?;
        // Nobody answers for a process that is replaced.
        Err(answer.await.unwrap_or_else(|_| ending()))
    }

    /// The first field in which a file differs from what runs so that nothing can be handed over.
    fn breaks(&self, read: &FarmNode) -> Result<Option<&'static str>, Refused> {
        let running = self.node();
        let hash = hash(read, Hashing::of(&self.plane.hash));
        let hash = hash.map_err(|error| Refused::new(Exit::Config, error.to_string()))?;
        let (a, b) = (&running.raw, &read.raw);
        let same = [
            ("node or member", running.identity() == read.identity()),
            ("interval", running.timing(self.tick()) == read.timing(self.tick())),
            ("interface", a.interface == b.interface && a.module == b.module && a.run == b.run),
            ("mode", a.mode == b.mode),
            ("plane", a.plane == b.plane),
            ("hash_key_file", hash == self.plane.hash),
            ("buckets", running.buckets() == read.buckets()),
            ("uncovered", a.uncovered == b.uncovered),
            ("drain", running.drain() == read.drain()),
            ("isolated", a.isolated == b.isolated),
        ];
        Ok(same.iter().find(|(_, same)| !same).map(|(field, _)| *field))
    }

    async fn sample(&self) -> Option<FarmSample> {
        let report = self.farm(&self.module()).await?;
        let strangers = report.strangers.len() as u64;
        let (protected, view) = (report.verdict() == "PROTECTED", report.view);
        let counters = self.handle.counters().await.ok()?.ok();
        let node = self.node();
        let services = Self::names(&node, &view);
        let checkers = checkers_of(self.checkers.as_ref(), &node.raw.module);
        Some(FarmSample {
            module: node.raw.module.clone(),
            ready: view.is_ready(),
            protected,
            members: node.names.clone(),
            services,
            links: node.link_names(),
            strangers,
            packets: counters.as_ref().map(packets),
            checkers: checkers.into_iter().map(|it| (it.name, it.up)).collect(),
            view,
        })
    }
}

/// Whether a member that takes nothing for this reason would take in another farm.
const fn yields(why: Option<Why>) -> bool {
    match why {
        Some(Why::Boot | Why::Gap | Why::Lease | Why::Yields(_) | Why::LeftOut | Why::Isolated) => {
            true
        }
        Some(Why::Stopped | Why::Filter | Why::Twice | Why::Mac(_) | Why::Newer(_)) | None => false,
    }
}

/// The first field in which two files differ that is told to a node but once.
fn needs_restart(running: &FarmNode, read: &FarmNode, tick: Duration) -> Option<&'static str> {
    let (a, b) = (&running.raw, &read.raw);
    let same = [
        ("cluster", a.cluster == b.cluster),
        ("module", a.module == b.module),
        ("id", a.id == b.id),
        ("node", a.node == b.node),
        ("member", running.names == read.names && running.addresses == read.addresses),
        ("links", a.links == b.links),
        ("interface", a.interface == b.interface),
        ("mode", a.mode == b.mode),
        ("plane", a.plane == b.plane),
        ("key_file", running.key == read.key && a.hash_key_file == b.hash_key_file),
        ("interval", running.timing(tick) == read.timing(tick)),
        ("isolated", a.isolated == b.isolated),
        ("drain", running.drain() == read.drain()),
        ("warm_up", running.warm_up() == read.warm_up()),
        ("buckets", running.buckets() == read.buckets()),
        ("uncovered", a.uncovered == b.uncovered),
        ("scripts", running.scripts == read.scripts),
        ("state", a.state == b.state),
        ("run", a.run == b.run),
        ("log", a.log == b.log && a.log_bytes == b.log_bytes),
        ("http", a.http == b.http),
        ("notify", a.notify == b.notify),
        ("checker", running.checkers == read.checkers),
    ];
    same.iter().find(|(_, same)| !same).map(|(field, _)| *field)
}

fn ending() -> Refused {
    Refused::new(Exit::Unavailable, "the daemon is ending")
}

fn packets(counters: &Counters) -> Packets {
    let sum = |count: fn(&crate::linux::plane::Service) -> u64| {
        counters.services.iter().map(count).sum::<u64>()
    };
    let mut verdicts = vec![
        (String::from("pass"), counters.passed),
        ("neighbour".into(), counters.neighbour),
        ("accept".into(), sum(|service| service.accepted)),
        ("forward".into(), sum(|service| service.forwarded)),
    ];
    let dropped =
        |reason: Reason| (format!("drop_{}", reason.name()), counters.dropped[reason.index()]);
    verdicts.extend(Reason::ALL.map(dropped));
    let owners = counters.services.iter().map(|service| {
        let of = |(id, &count): (usize, &u64)| {
            let node = u8::try_from(id).ok().and_then(NodeId::new)?;
            (count > 0).then_some((node, count))
        };
        service.owners.iter().enumerate().filter_map(of).collect::<BTreeMap<_, _>>()
    });
    Packets { verdicts, owners: owners.collect() }
}

impl Desk for FarmDesk {
    fn modules(&self) -> Vec<(ModuleId, String)> {
        Vec::new()
    }

    async fn report(&self, _module: &str) -> Option<Report> {
        None
    }

    async fn order(&self, _module: &str, _command: Command) -> Result<(), Refused> {
        Err(Refused::new(Exit::Usage, "this is a farm: that order is a mirror's"))
    }

    async fn reload(&self) -> Result<String, Refused> {
        self.reload_now().await
    }

    async fn config(&self) -> ConfigTexts {
        let text = std::fs::read_to_string(&self.file).ok();
        let running = self.means(&self.node());
        ConfigTexts {
            path: self.file.display().to_string(),
            running,
            differs: self.differs(),
            file: text,
        }
    }

    fn farms(&self) -> Vec<String> {
        vec![self.module()]
    }

    fn farm_log(&self) -> Option<&FarmLog> {
        Some(&self.log)
    }

    async fn farm(&self, farm: &str) -> Option<FarmReport> {
        let node = self.node();
        if node.raw.module != farm {
            return None;
        }
        let view = self.handle.view().await.ok()?;
        let strangers = self.handle.strangers().await.ok()?;
        let stranger = |it: Stranger| FarmStranger { vip: it.ip, mac: it.card.to_string() };
        let mut report = FarmReport {
            name: node.raw.module.clone(),
            id: ModuleId(node.raw.id),
            members: node.names.clone(),
            services: Self::names(&node, &view),
            links: node.link_names(),
            mode: node.raw.mode.name().into(),
            plane: self.plane.name.into(),
            plane_why: self.plane_why(&node, &view),
            view,
            verdict_for: Duration::ZERO,
            up: self.since.elapsed(),
            takeover: node.takeover(),
            checkers: checkers_of(self.checkers.as_ref(), &node.raw.module),
            strangers: strangers.into_iter().map(stranger).collect(),
            config_differs: self.differs(),
        };
        report.verdict_for = self.verdict_since(report.verdict()).elapsed();
        Some(report)
    }

    async fn order_farm(&self, _farm: &str, verb: FarmVerb) -> Result<(), Refused> {
        let order = match verb {
            FarmVerb::Drain { on, node: _ } => Order::Drain(on),
            FarmVerb::Gate { open } => Order::Gate(open),
            FarmVerb::Start => Order::Start,
            FarmVerb::Stop => Order::Stop { force: false },
            FarmVerb::RestartDaemon => return self.restart().await,
            FarmVerb::Weight { weight, service: None, node: _ } => {
                Order::Weight { service: None, weight }
            }
            FarmVerb::Weight { weight, service: Some(name), node: _ } => {
                let service = Some(self.place(&name).await?);
                Order::Weight { service, weight }
            }
        };
        self.order(order).await
    }
}

impl Source for FarmDesk {
    fn ready(&self, module: &str) -> Option<bool> {
        (module == self.module()).then(|| locked(&self.seen).as_ref().is_some_and(View::is_ready))
    }

    async fn metrics(&self) -> Option<String> {
        let sample = self.sample().await?;
        let mut page = String::new();
        render_farm(env!("CARGO_PKG_VERSION"), &sample, &mut page);
        Some(page)
    }
}

/// How often the file is read to be compared.
const COMPARE_EVERY: Duration = Duration::from_secs(5);
