//! A control group of the lab's own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::within;

/// A control group (version 2) at the root of the hierarchy. Dropping it kills what runs in it and
/// in all groups below, and removes them.
#[derive(Debug)]
pub(crate) struct Group {
    folder: PathBuf,
}

impl Group {
    /// Makes it.
    ///
    /// # Errors
    /// No hierarchy is mounted, or the kernel refuses the group.
    pub(crate) fn make(name: &str) -> io::Result<Self> {
        let root = root().ok_or_else(|| io::Error::other("no cgroup v2 is mounted"))?;
        let folder = root.join(name);
        fs::create_dir(&folder)?;
        Ok(Self { folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !remove(&self.folder) {
            eprintln!("{} is left", self.folder.display());
        }
    }
}

/// Where the hierarchy of version 2 is mounted.
pub(crate) fn root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (_device, place, kind) = (words.next()?, words.next()?, words.next()?);
        (kind == "cgroup2").then(|| place.into())
    })
}

/// Kills what runs in a group and below, and removes it; says whether it is gone.
pub(crate) fn remove(folder: &Path) -> bool {
    // It may be gone, or be none that can be killed: then it cannot be removed either.
    let _ = fs::write(folder.join("cgroup.kill"), "1");
    within(KILL_MAX, || {
        remove_below(folder);
        !folder.exists()
    })
}

/// Children first; what is not empty yet stays.
fn remove_below(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}

/// How long killed processes may take to go.
const KILL_MAX: Duration = Duration::from_secs(5);
