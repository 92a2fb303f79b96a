//! A program that runs on a host.

use std::fs;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};

use crate::clock::within;
use crate::output::Output;

/// A program that runs on a host, in a process group of its own. Dropping it kills the group; after
/// a panic of the test the end of its output is printed. Whatever left the group dies with the lab.
///
/// One that has ended stays a zombie until the drop, so that no signal can reach a stranger that
/// got its number.
#[derive(Debug)]
pub struct Process {
    label: String,
    child: Child,
    output: Output,
}

impl Process {
    /// Starts it; `label` names its output in `folder`.
    pub(crate) fn spawn(mut command: Command, label: &str, folder: &Path) -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (output, writer) = Output::make(&folder.join(format!("{label}-{number}.log")))?;
        command.process_group(0).stdin(Stdio::null());
        command.stdout(writer.try_clone()?).stderr(writer);
        let child = command
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{label}: {error}")))?;
        Ok(Self { label: label.to_owned(), child, output })
    }

    /// Its number, which is its group's too.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How long its threads have waited for a core so far, in all.
    ///
    /// # Errors
    /// It has ended.
    pub fn waited(&self) -> io::Result<Duration> {
        let mut nanos = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid()))? {
            // A thread may have ended meanwhile.
            let told = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            nanos += told.split(' ').nth(1).and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Kills the process (`SIGKILL`) and leaves what it started running.
    ///
    /// # Errors
    /// The kernel refuses it. One that has ended is no error.
    pub fn kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL)
    }

    /// Kills the process and its whole group.
    ///
    /// # Errors
    /// The kernel refuses it. A group that has ended is no error.
    pub fn kill_group(&self) -> io::Result<()> {
        Ok(kill_process_group(self.number(), Signal::KILL)?)
    }

    /// Asks it to end (`SIGTERM`).
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Asks it to read its configuration again (`SIGHUP`).
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn hang_up(&self) -> io::Result<()> {
        self.signal(Signal::HUP)
    }

    /// Stops the process (`SIGSTOP`), and nothing that it started.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn stop(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on (`SIGCONT`).
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn cont(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Stops the process and its whole group, for a daemon of several processes.
    ///
    /// # Errors
    /// The kernel refuses it. A group that has ended is no error.
    pub fn stop_group(&self) -> io::Result<()> {
        Ok(kill_process_group(self.number(), Signal::STOP)?)
    }

    /// How it ended; `None` while it runs or is stopped.
    ///
    /// # Errors
    /// The kernel cannot tell.
    pub fn ended(&self) -> io::Result<Option<ExitStatus>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let Some(status) = waitid(WaitId::Pid(self.number()), options)? else { return Ok(None) };
        let exited = status.exit_status().map(|code| code << 8);
        Ok(exited.or(status.terminating_signal()).map(ExitStatus::from_raw))
    }

    /// How it ended, within `timeout`; `None` when it still runs then.
    ///
    /// # Errors
    /// The kernel cannot tell.
    pub fn wait(&self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        within(timeout, || !matches!(self.ended(), Ok(None)));
        self.ended()
    }

    /// What it and its group printed until now, both streams in one, 1 MiB at most. The last of it
    /// may come a moment after its end: [`wait_for`](Self::wait_for) waits.
    pub fn output(&self) -> String {
        self.output.text()
    }

    /// Waits until `text` is in its output; says whether it came within `timeout`. Gives up before
    /// when it and all that it started have ended.
    pub fn wait_for(&self, text: &str, timeout: Duration) -> bool {
        within(timeout, || self.output.is_over() || self.output().contains(text));
        self.output().contains(text)
    }

    fn number(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(self.number(), signal)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let group = self.number();
        // Nobody can be told in a drop; the lab's end kills what this could not.
        let _ = self.kill_group();
        within(KILL_MAX, || !group_lives(group));
        let _ = self.child.wait();
        if thread::panicking() {
            let output = self.output();
            let lines: Vec<&str> = output.lines().collect();
            let last = &lines[lines.len().saturating_sub(TAIL)..];
            eprintln!("--- {} said last:\n{}\n---", self.label, last.join("\n"));
        }
    }
}

/// How long a killed process may take to go: it may be writing to a slow disk.
const KILL_MAX: Duration = Duration::from_secs(5);

/// Lines of output that are shown after a panic: what a terminal holds.
const TAIL: usize = 40;

/// Whether a process of the group still runs. Zombies do not.
fn group_lives(group: Pid) -> bool {
    let Ok(entries) = fs::read_dir("/proc") else { return false };
    entries.flatten().any(|entry| {
        let stat = fs::read_to_string(entry.path().join("stat"));
        stat.is_ok_and(|stat| runs_in(&stat, group.as_raw_nonzero().get()))
    })
}

/// Whether `/proc/PID/stat` tells of a process of this group that runs.
fn runs_in(stat: &str, group: i32) -> bool {
    // The name comes in parentheses and may hold anything, parentheses and spaces too.
    let Some((_name, rest)) = stat.rsplit_once(") ") else { return false };
    let mut words = rest.split(' ');
    let (state, _parent, its) = (words.next(), words.next(), words.next());
    let gone = matches!(state, Some("Z" | "X"));
    !gone && its.and_then(|its| its.parse().ok()) == Some(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_the_third_word_after_the_name() {
        assert!(runs_in("12 (sh) S 1 7 7 0 -1", 7));
        assert!(runs_in("12 (a) b) (c) T 1 7 7 0 -1", 7));
        assert!(!runs_in("12 (sh) Z 1 7 7 0 -1", 7));
        assert!(!runs_in("12 (7) S 1 8 7 0 -1", 7));
        assert!(!runs_in("", 7));
    }
}
