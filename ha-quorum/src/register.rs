//! The register: the one record of a pair that its witness keeps.

use core::time::Duration;

use bytes::BufMut;
use crc::{CRC_32_ISCSI, Crc};
use ha_proto::codec::{DecodeError, Reader};
use ha_proto::{ClusterId, DataId, Incarnation, Membership, ModuleId};

/// What a witness keeps for one pair (`CONTRACT.md` "Records"): changed only by compare-and-set on
/// the epoch, durable before anything that depends on it is said.
///
/// | offset | length | field |
/// |---|---|---|
/// | 0 | 1 | version, 1 |
/// | 1 | 8 | cluster |
/// | 9 | 2 | module |
/// | 11 | 33 | membership: epoch 8, holder 1, set 16, data 8 |
/// | 44 | 8 | lease, nanoseconds |
/// | 52 | 8 | incarnation |
/// | 60 | 8 | renewals |
/// | 68 | 4 | CRC-32C of all before it |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Whose register.
    pub cluster: ClusterId,
    /// Which pair of that cluster.
    pub module: ModuleId,
    /// Who holds which epoch of which data, and who is in sync.
    pub membership: Membership,
    /// The lease L, [`LEASE_MIN`] to [`LEASE_MAX`]. A node configured otherwise is refused.
    pub lease: Duration,
    /// Which life of the witness wrote it.
    pub incarnation: Incarnation,
    /// How often the lease was renewed. Only a store that cannot time a lease counts here.
    pub renewals: u64,
}

impl Register {
    /// The length of an encoded register, in bytes.
    pub const LEN: usize = 72;

    /// The bytes for the wire or a file.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (body, checksum) = bytes.split_at_mut(Self::LEN - CHECKSUM_LEN);
        let mut out = &mut *body;
        out.put_u8(VERSION);
        out.put_u64(self.cluster.0);
        out.put_u16(self.module.0);
        self.membership.encode(&mut out);
        put_duration(self.lease, &mut out);
        out.put_u64(self.incarnation.0);
        out.put_u64(self.renewals);
        assert!(out.is_empty(), "a gap before the checksum would make registers unreadable");
        checksum.copy_from_slice(&CHECKSUM.checksum(body).to_be_bytes());
        bytes
    }

    /// The register in `bytes`, which hold nothing else.
    ///
    /// # Errors
    /// When the bytes are cut, longer, damaged, of another version, or hold a register that no
    /// sequence of requests can make.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let register = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(register)
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = reader.bytes(Self::LEN, "register")?;
        let mut body = Reader::new(bytes);
        if body.u8("register version")? != VERSION {
            return Err(DecodeError::Invalid("register version"));
        }
        let register = Self {
            cluster: ClusterId(body.u64("register cluster")?),
            module: ModuleId(body.u16("register module")?),
            membership: Membership::decode(&mut body)?,
            lease: read_lease(&mut body)?,
            incarnation: Incarnation(body.u64("register incarnation")?),
            renewals: body.u64("register renewals")?,
        };
        let checksum = body.u32("register checksum")?;
        body.finish()?;
        if checksum != CHECKSUM.checksum(&bytes[..Self::LEN - CHECKSUM_LEN]) {
            return Err(DecodeError::Invalid("register checksum"));
        }
        if !is_sound(&register.membership) {
            return Err(DecodeError::Invalid("register membership"));
        }
        Ok(register)
    }
}

/// The shortest lease: it is renewed three times within itself, and nothing asks more often than
/// once in a millisecond.
pub const LEASE_MIN: Duration = Duration::from_millis(3);

/// The longest lease. A failover takes as long, so a day is beyond use, and far from overflow.
pub const LEASE_MAX: Duration = Duration::from_hours(24);

/// Whether `lease` is one that a register can have.
pub(crate) fn is_lease(lease: Duration) -> bool {
    LEASE_MIN <= lease && lease <= LEASE_MAX
}

/// Whether a witness can have such a record: the holder owns the epoch and is one of at most two
/// nodes in the set, and the data are named.
pub(crate) fn is_sound(membership: &Membership) -> bool {
    membership.epoch.counter() > 0
        && membership.epoch.owner() == Some(membership.holder)
        && membership.set.contains(membership.holder)
        && membership.set.len() <= PAIR
        && membership.data != DataId::default()
}

/// How many nodes share data: a pair.
pub(crate) const PAIR: u32 = 2;

pub(crate) fn put_duration(duration: Duration, out: &mut impl BufMut) {
    out.put_u64(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
}

pub(crate) fn read_lease(reader: &mut Reader<'_>) -> Result<Duration, DecodeError> {
    let lease = Duration::from_nanos(reader.u64("lease")?);
    if is_lease(lease) { Ok(lease) } else { Err(DecodeError::Invalid("lease")) }
}

const VERSION: u8 = 1;
const CHECKSUM_LEN: usize = 4;
/// CRC-32C, of what is kept.
pub(crate) const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
const _: () = assert!(Register::LEN < 200, "the contract bounds the register at 200 bytes");

#[cfg(test)]
mod tests {
    use ha_proto::{Epoch, NodeId, NodeSet};
    use proptest::prelude::*;

    use super::*;

    /// Version 1. Never edited.
    const GOLDEN: [u8; Register::LEN] = [
        0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc1, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x0c, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xda, 0x7a, 0x00,
        0x00, 0x00, 0x00, 0xb2, 0xd0, 0x5e, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x1d, 0xea,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0xc1, 0x7b, 0xfc, 0xcd,
    ];

    fn sample() -> Register {
        let holder = NodeId::new(1).expect("an id");
        Register {
            cluster: ClusterId(0xc1),
            module: ModuleId(2),
            membership: Membership {
                epoch: Epoch::new(12, holder),
                holder,
                set: NodeSet::from_bits(0b11),
                data: DataId(0xda7a),
            },
            lease: Duration::from_secs(3),
            incarnation: Incarnation(0x1dea),
            renewals: 5,
        }
    }

    /// `register`, as bytes with a right checksum, must not be readable.
    fn refused(register: &Register) -> DecodeError {
        Register::decode(&register.encode()).expect_err("an unsound register was read")
    }

    #[test]
    fn bytes_are_those_of_version_one() {
        assert_eq!(sample().encode(), GOLDEN);
        assert_eq!(Register::decode(&GOLDEN), Ok(sample()));
    }

    #[test]
    fn cut_longer_and_damaged_bytes_are_refused() {
        for len in 0..Register::LEN {
            assert_eq!(Register::decode(&GOLDEN[..len]), Err(DecodeError::Truncated("register")));
        }
        let mut longer = [0; Register::LEN + 1];
        longer[..Register::LEN].copy_from_slice(&GOLDEN);
        assert_eq!(Register::decode(&longer), Err(DecodeError::Trailing));
        for bit in 0..Register::LEN * 8 {
            let mut damaged = GOLDEN;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Register::decode(&damaged).is_err(), "bit {bit} is not checked");
        }
    }

    #[test]
    fn registers_that_no_request_makes_are_refused() {
        let membership = sample().membership;
        let zero = NodeId::new(0).expect("an id");
        let unsound = [
            Membership { epoch: Epoch::NONE, ..membership },
            Membership { set: NodeSet::only(zero), ..membership },
            Membership { set: NodeSet::from_bits(0b111), ..membership },
            Membership { data: DataId(0), ..membership },
        ];
        for membership in unsound {
            let register = Register { membership, ..sample() };
            assert_eq!(refused(&register), DecodeError::Invalid("register membership"));
        }
        for lease in [Duration::ZERO, LEASE_MAX + Duration::from_nanos(1)] {
            let register = Register { lease, ..sample() };
            assert_eq!(refused(&register), DecodeError::Invalid("lease"));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_register_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..2 * Register::LEN)
        ) {
            if let Ok(register) = Register::decode(&bytes) {
                prop_assert_eq!(&register.encode()[..], &bytes[..]);
            }
        }
    }
}
