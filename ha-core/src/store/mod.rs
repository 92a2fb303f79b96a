//! A module's folder: what its node must remember, and its log.
//!
//! | entry | what |
//! |---|---|
//! | `lock` | held by the one process that uses the folder |
//! | `saved` | [`SavedFile`]: who held what when this node saw it last |
//! | `log/log-<first record>.seg` | records, behind a [`SegmentHeader`] |
//! | `log/durable` | a record that was durable |
//! | `aside-<epoch>-<first record>/` | records that only this node had (R14); never removed here |
//! | `log-aside-<store>/` | a log that did not fit `saved`; never removed here |

mod aside;
mod baton;
mod checksum;
mod error;
mod folder;
mod index;
mod lock;
mod log;
mod mark;
mod reader;
mod recover;
mod saved_file;
mod segment;
mod threads;

use std::format;
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;

use ha_proto::{ClusterId, DataState, Lineage, ModuleId, NodeId, Position, StoreId};
use tracing::warn;

use self::log::LogFiles;
use crate::{Saved, raw};

pub use self::error::StoreError;
pub(crate) use self::folder::{create, replace};
pub(crate) use self::lock::Lock;
pub use self::saved_file::SavedFile;
pub use self::segment::SegmentHeader;
pub use self::threads::Storage;

/// Whose files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Which cluster.
    pub cluster: ClusterId,
    /// Which module.
    pub module: ModuleId,
    /// Which node.
    pub node: NodeId,
}

/// How large things may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Bytes of one file of the log, reserved when it is made. [`StoreLimits::SEGMENT_MIN`] to
    /// [`StoreLimits::SEGMENT_MAX`], default 64 MiB. A larger one is made less often; a start
    /// reads the last one whole.
    pub segment_bytes: u64,
    /// Bytes of records that are set aside at a time; beyond it the node does not copy from its
    /// peer until an operator made room. Default 1 GiB.
    pub aside_bytes: u64,
}

impl StoreLimits {
    /// The longest batch fits.
    pub const SEGMENT_MIN: u64 = raw::SEGMENT_MIN;
    /// A start reads so much at most.
    pub const SEGMENT_MAX: u64 = raw::SEGMENT_MAX;
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self { segment_bytes: raw::SEGMENT_DEFAULT, aside_bytes: raw::ASIDE_DEFAULT }
    }
}

/// A module's folder, opened and recovered, locked until it is dropped.
#[derive(Debug)]
pub struct Store {
    home: PathBuf,
    _lock: Lock,
    limits: StoreLimits,
    log: LogFiles,
    saved: Saved,
    saved_file: SavedFile,
    baton: Option<Vec<u8>>,
}

impl Store {
    /// Opens `folder`, made when it is missing, and finds what was durable. `fresh` is a random
    /// number, for the store's id if a new one is needed.
    ///
    /// A log that is not the saved one, or is missing, makes this node [`DataState::Blank`]: the
    /// log is moved aside and a new one begins. What was saved of reigns stays (R3).
    ///
    /// # Errors
    /// [`StoreError`] when the folder is in use, another's, damaged, or the system refuses.
    pub fn open(
        folder: &Path,
        ids: Ids,
        limits: StoreLimits,
        fresh: StoreId,
    ) -> Result<Self, StoreError> {
        assert!(limits.segment_bytes >= StoreLimits::SEGMENT_MIN, "a batch would not fit a file");
        assert!(limits.segment_bytes <= StoreLimits::SEGMENT_MAX, "a start would read too much");
        folder::create(folder)?;
        let lock = Lock::take(folder)?;
        let baton = baton::take(folder)?;
        let saved_file = SavedFile::new(folder, ids);
        let saved = saved_file.load()?;
        let path = folder.join(LOG);
        let found = recover::identify(&path, ids)?;
        let (log, saved) = match saved {
            Some(saved) if found == Some(saved.store) => {
                (recover::open(&path, ids, limits.segment_bytes)?, saved)
            }
            saved => {
                let log = start_blank(folder, found, ids, limits, fresh)?;
                let saved = blank(saved, ids, fresh);
                saved_file.replace(&saved)?;
                (log, saved)
            }
        };
        let home = folder.to_path_buf();
        Ok(Self { home, _lock: lock, limits, log, saved, saved_file, baton })
    }

    /// What was saved last.
    pub fn saved(&self) -> &Saved {
        &self.saved
    }

    /// The last durable record.
    pub fn position(&self) -> Position {
        self.log.end()
    }

    /// What an earlier process handed over to whoever opens the folder next, in this run of the
    /// machine; once. Opening it took that away already, so it is never found twice.
    pub fn take_baton(&mut self) -> Option<Vec<u8>> {
        self.baton.take()
    }

    /// Bytes of the log's records.
    pub fn bytes(&self) -> u64 {
        self.log.bytes()
    }
}

/// Begins a new log; one that is there is moved aside.
fn start_blank(
    home: &Path,
    found: Option<StoreId>,
    ids: Ids,
    limits: StoreLimits,
    fresh: StoreId,
) -> Result<LogFiles, StoreError> {
    let log = home.join(LOG);
    if let Some(store) = found {
        let aside = home.join(format!("log-aside-{store}"));
        warn!(log = %log.display(), aside = %aside.display(), "not the saved log: moved aside");
        folder::rename(&log, &aside)?;
    }
    LogFiles::create(&log, ids, fresh, limits.segment_bytes)
}

fn blank(saved: Option<Saved>, ids: Ids, fresh: StoreId) -> Saved {
    let blank = Saved::blank(ids.cluster, ids.module, ids.node, fresh);
    match saved {
        Some(before) => {
            let (state, lineage) = (DataState::Blank, Lineage::default());
            Saved { store: fresh, state, lineage, ..before }
        }
        None => blank,
    }
}

const LOG: &str = "log";
/// The most bytes that one sync covers: it bounds what a power cut can tear, and how long one
/// record waits for another.
const GROUP_MAX: usize = 4 << 20;
/// How much is read at once for a copy.
const READ_MAX: usize = 1 << 20;

const _: () = assert!(
    (GROUP_MAX as u64) >= 2 * ha_replicate::MESSAGE_MAX as u64,
    "the longest batch would not fit one sync"
);
const _: () = assert!(
    raw::SEGMENT_MIN > 2 * ha_replicate::MESSAGE_MAX as u64,
    "the longest batch would not fit one file"
);
