//! The threads that wait for the disk, so that the node's loop never does.

use std::collections::VecDeque;
use std::format;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::prelude::rust_2024::*;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use ha_proto::{Seq, Ticket};
use ha_replicate::Batch;
use tracing::{error, warn};

use super::aside::{self, AsideError};
use super::baton;
use super::log::AppendError;
use super::reader::Reader;
use super::segment::SegmentHeader;
use super::{GROUP_MAX, SavedFile, Store, StoreError};
use crate::{Answer, Saved};

/// A store at work: one thread writes the log, one reads it, one saves. Each does what it is asked
/// in order, and answers through the function that it was started with, on its own thread.
///
/// Of appends that became durable together only the newest is answered. After a failure nothing is
/// tried again: everything is answered [`Answer::Failed`] from then on.
///
/// Its queues hold what one module has in flight, which the module bounds by its window.
#[derive(Debug)]
pub struct Storage {
    writer: Worker<Write>,
    reader: Worker<Fetch>,
    saver: Worker<(Ticket, Saved)>,
}

#[derive(Debug)]
struct Worker<T> {
    jobs: Option<Sender<T>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Write {
    Append(Ticket, Batch),
    SetAside(Ticket, Seq),
    Truncate(Ticket, Seq),
    Leave(Vec<u8>, Sender<io::Result<()>>),
}

#[derive(Debug)]
struct Fetch {
    ticket: Ticket,
    from: Seq,
    max: usize,
}

impl Storage {
    /// Starts the threads of `store`. `died` is called with the name of one that panicked: what it
    /// owes is never answered, so that whoever asked has to end.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(
        store: Store,
        answer: impl Fn(Ticket, Answer) + Send + Sync + 'static,
        died: impl Fn(&str) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let answer = Arc::new(answer);
        let died: Arc<dyn Fn(&str) + Send + Sync> = Arc::new(died);
        let module = store.saved.module.0;
        let mut reader = store.log.reader();
        let (saved_file, mut saver_failed) = (store.saved_file.clone(), false);
        let mut writer =
            Writer { reader: store.log.reader(), store, failed: false, waiting: VecDeque::new() };
        let to = Arc::clone(&answer);
        let writer = Worker::start(format!("ha-log-{module}"), Arc::clone(&died), move |jobs| {
            while writer.turn(jobs, &*to) {}
        })?;
        let to = Arc::clone(&answer);
        let reader = Worker::start(format!("ha-read-{module}"), Arc::clone(&died), move |jobs| {
            for Fetch { ticket, from, max } in jobs {
                to(ticket, fetch(&mut reader, from, max));
            }
        })?;
        let saver = Worker::start(format!("ha-save-{module}"), died, move |jobs| {
            for (ticket, saved) in jobs {
                answer(ticket, save(&saved_file, &saved, &mut saver_failed));
            }
        })?;
        Ok(Self { writer, reader, saver })
    }

    /// Makes `batch` durable behind the log's end.
    pub fn append(&self, ticket: Ticket, batch: Batch) {
        self.writer.ask(Write::Append(ticket, batch));
    }

    /// Keeps the records from `from` on aside.
    pub fn set_aside(&self, ticket: Ticket, from: Seq) {
        self.writer.ask(Write::SetAside(ticket, from));
    }

    /// Drops the records after `keep`.
    pub fn truncate(&self, ticket: Ticket, keep: Seq) {
        self.writer.ask(Write::Truncate(ticket, keep));
    }

    /// Reads whole records from `from` on, at least one, about `max` bytes.
    pub fn read(&self, ticket: Ticket, from: Seq, max: usize) {
        self.reader.ask(Fetch { ticket, from, max });
    }

    /// Leaves `baton` for whoever opens the folder next, and ends: the folder is free afterwards.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn leave_baton(self, baton: Vec<u8>) -> io::Result<()> {
        let (reply, answer) = channel();
        self.writer.ask(Write::Leave(baton, reply));
        // A writer that is gone has panicked.
        answer.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }

    /// Replaces what is saved.
    pub fn save(&self, ticket: Ticket, saved: Saved) {
        self.saver.ask((ticket, saved));
    }
}

impl<T: Send + 'static> Worker<T> {
    fn start(
        name: String,
        died: Arc<dyn Fn(&str) + Send + Sync>,
        work: impl FnOnce(&Receiver<T>) + Send + 'static,
    ) -> io::Result<Self> {
        let (jobs, todo) = channel();
        let thread = thread::Builder::new().name(name.clone()).spawn(move || {
            // Nothing that it shared is used after a panic but the index, which each step leaves
            // whole, and the files, which a restart judges anew.
            if catch_unwind(AssertUnwindSafe(|| work(&todo))).is_err() {
                died(&name);
            }
        })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    fn ask(&self, job: T) {
        let jobs = self.jobs.as_ref().expect("the queue lives as long as its worker");
        // A worker that is gone has panicked, and whoever started it was told: the driver ends.
        let _ = jobs.send(job);
    }
}

impl<T> Drop for Worker<T> {
    /// Waits until everything that was asked is done.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Writer {
    store: Store,
    reader: Reader,
    failed: bool,
    waiting: VecDeque<Write>,
}

impl Writer {
    /// Waits for something to do, does it; false when nothing will come any more.
    fn turn(&mut self, jobs: &Receiver<Write>, answer: &dyn Fn(Ticket, Answer)) -> bool {
        if self.waiting.is_empty() {
            let Ok(job) = jobs.recv() else { return false };
            self.waiting.push_back(job);
        }
        self.waiting.extend(jobs.try_iter());
        match self.waiting.pop_front().expect("there is at least one job") {
            Write::Append(ticket, batch) => self.append(ticket, batch, answer),
            Write::SetAside(ticket, from) => answer(ticket, self.set_aside(from)),
            Write::Truncate(ticket, keep) => answer(ticket, self.truncate(keep)),
            Write::Leave(baton, reply) => {
                // Who asked waits.
                let _ = reply.send(baton::leave(&self.store.home, &baton));
            }
        }
        true
    }

    /// Appends `batch` and whatever waits directly behind it, with one sync.
    fn append(&mut self, ticket: Ticket, batch: Batch, answer: &dyn Fn(Ticket, Answer)) {
        let (mut tickets, mut batches) = (Vec::from([ticket]), Vec::from([batch]));
        let mut bytes = batches[0].bytes.len();
        while let Some(Write::Append(_, next)) = self.waiting.front() {
            bytes += next.bytes.len();
            let last = batches.last().expect("it holds at least one").last;
            if bytes > GROUP_MAX || next.first != last.next() {
                break;
            }
            let Some(Write::Append(ticket, batch)) = self.waiting.pop_front() else { break };
            tickets.push(ticket);
            batches.push(batch);
        }
        let (mut tickets, mut batches) = (&tickets[..], &batches[..]);
        while !batches.is_empty() {
            let (count, result) = self.append_some(batches);
            for ticket in &tickets[if result == Answer::Done { count - 1 } else { 0 }..count] {
                answer(*ticket, result.clone());
            }
            (tickets, batches) = (&tickets[count..], &batches[count..]);
        }
    }

    /// Appends as many of `batches` as one file takes; how many were, or failed alike.
    fn append_some(&mut self, batches: &[Batch]) -> (usize, Answer) {
        let next = self.store.log.end().seq.next();
        let first = batches.first().map_or(next, |batch| batch.first);
        if self.failed {
            return (batches.len(), Answer::Failed);
        }
        if first > next {
            // One before it met a full disk: this one would leave a gap.
            return (batches.len(), Answer::Full);
        }
        match self.store.log.append(batches) {
            Ok(count) => (count, Answer::Done),
            Err(AppendError::Full) => {
                warn!(next = next.0, "the disk is full: the log takes no more records");
                (batches.len(), Answer::Full)
            }
            Err(AppendError::Failed(error)) => (batches.len(), self.fail(&error)),
        }
    }

    fn set_aside(&mut self, from: Seq) -> Answer {
        if self.failed {
            return Answer::Failed;
        }
        let Store { home, log, limits, .. } = &self.store;
        let header = SegmentHeader {
            ids: super::Ids {
                cluster: self.store.saved.cluster,
                module: self.store.saved.module,
                node: self.store.saved.node,
            },
            store: log.store(),
            start: log.end(),
            previous_end: 0,
            previous_checksum: 0,
        };
        let limit = limits.aside_bytes;
        match aside::keep(home, header, log.end(), from, limit, &mut self.reader) {
            Ok(bytes) => Answer::Kept { bytes },
            Err(AsideError::Limit(limit)) => {
                error!(from = from.0, limit, "more records to set aside than aside_bytes allows");
                Answer::Failed
            }
            // The log itself is whole: there was no room beside it, or it could not be read.
            Err(AsideError::Store(error)) => {
                error!(%error, from = from.0, "records could not be set aside");
                Answer::Failed
            }
        }
    }

    fn truncate(&mut self, keep: Seq) -> Answer {
        if self.failed {
            return Answer::Failed;
        }
        match self.store.log.truncate(keep, &mut self.reader) {
            Ok(()) => Answer::Truncated { head: self.store.log.end(), bytes: self.store.bytes() },
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&mut self, error: &StoreError) -> Answer {
        error!(%error, "the log failed: nothing more is written before a restart");
        self.failed = true;
        Answer::Failed
    }
}

fn fetch(reader: &mut Reader, from: Seq, max: usize) -> Answer {
    match reader.read(from, max) {
        Ok(Some(read)) => Answer::Records(read.bytes),
        Ok(None) => {
            error!(from = from.0, "a record behind the log's end was asked for");
            Answer::Failed
        }
        Err(error) => {
            error!(%error, from = from.0, "the log cannot be read");
            Answer::Failed
        }
    }
}

fn save(file: &SavedFile, saved: &Saved, failed: &mut bool) -> Answer {
    if *failed {
        return Answer::Failed;
    }
    match file.replace(saved) {
        Ok(()) => Answer::Done,
        Err(error) => {
            error!(%error, "what must be remembered could not be saved");
            *failed = true;
            Answer::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use bytes::BytesMut;
    use ha_proto::{ClusterId, Epoch, ModuleId, NodeId, Position, StoreId};
    use ha_replicate::record::Body;

    use super::super::{Ids, StoreLimits};
    use super::*;

    fn open(folder: &std::path::Path) -> Store {
        let node = NodeId::new(0).unwrap();
        let ids = Ids { cluster: ClusterId(1), module: ModuleId(1), node };
        Store::open(folder, ids, StoreLimits::default(), StoreId(1)).unwrap()
    }

    fn batch() -> Batch {
        let mut bytes = BytesMut::new();
        let epoch = Epoch::new(1, NodeId::new(0).unwrap());
        let end = Body::data(b"record").encode(epoch, Position::default(), &mut bytes);
        Batch { first: Seq(1), last: Seq(1), end, bytes: bytes.freeze() }
    }

    #[test]
    fn after_a_failed_write_nothing_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        store.log.break_disk();
        let (sender, answers) = channel();
        let answer = move |ticket, answer| sender.send((ticket, answer)).unwrap();
        let storage = Storage::start(store, answer, |_| unreachable!("none panics")).unwrap();
        storage.append(Ticket(1), batch());
        storage.append(Ticket(2), batch());
        storage.set_aside(Ticket(3), Seq(1));
        storage.truncate(Ticket(4), Seq(0));
        for ticket in 1..=4 {
            let answer = answers.recv_timeout(Duration::from_mins(1)).unwrap();
            assert_eq!(answer, (Ticket(ticket), Answer::Failed));
        }
        drop(storage);
        assert_eq!(open(folder.path()).position(), Position::default());
    }

    #[test]
    fn a_thread_that_panics_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (answered, answers) = channel();
        let (died, deaths) = channel();
        let answer = move |ticket, answer| answered.send((ticket, answer)).unwrap();
        let died = move |name: &str| died.send(String::from(name)).unwrap();
        let storage = Storage::start(open(folder.path()), answer, died).unwrap();
        storage.append(Ticket(1), batch());
        let answer = answers.recv_timeout(Duration::from_mins(1)).unwrap();
        assert_eq!(answer, (Ticket(1), Answer::Done));
        // The same place again is misuse, which nobody answers for.
        storage.append(Ticket(2), batch());
        assert_eq!(deaths.recv_timeout(Duration::from_mins(1)).unwrap(), "ha-log-1");
        storage.append(Ticket(3), batch());
        drop(storage);
        assert_eq!((answers.iter().count(), deaths.iter().count()), (0, 0));
    }

    #[test]
    fn after_a_failed_save_nothing_is_saved_again() {
        let folder = tempfile::tempdir().unwrap();
        let (home, away) = (folder.path().join("home"), folder.path().join("away"));
        let store = open(&home);
        let saved = store.saved().clone();
        let (sender, answers) = channel();
        let answer = move |ticket, answer| sender.send((ticket, answer)).unwrap();
        let storage = Storage::start(store, answer, |_| unreachable!("none panics")).unwrap();
        let save = |ticket| {
            storage.save(Ticket(ticket), saved.clone());
            answers.recv_timeout(Duration::from_mins(1)).unwrap()
        };
        assert_eq!(save(1), (Ticket(1), Answer::Done));
        std::fs::rename(&home, &away).unwrap();
        assert_eq!(save(2), (Ticket(2), Answer::Failed));
        std::fs::rename(&away, &home).unwrap();
        assert_eq!(save(3), (Ticket(3), Answer::Failed));
    }
}
