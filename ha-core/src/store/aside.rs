//! Keeping aside the records that only this node has.

use std::format;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;

use ha_proto::{Position, Seq};
use tracing::info;

use super::reader::Reader;
use super::segment::{SegmentHeader, file_name};
use super::{READ_MAX, StoreError, folder};

/// Copies the records from `from` to the log's end, `last`, into a folder of their own beside the
/// log, durably: `aside-<epoch of the last>-<first>`. Its one file is a file of a log. Answers the
/// bytes of the records.
///
/// Nothing is ever overwritten: a copy of the same name that holds the same is good, another one
/// gets a number behind its name.
pub(super) fn keep(
    home: &Path,
    header: SegmentHeader,
    last: Position,
    from: Seq,
    limit: u64,
    reader: &mut Reader,
) -> Result<u64, AsideError> {
    let start = reader.last_of(from.previous())?.map(|(position, _)| position);
    let header = SegmentHeader { start: start.unwrap_or_default(), ..header };
    let next = home.join(NEXT);
    if next.exists() {
        fs::remove_dir_all(&next).map_err(StoreError::io("remove", &next))?;
    }
    fs::create_dir(&next).map_err(StoreError::io("create", &next))?;
    let name = file_name(from);
    let bytes = match copy(&next.join(&name), &header, from, limit, reader) {
        Ok(bytes) => bytes,
        Err(error) => {
            // Only to give the space back: the next call removes it, too.
            let _ = fs::remove_dir_all(&next);
            return Err(error);
        }
    };
    folder::sync(&next)?;
    let base = format!("aside-{:016x}-{:016x}", last.epoch.bits(), from.0);
    let place = settle(home, &next, &base, &name)?;
    info!(folder = %place.display(), from = from.0, bytes, "records are kept aside");
    Ok(bytes)
}

/// Why records were not kept aside. The log is as it was.
#[derive(Debug)]
pub(super) enum AsideError {
    /// More bytes than the configured limit.
    Limit(u64),
    /// The disk.
    Store(StoreError),
}

impl From<StoreError> for AsideError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn copy(
    path: &Path,
    header: &SegmentHeader,
    from: Seq,
    limit: u64,
    reader: &mut Reader,
) -> Result<u64, AsideError> {
    let mut file = File::create(path).map_err(StoreError::io("create", path))?;
    file.write_all(&header.encode()).map_err(StoreError::io("write", path))?;
    let (mut at, mut bytes) = (from, 0);
    while let Some(read) = reader.read(at, READ_MAX)? {
        bytes += read.bytes.len() as u64;
        if bytes > limit {
            return Err(AsideError::Limit(limit));
        }
        file.write_all(&read.bytes).map_err(StoreError::io("write", path))?;
        at = read.end.seq.next();
    }
    file.sync_all().map_err(StoreError::io("sync", path))?;
    Ok(bytes)
}

/// Gives the finished copy its name.
fn settle(home: &Path, next: &Path, base: &str, name: &str) -> Result<PathBuf, StoreError> {
    let copy = next.join(name);
    let made = fs::read(&copy).map_err(StoreError::io("read", &copy))?;
    for number in 1.. {
        let place = match number {
            1 => home.join(base),
            _ => home.join(format!("{base}-{number}")),
        };
        if !place.exists() {
            folder::rename(next, &place)?;
            return Ok(place);
        }
        if fs::read(place.join(name)).is_ok_and(|before| before == made) {
            fs::remove_dir_all(next).map_err(StoreError::io("remove", next))?;
            return Ok(place);
        }
    }
    unreachable!("there is always another number")
}

const NEXT: &str = "aside.tmp";
