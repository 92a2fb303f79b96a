//! What a restart finds in the log.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;
use std::vec;

use ha_proto::{Position, Seq, StoreId};
use ha_replicate::record::Record;
use tracing::warn;

use super::index::{Index, Segment};
use super::log::{LogFiles, NEXT, cut};
use super::mark::Mark;
use super::segment::{SegmentHeader, check_owner, first_of};
use super::{GROUP_MAX, Ids, StoreError, folder};

/// A file of the log with its checked head.
struct Found {
    path: PathBuf,
    file: File,
    header: SegmentHeader,
}

/// The store id of the log in `folder`; `None` when there is no log.
pub(super) fn identify(folder: &Path, ids: Ids) -> Result<Option<StoreId>, StoreError> {
    let Some((_, path)) = list(folder)?.into_iter().next() else { return Ok(None) };
    let file = File::open(&path).map_err(StoreError::io("open", &path))?;
    let header = SegmentHeader::load(&file, &path)?;
    check_owner(header.ids, ids, &path)?;
    Ok(Some(header.store))
}

/// Opens the log in `folder`, which [`identify`] found, and finds its end.
///
/// The first bad record is the end, if it can have been part of a write that was under way: no
/// later file exists, the mark does not name it or a later one as durable, and there is no record
/// farther away than one write reaches. Else the disk lost what was durable, and nothing is
/// touched.
pub(super) fn open(folder: &Path, ids: Ids, segment_bytes: u64) -> Result<LogFiles, StoreError> {
    remove_next(folder)?;
    let files = load(folder, ids)?;
    let Some((last, sealed)) = files.split_last() else {
        return Err(StoreError::Corrupt { segment: folder.to_path_buf(), offset: 0, next: Seq(1) });
    };
    let mut index = Index::default();
    for (segment, next) in sealed.iter().zip(&files[1..]) {
        index.push(Segment::new(
            segment.path.clone(),
            segment.header.start,
            next.header.previous_end,
        ));
    }
    let start = last.header.start;
    index.push(Segment::new(last.path.clone(), start, SegmentHeader::LEN as u64));
    let mark = Mark::open(folder, last.header.store)?.load();
    let end = scan(last, mark, segment_bytes, index.last_mut())?;
    let file = last.file.try_clone().map_err(StoreError::io("open", &last.path))?;
    // A process that was killed leaves records that were written and not made durable yet.
    file.sync_all().map_err(StoreError::io("sync", &last.path))?;
    LogFiles::assemble(folder, index, file, &last.header, end, segment_bytes)
}

/// The files in order, each of which names the one before.
fn load(folder: &Path, ids: Ids) -> Result<Vec<Found>, StoreError> {
    let mut files: Vec<Found> = Vec::new();
    for (first, path) in list(folder)? {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(StoreError::io("open", &path))?;
        let header = SegmentHeader::load(&file, &path)?;
        check_owner(header.ids, ids, &path)?;
        let chained = match files.last() {
            Some(before) => follows(&header, before)?,
            None => header.start == Position::default() && header.previous_end == 0,
        };
        if !chained || first != header.start.seq.next() {
            return Err(StoreError::Corrupt { segment: path, offset: 0, next: first });
        }
        files.push(Found { path, file, header });
    }
    Ok(files)
}

/// Whether `header` is the one that was made after `before`, which is still as long as it was.
fn follows(header: &SegmentHeader, before: &Found) -> Result<bool, StoreError> {
    let data = before.file.metadata().map_err(StoreError::io("look at", &before.path))?;
    Ok(header.store == before.header.store
        && header.previous_checksum == before.header.checksum()
        && header.start.seq >= before.header.start.seq
        && header.previous_end >= SegmentHeader::LEN as u64
        && header.previous_end <= data.len())
}

/// Walks over the last file; cuts off a torn end.
fn scan(
    last: &Found,
    mark: Seq,
    segment_bytes: u64,
    segment: &mut Segment,
) -> Result<Position, StoreError> {
    let bytes = read(last)?;
    let mut end = last.header.start;
    let mut at = SegmentHeader::LEN;
    while let Ok((record, len)) = Record::decode(&bytes[at..]) {
        if record.position.seq != end.seq.next() || !record.follows(end.chain) {
            break;
        }
        segment.note(record.position.seq, at as u64);
        end = record.position;
        at += len;
    }
    let rest = &bytes[at..];
    if mark > end.seq || holds_record(rest.get(GROUP_MAX..).unwrap_or_default(), end.seq) {
        let segment = last.path.clone();
        return Err(StoreError::Corrupt { segment, offset: at as u64, next: end.seq.next() });
    }
    segment.end = at as u64;
    if rest.iter().any(|&byte| byte != 0) {
        warn!(file = %last.path.display(), at, last = end.seq.0, "a torn write is cut off");
        cut(&last.file, &last.path, at as u64, segment_bytes)?;
    }
    Ok(end)
}

fn read(found: &Found) -> Result<Vec<u8>, StoreError> {
    let data = found.file.metadata().map_err(StoreError::io("look at", &found.path))?;
    let len = usize::try_from(data.len()).map_err(|_| StoreError::Corrupt {
        segment: found.path.clone(),
        offset: 0,
        next: found.header.start.seq.next(),
    })?;
    let mut bytes = vec![0; len];
    found.file.read_exact_at(&mut bytes, 0).map_err(StoreError::io("read", &found.path))?;
    Ok(bytes)
}

/// Whether `bytes` hold, anywhere, a whole record after `end`.
fn holds_record(bytes: &[u8], end: Seq) -> bool {
    let is_record =
        |at: usize| Record::decode(&bytes[at..]).is_ok_and(|(record, _)| record.position.seq > end);
    // Most of what follows an end are zeros: those are skipped before anything is decoded.
    (0..bytes.len()).any(|at| bytes[at] != 0 && is_record(at))
}

/// The files of the log by their first records.
fn list(folder: &Path) -> Result<Vec<(Seq, PathBuf)>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("list", folder)(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StoreError::io("list", folder))?;
        if let Some(first) = first_of(&entry.file_name()) {
            files.push((first, entry.path()));
        }
    }
    files.sort();
    Ok(files)
}

/// A next file without a name held nothing yet.
fn remove_next(folder: &Path) -> Result<(), StoreError> {
    let next = folder.join(NEXT);
    match fs::remove_file(&next) {
        Ok(()) => folder::sync(folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StoreError::io("remove", &next)(error)),
    }
}
