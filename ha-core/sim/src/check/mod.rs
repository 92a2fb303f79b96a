//! One checker for each rule and guarantee of `CONTRACT.md`, named after it.
//!
//! They see the facts of the world (what was sent, saved, stored, performed, acknowledged), and
//! none of the machines' opinions.

mod acked;
mod applied_once;
mod field_1;
mod g1;
mod g2;
pub mod g3;
mod g4;
mod g5;
mod g6;
pub mod g7;
mod kept;
mod no_lost_ack;
mod numbers;
mod outside;
mod prefix;
mod r1;
mod r10;
mod r11;
mod r12;
mod r13;
mod r14;
mod r15;
mod r2;
mod r3;
mod r4;
mod r5;
mod r6;
mod r7;
mod r8;
mod r9;
mod steps;
mod storm;
mod table;

use core::time::Duration;

use ha_core::{Effect, Event, Order, Saved};
use ha_proto::{Chain, Epoch, Position, Seq};
use ha_quorum::{Ask, Vote};

use crate::fact::Fact;
use crate::host::Request;
use crate::network::Site;
use crate::scene::Scene;
use crate::witness::Storing;

/// Something that happened, just after it did.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// A datagram left.
    Sent {
        /// Where from.
        from: Site,
        /// What it says.
        fact: &'a Fact,
    },
    /// A datagram arrived, and is about to be read.
    Received {
        /// At which node.
        node: usize,
        /// What it says.
        fact: &'a Fact,
    },
    /// An operator is about to order something.
    Ordered {
        /// At which node.
        node: usize,
        /// What.
        order: Order,
    },
    /// A node saved an operator's override.
    Overridden {
        /// Which node.
        node: usize,
    },
    /// W has that override, or it was given up.
    OverrideEnds {
        /// Which node holds at W.
        winner: usize,
        /// Whether W has it.
        landed: bool,
    },
    /// A node's saved file was replaced.
    Saved {
        /// Which node.
        node: usize,
        /// What it held before.
        old: &'a Saved,
    },
    /// An ask arrived at the witness, and is about to be read.
    Asked {
        /// What.
        ask: &'a Ask,
    },
    /// The witness's register was replaced.
    Stored {
        /// By which step.
        step: &'a Storing,
    },
    /// Records of the peer arrive, and are about to be read.
    Frames {
        /// At which node.
        node: usize,
        /// In which epoch they were sent.
        epoch: Epoch,
        /// The records' bytes.
        records: &'a [u8],
    },
    /// Records were made durable.
    Appended {
        /// Which node.
        node: usize,
        /// The log's head before.
        before: Position,
    },
    /// Records were dropped.
    Truncated {
        /// Which node.
        node: usize,
        /// What was dropped.
        dropped: &'a [(Seq, Chain)],
    },
    /// A node is about to be lost with its storage.
    Lost {
        /// Which node.
        node: usize,
    },
    /// A node's driver is about to begin an effect.
    Begins {
        /// Which node.
        node: usize,
        /// What.
        effect: &'a Effect,
    },
    /// An application is being started, and may serve from now on.
    AppStarts {
        /// Which node.
        node: usize,
        /// In which reign.
        epoch: Epoch,
    },
    /// An application no longer serves: stopped or fenced.
    AppEnds {
        /// Which node.
        node: usize,
    },
    /// A node's right to serve may change with what it is about to learn.
    RightsChange {
        /// Which node.
        node: usize,
    },
    /// An address is about to be announced.
    Announced {
        /// By which node.
        node: usize,
        /// Which one.
        place: usize,
    },
    /// Addresses are set, or their life is extended.
    Address {
        /// Which node.
        node: usize,
        /// For how long.
        lifetime: Duration,
    },
    /// Addresses vanished by themselves.
    AddressExpired {
        /// Which node.
        node: usize,
    },
    /// A host has applied a record.
    Applied {
        /// Which node.
        node: usize,
        /// The record before.
        before: (Seq, Chain),
        /// The record.
        position: Position,
        /// What it asks for.
        request: Request,
        /// The number of that client's last request that was applied before.
        last: u64,
    },
    /// A client is answered: its request is in the ledger for good.
    Acknowledged {
        /// By which node.
        node: usize,
        /// The record.
        record: (Seq, Chain),
    },
    /// An address outside the cluster answered a node, or did not (vote `ping`).
    Probed {
        /// Which node.
        node: usize,
        /// Whether it answered.
        reached: bool,
    },
    /// A process boots.
    Booted {
        /// Which node.
        node: usize,
    },
    /// What a node says to its operator.
    Told {
        /// Which node.
        node: usize,
        /// What.
        event: &'a Event,
    },
    /// What a paused process was excused for is over.
    Recheck,
    /// The history ends.
    End,
}

/// One rule, watched.
pub trait Check {
    /// The name of the rule in `CONTRACT.md`.
    fn rule(&self) -> &'static str;

    /// Looks at something that happened.
    ///
    /// # Errors
    /// What is against the rule.
    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String>;
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub rule: &'static str,
    /// What is against it.
    pub text: String,
    /// When, true nanoseconds.
    pub at: u64,
}

/// The checkers that apply to a kind of vote.
pub struct Checks {
    all: Vec<Box<dyn Check>>,
}

impl Checks {
    /// All that the contract says for `vote`.
    pub fn new(vote: Vote) -> Self {
        let mut all: Vec<Box<dyn Check>> = vec![
            Box::new(g1::EpochSafety),
            Box::new(r1::Serving),
            Box::new(r3::SavedEpoch::default()),
            Box::new(r4::Acknowledgement::default()),
            Box::new(field_1::Caches::default()),
            Box::new(r10::AddressLife),
            Box::new(r11::MutualLife),
            Box::new(r14::KeptAside),
            Box::new(applied_once::AppliedOnce),
            Box::new(numbers::Numbers::default()),
            Box::new(steps::Steps::default()),
        ];
        match vote {
            Vote::Arbiter => all.extend(arbiter()),
            // With `manual` an operator may choose the stale side: kept aside, not kept in force.
            Vote::Manual | Vote::None => all.push(Box::new(kept::Kept::default())),
            Vote::Ping => {
                all.push(Box::new(kept::Kept::default()));
                all.push(Box::new(outside::Outside::default()));
            }
        }
        Self { all }
    }

    /// Shows something to every checker; the first complaint.
    ///
    /// # Errors
    /// The first broken rule.
    pub fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), Violation> {
        for check in &mut self.all {
            check.see(scene, seen).map_err(|text| Violation {
                rule: check.rule(),
                text,
                at: scene.now,
            })?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Checks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.all.iter().map(|check| check.rule())).finish()
    }
}

/// Where no two nodes may serve different data: all that is acknowledged is one history.
fn one_history() -> Vec<Box<dyn Check>> {
    vec![Box::new(no_lost_ack::NoLostAck::default()), Box::new(prefix::Prefix::default())]
}

/// What only a stateful witness can promise.
fn arbiter() -> Vec<Box<dyn Check>> {
    let mut all = one_history();
    all.extend([
        Box::new(g2::OneOwner) as Box<dyn Check>,
        Box::new(g5::NoResurrection::default()),
        Box::new(g4::Member::default()),
        Box::new(g6::HonestStop::default()),
        Box::new(storm::Storm::default()),
        Box::new(r2::CompleteAsks),
        Box::new(r5::StopsInTime::default()),
        Box::new(r6::Bound),
        Box::new(r7::GivesUpAlone),
        Box::new(r8::HolderFirst::default()),
        Box::new(r9::Grace::default()),
        Box::new(table::Table::default()),
        Box::new(r12::RenewsItsOwn),
        Box::new(r13::Swap),
        Box::new(r15::AdmitsWhole::default()),
    ]);
    all
}
