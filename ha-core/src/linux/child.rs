//! A child process that is waited for in bounds.

use core::time::Duration;
use std::io;
use std::os::fd::OwnedFd;
use std::prelude::rust_2024::*;
use std::process::{Child, ExitStatus};

use ha_proto::{Epoch, Instant};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::gate::Gate;
use crate::driver::Clock;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By itself.
    Exited(ExitStatus),
    /// Killed when its time was over.
    Overran,
    /// Killed when its reign was.
    Cancelled,
}

/// Waits for the end of a child that leads a process group, and kills the group when its time is
/// over, or when one of the gates closes to a reign. What left the group stays.
pub(super) fn end(child: &mut Child, limit: Duration, gates: &[(&Gate, Epoch)]) -> io::Result<End> {
    let clock = Clock::start();
    let pid = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(End::Exited(status));
        }
        if gates.iter().any(|(gate, epoch)| gate.listen(*epoch)) {
            kill(child, &pid)?;
            return Ok(End::Cancelled);
        }
        let left = limit.saturating_sub(since(clock));
        if left.is_zero() {
            kill(child, &pid)?;
            return Ok(End::Overran);
        }
        let bells = gates.iter().map(|(gate, _)| gate.bell());
        wait_for(&core::iter::once(&pid).chain(bells).collect::<Vec<_>>(), left)?;
    }
}

/// Waits for the end of a child, for `limit` at most; whether it has ended. One that has not goes
/// on.
pub(super) fn leave(child: &mut Child, limit: Duration) -> io::Result<bool> {
    let pid = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    wait_for(&[&pid], limit)?;
    Ok(child.try_wait()?.is_some())
}

/// The time since a clock began.
pub(super) fn since(clock: Clock) -> Duration {
    clock.now().saturating_since(Instant::ZERO)
}

/// How long killed processes may take to go: they may be writing to a slow disk.
pub(super) const KILL_MAX: Duration = Duration::from_secs(10);

fn kill(child: &mut Child, pid: &OwnedFd) -> io::Result<()> {
    // One that has gone meanwhile is as good.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    // Reaped if it goes in time, and never waited for without a bound.
    wait_for(&[pid], KILL_MAX)?;
    child.try_wait().map(drop)
}

/// Waits until one of them is readable, for `timeout` at most.
pub(super) fn wait_for(files: &[&OwnedFd], timeout: Duration) -> io::Result<()> {
    let timeout = Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: 3600, tv_nsec: 0 });
    let mut files: Vec<_> = files.iter().map(|file| PollFd::new(*file, PollFlags::IN)).collect();
    match poll(&mut files, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
