//! A lower bound of what the disk was told to keep.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;

use bytes::BufMut;
use ha_proto::codec::Reader;
use ha_proto::{Seq, StoreId};

use super::{StoreError, checksum};

/// Remembers, beside the log, a record that was durable: a bad record up to it is a damaged disk,
/// never the torn end of a write that was under way.
///
/// It is written after each sync of the log and not synced itself: after a power cut it is older
/// than the log, or torn and then ignored, and either only makes it say less. It is lowered, and
/// synced, before records are dropped.
///
/// Layout, 20 bytes, big-endian: store u64, sequence u64, CRC-32C of both u32.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    path: PathBuf,
    store: StoreId,
}

impl Mark {
    pub(super) const NAME: &str = "durable";
    const LEN: usize = 20;

    /// The mark of the log `store` in `folder`, made when it is missing.
    pub(super) fn open(folder: &Path, store: StoreId) -> Result<Self, StoreError> {
        let path = folder.join(Self::NAME);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(StoreError::io("open", &path))?;
        let mark = Self { file, path, store };
        let data = mark.file.metadata().map_err(StoreError::io("look at", &mark.path))?;
        if data.len() < Self::LEN as u64 {
            // Its space is taken now, so that a full disk cannot keep it from being raised.
            mark.raise(Seq::ZERO)?;
        }
        Ok(mark)
    }

    /// The last record that is known to have been durable; zero when none is.
    pub(super) fn load(&self) -> Seq {
        let mut bytes = [0; Self::LEN];
        if self.file.read_exact_at(&mut bytes, 0).is_err() {
            return Seq::ZERO;
        }
        self.decode(&bytes).unwrap_or_default()
    }

    /// `seq` is durable.
    pub(super) fn raise(&self, seq: Seq) -> Result<(), StoreError> {
        let bytes = self.encode(seq);
        self.file.write_all_at(&bytes, 0).map_err(StoreError::io("write", &self.path))
    }

    /// Records after `seq` will be dropped: says no more than that from now on, durably.
    pub(super) fn lower(&self, seq: Seq) -> Result<(), StoreError> {
        self.raise(seq.min(self.load()))?;
        self.file.sync_all().map_err(StoreError::io("sync", &self.path))
    }

    fn encode(&self, seq: Seq) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let mut body = &mut bytes[..];
        body.put_u64(self.store.0);
        body.put_u64(seq.0);
        checksum::seal(&mut bytes);
        bytes
    }

    fn decode(&self, bytes: &[u8]) -> Option<Seq> {
        let mut reader = Reader::new(bytes);
        let store = reader.u64("store").ok()?;
        let seq = reader.seq("sequence").ok()?;
        (checksum::is_sound(bytes) && store == self.store.0).then_some(seq)
    }
}
