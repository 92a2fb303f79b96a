//! What a datagram says, read from its bytes as an observer on the wire would.

use ha_proto::NodeSet;

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
    /// The highest counter that it saw.
    pub highest: u64,
    /// Whom it hears.
    pub hears: NodeSet,
}

/// What a datagram says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A beat.
    Beat(Said),
    /// A part of a proposal.
    Propose {
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

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.counter, self.coordinator)
    }
}

/// A beat in one line.
pub fn show(said: &Said) -> String {
    let state = if said.takes { "takes" } else { "takes nothing" };
    format!("at {} {}, {state}, hears {}", said.view, said.members, said.hears)
}

impl Said {
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
