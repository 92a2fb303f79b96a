//! What one history of a farm is about.

use core::time::Duration;

use ha_core::farm::Timing;

/// What one history is about; with a list of faults it determines everything.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Everything random comes from here.
    pub seed: u64,
    /// How many members, 2 to 16; drawn if it is not said.
    pub members: Option<usize>,
    /// Whether a trace is recorded.
    pub trace: bool,
}

impl Options {
    /// The rules change in histories from this seed on; those before are as they were drawn when
    /// they never did.
    pub const RULES_FROM: u64 = 1_000_000;

    /// The default: as many members as the seed says.
    pub fn new(seed: u64) -> Self {
        Self { seed, members: None, trace: false }
    }
}

/// The most members of a simulated farm: as many as each of 2,000 histories can afford.
pub const MEMBERS_MAX: usize = 16;

/// The durations of one farm, in nanoseconds of a perfect clock.
#[derive(Clone, Copy, Debug)]
pub struct Spans {
    /// i, between two beats.
    pub interval: u64,
    /// D, after which a silent member is lost.
    pub timeout: u64,
    /// F, the filter's lease.
    pub lease: u64,
    /// The longest that a node may be late without its being a gap.
    pub slack: u64,
    /// r, a round trip and handling.
    pub round_trip: u64,
    /// How long connections may go on at their old server.
    pub drain: u64,
    /// How long a server takes to reach its weight.
    pub warm_up: u64,
}

impl Spans {
    /// Those of a configuration.
    pub fn new(timing: &Timing, drain: Duration, warm_up: Duration) -> Self {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).expect("spans are minutes");
        Self {
            interval: nanos(timing.interval),
            timeout: nanos(timing.timeout()),
            lease: nanos(timing.lease),
            slack: nanos(timing.slack),
            round_trip: nanos(timing.round_trip),
            drain: nanos(drain),
            warm_up: nanos(warm_up),
        }
    }

    /// How long faults go on.
    pub fn safety(&self) -> u64 {
        self.interval * 120
    }

    /// Within what time there is one view, and every bucket taken, once they stop (FG3).
    pub fn liveness(&self) -> u64 {
        self.timeout * 2 + self.interval + self.round_trip
    }

    /// After what time a drain may be over, by clocks that run fast.
    pub fn drained(&self) -> u64 {
        self.drain - self.drain / 100
    }

    /// How long two nodes are linked before they may no longer take the same (FG1).
    pub fn overlap(&self) -> u64 {
        self.interval * 2 + self.round_trip
    }
}
