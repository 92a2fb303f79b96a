//! Durable steps on folders: a new or renamed file is there after a power cut only once its folder
//! was synced.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::prelude::rust_2024::*;

use super::StoreError;

/// Makes the entries of `folder` durable.
pub(super) fn sync(folder: &Path) -> Result<(), StoreError> {
    let open = File::open(folder).map_err(StoreError::io("open", folder))?;
    open.sync_all().map_err(StoreError::io("sync", folder))
}

/// Makes `folder`, and whatever leads to it, durably.
pub(super) fn create(folder: &Path) -> Result<(), StoreError> {
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
pub(crate) fn replace(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let path = folder.join(name);
    let next = path.with_extension("next");
    let mut file = File::create(&next).map_err(StoreError::io("create", &next))?;
    file.write_all(bytes).map_err(StoreError::io("write", &next))?;
    file.sync_all().map_err(StoreError::io("sync", &next))?;
    rename(&next, &path)
}
