//! Durable steps on folders: a new or renamed file is there after a power cut only once its folder
//! was synced.

use std::fs::{self, File};
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
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(StoreError::io("create", folder))?;
    for made in folder.ancestors().skip(1).filter(|path| path.is_dir()) {
        sync(made)?;
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
