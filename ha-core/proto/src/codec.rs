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
