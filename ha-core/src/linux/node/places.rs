//! Where a node keeps its files unless it is told otherwise, and how much scripts may print.

use std::format;
use std::path::{Path, PathBuf};
use std::string::String;

/// What survives a boot.
pub(super) fn state() -> PathBuf {
    "/var/lib/ha-node".into()
}

/// What only this boot needs.
pub(super) fn run() -> PathBuf {
    "/run/ha-node".into()
}

/// What scripts print.
pub(super) fn log() -> PathBuf {
    "/var/log/ha-node".into()
}

/// Bytes of a file of that.
pub(super) const fn log_bytes() -> u64 {
    10 << 20
}

/// The first of these fields that cannot be so, and why: folders, and the bytes of a file of what
/// scripts print.
pub(super) fn wrong(
    folders: [(&'static str, &Path); 3],
    bytes: u64,
) -> Option<(&'static str, String)> {
    let (least, most) = (4 << 10, 1 << 30);
    if !(least..=most).contains(&bytes) {
        let what = format!("log_bytes is {bytes}: it must be {least} to {most} bytes");
        return Some(("log_bytes", what));
    }
    let (field, path) = folders.into_iter().find(|(_, path)| !path.is_absolute())?;
    Some((field, format!("{field} is {}: name it from / on", path.display())))
}
