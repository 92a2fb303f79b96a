//! One beat of a farm's member.

use alloc::vec::Vec;

use bytes::{BufMut, Bytes};
use ha_proto::codec::{DecodeError, Reader};
use ha_proto::{Boot, NodeId, NodeSet};

use crate::group::ViewId;

/// "I live, this is my view and what I take in it, and these I hear."
///
/// Its number travels in the header's sequence. The body, big-endian, at most 1,136 bytes:
///
/// | at | bytes | field |
/// |---|---|---|
/// | 0 | 8 | boot |
/// | 8 | 17 | view id; all zero: none |
/// | 25 | 8 | the view's members, one bit each; bit 0 is node 0 |
/// | 33 | 1 | state: 0 nothing, 1 takes, 2 unable, 3 waits |
/// | 34 | 8 | the highest counter seen |
/// | 42 | 8 | whom the sender hears, one bit each |
/// | 50 | 8 | accord: what members must agree on, as a number |
/// | 58 | 8 | the accord that the sender is ready for besides; equal to the first: none |
/// | 66 | 1 | number of echoes, at most 63 |
/// | 67 | 13 each | echoes by node id: id (1), last four bytes of its boot (4), number (8) |
/// | | 0 to 200 | facts, the node's own |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// The sender's boot.
    pub boot: Boot,
    /// Rises by one with each beat of that boot, from 1.
    pub number: u64,
    /// What it says of its view.
    pub said: Said,
    /// The newest number of each node that it has seen.
    pub echoes: Vec<Echo>,
    /// What the node says through it, opaque to the group.
    pub facts: Bytes,
}

/// What a beat says of its sender's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// The view that it installed last, or stands by at.
    pub view: Option<ViewId>,
    /// That view's members.
    pub members: NodeSet,
    /// Whether it takes.
    pub state: State,
    /// The highest counter that it has seen.
    pub highest: u64,
    /// Whom it hears.
    pub hears: NodeSet,
    /// What members must agree on (rules, hash, key), as a number.
    pub accord: u64,
    /// What it would agree to besides; equal to `accord` when there is nothing.
    pub next: u64,
}

/// Whether a node takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It takes nothing: it may be in the next view.
    Nothing,
    /// It takes what its view gives it, by F2.
    Takes,
    /// It takes nothing and cannot: no view may have it.
    Unable,
    /// It takes nothing, and proposes nothing yet (F6): another member has to.
    Waits,
}

/// The newest number that was seen of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Whose.
    pub node: NodeId,
    /// Of which boot: its last four bytes.
    pub boot: u32,
    /// The number.
    pub number: u64,
}

impl Said {
    /// Of a node of which nothing was heard.
    pub(super) const NOTHING: Self = Self {
        view: None,
        members: NodeSet::EMPTY,
        state: State::Nothing,
        highest: 0,
        hears: NodeSet::EMPTY,
        accord: 0,
        next: 0,
    };

    /// Whether it takes in a view.
    pub fn takes(&self) -> bool {
        self.state == State::Takes
    }

    /// Whether two nodes agree, or will as soon as one of them is told.
    pub fn agrees(&self, accord: u64, next: u64) -> bool {
        self.has(accord) || self.has(next)
    }

    /// Whether the sender has this accord, in force or waiting.
    pub fn has(&self, accord: u64) -> bool {
        self.accord == accord || self.next == accord
    }
}

impl Echo {
    /// The echo of a beat.
    pub(crate) fn of(node: NodeId, boot: Boot, number: u64) -> Self {
        Self { node, boot: short(boot), number }
    }

    /// Whether it is of this boot.
    pub(crate) fn is_of(&self, boot: Boot) -> bool {
        self.boot == short(boot)
    }
}

/// Enough of a boot to tell a process from the one before.
fn short(boot: Boot) -> u32 {
    (boot.0 & u64::from(u32::MAX)) as u32
}

impl Beat {
    /// The longest facts.
    pub const FACTS_MAX: usize = 200;

    const ECHOES_MAX: usize = 63;
    /// The longest body.
    pub const LEN_MAX: usize = 67 + Self::ECHOES_MAX * 13 + Self::FACTS_MAX;

    /// Writes the body; the caller puts the number into the header's sequence.
    pub fn encode(&self, out: &mut impl BufMut) {
        assert!(self.number > 0, "beat 0 would be read as no beat at all");
        assert!(self.echoes.len() <= Self::ECHOES_MAX, "a farm has 64 members at most");
        assert!(self.facts.len() <= Self::FACTS_MAX, "a reader would refuse longer facts");
        out.put_u64(self.boot.0);
        let said = &self.said;
        ViewId::encode(said.view, out);
        put_set(said.members, out);
        out.put_u8(said.state.as_u8());
        out.put_u64(said.highest);
        put_set(said.hears, out);
        out.put_u64(said.accord);
        out.put_u64(said.next);
        out.put_u8(self.echoes.len() as u8);
        for echo in &self.echoes {
            out.put_u8(echo.node.as_u8());
            out.put_u32(echo.boot);
            out.put_u64(echo.number);
        }
        out.put_slice(&self.facts);
    }

    /// Reads a body, with `number` from the header's sequence.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes end early or go on, when a field holds a value that it
    /// cannot have, or when `number` is 0.
    pub fn decode(number: u64, body: &[u8]) -> Result<Self, DecodeError> {
        let refuse =
            |wrong: bool, field| if wrong { Err(DecodeError::Invalid(field)) } else { Ok(()) };
        refuse(number == 0, "the beat's number")?;
        let mut from = Reader::new(body);
        let boot = Boot(from.u64("the boot")?);
        let view = ViewId::decode(&mut from, "the view")?;
        let members = set(&mut from, "the members")?;
        refuse(view.is_none() && !members.is_empty(), "the members")?;
        let state = State::from_u8(from.u8("the state")?)?;
        refuse(view.is_none() && state == State::Takes, "the state")?;
        let highest = from.u64("the highest counter")?;
        let hears = set(&mut from, "whom it hears")?;
        let (accord, next) = (from.u64("the accord")?, from.u64("the next accord")?);
        let count = usize::from(from.u8("the number of echoes")?);
        refuse(count > Self::ECHOES_MAX, "the number of echoes")?;
        let mut echoes = Vec::with_capacity(count);
        for _ in 0..count {
            let node = from.node("an echo")?;
            let last = echoes.last().map(|echo: &Echo| echo.node);
            refuse(node.as_u8() > 63 || last >= Some(node), "an echo")?;
            echoes.push(Echo { node, boot: from.u32("an echo")?, number: from.u64("an echo")? });
        }
        let facts = from.rest();
        refuse(facts.len() > Self::FACTS_MAX, "the facts")?;
        let said = Said { view, members, state, highest, hears, accord, next };
        Ok(Self { boot, number, said, echoes, facts: Bytes::copy_from_slice(facts) })
    }
}

impl State {
    const fn as_u8(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Takes => 1,
            Self::Unable => 2,
            Self::Waits => 3,
        }
    }

    const fn from_u8(number: u8) -> Result<Self, DecodeError> {
        match number {
            0 => Ok(Self::Nothing),
            1 => Ok(Self::Takes),
            2 => Ok(Self::Unable),
            3 => Ok(Self::Waits),
            _ => Err(DecodeError::Invalid("the state")),
        }
    }
}

fn put_set(set: NodeSet, out: &mut impl BufMut) {
    let bits = u64::try_from(set.bits()).expect("the members of a farm have ids below 64");
    out.put_u64(bits);
}

fn set(from: &mut Reader<'_>, field: &'static str) -> Result<NodeSet, DecodeError> {
    from.u64(field).map(|bits| NodeSet::from_bits(bits.into()))
}

const _: () = assert!(Beat::LEN_MAX <= ha_proto::wire::LONG_BODY_MAX, "a beat is one datagram");
