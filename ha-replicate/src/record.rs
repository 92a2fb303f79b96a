//! The record: the same bytes on disk and on the wire.

use bytes::{BufMut, BytesMut};
use ha_proto::codec::Reader;
use ha_proto::{Chain, Epoch, Position, Seq};
use thiserror::Error;

use crate::crc32c::checksum as checksum_of;

/// Bytes before the payload.
pub const HEADER_LEN: usize = 56;

/// Most bytes of one payload: a record stays within one message, and a reader's buffer is bounded
/// before its checksum is known.
pub const RECORD_MAX: usize = 1 << 20;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What a host proposed.
    Data,
    /// Reserved: a host's whole state.
    Snapshot,
    /// Reserved: a change of a file.
    File,
}

/// What a record says, apart from its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body<'a> {
    /// What it holds.
    pub kind: Kind,
    /// File id; zero for data.
    pub file: u64,
    /// Offset in the file; zero for data.
    pub offset: u64,
    /// What was proposed; at most [`RECORD_MAX`] bytes.
    pub payload: &'a [u8],
}

/// One decoded record; a view of its bytes.
///
/// Layout, [`HEADER_LEN`] bytes and the payload, big-endian:
///
/// | at | size | field |
/// |---|---|---|
/// | 0 | 2 | magic `0x4852` ("HR") |
/// | 2 | 1 | version, 1 |
/// | 3 | 1 | kind: 1 data, 2 snapshot, 3 file |
/// | 4 | 4 | length of the payload, at most [`RECORD_MAX`] |
/// | 8 | 8 | file id; 0 for data |
/// | 16 | 8 | offset; 0 for data |
/// | 24 | 8 | epoch that wrote it |
/// | 32 | 8 | sequence, from 1 |
/// | 40 | 8 | chain: a hash over the chain before and all fields of this record |
/// | 48 | 4 | CRC-32C of the payload |
/// | 52 | 4 | CRC-32C of bytes 0 to 51 |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it says.
    pub body: Body<'a>,
    /// Who wrote it, where, and the chain up to and including it.
    pub position: Position,
    /// CRC-32C of the payload.
    pub checksum: u32,
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// They end inside it.
    #[error("the record is torn")]
    Torn,
    /// They are something else; which field says so.
    #[error("the record is corrupt: {0}")]
    Corrupt(&'static str),
}

impl Kind {
    const fn as_u8(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Snapshot => 2,
            Self::File => 3,
        }
    }

    const fn from_u8(kind: u8) -> Option<Self> {
        match kind {
            1 => Some(Self::Data),
            2 => Some(Self::Snapshot),
            3 => Some(Self::File),
            _ => None,
        }
    }
}

impl<'a> Body<'a> {
    /// What a host proposed.
    pub const fn data(payload: &'a [u8]) -> Self {
        Self { kind: Kind::Data, file: 0, offset: 0, payload }
    }

    /// Writes the record of `epoch` that follows `before`; answers its position.
    ///
    /// # Panics
    /// If the payload is larger than [`RECORD_MAX`], or the epoch is none or falls.
    pub fn encode(&self, epoch: Epoch, before: Position, out: &mut BytesMut) -> Position {
        assert!(self.payload.len() <= RECORD_MAX, "no reader would accept the record");
        assert!(epoch != Epoch::NONE, "a record of no reign could not be refused by anyone");
        assert!(epoch >= before.epoch, "a lower reign would write after a higher one (G1)");
        let seq = before.seq.next();
        let checksum = checksum_of(self.payload);
        let chain = self.chain(before.chain, epoch, seq, checksum);
        let mut header = [0; HEADER_LEN];
        let mut fields = &mut header[..];
        fields.put_u16(MAGIC);
        fields.put_u8(VERSION);
        fields.put_u8(self.kind.as_u8());
        fields.put_u32(self.payload.len() as u32);
        fields.put_u64(self.file);
        fields.put_u64(self.offset);
        fields.put_u64(epoch.bits());
        fields.put_u64(seq.0);
        fields.put_u64(chain.0);
        fields.put_u32(checksum);
        let header_checksum = checksum_of(&header[..CHECKED_LEN]);
        header[CHECKED_LEN..].copy_from_slice(&header_checksum.to_be_bytes());
        out.reserve(HEADER_LEN + self.payload.len());
        out.put_slice(&header);
        out.put_slice(self.payload);
        Position { epoch, seq, chain }
    }

    /// The chain up to and including this record.
    fn chain(&self, before: Chain, epoch: Epoch, seq: Seq, checksum: u32) -> Chain {
        let first = u64::from(self.kind.as_u8()) << 32 | self.payload.len() as u64;
        let last = u64::from(checksum);
        let words = [first, self.file, self.offset, epoch.bits(), seq.0, last];
        Chain(words.iter().fold(before.0, |chain, word| mix64(chain ^ word)))
    }
}

impl<'a> Record<'a> {
    /// The first record of `bytes`, and how many bytes it takes.
    ///
    /// # Errors
    /// [`RecordError`]; the header's checksum is believed before its length is.
    pub fn decode(bytes: &'a [u8]) -> Result<(Self, usize), RecordError> {
        let header: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(RecordError::Torn)?;
        let (body, position, len, checksum) = decode_header(header)?;
        let payload = bytes[HEADER_LEN..].get(..len).ok_or(RecordError::Torn)?;
        if checksum_of(payload) != checksum {
            return Err(RecordError::Corrupt("the payload's checksum"));
        }
        let record = Self { body: Body { payload, ..body }, position, checksum };
        Ok((record, HEADER_LEN + len))
    }

    /// Whether it continues the history that ends with `before`.
    pub fn follows(&self, before: Chain) -> bool {
        let Position { epoch, seq, chain } = self.position;
        self.body.chain(before, epoch, seq, self.checksum) == chain
    }
}

/// Position and length of the first record of `bytes`, which are known to be good.
pub(crate) fn peek(bytes: &[u8]) -> (Position, usize) {
    let header = bytes.first_chunk().expect("a batch holds whole records");
    let (_, position, len, _) = decode_header(header).expect("a batch holds checked records");
    (position, HEADER_LEN + len)
}

const MAGIC: u16 = 0x4852;
const VERSION: u8 = 1;
/// The header but for its own checksum.
const CHECKED_LEN: usize = HEADER_LEN - 4;

fn decode_header(
    header: &[u8; HEADER_LEN],
) -> Result<(Body<'static>, Position, usize, u32), RecordError> {
    let short = |_| RecordError::Corrupt("a field's value");
    let mut from = Reader::new(header);
    if from.u16("magic").map_err(short)? != MAGIC {
        return Err(RecordError::Corrupt("the magic number"));
    }
    let (checked, mut last) = (&header[..CHECKED_LEN], Reader::new(&header[CHECKED_LEN..]));
    if last.u32("checksum").map_err(short)? != checksum_of(checked) {
        return Err(RecordError::Corrupt("the header's checksum"));
    }
    if from.u8("version").map_err(short)? != VERSION {
        return Err(RecordError::Corrupt("the version"));
    }
    let kind = Kind::from_u8(from.u8("kind").map_err(short)?);
    let kind = kind.ok_or(RecordError::Corrupt("the kind"))?;
    let len = from.u32("length").map_err(short)? as usize;
    if len > RECORD_MAX {
        return Err(RecordError::Corrupt("the length"));
    }
    let file = from.u64("file").map_err(short)?;
    let offset = from.u64("offset").map_err(short)?;
    let epoch = from.epoch("epoch").map_err(short)?;
    let seq = from.seq("sequence").map_err(short)?;
    if epoch == Epoch::NONE || seq == Seq::ZERO {
        return Err(RecordError::Corrupt("the position"));
    }
    let chain = Chain(from.u64("chain").map_err(short)?);
    let checksum = from.u32("payload checksum").map_err(short)?;
    let body = Body { kind, file, offset, payload: &[] };
    Ok((body, Position { epoch, seq, chain }, len, checksum))
}

/// The finalizer of `SplitMix64` (Steele, Lea and Flood 2014): each input bit changes half of the
/// output bits. The constant keeps zero from mapping to zero.
const fn mix64(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use ha_proto::NodeId;
    use proptest::prelude::*;

    use super::*;

    fn epoch() -> Epoch {
        Epoch::new(3, NodeId::new(1).unwrap())
    }

    fn encoded(body: Body<'_>) -> (BytesMut, Position) {
        let mut out = BytesMut::new();
        let before = Position { epoch: epoch(), seq: Seq(6), chain: Chain(42) };
        let position = body.encode(epoch(), before, &mut out);
        (out, position)
    }

    #[test]
    fn golden() {
        let body = Body { kind: Kind::File, file: 0x0102, offset: 0x0304, payload: b"hello" };
        let (bytes, position) = encoded(body);
        let golden = [
            "4852010300000005",
            "0000000000000102",
            "0000000000000304",
            "0000000000000301",
            "0000000000000007",
            "551aef18bd829abd",
            "9a71bb4cc7a5c670",
            "68656c6c6f",
        ];
        let hex: Vec<_> = bytes.iter().map(|byte| alloc::format!("{byte:02x}")).collect();
        assert_eq!(hex.concat(), golden.concat());
        let record = Record { body, position, checksum: 0x9a71_bb4c };
        assert_eq!(Record::decode(&bytes), Ok((record, 61)));
        assert!(record.follows(Chain(42)));
        assert!(!record.follows(Chain(41)));
        assert_eq!(peek(&bytes), (position, 61));
    }

    #[test]
    fn a_record_that_ends_early_is_torn() {
        let (bytes, _) = encoded(Body::data(b"hello"));
        for len in 0..bytes.len() {
            assert_eq!(Record::decode(&bytes[..len]), Err(RecordError::Torn), "{len} bytes");
        }
    }

    #[test]
    fn a_length_beyond_the_maximum_is_refused_before_it_is_used() {
        let (mut bytes, _) = encoded(Body::data(b""));
        bytes[4..8].copy_from_slice(&(RECORD_MAX as u32 + 1).to_be_bytes());
        let checksum = checksum_of(&bytes[..CHECKED_LEN]);
        bytes[CHECKED_LEN..].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(Record::decode(&bytes), Err(RecordError::Corrupt("the length")));
    }

    #[test]
    #[should_panic(expected = "a lower reign would write after a higher one")]
    fn a_lower_reign_cannot_write() {
        let before = Position { epoch: epoch(), seq: Seq(6), chain: Chain(42) };
        let lower = Epoch::new(2, NodeId::new(1).unwrap());
        Body::data(b"").encode(lower, before, &mut BytesMut::new());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_an_error(
            bytes in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            let _ = Record::decode(&bytes);
        }

        #[test]
        fn any_changed_bit_is_found(payload: Vec<u8>, at: usize, bit in 0..8_u32) {
            let (mut bytes, _) = encoded(Body::data(&payload));
            let at = at % bytes.len();
            bytes[at] ^= 1_u8 << bit;
            let found = matches!(Record::decode(&bytes), Err(RecordError::Corrupt(_)));
            prop_assert!(found);
        }
    }
}
