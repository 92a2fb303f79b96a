//! Datagrams between nodes: one fixed header, a body, and a keyed MAC over both.
//!
//! Layout, big-endian:
//!
//! | at | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic, `HAF1` |
//! | 4 | 1 | version, 1 |
//! | 5 | 1 | [`Kind`] |
//! | 6 | 1 | sender's node id |
//! | 7 | 1 | flags, the kind's own; unknown ones are ignored |
//! | 8 | 8 | cluster id |
//! | 16 | 2 | module id |
//! | 18 | 4 | how long what is echoed waited for this datagram, in microseconds; 0: not said |
//! | 22 | 2 | reserved, zero |
//! | 24 | 8 | epoch |
//! | 32 | 8 | sequence |
//! | 40 | 8 | echo |
//! | 48 | 0 to 448 | body; a farm's up to 1,136 |
//! | last 16 | 16 | HMAC-SHA256 of all before it, its first half (RFC 2104, RFC 4868) |
//!
//! The first 24 bytes stay where they are in every later version. Nothing but magic, version and
//! cluster is believed before the MAC is right, and those three only to name the reason of a
//! rejection.

use alloc::vec::Vec;
use core::fmt;

use bytes::BufMut;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use thiserror::Error;

use crate::codec::{DecodeError, Reader};
use crate::{ClusterId, Epoch, ModuleId, NodeId};

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Between nodes: life, record, renewal and promise (`CONTRACT.md` "Messages").
    Beat,
    /// To the witness: a request.
    Ask,
    /// From the witness: the answer to one request.
    Answer,
    /// Between members of a farm: life, view and state (`CONTRACT-FARM.md` "Messages").
    Member,
    /// Between members of a farm: a part of a new view.
    Propose,
    /// Between members of a farm: asks for parts of a view's tables.
    Pull,
    /// Between members of a farm: a part of a view's tables.
    Part,
    /// Between members of a farm: what one can do that starts, and what one does that runs.
    Survey,
}

impl Kind {
    /// Its number on the wire.
    pub const fn as_u8(self) -> u8 {
        match self {
            Self::Beat => 1,
            Self::Ask => 2,
            Self::Answer => 3,
            Self::Member => 4,
            Self::Propose => 5,
            Self::Pull => 6,
            Self::Part => 7,
            Self::Survey => 8,
        }
    }

    /// The kind of this number; `None` when it is none of ours.
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Beat),
            2 => Some(Self::Ask),
            3 => Some(Self::Answer),
            4 => Some(Self::Member),
            5 => Some(Self::Propose),
            6 => Some(Self::Pull),
            7 => Some(Self::Part),
            8 => Some(Self::Survey),
            _ => None,
        }
    }

    /// The longest datagram of this kind: a farm tells more at once than a pair.
    pub const fn datagram_max(self) -> usize {
        match self {
            Self::Beat | Self::Ask | Self::Answer => DATAGRAM_MAX,
            Self::Member | Self::Propose | Self::Pull | Self::Part | Self::Survey => LONG_MAX,
        }
    }
}

/// What every datagram says, whatever its body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the body is.
    pub kind: Kind,
    /// Who sent it; the witness has an id too.
    pub sender: NodeId,
    /// The kind's own; unknown ones are ignored.
    pub flags: u8,
    /// Which cluster.
    pub cluster: ClusterId,
    /// Which of its modules.
    pub module: ModuleId,
    /// How many microseconds the echoed datagram waited at the sender for this one, at most
    /// `u32::MAX`; zero when it does not say. The round trip is what is left of the time in between.
    pub waited: u32,
    /// The sender's saved epoch.
    pub epoch: Epoch,
    /// The sender's number of this datagram, ascending within its boot.
    pub sequence: u64,
    /// The newest sequence of the receiver's that the sender has seen; zero for none.
    pub echo: u64,
}

impl Header {
    /// How many bytes it takes.
    pub const LEN: usize = 48;

    fn encode(&self, out: &mut impl BufMut) {
        out.put_u32(MAGIC);
        out.put_u8(VERSION);
        out.put_u8(self.kind.as_u8());
        out.put_u8(self.sender.as_u8());
        out.put_u8(self.flags);
        out.put_u64(self.cluster.0);
        out.put_u16(self.module.0);
        out.put_u32(self.waited);
        out.put_bytes(0, RESERVED_LEN);
        out.put_u64(self.epoch.bits());
        out.put_u64(self.sequence);
        out.put_u64(self.echo);
    }

    /// Reads what stands behind magic and version, once the MAC is right.
    fn decode(from: &mut Reader<'_>) -> Result<Self, Reject> {
        let kind = Kind::from_u8(from.u8("the kind")?).ok_or(Reject::Kind)?;
        let sender = from.node("the sender")?;
        let flags = from.u8("the flags")?;
        let cluster = ClusterId(from.u64("the cluster id")?);
        let module = ModuleId(from.u16("the module id")?);
        let waited = from.u32("the wait")?;
        if from.bytes(RESERVED_LEN, "the reserved bytes")? != [0; RESERVED_LEN] {
            return Err(Reject::Reserved);
        }
        let epoch = from.epoch("the epoch")?;
        let sequence = from.u64("the sequence")?;
        let echo = from.u64("the echo")?;
        Ok(Self { kind, sender, flags, cluster, module, waited, epoch, sequence, echo })
    }
}

/// A datagram that is what its sender sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What every datagram says.
    pub header: Header,
    /// The body, to be decoded by its kind.
    pub body: &'a [u8],
}

/// One sealed datagram, in place: it is sent and copied without an allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Datagram {
    len: u16,
    bytes: [u8; DATAGRAM_MAX],
}

impl Datagram {
    /// What goes on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl AsRef<[u8]> for Datagram {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for Datagram {
    /// Its length and first bytes: the whole would fill a page of a trace.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Datagram({} bytes, {:02x?})", self.len, &self.bytes[4..8])
    }
}

/// The cluster's keys, as prepared MAC states: one signs, one or two are accepted.
///
/// To change the key of a running cluster: let every node accept the new one besides, then let
/// every node sign with it and accept the old one besides, then drop the old one.
#[derive(Clone)]
pub struct Keys {
    signing: Hmac<Sha256>,
    accepted: Option<Hmac<Sha256>>,
}

impl Keys {
    /// Signs with `key` and accepts it.
    pub fn new(key: &[u8; 32]) -> Self {
        Self { signing: prepare(key), accepted: None }
    }

    /// Accepts `key` besides, instead of any second one so far.
    #[must_use]
    pub fn accepting(self, key: &[u8; 32]) -> Self {
        Self { accepted: Some(prepare(key)), ..self }
    }

    /// A key that everyone knows: it finds damage, and keeps nobody out.
    pub fn insecure() -> Self {
        Self::new(INSECURE)
    }

    fn tag(&self, signed: &[u8]) -> [u8; MAC_LEN] {
        let full = self.signing.clone().chain_update(signed).finalize().into_bytes();
        *full.first_chunk().expect("the MAC is half of a SHA-256 hash")
    }

    /// In constant time for each key.
    fn verify(&self, signed: &[u8], tag: &[u8]) -> bool {
        assert!(tag.len() == MAC_LEN, "a shorter tag would be guessed in fewer tries");
        [Some(&self.signing), self.accepted.as_ref()]
            .into_iter()
            .flatten()
            .any(|key| key.clone().chain_update(signed).verify_truncated_left(tag).is_ok())
    }
}

impl fmt::Debug for Keys {
    /// Not the keys: traces are read by people who must not have them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// Why a datagram is dropped. An event and a counter, never a failure (law 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Reject {
    /// Shorter than header and MAC.
    #[error("shorter than a header and a MAC")]
    Truncated,
    /// Longer than [`Kind::datagram_max`].
    #[error("longer than any datagram of ours")]
    Oversized,
    /// Not ours at all.
    #[error("not a datagram of ours")]
    Magic,
    /// A version that this build does not speak.
    #[error("a version that this build does not speak")]
    Version,
    /// Another cluster's: two clusters share a network and a port.
    #[error("another cluster's")]
    Cluster,
    /// Damaged, or sealed with a key that we do not accept.
    #[error("damaged, or sealed with another key")]
    Mac,
    /// A kind that this build does not know.
    #[error("a kind that this build does not know")]
    Kind,
    /// Reserved bytes are not zero.
    #[error("reserved bytes are not zero")]
    Reserved,
    /// From a node, of a module or of a kind that does not belong where it came in.
    #[error("from a sender, or for a module, that does not belong here")]
    Misplaced,
    /// A field of header or body has a value that it cannot have.
    #[error("{0}")]
    Decode(#[from] DecodeError),
    /// Genuine, but said before, or behind a later one of the same boot. Counted here by a witness;
    /// a node's failure detector has a counter of its own.
    #[error("said before, or behind a later one")]
    Replayed,
}

impl Reject {
    /// How many kinds of rejection there are.
    pub const COUNT: usize = 11;

    /// Its place among the counters, 0 to [`Reject::COUNT`]` - 1`.
    pub const fn index(self) -> usize {
        match self {
            Self::Truncated => 0,
            Self::Oversized => 1,
            Self::Magic => 2,
            Self::Version => 3,
            Self::Cluster => 4,
            Self::Mac => 5,
            Self::Kind => 6,
            Self::Reserved => 7,
            Self::Misplaced => 8,
            Self::Decode(_) => 9,
            Self::Replayed => 10,
        }
    }
}

/// Counts rejections by kind, so that each kind is told once and counted always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejections {
    counts: [u64; Reject::COUNT],
}

impl Rejections {
    /// Counts one more; true when it is the first of its kind, which is worth an event.
    pub fn count(&mut self, reject: Reject) -> bool {
        let count = &mut self.counts[reject.index()];
        *count = count.saturating_add(1);
        *count == 1
    }

    /// How many of this kind; what a [`Reject::Decode`] holds makes no difference.
    pub const fn of(&self, reject: Reject) -> u64 {
        self.counts[reject.index()]
    }

    /// How many of all kinds.
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, &count| sum.saturating_add(count))
    }

    /// Each kind's name, for metrics, with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.into_iter().zip(self.counts)
    }
}

/// Seals `header` and what `body` writes.
///
/// ```
/// use bytes::BufMut;
/// use ha_proto::wire::{self, Header, Keys, Kind};
/// use ha_proto::{ClusterId, Epoch, ModuleId, NodeId};
///
/// let header = Header {
///     kind: Kind::Beat,
///     sender: NodeId::new(0).expect("0 is an id"),
///     flags: 0,
///     cluster: ClusterId(1),
///     module: ModuleId(0),
///     waited: 0,
///     epoch: Epoch::NONE,
///     sequence: 1,
///     echo: 0,
/// };
/// let keys = Keys::new(&[7; 32]);
/// let datagram = wire::seal(&header, |body| body.put_u8(42), &keys);
/// let packet = wire::open(datagram.as_bytes(), &keys, ClusterId(1))?;
/// assert_eq!((packet.header, packet.body), (header, &[42][..]));
/// # Ok::<(), wire::Reject>(())
/// ```
///
/// # Panics
/// If `body` writes more than [`BODY_MAX`] bytes: every body has a bounded layout.
#[allow(clippy::mut_mut, reason = "encoders write to `&mut impl BufMut`, and a slice is one")]
pub fn seal(header: &Header, body: impl FnOnce(&mut &mut [u8]), keys: &Keys) -> Datagram {
    let mut bytes = [0; DATAGRAM_MAX];
    let (mut head, rest) = bytes.split_at_mut(Header::LEN);
    header.encode(&mut head);
    assert!(head.is_empty(), "a header of another length would move the body");
    let mut room = &mut rest[..BODY_MAX];
    body(&mut room);
    let signed = DATAGRAM_MAX - MAC_LEN - room.len();
    let tag = keys.tag(&bytes[..signed]);
    bytes[signed..signed + MAC_LEN].copy_from_slice(&tag);
    let len = u16::try_from(signed + MAC_LEN).expect("a datagram is at most DATAGRAM_MAX");
    Datagram { len, bytes }
}

/// As [`seal`], for the kinds of a farm, whose datagrams have up to [`LONG_MAX`] bytes.
///
/// # Panics
/// If `body` is longer than [`LONG_BODY_MAX`], or the kind is none of a farm's.
pub fn seal_long(header: &Header, body: &[u8], keys: &Keys) -> Vec<u8> {
    assert!(body.len() <= LONG_BODY_MAX, "a longer datagram would be fragmented");
    assert!(header.kind.datagram_max() == LONG_MAX, "a reader refuses so long a pair's datagram");
    let mut bytes = Vec::with_capacity(Header::LEN + body.len() + MAC_LEN);
    header.encode(&mut bytes);
    bytes.extend_from_slice(body);
    let tag = keys.tag(&bytes);
    bytes.extend_from_slice(&tag);
    bytes
}

/// Opens what came from the network, if it belongs to `cluster` and was sealed with one of `keys`.
///
/// # Errors
/// [`Reject`] says why not. Nothing was believed then.
pub fn open<'a>(bytes: &'a [u8], keys: &Keys, cluster: ClusterId) -> Result<Packet<'a>, Reject> {
    if bytes.len() > LONG_MAX {
        return Err(Reject::Oversized);
    }
    let signed = bytes.len().checked_sub(MAC_LEN).ok_or(Reject::Truncated)?;
    let (signed, tag) = bytes.split_at(signed);
    let (head, body) = signed.split_at_checked(Header::LEN).ok_or(Reject::Truncated)?;
    let mut fields = Reader::new(head);
    if fields.u32("the magic")? != MAGIC {
        return Err(Reject::Magic);
    }
    if fields.u8("the version")? != VERSION {
        return Err(Reject::Version);
    }
    if head[CLUSTER_AT..MODULE_AT] != cluster.0.to_be_bytes() {
        return Err(Reject::Cluster);
    }
    if !keys.verify(signed, tag) {
        return Err(Reject::Mac);
    }
    let header = Header::decode(&mut fields)?;
    fields.finish()?;
    if bytes.len() > header.kind.datagram_max() {
        return Err(Reject::Oversized);
    }
    Ok(Packet { header, body })
}

/// Which module a datagram claims to be for, whatever its version, so that a process of many
/// modules can give it to the one whose keys open it. Authenticates nothing.
pub fn peek_module(bytes: &[u8]) -> Option<ModuleId> {
    let (magic, rest) = bytes.split_first_chunk()?;
    let at = MODULE_AT - magic.len();
    let module = rest.get(at..at + 2)?.first_chunk()?;
    (u32::from_be_bytes(*magic) == MAGIC).then(|| ModuleId(u16::from_be_bytes(*module)))
}

/// The longest datagram: it fits into every path's packet (IPv6 promises 1,280 bytes), so that
/// none is ever fragmented, and it is small enough to be kept in place.
pub const DATAGRAM_MAX: usize = 512;
/// The longest body.
pub const BODY_MAX: usize = DATAGRAM_MAX - Header::LEN - MAC_LEN;
/// The longest datagram of a farm: it fits into every path's packet too.
pub const LONG_MAX: usize = 1_200;
/// The longest body of a farm's datagram.
pub const LONG_BODY_MAX: usize = LONG_MAX - Header::LEN - MAC_LEN;
/// How many bytes of the MAC are sent: half of a SHA-256 hash, as RFC 4868 has it.
pub const MAC_LEN: usize = 16;
/// The version that this build speaks.
pub const VERSION: u8 = 1;

const MAGIC: u32 = u32::from_be_bytes(*b"HAF1");
const RESERVED_LEN: usize = 2;
const CLUSTER_AT: usize = 8;
const MODULE_AT: usize = 16;
const INSECURE: &[u8; 32] = b"insecure: everyone has this key.";
const NAMES: [&str; Reject::COUNT] = [
    "truncated",
    "oversized",
    "magic",
    "version",
    "cluster",
    "mac",
    "kind",
    "reserved",
    "misplaced",
    "decode",
    "replayed",
];

const _: () = assert!(BODY_MAX == 448, "another room for bodies is another wire version");
const _: () =
    assert!(Header::LEN == MODULE_AT + 2 + 4 + RESERVED_LEN + 3 * 8, "fields would overlap");
const _: () =
    assert!(CLUSTER_AT + 8 == MODULE_AT, "the peeked module would be part of the cluster");
const _: () = assert!(LONG_MAX <= 1280 - 40 - 8, "IPv6 would have to fragment a farm's datagram");
const _: () = assert!(DATAGRAM_MAX <= 1280 - 40 - 8, "IPv6 would have to fragment a datagram");
const _: () = assert!(DATAGRAM_MAX <= u16::MAX as usize, "a length would not fit its field");

fn prepare(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec};

    use proptest::prelude::*;

    use super::*;

    const CLUSTER: ClusterId = ClusterId(0x1122_3344_5566_7788);

    fn header() -> Header {
        Header {
            kind: Kind::Beat,
            sender: NodeId::new(1).unwrap(),
            flags: 0x80,
            cluster: CLUSTER,
            module: ModuleId(0x0102),
            waited: 0,
            epoch: Epoch::from_bits(0x0c01),
            sequence: 7,
            echo: 6,
        }
    }

    fn keys(byte: u8) -> Keys {
        Keys::new(&[byte; 32])
    }

    fn sealed(body: &[u8], keys: &Keys) -> Datagram {
        seal(&header(), |out| out.put_slice(body), keys)
    }

    /// Seals bytes that `seal` would not write.
    fn forged(change: impl FnOnce(&mut [u8]), keys: &Keys) -> Vec<u8> {
        let mut bytes = sealed(b"body", keys).as_bytes().to_vec();
        change(&mut bytes);
        let signed = bytes.len() - MAC_LEN;
        let tag = keys.tag(&bytes[..signed]);
        bytes[signed..].copy_from_slice(&tag);
        bytes
    }

    #[test]
    fn opens_what_was_sealed() {
        let datagram = sealed(b"body", &keys(1));
        let packet = open(datagram.as_bytes(), &keys(1), CLUSTER).unwrap();
        assert_eq!(packet, Packet { header: header(), body: b"body" });
        assert_eq!(datagram.as_ref().len(), Header::LEN + 4 + MAC_LEN);
        assert_eq!(peek_module(datagram.as_bytes()), Some(ModuleId(0x0102)));
    }

    #[test]
    fn the_wait_stands_behind_the_module() {
        let waited = Header { waited: 0x0102_0304, ..header() };
        let datagram = seal(&waited, |_| {}, &keys(1));
        assert_eq!(datagram.as_bytes()[18..24], [1, 2, 3, 4, 0, 0]);
        assert_eq!(open(datagram.as_bytes(), &keys(1), CLUSTER).unwrap().header, waited);
    }

    #[test]
    fn bytes_are_golden() {
        let key: [u8; 32] = core::array::from_fn(|at| at as u8);
        let golden = [
            0x48, 0x41, 0x46, 0x31, 1, 1, 1, 0x80, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88,
            1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0c, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0,
            0, 0, 0, 6, 0x62, 0x6f, 0x64, 0x79, 0x81, 0xb3, 0x58, 0xc4, 0x27, 0xb0, 0x3d, 0x2c,
            0x0a, 0xe6, 0xb8, 0x2b, 0x36, 0xbe, 0x44, 0x19,
        ];
        assert_eq!(sealed(b"body", &Keys::new(&key)).as_bytes(), golden);
    }

    #[test]
    fn an_empty_and_a_full_body_fit() {
        for len in [0, BODY_MAX] {
            let body = vec![0xa5; len];
            let datagram = sealed(&body, &keys(1));
            assert_eq!(datagram.as_bytes().len(), Header::LEN + len + MAC_LEN);
            assert_eq!(open(datagram.as_bytes(), &keys(1), CLUSTER).unwrap().body, body);
        }
    }

    #[test]
    #[should_panic(expected = "advance out of bounds")]
    fn a_longer_body_is_a_bug() {
        sealed(&[0; BODY_MAX + 1], &keys(1));
    }

    #[test]
    fn only_a_farm_says_so_much_at_once() {
        let long = Header { kind: Kind::Member, ..header() };
        let bytes = seal_long(&long, &[7; LONG_BODY_MAX], &keys(1));
        assert_eq!(bytes.len(), LONG_MAX);
        assert_eq!(open(&bytes, &keys(1), CLUSTER).unwrap().body, [7; LONG_BODY_MAX]);
        let mut pair = bytes;
        pair[5] = Kind::Beat.as_u8();
        let signed = pair.len() - MAC_LEN;
        let tag = keys(1).tag(&pair[..signed]);
        pair[signed..].copy_from_slice(&tag);
        assert_eq!(open(&pair, &keys(1), CLUSTER), Err(Reject::Oversized));
    }

    #[test]
    fn names_why_a_datagram_is_dropped() {
        let rejected = |bytes: &[u8]| open(bytes, &keys(1), CLUSTER).unwrap_err();
        let good = sealed(b"body", &keys(1));
        let good = good.as_bytes();
        let changed = |at: usize, to: u8| forged(|bytes| bytes[at] = to, &keys(1));
        assert_eq!(rejected(&[]), Reject::Truncated);
        assert_eq!(rejected(&good[..Header::LEN + MAC_LEN - 1]), Reject::Truncated);
        assert_eq!(rejected(&[0; LONG_MAX + 1]), Reject::Oversized);
        assert_eq!(rejected(&changed(0, 0)), Reject::Magic);
        assert_eq!(rejected(&changed(4, 2)), Reject::Version);
        assert_eq!(rejected(&changed(8, 0)), Reject::Cluster);
        assert_eq!(rejected(sealed(b"body", &keys(2)).as_bytes()), Reject::Mac);
        assert_eq!(rejected(&good[..good.len() - 1]), Reject::Mac);
        assert_eq!(rejected(&changed(5, 9)), Reject::Kind);
        assert_eq!(rejected(&changed(23, 1)), Reject::Reserved);
        assert_eq!(rejected(&changed(22, 1)), Reject::Reserved);
        let invalid = |field| Reject::Decode(DecodeError::Invalid(field));
        assert_eq!(rejected(&changed(6, 128)), invalid("the sender"));
        assert_eq!(rejected(&changed(24, 0xff)), invalid("the epoch"));
        assert_eq!(rejected(&changed(30, 0)), invalid("the epoch"));
    }

    #[test]
    fn every_kind_has_its_number() {
        for number in 0..=u8::MAX {
            let kind = Kind::from_u8(number);
            assert_eq!(kind.is_some(), (1..=8).contains(&number));
            assert_eq!(kind.map_or(number, Kind::as_u8), number);
        }
    }

    #[test]
    fn keys_are_changed_without_a_pause() {
        let (old, new) = (&[1; 32], &[2; 32]);
        let steps = [
            (Keys::new(old), Keys::new(old).accepting(new)),
            (Keys::new(old).accepting(new), Keys::new(new).accepting(old)),
            (Keys::new(new).accepting(old), Keys::new(new)),
        ];
        for (one, other) in steps {
            assert!(open(sealed(b"", &one).as_bytes(), &other, CLUSTER).is_ok());
            assert!(open(sealed(b"", &other).as_bytes(), &one, CLUSTER).is_ok());
        }
        let late = open(sealed(b"", &Keys::new(old)).as_bytes(), &Keys::new(new), CLUSTER).err();
        assert_eq!(late, Some(Reject::Mac));
    }

    #[test]
    fn the_insecure_key_finds_damage() {
        let mut bytes = sealed(b"body", &Keys::insecure()).as_bytes().to_vec();
        assert!(open(&bytes, &Keys::insecure(), CLUSTER).is_ok());
        bytes[50] ^= 1;
        assert_eq!(open(&bytes, &Keys::insecure(), CLUSTER), Err(Reject::Mac));
    }

    #[test]
    fn peeks_only_into_what_looks_like_ours() {
        let datagram = sealed(b"", &keys(1));
        assert_eq!(peek_module(&datagram.as_bytes()[..17]), None);
        assert_eq!(peek_module(&datagram.as_bytes()[..18]), Some(ModuleId(0x0102)));
        assert_eq!(peek_module(&[0; 64]), None);
        assert_eq!(peek_module(&forged(|bytes| bytes[4] = 2, &keys(1))), Some(ModuleId(0x0102)));
    }

    #[test]
    fn each_kind_of_rejection_is_told_once() {
        let mut rejections = Rejections::default();
        let decode = Reject::Decode(DecodeError::Trailing);
        assert!(rejections.count(Reject::Mac));
        assert!(!rejections.count(Reject::Mac));
        assert!(rejections.count(decode));
        assert!(!rejections.count(Reject::Decode(DecodeError::Invalid("the role"))));
        assert_eq!(rejections.of(Reject::Mac), 2);
        assert_eq!(rejections.of(decode), 2);
        assert_eq!(rejections.total(), 4);
        let told: Vec<_> = rejections.iter().filter(|&(_, count)| count > 0).collect();
        assert_eq!(told, [("mac", 2), ("decode", 2)]);
    }

    #[test]
    fn traces_show_no_key() {
        assert_eq!(format!("{:?}", keys(1)), "Keys { .. }");
        assert_eq!(format!("{:?}", sealed(b"", &keys(1))), "Datagram(64 bytes, [01, 01, 01, 80])");
    }

    proptest! {
        #[test]
        fn any_bytes_are_rejected(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            prop_assert!(open(&bytes, &keys(1), CLUSTER).is_err());
            peek_module(&bytes);
        }

        #[test]
        fn any_sealed_header_gives_a_header_or_an_error(noise in any::<[u8; Header::LEN]>()) {
            let forged = forged(|bytes| {
                bytes[5..8].copy_from_slice(&noise[5..8]);
                bytes[16..Header::LEN].copy_from_slice(&noise[16..]);
            }, &keys(1));
            if let Ok(packet) = open(&forged, &keys(1), CLUSTER) {
                let again = seal(&packet.header, |out| out.put_slice(packet.body), &keys(1));
                prop_assert_eq!(again.as_bytes(), &forged[..]);
            }
        }

        #[test]
        fn any_flipped_bit_is_rejected(
            body in prop::collection::vec(any::<u8>(), 0..=BODY_MAX),
            bit: prop::sample::Index,
        ) {
            let mut bytes = sealed(&body, &keys(1)).as_bytes().to_vec();
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(open(&bytes, &keys(1), CLUSTER).is_err());
        }

        #[test]
        fn any_other_length_is_rejected(cut in 1usize..70, more in 1usize..70) {
            let mut bytes = sealed(b"a body", &keys(1)).as_bytes().to_vec();
            prop_assert!(open(&bytes[..bytes.len() - cut], &keys(1), CLUSTER).is_err());
            bytes.resize(bytes.len() + more, 0);
            prop_assert!(open(&bytes, &keys(1), CLUSTER).is_err());
        }
    }
}
