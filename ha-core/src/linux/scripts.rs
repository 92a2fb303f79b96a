//! A module's scripts: one at a time, in bounds of time and output, and what "stopped" means.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::string::String;
use std::sync::{Arc, Mutex};
use std::vec;

use ha_proto::{Epoch, Role};
use rustix::fs::{Access, access};
use thiserror::Error;
use tracing::{info, warn};

use super::cgroup::Cgroup;
use super::checkers::Surroundings;
use super::child::{End, KILL_MAX, end, since};
use super::gate::Gate;
use super::output::Output;
use crate::driver::Clock;
use crate::metrics::ScriptRun;

/// The scripts of one module and the two groups in which they and whatever they start run.
///
/// An executable is called with `old role`, `new role`, `action` and `epoch`, and with the same as
/// `HA_OLD_ROLE`, `HA_ROLE`, `HA_ACTION`, `HA_EPOCH`, beside `HA_MODULE` and `HA_NODE`. The epoch
/// is a number that grows from reign to reign. Any script may be missing, but none that starts
/// without the one that stops.
///
/// Its methods may be called on any thread; they wait for each other, but for
/// [`fence`](Self::fence), which waits for none, and a start of a newer reign, which ends one that
/// is under way. A stop is of whatever runs when its turn comes: whoever calls it knows that no
/// newer reign has started.
#[derive(Debug)]
pub struct Scripts {
    settings: Settings,
    prim: Cgroup,
    both: Cgroup,
    output: Output,
    /// Held while a script runs.
    one: Mutex<()>,
    gate: Gate,
    /// Closed to the reigns before the newest that was to start.
    newer: Gate,
    /// Closed to all reigns by an [`Abort`].
    last: Arc<Gate>,
    runs: Runs,
}

/// Ends a module's scripts and services by force, on any thread. Not those of a unit of systemd,
/// which stops in its own time.
#[derive(Clone, Debug)]
pub struct Abort {
    last: Arc<Gate>,
    groups: [Cgroup; 2],
}

impl Abort {
    /// Kills all that runs; from now on no script is run, and a stop only kills.
    pub fn now(&self) {
        self.last.close(EVER, || {
            for group in &self.groups {
                if let Err(error) = group.kill() {
                    warn!(%error, group = %group.folder().display(), "not killed");
                }
            }
        });
    }
}

/// How long the scripts of a module took, for its metrics.
#[derive(Clone, Debug, Default)]
pub struct Runs(Arc<Mutex<BTreeMap<(Script, &'static str), Duration>>>);

impl Runs {
    /// The last run of each script with each result that it had: `ok`, `failed`, `overran` or
    /// `cancelled`.
    pub fn last(&self) -> Vec<ScriptRun> {
        let runs = self.0.lock().expect("nothing panics while it is looked at");
        let run = |(&(script, result), &took): (&(Script, _), &_)| ScriptRun {
            script: script.name(),
            result,
            took,
        };
        runs.iter().map(run).collect()
    }

    fn note(&self, script: Script, result: &Result<(), ScriptError>, took: Duration) {
        let result = match result {
            Ok(()) => "ok",
            Err(ScriptError::Overran { .. }) => "overran",
            Err(ScriptError::Cancelled { .. }) => "cancelled",
            Err(
                ScriptError::Failed { .. }
                | ScriptError::NoFolder(_)
                | ScriptError::NotExecutable(_)
                | ScriptError::Unpaired { .. }
                | ScriptError::NotEmpty(_)
                | ScriptError::Aborted(_)
                | ScriptError::Io(_),
            ) => "failed",
        };
        let mut runs = self.0.lock().expect("nothing panics while it is looked at");
        runs.insert((script, result), took);
    }
}

/// Where the scripts are, and their bounds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of the executables.
    pub folder: PathBuf,
    /// The folder for what only this boot needs: the pipes of the scripts' output.
    pub run: PathBuf,
    /// The log file of what they print.
    pub log: PathBuf,
    /// Bytes of the log file, beyond which it is put aside as `.1`.
    pub log_bytes: u64,
    /// The module's control group: [`Cgroup::home`], or any that this process may use.
    pub group: PathBuf,
    /// How the module is called, for the scripts.
    pub module: String,
    /// How this node is called, for the scripts.
    pub node: String,
    /// How long a start may take, and any script that is no stop. 300 s unless the application
    /// recovers for longer.
    pub start: Duration,
    /// How long a graceful stop may take until the group is empty; 300 s unless said otherwise.
    pub stop: Duration,
    /// How long a stop by force may take, before all is killed; 300 s unless said otherwise.
    pub force: Duration,
}

/// What is started and stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Where the module is primary.
    Prim,
    /// Where the module takes part: from the first time that it is primary or secondary until it
    /// stops.
    Both,
}

/// An executable's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Script {
    /// Before the module takes part.
    Prestart,
    /// Starts the service of a primary.
    StartPrim,
    /// Stops the service of a primary.
    StopPrim,
    /// Starts what runs on both nodes.
    StartBoth,
    /// Stops what runs on both nodes.
    StopBoth,
    /// The role changed.
    Transition,
    /// After the module took part.
    Poststop,
}

/// What happens, for a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    /// The role before.
    pub from: Role,
    /// The role now.
    pub to: Role,
    /// The reign.
    pub epoch: Epoch,
}

/// Why scripts cannot do what they are for.
#[derive(Debug, Error)]
pub enum ScriptError {
    /// Nothing was run.
    #[error("there is no folder {0}: make it, with the module's scripts in it")]
    NoFolder(PathBuf),
    /// Nothing was run.
    #[error("{0} is not executable: chmod +x {0}")]
    NotExecutable(PathBuf),
    /// Nothing was run.
    #[error("{start} has no {stop} beside it: what it starts could not be stopped in order")]
    Unpaired {
        /// The script that is there.
        start: PathBuf,
        /// The one that is missing.
        stop: Script,
    },
    /// It ran to its end.
    #[error("{script} failed ({status}): its last lines are in the module's log")]
    Failed {
        /// Which.
        script: Script,
        /// How it ended.
        status: ExitStatus,
    },
    /// The script was killed; what it started may run.
    #[error(
        "{script} did not end within {limit:?} and was killed: its last lines are in the module's \
         log; let what stays run in the background, or raise the limit (start_timeout, \
         stop_timeout, force_timeout)"
    )]
    Overran {
        /// Which.
        script: Script,
        /// Its bound.
        limit: Duration,
    },
    /// The script was killed, or not begun; what it started may run.
    #[error("{script} of epoch {epoch} was cancelled: the right to serve in it is over")]
    Cancelled {
        /// Which.
        script: Script,
        /// Its reign.
        epoch: Epoch,
    },
    /// It was killed with all that it started, or not begun.
    #[error("{0} is left out: the daemon ends at once")]
    Aborted(Script),
    /// Something still runs.
    #[error("processes in {0} do not die although they were killed (a disk that does not answer?)")]
    NotEmpty(PathBuf),
    /// The kernel, or the disk.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Scripts {
    /// Checks the scripts and makes their groups; runs none.
    ///
    /// # Errors
    /// What [`check`](Self::check) finds, or groups, pipes or the log cannot be made.
    pub fn new(settings: Settings) -> Result<Self, ScriptError> {
        Self::check(&settings.folder)?;
        let names: Vec<_> = Script::ALL.map(Script::name).into_iter().chain([CHECKERS]).collect();
        let output = Output::start(&settings.run, &names, &settings.log, settings.log_bytes)?;
        Ok(Self {
            prim: Cgroup::make(&settings.group, "prim")?,
            both: Cgroup::make(&settings.group, "both")?,
            output,
            one: Mutex::new(()),
            gate: Gate::new()?,
            newer: Gate::new()?,
            last: Arc::new(Gate::new()?),
            runs: Runs::default(),
            settings,
        })
    }

    /// Whether what is in the folder can work.
    ///
    /// # Errors
    /// The first script that is not executable, or that starts what none would stop.
    pub fn check(folder: &Path) -> Result<(), ScriptError> {
        if !folder.is_dir() {
            return Err(ScriptError::NoFolder(folder.into()));
        }
        for script in Script::ALL {
            let path = folder.join(script.name());
            if path.exists() && (!path.is_file() || access(&path, Access::EXEC_OK).is_err()) {
                return Err(ScriptError::NotExecutable(path));
            }
        }
        for service in [Service::Prim, Service::Both] {
            let (start, stop) = (folder.join(service.start().name()), service.stop());
            if start.exists() && !folder.join(stop.name()).exists() {
                return Err(ScriptError::Unpaired { start, stop });
            }
        }
        Ok(())
    }

    /// How long the scripts took, for whoever makes metrics.
    pub fn runs(&self) -> Runs {
        self.runs.clone()
    }

    /// To end them by force.
    pub fn abort(&self) -> Abort {
        Abort { last: Arc::clone(&self.last), groups: [self.prim.clone(), self.both.clone()] }
    }

    /// What executables of the module's checkers are called in.
    pub fn surroundings(&self) -> Surroundings {
        Surroundings {
            node: self.settings.node.clone(),
            folder: self.settings.folder.clone(),
            output: Some(self.output.path(CHECKERS)),
            group: Some(self.prim.clone()),
        }
    }

    /// The group of a service.
    pub fn group(&self, service: Service) -> &Cgroup {
        match service {
            Service::Prim => &self.prim,
            Service::Both => &self.both,
        }
    }

    /// Starts a service, after killing what an earlier daemon may have left of it. A start of a
    /// primary's service cancels one of an earlier reign that is under way, and is refused once a
    /// newer one has been asked for.
    ///
    /// # Errors
    /// The script failed, overran or was cancelled by [`fence`](Self::fence) or by a start of a
    /// newer reign: what it started may run, until [`stop`](Self::stop), or that start, kills it.
    pub fn start(&self, service: Service, shift: Shift) -> Result<(), ScriptError> {
        // Only what serves needs the right to.
        if service == Service::Both {
            let _one = self.one.lock().expect("nothing panics while a script runs");
            empty(&self.both)?;
            self.both.thaw()?;
            return self.run(service.start(), &self.both, shift, "start", self.settings.start, &[]);
        }
        self.start_prim(shift)
    }

    fn start_prim(&self, shift: Shift) -> Result<(), ScriptError> {
        let (script, group, epoch) = (Script::StartPrim, &self.prim, shift.epoch);
        if let Some(before) = epoch.bits().checked_sub(1) {
            // Who is under way hears it, and lets this one in.
            self.newer.close(Epoch::from_bits(before), || ());
        }
        let _one = self.one.lock().expect("nothing panics while a script runs");
        let cancelled = || ScriptError::Cancelled { script, epoch };
        if self.newer.is_closed(epoch) {
            // What runs is the newer one's.
            return Err(cancelled());
        }
        empty(group)?;
        self.gate.pass(epoch, || group.thaw()).ok_or_else(cancelled)??;
        let gates = [&self.gate, &self.newer];
        self.run(script, group, shift, "start", self.settings.start, &gates)
    }

    /// Goes on with the service of a primary that an earlier process of ours started in `epoch`.
    ///
    /// # Errors
    /// It is frozen: somebody who watched it was faster.
    pub fn adopt(&self, epoch: Epoch) -> Result<(), ScriptError> {
        let _one = self.one.lock().expect("nothing panics while a service is adopted");
        if self.prim.is_frozen()? {
            return Err(ScriptError::Cancelled { script: Script::StartPrim, epoch });
        }
        Ok(())
    }

    /// Stops a service: gracefully, then by force, then by killing it. Done means that its group is
    /// empty. What is frozen lost the right to run and is killed at once; `force` leaves the
    /// graceful part out.
    ///
    /// # Errors
    /// [`ScriptError::Cancelled`]: a [`fence`](Self::fence) overtook it, and its script is frozen
    /// with the service; [`kill_frozen`](Self::kill_frozen), and stop again. Else something of it
    /// survived being killed.
    pub fn stop(&self, service: Service, shift: Shift, force: bool) -> Result<(), ScriptError> {
        let _one = self.one.lock().expect("nothing panics while a script runs");
        let group = self.group(service);
        let limits = [("stop", self.settings.stop), ("force", self.settings.force)];
        let begun = limits.into_iter().skip(usize::from(force));
        for (action, limit) in begun {
            if group.is_frozen()? {
                empty(group)?;
                group.thaw()?;
            }
            let clock = Clock::start();
            // Once fenced it clears up after what was killed, and nothing is to hold it back.
            let fresh = service == Service::Prim && !self.gate.is_closed(shift.epoch);
            let gates = [&self.gate];
            let gates = if fresh { &gates[..] } else { &[] };
            let result = self.run(service.stop(), group, shift, action, limit, gates);
            let left = limit.saturating_sub(since(clock));
            let patience = match result {
                Ok(()) => left,
                Err(ScriptError::Cancelled { .. }) => return result,
                Err(error) => {
                    warn!(%error, action, "a stop script did not do it");
                    Duration::ZERO
                }
            };
            if group.wait_empty(patience)? {
                break;
            }
        }
        empty(group)?;
        if service == Service::Prim {
            self.gate.open();
        }
        Ok(())
    }

    /// Calls a script that starts and stops nothing: `prestart`, `transition` or `poststop`.
    ///
    /// # Errors
    /// It failed, or overran.
    pub fn call(&self, script: Script, shift: Shift) -> Result<(), ScriptError> {
        let _one = self.one.lock().expect("nothing panics while a script runs");
        self.both.thaw()?;
        self.run(script, &self.both, shift, script.name(), self.settings.start, &[])
    }

    /// Keeps the service of a primary from doing anything more, in this reign and those before, and
    /// cancels a start of it that is under way. Frozen, or killed when that does not hold within
    /// half of `within`. [`stop`](Self::stop) must follow; starts are refused until then.
    ///
    /// # Errors
    /// It could neither be frozen nor killed within the time.
    pub fn fence(&self, epoch: Epoch, within: Duration) -> Result<(), ScriptError> {
        let frozen = self.gate.close(epoch, || self.prim.freeze());
        let frozen = frozen.and_then(|()| self.prim.wait_frozen(within / 2));
        match frozen {
            Ok(true) => return Ok(()),
            Ok(false) => warn!("the service does not freeze in time: it is killed"),
            Err(error) => warn!(%error, "the service cannot be frozen: it is killed"),
        }
        self.prim.kill()?;
        if self.prim.wait_empty(within / 2)? { Ok(()) } else { Err(not_empty(&self.prim)) }
    }

    /// Kills all of a service that is frozen, at once; whether it was.
    ///
    /// # Errors
    /// Something of it survived being killed.
    pub fn kill_frozen(&self, service: Service) -> Result<bool, ScriptError> {
        let group = self.group(service);
        let frozen = group.is_frozen()?;
        if frozen {
            empty(group)?;
        }
        Ok(frozen)
    }

    /// Runs one script to its end; one that is missing is done.
    fn run(
        &self,
        script: Script,
        group: &Cgroup,
        shift: Shift,
        action: &str,
        limit: Duration,
        cancel: &[&Gate],
    ) -> Result<(), ScriptError> {
        let path = self.settings.folder.join(script.name());
        if !path.exists() {
            return Ok(());
        }
        if self.is_aborted() {
            return Err(ScriptError::Aborted(script));
        }
        let clock = Clock::start();
        let mut child = self.command(script, &path, group, shift, action)?.spawn()?;
        let mut gates = vec![(&*self.last, EVER)];
        gates.extend(cancel.iter().map(|gate| (*gate, shift.epoch)));
        let mut result = watch(&mut child, script, shift.epoch, limit, &gates);
        if self.is_aborted() {
            // It may have joined the group, and begun others there, after all was killed.
            group.kill()?;
            result = Err(ScriptError::Aborted(script));
        }
        let took = since(clock);
        self.runs.note(script, &result, took);
        match &result {
            Ok(()) => info!(%script, action, epoch = %shift.epoch, ?took, "a script is done"),
            Err(error) => warn!(%script, action, epoch = %shift.epoch, ?took, %error),
        }
        result
    }

    fn is_aborted(&self) -> bool {
        self.last.is_closed(EVER)
    }

    fn command(
        &self,
        script: Script,
        path: &Path,
        group: &Cgroup,
        shift: Shift,
        action: &str,
    ) -> io::Result<Command> {
        let mut command = group.command(path);
        let epoch = std::format!("{}", shift.epoch.bits());
        let (from, to) = (std::format!("{}", shift.from), std::format!("{}", shift.to));
        command.args([from.as_str(), to.as_str(), action, epoch.as_str()]);
        command.env("HA_OLD_ROLE", from).env("HA_ROLE", to);
        command.env("HA_ACTION", action).env("HA_EPOCH", epoch);
        command.env("HA_MODULE", &self.settings.module).env("HA_NODE", &self.settings.node);
        command.current_dir(&self.settings.folder).process_group(0).stdin(Stdio::null());
        let name = script.name();
        command.stdout(self.output.pipe(name)?).stderr(self.output.pipe(name)?);
        Ok(command)
    }
}

impl Service {
    const fn start(self) -> Script {
        match self {
            Self::Prim => Script::StartPrim,
            Self::Both => Script::StartBoth,
        }
    }

    const fn stop(self) -> Script {
        match self {
            Self::Prim => Script::StopPrim,
            Self::Both => Script::StopBoth,
        }
    }
}

impl Script {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Prestart,
        Self::StartPrim,
        Self::StopPrim,
        Self::StartBoth,
        Self::StopBoth,
        Self::Transition,
        Self::Poststop,
    ];

    /// Its file's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::StartPrim => "start_prim",
            Self::StopPrim => "stop_prim",
            Self::StartBoth => "start_both",
            Self::StopBoth => "stop_both",
            Self::Transition => "transition",
            Self::Poststop => "poststop",
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Waits for the end of a script, and kills it where it must not go on.
fn watch(
    child: &mut Child,
    script: Script,
    epoch: Epoch,
    limit: Duration,
    gates: &[(&Gate, Epoch)],
) -> Result<(), ScriptError> {
    match end(child, limit, gates)? {
        End::Exited(status) if status.success() => Ok(()),
        End::Exited(status) => Err(ScriptError::Failed { script, status }),
        End::Overran => Err(ScriptError::Overran { script, limit }),
        End::Cancelled => Err(ScriptError::Cancelled { script, epoch }),
    }
}

/// No reign comes after it.
const EVER: Epoch = Epoch::from_bits(u64::MAX);
/// What the lines of the module's log begin with that checkers print.
const CHECKERS: &str = "checker";

/// Kills whatever is in a group; it is empty afterwards.
pub(super) fn empty(group: &Cgroup) -> Result<(), ScriptError> {
    if group.is_empty()? {
        return Ok(());
    }
    group.kill()?;
    if group.wait_empty(KILL_MAX)? { Ok(()) } else { Err(not_empty(group)) }
}

pub(super) fn not_empty(group: &Cgroup) -> ScriptError {
    ScriptError::NotEmpty(group.folder().into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder(scripts: &[(&str, u32)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, mode) in scripts {
            let path = folder.path().join(name);
            fs::write(&path, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        folder
    }

    fn complaint(scripts: &[(&str, u32)]) -> Option<String> {
        let folder = folder(scripts);
        let error = Scripts::check(folder.path()).err()?;
        Some(error.to_string().replace(&folder.path().display().to_string(), "/f"))
    }

    #[test]
    fn any_script_may_be_missing() {
        assert_eq!(complaint(&[]), None);
        assert_eq!(complaint(&[("start_prim", 0o755), ("stop_prim", 0o755)]), None);
        assert_eq!(complaint(&[("stop_both", 0o700), ("README", 0o644)]), None);
    }

    #[test]
    fn what_cannot_work_is_one_clear_line() {
        let not = complaint(&[("start_prim", 0o755), ("stop_prim", 0o644)]);
        assert_eq!(not.unwrap(), "/f/stop_prim is not executable: chmod +x /f/stop_prim");
        let not = complaint(&[("start_both", 0o755)]);
        let says = "/f/start_both has no stop_both beside it: what it starts could not be stopped \
            in order";
        assert_eq!(not.unwrap(), says);
        let error = Scripts::check(Path::new("/no/such")).unwrap_err().to_string();
        assert_eq!(error, "there is no folder /no/such: make it, with the module's scripts in it");
    }
}
