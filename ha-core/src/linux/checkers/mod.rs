//! The checkers of a process, at work: one thread for all modules, and dumb probes.

mod command;
mod desk;
mod http;
mod look;
mod processes;
mod vip;

use core::fmt;
use core::time::Duration;
use std::format;
use std::io;
use std::path::PathBuf;
use std::prelude::rust_2024::*;
use std::string::String;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use ha_proto::Instant;
use rustix::fs::{Access, access};
use thiserror::Error;
use tokio::sync::mpsc;

use self::desk::Desk;
use super::cgroup::Cgroup;
use crate::checker::{Action, CheckerConfig, Custom, Kind, Loops, Process, State};
use crate::driver::{Clock, Handle};
use crate::{Order, OrderError};

/// The checkers of all modules of a process.
///
/// They work on one thread, in the network namespace of the thread that started them. A look never
/// keeps another one waiting: connections are asynchronous, and executables are children whose end
/// is heard.
///
/// Start them after [`Driver::add`](crate::driver::Driver::add) and before
/// [`Driver::start`](crate::driver::Driver::start): what a node waits for hinders it from its first
/// moment then. Whoever passes an operator's order on tells them by [`ordered`](Self::ordered).
///
/// Dropping it ends all looks, and kills executables that still run.
pub struct Checkers {
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
    clock: Clock,
    reports: Reports,
}

/// A module whose checkers are to be started.
#[derive(Debug)]
pub struct Watched {
    /// Its name, for checkers of other modules, and for their executables.
    pub name: String,
    /// The module; `None` where it is no mirror's: it serves always, and is told by
    /// [`Event::Changed`] alone.
    pub handle: Option<Handle>,
    /// What is looked at.
    pub checkers: Vec<CheckerConfig>,
    /// Its automatic restarts (`maxloop`, `loop_interval`), by [`Clock::of_the_machine`]: those of
    /// an earlier process count on ([`Checkers::restarts`]).
    pub loops: Loops,
    /// Where executables are called.
    pub surroundings: Surroundings,
    /// Suspended from the start, as by [`Checkers::suspend`].
    pub suspended: bool,
}

/// What an executable of a checker is called in, and whose processes are the module's.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// How this node is called.
    pub node: String,
    /// The folder.
    pub folder: PathBuf,
    /// The pipe for what they print; `None` throws it away.
    pub output: Option<PathBuf>,
    /// The control group of the module's service; `None` where a systemd unit is its service.
    pub group: Option<Cgroup>,
}

/// Something that happened to a checker of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is up, or down, or not watched.
    Changed {
        /// Which.
        checker: String,
        /// What is known of it.
        state: State,
        /// Why the last look failed; empty if it passed.
        why: String,
    },
    /// It is down, and the node obeys the order that follows from it.
    Acts {
        /// Which.
        checker: String,
        /// What is done.
        action: Action,
    },
    /// It is down, and the node refuses the order. Told once for each reason.
    Refused {
        /// Which.
        checker: String,
        /// What was ordered.
        action: Action,
        /// Why not.
        why: OrderError,
    },
    /// It is down, and no automatic restart is left (`maxloop`): the module is stopped until an
    /// operator looks.
    LoopsSpent {
        /// Which.
        checker: String,
    },
}

/// How a checker is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// What follows when it is down.
    pub action: Action,
    /// What is known.
    pub state: State,
    /// For how long that has been so.
    pub age: Duration,
    /// Whether an operator suspended it.
    pub suspended: bool,
    /// Why the last look failed; empty if it passed, or none ended yet.
    pub why: String,
}

/// Why checkers cannot be started, or told something.
#[derive(Debug, Error)]
pub enum CheckersError {
    /// Nothing runs.
    #[error("checker {checker:?}: {program} is not executable: chmod +x {program}")]
    NotExecutable {
        /// Which.
        checker: String,
        /// As configured.
        program: String,
    },
    /// Nothing runs.
    #[error("checker {checker:?}: there is no module {module:?} beside its own in this process")]
    NoModule {
        /// Which.
        checker: String,
        /// As configured.
        module: String,
    },
    /// Nothing runs.
    #[error(
        "checker {0:?}: the service of the module is no script's: name its process, cmdline or \
         pid_file"
    )]
    NoGroup(String),
    /// Nothing runs.
    #[error("checkers: {0}")]
    Io(#[from] io::Error),
    /// Nothing has changed.
    #[error("there is no module {0:?} with checkers in this process")]
    Unknown(String),
    /// Nothing has changed.
    #[error("the checkers do not answer: order it again in a moment")]
    Busy,
}

/// What an operator wants.
#[derive(Clone, Copy, Debug)]
enum Command {
    Suspend { module: usize },
    Resume { module: usize },
    Ordered { module: usize, order: Order },
    Failed { module: usize },
}

/// How all checkers are doing, for whoever asks.
type Reports = Arc<Mutex<Vec<Reported>>>;

/// The checkers of a module.
#[derive(Clone, Debug)]
struct Reported {
    module: String,
    known: Vec<Known>,
    /// When they had it restarted, as far as that still counts.
    restarts: Vec<Instant>,
    /// One had it stopped only to be started again, and it has not been.
    starts_again: bool,
}

/// A checker as it was reported last.
#[derive(Clone, Debug)]
struct Known {
    report: Report,
    since: Instant,
}

impl Checkers {
    /// Starts to look after these modules. `observe` is called with a module's name on the thread
    /// of the checkers, and must not wait.
    ///
    /// # Errors
    /// [`CheckersError`] says in one line what to do.
    pub fn start(
        modules: Vec<Watched>,
        observe: impl FnMut(&str, &Event) + Send + 'static,
    ) -> Result<Self, CheckersError> {
        let planned = modules.iter().map(|module| Planned {
            name: &module.name,
            checkers: &module.checkers,
            group: module.surroundings.group.is_some(),
        });
        check(&planned.collect::<Vec<_>>())?;
        // The next process counts restarts on.
        let clock = Clock::of_the_machine();
        let (commands, asked) = mpsc::channel(COMMANDS_MAX);
        let reports = Reports::default();
        let (ready, started) = sync_channel(1);
        let known = Arc::clone(&reports);
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            // Who asked waits.
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error))),
            };
            runtime.block_on(async {
                match Desk::new(modules, clock, asked, known, observe) {
                    Ok(mut desk) => {
                        let _ = ready.send(Ok(()));
                        desk.work().await;
                    }
                    Err(error) => drop(ready.send(Err(error))),
                }
            });
            // A look that never ends is not waited for.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("ha-check".into()).spawn(work)?;
        let checkers = Self { commands: Some(commands), thread: Some(thread), clock, reports };
        started.recv().expect("the thread answers before it ends")?;
        Ok(checkers)
    }

    /// Looks no more after a module until [`resume`](Self::resume): nothing is known of its
    /// resources, none of them hinders the node, and nothing follows.
    ///
    /// # Errors
    /// [`CheckersError::Unknown`] or [`CheckersError::Busy`].
    pub fn suspend(&self, module: &str) -> Result<(), CheckersError> {
        self.tell(module, |module| Command::Suspend { module })
    }

    /// Looks after it again, from the beginning.
    ///
    /// # Errors
    /// [`CheckersError::Unknown`] or [`CheckersError::Busy`].
    pub fn resume(&self, module: &str) -> Result<(), CheckersError> {
        self.tell(module, |module| Command::Resume { module })
    }

    /// An operator gave this order, and the module obeys: all automatic restarts are left again.
    ///
    /// # Errors
    /// [`CheckersError::Unknown`] or [`CheckersError::Busy`].
    pub fn ordered(&self, module: &str, order: Order) -> Result<(), CheckersError> {
        self.tell(module, |module| Command::Ordered { module, order })
    }

    /// The application of a module failed by itself and is started again, which counts as an
    /// automatic restart like those by checkers.
    ///
    /// # Errors
    /// [`CheckersError::Unknown`] or [`CheckersError::Busy`].
    pub fn failed(&self, module: &str) -> Result<(), CheckersError> {
        self.tell(module, |module| Command::Failed { module })
    }

    /// How the checkers of a module are doing, in the order of the configuration; empty when there
    /// is no such module.
    pub fn report(&self, module: &str) -> Vec<Report> {
        let now = self.clock.now();
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let found = reports.iter().find(|it| it.module == module);
        let known = found.map(|it| it.known.as_slice()).unwrap_or_default();
        let aged = |it: &Known| Report { age: now.saturating_since(it.since), ..it.report.clone() };
        known.iter().map(aged).collect()
    }

    /// When the checkers of a module had it restarted, as far as that still counts (`maxloop`), in
    /// nanoseconds of [`Clock::of_the_machine`], the oldest first.
    pub fn restarts(&self, module: &str) -> Vec<u64> {
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let found = reports.iter().find(|it| it.module == module);
        found.map_or_else(Vec::new, |it| it.restarts.iter().map(|at| at.as_nanos()).collect())
    }

    /// Whether a checker had the module of this name stopped only to be started again, and it has
    /// not been: the process that goes on after this one orders it.
    pub fn starts_again(&self, module: &str) -> bool {
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.iter().any(|it| it.module == module && it.starts_again)
    }

    fn tell(
        &self,
        module: &str,
        command: impl FnOnce(usize) -> Command,
    ) -> Result<(), CheckersError> {
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let place = reports.iter().position(|it| it.module == module);
        drop(reports);
        let place = place.ok_or_else(|| CheckersError::Unknown(module.into()))?;
        let commands = self.commands.as_ref().expect("they live as long as this");
        commands.try_send(command(place)).map_err(|_| CheckersError::Busy)
    }
}

impl fmt::Debug for Checkers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkers").field("reports", &self.reports).finish_non_exhaustive()
    }
}

impl Drop for Checkers {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // It has said what went wrong.
            let _ = thread.join();
        }
    }
}

/// What is checked of a module before its checkers are started.
#[derive(Clone, Copy, Debug)]
pub struct Planned<'a> {
    /// What the module is called.
    pub name: &'a str,
    /// Its checkers.
    pub checkers: &'a [CheckerConfig],
    /// Whether it has a control group of its own to look into.
    pub group: bool,
}

/// Whether the checkers of these modules could work in one process; starts none.
///
/// # Errors
/// The first that could not, as [`Checkers::start`] says it.
pub fn check(modules: &[Planned<'_>]) -> Result<(), CheckersError> {
    for module in modules {
        for checker in module.checkers {
            let name = || checker.name.clone();
            match &checker.kind {
                Kind::Custom(Custom::Run(command)) => {
                    let program = command.first().cloned().unwrap_or_default();
                    let runs = PathBuf::from(&program).is_file()
                        && access(program.as_str(), Access::EXEC_OK).is_ok();
                    if !runs {
                        return Err(CheckersError::NotExecutable { checker: name(), program });
                    }
                }
                Kind::Process(Process::Group) if !module.group => {
                    return Err(CheckersError::NoGroup(name()));
                }
                Kind::Module { name: other, .. } => {
                    let beside = |it: &Planned<'_>| it.name == *other && it.name != module.name;
                    if !modules.iter().any(beside) {
                        let (checker, module) = (name(), other.clone());
                        return Err(CheckersError::NoModule { checker, module });
                    }
                }
                Kind::Tcp { .. }
                | Kind::Ping { .. }
                | Kind::Http { .. }
                | Kind::Intf { .. }
                | Kind::Ip { .. }
                | Kind::Process(_)
                | Kind::Custom(Custom::Talk { .. }) => {}
            }
        }
    }
    Ok(())
}

/// What the system said, in one line.
fn told(what: &str) -> impl FnOnce(io::Error) -> String {
    move |error| format!("{what}: {error}")
}

/// Commands that may wait: operators type them.
const COMMANDS_MAX: usize = 64;
