//! What a datagram says, read from its bytes as an observer on the wire would.

use std::sync::Arc;

use ha_core::heartbeat::group::{Beat, Part, Pull, State, ViewId};
use ha_proto::NodeSet;
use ha_proto::wire::{Header, Kind, MAC_LEN};

use super::options::MEMBERS_MAX;
use super::services::SERVICES;

/// The name of a view, compared in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// Its counter.
    pub counter: u64,
    /// Who proposed it.
    pub coordinator: u8,
    /// In which boot.
    pub boot: u64,
}

/// What a beat says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// Who.
    pub from: usize,
    /// In which boot.
    pub boot: u64,
    /// Its number.
    pub number: u64,
    /// The sender's view, or the one that it stands by at; zero before the first.
    pub view: Id,
    /// That view's members.
    pub members: NodeSet,
    /// Whether the sender takes.
    pub takes: bool,
    /// Whether it could be in a view.
    pub able: bool,
    /// Whether it takes nothing and may not propose yet (F6).
    pub waits: bool,
    /// The highest counter that it saw.
    pub highest: u64,
    /// Whom it hears.
    pub hears: NodeSet,
    /// The number of the rules in force at the sender.
    pub accord: u64,
    /// Of those that it has besides; the same when there are none.
    pub next: u64,
    /// The weights that it wishes for, in eighths, in the order of its rules in force.
    pub weights: [u16; SERVICES],
    /// The newest number that it read of each member, and of which boot (its last four bytes).
    pub echoes: [Option<(u32, u64)>; MEMBERS_MAX],
}

/// What a datagram says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A beat.
    Beat(Arc<Said>),
    /// A part of a proposal.
    Propose {
        /// Who.
        from: usize,
        /// In which boot.
        boot: u64,
        /// Of which view.
        id: Id,
    },
    /// A part of a proposal of somebody else, passed on.
    Passes {
        /// Who passes it on.
        from: usize,
        /// In which boot.
        boot: u64,
        /// Of which view.
        id: Id,
    },
    /// A part of a view's tables.
    Part {
        /// Who.
        from: usize,
        /// Of which view.
        id: Id,
    },
    /// Somebody asks for a part of a view.
    Pull {
        /// Who.
        from: usize,
        /// Of which view.
        id: Id,
    },
}

impl Fact {
    /// Reads a datagram that a member sent.
    ///
    /// # Panics
    /// If it is none of a farm's.
    pub fn read(from: usize, bytes: &[u8]) -> Self {
        let body = &bytes[Header::LEN..bytes.len() - MAC_LEN];
        match Kind::from_u8(bytes[KIND_AT]) {
            Some(Kind::Member) => {
                let number = bytes[SEQUENCE_AT..].first_chunk().expect("the header is whole");
                let beat = Beat::decode(u64::from_be_bytes(*number), body).expect("just encoded");
                Self::Beat(Arc::new(Said::of(from, &beat)))
            }
            Some(Kind::Propose) => {
                let part = Part::decode(body).expect("just encoded");
                let id = Id::of(part.id);
                let boot = part.boot.0;
                let own = usize::from(id.coordinator) == from && id.boot == boot;
                if own { Self::Propose { from, boot, id } } else { Self::Passes { from, boot, id } }
            }
            Some(Kind::Part) => {
                let part = Part::decode(body).expect("just encoded");
                Self::Part { from, id: Id::of(part.id) }
            }
            Some(Kind::Pull) => {
                let pull = Pull::decode(body).expect("just encoded");
                Self::Pull { from, id: Id::of(pull.id) }
            }
            Some(Kind::Beat | Kind::Ask | Kind::Answer | Kind::Survey) | None => {
                panic!("a farm sends no datagram of kind {}", bytes[KIND_AT])
            }
        }
    }
}

impl Id {
    /// What the machine calls it.
    pub(super) fn of(id: ViewId) -> Self {
        Self { counter: id.counter, coordinator: id.coordinator.as_u8(), boot: id.boot.0 }
    }
}

impl Said {
    fn of(from: usize, beat: &Beat) -> Self {
        let mut echoes = [None; MEMBERS_MAX];
        for echo in &beat.echoes {
            echoes[usize::from(echo.node.as_u8())] = Some((echo.boot, echo.number));
        }
        Self {
            echoes,
            from,
            boot: beat.boot.0,
            number: beat.number,
            view: beat.said.view.map(Id::of).unwrap_or_default(),
            members: beat.said.members,
            takes: beat.said.takes(),
            able: beat.said.state != State::Unable,
            waits: beat.said.state == State::Waits,
            highest: beat.said.highest,
            hears: beat.said.hears,
            accord: beat.said.accord,
            next: beat.said.next,
            weights: weights(&beat.facts),
        }
    }
}

/// What a beat's facts say of weights: they come after its version, MAC and announcer.
fn weights(facts: &[u8]) -> [u16; SERVICES] {
    let mut weights = [0; SERVICES];
    let told = facts.get(WEIGHTS_AT..).unwrap_or_default().chunks_exact(2);
    for (weight, told) in weights.iter_mut().zip(told) {
        *weight = u16::from_be_bytes([told[0], told[1]]);
    }
    weights
}

/// Where a beat's facts have the weights.
const WEIGHTS_AT: usize = 9;
/// Where the header has the kind.
const KIND_AT: usize = 5;
/// Where the header has the sequence.
const SEQUENCE_AT: usize = 32;

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.counter, self.coordinator)
    }
}

/// A beat in one line.
pub fn show(said: &Said) -> String {
    let state = if said.takes { "takes" } else { "takes nothing" };
    let rules = if said.accord == said.next { "" } else { ", other rules wait" };
    format!("at {} {}, {state}, hears {}{rules}", said.view, said.members, said.hears)
}

impl Said {
    /// The number that it echoes of this boot of a member; zero for none.
    pub fn echo(&self, node: usize, boot: u64) -> u64 {
        let echo = self.echoes[node].filter(|(of, _)| u64::from(*of) == boot & 0xffff_ffff);
        echo.map_or(0, |(_, number)| number)
    }

    /// Whether its sender has these rules, in force or waiting.
    pub fn has(&self, accord: u64) -> bool {
        [self.accord, self.next].contains(&accord)
    }

    /// Whether two members could be in one view, as far as their rules go.
    pub fn agrees(&self, other: &Self) -> bool {
        self.has(other.accord) || self.has(other.next)
    }

    /// Whether it says of itself that it takes in this view.
    pub fn takes_in(&self, view: Id) -> bool {
        self.takes && self.view == view
    }
}

/// Whether one set of members ranks better than another: more members, then lower ids.
pub fn ranks_better(one: NodeSet, other: NodeSet) -> bool {
    if one.len() != other.len() {
        return one.len() > other.len();
    }
    let differs = one.bits() ^ other.bits();
    differs != 0 && one.bits() & (1 << differs.trailing_zeros()) != 0
}
