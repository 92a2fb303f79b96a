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
