//! The files of the log, and the durable steps on them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ha_proto::{Position, Seq, StoreId};
use ha_replicate::Batch;
use rustix::fs::{FallocateFlags, fallocate};

use super::index::{Index, Segment};
use super::mark::Mark;
use super::reader::Reader;
use super::segment::{SegmentHeader, file_name};
use super::{GROUP_MAX, Ids, StoreError, folder};

/// The log of one module: files of records, written at the end of the last one.
///
/// A file is made whole (space reserved, header and name durable) before a record goes into it,
/// and only once everything in the one before is durable. Records become durable in groups: one
/// sync for all that wait.
#[derive(Debug)]
pub(super) struct LogFiles {
    folder: PathBuf,
    ids: Ids,
    store: StoreId,
    segment_bytes: u64,
    index: Arc<Mutex<Index>>,
    /// The last file, its cursor at its end.
    tail: File,
    tail_checksum: u32,
    end: Position,
    mark: Mark,
}

/// Why records were not appended.
#[derive(Debug)]
pub(super) enum AppendError {
    /// There is no room on the disk. The log is as it was.
    Full,
    /// The disk failed: what it holds is not known any more.
    Failed(StoreError),
}

impl From<StoreError> for AppendError {
    fn from(error: StoreError) -> Self {
        if error.is_full() { Self::Full } else { Self::Failed(error) }
    }
}

impl LogFiles {
    /// A new log in `folder`, which does not exist.
    pub(super) fn create(
        folder: &Path,
        ids: Ids,
        store: StoreId,
        segment_bytes: u64,
    ) -> Result<Self, StoreError> {
        folder::create(folder)?;
        let start = Position::default();
        let header = SegmentHeader { ids, store, start, previous_end: 0, previous_checksum: 0 };
        let (path, tail) = make_segment(folder, &header, segment_bytes)?;
        let mut index = Index::default();
        index.push(Segment::new(path, start, SegmentHeader::LEN as u64));
        Self::assemble(folder, index, tail, &header, start, segment_bytes)
    }

    /// What was found in `folder`, ready to be written on.
    pub(super) fn assemble(
        folder: &Path,
        index: Index,
        mut tail: File,
        header: &SegmentHeader,
        end: Position,
        segment_bytes: u64,
    ) -> Result<Self, StoreError> {
        let last = index.last();
        tail.seek(SeekFrom::Start(last.end)).map_err(StoreError::io("seek in", &last.path))?;
        Ok(Self {
            folder: folder.to_path_buf(),
            ids: header.ids,
            store: header.store,
            segment_bytes,
            index: Arc::new(Mutex::new(index)),
            tail,
            tail_checksum: header.checksum(),
            end,
            mark: Mark::open(folder, header.store)?,
        })
    }

    /// The last record.
    pub(super) fn end(&self) -> Position {
        self.end
    }

    /// Which log this is.
    pub(super) fn store(&self) -> StoreId {
        self.store
    }

    /// Bytes of all records.
    pub(super) fn bytes(&self) -> u64 {
        self.index().bytes()
    }

    /// A reader of this log.
    pub(super) fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.index))
    }

    /// Appends as many of `batches` as one file and one sync take, at least the first; how many.
    /// They are durable then.
    pub(super) fn append(&mut self, batches: &[Batch]) -> Result<usize, AppendError> {
        let first = batches.first().expect("an append of nothing is not asked for");
        assert!(first.first == self.end.seq.next(), "a gap in the log would be read as its end");
        if self.room() < first.bytes.len() as u64 {
            self.rotate()?;
        }
        let count = self.group(batches);
        let group = &batches[..count];
        let at = self.index().last().end;
        if let Err(error) = self.write(group) {
            return Err(self.undo(at, error));
        }
        self.tail.sync_data().map_err(|error| self.failed("sync", error))?;
        let last = group.last().expect("a group holds at least the first batch");
        self.grow(group);
        self.end = last.end;
        match self.mark.raise(last.last).map_err(AppendError::from) {
            // The mark is evidence only: an older one says less, and nothing wrong.
            Ok(()) | Err(AppendError::Full) => Ok(count),
            Err(failed @ AppendError::Failed(_)) => Err(failed),
        }
    }

    /// Drops the records after `keep`, durably. Each step leaves a log that is a prefix.
    pub(super) fn truncate(&mut self, keep: Seq, reader: &mut Reader) -> Result<(), StoreError> {
        if keep >= self.end.seq {
            return Ok(());
        }
        let (end, at) = match reader.last_of(keep)? {
            Some(found) => found,
            None => (Position::default(), SegmentHeader::LEN as u64),
        };
        self.mark.lower(keep)?;
        self.drop_files(keep)?;
        let path = self.index().last().path.clone();
        // First: a reader beside this must not take what the disk drops for damage.
        self.index().cut(keep, at);
        self.reopen(&path, at)?;
        self.end = end;
        Ok(())
    }

    /// Bytes that the last file still takes.
    fn room(&self) -> u64 {
        self.segment_bytes.saturating_sub(self.index().last().end)
    }

    /// How many of `batches` go into this file with one sync.
    fn group(&self, batches: &[Batch]) -> usize {
        let room = self.room().min(GROUP_MAX as u64);
        let mut bytes = 0;
        let fits = |batch: &&Batch| {
            bytes += batch.bytes.len() as u64;
            bytes <= room
        };
        batches.iter().take_while(fits).count().clamp(1, batches.len())
    }

    fn write(&mut self, group: &[Batch]) -> io::Result<()> {
        for part in group.chunks(SLICES_MAX) {
            let mut slices: Vec<_> = part.iter().map(|batch| IoSlice::new(&batch.bytes)).collect();
            let mut rest = &mut slices[..];
            while !rest.is_empty() {
                match self.tail.write_vectored(rest) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => IoSlice::advance_slices(&mut rest, written),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// A write failed: takes back what of it went to the file, if the disk is only full.
    fn undo(&mut self, at: u64, error: io::Error) -> AppendError {
        let path = self.index().last().path.clone();
        match AppendError::from(StoreError::io("write", &path)(error)) {
            AppendError::Full => match self.reopen(&path, at) {
                Ok(()) => AppendError::Full,
                Err(error) => AppendError::Failed(error),
            },
            failed @ AppendError::Failed(_) => failed,
        }
    }

    /// Cuts the last file at `at`, durably, and writes on there.
    fn reopen(&mut self, path: &Path, at: u64) -> Result<(), StoreError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(StoreError::io("open", path))?;
        let header = SegmentHeader::load(&file, path)?;
        cut(&file, path, at, self.segment_bytes)?;
        file.seek(SeekFrom::Start(at)).map_err(StoreError::io("seek in", path))?;
        self.tail = file;
        self.tail_checksum = header.checksum();
        Ok(())
    }

    /// Removes the files after the one with `keep`, the newest first.
    fn drop_files(&mut self, keep: Seq) -> Result<(), StoreError> {
        loop {
            let Some(segment) = self.index().pop_after(keep) else { return Ok(()) };
            fs::remove_file(&segment.path).map_err(StoreError::io("remove", &segment.path))?;
            folder::sync(&self.folder)?;
        }
    }

    fn grow(&self, group: &[Batch]) {
        let mut index = self.index();
        let last = index.last_mut();
        for batch in group {
            last.note(batch.first, last.end);
            last.end += batch.bytes.len() as u64;
        }
    }

    /// Begins the next file; everything in this one is durable.
    fn rotate(&mut self) -> Result<(), AppendError> {
        let header = SegmentHeader {
            ids: self.ids,
            store: self.store,
            start: self.end,
            previous_end: self.index().last().end,
            previous_checksum: self.tail_checksum,
        };
        let (path, mut tail) =
            make_segment(&self.folder, &header, self.segment_bytes).map_err(AppendError::from)?;
        let start = SegmentHeader::LEN as u64;
        tail.seek(SeekFrom::Start(start)).map_err(|error| self.failed("seek in", error))?;
        self.index().push(Segment::new(path, self.end, start));
        self.tail = tail;
        self.tail_checksum = header.checksum();
        Ok(())
    }

    fn failed(&self, what: &'static str, error: io::Error) -> AppendError {
        let path = self.index().last().path.clone();
        AppendError::Failed(StoreError::io(what, &path)(error))
    }

    /// Every write fails from now on, as on a broken disk.
    #[cfg(test)]
    pub(super) fn break_disk(&mut self) {
        let path = self.index().last().path.clone();
        self.tail = File::open(path).expect("the last file is there");
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file with this head and space for `bytes`, durable under its name.
fn make_segment(
    folder: &Path,
    header: &SegmentHeader,
    bytes: u64,
) -> Result<(PathBuf, File), StoreError> {
    let next = folder.join(NEXT);
    let path = folder.join(file_name(header.start.seq.next()));
    let made = fill(&next, header, bytes).and_then(|file| {
        folder::rename(&next, &path)?;
        Ok(file)
    });
    if made.is_err() {
        // Only to give the space back: an unnamed next file is removed at the start, too.
        let _ = fs::remove_file(&next);
    }
    made.map(|file| (path, file))
}

fn fill(path: &Path, header: &SegmentHeader, bytes: u64) -> Result<File, StoreError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .map_err(StoreError::io("create", path))?;
    reserve(&file, path, bytes)?;
    file.write_all_at(&header.encode(), 0).map_err(StoreError::io("write", path))?;
    file.sync_all().map_err(StoreError::io("sync", path))?;
    Ok(file)
}

/// Ends `file` at `at`, durably; zeros follow.
pub(super) fn cut(file: &File, path: &Path, at: u64, bytes: u64) -> Result<(), StoreError> {
    file.set_len(at).map_err(StoreError::io("truncate", path))?;
    match reserve(file, path, bytes) {
        // Without reserved space an append meets the full disk itself.
        Err(error) if error.is_full() => {
            file.set_len(at).map_err(StoreError::io("truncate", path))?;
        }
        reserved => reserved?,
    }
    file.sync_all().map_err(StoreError::io("sync", path))
}

/// Space for `bytes` in all, as zeros, where the file system can.
fn reserve(file: &File, path: &Path, bytes: u64) -> Result<(), StoreError> {
    match fallocate(file, FallocateFlags::empty(), 0, bytes).map_err(io::Error::from) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        reserved => reserved.map_err(StoreError::io("reserve space for", path)),
    }
}

/// The next file before it has its name.
pub(super) const NEXT: &str = "next.tmp";
/// The most slices that one system call writes (Linux: `UIO_MAXIOV`).
const SLICES_MAX: usize = 1024;
