//! Frames, kept in a file.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::host::{Host, START_MAX};
use crate::process::Process;
use crate::tool;

/// A `tcpdump` that keeps the frames of an interface. Dropping it ends it.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    pub(crate) fn start(
        host: &Host,
        interface: &str,
        filter: &str,
        folder: &Path,
    ) -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = folder.join(format!("{}-{number}.pcap", host.name()));
        let process = host.spawn("tcpdump", |command| {
            // At once to the program and the file; and as root, which the folder belongs to.
            command.args(["-i", interface, "--immediate-mode", "-U", "-Z", "root"]);
            // On loaded cores it comes late to what the kernel keeps for it, in KiB: for some thousand
            // frames, as each has room for so many bytes, which is more than a network's MTU.
            command.args(["-B", "16384", "-s", "2048", "-w"]);
            command.arg(&file).args(filter.split_whitespace())
        })?;
        if process.wait_for("listening on", START_MAX) {
            return Ok(Self { process, file });
        }
        Err(io::Error::other(format!("tcpdump says: {}", process.output())))
    }

    /// The file, in the format of `pcap`. It grows until [`finish`](Self::finish), and is removed
    /// with the lab.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The frames until now, a line each as `tcpdump -e -nn -S` shows them.
    ///
    /// # Errors
    /// `tcpdump` cannot be run.
    pub fn lines(&self) -> io::Result<Vec<String>> {
        lines(&self.file)
    }

    /// Ends it, and says all that it saw, as [`lines`](Self::lines) does.
    ///
    /// # Errors
    /// As of [`finish`](Self::finish) and of [`lines`](Self::lines).
    pub fn all(self) -> io::Result<Vec<String>> {
        lines(&self.finish()?)
    }

    /// Ends it, when all that it saw is in the file, and returns the file.
    ///
    /// # Errors
    /// `tcpdump` does not end.
    pub fn finish(self) -> io::Result<PathBuf> {
        self.process.terminate()?;
        match self.process.wait(STOP_MAX)? {
            Some(_) => Ok(self.file),
            None => Err(io::Error::other("tcpdump does not end")),
        }
    }
}

/// How long `tcpdump` may take to write the last frames.
const STOP_MAX: Duration = Duration::from_secs(10);

fn lines(file: &Path) -> io::Result<Vec<String>> {
    let mut command = Command::new("tcpdump");
    let told = tool::run(command.args(["-e", "-nn", "-S", "-t", "-r"]).arg(file), "")?;
    Ok(told.lines().map(str::to_owned).collect())
}
