//! The processes of a module as one thing: frozen, killed and proved gone together.

use core::time::Duration;
use std::format;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;
use std::process::Command;
use std::string::String;

use ha_proto::Instant;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountFlags, mount};

use crate::driver::Clock;

/// A control group of version 2, where a module's processes run and whatever they start. No process
/// leaves it by itself, so an empty one is the proof that all have ended.
///
/// Dropping it changes nothing: the processes outlive the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    folder: PathBuf,
}

/// What systemd tells its daemon: a child that had it could speak in the daemon's name. And what
/// one process of a farm's daemon tells the next: a daemon that a script begins is not that one.
pub(super) const FOR_THE_DAEMON_ONLY: [&str; 5] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "HA_FARM_UNTOLD", "HA_FARM_FOLLOWED"];

impl Cgroup {
    /// The folder of this process's own group, below which it may make others; mounts the
    /// hierarchy at [`MOUNT`] where nobody has.
    ///
    /// # Errors
    /// The kernel has no cgroup v2, or it is not mounted and this process may not mount it.
    pub fn home() -> io::Result<PathBuf> {
        let groups = fs::read_to_string("/proc/self/cgroup")?;
        let own = own_path(&groups).ok_or_else(|| {
            io::Error::new(ErrorKind::Unsupported, "this kernel has no cgroup v2")
        })?;
        Ok(Self::root()?.join(own))
    }

    /// The folder of the group that holds all others; mounts the hierarchy at [`MOUNT`] where
    /// nobody has.
    ///
    /// # Errors
    /// It is not mounted and this process may not mount it.
    pub fn root() -> io::Result<PathBuf> {
        if let Some(root) = mounted(&fs::read_to_string("/proc/self/mounts")?) {
            return Ok(root);
        }
        Self::mount_at(Path::new(MOUNT))?;
        Ok(MOUNT.into())
    }

    /// Mounts the hierarchy of version 2 at a folder, which is made.
    ///
    /// # Errors
    /// The folder cannot be made, or this process may not mount.
    pub fn mount_at(folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("cgroup2", folder, "cgroup2", flags, None).map_err(|error| {
            let error = io::Error::from(error);
            let text = format!("cannot mount cgroup v2 at {}: {error}", folder.display());
            io::Error::new(error.kind(), text)
        })
    }

    /// The group of this name below `parent`, made if it is not there.
    ///
    /// # Errors
    /// It cannot be made, or the kernel is older than 5.14 and could not kill it.
    pub fn make(parent: &Path, name: &str) -> io::Result<Self> {
        let folder = parent.join(name);
        fs::create_dir_all(&folder)?;
        Self::open(folder)
    }

    /// A group that is there.
    ///
    /// # Errors
    /// `NotFound`: there is no such folder. Else it is no group that can be frozen and killed.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        if !folder.is_dir() {
            let text = format!("there is no control group {}", folder.display());
            return Err(io::Error::new(ErrorKind::NotFound, text));
        }
        for file in ["cgroup.events", "cgroup.freeze", "cgroup.kill"] {
            if !folder.join(file).exists() {
                let text = format!("{} has no {file}: it needs Linux 5.14", folder.display());
                return Err(io::Error::new(ErrorKind::Unsupported, text));
            }
        }
        Ok(Self { folder })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A command that joins the group before it becomes `program`, so that nothing of it ever runs
    /// outside. It ends with the code [`NOT_JOINED`] when it cannot.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", JOIN]).arg(self.folder.join("cgroup.procs")).arg(program);
        for name in FOR_THE_DAEMON_ONLY {
            command.env_remove(name);
        }
        command
    }

    /// Whether no process is in it or below. One that ended and was not waited for is gone.
    ///
    /// # Errors
    /// The group was removed.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(!Events::open(self)?.read()?.populated)
    }

    /// Waits until it is empty, for `timeout` at most; whether it is.
    ///
    /// # Errors
    /// The group was removed.
    pub fn wait_empty(&self, timeout: Duration) -> io::Result<bool> {
        Events::open(self)?.wait(timeout, |state| !state.populated)
    }

    /// Kills every process in it and below, those that are being forked and those that are frozen
    /// too. They are gone a moment later: [`wait_empty`](Self::wait_empty).
    ///
    /// # Errors
    /// The group was removed, or belongs to somebody else.
    pub fn kill(&self) -> io::Result<()> {
        self.write("cgroup.kill", "1")
    }

    /// Freezes all of it. Whatever joins later is frozen as well. It holds a moment later:
    /// [`wait_frozen`](Self::wait_frozen).
    ///
    /// # Errors
    /// The group was removed, or belongs to somebody else.
    pub fn freeze(&self) -> io::Result<()> {
        self.write("cgroup.freeze", "1")
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// The group was removed, or belongs to somebody else.
    pub fn thaw(&self) -> io::Result<()> {
        self.write("cgroup.freeze", "0")
    }

    /// Whether it was told to freeze, by whomever, and not to go on since.
    ///
    /// # Errors
    /// The group was removed.
    pub fn is_frozen(&self) -> io::Result<bool> {
        let text = fs::read_to_string(self.folder.join("cgroup.freeze"))?;
        Ok(text.trim_end() == "1")
    }

    /// Waits until nothing in it runs any more, for `timeout` at most; whether that is so.
    ///
    /// # Errors
    /// The group was removed.
    pub fn wait_frozen(&self, timeout: Duration) -> io::Result<bool> {
        Events::open(self)?.wait(timeout, |state| state.frozen || !state.populated)
    }

    /// Removes the group; one that is not there is no error.
    ///
    /// # Errors
    /// It is not empty.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        let path = self.folder.join(file);
        fs::write(&path, text).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
        })
    }
}

/// Where the hierarchy is mounted when nobody has mounted it.
pub const MOUNT: &str = "/run/ha-node/cgroup";

/// The exit code of a command that could not join its group.
pub const NOT_JOINED: i32 = 125;

/// What the shell does before it becomes the program; `$0` is where it joins.
const JOIN: &str = r#"echo $$ > "$0" || exit 125; exec "$@""#;

/// What the kernel tells of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    populated: bool,
    frozen: bool,
}

/// `cgroup.events`, which rings when it changes.
struct Events(File);

impl Events {
    fn open(group: &Cgroup) -> io::Result<Self> {
        Ok(Self(File::open(group.folder.join("cgroup.events"))?))
    }

    fn read(&mut self) -> io::Result<State> {
        let mut text = String::new();
        self.0.rewind()?;
        self.0.read_to_string(&mut text)?;
        Ok(state(&text))
    }

    fn wait(&mut self, timeout: Duration, done: impl Fn(State) -> bool) -> io::Result<bool> {
        let clock = Clock::start();
        loop {
            // Read first: a change after that rings.
            if done(self.read()?) {
                return Ok(true);
            }
            let left = timeout.saturating_sub(clock.now().saturating_since(Instant::ZERO));
            if left.is_zero() {
                return Ok(false);
            }
            let left = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 3600, tv_nsec: 0 });
            match poll(&mut [PollFd::new(&self.0, PollFlags::PRI)], Some(&left)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn state(events: &str) -> State {
    let is = |line| events.lines().any(|there| there == line);
    State { populated: is("populated 1"), frozen: is("frozen 1") }
}

/// This process's path in the hierarchy of version 2, without the slash before it.
fn own_path(cgroup: &str) -> Option<&str> {
    cgroup.lines().find_map(|line| line.strip_prefix("0::/"))
}

fn mounted(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (place, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(place))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_is_where_the_kernel_says() {
        let mounts = "proc /proc proc rw 0 0\n\
            cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
            cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";
        assert_eq!(mounted(mounts), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mounted("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"), None);
        let own = "1:cpu:/\n0::/system.slice/ha-node.service\n";
        assert_eq!(own_path(own), Some("system.slice/ha-node.service"));
        assert_eq!(own_path("0::/\n"), Some(""));
        assert_eq!(own_path("4:memory:/a\n"), None);
    }

    #[test]
    fn the_state_is_read_whatever_stands_beside_it() {
        let is = |populated, frozen| State { populated, frozen };
        assert_eq!(state("populated 0\nfrozen 0\n"), is(false, false));
        assert_eq!(state("populated 1\nfrozen 0\n"), is(true, false));
        assert_eq!(state("frozen 1\nnew 7\npopulated 1\n"), is(true, true));
    }

    #[test]
    fn a_folder_that_is_no_group_says_what_it_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let error = Cgroup::open(folder.path().into()).unwrap_err();
        assert!(
            error.to_string().ends_with("has no cgroup.events: it needs Linux 5.14"),
            "{error}"
        );
    }
}
