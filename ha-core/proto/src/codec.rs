//! Reading hand-written layouts: any bytes give a value or a typed error.
//!
//! All integers are big-endian. Writing goes through [`bytes::BufMut`].

use thiserror::Error;

use crate::{Epoch, NodeId, Seq};

/// Why bytes are not a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("the bytes end inside {0}")]
    Truncated(&'static str),
    /// A field holds a value that it cannot have.
    #[error("{0} holds a value that it cannot have")]
    Invalid(&'static str),
    /// Bytes are left after the last field.
    #[error("bytes are left after the last field")]
    Trailing,
}

/// Reads fields one after the other. Never allocates.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from their start.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `len` bytes; `field` names them in the error.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer are left; nothing is consumed then.
    pub fn bytes(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated(field))?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated(field))?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when none is left.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array(field).map(u8::from_be_bytes)
    }

    /// Two bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer are left.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// Four bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer are left.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer are left.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// Sixteen bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer are left.
    pub fn u128(&mut self, field: &'static str) -> Result<u128, DecodeError> {
        self.array(field).map(u128::from_be_bytes)
    }

    /// An epoch, eight bytes; [`Epoch::NONE`] is one.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer are left; [`DecodeError::Invalid`] when no node can
    /// have minted it, or when too few counters are left above it (see [`Epoch::WIRE_MAX`]).
    pub fn epoch(&mut self, field: &'static str) -> Result<Epoch, DecodeError> {
        let epoch = Epoch::from_bits(self.u64(field)?);
        let counts = epoch.counter() > 0 && epoch.counter() <= Epoch::WIRE_MAX;
        if epoch == Epoch::NONE || counts { Ok(epoch) } else { Err(DecodeError::Invalid(field)) }
    }

    /// A sequence, eight bytes; [`Seq::ZERO`] is one.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer are left; [`DecodeError::Invalid`] above
    /// [`Seq::WIRE_MAX`].
    pub fn seq(&mut self, field: &'static str) -> Result<Seq, DecodeError> {
        let seq = Seq(self.u64(field)?);
        if seq <= Seq::WIRE_MAX { Ok(seq) } else { Err(DecodeError::Invalid(field)) }
    }

    /// A node's id, one byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when none is left; [`DecodeError::Invalid`] above
    /// [`NodeId::MAX`].
    pub fn node(&mut self, field: &'static str) -> Result<NodeId, DecodeError> {
        NodeId::new(self.u8(field)?).ok_or(DecodeError::Invalid(field))
    }

    /// How many bytes are left.
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] when bytes are left.
    pub const fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_big_endian_fields_in_order() {
        let bytes: [u8; 35] = core::array::from_fn(|at| at as u8 + 1);
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.u8("a"), Ok(1));
        assert_eq!(reader.u16("b"), Ok(0x0203));
        assert_eq!(reader.u32("c"), Ok(0x0405_0607));
        assert_eq!(reader.u64("d"), Ok(0x0809_0a0b_0c0d_0e0f));
        assert_eq!(reader.u128("e"), Ok(0x1011_1213_1415_1617_1819_1a1b_1c1d_1e1f));
        assert_eq!(reader.bytes(2, "f"), Ok(&bytes[31..33]));
        assert_eq!(reader.remaining(), 2);
        assert_eq!(reader.clone().finish(), Err(DecodeError::Trailing));
        assert_eq!(reader.rest(), [34, 35]);
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_truncated_field_consumes_nothing() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u32("a"), Err(DecodeError::Truncated("a")));
        assert_eq!(reader.bytes(4, "b"), Err(DecodeError::Truncated("b")));
        assert_eq!(reader.bytes(usize::MAX, "c"), Err(DecodeError::Truncated("c")));
        assert_eq!(reader.remaining(), 3);
    }

    #[test]
    fn refuses_numbers_out_of_range() {
        let seq = |seq: u64| Reader::new(&seq.to_be_bytes()).seq("s");
        assert_eq!(seq(1 << 62), Ok(Seq::WIRE_MAX));
        assert_eq!(seq((1 << 62) + 1), Err(DecodeError::Invalid("s")));
        assert_eq!(Reader::new(&[127]).node("n"), Ok(NodeId::new(127).unwrap()));
        assert_eq!(Reader::new(&[128]).node("n"), Err(DecodeError::Invalid("n")));
    }

    proptest! {
        #[test]
        fn what_is_read_can_be_stepped(bits: u64) {
            if let Ok(seq) = Reader::new(&bits.to_be_bytes()).seq("s") {
                prop_assert!(seq.next() > seq);
            }
            if let Ok(epoch) = Reader::new(&bits.to_be_bytes()).epoch("e") {
                let owner = NodeId::new(0).unwrap();
                prop_assert!(epoch.next(owner) > epoch);
                prop_assert!(epoch.overridden_by(owner) > epoch);
            }
        }
    }
}
