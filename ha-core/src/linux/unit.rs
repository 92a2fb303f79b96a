//! A systemd unit in place of the scripts of a primary.

use core::time::Duration;
use std::format;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::prelude::rust_2024::*;
use std::process::{Command, Stdio};
use std::string::String;
use std::sync::Mutex;

use ha_proto::Epoch;
use thiserror::Error;
use tracing::warn;

use super::cgroup::Cgroup;
use super::child::{End, end, since};
use super::gate::Gate;
use super::scripts::{ScriptError, empty};
use crate::driver::Clock;

/// A unit that is started where the module is primary, by `systemctl`. It must be disabled, so that
/// nobody else starts it, and must not restart by itself.
///
/// Its methods may be called on any thread; start and stop wait for each other.
#[derive(Debug)]
pub struct Unit {
    settings: UnitSettings,
    /// Where its processes are, once it was started.
    group: Mutex<Option<Cgroup>>,
    one: Mutex<()>,
    gate: Gate,
}

/// Which unit, and its bounds.
#[derive(Clone, Debug)]
pub struct UnitSettings {
    /// The program: `systemctl`.
    pub systemctl: PathBuf,
    /// The unit's name, with its suffix: `postgresql.service`.
    pub name: String,
    /// How long a start may take.
    pub start: Duration,
    /// How long a stop may take before all is killed.
    pub stop: Duration,
}

/// Why a unit cannot do what it is for.
#[derive(Debug, Error)]
pub enum UnitError {
    /// What it started may run.
    #[error("systemctl {verb} {unit}: {how}: see journalctl -u {unit}")]
    Failed {
        /// What was asked.
        verb: &'static str,
        /// Of which unit.
        unit: String,
        /// What became of it.
        how: String,
    },
    /// Something of it still runs.
    #[error(transparent)]
    Alive(#[from] ScriptError),
    /// The kernel.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Unit {
    /// This unit; nothing is started or asked yet.
    ///
    /// # Errors
    /// The kernel has no event left.
    pub fn new(settings: UnitSettings) -> io::Result<Self> {
        let (group, one) = (Mutex::new(None), Mutex::new(()));
        Ok(Self { settings, group, one, gate: Gate::new()? })
    }

    /// Starts it, and waits until systemd says that it runs.
    ///
    /// # Errors
    /// It failed, overran, or a [`fence`](Self::fence) came: what it started may run, until
    /// [`stop`](Self::stop).
    pub fn start(&self, epoch: Epoch) -> Result<(), UnitError> {
        let _one = self.one.lock().expect("nothing panics while a unit is started");
        if self.gate.is_closed(epoch) {
            return Err(self.failed("start", OVER));
        }
        self.call("start", &[], self.settings.start, Some((&self.gate, epoch)))?;
        let group = self.find()?;
        let mut known = self.group.lock().expect("nothing panics while a group is named");
        known.clone_from(&group);
        drop(known);
        // A fence that came before the group was known killed what it found; this is the rest.
        if self.gate.is_closed(epoch) {
            group.map_or(Ok(()), |group| group.freeze())?;
            return Err(self.failed("start", OVER));
        }
        Ok(())
    }

    /// Goes on with one that an earlier process of ours started.
    ///
    /// # Errors
    /// It does not run, or is frozen.
    pub fn adopt(&self) -> Result<(), UnitError> {
        let _one = self.one.lock().expect("nothing panics while a unit is adopted");
        let Some(group) = self.find()? else {
            return Err(self.failed("adopt", "it does not run"));
        };
        if group.is_frozen()? {
            return Err(self.failed("adopt", OVER));
        }
        *self.group.lock().expect("nothing panics while a group is named") = Some(group);
        Ok(())
    }

    /// Stops it, and kills whatever is left. What is frozen lost the right to run and is killed at
    /// once. Done means that its group is empty, or gone.
    ///
    /// # Errors
    /// Something of it survived being killed, or systemd does not say that it is over.
    pub fn stop(&self, force: bool) -> Result<(), UnitError> {
        let _one = self.one.lock().expect("nothing panics while a unit is stopped");
        self.kill_frozen()?;
        let group = self.known();
        if let Some(group) = &group
            && group.folder().exists()
        {
            group.thaw()?;
        }
        if force {
            self.kill(self.settings.stop)?;
        }
        if let Err(error) = self.call("stop", &[], self.settings.stop, None) {
            warn!(%error, "a unit does not stop in order");
            self.kill(self.settings.stop)?;
            self.call("stop", &[], self.settings.stop, None)?;
        }
        if let Some(group) = group.filter(|group| group.folder().exists()) {
            empty(&group)?;
        }
        self.gate.open();
        Ok(())
    }

    /// Keeps it from doing anything more, and cancels a start that is under way: frozen, or killed.
    /// [`stop`](Self::stop) must follow; starts are refused until then.
    ///
    /// # Errors
    /// It could neither be frozen nor killed within the time.
    pub fn fence(&self, epoch: Epoch, within: Duration) -> Result<(), UnitError> {
        let frozen = self.gate.close(epoch, || {
            let group = self.known().filter(|group| group.folder().exists())?;
            Some(group.freeze().and_then(|()| group.wait_frozen(within / 2)))
        });
        if matches!(frozen, Some(Ok(true))) {
            return Ok(());
        }
        warn!(unit = self.settings.name, "it cannot be frozen: it is killed");
        // Where the group is known the kernel is enough: systemd may be what hangs.
        let Some(group) = self.known().filter(|group| group.folder().exists()) else {
            return self.kill(within / 2);
        };
        if group.kill().and_then(|()| group.wait_empty(within / 4)).unwrap_or(false) {
            return Ok(());
        }
        self.kill(within / 4)
    }

    /// Kills all of it if it is frozen; whether it was.
    ///
    /// # Errors
    /// Something of it survived being killed.
    pub fn kill_frozen(&self) -> Result<bool, UnitError> {
        let Some(group) = self.known().filter(|group| group.folder().exists()) else {
            return Ok(false);
        };
        let frozen = group.is_frozen()?;
        if frozen {
            empty(&group)?;
        }
        Ok(frozen)
    }

    /// The control group that it will run in, whether it runs or not: that of its slice, and its
    /// name. For the guardian, which must know it before.
    ///
    /// # Errors
    /// `systemctl` does not say.
    pub fn place(&self) -> io::Result<PathBuf> {
        let slice = self.show("Slice")?;
        if slice.is_empty() {
            let text = format!("systemctl does not know {}", self.settings.name);
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        Ok(Cgroup::root()?.join(slice_path(&slice)).join(&self.settings.name))
    }

    fn known(&self) -> Option<Cgroup> {
        self.group.lock().expect("nothing panics while a group is named").clone()
    }

    fn kill(&self, limit: Duration) -> Result<(), UnitError> {
        self.call("kill", &["--signal=KILL"], limit, None)
    }

    /// Where systemd has its processes; `None` when it has none.
    fn find(&self) -> Result<Option<Cgroup>, UnitError> {
        let path = self.show("ControlGroup")?;
        let path = path.trim_start_matches('/');
        if path.is_empty() {
            return Ok(None);
        }
        Ok(Some(Cgroup::open(Cgroup::root()?.join(path))?))
    }

    /// One property, as systemd has it, which it tells at once or not at all.
    fn show(&self, property: &str) -> io::Result<String> {
        let mut command = Command::new(&self.settings.systemctl);
        command.arg("show").arg(format!("--property={property}"));
        command.args(["--value", "--", &self.settings.name]);
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        // One line is less than a pipe holds: it need not be read meanwhile.
        if let End::Overran | End::Cancelled =
            end(&mut child, SHOW_MAX.min(self.settings.stop), &[])?
        {
            let text = format!("systemctl show {}: no answer", self.settings.name);
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        let output = child.wait_with_output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().into())
    }

    fn call(
        &self,
        verb: &'static str,
        options: &[&str],
        limit: Duration,
        cancel: Option<(&Gate, Epoch)>,
    ) -> Result<(), UnitError> {
        let clock = Clock::start();
        let mut command = Command::new(&self.settings.systemctl);
        command.arg(verb).args(options).arg("--").arg(&self.settings.name);
        command.process_group(0).stdin(Stdio::null());
        let mut child = command.spawn()?;
        let ended = end(&mut child, limit, cancel.as_slice())?;
        match ended {
            End::Exited(status) if status.success() => Ok(()),
            End::Exited(status) => Err(self.failed(verb, &format!("{status}"))),
            End::Overran => Err(self.failed(verb, &format!("not done after {:?}", since(clock)))),
            End::Cancelled => Err(self.failed(verb, OVER)),
        }
    }

    fn failed(&self, verb: &'static str, how: &str) -> UnitError {
        UnitError::Failed { verb, unit: self.settings.name.clone(), how: how.into() }
    }
}

/// Where the group of a slice is: each part of its name, cut at the dashes, is below the part before
/// it (systemd.slice(5)).
fn slice_path(slice: &str) -> PathBuf {
    let Some(name) = slice.strip_suffix(".slice").filter(|name| *name != "-") else {
        return PathBuf::new();
    };
    let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    ends.map(|end| format!("{}.slice", &name[..end])).collect()
}

/// Why a start that was cancelled did not do it.
const OVER: &str = "the right to serve is over";
/// For one question to systemd, which may be busy: nothing else is done to the unit meanwhile.
const SHOW_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_below_those_that_its_name_begins_with() {
        assert_eq!(slice_path("system.slice"), PathBuf::from("system.slice"));
        let nested = "system.slice/system-postgresql.slice";
        assert_eq!(slice_path("system-postgresql.slice"), PathBuf::from(nested));
        assert_eq!(slice_path("-.slice"), PathBuf::new(), "the root's");
    }
}
