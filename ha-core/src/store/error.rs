//! Why a folder cannot be used.

use std::io;
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;

use ha_proto::codec::DecodeError;
use ha_proto::{ClusterId, ModuleId, NodeId, Seq};
use thiserror::Error;

/// Why a module's folder cannot be used. Nothing in it was changed, unless a variant says so.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error(
        "{path} is in use by another process: each module of each node needs a folder of its own"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The files belong to another cluster.
    #[error("{path} belongs to cluster {found}, not to {expected}: name another folder")]
    OtherCluster {
        /// The file.
        path: PathBuf,
        /// Its cluster.
        found: ClusterId,
        /// The configured one.
        expected: ClusterId,
    },
    /// The files belong to another node.
    #[error(
        "{path} belongs to node {found}, this is node {expected}: a copied folder must not be \
         used, a new node starts with an empty one"
    )]
    OtherNode {
        /// The file.
        path: PathBuf,
        /// Its node.
        found: NodeId,
        /// The configured one.
        expected: NodeId,
    },
    /// The files belong to another module.
    #[error("{path} belongs to module {}, not to {}: name another folder", found.0, expected.0)]
    OtherModule {
        /// The file.
        path: PathBuf,
        /// Its module.
        found: ModuleId,
        /// The configured one.
        expected: ModuleId,
    },
    /// A later version of this program wrote it.
    #[error("{path} has format {found}, this program reads up to {known}: use the newer program")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u8,
        /// The newest that is known here.
        known: u8,
    },
    /// What should be durable cannot be read back. It is never cut off: it may be acknowledged.
    #[error(
        "{segment} is corrupt at byte {offset} (record {next} or before): the disk lost what it \
         had made durable; move the folder away and start with an empty one to copy from the peer"
    )]
    Corrupt {
        /// The file.
        segment: PathBuf,
        /// Where.
        offset: u64,
        /// The first record that is missing.
        next: Seq,
    },
    /// The file of what a node must remember is damaged.
    #[error("{path} is damaged ({why}): move the folder away to start as a new, blank node")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How.
        why: DecodeError,
    },
}

impl StoreError {
    /// For `map_err`: what was tried on which file.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, path: path.to_path_buf(), source }
    }

    /// Whether the disk is full.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(
                    source.kind(),
                    io::ErrorKind::StorageFull
                        | io::ErrorKind::QuotaExceeded
                        | io::ErrorKind::FileTooLarge
                )
            }
            Self::InUse { .. }
            | Self::OtherCluster { .. }
            | Self::OtherNode { .. }
            | Self::OtherModule { .. }
            | Self::Newer { .. }
            | Self::Corrupt { .. }
            | Self::Damaged { .. } => false,
        }
    }
}
