//! A store in a temporary folder, asked and answered one by one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::BytesMut;
use ha_core::store::{Ids, Storage, Store, StoreError, StoreLimits};
use ha_core::{Answer, Saved};
use ha_proto::{ClusterId, Epoch, ModuleId, NodeId, Position, Seq, StoreId, Ticket};
use ha_replicate::Batch;
use ha_replicate::record::Body;

pub(crate) const LIMITS: StoreLimits =
    StoreLimits { segment_bytes: StoreLimits::SEGMENT_MIN, aside_bytes: 1 << 20 };

pub(crate) fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

pub(crate) fn ids() -> Ids {
    Ids { cluster: ClusterId(1), module: ModuleId(2), node: node(0) }
}

pub(crate) fn epoch() -> Epoch {
    Epoch::new(1, node(0))
}

pub(crate) fn open(folder: &Path) -> Result<Store, StoreError> {
    Store::open(folder, ids(), LIMITS, StoreId(77))
}

/// `payloads` as the records that follow `after`.
pub(crate) fn batch<'a>(after: Position, payloads: impl IntoIterator<Item = &'a [u8]>) -> Batch {
    let mut bytes = BytesMut::new();
    let mut end = after;
    for payload in payloads {
        end = Body::data(payload).encode(epoch(), end, &mut bytes);
    }
    Batch { first: after.seq.next(), last: end.seq, end, bytes: bytes.freeze() }
}

/// A store at work.
pub(crate) struct Rig {
    pub(crate) storage: Storage,
    answers: Receiver<(Ticket, Answer)>,
    next: u64,
    pub(crate) saved: Saved,
    pub(crate) end: Position,
}

impl Rig {
    pub(crate) fn start(folder: &Path) -> Self {
        Self::run(open(folder).unwrap())
    }

    pub(crate) fn run(store: Store) -> Self {
        let (saved, end) = (store.saved().clone(), store.position());
        let (sender, answers) = channel();
        let answer = move |ticket, answer| sender.send((ticket, answer)).unwrap();
        let storage = Storage::start(store, answer, |name| panic!("{name}")).unwrap();
        Self { storage, answers, next: 0, saved, end }
    }

    pub(crate) fn ask(&mut self, ask: impl FnOnce(&Storage, Ticket)) -> Answer {
        self.next += 1;
        let ticket = Ticket(self.next);
        ask(&self.storage, ticket);
        let (answered, answer) = self.answer();
        assert_eq!(answered, ticket);
        answer
    }

    pub(crate) fn answer(&self) -> (Ticket, Answer) {
        self.answers.recv_timeout(Duration::from_mins(1)).expect("the store answers")
    }

    pub(crate) fn append(&mut self, payload: &[u8]) -> Answer {
        let batch = batch(self.end, [payload]);
        let end = batch.end;
        let answer = self.ask(|storage, ticket| storage.append(ticket, batch));
        if answer == Answer::Done {
            self.end = end;
        }
        answer
    }

    /// Appends `count` records of `len` bytes, each durable by itself.
    pub(crate) fn fill(&mut self, count: u64, len: usize) {
        for _ in 0..count {
            let payload = vec![self.end.seq.0 as u8; len];
            assert_eq!(self.append(&payload), Answer::Done);
        }
    }

    pub(crate) fn read(&mut self, from: u64, max: usize) -> Answer {
        self.ask(|storage, ticket| storage.read(ticket, Seq(from), max))
    }

    /// Every record's sequence and first byte, read in parts.
    pub(crate) fn all(&mut self) -> Vec<(u64, u8)> {
        let (mut found, mut from) = (Vec::new(), 1);
        while from <= self.end.seq.0 {
            let Answer::Records(bytes) = self.read(from, 1 << 16) else { panic!("unreadable") };
            let batch = Batch::read(&bytes, Seq(from), None).unwrap();
            assert_eq!(batch.bytes, bytes, "whole records only");
            let record = |record: ha_replicate::Record<'_>| {
                (record.position.seq.0, record.body.payload.first().copied().unwrap_or_default())
            };
            found.extend(batch.records().map(record));
            from = batch.last.0 + 1;
        }
        found
    }
}

/// What [`Rig::fill`] wrote, up to `last`.
pub(crate) fn filled(last: u64) -> Vec<(u64, u8)> {
    (1..=last).map(|seq| (seq, (seq - 1) as u8)).collect()
}

/// The files of the log, oldest first.
pub(crate) fn segments(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("log")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}
