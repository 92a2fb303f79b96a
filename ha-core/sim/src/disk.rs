//! A node's storage: the saved file, the log, and what was set aside.

use std::collections::BTreeSet;

use bytes::Bytes;
use ha_core::Saved;
use ha_proto::{Chain, Epoch, Position, Seq};

/// What of a node survives: everything that was reported durable, whatever happens to the process
/// or the power.
#[derive(Clone, Debug)]
pub struct Disk {
    /// The saved file, replaced atomically.
    pub saved: Saved,
    /// The log.
    pub log: LogFile,
    /// Every record that was set aside.
    pub aside: BTreeSet<(Seq, Chain)>,
}

impl Disk {
    /// An empty disk with a file for a new store.
    pub fn blank(saved: Saved) -> Self {
        Self { saved, log: LogFile::default(), aside: BTreeSet::new() }
    }
}

/// Durable records, as bytes and as an index of their ends. It reads headers by itself, so that a
/// broken codec is not checked by itself.
#[derive(Clone, Debug, Default)]
pub struct LogFile {
    bytes: Vec<u8>,
    index: Vec<Indexed>,
    torn: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Indexed {
    end: usize,
    epoch: Epoch,
    chain: Chain,
}

impl LogFile {
    /// The last record.
    pub fn head(&self) -> Position {
        self.position(Seq(self.index.len() as u64)).unwrap_or_default()
    }

    /// The record at `seq`; `None` when there is none.
    pub fn position(&self, seq: Seq) -> Option<Position> {
        let at = usize::try_from(seq.0).ok()?.checked_sub(1)?;
        let found = self.index.get(at)?;
        Some(Position { epoch: found.epoch, seq, chain: found.chain })
    }

    /// Whether the log holds exactly this record, or the record is "before the first".
    pub fn has(&self, seq: Seq, chain: Chain) -> bool {
        seq == Seq::ZERO || self.position(seq).is_some_and(|position| position.chain == chain)
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// What recovery finds on the medium: all records, and a torn one behind them, which it drops.
    pub fn recover(&mut self) -> Vec<u8> {
        let torn = std::mem::take(&mut self.torn);
        [&self.bytes[..], &torn].concat()
    }

    /// Writes records behind the end; the last one may be torn. Says how many were whole.
    ///
    /// # Errors
    /// When a record does not continue the log.
    pub fn append(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let mut rest = bytes;
        let mut whole = 0;
        while let Some(header) = Header::read(rest) {
            let Some((record, tail)) = rest.split_at_checked(header.len) else { break };
            let head = self.head();
            if header.position.seq != head.seq.next() {
                return Err(format!("record {} behind {}", header.position.seq, head.seq));
            }
            self.bytes.extend_from_slice(record);
            let Position { epoch, chain, .. } = header.position;
            self.index.push(Indexed { end: self.bytes.len(), epoch, chain });
            rest = tail;
            whole += 1;
        }
        self.torn.clear();
        self.torn.extend_from_slice(rest);
        Ok(whole)
    }

    /// Whole records from `from` on, at least one, no more than `max` bytes unless the first alone
    /// is longer; `None` when `from` is not there.
    pub fn read(&self, from: Seq, max: usize) -> Option<Bytes> {
        let first = usize::try_from(from.0).ok()?.checked_sub(1)?;
        let start = self.start(first);
        let mut end = self.index.get(first)?.end;
        for entry in &self.index[first + 1..] {
            if entry.end - start > max {
                break;
            }
            end = entry.end;
        }
        Some(Bytes::copy_from_slice(&self.bytes[start..end]))
    }

    /// Drops everything behind `keep`.
    pub fn truncate(&mut self, keep: Seq) {
        let keep = usize::try_from(keep.0).expect("a sequence of the model fits");
        self.torn.clear();
        self.index.truncate(keep);
        self.bytes.truncate(self.index.last().map_or(0, |entry| entry.end));
    }

    /// The bytes of the records up to `seq`.
    pub fn bytes_up_to(&self, seq: Seq) -> usize {
        let at = usize::try_from(seq.0).expect("a sequence of the model fits");
        self.start(at.min(self.index.len()))
    }

    /// The records behind `keep`.
    pub fn behind(&self, keep: Seq) -> impl Iterator<Item = (Seq, Chain)> {
        let from = usize::try_from(keep.0).expect("a sequence of the model fits");
        self.index
            .iter()
            .enumerate()
            .skip(from)
            .map(|(at, entry)| (Seq(at as u64 + 1), entry.chain))
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.index[before].end)
    }
}

/// A record's header, read by the simulator's own few lines.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Header and payload, in bytes.
    pub len: usize,
    /// Who wrote it, where.
    pub position: Position,
}

impl Header {
    /// How many bytes stand before the payload.
    pub const LEN: usize = 56;

    /// Reads the header at the start of `bytes`; `None` when they end inside it.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < Self::LEN {
            return None;
        }
        let word = |at: usize| {
            u64::from_be_bytes(*bytes[at..].first_chunk().expect("the header is whole"))
        };
        let payload = u32::from_be_bytes(*bytes[4..].first_chunk().expect("the header is whole"));
        let position = Position {
            epoch: Epoch::from_bits(word(24)),
            seq: Seq(word(32)),
            chain: Chain(word(40)),
        };
        Some(Self { len: Self::LEN + payload as usize, position })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seq: u64, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; Header::LEN];
        bytes[4..8].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
        bytes[24..32].copy_from_slice(&0x0100_u64.to_be_bytes());
        bytes[32..40].copy_from_slice(&seq.to_be_bytes());
        bytes[40..48].copy_from_slice(&(seq * 7).to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn records_come_back_whole() {
        let mut log = LogFile::default();
        let bytes = [record(1, b"one"), record(2, b"three"), record(3, b"")].concat();
        assert_eq!(log.append(&bytes), Ok(3));
        assert_eq!(log.head().seq, Seq(3));
        assert_eq!(log.read(Seq(2), 0).unwrap(), record(2, b"three"));
        assert_eq!(log.read(Seq(1), usize::MAX).unwrap(), bytes);
        assert_eq!(log.read(Seq(4), 1), None);
        assert!(log.has(Seq(2), Chain(14)) && !log.has(Seq(2), Chain(15)));
        log.truncate(Seq(1));
        assert_eq!(log.recover(), record(1, b"one"));
        assert_eq!(log.behind(Seq(0)).collect::<Vec<_>>(), [(Seq(1), Chain(7))]);
    }

    #[test]
    fn a_torn_tail_is_dropped_and_a_gap_refused() {
        let mut log = LogFile::default();
        let bytes = [record(1, b"one"), record(2, b"two")].concat();
        assert_eq!(log.append(&bytes[..bytes.len() - 1]), Ok(1));
        assert_eq!(log.recover(), bytes[..bytes.len() - 1]);
        assert_eq!(log.recover(), record(1, b"one"), "recovery cuts it");
        assert!(log.append(&record(3, b"")).is_err());
    }
}
