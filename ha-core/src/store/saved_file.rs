//! The file of what a node must remember.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;

use bytes::BufMut;
use ha_proto::codec::{DecodeError, Reader};
use ha_proto::{ClusterId, DataState, Incarnation, Lineage, Membership, ModuleId, StoreId};

use super::{Ids, StoreError, checksum, folder, segment};
use crate::Saved;

/// Replaces and loads [`Saved`], whole and durably: after a crash at any step the file is the old
/// one or the new one.
///
/// Layout, always [`SavedFile::LEN`] bytes, so that a full disk has room for the next one where the
/// one before the last was; big-endian:
///
/// | at | bytes | field |
/// |---|---|---|
/// | 0 | 4 | magic `0x48534156` ("HSAV") |
/// | 4 | 1 | version, 1 |
/// | 5 | 1 | node |
/// | 6 | 2 | module |
/// | 8 | 8 | cluster |
/// | 16 | 8 | store |
/// | 24 | 8 | incarnation of the witness |
/// | 32 | 33 | membership |
/// | 65 | 1 | state of the data |
/// | 66 | 8 | the last joint reign |
/// | 74 | 2 + 24 n | lineage |
/// | 76 + 24 n | 24 (128 − n) | zero |
/// | 3148 | 4 | CRC-32C of all before it |
#[derive(Clone, Debug)]
pub struct SavedFile {
    folder: PathBuf,
    path: PathBuf,
    ids: Ids,
}

impl SavedFile {
    /// How many bytes it takes.
    pub const LEN: usize = 74 + Lineage::LEN_MAX + 4;
    /// Its name in a module's folder.
    pub const NAME: &str = "saved";

    /// The file in `folder`, of `ids`.
    pub fn new(folder: &Path, ids: Ids) -> Self {
        Self { folder: folder.to_path_buf(), path: folder.join(Self::NAME), ids }
    }

    /// What was saved last; `None` when nothing was.
    ///
    /// # Errors
    /// When the file is damaged, newer than this program, or another node's.
    pub fn load(&self) -> Result<Option<Saved>, StoreError> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("read", &self.path)(error)),
        };
        if let [b'H', b'S', b'A', b'V', found, ..] = bytes[..]
            && found > VERSION
        {
            let path = self.path.clone();
            return Err(StoreError::Newer { path, found, known: VERSION });
        }
        let damaged = |why| StoreError::Damaged { path: self.path.clone(), why };
        let saved = decode(&bytes).map_err(damaged)?;
        let found = Ids { cluster: saved.cluster, module: saved.module, node: saved.node };
        segment::check_owner(found, self.ids, &self.path)?;
        Ok(Some(saved))
    }

    /// Saves: once it returns, a restart will load this.
    ///
    /// # Errors
    /// When any step fails; the file is then the old one, or the new one.
    pub fn replace(&self, saved: &Saved) -> Result<(), StoreError> {
        folder::replace(&self.folder, Self::NAME, &encode(saved))
    }
}

/// The bytes for the file.
fn encode(saved: &Saved) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SavedFile::LEN);
    bytes.put_u32(MAGIC);
    bytes.put_u8(VERSION);
    bytes.put_u8(saved.node.as_u8());
    bytes.put_u16(saved.module.0);
    bytes.put_u64(saved.cluster.0);
    bytes.put_u64(saved.store.0);
    bytes.put_u64(saved.incarnation.0);
    saved.membership.encode(&mut bytes);
    bytes.put_u8(saved.state.as_u8());
    bytes.put_u64(saved.joint.bits());
    saved.lineage.encode(&mut bytes);
    assert!(bytes.len() <= SavedFile::LEN - 4, "a longer lineage than one can be");
    bytes.resize(SavedFile::LEN - 4, 0);
    let sum = checksum::of(&bytes);
    bytes.put_u32(sum);
    bytes
}

/// What `bytes` hold, and nothing else.
fn decode(bytes: &[u8]) -> Result<Saved, DecodeError> {
    let (body, _) = bytes.split_last_chunk::<4>().ok_or(DecodeError::Truncated("the file"))?;
    if bytes.len() != SavedFile::LEN {
        return Err(DecodeError::Invalid("the file's length"));
    }
    if !checksum::is_sound(bytes) {
        return Err(DecodeError::Invalid("the checksum"));
    }
    let mut reader = Reader::new(body);
    if reader.u32("magic")? != MAGIC {
        return Err(DecodeError::Invalid("the magic number"));
    }
    if reader.u8("version")? != VERSION {
        return Err(DecodeError::Invalid("the version"));
    }
    let node = reader.node("node")?;
    let module = ModuleId(reader.u16("module")?);
    let mut saved = Saved {
        cluster: ClusterId(reader.u64("cluster")?),
        module,
        node,
        store: StoreId(reader.u64("store")?),
        incarnation: Incarnation(reader.u64("incarnation")?),
        membership: Membership::decode(&mut reader)?,
        state: DataState::decode(&mut reader)?,
        joint: reader.epoch("the last joint reign")?,
        lineage: Lineage::default(),
    };
    saved.lineage = Lineage::decode(&mut reader)?;
    let rest = reader.rest();
    if rest.iter().any(|&byte| byte != 0) {
        return Err(DecodeError::Invalid("what is behind the lineage"));
    }
    Ok(saved)
}

const MAGIC: u32 = u32::from_be_bytes(*b"HSAV");
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use std::vec;

    use ha_proto::{Chain, DataId, Epoch, LineageEntry, NodeId, NodeSet, Seq};
    use proptest::prelude::*;

    use super::*;

    fn ids() -> Ids {
        Ids { cluster: ClusterId(0x0102), module: ModuleId(3), node: NodeId::new(1).unwrap() }
    }

    fn saved() -> Saved {
        let ids = ids();
        let epoch = Epoch::new(2, ids.node);
        let mut lineage = Lineage::default();
        lineage.push(LineageEntry { epoch, first: Seq(1), chain: Chain(0) });
        lineage.push(LineageEntry { epoch, first: Seq(9), chain: Chain(7) });
        Saved {
            membership: Membership {
                epoch,
                holder: ids.node,
                set: NodeSet::only(ids.node),
                data: DataId(5),
            },
            incarnation: Incarnation(6),
            state: DataState::Complete,
            lineage,
            joint: Epoch::new(1, NodeId::new(0).unwrap()),
            ..Saved::blank(ids.cluster, ids.module, ids.node, StoreId(4))
        }
    }

    fn written() -> (tempfile::TempDir, SavedFile) {
        let folder = tempfile::tempdir().unwrap();
        let file = SavedFile::new(folder.path(), ids());
        file.replace(&saved()).unwrap();
        (folder, file)
    }

    #[test]
    fn bytes_are_golden() {
        let mut golden = vec![b'H', b'S', b'A', b'V', 1, 1, 0, 3, 0, 0, 0, 0, 0, 0, 1, 2];
        golden.extend([0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 6]);
        golden.extend([0, 0, 0, 0, 0, 0, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        golden.extend([0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 5, 2]);
        golden.extend([0, 0, 0, 0, 0, 0, 1, 0]);
        golden.extend([0, 2, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        golden.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1]);
        golden.extend([0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 7]);
        golden.resize(3148, 0);
        let bytes = encode(&saved());
        assert_eq!(bytes[..bytes.len() - 4], golden);
        assert_eq!(bytes[bytes.len() - 4..], [25, 226, 196, 45]);
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let (_folder, file) = written();
        assert_eq!(file.load().unwrap(), Some(saved()));
        let blank = Saved::blank(ids().cluster, ids().module, ids().node, StoreId(8));
        file.replace(&blank).unwrap();
        assert_eq!(file.load().unwrap(), Some(blank));
    }

    #[test]
    fn nothing_saved_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(SavedFile::new(folder.path(), ids()).load().unwrap(), None);
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_refused() {
        let good = encode(&saved());
        for len in 0..good.len() {
            assert!(decode(&good[..len]).is_err(), "cut to {len}");
        }
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bytes).is_err(), "bit {bit}");
        }
        let mut longer = good;
        longer.push(0);
        assert!(decode(&longer).is_err());
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let (_folder, file) = written();
        let mut bytes = fs::read(&file.path).unwrap();
        bytes[4] = 2;
        fs::write(&file.path, bytes).unwrap();
        let refused = file.load();
        assert!(matches!(refused, Err(StoreError::Newer { found: 2, known: 1, .. })));
    }

    #[test]
    fn another_nodes_file_is_refused() {
        let (folder, _) = written();
        let other = |ids| SavedFile::new(folder.path(), ids).load();
        let node = Ids { node: NodeId::new(2).unwrap(), ..ids() };
        assert!(matches!(other(node), Err(StoreError::OtherNode { .. })));
        let cluster = Ids { cluster: ClusterId(9), ..ids() };
        assert!(matches!(other(cluster), Err(StoreError::OtherCluster { .. })));
        let module = Ids { module: ModuleId(9), ..ids() };
        assert!(matches!(other(module), Err(StoreError::OtherModule { .. })));
    }

    #[test]
    fn a_crash_before_the_rename_leaves_the_old_file() {
        let (folder, file) = written();
        fs::write(folder.path().join("saved.next"), b"half").unwrap();
        assert_eq!(file.load().unwrap(), Some(saved()));
        file.replace(&saved()).unwrap();
        assert_eq!(file.load().unwrap(), Some(saved()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_whole(start in 0..200_usize, mut bytes: Vec<u8>) {
            // What begins well, and goes on as it likes.
            let good = encode(&saved());
            bytes.splice(0..0, good[..start].iter().copied());
            bytes.resize(SavedFile::LEN - 4, 0);
            let sealed = [&bytes[..], &checksum::of(&bytes).to_be_bytes()].concat();
            if let Ok(saved) = decode(&sealed) {
                prop_assert_eq!(encode(&saved), sealed);
            }
        }
    }
}
