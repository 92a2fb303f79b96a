//! Clients that write the lines of a file, and remember what was acknowledged.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ha_node::ledger::{Client, ClientError, ClientId, LINE_MAX, Patience};

use crate::check::{Acked, Fed};

/// The lines that are written, over and over, in order.
#[derive(Debug)]
pub(crate) struct Lines(Vec<Vec<u8>>);

/// The running clients.
#[derive(Debug)]
pub(crate) struct Feed {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Result<Vec<Acked>, ClientError>>>,
}

#[derive(Debug)]
struct Shared {
    lines: Lines,
    next: AtomicUsize,
    stop: AtomicBool,
    /// Lines acknowledged to each client.
    acked: Vec<AtomicU64>,
    /// Longest interruption since the last look, in nanoseconds.
    worst: AtomicU64,
}

/// A client rests after each line, so that a demonstration neither fills the disk nor hides an
/// interruption behind a queue.
const REST: Duration = Duration::from_millis(1);
/// A client connects anew after so many lines, as real ones come and go.
const LINES_A_CONNECTION: u64 = 64;
/// Between two connections that are tried, of all clients together: the nodes have the same few
/// processors, and are to take over meanwhile.
const RECONNECT: Duration = Duration::from_micros(200);

impl Lines {
    /// The lines of `file`; without one, of this project's sources.
    ///
    /// # Errors
    /// When a file cannot be read, or there is no line.
    pub(crate) fn read(file: Option<&Path>) -> io::Result<Self> {
        let mut files = Vec::new();
        match file {
            Some(file) => files.push(file.to_owned()),
            None => find_sources(&project(), &mut files)?,
        }
        files.sort();
        let mut lines = Vec::new();
        for path in &files {
            let failed = |error: io::Error| {
                io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))
            };
            if !fs::metadata(path).map_err(failed)?.is_file() {
                // A pipe would be waited for without a word.
                return Err(failed(io::Error::other("it is no regular file")));
            }
            let text = fs::read(path).map_err(failed)?;
            for line in text.split(|&byte| byte == b'\n') {
                lines.extend(line.chunks(LINE_MAX).map(<[u8]>::to_vec));
            }
        }
        if lines.is_empty() {
            let found = file.map_or("the sources".into(), |file| file.display().to_string());
            let what = format!("there is not one line in {found}: name a file with some");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        Ok(Self(lines))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Feed {
    /// Starts so many clients.
    pub(crate) fn start(address: SocketAddr, clients: u16, lines: Lines) -> Self {
        let shared = Arc::new(Shared {
            lines,
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            acked: (0..clients).map(|_| AtomicU64::new(0)).collect(),
            worst: AtomicU64::new(0),
        });
        let clients = (0..usize::from(clients))
            .map(|at| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || write(&shared, address, at))
            })
            .collect();
        Self { shared, clients }
    }

    /// Waits until every client was acknowledged a line that it sent after this call.
    ///
    /// # Errors
    /// How many were not, within `limit`.
    pub(crate) fn all_go_on(&self, limit: Duration) -> Result<(), String> {
        let before = self.acknowledged();
        let end = Instant::now() + limit;
        loop {
            // The first may have been sent before.
            let now = self.acknowledged();
            match now.iter().zip(&before).filter(|(now, then)| **now < *then + 2).count() {
                0 => return Ok(()),
                stuck
                    if Instant::now() >= end
                        || self.clients.iter().any(JoinHandle::is_finished) =>
                {
                    return Err(format!("{stuck} clients are not answered"));
                }
                _ => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Lines acknowledged so far.
    pub(crate) fn lines(&self) -> u64 {
        self.acknowledged().iter().sum()
    }

    /// The longest interruption since this was asked before.
    pub(crate) fn worst(&self) -> Duration {
        Duration::from_nanos(self.shared.worst.swap(0, Ordering::AcqRel))
    }

    /// Stops the clients, each after the line that it is writing; all that was acknowledged.
    ///
    /// # Errors
    /// A client's, when it gave up.
    pub(crate) fn stop(self) -> Result<Fed, ClientError> {
        self.shared.stop.store(true, Ordering::Release);
        let mut acked = Vec::new();
        for client in self.clients {
            acked.extend(client.join().expect("a client does not panic")?);
        }
        let shared = Arc::into_inner(self.shared).expect("all who shared it have ended");
        Ok(Fed { lines: shared.lines.0, acked })
    }

    fn acknowledged(&self) -> Vec<u64> {
        self.shared.acked.iter().map(|one| one.load(Ordering::Acquire)).collect()
    }
}

/// One client's life.
fn write(shared: &Shared, address: SocketAddr, at: usize) -> Result<Vec<Acked>, ClientError> {
    let clients = u32::try_from(shared.acked.len()).unwrap_or(u32::MAX);
    let longest = Patience::default().pause_max;
    let patience = Patience { pause_max: longest.min(RECONNECT * clients), ..Patience::default() };
    let mut client = Client::new(address, ClientId(at as u64 + 1), patience);
    let mut acked = Vec::new();
    while !shared.stop.load(Ordering::Acquire) {
        let line = shared.next.fetch_add(1, Ordering::Relaxed) % shared.lines.len();
        let receipt = client.append(&shared.lines.0[line])?;
        acked.push(Acked { client: client.id(), number: receipt.number, line });
        let took = u64::try_from(receipt.took.as_nanos()).unwrap_or(u64::MAX);
        shared.worst.fetch_max(took, Ordering::AcqRel);
        shared.acked[at].fetch_add(1, Ordering::AcqRel);
        if receipt.number.0 % LINES_A_CONNECTION == 0 {
            client.disconnect();
        }
        thread::sleep(REST);
    }
    Ok(acked)
}

/// The folder of this project, where it was built; where it runs, if that is gone.
fn project() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    if built.is_dir() { built } else { PathBuf::from(".") }
}

/// All Rust files below a folder but for what was built.
fn find_sources(folder: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        if kind.is_dir() && !path.ends_with("target") {
            find_sources(&path, into)?;
        } else if kind.is_file() && path.extension().is_some_and(|name| name == "rs") {
            into.push(path);
        }
    }
    Ok(())
}
