//! What one history is about.

use ha_core::Profile;
use ha_quorum::Vote;

/// Who keeps the register, with the vote `arbiter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keeper {
    /// The arbiter.
    #[default]
    Arbiter,
    /// A plain compare-and-set store, and a clerk at each node.
    Store,
}

/// What one history is about; with a list of faults it determines everything.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Everything random comes from here.
    pub seed: u64,
    /// The kind of vote.
    pub vote: Vote,
    /// Who keeps the register.
    pub keeper: Keeper,
    /// The durations.
    pub profile: Profile,
    /// Whether daemons are upgraded, too. Off, a seed is the history that it was before there were
    /// upgrades.
    pub upgrades: bool,
    /// Whether others meddle with the virtual addresses, too. Off, likewise.
    pub meddling: bool,
    /// Whether a trace is recorded.
    pub trace: bool,
}

impl Options {
    /// The default: an arbiter on a local network.
    pub fn new(seed: u64, vote: Vote) -> Self {
        let (keeper, profile) = (Keeper::Arbiter, Profile::Lan);
        Self { seed, vote, keeper, profile, upgrades: false, meddling: false, trace: false }
    }

    /// The lease in nanoseconds, by which everything is scaled.
    pub fn lease(&self) -> u64 {
        let nanos = self.profile.timing().lease.as_nanos();
        u64::try_from(nanos).expect("a profile's lease is seconds")
    }

    /// How long a history lasts: sixty seconds in the profile `lan`, of the world's time. One that
    /// is not whole by then goes on until it is, or for [`Self::liveness`].
    pub fn length(&self) -> u64 {
        self.lease() * 20
    }

    /// How long faults go on of that: fifty-four seconds in the profile `lan`.
    pub fn safety(&self) -> u64 {
        self.lease() * 18
    }

    /// Within what time the pair must be whole once they stop (G7).
    pub fn liveness(&self) -> u64 {
        self.lease() * 12
    }
}
