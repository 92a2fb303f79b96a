//! An executable that looks.

use core::time::Duration;
use std::format;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::CommandExt;
use std::prelude::rust_2024::*;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::string::String;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::{Surroundings, told};
use crate::driver::watch;
use crate::linux::child::leave;

/// A command, and the child of it that was killed and not seen to end.
pub(super) struct Executable {
    command: Vec<String>,
    checker: String,
    module: String,
    around: Surroundings,
    left: Arc<Mutex<Option<Child>>>,
}

/// A child that leads a process group. Dropping it kills the group.
struct Running {
    child: Option<Child>,
    left: Arc<Mutex<Option<Child>>>,
}

impl Executable {
    pub(super) fn new(
        command: Vec<String>,
        checker: &str,
        module: &str,
        around: Surroundings,
    ) -> Self {
        let (checker, module, left) = (checker.into(), module.into(), Arc::default());
        Self { command, checker, module, around, left }
    }

    /// Runs it to its end, once nothing of an earlier look is left.
    pub(super) async fn run(&self) -> Result<(), String> {
        let before = self.left.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(child) = before {
            self.running(child).end().await?;
        }
        let child = self.spawn().map_err(told(&self.command[0]))?;
        let status = self.running(child).end().await?;
        if status.success() { Ok(()) } else { Err(format!("{status}")) }
    }

    fn running(&self, child: Child) -> Running {
        Running { child: Some(child), left: Arc::clone(&self.left) }
    }

    fn spawn(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        command.env("HA_MODULE", &self.module).env("HA_NODE", &self.around.node);
        command.env("HA_CHECKER", &self.checker).env("HA_ACTION", "check");
        command.current_dir(&self.around.folder).process_group(0).stdin(Stdio::null());
        let output = || {
            // Opened in both directions: it never waits for a reader.
            let open = |path| OpenOptions::new().read(true).write(true).open(path);
            self.around.output.as_ref().map_or(Ok(Stdio::null()), |path| open(path).map(Into::into))
        };
        command.stdout(output()?).stderr(output()?).spawn()
    }
}

impl Drop for Executable {
    /// The process may become another program, which knows of no child: what was killed has gone.
    fn drop(&mut self) {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut child) = left {
            // One that hangs in the kernel goes when it can.
            let _ = leave(&mut child, REAP_MAX);
        }
    }
}

impl Running {
    async fn end(mut self) -> Result<ExitStatus, String> {
        let child = self.child.as_mut().expect("it is there until it ended");
        let pid = pidfd_open(Pid::from_child(child), PidfdFlags::empty());
        let pid = pid.map_err(|error| told("no pidfd")(error.into()))?;
        let pid = watch(pid).map_err(told("no pidfd"))?;
        loop {
            let mut ready = pid.readable().await.map_err(told("pidfd"))?;
            if let Some(status) = child.try_wait().map_err(told("its end"))? {
                self.child = None;
                return Ok(status);
            }
            ready.clear_ready();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // Not reaped, so the number is still its own.
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        if !matches!(child.try_wait(), Ok(Some(_))) {
            // It goes in a moment: who looks next waits for that.
            *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        }
    }
}

/// How long a killed process may take to go before nobody waits for it any more.
const REAP_MAX: Duration = Duration::from_millis(100);
