//! What a plain store holds for one pair, as bytes under one key.

use core::time::Duration;

use bytes::BufMut;
use ha_proto::codec::{DecodeError, Reader};
use ha_proto::{Boot, ClusterId, DataState, Epoch, Incarnation, Membership, ModuleId, NodeId};

use crate::register::{CHECKSUM, Register, put_duration, read_lease};
use crate::request::{Ask, Request, read_state, state_code};

/// The value under a pair's key: its register or, where the store has lost that, what the first of
/// the two nodes would have it adopt. The first byte tells which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The register, in its own layout, which begins with a 1.
    Register(Register),
    /// There is no register; one node's Adopt waits for the other's.
    Note(Note),
}

/// An Adopt that waits for the other node's. An arbiter keeps it in memory; a plain store has
/// nobody who could, so it is written down, and whoever comes second makes the register of both.
///
/// | offset | length | field |
/// |---|---|---|
/// | 0 | 1 | 65, an `A` |
/// | 1 | 8 | cluster |
/// | 9 | 2 | module |
/// | 11 | 1 | node that asked |
/// | 12 | 8 | its lease, nanoseconds |
/// | 20 | 8 | incarnation |
/// | 28 | 33 | its record: epoch 8, holder 1, set 16, data 8 |
/// | 61 | 1 | its state: 0 Blank, 1 Target, 2 Complete |
/// | 62 | 4 | CRC-32C of all before it |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// Of which cluster.
    pub cluster: ClusterId,
    /// Of which pair.
    pub module: ModuleId,
    /// Who asked.
    pub from: NodeId,
    /// The lease that it is configured with.
    pub lease: Duration,
    /// The life of the store that it asked.
    pub incarnation: Incarnation,
    /// Its saved record.
    pub membership: Membership,
    /// What its data are worth.
    pub state: DataState,
}

impl Entry {
    /// The most bytes that an entry takes.
    pub const LEN_MAX: usize = Register::LEN;

    /// Appends the bytes to `out`.
    pub fn encode(&self, out: &mut impl BufMut) {
        match self {
            Self::Register(register) => out.put_slice(&register.encode()),
            Self::Note(note) => out.put_slice(&note.encode()),
        }
    }

    /// The entry of this pair in `bytes`, which hold nothing else.
    ///
    /// # Errors
    /// When the bytes are cut, longer, damaged, of another version, or of another pair: then the
    /// key is not this pair's, and must not be written.
    pub fn decode(bytes: &[u8], cluster: ClusterId, module: ModuleId) -> Result<Self, DecodeError> {
        let entry = match bytes.first() {
            Some(&NOTE) => Self::Note(Note::decode(bytes)?),
            Some(_) | None => Self::Register(Register::decode(bytes)?),
        };
        let (of, pair) = match &entry {
            Self::Register(register) => (register.cluster, register.module),
            Self::Note(note) => (note.cluster, note.module),
        };
        if of != cluster {
            return Err(DecodeError::Invalid("entry cluster"));
        }
        if pair != module {
            return Err(DecodeError::Invalid("entry module"));
        }
        Ok(entry)
    }

    /// Which life of the store it was written to. One that was restored from a copy has entries of
    /// another life, which count for nothing.
    pub const fn incarnation(&self) -> Incarnation {
        match self {
            Self::Register(register) => register.incarnation,
            Self::Note(note) => note.incarnation,
        }
    }
}

impl Note {
    const LEN: usize = 66;

    /// What `ask` would have adopted; `None` for any other request.
    pub(crate) fn of(ask: &Ask, cluster: ClusterId, module: ModuleId) -> Option<Self> {
        let Request::Adopt { incarnation, membership, state } = ask.request else { return None };
        let (from, lease) = (ask.from, ask.lease);
        Some(Self { cluster, module, from, lease, incarnation, membership, state })
    }

    /// The ask that it is the note of, as far as the table of requests looks at it.
    pub(crate) const fn ask(&self) -> Ask {
        Ask {
            from: self.from,
            boot: Boot(0),
            number: 0,
            expected: Epoch::NONE,
            lease: self.lease,
            request: Request::Adopt {
                incarnation: self.incarnation,
                membership: self.membership,
                state: self.state,
            },
        }
    }

    fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (body, checksum) = bytes.split_at_mut(Self::LEN - CHECKSUM_LEN);
        let mut out = &mut *body;
        out.put_u8(NOTE);
        out.put_u64(self.cluster.0);
        out.put_u16(self.module.0);
        out.put_u8(self.from.as_u8());
        put_duration(self.lease, &mut out);
        out.put_u64(self.incarnation.0);
        self.membership.encode(&mut out);
        out.put_u8(state_code(self.state));
        assert!(out.is_empty(), "a gap before the checksum would make notes unreadable");
        checksum.copy_from_slice(&CHECKSUM.checksum(body).to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let bytes = reader.bytes(Self::LEN, "note")?;
        reader.finish()?;
        let mut body = Reader::new(bytes);
        if body.u8("note mark")? != NOTE {
            return Err(DecodeError::Invalid("note mark"));
        }
        let note = Self {
            cluster: ClusterId(body.u64("note cluster")?),
            module: ModuleId(body.u16("note module")?),
            from: body.node("note sender")?,
            lease: read_lease(&mut body)?,
            incarnation: Incarnation(body.u64("note incarnation")?),
            membership: Membership::decode(&mut body)?,
            state: read_state(&mut body)?,
        };
        let checksum = body.u32("note checksum")?;
        body.finish()?;
        if checksum != CHECKSUM.checksum(&bytes[..Self::LEN - CHECKSUM_LEN]) {
            return Err(DecodeError::Invalid("note checksum"));
        }
        Ok(note)
    }
}

/// The first byte of a note. Versions of the register count from 1 and stay below.
const NOTE: u8 = b'A';
const CHECKSUM_LEN: usize = 4;
const _: () = assert!(Note::LEN <= Entry::LEN_MAX, "a note would not fit where a register does");
const _: () = assert!(Entry::LEN_MAX < 200, "the contract bounds the register at 200 bytes");

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use ha_proto::{DataId, NodeSet};
    use proptest::prelude::*;

    use super::*;

    const CLUSTER: ClusterId = ClusterId(0xc1);
    const MODULE: ModuleId = ModuleId(2);

    /// Version 1. Never edited.
    const GOLDEN_NOTE: [u8; Note::LEN] = [
        0x41, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc1, 0x00, 0x02, 0x01, 0x00, 0x00, 0x00,
        0x00, 0xb2, 0xd0, 0x5e, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x1d, 0xea, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x0c, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xda,
        0x7a, 0x02, 0x71, 0xd6, 0xcc, 0x30,
    ];

    fn membership() -> Membership {
        let holder = NodeId::new(1).expect("an id");
        let set = NodeSet::from_bits(0b11);
        Membership { epoch: Epoch::new(12, holder), holder, set, data: DataId(0xda7a) }
    }

    fn note() -> Note {
        Note {
            cluster: CLUSTER,
            module: MODULE,
            from: NodeId::new(1).expect("an id"),
            lease: Duration::from_secs(3),
            incarnation: Incarnation(0x1dea),
            membership: membership(),
            state: DataState::Complete,
        }
    }

    fn register() -> Register {
        Register {
            cluster: CLUSTER,
            module: MODULE,
            membership: membership(),
            lease: Duration::from_secs(3),
            incarnation: Incarnation(0x1dea),
            renewals: 5,
        }
    }

    fn bytes_of(entry: Entry) -> Vec<u8> {
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Entry, DecodeError> {
        Entry::decode(bytes, CLUSTER, MODULE)
    }

    #[test]
    fn bytes_are_those_of_version_one() {
        assert_eq!(bytes_of(Entry::Note(note())), GOLDEN_NOTE);
        assert_eq!(decode(&GOLDEN_NOTE), Ok(Entry::Note(note())));
        // The register's own are pinned beside it.
        let entry = Entry::Register(register());
        assert_eq!(bytes_of(entry), register().encode());
        assert_eq!(decode(&register().encode()), Ok(entry));
    }

    #[test]
    fn an_entry_of_another_pair_is_refused_and_its_life_is_told() {
        for entry in [Entry::Register(register()), Entry::Note(note())] {
            let bytes = bytes_of(entry);
            let other = Entry::decode(&bytes, ClusterId(7), MODULE);
            assert_eq!(other, Err(DecodeError::Invalid("entry cluster")));
            let other = Entry::decode(&bytes, CLUSTER, ModuleId(7));
            assert_eq!(other, Err(DecodeError::Invalid("entry module")));
            assert_eq!(entry.incarnation(), Incarnation(0x1dea));
        }
    }

    #[test]
    fn cut_longer_and_damaged_notes_are_refused() {
        assert_eq!(decode(&[]), Err(DecodeError::Truncated("register")));
        for len in 1..Note::LEN {
            assert_eq!(decode(&GOLDEN_NOTE[..len]), Err(DecodeError::Truncated("note")));
        }
        let mut longer = GOLDEN_NOTE.to_vec();
        longer.push(0);
        assert_eq!(decode(&longer), Err(DecodeError::Trailing));
        for bit in 0..Note::LEN * 8 {
            let mut damaged = GOLDEN_NOTE;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&damaged).is_err(), "bit {bit} is not checked");
        }
    }

    #[test]
    fn a_note_is_the_ask_that_it_was_made_of() {
        let asked = Ask { boot: Boot(7), number: 9, ..note().ask() };
        assert_eq!(Note::of(&asked, CLUSTER, MODULE), Some(note()));
        let read = Ask { request: Request::Read, ..asked };
        assert_eq!(Note::of(&read, CLUSTER, MODULE), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_entry_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..2 * Entry::LEN_MAX)
        ) {
            if let Ok(entry) = decode(&bytes) {
                prop_assert_eq!(bytes_of(entry), bytes);
            }
        }
    }
}
