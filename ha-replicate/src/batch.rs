//! Contiguous encoded records, shared by disk, wire and host without a copy.

use bytes::Bytes;
use ha_proto::{Position, Seq};
use thiserror::Error;

use crate::record::RecordError;

/// One or more contiguous records, encoded once: the same bytes go to the disk and to the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The first record.
    pub first: Seq,
    /// The last record.
    pub last: Seq,
    /// The last record's position.
    pub end: Position,
    /// All of them.
    pub bytes: Bytes,
}

/// Why bytes do not continue a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// One of them is not a record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// There is none.
    #[error("no record")]
    Empty,
    /// They leave out records, or repeat some.
    #[error("the records do not begin where the log ends")]
    Gap,
    /// They come from another history.
    #[error("the records continue another history")]
    Chain,
}
