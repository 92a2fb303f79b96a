//! What a log is told once: its limits, and what was found on its storage.

use core::time::Duration;

use ha_proto::{DataState, Lineage, Membership, NodeId, Position, Seq, StoreId};
use thiserror::Error;

use crate::record::{HEADER_LEN, RECORD_MAX};

/// The limits of a [`Log`](crate::Log).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// The other node of the pair.
    pub peer: NodeId,
    /// Most encoded bytes that are proposed and not yet committed, that wait in memory, or that are
    /// on their way to the peer. At least [`Config::WINDOW_MIN`]; default 8 MiB. Larger costs
    /// memory, and time to drain at a planned swap; smaller stalls writers on a long link
    /// (bandwidth times round trip is the least that keeps it busy).
    pub window_bytes: usize,
    /// Most records that are proposed and not yet committed. At least 1; default 65,536.
    pub window_records: u64,
    /// An open batch is closed at this size even while the disk is busy. 1 to 1 MiB; default 256 KiB,
    /// which measured best: some hundred small records that come together are one batch.
    pub batch_bytes: usize,
    /// How long a member of the set may make no progress before its exclusion is proposed (R4), and
    /// how long this node's disk may make none before it keeps no more from the peer. Above zero; default 1 s, the heartbeat timeout of the default profile.
    pub stall: Duration,
    /// Most bytes of the whole log. Default 64 GiB. Beyond it nothing is proposed any more.
    pub log_max_bytes: u64,
}

impl Config {
    /// The least window: two of the largest records, so that one of any size fits into half of it.
    pub const WINDOW_MIN: usize = 2 * (RECORD_MAX + HEADER_LEN);

    /// The defaults for the log of `me`, mirrored to `peer`.
    pub const fn new(me: NodeId, peer: NodeId) -> Self {
        Self {
            me,
            peer,
            window_bytes: 8 << 20,
            window_records: 1 << 16,
            batch_bytes: 256 << 10,
            stall: Duration::from_secs(1),
            log_max_bytes: 64 << 30,
        }
    }

    /// Whether a log can keep these limits.
    ///
    /// # Errors
    /// The first [`ConfigError`] found.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.me == self.peer {
            return Err(ConfigError::SameNode);
        }
        if self.window_bytes < Self::WINDOW_MIN || self.window_records == 0 {
            return Err(ConfigError::Window);
        }
        if self.batch_bytes == 0 || self.batch_bytes > RECORD_MAX {
            return Err(ConfigError::Batch);
        }
        if self.stall.is_zero() {
            return Err(ConfigError::Stall);
        }
        Ok(())
    }
}

/// Why limits cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A node cannot mirror itself.
    #[error("a node cannot be its own peer")]
    SameNode,
    /// The largest record would never fit.
    #[error("the window is below {} bytes or one record", Config::WINDOW_MIN)]
    Window,
    /// Batches of nothing, or larger than a message.
    #[error("a batch holds 1 to {RECORD_MAX} bytes")]
    Batch,
    /// Every peer would be proposed for exclusion at once.
    #[error("the stall time is zero")]
    Stall,
}

/// What was found on the storage at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The last durable record, as [`Scan`](crate::scan::Scan) finds it.
    pub position: Position,
    /// The saved lineage.
    pub lineage: Lineage,
    /// The saved state; `Blank` also when the log's store id is not the saved one.
    pub state: DataState,
    /// The saved membership; `None` when the node was never a member of anything.
    pub membership: Option<Membership>,
    /// The store's id.
    pub store: StoreId,
    /// The last record that the host's own state already has; zero when it is rebuilt.
    pub applied: Seq,
    /// Bytes of the log.
    pub bytes: u64,
}
