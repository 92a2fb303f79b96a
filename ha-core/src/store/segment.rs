//! The head of a log file.

use std::ffi::OsStr;
use std::format;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::prelude::rust_2024::*;

use bytes::BufMut;
use ha_proto::codec::Reader;
use ha_proto::{ClusterId, ModuleId, Position, Seq, StoreId};

use super::{Ids, StoreError, checksum};

/// The head of one file of the log: whose it is, and what comes before its first record.
///
/// Layout, [`SegmentHeader::LEN`] bytes, big-endian; whole records follow, then zeros:
///
/// | at | bytes | field |
/// |---|---|---|
/// | 0 | 4 | magic `0x48534547` ("HSEG") |
/// | 4 | 1 | version, 1 |
/// | 5 | 1 | node |
/// | 6 | 2 | module |
/// | 8 | 8 | cluster |
/// | 16 | 8 | store |
/// | 24 | 24 | position before the first record |
/// | 48 | 8 | bytes of the previous file that are header and records; 0 in the first |
/// | 56 | 4 | checksum of the previous file's head; 0 in the first |
/// | 60 | 4 | CRC-32C of all before it |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Whose.
    pub ids: Ids,
    /// Which log: the saved file holds the same number.
    pub store: StoreId,
    /// The last record before this file.
    pub start: Position,
    /// How many bytes of the previous file count.
    pub previous_end: u64,
    /// The checksum of the previous file's head, so that no file of the log can be missing.
    pub previous_checksum: u32,
}

impl SegmentHeader {
    /// How many bytes it takes.
    pub const LEN: usize = 64;

    /// The bytes for the file.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let mut body = &mut bytes[..Self::LEN - 4];
        body.put_u32(MAGIC);
        body.put_u8(VERSION);
        body.put_u8(self.ids.node.as_u8());
        body.put_u16(self.ids.module.0);
        body.put_u64(self.ids.cluster.0);
        body.put_u64(self.store.0);
        self.start.encode(&mut body);
        body.put_u64(self.previous_end);
        body.put_u32(self.previous_checksum);
        assert!(body.is_empty(), "a gap before the checksum would make the log unreadable");
        checksum::seal(&mut bytes);
        bytes
    }

    /// The head in `bytes`, read from `path`.
    ///
    /// # Errors
    /// When it is damaged, or of a newer version.
    pub fn decode(bytes: &[u8; Self::LEN], path: &Path) -> Result<Self, StoreError> {
        let mut reader = Reader::new(bytes);
        let corrupt = |_| corrupt(path);
        let magic = reader.u32("magic").map_err(corrupt)?;
        let version = reader.u8("version").map_err(corrupt)?;
        if magic == MAGIC && version > VERSION {
            return Err(StoreError::Newer {
                path: path.to_path_buf(),
                found: version,
                known: VERSION,
            });
        }
        let header = Self::read(&mut reader).map_err(corrupt)?;
        if magic == MAGIC && version == VERSION && checksum::is_sound(bytes) {
            Ok(header)
        } else {
            Err(self::corrupt(path))
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, ha_proto::codec::DecodeError> {
        let node = reader.node("node")?;
        let module = ModuleId(reader.u16("module")?);
        let cluster = ClusterId(reader.u64("cluster")?);
        Ok(Self {
            ids: Ids { cluster, module, node },
            store: StoreId(reader.u64("store")?),
            start: Position::decode(reader)?,
            previous_end: reader.u64("previous end")?,
            previous_checksum: reader.u32("previous checksum")?,
        })
    }

    /// The head of the open file `file` at `path`.
    pub(super) fn load(file: &File, path: &Path) -> Result<Self, StoreError> {
        let mut bytes = [0; Self::LEN];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Self::decode(&bytes, path),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(corrupt(path)),
            Err(error) => Err(StoreError::io("read", path)(error)),
        }
    }

    /// Its own checksum, as the next file repeats it.
    pub(super) fn checksum(&self) -> u32 {
        checksum::of(&self.encode()[..Self::LEN - 4])
    }
}

/// The name of the file whose first record is `first`.
pub(super) fn file_name(first: Seq) -> String {
    format!("log-{:016x}.seg", first.0)
}

/// The first record of the file with this name; `None` for any other file.
pub(super) fn first_of(name: &OsStr) -> Option<Seq> {
    let hex = name.to_str()?.strip_prefix("log-")?.strip_suffix(".seg")?;
    if hex.len() == 16 { u64::from_str_radix(hex, 16).ok().map(Seq) } else { None }
}

fn corrupt(path: &Path) -> StoreError {
    let name = path.file_name().and_then(first_of);
    StoreError::Corrupt { segment: path.to_path_buf(), offset: 0, next: name.unwrap_or_default() }
}

/// Refuses what belongs to others, in words for whoever named the folder.
pub(super) fn check_owner(found: Ids, expected: Ids, path: &Path) -> Result<(), StoreError> {
    let path = path.to_path_buf();
    if found.cluster != expected.cluster {
        let (found, expected) = (found.cluster, expected.cluster);
        return Err(StoreError::OtherCluster { path, found, expected });
    }
    if found.node != expected.node {
        let (found, expected) = (found.node, expected.node);
        return Err(StoreError::OtherNode { path, found, expected });
    }
    if found.module != expected.module {
        let (found, expected) = (found.module, expected.module);
        return Err(StoreError::OtherModule { path, found, expected });
    }
    Ok(())
}

const MAGIC: u32 = u32::from_be_bytes(*b"HSEG");
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use ha_proto::{Chain, Epoch, NodeId};
    use proptest::prelude::*;

    use super::*;

    fn header() -> SegmentHeader {
        let node = NodeId::new(1).unwrap();
        SegmentHeader {
            ids: Ids { cluster: ClusterId(2), module: ModuleId(3), node },
            store: StoreId(4),
            start: Position { epoch: Epoch::new(5, node), seq: Seq(6), chain: Chain(7) },
            previous_end: 8,
            previous_checksum: 9,
        }
    }

    fn decode(bytes: &[u8; SegmentHeader::LEN]) -> Result<SegmentHeader, StoreError> {
        SegmentHeader::decode(bytes, Path::new("log-0000000000000007.seg"))
    }

    #[test]
    fn bytes_are_golden() {
        let mut golden = [0; SegmentHeader::LEN];
        golden[..8].copy_from_slice(&[b'H', b'S', b'E', b'G', 1, 1, 0, 3]);
        for (at, value) in [(15, 2), (23, 4), (30, 5), (31, 1), (39, 6), (47, 7), (55, 8), (59, 9)]
        {
            golden[at] = value;
        }
        golden[60..].copy_from_slice(&[181, 197, 46, 214]);
        assert_eq!(header().encode(), golden);
        assert_eq!(decode(&golden).unwrap(), header());
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let good = header().encode();
        for bit in 0..good.len() * 8 {
            let mut bytes = good;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn names_sort_as_their_records_do() {
        let names = [1, 9, 16, 255, 1 << 40].map(|first| file_name(Seq(first)));
        assert!(names.is_sorted());
        assert_eq!(first_of(OsStr::new(&names[3])), Some(Seq(255)));
        for name in ["log-1.seg", "log-000000000000000g.seg", "next.tmp", "durable"] {
            assert_eq!(first_of(OsStr::new(name)), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_header_or_an_error(
            bytes in any::<[u8; 32]>(),
            more in any::<[u8; 32]>(),
        ) {
            let mut whole = [0; SegmentHeader::LEN];
            whole[..32].copy_from_slice(&bytes);
            whole[32..].copy_from_slice(&more);
            prop_assert!(decode(&whole).is_err());
        }
    }
}
