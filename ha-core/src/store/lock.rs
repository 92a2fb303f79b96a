//! One process for each folder.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::prelude::rust_2024::*;

use rustix::fs::{FlockOperation, flock};

use super::StoreError;

/// Held as long as it lives; the kernel frees it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock of `folder`, which exists.
    pub(crate) fn take(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join("lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(StoreError::io("open", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { file }),
            Err(error) => match io::Error::from(error) {
                error if error.kind() == io::ErrorKind::WouldBlock => {
                    Err(StoreError::InUse { path: folder.to_path_buf() })
                }
                error => Err(StoreError::io("lock", &path)(error)),
            },
        }
    }
}

impl Drop for Lock {
    /// Closing would not do: a child that was forked a moment ago holds the file, too, until it
    /// runs its program.
    fn drop(&mut self) {
        // An unlock that fails leaves what the end of the process frees.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}
