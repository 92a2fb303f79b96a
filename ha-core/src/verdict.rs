//! Would a takeover succeed now, and if not, why? One answer for the command line, metrics and
//! whoever else asks.
//!
//! [`judge`] is a pure function of a node's [`View`] and of what its host adds ([`HostFacts`]);
//! [`explain`] says what would happen next, of the same facts. [`Ages`] remembers since when.

mod explain;
mod find;
mod words;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use ha_proto::Instant;

use crate::view::View;

pub use self::explain::{Explanation, explain, swap_takes};
pub(crate) use self::words::link;
pub use self::words::span;

/// What is known, and what things are called.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The node's own knowledge.
    pub view: &'a View,
    /// What its host adds.
    pub host: &'a HostFacts,
    /// What an administrator calls things.
    pub names: &'a Names,
}

/// What the host of a module knows and its machines do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// How long an ordered maintenance still lasts; `None` when there is none.
    pub maintenance: Option<Duration>,
    /// Whether checkers act; an operator may suspend them.
    pub checkers: bool,
    /// Automatic restarts left before the module is stopped for good (`maxloop`); `None` when they
    /// are not counted.
    pub restarts_left: Option<u8>,
    /// The file of the configuration is another one than what runs.
    pub config_differs: bool,
    /// How long the last start of the application took here.
    pub start: Option<Duration>,
    /// How long its last stop took here.
    pub stop: Option<Duration>,
}

/// What an administrator calls the parts of a pair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// This node.
    pub me: String,
    /// The other node.
    pub peer: String,
    /// The networks, in the order of the configuration.
    pub links: Vec<String>,
    /// The resources, in the order of the configuration.
    pub resources: Vec<String>,
}

/// Whether the service would survive the loss of the node that runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A takeover would succeed now.
    Protected {
        /// How long it takes at most, as far as is known the application's start included.
        takeover: Duration,
    },
    /// The service runs, and would not survive.
    Unprotected {
        /// Why, what weighs most first; at least one.
        blockers: Vec<Finding>,
    },
    /// As far as this node knows the service runs nowhere.
    Down(Down),
}

/// The verdict without its reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// A takeover would succeed now.
    Protected,
    /// The service runs, and would not survive.
    Unprotected,
    /// The service runs nowhere.
    Down,
}

/// Something that stands in the way of a takeover, or that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What, as a word that scripts and metrics may rely on.
    pub kind: Kind,
    /// For how long, as far as [`Ages`] saw it.
    pub since: Option<Duration>,
    /// Why, in one sentence.
    pub why: String,
    /// What happens if the node that serves dies now.
    pub if_dies: String,
    /// What to do, or that nothing is to be done.
    pub next: String,
}

/// What can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The other node is lost.
    NoPeer,
    /// The module is stopped on the node that would take over.
    Stopped,
    /// A disk is full, silent or failed.
    Storage,
    /// The other copy lacks something.
    NotInSync,
    /// A resource is down on the node that would take over, or its application fails.
    Resource,
    /// The witness does not answer.
    Witness,
    /// Maintenance was ordered.
    Maintenance,
    /// Nobody takes over without an operator.
    FailoverOff,
    /// No automatic restart is left.
    Maxloop,
    /// The configuration differs from its file, or from the witness's.
    Config,
    /// A network between the nodes is down: never a blocker as long as another one works.
    Network,
    /// Beats come so late that a takeover without a cause is near.
    Headroom,
    /// Checkers are suspended.
    Checkers,
}

/// Why the service does not run, and who can change that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// Why, in one sentence.
    pub why: String,
    /// Whose move it is.
    pub mover: Mover,
    /// What to do, or to wait for.
    pub next: String,
    /// When the mover moves by itself, at the latest, as far as that is known.
    pub within: Option<Duration>,
    /// For how long, as far as [`Ages`] saw it.
    pub since: Option<Duration>,
}

/// Whose move it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mover {
    /// This node's, by itself.
    Node,
    /// The other node's.
    Peer,
    /// The witness's.
    Witness,
    /// An operator's.
    Operator,
}

/// Says whether the service would survive the loss of the node that runs it.
///
/// Both nodes answer alike as long as they hear each other, but for what only one of them knows:
/// its own maintenance, checkers and configuration.
pub fn judge(facts: &Facts<'_>) -> Verdict {
    if let Some(down) = find::down(facts) {
        return Verdict::Down(down);
    }
    let blockers = find::blockers(facts);
    if blockers.is_empty() {
        return Verdict::Protected { takeover: takeover(facts) };
    }
    Verdict::Unprotected { blockers }
}

/// What an operator should know although no takeover would fail for it.
pub fn notes(facts: &Facts<'_>) -> Vec<Finding> {
    find::notes(facts)
}

/// The longest that a takeover takes, with the application's start as it was seen last.
pub(crate) fn takeover(facts: &Facts<'_>) -> Duration {
    facts.view.takeover + facts.host.start.unwrap_or(Duration::ZERO)
}

impl Verdict {
    /// The verdict without its reasons.
    pub const fn word(&self) -> Word {
        match self {
            Self::Protected { .. } => Word::Protected,
            Self::Unprotected { .. } => Word::Unprotected,
            Self::Down(_) => Word::Down,
        }
    }

    /// What stands in the way; empty unless unprotected.
    pub fn blockers(&self) -> &[Finding] {
        match self {
            Self::Unprotected { blockers } => blockers,
            Self::Protected { .. } | Self::Down(_) => &[],
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Protected => "PROTECTED",
            Self::Unprotected => "UNPROTECTED",
            Self::Down => "DOWN",
        })
    }
}

impl Kind {
    /// All of them, in the order of their weight.
    pub const ALL: [Self; 13] = [
        Self::NoPeer,
        Self::Stopped,
        Self::Storage,
        Self::NotInSync,
        Self::Resource,
        Self::Witness,
        Self::Maintenance,
        Self::FailoverOff,
        Self::Maxloop,
        Self::Config,
        Self::Network,
        Self::Headroom,
        Self::Checkers,
    ];

    /// Its word in metrics, events and JSON: part of the interface.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoPeer => "no_peer",
            Self::Stopped => "stopped",
            Self::Storage => "storage",
            Self::NotInSync => "not_in_sync",
            Self::Resource => "resource",
            Self::Witness => "witness",
            Self::Maintenance => "maintenance",
            Self::FailoverOff => "failover_off",
            Self::Maxloop => "maxloop",
            Self::Config => "config",
            Self::Network => "network",
            Self::Headroom => "headroom",
            Self::Checkers => "checkers",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Mover {
    /// Its word in JSON: part of the interface.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Peer => "peer",
            Self::Witness => "witness",
            Self::Operator => "operator",
        }
    }
}

impl Default for HostFacts {
    /// Nothing special: no maintenance, checkers act, nothing counted or measured.
    fn default() -> Self {
        Self {
            maintenance: None,
            checkers: true,
            restarts_left: None,
            config_differs: false,
            start: None,
            stop: None,
        }
    }
}

/// Since when a verdict and each of its reasons is so.
///
/// Shown each verdict as it is made, at each event and now and then in between, it fills in the
/// ages that [`judge`] leaves open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ages {
    word: Option<(Word, Instant)>,
    kinds: [Option<Instant>; Kind::ALL.len()],
}

impl Ages {
    /// Remembers what is new, forgets what is over, and fills in since when the rest is so.
    pub fn stamp(&mut self, now: Instant, verdict: &mut Verdict, notes: &mut [Finding]) {
        let word = verdict.word();
        if self.word.is_none_or(|(before, _)| before != word) {
            self.word = Some((word, now));
        }
        let mut present = [false; Kind::ALL.len()];
        let blockers: &mut [Finding] = match verdict {
            Verdict::Unprotected { blockers } => blockers,
            Verdict::Protected { .. } => &mut [],
            Verdict::Down(down) => {
                down.since = self.age(now);
                &mut []
            }
        };
        for finding in blockers.iter_mut().chain(notes) {
            let at = finding.kind as usize;
            present[at] = true;
            let since = *self.kinds[at].get_or_insert(now);
            finding.since = Some(now.saturating_since(since));
        }
        for (since, present) in self.kinds.iter_mut().zip(present) {
            *since = since.filter(|_| present);
        }
    }

    /// For how long the verdict has been what it is.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.word.map(|(_, since)| now.saturating_since(since))
    }
}

#[cfg(test)]
mod tests;
