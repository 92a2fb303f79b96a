//! Disks of a test's own that fill up or fail. They need root; without it a test says so and ends.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of 13 MiB in memory, gone when it is dropped.
pub(crate) struct Small {
    folder: tempfile::TempDir,
}

impl Small {
    pub(crate) fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let mounted = root("to mount a small tmpfs")
            .and_then(|()| run("mount", &["-t", "tmpfs", "-o", "size=13m", "tmpfs", path]));
        mounted.map(|_| Self { folder }).map_err(ha_lab::skip).ok()
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes so many bytes, or all that are left.
    pub(crate) fn load(&self, bytes: usize) {
        // Less than that is what a full disk is.
        let _ = fs::write(self.ballast(), vec![1; bytes]);
    }

    pub(crate) fn unload(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

/// An ext4 of 32 MiB on a loop device, whose end can break off: what is written there ends in EIO
/// at the fsync. Gone when it is dropped.
pub(crate) struct Failing {
    folder: tempfile::TempDir,
    image: PathBuf,
    device: Option<String>,
    mounted: bool,
    /// The end that broke off.
    lost: Vec<u8>,
}

impl Failing {
    /// With all its content in a file of `small`: once that is full, an fsync finds no room.
    pub(crate) fn mount(small: Option<&Small>) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let image = small.map_or(folder.path(), Small::path).join("image");
        let mut disk = Self { folder, image, device: None, mounted: false, lost: Vec::new() };
        disk.prepare().map_err(ha_lab::skip).ok()?;
        Some(disk)
    }

    fn prepare(&mut self) -> Result<(), String> {
        root("for a loop device")?;
        File::create(&self.image).unwrap().set_len(SIZE).unwrap();
        let image = self.image.to_str().unwrap().to_owned();
        let plain = ["-q", "-F", "-b", "4096", "-O", "^has_journal"];
        let eager = ["-E", "lazy_itable_init=0,nodiscard", &image];
        run("mkfs.ext4", &[&plain[..], &eager[..]].concat())?;
        self.device = Some(run("losetup", &["-f", "--show", &image])?.trim().to_owned());
        fs::create_dir(self.path()).unwrap();
        self.attach()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// The disk ends behind the last place where `mark` lies, to the next 4 KiB.
    pub(crate) fn break_off_behind(&mut self, mark: &[u8]) {
        run("sync", &["-f", self.path().to_str().unwrap()]).unwrap();
        let content = fs::read(&self.image).unwrap();
        let found = content.windows(mark.len()).rposition(|place| place == mark);
        let end = (found.expect("it was written") + mark.len()).next_multiple_of(4096);
        self.lost = content[end..].to_vec();
        self.resize(end as u64);
    }

    /// The end is there again, as it was. Nobody may use the file system meanwhile.
    pub(crate) fn heal(&mut self) {
        run("umount", &[self.path().to_str().unwrap()]).unwrap();
        self.mounted = false;
        let image = File::options().write(true).open(&self.image).unwrap();
        image.write_all_at(&self.lost, SIZE - self.lost.len() as u64).unwrap();
        self.resize(SIZE);
        self.attach().unwrap();
    }

    fn attach(&mut self) -> Result<(), String> {
        let device = self.device.as_ref().expect("it is attached to its file");
        run("mount", &["-t", "ext4", device, self.path().to_str().unwrap()])?;
        self.mounted = true;
        Ok(())
    }

    fn resize(&self, len: u64) {
        File::options().write(true).open(&self.image).unwrap().set_len(len).unwrap();
        let device = self.device.as_ref().expect("it is attached to its file");
        run("losetup", &["-c", device]).unwrap();
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").arg("-l").arg(self.path()).status();
        }
        if let Some(device) = &self.device {
            let _ = Command::new("losetup").arg("-d").arg(device).status();
        }
    }
}

/// Larger than a few files of a log.
const SIZE: u64 = 32 << 20;

fn root(what: &str) -> Result<(), String> {
    // The owner of a process's folder is its effective user.
    match fs::metadata("/proc/self").unwrap().uid() {
        0 => Ok(()),
        _ => Err(format!("root, {what}")),
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let ended = Command::new(program).args(arguments).output();
    let ended = ended.map_err(|error| format!("{program}: {error}"))?;
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        return Err(format!("{program} {}: {}", arguments.join(" "), said.trim()));
    }
    Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
}
