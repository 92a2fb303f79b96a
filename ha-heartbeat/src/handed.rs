//! What a detector hands over to the next process of its boot.

use alloc::collections::BTreeMap;

use bytes::BufMut;
use ha_proto::codec::{DecodeError, Reader};
use ha_proto::{Boot, Instant, NodeId};

use crate::Config;
use crate::liveness::Liveness;
use crate::peer::Peer;
use crate::session::Session;

/// What the next process of the same boot must know of a [`Detector`](crate::Detector).
///
/// It is to the peer as if that process had been paused. So what was heard is handed over: a boot
/// and its newest numbers, or whatever was recorded would be news, and until when the proofs of
/// life last. So is the own newest number: a peer takes none twice. When which round was sent is
/// not: an echo of one, or a promise for it, proves nothing then, which is the safe side, and the
/// first round of the new process is echoed within an interval.
///
/// [`Handed::len`] bytes, big-endian:
///
/// | at | bytes | field |
/// |---|---|---|
/// | 0 | 8 | the newest number of the own rounds; 0 before the first |
/// | 8 | 8 | when the next regular round is due, nanoseconds |
/// | 16 | 227 each | the peers, by their ids |
///
/// | at | bytes | of a peer |
/// |---|---|---|
/// | 0 | 1 | its id |
/// | 1 | 8 | its known boot |
/// | 9 | 8 | its newest number; 0, with all that follows, when no boot is known |
/// | 17 | 64 | its newest number on each of 8 links; 0 when none came |
/// | 81 | 2 | what is up: bit 0 the peer, bit 1 its link 0, and so on |
/// | 83 | 16 | the newest proof of the peer: when it arrived, when what it echoed was sent; 0 when it is down |
/// | 99 | 128 | likewise for each link |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    number: u64,
    next: Instant,
    peers: BTreeMap<NodeId, Heard>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Heard {
    known: Option<Session>,
    peer: Liveness,
    links: [Liveness; Config::LINKS_MAX],
}

impl Handed {
    pub(crate) fn of(number: u64, next: Instant, peers: &BTreeMap<NodeId, Peer>) -> Self {
        let heard = |peer: &Peer| {
            let mut links = [Liveness::default(); Config::LINKS_MAX];
            for (to, link) in links.iter_mut().zip(&peer.links) {
                *to = link.liveness;
            }
            Heard { known: peer.known, peer: peer.liveness, links }
        };
        let peers = peers.iter().map(|(&id, peer)| (id, heard(peer))).collect();
        Self { number, next, peers }
    }

    /// Whether it is of these peers, over no more links than these.
    pub fn fits(&self, config: &Config) -> bool {
        let links = usize::from(config.links);
        let beyond = |heard: &Heard| heard.links[links..].iter().any(|link| link.is_up());
        let ours = |id: &NodeId| config.peers.contains(id);
        let same = self.peers.len() == config.peers.len() && self.peers.keys().all(ours);
        same && !self.peers.values().any(beyond)
    }

    /// How many bytes it takes for so many peers.
    pub const fn len(peers: usize) -> usize {
        16 + peers * PEER_LEN
    }

    /// Writes it.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u64(self.number);
        out.put_u64(self.next.as_nanos());
        for (id, heard) in &self.peers {
            out.put_u8(id.as_u8());
            heard.encode(out);
        }
    }

    /// Reads one of so many peers.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes end early or a field holds a value that it cannot have.
    pub fn decode(from: &mut Reader<'_>, peers: usize) -> Result<Self, DecodeError> {
        let number = from.u64("the newest number")?;
        let next = Instant::from_nanos(from.u64("the next round")?);
        let mut all = BTreeMap::new();
        for _ in 0..peers {
            let id = from.node("a peer")?;
            let rises = all.last_key_value().is_none_or(|(last, _)| *last < id);
            if !rises {
                return Err(DecodeError::Invalid("a peer"));
            }
            all.insert(id, Heard::decode(from)?);
        }
        Ok(Self { number, next, peers: all })
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    pub(crate) fn peers(&self, config: &Config) -> BTreeMap<NodeId, Peer> {
        assert!(self.fits(config), "what was heard of others would be believed of these");
        let peer = |heard: &Heard| {
            let mut peer = Peer::new(config.links);
            assert!(heard.known.is_some() || !heard.peer.is_up(), "only a known boot lives");
            (peer.known, peer.liveness) = (heard.known, heard.peer);
            for (link, liveness) in peer.links.iter_mut().zip(heard.links) {
                link.liveness = liveness;
            }
            peer
        };
        self.peers.iter().map(|(&id, heard)| (id, peer(heard))).collect()
    }
}

impl Heard {
    fn encode(&self, out: &mut impl BufMut) {
        out.put_u64(self.known.map_or(0, |known| known.boot.0));
        out.put_u64(self.known.map_or(0, |known| known.newest));
        let none = [0; Config::LINKS_MAX];
        for number in self.known.as_ref().map_or(&none, Session::all_seen) {
            out.put_u64(*number);
        }
        let all = || core::iter::once(self.peer).chain(self.links);
        let up = all().zip(0..).filter(|(life, _)| life.is_up()).map(|(_, bit)| 1_u16 << bit);
        out.put_u16(up.fold(0, |bits, bit| bits | bit));
        for life in all() {
            let (heard, sent) = life.proof().unwrap_or_default();
            out.put_u64(heard.as_nanos());
            out.put_u64(sent.as_nanos());
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (boot, newest) = (Boot(from.u64("the peer's boot")?), from.u64("the peer's number")?);
        let mut seen = [0; Config::LINKS_MAX];
        for number in &mut seen {
            *number = from.u64("the number on a link")?;
        }
        let known = match (boot.0, newest) {
            (0, 0) if seen == [0; Config::LINKS_MAX] => None,
            (_, _) => {
                let known = Session::resume(boot, newest, seen);
                Some(known.ok_or(DecodeError::Invalid("the peer's number"))?)
            }
        };
        let up = from.u16("what is up")?;
        if up >> LIVES != 0 || (up != 0 && known.is_none()) {
            return Err(DecodeError::Invalid("what is up"));
        }
        let mut lives = [Liveness::default(); LIVES];
        for (bit, life) in lives.iter_mut().enumerate() {
            *life = proof(from, up >> bit & 1 == 1)?;
        }
        let [peer, links @ ..] = lives;
        Ok(Self { known, peer, links })
    }
}

fn proof(from: &mut Reader<'_>, up: bool) -> Result<Liveness, DecodeError> {
    let mut instant = || from.u64("a proof of life").map(Instant::from_nanos);
    let (heard, sent) = (instant()?, instant()?);
    let down = heard == Instant::ZERO && sent == Instant::ZERO;
    let life = if up { Liveness::resume(heard, sent) } else { down.then(Liveness::default) };
    life.ok_or(DecodeError::Invalid("a proof of life"))
}

/// The peer and its links.
const LIVES: usize = 1 + Config::LINKS_MAX;
const PEER_LEN: usize = 1 + 16 + 8 * Config::LINKS_MAX + 2 + 16 * LIVES;
const _: () = assert!(PEER_LEN == 227, "the layout is released: add a version, never edit it");

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;
    use core::time::Duration;

    use ha_proto::LinkId;
    use proptest::prelude::*;

    use super::*;

    fn config(links: u8) -> Config {
        let (me, peers) = (NodeId::new(0).unwrap(), vec![NodeId::new(1).unwrap()]);
        let (interval, timeout) = (Duration::from_millis(10), Duration::from_millis(30));
        Config::new(me, Boot(7), peers, links, interval, timeout).unwrap()
    }

    fn handed() -> Handed {
        let mut seen = [0; Config::LINKS_MAX];
        (seen[0], seen[1]) = (0x31, 0x30);
        let mut links = [Liveness::default(); Config::LINKS_MAX];
        let proof = |heard, sent| {
            Liveness::resume(Instant::from_nanos(heard), Instant::from_nanos(sent)).unwrap()
        };
        links[0] = proof(0x52, 0x51);
        let known = Session::resume(Boot(0x21), 0x31, seen);
        let heard = Heard { known, peer: proof(0x42, 0x41), links };
        let peers = BTreeMap::from([(NodeId::new(1).unwrap(), heard)]);
        Handed { number: 0x11, next: Instant::from_nanos(0x12), peers }
    }

    fn encoded(handed: &Handed) -> Vec<u8> {
        let mut bytes = Vec::new();
        handed.encode(&mut bytes);
        bytes
    }

    fn decoded(bytes: &[u8]) -> Result<Handed, DecodeError> {
        let mut from = Reader::new(bytes);
        let handed = Handed::decode(&mut from, 1)?;
        from.finish().map(|()| handed)
    }

    /// Version 1. Never edited, only added to.
    fn golden() -> Vec<u8> {
        let words = |words: &[u64]| words.iter().flat_map(|word| word.to_be_bytes()).collect();
        let parts: [Vec<u8>; 6] = [
            words(&[0x11, 0x12]),
            vec![1],
            words(&[0x21, 0x31, 0x31, 0x30, 0, 0, 0, 0, 0, 0]),
            vec![0, 0b11],
            words(&[0x42, 0x41, 0x52, 0x51]),
            vec![0; 7 * 16],
        ];
        parts.concat()
    }

    #[test]
    fn the_golden_bytes_stay() {
        assert_eq!(encoded(&handed()), golden());
        assert_eq!(decoded(&golden()), Ok(handed()));
        assert_eq!(golden().len(), Handed::len(1));
    }

    #[test]
    fn impossible_fields_are_named() {
        let spoiled = |at: usize, byte: u8| {
            let mut bytes = golden();
            bytes[at] = byte;
            decoded(&bytes)
        };
        let invalid = |field| Err(DecodeError::Invalid(field));
        assert_eq!(spoiled(16, 0x80), invalid("a peer"));
        assert_eq!(spoiled(32, 0x32), invalid("the peer's number"), "not heard on any link");
        assert_eq!(spoiled(16 + 81, 2), invalid("what is up"));
        assert_eq!(spoiled(16 + 82, 0b111), Ok(Handed { ..later() }), "proved at zero");
        assert_eq!(spoiled(16 + 82, 0b01), invalid("a proof of life"), "what is down has none");
        assert_eq!(spoiled(16 + 90, 0x40), invalid("a proof of life"), "sent after it was heard");
    }

    /// Its second link is up by a proof of the machine's first moment.
    fn later() -> Handed {
        let mut handed = handed();
        let heard = handed.peers.values_mut().next().unwrap();
        heard.links[1] = Liveness::resume(Instant::ZERO, Instant::ZERO).unwrap();
        handed
    }

    #[test]
    fn it_fits_its_own_peers_and_links_only() {
        assert!(handed().fits(&config(2)));
        assert!(handed().fits(&config(8)));
        assert!(later().fits(&config(2)));
        assert!(!later().fits(&config(1)), "a link that is gone would stay up");
        let me = NodeId::new(0).unwrap();
        let other = vec![NodeId::new(2).unwrap()];
        let other = Config { peers: other, me, ..config(2) };
        assert!(!handed().fits(&other));
    }

    #[test]
    fn a_link_that_never_was_is_still_none() {
        let peers = handed().peers(&config(1));
        let peer = peers.values().next().unwrap();
        assert_eq!((peer.links.len(), peer.links[0].liveness.is_up()), (1, true));
        assert_eq!(peer.known.as_ref().map(|known| known.seen(LinkId(1))), Some(0x30));
    }

    proptest! {
        #[test]
        fn any_bytes_are_one_that_encodes_to_them_or_an_error(
            spoils in proptest::collection::vec((0..Handed::len(1) + 2, any::<u8>()), 0..6),
            len in 0..Handed::len(1) + 2,
        ) {
            let mut near = golden();
            near.resize(Handed::len(1) + 2, 0);
            for (at, byte) in spoils {
                near[at] = byte;
            }
            for bytes in [&near[..len], &near[..Handed::len(1)]] {
                if let Ok(handed) = decoded(bytes) {
                    prop_assert_eq!(encoded(&handed), bytes);
                }
            }
        }
    }
}
