//! What a process hands over to the next one of its boot: a value, and its bytes.

use core::time::Duration;

use bytes::BufMut;
use ha_heartbeat::{Handed as Heard, Status as Told};
use ha_proto::codec::{DecodeError, Reader};
use ha_proto::{Boot, ClusterId, Epoch, Instant, ModuleId, NodeId, Role, StoreId};
use ha_quorum::voter::Handed as Asked;
use ha_quorum::{Promise, Vote};
use thiserror::Error;

use crate::mirror::report;
use crate::{Config, Saved};

/// The volatile state of a module, on its way from one process to the next one of the same boot:
/// whoever has it is the node, so there is one of it, and it is used once
/// ([`Mirror::hand_over`](crate::Mirror::hand_over), [`Mirror::resume`](crate::Mirror::resume)).
///
/// Instants are of a clock that both processes share, so the time in between counts for every lease
/// and promise. [`Baton::LEN`] bytes, big-endian; of an instant, zero means that there is none:
///
/// | at | bytes | field |
/// |---|---|---|
/// | 0 | 4 | magic `HAB1` |
/// | 4 | 1 | version, 1 |
/// | 5 | 1 | node |
/// | 6 | 1 | peer |
/// | 7 | 1 | links |
/// | 8 | 8 | cluster |
/// | 16 | 2 | module |
/// | 18 | 1 | vote: 0 none, 1 ping, 2 arbiter, 3 manual |
/// | 19 | 1 | the announced role |
/// | 20 | 2 | flags, see below |
/// | 22 | 2 | zero |
/// | 24 | 8 | the lease's length, nanoseconds |
/// | 32 | 8 | store id |
/// | 40 | 8 | the saved epoch |
/// | 48 | 8 | boot |
/// | 56 | 8 | when it booted |
/// | 64 | 8 | when it was handed over |
/// | 72 | 8 | until when it may be used |
/// | 80 | 8 | the reign in which the application was started; zero when it does not run |
/// | 88 | 8 | the resources for which it cannot serve, one bit for each |
/// | 96 | 8 | the end of the witness's lease |
/// | 104 | 8 | the end of the peer's lease |
/// | 112 | 8 | until when this node is bound (R6, R9) |
/// | 120 | 24 | by which promise: boot, number, epoch; zero when by none |
/// | 144 | 9 | the voter's: its newest number, the witness's standing |
/// | 153 | 117 | what the peer said of itself; zero when it said nothing |
/// | 270 | 243 | the detector's, see [`ha_heartbeat::Handed`] |
///
/// Flags, from bit 0: started, failover, shy, prim, took over, minted (the witness gave the saved
/// epoch to this boot), agreed, yielded, was a secondary, ready, the peer said something.
#[derive(Debug, PartialEq, Eq)]
pub struct Baton {
    pub(super) of: Of,
    pub(super) boot: Boot,
    pub(super) booted: Instant,
    pub(super) at: Instant,
    pub(super) until: Instant,
    pub(super) app: Option<Epoch>,
    pub(super) role: Role,
    pub(super) flags: Flags,
    pub(super) blocking: u64,
    /// The end of the witness's lease, and of the peer's.
    pub(super) leases: [Option<Instant>; 2],
    pub(super) bound: Option<Instant>,
    pub(super) promise: Option<Promise>,
    pub(super) asked: Asked,
    pub(super) peer: Option<Told>,
    pub(super) heard: Heard,
}

/// Whose it is, and under which arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Of {
    pub(super) cluster: ClusterId,
    pub(super) module: ModuleId,
    pub(super) node: NodeId,
    pub(super) peer: NodeId,
    pub(super) links: u8,
    pub(super) vote: Vote,
    pub(super) lease: Duration,
    pub(super) store: StoreId,
    pub(super) epoch: Epoch,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not exclude each other")]
pub(super) struct Flags {
    pub(super) started: bool,
    pub(super) failover: bool,
    pub(super) shy: bool,
    pub(super) prim: bool,
    pub(super) took_over: bool,
    pub(super) minted: bool,
    pub(super) agreed: bool,
    pub(super) yielded: bool,
    pub(super) was_second: bool,
    pub(super) ready: bool,
}

/// Why a baton cannot be used. It is a boot then, like any other (R9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Void {
    /// It is of another cluster, module or node, or of another folder.
    #[error("it is of another cluster, module, node or folder")]
    Stranger,
    /// The folder holds another epoch than when it was handed over.
    #[error("something was saved since it was handed over")]
    Saved,
    /// Peer, links, vote or lease are configured otherwise.
    #[error("peer, links, vote or lease are configured otherwise than before")]
    Config,
    /// Too late: what was watched may have ended by itself, and another may hold.
    #[error("it is too late by {0:?}")]
    Late(Duration),
    /// The clock shows less than when it was handed over: it is another one.
    #[error("it is of another clock")]
    Clock,
}

impl Of {
    pub(super) fn new(config: &Config, saved: &Saved) -> Self {
        let identity = config.identity;
        Self {
            cluster: identity.cluster,
            module: identity.module,
            node: identity.me,
            peer: identity.peer,
            links: identity.links,
            vote: config.policy.vote,
            lease: config.timing.lease,
            store: saved.store,
            epoch: saved.membership.epoch,
        }
    }
}

impl Baton {
    /// How many bytes it takes.
    pub const LEN: usize = 144 + Asked::LEN + Told::LEN + Heard::len(1);

    const MAGIC: &[u8; 4] = b"HAB1";
    const VERSION: u8 = 1;
    const PEER_KNOWN: u16 = 1 << Flags::COUNT;

    /// Until when it may be used: what an earlier process watched ends by itself then.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// Whether the application runs, which the next process goes on with.
    pub fn serves(&self) -> bool {
        self.app.is_some()
    }

    /// Whether a node with this configuration, and this saved, may go on with it now.
    ///
    /// # Errors
    /// [`Void`] says why it may not.
    pub fn check(&self, config: &Config, saved: &Saved, now: Instant) -> Result<(), Void> {
        let (old, new) = (self.of, Of::new(config, saved));
        let whose = |of: &Of| (of.cluster, of.module, of.node, of.store);
        if whose(&old) != whose(&new) {
            return Err(Void::Stranger);
        }
        if old.epoch != new.epoch {
            return Err(Void::Saved);
        }
        if old != new || !self.heard.fits(&report::detector_config(config, self.boot)) {
            return Err(Void::Config);
        }
        if now < self.at {
            return Err(Void::Clock);
        }
        if now >= self.until {
            return Err(Void::Late(now.saturating_since(self.until)));
        }
        Ok(())
    }

    /// Writes it.
    pub fn encode(&self, out: &mut impl BufMut) {
        let instant = |at: Option<Instant>| at.map_or(0, Instant::as_nanos);
        let of = self.of;
        out.put_slice(Self::MAGIC);
        out.put_u8(Self::VERSION);
        out.put_u8(of.node.as_u8());
        out.put_u8(of.peer.as_u8());
        out.put_u8(of.links);
        out.put_u64(of.cluster.0);
        out.put_u16(of.module.0);
        out.put_u8(vote_number(of.vote));
        out.put_u8(self.role.as_u8());
        out.put_u16(self.flags.bits() | if self.peer.is_some() { Self::PEER_KNOWN } else { 0 });
        out.put_u16(0);
        out.put_u64(nanos(of.lease));
        out.put_u64(of.store.0);
        out.put_u64(of.epoch.bits());
        out.put_u64(self.boot.0);
        for at in [self.booted, self.at, self.until] {
            out.put_u64(at.as_nanos());
        }
        out.put_u64(self.app.unwrap_or(Epoch::NONE).bits());
        out.put_u64(self.blocking);
        for end in [self.leases[0], self.leases[1], self.bound] {
            out.put_u64(instant(end));
        }
        out.put_u64(self.promise.map_or(0, |promise| promise.boot.0));
        out.put_u64(self.promise.map_or(0, |promise| promise.number));
        out.put_u64(self.promise.map_or(0, |promise| promise.epoch.bits()));
        self.asked.encode(out);
        match &self.peer {
            Some(told) => told.encode(out),
            None => out.put_bytes(0, Told::LEN),
        }
        self.heard.encode(out);
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes end early or go on, or when a field holds a value that it
    /// cannot have.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        if from.bytes(4, "the magic")? != Self::MAGIC {
            return Err(DecodeError::Invalid("the magic"));
        }
        if from.u8("the version")? != Self::VERSION {
            return Err(DecodeError::Invalid("the version"));
        }
        let baton = Self::decode_rest(&mut from)?;
        from.finish()?;
        baton.is_possible()?;
        Ok(baton)
    }

    fn decode_rest(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (node, peer) = (from.node("the node")?, from.node("the peer")?);
        let links = from.u8("the links")?;
        let cluster = ClusterId(from.u64("the cluster")?);
        let module = ModuleId(from.u16("the module")?);
        let vote = vote(from)?;
        let role = Role::decode(from)?;
        let (bits, zero) = (from.u16("the flags")?, from.u16("zero")?);
        let known = bits & Self::PEER_KNOWN != 0;
        let flags = Flags::from_bits(bits & !Self::PEER_KNOWN).filter(|_| zero == 0);
        let flags = flags.ok_or(DecodeError::Invalid("the flags"))?;
        let lease = Duration::from_nanos(from.u64("the lease")?);
        let store = StoreId(from.u64("the store id")?);
        let epoch = from.epoch("the saved epoch")?;
        let boot = Boot(from.u64("the boot")?);
        let mut instant = |field| from.u64(field).map(Instant::from_nanos);
        let booted = instant("when it booted")?;
        let (at, until) = (instant("when it was handed over")?, instant("until when")?);
        let app = from.epoch("the application's reign")?;
        let app = (app != Epoch::NONE).then_some(app);
        let blocking = from.u64("the resources")?;
        let leases = [end(from, "the witness's lease")?, end(from, "the peer's lease")?];
        let (bound, promise) = (end(from, "the binding")?, promise(from)?);
        let asked = Asked::decode(from)?;
        let peer_told = if known { Some(Told::decode(from)?) } else { silence(from)? };
        let heard = Heard::decode(from, 1)?;
        let of = Of { cluster, module, node, peer, links, vote, lease, store, epoch };
        Ok(Self {
            of,
            boot,
            booted,
            at,
            until,
            app,
            role,
            flags,
            blocking,
            leases,
            bound,
            promise,
            asked,
            peer: peer_told,
            heard,
        })
    }

    /// What no process hands over: it would outlive what was granted.
    fn is_possible(&self) -> Result<(), DecodeError> {
        let refuse =
            |wrong: bool, field| if wrong { Err(DecodeError::Invalid(field)) } else { Ok(()) };
        let (at, lease) = (self.at, self.of.lease);
        let most = at + lease;
        refuse(self.of.node == self.of.peer, "the peer")?;
        refuse(self.booted > at, "when it booted")?;
        refuse(self.until < at || self.until > most, "until when")?;
        refuse(self.leases.iter().any(|end| end.is_some_and(|end| end > most)), "a lease's end")?;
        refuse(self.bound.is_none() && self.promise.is_some(), "the binding")?;
        refuse(self.app.is_some_and(|app| app > self.of.epoch), "the application's reign")?;
        Ok(())
    }
}

impl Flags {
    const COUNT: usize = 10;

    fn bits(self) -> u16 {
        let Self { started, failover, shy, prim, took_over, .. } = self;
        let Self { minted, agreed, yielded, was_second, ready, .. } = self;
        let all: [bool; Self::COUNT] =
            [started, failover, shy, prim, took_over, minted, agreed, yielded, was_second, ready];
        all.iter().rev().fold(0, |bits, &flag| bits << 1 | u16::from(flag))
    }

    /// `None` when a bit beyond the last one is set.
    fn from_bits(bits: u16) -> Option<Self> {
        let flag = |at: usize| bits >> at & 1 == 1;
        (bits >> Self::COUNT == 0).then(|| Self {
            started: flag(0),
            failover: flag(1),
            shy: flag(2),
            prim: flag(3),
            took_over: flag(4),
            minted: flag(5),
            agreed: flag(6),
            yielded: flag(7),
            was_second: flag(8),
            ready: flag(9),
        })
    }
}

fn vote_number(vote: Vote) -> u8 {
    match vote {
        Vote::None => 0,
        Vote::Ping => 1,
        Vote::Arbiter => 2,
        Vote::Manual => 3,
    }
}

fn vote(from: &mut Reader<'_>) -> Result<Vote, DecodeError> {
    match from.u8("the vote")? {
        0 => Ok(Vote::None),
        1 => Ok(Vote::Ping),
        2 => Ok(Vote::Arbiter),
        3 => Ok(Vote::Manual),
        _ => Err(DecodeError::Invalid("the vote")),
    }
}

fn end(from: &mut Reader<'_>, field: &'static str) -> Result<Option<Instant>, DecodeError> {
    let nanos = from.u64(field)?;
    Ok((nanos > 0).then_some(Instant::from_nanos(nanos)))
}

fn promise(from: &mut Reader<'_>) -> Result<Option<Promise>, DecodeError> {
    let (boot, number) = (Boot(from.u64("the promise")?), from.u64("the promise")?);
    let epoch = from.epoch("the promise")?;
    match (boot.0, number, epoch) {
        (0, 0, Epoch::NONE) => Ok(None),
        (_, 0, _) => Err(DecodeError::Invalid("the promise")),
        (_, number, epoch) => Ok(Some(Promise { boot, number, epoch })),
    }
}

/// The place of what the peer did not say.
fn silence(from: &mut Reader<'_>) -> Result<Option<Told>, DecodeError> {
    let zero = from.bytes(Told::LEN, "what the peer said")?.iter().all(|&byte| byte == 0);
    if zero { Ok(None) } else { Err(DecodeError::Invalid("what the peer said")) }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("a lease is below a day")
}

const _: () = assert!(Baton::LEN == 513, "a released layout gets a new version");

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn word(word: u64) -> Vec<u8> {
        word.to_be_bytes().to_vec()
    }

    /// Version 1. Never edited, only added to.
    fn golden() -> Vec<u8> {
        let told = [
            word(0x301),
            vec![1],
            vec![0; 15],
            vec![3],
            word(0x31),
            vec![3, 2, 5, 9],
            word(0x41),
            word(0x51),
            word(0x201),
            word(0x61),
            word(0x71),
            word(0x81),
            word(0x91),
            word(0xa1),
            word(0xb1),
            word(0x101),
        ];
        let heard = [
            word(0x11),
            word(0x12),
            vec![1],
            word(0x21),
            word(0x31),
            word(0x31),
            vec![0; 56],
            vec![0, 1],
            word(0x42),
            word(0x41),
            vec![0; 128],
        ];
        let front = [
            b"HAB1".to_vec(),
            vec![1, 0, 1, 2],
            word(7),
            vec![0, 5, 2, 3],
            vec![0b0000_0110, 0b0010_0011],
            vec![0, 0],
            word(3_000),
            word(0x77),
            word(0x300),
            word(0x0102_0304_0506_0708),
            word(10_000),
            word(20_000),
            word(22_000),
            word(0x200),
            word(1 << 63),
            word(21_000),
            word(21_500),
            word(20_500),
            word(0xb),
            word(0xc),
            word(0x301),
            word(0xd),
            vec![1],
        ];
        [front.concat(), told.concat(), heard.concat()].concat()
    }

    fn encoded(baton: &Baton) -> Vec<u8> {
        let mut bytes = Vec::new();
        baton.encode(&mut bytes);
        bytes
    }

    #[test]
    fn the_golden_bytes_stay() {
        let baton = Baton::decode(&golden()).unwrap();
        assert_eq!(encoded(&baton), golden());
        assert_eq!(golden().len(), Baton::LEN);
        let at = |nanos| Some(Instant::from_nanos(nanos));
        assert_eq!(baton.app, Some(Epoch::from_bits(0x200)));
        assert_eq!((baton.leases, baton.bound), ([at(21_000), at(21_500)], at(20_500)));
        assert_eq!((baton.role, baton.blocking), (Role::Prim, 1 << 63));
        let flags =
            Flags { started: true, failover: true, minted: true, ready: true, ..Flags::default() };
        assert_eq!(baton.flags, flags);
        assert_eq!(baton.peer.map(|told| told.preference), Some(9));
    }

    #[test]
    fn each_flag_has_its_bit() {
        for bits in 0..1_u16 << Flags::COUNT {
            assert_eq!(Flags::from_bits(bits).map(Flags::bits), Some(bits));
        }
        assert_eq!(Flags::from_bits(1 << Flags::COUNT), None);
    }

    #[test]
    fn what_is_absent_is_zero() {
        let mut baton = Baton::decode(&golden()).unwrap();
        (baton.app, baton.leases, baton.bound, baton.promise) = (None, [None; 2], None, None);
        baton.peer = None;
        let bytes = encoded(&baton);
        assert_eq!((&bytes[80..88], &bytes[96..144]), (&[0; 8][..], &[0; 48][..]));
        assert_eq!(bytes[153..270], [0; 117]);
        assert_eq!(Baton::decode(&bytes), Ok(baton));
    }

    #[test]
    fn what_would_outlive_its_grant_is_refused() {
        let spoiled = |at: usize, nanos: u64| {
            let mut bytes = golden();
            bytes[at..at + 8].copy_from_slice(&nanos.to_be_bytes());
            Baton::decode(&bytes).map(|_| ())
        };
        let invalid = |field| Err(DecodeError::Invalid(field));
        assert_eq!(spoiled(72, 23_000), Ok(()));
        assert_eq!(spoiled(72, 23_001), invalid("until when"));
        assert_eq!(spoiled(72, 19_999), invalid("until when"));
        assert_eq!(spoiled(96, 23_001), invalid("a lease's end"));
        assert_eq!(spoiled(104, 23_001), invalid("a lease's end"));
        assert_eq!(spoiled(112, 0), invalid("the binding"), "a promise that binds nobody");
        assert_eq!(spoiled(56, 20_001), invalid("when it booted"));
        assert_eq!(spoiled(80, 0x400), invalid("the application's reign"));
    }

    #[test]
    fn every_other_length_and_every_other_version_is_refused() {
        let mut bytes = golden();
        for len in 0..bytes.len() {
            let cut = Baton::decode(&bytes[..len]);
            assert!(matches!(cut, Err(DecodeError::Truncated(_))), "{len}: {cut:?}");
        }
        bytes.push(0);
        assert_eq!(Baton::decode(&bytes), Err(DecodeError::Trailing));
        bytes[4] = 2;
        assert_eq!(Baton::decode(&bytes), Err(DecodeError::Invalid("the version")));
        bytes[0] = b'h';
        assert_eq!(Baton::decode(&bytes), Err(DecodeError::Invalid("the magic")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_one_that_encodes_to_them_or_an_error(
            spoils in proptest::collection::vec((0..Baton::LEN, any::<u8>()), 0..4),
            noise in proptest::collection::vec(any::<u8>(), 0..Baton::LEN + 2),
        ) {
            let mut near = golden();
            for (at, byte) in spoils {
                near[at] = byte;
            }
            for bytes in [near, noise] {
                if let Ok(baton) = Baton::decode(&bytes) {
                    prop_assert_eq!(encoded(&baton), bytes);
                }
            }
        }
    }
}
