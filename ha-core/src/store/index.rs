//! Where the records of the log lie.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::prelude::rust_2024::*;

use ha_proto::{Position, Seq};

use super::segment::SegmentHeader;

/// The files of a log and the places of some of their records; shared by writer and reader.
#[derive(Debug, Default)]
pub(super) struct Index {
    files: BTreeMap<Seq, Segment>,
    /// Raised whenever records are dropped.
    generation: u64,
}

/// One file of the log.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    /// What comes before its first record.
    pub(super) start: Position,
    /// How many of its bytes are header and whole records.
    pub(super) end: u64,
    /// Places of some records, one for about [`Segment::STEP`] bytes.
    places: BTreeMap<Seq, u64>,
}

impl Segment {
    /// The distance of two remembered places: 16 KiB of memory for a segment of 64 MiB, and a read
    /// walks over at most this much.
    const STEP: u64 = 64 << 10;

    pub(super) fn new(path: PathBuf, start: Position, end: u64) -> Self {
        Self { path, start, end, places: BTreeMap::new() }
    }

    /// The last place that is known at or before `seq`.
    pub(super) fn place(&self, seq: Seq) -> (Seq, u64) {
        let first = (self.start.seq.next(), SegmentHeader::LEN as u64);
        let found = self.places.range(..=seq).next_back();
        found.map_or(first, |(&seq, &at)| (seq, at))
    }

    /// The record `seq` begins at `at`.
    pub(super) fn note(&mut self, seq: Seq, at: u64) {
        let (_, before) = self.place(seq);
        if at >= before + Self::STEP {
            self.places.insert(seq, at);
        }
    }

    fn cut(&mut self, keep: Seq, end: u64) {
        self.places.split_off(&keep.next());
        self.end = end;
    }
}

impl Index {
    /// A new file at the end of the log.
    pub(super) fn push(&mut self, segment: Segment) {
        self.files.insert(segment.start.seq.next(), segment);
    }

    /// Another number than before once records were dropped: whatever a reader knew of places and
    /// files may be wrong then.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The file that holds `seq`, or would hold it next.
    pub(super) fn find(&self, seq: Seq) -> Option<&Segment> {
        self.files.range(..=seq).next_back().map(|(_, segment)| segment)
    }

    /// Remembers where `seq` begins, in the file that holds it.
    pub(super) fn note(&mut self, seq: Seq, at: u64) {
        if let Some((_, segment)) = self.files.range_mut(..=seq).next_back() {
            segment.note(seq, at);
        }
    }

    /// The last file.
    pub(super) fn last(&self) -> &Segment {
        self.files.values().next_back().expect("a log has at least one file")
    }

    /// The last file, whose end moves.
    pub(super) fn last_mut(&mut self) -> &mut Segment {
        self.files.values_mut().next_back().expect("a log has at least one file")
    }

    /// Forgets the last file unless it is the one that `keep` is in, or the first.
    pub(super) fn pop_after(&mut self, keep: Seq) -> Option<Segment> {
        let (&first, _) = self.files.last_key_value()?;
        if first <= keep || self.files.len() == 1 {
            return None;
        }
        self.generation += 1;
        self.files.remove(&first)
    }

    /// The last file ends with the record `keep`, at `end`.
    pub(super) fn cut(&mut self, keep: Seq, end: u64) {
        self.generation += 1;
        self.last_mut().cut(keep, end);
    }

    /// Bytes of all records.
    pub(super) fn bytes(&self) -> u64 {
        self.files.values().map(|segment| segment.end - SegmentHeader::LEN as u64).sum()
    }
}
