//! The ledger over TCP: one thread and one poll loop for all connections.
//!
//! A request's way: read from its connection, proposed as a record, and, when that record comes
//! back committed, applied and acknowledged. Nothing is spawned or locked for a single request:
//! a turn of the loop takes all that came, proposes it together, and writes each connection's
//! answers at once.

mod connection;
mod worker;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use ha_core::driver::Clock;
use ha_proto::{Instant, Seq};
use thiserror::Error;
use tokio::sync::oneshot;

use worker::Worker;

/// Where the ledger's records go: a mirror pair, or in tests and benches something simpler.
pub trait Proposer: Send + 'static {
    /// Takes records from the front of `records`, in order, as many as there is room for; what it
    /// leaves it is given again later. Must not block: the ledger's only thread calls it.
    ///
    /// # Errors
    /// [`Refused`] when the first record will never be taken by this reign.
    fn propose(&mut self, records: &mut VecDeque<Bytes>) -> Result<(), Refused>;
}

/// Why a record is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// Another node serves: clients are to connect again.
    #[error("this node does not serve")]
    NotServing,
    /// The log takes no more.
    #[error("the log is full")]
    NoSpace,
}

/// The ledger's thread. Dropping it ends the thread and closes all connections.
#[derive(Debug)]
pub struct Server {
    application: Application,
    thread: Option<JoinHandle<()>>,
}

/// What whoever runs the ledger tells it. Cheap to clone; usable from any thread.
#[derive(Clone, Debug)]
pub struct Application {
    shared: Arc<Shared>,
}

/// Why the ledger did not do what it was told.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The address could not be set.
    #[error("cannot listen at {address}: {error}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// The dump could not be written.
    #[error("cannot write {path}: {error}")]
    Dump {
        /// Where.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The ledger's thread has ended.
    #[error("the ledger has ended")]
    Ended,
}

impl Server {
    /// Starts an empty ledger that listens nowhere.
    ///
    /// # Errors
    /// When the system gives no poll or no thread.
    pub fn start() -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let shared = Arc::new(Shared::new(&poll)?);
        let worker = Worker::new(poll, Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("ledger".into()).spawn(|| worker.run())?;
        Ok(Self { application: Application { shared }, thread: Some(thread) })
    }

    /// To tell it things.
    pub fn application(&self) -> Application {
        self.application.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.application.send(Command::End);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already; here it only means that it ended.
            let _ = thread.join();
        }
    }
}

impl Application {
    /// Records that wait to be applied, at most: a follower that replays its whole log must not
    /// hold it twice in memory.
    const COMMITTED_MAX: usize = 65_536;

    /// Where records go from now on.
    pub fn connect(&self, proposer: impl Proposer) {
        self.send(Command::Connect(Box::new(proposer)));
    }

    /// Listens at `address` for `lifetime`, unless kept. `shared`: although another process may
    /// listen there too (so that two primaries can be seen, where the kind of vote allows them).
    ///
    /// # Errors
    /// [`ServerError::Listen`]; then it listens nowhere.
    pub async fn take_address(
        &self,
        address: SocketAddr,
        shared: bool,
        lifetime: Duration,
    ) -> Result<(), ServerError> {
        let expires = self.shared.clock.now() + lifetime;
        self.ask(|reply| Command::TakeAddress { address, shared, expires, reply }).await?
    }

    /// Listens for another `lifetime` from now, where it listens.
    pub fn keep_address(&self, lifetime: Duration) {
        self.send(Command::KeepAddress(self.shared.clock.now() + lifetime));
    }

    /// Listens nowhere and closes all connections.
    ///
    /// # Errors
    /// [`ServerError::Ended`].
    pub async fn drop_address(&self) -> Result<(), ServerError> {
        self.ask(Command::DropAddress).await
    }

    /// Serves: answers once the record `head` is applied.
    ///
    /// # Errors
    /// [`ServerError::Ended`].
    pub async fn serve(&self, head: Seq) -> Result<(), ServerError> {
        self.ask(|reply| Command::Serve { head, reply }).await
    }

    /// Serves no more: when this returns nothing is answered and nothing proposed.
    ///
    /// # Errors
    /// [`ServerError::Ended`].
    pub async fn cease(&self) -> Result<(), ServerError> {
        self.ask(Command::Cease).await
    }

    /// Applies committed records, in order. Waits while too many wait already.
    pub fn apply(&self, records: impl IntoIterator<Item = (Seq, Bytes)>) {
        let mut inbox = self.shared.lock();
        while inbox.commands.len() >= Self::COMMITTED_MAX && inbox.open {
            inbox = self.shared.room.wait(inbox).expect(POISONED);
        }
        let first = inbox.commands.is_empty();
        inbox.commands.extend(records.into_iter().map(|(seq, bytes)| Command::Apply(seq, bytes)));
        drop(inbox);
        if first {
            self.shared.wake();
        }
    }

    /// A record that was taken will not be committed after all.
    pub fn refuse(&self, record: Bytes, why: Refused) {
        self.send(Command::Refuse(record, why));
    }

    /// Forgets the state: it will be applied again from the first record.
    pub fn reset(&self) {
        self.send(Command::Reset);
    }

    /// Writes the state to a file ([`Ledger::dump`](super::Ledger::dump)); the last record that is
    /// in it.
    ///
    /// # Errors
    /// [`ServerError::Dump`].
    pub async fn dump(&self, path: PathBuf) -> Result<Seq, ServerError> {
        self.ask(|reply| Command::Dump { path, reply }).await?
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, ServerError> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply));
        answer.await.map_err(|_| ServerError::Ended)
    }

    fn send(&self, command: Command) {
        let mut inbox = self.shared.lock();
        // Once the thread has ended nobody would take it, and its reply must not be waited for.
        if inbox.open {
            inbox.commands.push(command);
            drop(inbox);
            self.shared.wake();
        }
    }
}

/// What the ledger's thread is told, in order.
enum Command {
    Connect(Box<dyn Proposer>),
    TakeAddress {
        address: SocketAddr,
        shared: bool,
        /// From here on an instant, and not a time: a command may wait.
        expires: Instant,
        reply: oneshot::Sender<Result<(), ServerError>>,
    },
    KeepAddress(Instant),
    DropAddress(oneshot::Sender<()>),
    Serve {
        head: Seq,
        reply: oneshot::Sender<()>,
    },
    Cease(oneshot::Sender<()>),
    Apply(Seq, Bytes),
    Refuse(Bytes, Refused),
    Reset,
    Dump {
        path: PathBuf,
        reply: oneshot::Sender<Result<Seq, ServerError>>,
    },
    End,
}

#[derive(Debug)]
struct Shared {
    inbox: Mutex<Inbox>,
    room: Condvar,
    waker: mio::Waker,
    /// Counts suspend: an address must not outlive a machine's sleep.
    clock: Clock,
}

struct Inbox {
    commands: Vec<Command>,
    open: bool,
}

const POISONED: &str = "nobody panics while holding the inbox";

impl Shared {
    fn new(poll: &mio::Poll) -> io::Result<Self> {
        let waker = mio::Waker::new(poll.registry(), worker::WAKE)?;
        let inbox = Mutex::new(Inbox { commands: Vec::new(), open: true });
        Ok(Self { inbox, room: Condvar::new(), waker, clock: Clock::start() })
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().expect(POISONED)
    }

    fn wake(&self) {
        self.waker.wake().expect("an eventfd takes more wake-ups than anyone can send");
    }

    /// All commands, in order, in exchange for an empty list.
    fn take(&self, into: &mut Vec<Command>) {
        std::mem::swap(&mut self.lock().commands, into);
        self.room.notify_all();
    }

    fn close(&self) {
        let mut inbox = self.lock();
        inbox.open = false;
        inbox.commands.clear();
        self.room.notify_all();
    }
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("commands", &self.commands.len()).finish_non_exhaustive()
    }
}
