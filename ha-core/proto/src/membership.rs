//! Who holds the service, and whose copies count.

use core::fmt;

use bytes::BufMut;

use crate::codec::{DecodeError, Reader};
use crate::{DataId, Epoch, NodeId, NodeSet};

/// The part of a register that nodes tell each other and save: who holds which epoch, and which
/// nodes have every acknowledged write (`CONTRACT.md` "Records", "Messages").
///
/// It is replaced whole, by one of a higher epoch; one of an equal epoch changes nothing (R3).
///
/// Layout, [`Membership::LEN`] bytes, big-endian:
///
/// | at | bytes | field |
/// |---|---|---|
/// | 0 | 8 | epoch |
/// | 8 | 1 | holder, the epoch's owner |
/// | 9 | 16 | set, bit n is node n |
/// | 25 | 8 | data id |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Membership {
    /// The reign.
    pub epoch: Epoch,
    /// Whose reign it is.
    pub holder: NodeId,
    /// The in-sync set.
    pub set: NodeSet,
    /// Which data.
    pub data: DataId,
}

impl Membership {
    /// How many bytes it takes.
    pub const LEN: usize = 33;

    /// Writes it.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u64(self.epoch.bits());
        out.put_u8(self.holder.as_u8());
        out.put_u128(self.set.bits());
        out.put_u64(self.data.0);
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes end early, or when the epoch is another node's than the
    /// holder's: its readers would disagree on whose reign it is.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let epoch = from.epoch("the record's epoch")?;
        let holder = from.node("the record's holder")?;
        if epoch.owner().is_some_and(|owner| owner != holder) {
            return Err(DecodeError::Invalid("the record's holder"));
        }
        let set = NodeSet::from_bits(from.u128("the record's set")?);
        let data = DataId(from.u64("the record's data id")?);
        Ok(Self { epoch, holder, set, data })
    }

    /// Whether this is the right to run without a lease: `node` holds, and is alone in the set.
    pub fn is_alone(&self, node: NodeId) -> bool {
        self.holder == node && self.set == NodeSet::only(node)
    }
}

impl fmt::Display for Membership {
    /// `(12.0 {0,1})`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} {})", self.epoch, self.set)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn node(id: u8) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn record(epoch: Epoch, holder: u8, set: u128) -> Membership {
        let set = NodeSet::from_bits(set);
        Membership { epoch, holder: node(holder), set, data: DataId(0x0102_0304_0506_0708) }
    }

    fn decode(bytes: &[u8]) -> Result<Membership, DecodeError> {
        Membership::decode(&mut Reader::new(bytes))
    }

    fn encode(record: &Membership) -> Vec<u8> {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        bytes
    }

    #[test]
    fn bytes_are_golden() {
        let record = record(Epoch::from_bits(0x0c81), 1, 1 << 127 | 3);
        let golden = [
            0, 0, 0, 0, 0, 0, 0x0c, 0x81, 1, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 1,
            2, 3, 4, 5, 6, 7, 8,
        ];
        assert_eq!(encode(&record), golden);
        assert_eq!(decode(&golden), Ok(record));
        assert_eq!(golden.len(), Membership::LEN);
    }

    #[test]
    fn the_holder_owns_the_epoch() {
        let holder = Err(DecodeError::Invalid("the record's holder"));
        assert_eq!(decode(&encode(&record(Epoch::new(3, node(0)), 1, 3))), holder);
        let none = record(Epoch::NONE, 1, 0);
        assert_eq!(decode(&encode(&none)), Ok(none));
    }

    #[test]
    fn alone_is_to_hold_with_nobody_else_in_the_set() {
        let epoch = Epoch::new(3, node(1));
        assert!(record(epoch, 1, 0b10).is_alone(node(1)));
        assert!(!record(epoch, 1, 0b11).is_alone(node(1)));
        assert!(!record(epoch, 1, 0b10).is_alone(node(0)));
        assert!(!record(epoch, 1, 0b01).is_alone(node(0)));
        assert_eq!(record(epoch, 1, 0b11).to_string(), "(3.1 {0,1})");
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_record_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(record) = decode(&bytes) {
                prop_assert_eq!(encode(&record), &bytes[..Membership::LEN]);
            }
        }

        #[test]
        fn comes_back_as_it_went(counter in 1..=Epoch::WIRE_MAX, id in 0u8..=127, set: u128) {
            let record = record(Epoch::new(counter, node(id)), id, set);
            prop_assert_eq!(decode(&encode(&record)), Ok(record));
        }
    }
}
