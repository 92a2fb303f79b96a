//! The process of a farm's node.

use core::future::pending;
use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::string::String;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use std::vec;
use std::vec::Vec;

use thiserror::Error;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{error, info, warn};

use super::checker::OnFailure;
use super::config::{FarmNode, Folder, RawMode};
use super::desk::{FarmDesk, Look, Restart};
use super::follows::Follows;
use super::plane::{Chosen, NoPlane, choose};
use super::told::{Told as Events, left};
use crate::checker::{Loops, State};
use crate::control::{EventLog, Exit, FarmLog, Refused, Server, ServerError};
use crate::driver::{self, Driver};
use crate::farm::{Baton, ConfigError, Order, View};
use crate::ha_farm::Mac;
use crate::http;
use crate::linux::cgroup::Cgroup;
use crate::linux::checkers::{self, Checkers, CheckersError, Surroundings, Watched};
use crate::linux::farm::{
    Application, Failure, Front, Handle, Link, NoApplication, OrderError, Reserved, Running,
    Scripted, Setup, StartError, THREAD, resume, start,
};
use crate::linux::hook::{HookConfig, HookError};
use crate::linux::mac_of;
use crate::linux::node::EX_CONFIG;
use crate::linux::node::config::FileError;
use crate::linux::node::daemon::{self, DaemonError, Signals, Told, lock};
use crate::linux::node::program::Program;
use crate::linux::plane::bpf::RENEWAL;
use crate::linux::realtime;
use crate::linux::scripts::{Abort, ScriptError, Scripts, Settings};
use crate::systemd::Notifier;

/// A farm's node at work.
#[derive(Debug)]
pub struct Daemon {
    runtime: Runtime,
    /// Heard since before anything else was begun, so that none is lost or kills what comes up.
    signals: Signals,
    running: Running,
    desk: Arc<FarmDesk>,
    restarts: mpsc::Receiver<Restart>,
    systemd: Notifier,
    /// How long its scripts may take to stop.
    patience: Duration,
    /// To end them by force, if it has any.
    abort: Option<Abort>,
    open: Open,
}

/// What is open as long as the daemon runs.
#[derive(Debug)]
#[expect(dead_code, reason = "they are held until they are dropped")]
struct Open {
    control: Server,
    http: Option<http::Server>,
    events: Arc<Events>,
    locks: [File; 2],
    name: UnixListener,
}

impl Open {
    /// Nobody is told of anything more: for the environment of the process that goes on.
    fn give_up(self) -> Option<(&'static str, String)> {
        Arc::into_inner(self.events).and_then(Events::give_up)
    }
}

/// Looks at what a start needs of this machine, as far as that can be seen without touching it: the
/// key, and who is to be told of events.
///
/// # Errors
/// The first thing that a start would fail at.
pub fn check(node: &FarmNode) -> Result<(), FarmError> {
    Driver::check_key(&node.key)?;
    Ok(node.hook.as_ref().map_or(Ok(()), HookConfig::check)?)
}

/// The module's name is that of the filter in the kernel: held, so that no two daemons take each
/// other's for what a killed one left.
fn claim(module: &str) -> Result<UnixListener, FarmError> {
    let name = SocketAddr::from_abstract_name(format!("ha-farm/module/{module}"));
    let name = name.map_err(FarmError::System)?;
    UnixListener::bind_addr(&name).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => FarmError::Module(module.into()),
        _ => FarmError::System(error),
    })
}

/// Why a farm's daemon does not run. Nothing of it is left behind.
#[derive(Debug, Error)]
pub enum FarmError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// What the file says cannot work on this machine.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The interface.
    #[error("interface {interface}: {source}: `ip link` lists those of this machine")]
    Interface {
        /// Which.
        interface: String,
        /// Why not.
        source: io::Error,
    },
    /// Another daemon's filter has the same name.
    #[error("module {0:?}: another daemon of this machine has it: give each farm its own name")]
    Module(String),
    /// The filter.
    #[error(transparent)]
    Plane(#[from] NoPlane),
    /// The scripts.
    #[error("scripts: {0}")]
    Scripts(#[from] ScriptError),
    /// The control group.
    #[error("no control group: {0}: run as root, or let systemd delegate one")]
    Group(io::Error),
    /// The checkers.
    #[error(transparent)]
    Checkers(#[from] CheckersError),
    /// The node.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The key, or HTTP.
    #[error(transparent)]
    Driver(#[from] driver::StartError),
    /// Whoever is to be told of events.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ServerError),
    /// Folders, locks, signals.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The system.
    #[error("the system refuses: {0}")]
    System(io::Error),
    /// It was told to end before it had begun.
    #[error("told to end before it had begun")]
    Told,
    /// It ended by itself.
    #[error("ended by itself: {0}: start it again")]
    Failure(#[from] Failure),
}

impl FarmError {
    /// What the process ends with: 78 where the configuration is to be changed, 0 where it was told
    /// to end, else 1.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::File(_)
            | Self::Config(_)
            | Self::Interface { .. }
            | Self::Module(_)
            | Self::Plane(NoPlane::Key(_))
            | Self::Scripts(_)
            | Self::Hook(_)
            | Self::Checkers(_) => EX_CONFIG,
            Self::Daemon(error) => error.exit_code(),
            Self::Told => 0,
            Self::Plane(NoPlane::Plane(_) | NoPlane::Ask(_))
            | Self::Group(_)
            | Self::Start(_)
            | Self::Driver(_)
            | Self::Control(_)
            | Self::System(_)
            | Self::Failure(_) => 1,
        }
    }
}

impl Daemon {
    /// Reads the file and runs what it says.
    ///
    /// # Errors
    /// [`FarmError`]: nothing runs then.
    pub fn start(file: &Path) -> Result<Self, FarmError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(FarmError::System)?;
        let signals = runtime.block_on(async { Signals::new() });
        let mut signals = signals.map_err(FarmError::System)?;
        let node = FarmNode::read(file)?;
        let systemd = Notifier::from_env().map_err(DaemonError::Systemd)?;
        // Before anything else is touched: another daemon's filter looks like what a killed one
        // left behind.
        let locks = [lock("run", &node.raw.run)?, lock("state", &node.raw.state)?];
        let name = claim(&node.raw.module)?;
        // And before what was handed over is taken away, once and for all.
        let log = Arc::new(FarmLog::new(node.raw.module.clone()));
        let events = Arc::new(Events::new(&node, Arc::clone(&log))?);
        let Served { application, surroundings, abort } = served(&node)?;
        let baton = take_baton(&baton_file(&node));
        let (mac, links) = (mac(&node)?, links(&node));
        let chosen = runtime.block_on(async {
            tokio::select! {
                chosen = choose(&node, &links, baton.as_ref()) => Ok(chosen?),
                // What was handed over runs: it leaves in order.
                () = signals.end(), if baton.is_none() => Err(FarmError::Told),
                // After an exec systemd waits for signs of life.
                () = systemd.keep_alive(async || true) => Err(FarmError::Told),
            }
        })?;
        let plane = chosen.told.clone();
        let running = run(&node, application, (mac, chosen), links, baton.as_ref(), &events)?;
        let handle = running.handle();
        // The node's thread has its name before it has answered.
        let _ = runtime.block_on(handle.view());
        favour();
        events.begin();
        // Nor before the names are held can it be asked for a reload.
        let _ = runtime.block_on(hold_names(&handle, &node));
        let checkers = watch(&node, surroundings, &handle)?;
        let http = node.raw.http.map(|http| http.listen);
        let socket = node.control_socket();
        let patience = node.scripts.as_ref().map_or(Duration::ZERO, |it| it.stop + it.force);
        info!(node = node.name(), plane = plane.name, why = plane.why, "the node is up");
        let (restarts, asked) = mpsc::channel(1);
        let desk = Arc::new(FarmDesk {
            file: file.into(),
            node: Mutex::new(node),
            program: Program::of_this_process().map_err(FarmError::System)?,
            handle,
            restarts,
            plane,
            seen: Mutex::default(),
            since: Instant::now(),
            verdict: Mutex::default(),
            checkers,
            log,
            compared: Mutex::default(),
            reloading: tokio::sync::Mutex::default(),
            strangers: Mutex::default(),
            unable: AtomicBool::default(),
            follows: Mutex::new(Follows::of_before()),
        });
        let control = Server::start(&socket, Arc::clone(&desk), Arc::new(EventLog::new()))?;
        let http = http.map(|listen| http::Server::start(listen, Arc::clone(&desk)));
        let open = Open { control, http: http.transpose()?, events, locks, name };
        if let Err(refused) = realtime::lock_memory() {
            warn!("{refused}");
        }
        let restarts = asked;
        Ok(Self { runtime, signals, running, desk, restarts, systemd, patience, abort, open })
    }

    /// Works until it is told to end, by SIGTERM or SIGINT. It leaves in order then: new clients go
    /// elsewhere, it takes nothing more, its service stops, its filter leaves the kernel. A second
    /// signal does not wait for that.
    ///
    /// # Errors
    /// [`FarmError::Failure`]: it ended by itself.
    pub fn run(mut self) -> Result<(), FarmError> {
        let mut anew = loop {
            let Self { runtime, desk, restarts, systemd, signals, .. } = &mut self;
            match runtime.block_on(work(desk, restarts, systemd, signals)) {
                Next::Ended => return Ok(self.running.wait()?),
                Next::Stop => break false,
                Next::Anew => break true,
                Next::Restart(refuse) => self = self.replace(refuse)?,
            }
        };
        let Self { runtime, running, desk, mut signals, systemd, patience, abort, open, .. } = self;
        if anew {
            systemd.reloading();
        } else {
            told_to_end(&systemd);
        }
        // The last one to let go of them waits for whoever is told: not the node's thread then.
        let events = anew.then(|| Arc::clone(&open.events));
        // The first signal asks for an orderly stop; whether it was not the first.
        let mut told = || {
            let first = core::mem::take(&mut anew);
            if first {
                told_to_end(&systemd);
            } else {
                daemon::abort(abort.as_slice());
            }
            !first
        };
        let in_order = runtime.block_on(async {
            let mut leaving = pin!(leave(&desk, patience));
            loop {
                tokio::select! {
                    () = signals.end() => if told() {
                        return None;
                    },
                    // A service may take longer to stop than systemd waits for a sign of life.
                    () = systemd.keep_alive(async || true) => return None,
                    in_order = &mut leaving => return Some(in_order),
                }
            }
        });
        drop(open);
        let end = || {
            if in_order == Some(true) {
                return running.wait();
            }
            warn!("it ends without an orderly stop");
            drop(running);
            Ok(())
        };
        let told = || {
            told();
        };
        daemon::ended(&runtime, &mut signals, told, end)?;
        // It takes nothing until the next program does: nobody is waited for. A member that was told
        // to end meanwhile tells all of it.
        let given_up = || events.and_then(Arc::into_inner).and_then(Events::give_up);
        let untold = if anew { given_up() } else { None };
        if anew && in_order.is_some() {
            // It takes nothing, and asks once more what the others do.
            let (program, follows) = (desk.program.path().to_path_buf(), desk.follows());
            drop(desk);
            return Err(next_program(&program, &runtime, &mut signals, left(follows, untold)));
        }
        Ok(())
    }

    /// Goes on as the program and the file that are there now, in this same process: the filter
    /// stays in the kernel, the service runs on, and nobody else notices, if the next one is there
    /// before the lease ends. Gives the daemon back where that cannot be now.
    ///
    /// # Errors
    /// [`FarmError`]: no process goes on. The filter takes nothing once its lease is over.
    fn replace(self, refuse: Restart) -> Result<Self, FarmError> {
        let Self { runtime, mut signals, running, desk, restarts, systemd, patience, abort, open } =
            self;
        systemd.reloading();
        let node = desk.node();
        let most = HAND_OVER_MAX.min(node.timing(Duration::ZERO).interval * HAND_OVER);
        match runtime.block_on(hand_over(running, most, &systemd)) {
            Ok(baton) => {
                info!("handed over: the next program goes on");
                let mut bytes = Vec::new();
                baton.encode(&mut bytes);
                if let Err(error) = std::fs::write(baton_file(&node), bytes) {
                    warn!(%error, "nothing is handed over: the next daemon begins anew");
                }
                let (program, follows) = (desk.program.path().to_path_buf(), desk.follows());
                // No thread may be left that would take a signal, nor a checker's program that
                // nobody waits for.
                let untold = open.give_up();
                drop(desk);
                Err(next_program(&program, &runtime, &mut signals, left(follows, untold)))
            }
            Err(running) => {
                let text = "a change is under way: order it again in a moment";
                warn!("not restarted: {text}");
                favour();
                // Who asked may have gone.
                let _ = refuse.send(Refused::new(Exit::Busy, text));
                systemd.ready(&format!("a member of {}", node.raw.module));
                Ok(Self {
                    runtime,
                    signals,
                    running,
                    desk,
                    restarts,
                    systemd,
                    patience,
                    abort,
                    open,
                })
            }
        }
    }
}

/// Waits for it on a thread of its own: systemd waits for signs of life meanwhile. The whole process
/// goes first from when all is ready.
async fn hand_over(
    running: Running,
    patience: Duration,
    systemd: &Notifier,
) -> Result<Baton, Running> {
    let (near, is_near) = oneshot::channel::<std_mpsc::Sender<()>>();
    let soon = move || {
        let (done, is_done) = std_mpsc::channel();
        // Dropped there once it is done, or here.
        let _ = near.send(done);
        let _ = is_done.recv();
    };
    let (end, mut handed) = oneshot::channel();
    // Not one of tokio's, which would stay, and could take a signal that the next process is to have.
    let waits = thread::Builder::new()
        .name("ha-farm-hand".into())
        .spawn(move || drop(end.send(running.hand_over_after(patience, soon))))
        .expect("a process may have another thread");
    let hurry = async {
        if let Ok(_done) = is_near.await {
            // Where it is refused the start has said so.
            let _ = realtime::hasten(RENEWAL);
        }
        pending::<()>().await;
    };
    let handed = tokio::select! {
        handed = &mut handed => handed,
        // A node that never answers is systemd's to end.
        _ = timeout(patience + GIVEN_MAX, systemd.keep_alive(async || true)) => handed.await,
        () = hurry => handed.await,
    };
    let _ = waits.join();
    handed.expect("a panic of the node's thread is caught there")
}

/// Lets the node's thread go first, and no other one any more, if the whole process did.
fn favour() {
    if let Err(refused) = realtime::raise(THREAD) {
        warn!("{refused}");
    }
    calm();
}

/// Ends what was begun for a hand-over, here or by the process before.
pub(super) fn calm() {
    if let Err(refused) = realtime::calm(THREAD) {
        warn!("{refused}");
    }
}

fn told_to_end(systemd: &Notifier) {
    info!("told to end: new clients go elsewhere, then the service stops");
    systemd.stopping("the service stops");
}

/// Runs the program that is there now in the place of this one; returns only if that cannot be.
fn next_program(
    program: &Path,
    runtime: &Runtime,
    signals: &mut Signals,
    left: Vec<(&str, String)>,
) -> FarmError {
    let mut next = Command::new(program);
    next.args(std::env::args_os().skip(1)).envs(left);
    if let Err(error) = runtime.block_on(signals.hold()) {
        warn!(%error, "a signal that comes now may be lost: send it again");
    }
    DaemonError::Exec(next.exec()).into()
}

/// Why the daemon does not go on as it is.
#[derive(Debug)]
enum Next {
    /// The node has ended by itself.
    Ended,
    /// It is told to end.
    Stop,
    /// The next program is to go on.
    Restart(Restart),
    /// It is to choose its plane once more.
    Anew,
}

/// What one process leaves to the next.
fn baton_file(node: &FarmNode) -> PathBuf {
    node.raw.run.join(format!("{}.baton", node.raw.module))
}

/// It is used once, by whoever comes next.
fn take_baton(file: &Path) -> Option<Baton> {
    let bytes = std::fs::read(file).ok()?;
    if let Err(error) = std::fs::remove_file(file) {
        warn!(%error, "what was handed over could be used twice: it is not used");
        return None;
    }
    match Baton::decode(&bytes) {
        Ok(baton) => Some(baton),
        Err(why) => {
            warn!(%why, "what was handed over cannot be read: begins anew");
            None
        }
    }
}

/// Works until something else is to be done.
async fn work(
    desk: &FarmDesk,
    restarts: &mut mpsc::Receiver<Restart>,
    systemd: &Notifier,
    signals: &mut Signals,
) -> Next {
    systemd.ready(&format!("a member of {}", desk.node().raw.module));
    let alive = systemd.keep_alive(async || desk.handle.view().await.is_ok());
    tokio::pin!(alive);
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Signals and systemd do not wait for it.
    let mut trial = pin!(desk.program.try_it());
    let mut under_way = false;
    loop {
        tokio::select! {
            () = &mut alive => return Next::Ended,
            told = signals.next() => match told {
                Told::End => return Next::Stop,
                Told::Reload => match desk.reload_now().await {
                    Ok(said) => {
                        info!("{said}");
                        systemd.status(&said);
                    }
                    Err(refused) => {
                        warn!(why = refused.text, "not reloaded: all goes on as it was");
                        systemd.status(&format!("not reloaded: {}", refused.text));
                    }
                },
            },
            Some(refuse) = restarts.recv() => return Next::Restart(refuse),
            tried = &mut trial, if under_way => {
                let Err(refused) = tried else { return Next::Anew };
                warn!(why = refused.text, "it does not follow the others now");
                under_way = false;
                trial.set(desk.program.try_it());
            }
            _ = look.tick() => match desk.look().await {
                Look::Ended => return Next::Ended,
                Look::Anew => under_way = true,
                Look::Fine => {}
            },
        }
    }
}

/// Leaves the farm; whether it did so in time.
async fn leave(desk: &FarmDesk, patience: Duration) -> bool {
    // Its buckets go to the others while it still serves what it has.
    if desk.handle.order(Order::Drain(true)).await.is_ok() {
        let given = async {
            while desk.handle.view().await.is_ok_and(|view| owns(&view)) {
                sleep(PAUSE).await;
            }
        };
        // Alone it gives nothing to nobody.
        let _ = timeout(GIVEN_MAX, given).await;
    }
    desk.handle.leave().await;
    let ended = async {
        while desk.handle.view().await.is_ok() {
            sleep(PAUSE).await;
        }
    };
    timeout(patience + GIVEN_MAX, ended).await.is_ok()
}

fn owns(view: &View) -> bool {
    view.members.len() > 1 && view.owns()
}

/// What serves.
struct Served {
    application: Box<dyn Application>,
    /// What its checkers' executables are called in.
    surroundings: Surroundings,
    /// To end it by force, if it is scripts.
    abort: Option<Abort>,
}

fn served(node: &FarmNode) -> Result<Served, FarmError> {
    let Some(folder) = &node.scripts else {
        let (name, run) = (node.name().into(), node.raw.run.clone());
        let surroundings = Surroundings { node: name, folder: run, output: None, group: None };
        return Ok(Served { application: Box::new(NoApplication), surroundings, abort: None });
    };
    let scripts = scripts(node, folder)?;
    let (surroundings, abort) = (scripts.surroundings(), Some(scripts.abort()));
    Ok(Served { application: Box::new(Scripted::new(scripts)), surroundings, abort })
}

fn scripts(node: &FarmNode, folder: &Folder) -> Result<Scripts, FarmError> {
    let raw = &node.raw;
    let run = raw.run.join(&raw.module);
    for path in [&run, &raw.log] {
        std::fs::create_dir_all(path).map_err(FarmError::System)?;
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let cluster: String = raw.cluster.chars().map(plain).collect();
    let name = format!("ha-{cluster}-{}-{}", raw.node, raw.module);
    let group = Cgroup::home().and_then(|home| Cgroup::make(&home, &name));
    Ok(Scripts::new(Settings {
        folder: folder.path.clone(),
        run,
        log: raw.log.join(format!("{}.log", raw.module)),
        log_bytes: raw.log_bytes,
        group: group.map_err(FarmError::Group)?.folder().into(),
        module: raw.module.clone(),
        node: node.name().into(),
        start: folder.start,
        stop: folder.stop,
        force: folder.force,
    })?)
}

/// This machine's hardware address, where the others need it.
fn mac(node: &FarmNode) -> Result<Option<Mac>, FarmError> {
    let interface = node.raw.interface.clone();
    match mac_of(&interface) {
        Ok(mac) => Ok(Some(mac).filter(|_| node.raw.mode == RawMode::Directed)),
        Err(source) => Err(FarmError::Interface { interface, source }),
    }
}

/// Starts the node, in the place of an earlier process if that left something.
fn run(
    node: &FarmNode,
    application: Box<dyn Application>,
    (mac, Chosen { plane, told, tick }): (Option<Mac>, Chosen),
    links: Vec<Link>,
    baton: Option<&Baton>,
    events: &Arc<Events>,
) -> Result<Running, FarmError> {
    let config = match node.config(told.hash, mac, tick) {
        Ok(config) => config,
        Err(error) => {
            if baton.is_none()
                && let Err(error) = plane.remove()
            {
                error!(%error, "the filter may be left");
            }
            return Err(error.into());
        }
    };
    let events = Arc::clone(events);
    let setup = Setup {
        config,
        key: node.key.clone(),
        links,
        plane,
        front: Some(Front { interface: node.raw.interface.clone() }),
        application,
        observer: Box::new(move |event| events.note(event)),
    };
    let running = match baton {
        Some(baton) => resume(setup, baton),
        None => start(setup),
    };
    Ok(running?)
}

fn links(node: &FarmNode) -> Vec<Link> {
    let me = node.me();
    let link = |at: usize| {
        let others = node.addresses.iter().filter(|(id, _)| **id != me);
        Link {
            local: node.addresses[&me][at],
            peers: others.map(|(&id, addresses)| (id, addresses[at])).collect(),
        }
    };
    (0..node.raw.links.len()).map(link).collect()
}

/// Holds the names of addresses whose services the file has and the farm not yet: as a reload does,
/// and so that another farm's reload is refused. None but a restart finds one taken, and then it is
/// missing until that farm gives it up.
async fn hold_names(handle: &Handle, node: &FarmNode) -> Result<(), OrderError> {
    let held = handle.addresses().await?;
    let wanted: BTreeSet<IpAddr> = node.vips().into_iter().collect();
    handle.reserve(Reserved::default(), wanted.clone()).await?;
    for &vip in wanted.difference(&held) {
        match Reserved::new([vip]) {
            Ok(name) => handle.reserve(name, wanted.clone()).await?,
            Err(error) => warn!("vip: {error}"),
        }
    }
    Ok(())
}

/// Starts the checkers, if there are some: while one is down the node takes no new clients.
fn watch(
    node: &FarmNode,
    surroundings: Surroundings,
    handle: &Handle,
) -> Result<Option<Checkers>, FarmError> {
    if node.checkers.is_empty() {
        return Ok(None);
    }
    let follows = node.checkers.iter().map(|(it, follows)| (it.name.clone(), *follows));
    let follows: BTreeMap<String, OnFailure> = follows.collect();
    let tell = teller(handle.clone()).map_err(FarmError::System)?;
    let mut down = BTreeMap::new();
    let watched = Watched {
        name: node.raw.module.clone(),
        handle: None,
        checkers: node.checkers.iter().map(|(checker, _)| checker.clone()).collect(),
        // They have no action that restarts.
        loops: Loops::new(0, Duration::from_hours(1)),
        surroundings,
        suspended: false,
    };
    let checkers = Checkers::start(vec![watched], move |_, event| {
        let checkers::Event::Changed { checker, state, why: _ } = event else { return };
        match state {
            State::Down => {
                let cut = follows.get(checker) == Some(&OnFailure::Reset);
                down.insert(checker.clone(), cut);
            }
            State::Up | State::Off | State::Pending => drop(down.remove(checker)),
        }
        let cut = down.values().any(|cut| *cut);
        // A teller that has gone has said so.
        let _ = tell.send(Order::Checker { ok: down.is_empty(), cut });
    });
    Ok(Some(checkers?))
}

/// A thread that passes orders on, since those who have them must not wait.
fn teller(handle: Handle) -> io::Result<std_mpsc::Sender<Order>> {
    let (tell, orders) = std_mpsc::channel::<Order>();
    let runtime = Builder::new_current_thread().build()?;
    std::thread::Builder::new().name("ha-farm-check".into()).spawn(move || {
        while let Ok(order) = orders.recv() {
            if let Err(refused) = runtime.block_on(handle.order(order)) {
                error!(%refused, "the node is not told of its checkers");
                return;
            }
        }
    })?;
    Ok(tell)
}

/// Intervals that it may take until there is no change under way.
const HAND_OVER: u32 = 10;
/// However long they are: who asked waits.
const HAND_OVER_MAX: Duration = Duration::from_secs(5);
/// How often the node is looked at for load balancers: sooner than they ask.
const LOOK: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_millis(20);
/// A view takes an interval or two, of 10 s at most.
const GIVEN_MAX: Duration = Duration::from_secs(5);
