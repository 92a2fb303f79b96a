//! Durable steps on folders: a new or renamed file is there after a power cut only once its folder
//! was synced.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::prelude::rust_2024::*;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::StoreError;

/// Makes the entries of `folder` durable.
pub(super) fn sync(folder: &Path) -> Result<(), StoreError> {
    let open = File::open(folder).map_err(StoreError::io("open", folder))?;
    open.sync_all().map_err(StoreError::io("sync", folder))
}

/// Makes `folder`, and whatever leads to it, durably.
pub(crate) fn create(folder: &Path) -> Result<(), StoreError> {
    let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let missing: Vec<_> = folder.ancestors().take_while(missing).collect();
    fs::create_dir_all(folder).map_err(StoreError::io("create", folder))?;
    for made in missing {
        match made.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync(parent)?,
            Some(_) | None => sync(Path::new("."))?,
        }
    }
    Ok(())
}

/// Gives `from` the name `to`, in the same folder or another, durably.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(StoreError::io("rename", from))?;
    match to.parent() {
        Some(folder) => sync(folder),
        None => Ok(()),
    }
}

/// Replaces the small file `name` in `folder`, durably: after a crash at any step it is the old one
/// or the new one.
///
/// The old one becomes the place of the next: where all have one length, a disk that is full has
/// room for it (on a file system that writes in place).
pub(crate) fn replace(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let path = folder.join(name);
    let next = path.with_extension("next");
    write(&next, bytes)?;
    match renameat_with(CWD, &next, CWD, &path, RenameFlags::EXCHANGE) {
        Ok(()) => sync(folder),
        // The first one.
        Err(Errno::NOENT) => {
            rename(&next, &path)?;
            write(&next, bytes)
        }
        // A file system that cannot: it makes a new one each time.
        Err(Errno::INVAL | Errno::NOSYS) => rename(&next, &path),
        Err(error) => Err(StoreError::io("rename", &next)(error.into())),
    }
}

/// Writes over what is there, in its place as far as it is as long.
fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let open = File::options().write(true).create(true).truncate(false).open(path);
    let mut file = open.map_err(StoreError::io("create", path))?;
    file.write_all(bytes).map_err(StoreError::io("write", path))?;
    let len = file.metadata().map_err(StoreError::io("read", path))?.len();
    if len != bytes.len() as u64 {
        file.set_len(bytes.len() as u64).map_err(StoreError::io("cut", path))?;
    }
    file.sync_all().map_err(StoreError::io("sync", path))
}
