//! Groups of processes for tests, and what is seen of them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ha_core::driver::Clock;
use ha_core::linux::cgroup::Cgroup;
use ha_core::proto::Instant;

/// How long anything may take that is expected to come.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A folder of groups that only this test uses; gone with all its processes at the drop.
pub(crate) struct Groups(pub(crate) Cgroup);

impl Groups {
    /// `None`, said once, where tests cannot have any.
    pub(crate) fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !ha_lab::root_or_skip() {
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("ha-test-{}-{number}", std::process::id());
        Some(Self(Cgroup::make(&Cgroup::home().unwrap(), &name).unwrap()))
    }

    pub(crate) fn group(&self, name: &str) -> Cgroup {
        Cgroup::make(self.0.folder(), name).unwrap()
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        let _ = self.0.thaw();
        let _ = self.0.kill();
        let _ = self.0.wait_empty(SOON);
        remove(self.0.folder());
    }
}

/// Removes a group and all below.
fn remove(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}

/// Waits until `done`; panics when it takes longer than [`SOON`].
pub(crate) fn wait(what: &str, done: impl Fn() -> bool) {
    let clock = Clock::start();
    while !done() {
        assert!(clock.now() < Instant::ZERO + SOON, "never seen: {what}");
        std::thread::yield_now();
    }
}

/// Runs a shell command in a group, to its end.
pub(crate) fn run(group: &Cgroup, script: &str) {
    let status: std::process::ExitStatus =
        group.command(Path::new("/bin/sh")).args(["-c", script]).status().unwrap();
    assert!(status.success(), "{script}: {status}");
}

/// A process in a group that counts into `file` as long as it runs, left behind by its parent in a
/// session of its own.
pub(crate) fn counter(group: &Cgroup, file: &Path) {
    let script = format!(
        "setsid sh -c 'i=0; while :; do i=$((i+1)); echo $i > {0}.new; mv {0}.new {0}; \
         sleep 0.002; done' < /dev/null > /dev/null 2>&1 &",
        file.display()
    );
    run(group, &script);
    wait("a counter that counts", || count(file) > 0);
}

/// How far a counter is.
pub(crate) fn count(file: &Path) -> u64 {
    fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Does nothing for a moment, in a way that takes real time: what is asked for must *not* happen.
pub(crate) fn pause(moment: &str) {
    assert!(Command::new("sleep").arg(moment).status().unwrap().success());
}
