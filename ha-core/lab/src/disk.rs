//! A file system that can be made to hang.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::leftovers;
use crate::skip::{installed_or_skip, root_or_skip, skip};
use crate::tool;

/// An ext4 of its own on a loop device. It can be frozen: then whoever writes there, or syncs,
/// waits and cannot be killed, as with a disk that answers no more; reads go on. Dropping it thaws
/// and removes it: whoever uses it must have ended before.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
}

/// As long as it lives the file system is frozen.
#[derive(Debug)]
pub struct Frozen<'a>(&'a Disk);

impl Disk {
    /// Makes one, after what dead tests left was swept; `None`, said aloud, where this process is
    /// not root, or this machine has no loop device to give. The name of the test is for people.
    ///
    /// # Panics
    /// With `CI` in the environment, when there can be none: none is skipped there.
    pub fn root_or_skip(test: &str) -> Option<Self> {
        if !root_or_skip() || !installed_or_skip(&["mkfs.ext4", "mount", "fsfreeze"]) {
            return None;
        }
        Self::make(test).inspect_err(|error| skip(format!("a loop device: {error}"))).ok()
    }

    fn make(test: &str) -> io::Result<Self> {
        leftovers::sweep();
        let disk = Self { folder: leftovers::folder(&leftovers::fresh_name(), test) };
        fs::create_dir(&disk.folder)?;
        fs::create_dir(disk.path())?;
        let image = disk.folder.join("image");
        File::create(&image)?.set_len(SIZE)?;
        let mut mkfs = Command::new("mkfs.ext4");
        mkfs.args(["-q", "-F", "-E", "lazy_itable_init=0,nodiscard"]).arg(&image);
        tool::run(&mut mkfs, "")?;
        // A look at a file writes nothing, so it does not wait for a disk that hangs.
        let mut mount = Command::new("mount");
        mount.args(["-t", "ext4", "-o", "loop,noatime"]).arg(&image).arg(disk.path());
        tool::run(&mut mount, "")?;
        Ok(disk)
    }

    /// Where it is mounted; empty but for `lost+found`.
    pub fn path(&self) -> PathBuf {
        self.folder.join(MOUNTED)
    }

    /// It hangs from now on. What was written before is on the disk.
    ///
    /// # Errors
    /// `fsfreeze` fails: it hangs already.
    pub fn freeze(&self) -> io::Result<Frozen<'_>> {
        tool::run(Command::new("fsfreeze").arg("--freeze").arg(self.path()), "")?;
        Ok(Frozen(self))
    }
}

impl Frozen<'_> {
    /// It works again.
    pub fn thaw(self) {
        drop(self);
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        thaw(&self.0.path());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.folder);
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("{} is left: {error}", self.folder.display());
        }
    }
}

/// Takes off what a disk mounted in its folder, if it did: what is frozen would hold up whoever
/// removes it, for good.
pub(crate) fn unmount(folder: &Path) {
    let place = folder.join(MOUNTED);
    // As the kernel names it: the folder of temporary files may be a link to another one.
    let place = fs::canonicalize(&place).unwrap_or(place);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    if mounts.lines().any(|line| line.split(' ').nth(1) == place.to_str()) {
        thaw(&place);
        // It goes when nobody uses it any more, and the loop device with it.
        if let Err(error) = tool::run(Command::new("umount").arg("--lazy").arg(&place), "") {
            eprintln!("{} is left: {error}", place.display());
        }
    }
}

/// One that is not frozen stays as it is.
fn thaw(place: &Path) {
    let _ = tool::run(Command::new("fsfreeze").arg("--unfreeze").arg(place), "");
}

/// Where it is mounted in its folder.
const MOUNTED: &str = "mounted";

/// Larger than a few files of a log.
const SIZE: u64 = 64 << 20;
