//! The witness: an arbiter, its clock and its storage.

use std::collections::VecDeque;

use ha_proto::{Incarnation, Instant, Membership, Ticket};
use ha_quorum::{Arbiter, Ask, Register};

use crate::clock::Clock;
use crate::network::Parcel;
use crate::node::Process;
use crate::plain::Plain;

/// The witness.
#[derive(Debug)]
pub struct Witness {
    /// What its process does.
    pub process: Process,
    /// How often its process started or ended.
    pub life: u32,
    /// Its clock.
    pub clock: Clock,
    /// When it booted, true nanoseconds.
    pub booted: u64,
    /// The machine under test, while the process is there.
    pub arbiter: Option<Arbiter>,
    /// Which life of the storage this is.
    pub incarnation: Incarnation,
    /// The durable register.
    pub stored: Option<Register>,
    /// Whether this life told of a register: only then the pair counts on it.
    pub told: bool,
    /// The record as this life told it last: what a failed store left on the disk may be undone.
    pub told_record: Option<Membership>,
    /// What it goes by: what it booted with, or what it stored last without a failure.
    pub kept: Option<Register>,
    /// What is being stored.
    pub storing: Option<Storing>,
    /// Whether that store ended while the process was paused.
    pub store_waits: bool,
    /// Datagrams for a paused process.
    pub inbox: VecDeque<Parcel>,
    /// The next store fails.
    pub disk_fail: bool,
    /// Numbers its datagrams.
    pub sequence: u64,
    /// What it is, if it is no arbiter: then `stored` and `kept` are what this holds.
    pub plain: Option<Plain>,
}

/// A store under way.
#[derive(Clone, Copy, Debug)]
pub struct Storing {
    /// To name it by.
    pub ticket: Ticket,
    /// What is stored.
    pub register: Register,
    /// The ask that was read when it began.
    pub ask: Ask,
    /// When that was, by the witness's clock; in true time if it has none.
    pub at: Instant,
}

impl Witness {
    /// Whether its process runs.
    pub fn runs(&self) -> bool {
        self.process == Process::Running
    }
}
