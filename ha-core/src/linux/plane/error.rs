//! Why a data plane cannot be had here.

use std::io;
use std::prelude::rust_2024::*;
use std::string::String;

use thiserror::Error;

/// Why a filter cannot be in this kernel, in one line that says what to do.
#[derive(Debug, Error)]
pub enum PlaneError {
    /// The process lacks a right.
    #[error("the filter needs {0}: run as root, or grant it (AmbientCapabilities= of systemd)")]
    NotPermitted(&'static str),
    /// The kernel is too old, or built without what is needed.
    #[error("this kernel ({release}) cannot do the filter: it lacks {lacks}; use `plane = nft`")]
    Kernel {
        /// What `uname -r` says.
        release: String,
        /// What is missing, in the kernel's words.
        lacks: String,
    },
    /// No interface of this name.
    #[error("there is no interface {0:?}: `ip link` lists those of this machine")]
    NoInterface(String),
    /// `/sys/fs/bpf` is not mounted, or cannot be written.
    #[error("{folder}: {source}: {}", mend(source))]
    Folder {
        /// Which folder.
        folder: String,
        /// Why not.
        source: io::Error,
    },
    /// A program that the plane runs is not installed.
    #[error("{program} is not installed: the plane `{plane}` needs it")]
    NoProgram {
        /// Its name.
        program: &'static str,
        /// The plane's name.
        plane: &'static str,
    },
    /// The filter asks for what this plane cannot do.
    #[error("the plane `{plane}` cannot do {what}")]
    Unable {
        /// The plane's name.
        plane: &'static str,
        /// What is asked.
        what: &'static str,
    },
    /// The system refuses something else.
    #[error("the filter in the kernel: {what}: {why}")]
    System {
        /// What was tried.
        what: String,
        /// Why not, in the system's words.
        why: String,
    },
}

/// How the folder can be had.
fn mend(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            "the unit must make and allow it, as examples/systemd/ha-farm.service does"
        }
        _ => "mount it with `mount -t bpf bpf /sys/fs/bpf`",
    }
}
