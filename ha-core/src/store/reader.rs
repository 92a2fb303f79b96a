//! Reading records back.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::prelude::rust_2024::*;
use std::sync::{Arc, Mutex, PoisonError};
use std::vec;

use bytes::Bytes;
use ha_proto::{Position, Seq};
use ha_replicate::record::{HEADER_LEN, RECORD_MAX, Record, RecordError};

use super::StoreError;
use super::index::{Index, Segment};

/// Reads whole records. Has its own files open, so that it never waits for the writer.
#[derive(Debug)]
pub(super) struct Reader {
    index: Arc<Mutex<Index>>,
    /// The generation of the log that the two below are of: they are void in a later one.
    generation: u64,
    open: Option<(PathBuf, File)>,
    /// Where the last read ended: reads of a whole log follow one another.
    cursor: Option<Cursor>,
}

#[derive(Clone, Debug)]
struct Cursor {
    path: PathBuf,
    seq: Seq,
    at: u64,
}

/// Records and where the last of them stands.
#[derive(Clone, Debug)]
pub(super) struct Read {
    /// Whole records, at least one.
    pub(super) bytes: Bytes,
    /// The last one's position.
    pub(super) end: Position,
    /// Where the byte after them is, in their file.
    pub(super) at: u64,
}

impl Reader {
    pub(super) fn new(index: Arc<Mutex<Index>>) -> Self {
        Self { index, generation: 0, open: None, cursor: None }
    }

    /// Whole records from `from` on, of one file: at least one, and no more bytes than `max` unless
    /// the first is longer. `None` when the log ends before `from`.
    pub(super) fn read(&mut self, from: Seq, max: usize) -> Result<Option<Read>, StoreError> {
        loop {
            let result = self.attempt(from, max);
            // Over a cut neither what was found nor an error says anything of the log as it is now.
            // This ends: each further turn takes another cut.
            if self.is_current() {
                return result;
            }
        }
    }

    fn attempt(&mut self, from: Seq, max: usize) -> Result<Option<Read>, StoreError> {
        let Some((segment, place)) = self.locate(from) else { return Ok(None) };
        let (mut seq, mut at) = place;
        let mut room = max.max(ROOM_MIN);
        loop {
            let bytes = self.load(&segment, at, room)?;
            let walked = walk(&bytes, seq, from, max);
            let more = walked.found.is_none() && at + (bytes.len() as u64) < segment.end;
            match walked.stop {
                Stop::Short if more && walked.len == 0 => room = ROOM_MAX,
                Stop::Short if more => {
                    at += walked.len as u64;
                    seq = walked.next;
                    self.note(seq, at);
                }
                Stop::Short | Stop::Full => {
                    return self.finish(&segment, from, at, &bytes, &walked);
                }
                Stop::Corrupt => {
                    let offset = at + walked.len as u64;
                    let segment = segment.path;
                    return Err(StoreError::Corrupt { segment, offset, next: walked.next });
                }
            }
        }
    }

    /// The position of the record `seq` and where its bytes end in its file; `None` for zero.
    pub(super) fn last_of(&mut self, seq: Seq) -> Result<Option<(Position, u64)>, StoreError> {
        if seq == Seq::ZERO {
            return Ok(None);
        }
        if let Some(read) = self.read(seq, 1)? {
            return Ok(Some((read.end, read.at)));
        }
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let last = index.last();
        Err(StoreError::Corrupt { segment: last.path.clone(), offset: last.end, next: seq })
    }

    fn finish(
        &mut self,
        segment: &Segment,
        from: Seq,
        at: u64,
        bytes: &Bytes,
        walked: &Walk,
    ) -> Result<Option<Read>, StoreError> {
        let Some((start, end)) = walked.found else {
            if walked.len == bytes.len() {
                return Ok(None);
            }
            let segment = segment.path.clone();
            return Err(StoreError::Corrupt { segment, offset: at, next: from });
        };
        let after = at + walked.len as u64;
        self.cursor = Some(Cursor { path: segment.path.clone(), seq: walked.next, at: after });
        Ok(Some(Read { bytes: bytes.slice(start..walked.len), end, at: after }))
    }

    /// The file with `from`, and a place in it to start from.
    fn locate(&mut self, from: Seq) -> Option<(Segment, (Seq, u64))> {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if index.generation() != self.generation {
            // The place may be inside another record now, and the file another one of that name.
            (self.open, self.cursor) = (None, None);
            self.generation = index.generation();
        }
        let segment = index.find(from)?.clone();
        let mut place = segment.place(from);
        if let Some(cursor) = &self.cursor {
            let near = cursor.path == segment.path && cursor.seq <= from && cursor.seq > place.0;
            if near && cursor.at < segment.end {
                place = (cursor.seq, cursor.at);
            }
        }
        (place.1 < segment.end).then_some((segment, place))
    }

    /// Whether nothing was cut since the place was looked for.
    fn is_current(&self) -> bool {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.generation() == self.generation
    }

    fn note(&self, seq: Seq, at: u64) {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if index.generation() == self.generation {
            index.note(seq, at);
        }
    }

    /// At most `room` bytes of `segment` from `at` on, and none behind its end.
    fn load(&mut self, segment: &Segment, at: u64, room: usize) -> Result<Bytes, StoreError> {
        let left = segment.end.saturating_sub(at);
        let len = usize::try_from(left).map_or(room, |left| left.min(room));
        let mut bytes = vec![0; len];
        let file = self.file(segment)?;
        file.read_exact_at(&mut bytes, at).map_err(StoreError::io("read", &segment.path))?;
        Ok(Bytes::from(bytes))
    }

    fn file(&mut self, segment: &Segment) -> Result<&File, StoreError> {
        if self.open.as_ref().is_none_or(|(path, _)| *path != segment.path) {
            let path = segment.path.clone();
            let file = File::open(&path).map_err(StoreError::io("open", &path))?;
            self.open = Some((path, file));
        }
        let (_, file) = self.open.as_ref().expect("it was opened above");
        Ok(file)
    }
}

/// What a walk over a buffer found.
struct Walk {
    /// Where the wanted records begin, and the last one's position.
    found: Option<(usize, Position)>,
    /// Bytes of whole records that were walked over, the wanted ones included.
    len: usize,
    /// The record after the last that was walked over.
    next: Seq,
    stop: Stop,
}

enum Stop {
    /// The buffer ends.
    Short,
    /// As many bytes as were wanted.
    Full,
    /// Something else than the next record.
    Corrupt,
}

/// Walks over `bytes`, which begin with the record `first`, and finds those from `from` on.
fn walk(bytes: &[u8], first: Seq, from: Seq, max: usize) -> Walk {
    let mut walk = Walk { found: None, len: 0, next: first, stop: Stop::Short };
    loop {
        let (record, len) = match Record::decode(&bytes[walk.len..]) {
            Ok((record, len)) if record.position.seq == walk.next => (record, len),
            Err(RecordError::Torn) => return walk,
            Ok(_) | Err(RecordError::Corrupt(_)) => {
                walk.stop = Stop::Corrupt;
                return walk;
            }
        };
        if walk.next >= from {
            let start = walk.found.map_or(walk.len, |(start, _)| start);
            if walk.found.is_some() && walk.len + len - start > max {
                walk.stop = Stop::Full;
                return walk;
            }
            walk.found = Some((start, record.position));
        }
        walk.len += len;
        walk.next = walk.next.next();
    }
}

/// The least that is read at once: two remembered places are about as far apart.
const ROOM_MIN: usize = 128 << 10;
/// Enough for any record.
const ROOM_MAX: usize = RECORD_MAX + HEADER_LEN;

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::super::segment::SegmentHeader;
    use super::*;

    const START: u64 = SegmentHeader::LEN as u64;

    /// An index of one file, at `path`, which ends at `end`; and a reader.
    fn log(path: PathBuf, end: u64) -> (Arc<Mutex<Index>>, Reader) {
        let mut index = Index::default();
        index.push(Segment::new(path, Position::default(), end));
        let index = Arc::new(Mutex::new(index));
        (Arc::clone(&index), Reader::new(index))
    }

    #[test]
    fn a_place_that_was_found_before_a_cut_is_not_remembered_after_it() {
        let end = START + (1 << 20);
        let (index, mut reader) = log("none".into(), end);
        reader.locate(Seq(9)).unwrap();
        let at = START + (100 << 10);
        index.lock().unwrap().cut(Seq(4), START + 400);
        index.lock().unwrap().last_mut().end = end;
        reader.note(Seq(8), at);
        assert_eq!(reader.locate(Seq(9)).unwrap().1, (Seq(1), START));
        reader.note(Seq(8), at);
        assert_eq!(reader.locate(Seq(9)).unwrap().1, (Seq(8), at));
    }

    #[test]
    fn what_was_read_over_a_cut_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, Vec::from([0; 1000])).unwrap();
        let (index, mut reader) = log(path, 1000);
        assert!(matches!(reader.attempt(Seq(1), 1), Err(StoreError::Corrupt { .. })));
        assert!(reader.is_current(), "an error in a log that nobody cut is one");
        index.lock().unwrap().cut(Seq(0), START);
        assert!(!reader.is_current(), "an error in what was cut would break the node");
        assert!(matches!(reader.read(Seq(1), 1), Ok(None)));
    }
}
