//! Views on their way, in parts that each fit a datagram.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::{BufMut, Bytes};
use ha_proto::codec::{DecodeError, Reader};
use ha_proto::{Boot, NodeId, NodeSet};

use crate::group::ViewId;

/// A part of a proposal, or of a view's tables.
///
/// | at | bytes | field |
/// |---|---|---|
/// | 0 | 8 | the sender's boot |
/// | 8 | 17 | view id |
/// | 25 | 2 | which part, from 0 |
/// | 27 | 2 | how many parts, from 1 |
/// | 29 | 1 to 1,100 | its bytes |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The sender's boot.
    pub boot: Boot,
    /// Which view.
    pub id: ViewId,
    /// Which part, from 0.
    pub part: u16,
    /// How many parts there are, from 1.
    pub parts: u16,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Asks for parts of a view's tables.
///
/// | at | bytes | field |
/// |---|---|---|
/// | 0 | 8 | the sender's boot |
/// | 8 | 17 | view id |
/// | 25 | 2 | the first part |
/// | 27 | 2 | how many, 1 to 16 |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pull {
    /// The sender's boot.
    pub boot: Boot,
    /// Which view.
    pub id: ViewId,
    /// The first part.
    pub part: u16,
    /// How many, 1 to [`Pull::COUNT_MAX`].
    pub count: u16,
}

/// A new view, as its coordinator says it: whole, and the same whoever passes it on.
///
/// | at | bytes | field |
/// |---|---|---|
/// | 0 | 17 | view id |
/// | 17 | 1 | number of members, 1 to 64 |
/// | 18 | 9 each | members by id: id (1), boot (8) |
/// | | 0 to 15,000 | body, the node's own |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Which view.
    pub id: ViewId,
    /// Its members, each in this boot.
    pub members: BTreeMap<NodeId, Boot>,
    /// What the node says of it (weights, tables): opaque to the group.
    pub body: Bytes,
}

impl Part {
    /// The most bytes of a part.
    pub const BYTES_MAX: usize = 1_100;
    /// The most parts: 16 services of 4,096 buckets, none like the next, need 700.
    pub const PARTS_MAX: u16 = 1_024;

    /// Writes the body of the datagram.
    pub fn encode(&self, out: &mut impl BufMut) {
        assert!(self.part < self.parts, "a part beyond the last one");
        assert!(!self.bytes.is_empty(), "an empty part would say nothing");
        assert!(self.bytes.len() <= Self::BYTES_MAX, "a longer part fits no datagram");
        out.put_u64(self.boot.0);
        ViewId::encode(Some(self.id), out);
        out.put_u16(self.part);
        out.put_u16(self.parts);
        out.put_slice(&self.bytes);
    }

    /// Reads the body of a datagram.
    ///
    /// # Errors
    /// [`DecodeError`] when it is none.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(body);
        let boot = Boot(from.u64("the boot")?);
        let id = view(&mut from)?;
        let (part, parts) = (from.u16("the part")?, from.u16("the number of parts")?);
        let bytes = from.rest();
        let fits = part < parts && parts <= Self::PARTS_MAX;
        if !fits || bytes.is_empty() || bytes.len() > Self::BYTES_MAX {
            return Err(DecodeError::Invalid("the part"));
        }
        Ok(Self { boot, id, part, parts, bytes: Bytes::copy_from_slice(bytes) })
    }
}

impl Pull {
    /// The most parts that are asked for at once.
    pub const COUNT_MAX: u16 = 16;

    /// Writes the body of the datagram.
    pub fn encode(&self, out: &mut impl BufMut) {
        assert!((1..=Self::COUNT_MAX).contains(&self.count), "a reader would refuse it");
        out.put_u64(self.boot.0);
        ViewId::encode(Some(self.id), out);
        out.put_u16(self.part);
        out.put_u16(self.count);
    }

    /// Reads the body of a datagram.
    ///
    /// # Errors
    /// [`DecodeError`] when it is none.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(body);
        let boot = Boot(from.u64("the boot")?);
        let id = view(&mut from)?;
        let (part, count) = (from.u16("the part")?, from.u16("the number of parts")?);
        from.finish()?;
        if part >= Part::PARTS_MAX || !(1..=Self::COUNT_MAX).contains(&count) {
            return Err(DecodeError::Invalid("the part"));
        }
        Ok(Self { boot, id, part, count })
    }
}

impl Proposal {
    /// The longest body: 16 services with a weight for each of 64 members, hardware addresses and
    /// what drains are 4,000 bytes.
    pub const BODY_MAX: usize = 15_000;
    /// The most parts of one.
    pub(super) const PARTS_MAX: u16 = 15;

    /// The members as a set.
    pub fn set(&self) -> NodeSet {
        self.members.keys().copied().collect()
    }

    /// As bytes.
    pub fn encode(&self, out: &mut impl BufMut) {
        assert!((1..=64).contains(&self.members.len()), "a view without members");
        assert!(self.body.len() <= Self::BODY_MAX, "a reader would refuse a longer body");
        ViewId::encode(Some(self.id), out);
        out.put_u8(self.members.len() as u8);
        for (node, boot) in &self.members {
            out.put_u8(node.as_u8());
            out.put_u64(boot.0);
        }
        out.put_slice(&self.body);
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`DecodeError`] when it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let id = view(&mut from)?;
        let count = from.u8("the number of members")?;
        let mut members = BTreeMap::new();
        for _ in 0..count {
            let (node, boot) = (from.node("a member")?, Boot(from.u64("a member")?));
            let last = members.last_key_value().map(|(&last, _)| last);
            if node.as_u8() > 63 || last >= Some(node) {
                return Err(DecodeError::Invalid("a member"));
            }
            members.insert(node, boot);
        }
        if !members.contains_key(&id.coordinator) {
            return Err(DecodeError::Invalid("the coordinator"));
        }
        let body = from.rest();
        if body.len() > Self::BODY_MAX {
            return Err(DecodeError::Invalid("the view's body"));
        }
        Ok(Self { id, members, body: Bytes::copy_from_slice(body) })
    }

    /// In parts, said by this boot.
    pub(super) fn to_parts(&self, boot: Boot) -> Vec<Part> {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        let bytes = Bytes::from(bytes);
        let parts = bytes.len().div_ceil(Part::BYTES_MAX) as u16;
        assert!(parts <= Self::PARTS_MAX, "a reader would refuse so many parts");
        (0..parts)
            .map(|part| {
                let at = usize::from(part) * Part::BYTES_MAX;
                let bytes = bytes.slice(at..bytes.len().min(at + Part::BYTES_MAX));
                Part { boot, id: self.id, part, parts, bytes }
            })
            .collect()
    }
}

/// Parts of one thing that are put together, in whichever order they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gathering {
    pub(super) id: ViewId,
    parts: Vec<Option<Bytes>>,
}

impl Gathering {
    pub(super) fn new(id: ViewId, parts: u16) -> Self {
        Self { id, parts: alloc::vec![None; usize::from(parts)] }
    }

    /// Adds one; what does not fit is left out.
    pub(super) fn add(&mut self, part: &Part) {
        if part.id == self.id && usize::from(part.parts) == self.parts.len() {
            self.parts[usize::from(part.part)] = Some(part.bytes.clone());
        }
    }

    /// The first that is missing.
    pub(super) fn missing(&self) -> Option<u16> {
        self.parts.iter().position(Option::is_none).map(|at| at as u16)
    }

    /// How many there are to be.
    pub(super) fn total(&self) -> u16 {
        self.parts.len() as u16
    }

    /// All, once they are there.
    pub(super) fn whole(&self) -> Option<Vec<Bytes>> {
        self.parts.iter().cloned().collect()
    }
}

fn view(from: &mut Reader<'_>) -> Result<ViewId, DecodeError> {
    ViewId::decode(from, "the view")?.ok_or(DecodeError::Invalid("the view"))
}

const _: () = assert!(
    29 + Part::BYTES_MAX <= ha_proto::wire::LONG_BODY_MAX,
    "a part would not fit a datagram"
);
const _: () = assert!(
    18 + 64 * 9 + Proposal::BODY_MAX <= Proposal::PARTS_MAX as usize * Part::BYTES_MAX,
    "a proposal would not fit its parts"
);
