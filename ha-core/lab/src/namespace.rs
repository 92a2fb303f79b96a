//! One network namespace.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, getpid, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::clock::within;
use crate::tool;

/// A network namespace with a name, as `ip netns` makes them. A handle: dropping it does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// Where `ip netns` keeps the names.
    pub(crate) const FOLDER: &str = "/run/netns";

    /// The one of this name, whether it is there or not.
    pub(crate) fn named(name: String) -> Self {
        Self { name }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn path(&self) -> PathBuf {
        Path::new(Self::FOLDER).join(&self.name)
    }

    /// Makes it, with its loopback up.
    pub(crate) fn make(&self) -> io::Result<()> {
        tool::run(Command::new("ip").args(["netns", "add", &self.name]), "")?;
        self.ip("link set lo up\n")
    }

    /// Runs `ip` commands in it, one a line.
    pub(crate) fn ip(&self, commands: &str) -> io::Result<()> {
        tool::ip(&self.name, commands).map(drop)
    }

    /// What one `ip` command in it prints.
    pub(crate) fn ip_show(&self, arguments: &[&str]) -> io::Result<String> {
        tool::ip_show(&self.name, arguments)
    }

    /// A command that runs `program` in it. Its process is the program's own: `nsenter` replaces
    /// itself.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    /// Likewise, ahead of programs that did not ask to be ahead too, where the machine allows it:
    /// for the lab's own instruments, which must not suffer from the load that they are to measure.
    pub(crate) fn first_command(&self, program: &Path) -> Command {
        if !goes_first() {
            return self.command(program);
        }
        let mut command = self.command(Path::new("chrt"));
        command.args(FIRST).arg(program);
        command
    }

    /// Calls `work` on a thread that is in the namespace. Sockets made there stay there.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let file = File::open(self.path())?;
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(work())
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Sets a variable of the kernel, as `sysctl` names it.
    pub(crate) fn sysctl(&self, name: &str, value: &str) -> io::Result<()> {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        let told = |error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
        self.inside(|| fs::write(path, value))?.map_err(told)
    }

    /// Kills whatever runs in it and removes it; well when it is not there.
    pub(crate) fn remove(&self) -> io::Result<()> {
        if !self.path().exists() {
            return Ok(());
        }
        let empty = within(KILL_MAX, || {
            let inhabitants = self.inhabitants();
            for pid in &inhabitants {
                // It may have gone by itself since.
                let _ = kill_process(*pid, Signal::KILL);
            }
            inhabitants.is_empty()
        });
        // It goes all the same: then it has no name any more, and ends with its last process.
        tool::run(Command::new("ip").args(["netns", "delete", &self.name]), "")?;
        if empty { Ok(()) } else { Err(io::Error::other("a process in it cannot be killed")) }
    }

    /// The processes in it, zombies and this one apart.
    fn inhabitants(&self) -> Vec<Pid> {
        let Ok(this) = fs::metadata(self.path()) else { return Vec::new() };
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let lives_here = |pid: &Pid| {
            let namespace = fs::metadata(format!("/proc/{}/ns/net", pid.as_raw_nonzero()));
            namespace.is_ok_and(|that| (that.dev(), that.ino()) == (this.dev(), this.ino()))
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let pids = names.filter_map(|name| Pid::from_raw(name.parse().ok()?));
        pids.filter(|pid| *pid != getpid()).filter(lives_here).collect()
    }
}

/// Half of the real-time priorities are above it, for programs under test that want to be first.
const FIRST: [&str; 2] = ["--fifo", "50"];

/// Whether the machine lets a process go ahead of others: not in every container.
fn goes_first() -> bool {
    static GOES: OnceLock<bool> = OnceLock::new();
    *GOES.get_or_init(|| tool::run(Command::new("chrt").args(FIRST).arg("true"), "").is_ok())
}

/// How long a killed process may take to go: it may be writing to a slow disk.
const KILL_MAX: Duration = Duration::from_secs(5);
