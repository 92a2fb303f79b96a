//! What a member hands over to the next process of its boot (F6).

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use bytes::{BufMut, Bytes};
use ha_proto::codec::{DecodeError, Reader};
use ha_proto::{Boot, Deadline, Instant, NodeId};

use super::machine::Told;
use super::peer::Peer;
use crate::group::{Beat, Config, Group, Proposal, Said, ViewId};

/// What the next process of the same boot must know of a [`Group`] that takes all that its view
/// gives it.
///
/// It is to the others as if that process had been paused: what was heard is handed over, with when
/// it was heard, and so is when this node was due to act, so that a pause beyond the slack is a gap
/// like any other. Views on their way are not: they are said again.
///
/// Big-endian; instants in nanoseconds of the clock that both processes share:
///
/// | at | bytes | field |
/// |---|---|---|
/// | 0 | 8 | boot |
/// | 8 | 8 | number of the last beat |
/// | 16 | 8 | when it was to be called next |
/// | 24 | 8 | when the next beat is due |
/// | 32 | 8 | since when it ran without a gap |
/// | 40 | 8 | after that gap: the least echo that was believed |
/// | 48 | 8 | when the view was installed |
/// | 56 | 8 | the lease's end |
/// | 64 | 8 | the highest counter seen |
/// | 72 | 8 | accord |
/// | 80 | 8 | the next accord |
/// | 88 | 1 | length of the facts, and they |
/// | | 1 | number of views that were its own, 1 to 16 |
/// | | 17 each | their ids, the oldest first |
/// | | 2 | length of the view, and it, as it is proposed |
/// | | 1 | number of nodes that were heard, at most 63 |
///
/// | at | bytes | of a node, by id |
/// |---|---|---|
/// | 0 | 1 | its id |
/// | 1 | 8 | its number |
/// | 9 | 8 | when it was heard last; 0: not since the gap |
/// | 17 | 8 | when it last said that it hears this node; 0: it did not |
/// | 25 | 1 | whether its last beat echoed this boot |
/// | 26 | 1 | whether it said something since the gap |
/// | 27 | 2 | length of its last beat, and it, without echoes |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    boot: Boot,
    number: u64,
    due: Instant,
    next_beat: Instant,
    awake: Instant,
    fresh: u64,
    view_at: Instant,
    lease: Instant,
    highest: u64,
    told: Told,
    own: Vec<ViewId>,
    view: Proposal,
    peers: BTreeMap<NodeId, Heard>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Heard {
    boot: Boot,
    number: u64,
    last: Option<Instant>,
    mutual: Option<Instant>,
    echoes: bool,
    said: Option<Said>,
    facts: Bytes,
}

impl Group {
    /// Gives what the next process of this boot needs to go on. `None` unless this node takes all
    /// that its view gives it and nothing is under way: then there is nothing to go on with, or it
    /// is to be asked again a moment later.
    pub fn hand_over(&self) -> Option<Handed> {
        let busy = self.writing.is_some() || self.building.is_some() || !self.able;
        let (lease, view, view_at) = (self.lease?, self.view.clone()?, self.view_at?);
        if busy || self.stands.is_some() || !self.full || lease <= self.now {
            return None;
        }
        let heard = self.peers.iter().filter_map(|(&node, peer)| Some((node, Heard::of(peer)?)));
        Some(Handed {
            boot: self.boot,
            number: self.number,
            due: self.due.map_or(self.next_beat, |due| due.at),
            next_beat: self.next_beat,
            awake: self.awake,
            fresh: self.fresh,
            view_at,
            lease,
            highest: self.highest,
            told: self.told.clone(),
            own: self.own.iter().copied().collect(),
            view,
            peers: heard.collect(),
        })
    }

    /// Goes on where an earlier process of this boot stopped. What it was late for shows at the
    /// first input.
    ///
    /// # Panics
    /// If the configuration cannot work, or if `handed` is of other nodes ([`Handed::fits`]).
    pub fn adopt(config: Config, handed: &Handed, now: Instant) -> Self {
        assert!(handed.fits(&config), "what was heard of others would be believed of these");
        let mut group = Self::new(config, handed.boot, handed.awake);
        for (node, heard) in &handed.peers {
            let peer = group.peers.get_mut(node).expect("it fits");
            *peer = heard.peer();
        }
        group.now = now.max(handed.awake);
        group.number = handed.number;
        group.next_beat = handed.next_beat;
        group.fresh = handed.fresh;
        group.view = Some(handed.view.clone());
        group.view_at = Some(handed.view_at);
        group.stands = None;
        group.full = true;
        group.able = true;
        group.lease = Some(handed.lease);
        group.own = handed.own.iter().copied().collect::<VecDeque<_>>();
        group.highest = handed.highest;
        group.told = handed.told.clone();
        group.barren = BTreeSet::new();
        group.due = Some(Deadline { at: handed.due, why: "goes on" });
        group
    }
}

impl Handed {
    /// The lease's end: what is handed over later is of no use.
    pub fn lease(&self) -> Instant {
        self.lease
    }

    /// The view that is gone on with.
    pub fn view(&self) -> &Proposal {
        &self.view
    }

    /// What was heard of each node's own word, opaque to the group: also of who was not heard since
    /// a gap, for it is told of once, and again only when it changes.
    pub fn facts(&self) -> impl Iterator<Item = (NodeId, &Bytes)> {
        let heard = self.peers.iter().filter(|(_, heard)| !heard.facts.is_empty());
        heard.map(|(&node, heard)| (node, &heard.facts))
    }

    /// Whether it is of this node among these.
    pub fn fits(&self, config: &Config) -> bool {
        let others = config.members.without(config.me);
        let mine = self.view.members.get(&config.me) == Some(&self.boot);
        mine && self.view.set().is_subset_of(config.members)
            && self.peers.keys().all(|&node| others.contains(node))
    }

    /// Writes it.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u64(self.boot.0);
        out.put_u64(self.number);
        let instants = [self.due, self.next_beat, self.awake];
        for at in instants {
            out.put_u64(at.as_nanos());
        }
        out.put_u64(self.fresh);
        out.put_u64(self.view_at.as_nanos());
        out.put_u64(self.lease.as_nanos());
        out.put_u64(self.highest);
        out.put_u64(self.told.accord);
        out.put_u64(self.told.next);
        out.put_u8(self.told.facts.len() as u8);
        out.put_slice(&self.told.facts);
        assert!((1..=Group::OWN_MAX).contains(&self.own.len()), "a reader would refuse it");
        out.put_u8(self.own.len() as u8);
        for &id in &self.own {
            ViewId::encode(Some(id), out);
        }
        let mut view = Vec::new();
        self.view.encode(&mut view);
        out.put_u16(view.len() as u16);
        out.put_slice(&view);
        out.put_u8(self.peers.len() as u8);
        for (node, heard) in &self.peers {
            heard.encode(*node, out);
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes end early, or when a field holds a value that it cannot have.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let boot = Boot(from.u64("the boot")?);
        let number = from.u64("the last beat")?;
        let due = instant(from)?;
        let (next_beat, awake) = (instant(from)?, instant(from)?);
        let fresh = from.u64("the least echo")?;
        let (view_at, lease) = (instant(from)?, instant(from)?);
        let highest = from.u64("the highest counter")?;
        let (accord, next) = (from.u64("the accord")?, from.u64("the next accord")?);
        let len = usize::from(from.u8("the facts")?);
        let facts = Bytes::copy_from_slice(from.bytes(len, "the facts")?);
        refuse(facts.len() > Beat::FACTS_MAX, "the facts")?;
        let count = usize::from(from.u8("its own views")?);
        refuse(!(1..=Group::OWN_MAX).contains(&count), "its own views")?;
        let mut own = Vec::with_capacity(count);
        for _ in 0..count {
            let id = ViewId::decode(from, "its own views")?;
            own.push(id.ok_or(DecodeError::Invalid("its own views"))?);
        }
        let len = usize::from(from.u16("the view")?);
        let view = Proposal::decode(from.bytes(len, "the view")?)?;
        let believed = highest <= ViewId::COUNTER_MAX && view.id.counter <= highest;
        refuse(number == 0 || !believed, "the highest counter")?;
        let count = from.u8("the nodes")?;
        let mut peers = BTreeMap::new();
        for _ in 0..count {
            let (node, heard) = Heard::decode(from)?;
            let last = peers.last_key_value().map(|(&last, _)| last);
            refuse(node.as_u8() > 63 || last >= Some(node), "a node")?;
            peers.insert(node, heard);
        }
        let told = Told { facts, accord, next };
        Ok(Self {
            boot,
            number,
            due,
            next_beat,
            awake,
            fresh,
            view_at,
            lease,
            highest,
            told,
            own,
            view,
            peers,
        })
    }
}

impl Heard {
    fn of(peer: &Peer) -> Option<Self> {
        Some(Self {
            boot: peer.boot?,
            number: peer.number,
            last: peer.last,
            mutual: peer.mutual,
            echoes: peer.echoes,
            said: peer.said,
            facts: peer.facts.clone(),
        })
    }

    /// A rival that was not believed yet is found again.
    fn peer(&self) -> Peer {
        Peer {
            boot: Some(self.boot),
            number: self.number,
            last: self.last,
            mutual: self.mutual,
            echoes: self.echoes,
            said: self.said,
            facts: self.facts.clone(),
            ..Peer::default()
        }
    }

    fn encode(&self, node: NodeId, out: &mut impl BufMut) {
        let nanos = |at: Option<Instant>| at.map_or(0, Instant::as_nanos);
        out.put_u8(node.as_u8());
        out.put_u64(self.number);
        out.put_u64(nanos(self.last));
        out.put_u64(nanos(self.mutual));
        out.put_u8(self.echoes.into());
        out.put_u8(self.said.is_some().into());
        let said = self.said.unwrap_or(Said::NOTHING);
        let (boot, number, facts) = (self.boot, self.number, self.facts.clone());
        let mut beat = Vec::new();
        Beat { boot, number, said, echoes: Vec::new(), facts }.encode(&mut beat);
        out.put_u16(beat.len() as u16);
        out.put_slice(&beat);
    }

    fn decode(from: &mut Reader<'_>) -> Result<(NodeId, Self), DecodeError> {
        let node = from.node("a node")?;
        let number = from.u64("its number")?;
        let some = |at: Instant| (at > Instant::ZERO).then_some(at);
        let (last, mutual) = (some(instant(from)?), some(instant(from)?));
        let echoes = flag(from)?;
        let speaks = flag(from)?;
        let len = usize::from(from.u16("its beat")?);
        let beat = Beat::decode(number, from.bytes(len, "its beat")?)?;
        let silent = beat.said == Said::NOTHING;
        refuse(!beat.echoes.is_empty() || (!speaks && !silent), "its beat")?;
        let said = speaks.then_some(beat.said);
        let (boot, facts) = (beat.boot, beat.facts);
        Ok((node, Self { boot, number, last, mutual, echoes, said, facts }))
    }
}

fn instant(from: &mut Reader<'_>) -> Result<Instant, DecodeError> {
    from.u64("an instant").map(Instant::from_nanos)
}

fn flag(from: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match from.u8("a flag")? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Invalid("a flag")),
    }
}

fn refuse(wrong: bool, field: &'static str) -> Result<(), DecodeError> {
    if wrong { Err(DecodeError::Invalid(field)) } else { Ok(()) }
}

const _: () = assert!(Beat::FACTS_MAX <= 255, "their length is told in one byte");
