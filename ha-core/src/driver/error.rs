//! Why a driver cannot start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::prelude::rust_2024::*;

use ha_proto::ModuleId;
use thiserror::Error;

use crate::store::StoreError;

/// Why a driver, or an arbiter, cannot start. Nothing runs then.
#[derive(Debug, Error)]
pub enum StartError {
    /// The key cannot be read.
    #[error("{field} = {path:?} cannot be read: {source}")]
    Key {
        /// The field of the configuration.
        field: &'static str,
        /// As configured.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file holds no key.
    #[error(
        "{field} = {path:?} holds no key: it must hold 64 hexadecimal digits, as made by \
         `head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \\n'`"
    )]
    KeyFormat {
        /// The field of the configuration.
        field: &'static str,
        /// As configured.
        path: PathBuf,
    },
    /// Modules of one process must share what the process has once.
    #[error(
        "modules {} and {} of one process differ in {field}: they share sockets, key and stream",
        first.0, second.0
    )]
    Differ {
        /// What differs.
        field: &'static str,
        /// The module that was added first.
        first: ModuleId,
        /// The other one.
        second: ModuleId,
    },
    /// Two modules with one number.
    #[error("module = {} is used twice in this process: give each one a number of its own", .0.0)]
    Twice(ModuleId),
    /// No module, or too many.
    #[error("{0} modules: a driver runs 1 to {max}", max = super::MODULES_MAX)]
    Modules(usize),
    /// An etcd is configured, and nothing here speaks to it.
    #[error("etcd is set, but this program was built without it: build it with the feature etcd")]
    NoEtcd,
    /// A module's folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A socket.
    #[error("{field}: cannot use {address}: {source}")]
    Bind {
        /// The field of the configuration.
        field: &'static str,
        /// As configured.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// A thread, or the runtime in it.
    #[error("the system gives no thread: {0}")]
    Thread(#[from] io::Error),
}

/// Why a driver, or an arbiter, ended by itself. It is to be started anew.
#[derive(Debug, Error)]
pub enum Failure {
    /// One of its threads panicked: in the host or its guard, or a broken invariant of ours.
    #[error("the thread {0} panicked")]
    Panicked(String),
    /// A timer or a socket failed for good.
    #[error("{what} failed: {source}")]
    Io {
        /// What failed.
        what: &'static str,
        /// How.
        source: io::Error,
    },
}
