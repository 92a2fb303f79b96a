//! The program that goes on in the place of this one.

use std::format;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;
use std::process::Stdio;
use std::time::Duration;

use tokio::time::timeout;

use crate::control::{Exit, Refused};

/// The program of this process, which the next one has the place of.
#[derive(Debug)]
pub(crate) struct Program {
    path: PathBuf,
    /// Which file it was.
    seen: Option<(u64, u64, i64)>,
}

impl Program {
    /// That which runs here.
    pub(crate) fn of_this_process() -> io::Result<Self> {
        let path = std::env::current_exe()?;
        let seen = Self::look(&path);
        Ok(Self { path, seen })
    }

    /// Where it is, whatever lies there by now.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether another one lies there by now.
    pub(crate) fn is_replaced(&self) -> bool {
        Self::look(&self.path) != self.seen
    }

    fn look(path: &Path) -> Option<(u64, u64, i64)> {
        let data = path.metadata().ok()?;
        Some((data.dev(), data.ino(), data.mtime_nsec()))
    }

    /// Whether what lies there runs at all: past the hand-over nobody is left to go on.
    pub(crate) async fn try_it(&self) -> Result<(), Refused> {
        let mut trial = tokio::process::Command::new(&self.path);
        trial.arg("--version").kill_on_drop(true);
        trial.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let why = match timeout(TRIAL, trial.status()).await {
            Ok(Ok(status)) if status.success() => return Ok(()),
            Ok(Ok(status)) => format!("it ends with {status}"),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it does not answer".into(),
        };
        let text = format!(
            "{} cannot go on: {why}: install it anew and order it again; all goes on as it was",
            self.path.display()
        );
        Err(Refused::new(Exit::Failed, text))
    }
}

/// How long a program may take to say which version it is.
const TRIAL: Duration = Duration::from_secs(5);
