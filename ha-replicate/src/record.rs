//! The record: the same bytes on disk and on the wire.

use ha_proto::Position;
use thiserror::Error;

/// Bytes before the payload.
pub const HEADER_LEN: usize = 56;

/// Most bytes of one payload: a record stays within one message, and a reader's buffer is bounded
/// before its checksum is known.
pub const RECORD_MAX: usize = 1 << 20;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What a host proposed.
    Data,
    /// Reserved: a host's whole state.
    Snapshot,
    /// Reserved: a change of a file.
    File,
}

/// One decoded record; a view of its bytes.
///
/// Layout, [`HEADER_LEN`] bytes and the payload, big-endian:
///
/// | at | size | field |
/// |---|---|---|
/// | 0 | 2 | magic `0x4852` ("HR") |
/// | 2 | 1 | version, 1 |
/// | 3 | 1 | kind: 1 data, 2 snapshot, 3 file |
/// | 4 | 4 | length of the payload, at most [`RECORD_MAX`] |
/// | 8 | 8 | file id; 0 for data |
/// | 16 | 8 | offset; 0 for data |
/// | 24 | 8 | epoch that wrote it |
/// | 32 | 8 | sequence, from 1 |
/// | 40 | 8 | chain: a hash over the chain before and all fields of this record |
/// | 48 | 4 | CRC-32C of the payload |
/// | 52 | 4 | CRC-32C of bytes 0 to 51 |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it holds.
    pub kind: Kind,
    /// File id; zero for data.
    pub file: u64,
    /// Offset in the file; zero for data.
    pub offset: u64,
    /// Who wrote it, where, and the chain up to and including it.
    pub position: Position,
    /// What was proposed.
    pub payload: &'a [u8],
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// They end inside it.
    #[error("the record is torn")]
    Torn,
    /// They are something else; which field says so.
    #[error("the record is corrupt: {0}")]
    Corrupt(&'static str),
}
