//! One checker for each rule and guarantee of `CONTRACT-FARM.md`, named after it.
//!
//! They see the facts of the world (beats as they were sent and read, what the kernels hold, what
//! became of packets and connections), and none of the machines' opinions.

mod f1;
mod f10;
mod f2;
mod f3;
mod f4;
mod f5;
mod f6;
mod f7;
mod f8;
mod f9;
mod fg1;
mod fg2;
mod fg3;
mod fg4;
mod one_table;
mod quota;
mod rules;

use core::time::Duration;
pub(in crate::farm) use fg3::takers;

use ha_core::farm::Event;
use ha_farm::{Filter, Flow, Protocol, Verdict};
use ha_proto::Instant;

use super::client::Loss;
use super::fact::{Fact, Id, Said};
use super::frame::Segment;
use super::scene::Scene;
use crate::check::Violation;

/// Something that happened: just after it did, but for what is sent and heard, which is shown just
/// before.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// A datagram leaves.
    Sent {
        /// Where from.
        node: usize,
        /// What it says.
        fact: &'a Fact,
    },
    /// A member has read a beat that is news, and is about to be told.
    Heard {
        /// Which member.
        node: usize,
        /// What it says.
        said: &'a Said,
    },
    /// A kernel's filter or lease was written.
    Kernel {
        /// Which member's.
        node: usize,
        /// The filter before.
        old: Option<&'a Filter>,
        /// Whether it took anything before.
        was_open: bool,
    },
    /// A lease was written.
    Leased {
        /// Into which member's kernel.
        node: usize,
        /// Until when it takes, on its clock.
        until: Instant,
        /// Until when it did before.
        was: Option<Instant>,
        /// Whether it took anything before.
        was_open: bool,
    },
    /// A member began or ended to answer ARP.
    Announce {
        /// Which one.
        node: usize,
    },
    /// A member has done everything that it wants.
    Settled {
        /// Which one.
        node: usize,
    },
    /// A client's packet was shown to the members.
    Packet {
        /// Of which flow.
        flow: &'a Flow,
        /// What it says, of TCP.
        segment: Option<Segment>,
        /// Who took it.
        taken: &'a [usize],
        /// To whom it was shown.
        shown: &'a [usize],
    },
    /// A client's packet came in fragments.
    Fragments {
        /// Of which protocol.
        protocol: Protocol,
        /// Who took the first one, which has ports.
        first: &'a [usize],
        /// Who took a later one.
        later: &'a [usize],
        /// Who took the first one of another port of the same client.
        other: &'a [usize],
    },
    /// A member has proposed a view, all parts of it.
    Planned {
        /// Which member.
        node: usize,
        /// Which view.
        id: Id,
    },
    /// A member is the first that says that it takes in a view.
    View {
        /// Which one.
        id: Id,
    },
    /// A kernel's filter was shown a client's ARP request.
    Asked {
        /// Which member's.
        node: usize,
        /// What it said; `None` if there is no filter.
        verdict: Option<Verdict>,
    },
    /// A member got a client's frame, and handed it on or not.
    HandedOn {
        /// Who.
        by: usize,
        /// The frame.
        frame: &'a [u8],
        /// To whom.
        to: &'a [usize],
    },
    /// A member handed on what a member had handed to it.
    HandedOnTwice {
        /// Who handed it on first.
        from: usize,
        /// Who did again.
        by: usize,
        /// To whom.
        to: &'a [usize],
    },
    /// A client lost its established connection.
    Lost {
        /// Which client.
        client: usize,
        /// How.
        loss: Loss,
    },
    /// A daemon booted.
    Booted {
        /// Which member's.
        node: usize,
    },
    /// A daemon goes on where the one before it stopped.
    Adopted {
        /// Which member's.
        node: usize,
    },
    /// A machine tells its operator something.
    Told {
        /// Which member's.
        node: usize,
        /// What.
        event: Event,
    },
    /// A daemon goes on after a gap, and is about to be told.
    Gap {
        /// Which member's.
        node: usize,
    },
    /// A machine says that it was late, and nobody saw that.
    Paused {
        /// Which member's.
        node: usize,
        /// By how much, it says.
        late: Duration,
    },
    /// A moment of the regular looks.
    Look,
    /// Faults stopped long enough ago.
    Settling {
        /// So long that drains and warm-ups are over, too.
        balanced: bool,
    },
}

/// One rule, watched.
pub trait Check {
    /// The name of the rule in `CONTRACT-FARM.md`.
    fn rule(&self) -> &'static str;

    /// Looks at something that happened.
    ///
    /// # Errors
    /// What is against the rule.
    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String>;
}

/// All checkers.
pub struct Checks {
    all: Vec<Box<dyn Check>>,
}

impl Checks {
    /// All that the contract says.
    #[expect(clippy::new_without_default, reason = "there is nothing default about a contract")]
    pub fn new() -> Self {
        Self {
            all: vec![
                Box::new(fg1::OneTaker::default()),
                Box::new(one_table::OneTable::default()),
                Box::new(f1::LetsGo),
                Box::new(f2::Takes::default()),
                Box::new(f3::Yields),
                Box::new(f4::Proposes::default()),
                Box::new(rules::InOneView::default()),
                Box::new(f5::Lease::default()),
                Box::new(f6::Begins),
                Box::new(f7::Moves),
                Box::new(f8::Drains::default()),
                Box::new(f9::Directed),
                Box::new(f10::Fragments),
                Box::new(fg2::Balance),
                Box::new(fg3::Settles),
                Box::new(fg4::LivesOn),
            ],
        }
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
