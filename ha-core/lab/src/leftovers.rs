//! What labs of processes that are gone left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::disk;
use crate::group;
use crate::namespace::Namespace;

/// The name of a new lab: `halab-<process>-<number>`. No two that live have the same.
pub(crate) fn fresh_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{}-{number}", process::id())
}

/// The folder of a lab, where the output of its programs is kept.
pub(crate) fn folder(lab: &str, test: &str) -> PathBuf {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let test: String = test.chars().map(plain).take(TEST_NAME_MAX).collect();
    std::env::temp_dir().join(format!("{lab}-{test}"))
}

/// Removes the namespaces, control groups, disks and folders of labs whose process is gone. Another
/// process may sweep at the same time: whatever vanishes meanwhile is well.
pub(crate) fn sweep() {
    for name in dead(Path::new(Namespace::FOLDER)) {
        let _ = Namespace::named(name).remove();
    }
    if let Some(groups) = group::root() {
        for name in dead(&groups) {
            let _ = group::remove(&groups.join(name));
        }
    }
    let folders = std::env::temp_dir();
    // Before their process is gone: as long as its threads wait for a disk that hangs it cannot go.
    for name in made(&folders, |pid| !runs(pid)) {
        disk::unmount(&folders.join(name));
    }
    for name in dead(&folders) {
        let _ = fs::remove_dir_all(folders.join(name));
    }
}

/// What begins the name of everything that a lab makes.
const PREFIX: &str = "halab-";

/// Of a test's name in the folder's: enough to know it, far from the 255 bytes of a name.
const TEST_NAME_MAX: usize = 60;

fn dead(folder: &Path) -> Vec<String> {
    made(folder, |pid| !lives(pid))
}

/// What labs made in a folder, by processes of which that is true.
fn made(folder: &Path, by: fn(u32) -> bool) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| maker(name).is_some_and(by)).collect()
}

/// The process that made what has this name; `None` when no lab did.
fn maker(name: &str) -> Option<u32> {
    let (pid, rest) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let numbered = rest.starts_with(|c: char| c.is_ascii_digit());
    if numbered { pid.parse().ok() } else { None }
}

fn lives(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Whether it lives and was not killed.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_maker_and_differ() {
        let (one, two) = (fresh_name(), fresh_name());
        assert_ne!(one, two);
        assert_eq!(maker(&one), Some(process::id()));
        assert!(lives(process::id()) && runs(process::id()));
        let folder = folder(&one, "a/b::c d");
        let folder = folder.file_name().unwrap().to_str().unwrap();
        assert_eq!(folder, format!("{one}-a-b--c-d"));
        assert_eq!(maker(folder), Some(process::id()));
    }

    #[test]
    fn what_no_lab_made_has_no_maker() {
        for name in ["", "halab-", "halab-12", "halab-x-1", "halab-12-", "halab-12-x", "other-12-1"]
        {
            assert_eq!(maker(name), None, "{name}");
        }
        assert_eq!(maker("halab-12-0-a"), Some(12));
    }
}
