//! What a farm's node is told once, at its start.

use alloc::vec::Vec;
use core::time::Duration;

use ha_farm::{Buckets, Hash, Mac, Mode, Rule, RuleError, Uncovered};
use ha_proto::{ClusterId, ModuleId, NodeId, NodeSet};
use thiserror::Error;

use crate::farm::body;

/// The configuration of one member of a farm. Checked: an impossible one cannot be built
/// ([`Config::new`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub(crate) identity: Identity,
    pub(crate) timing: Timing,
    pub(crate) policy: Policy,
}

/// Who is who. All members are configured alike but for `me`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// In every header: datagrams of another cluster are refused.
    pub cluster: ClusterId,
    /// Which module of the process.
    pub module: ModuleId,
    /// This node.
    pub me: NodeId,
    /// All members, this node among them: 2 to 64 nodes with ids 0 to 63.
    pub members: NodeSet,
    /// How many networks they share, 1 to 8, each virtual address's own among them (FG1).
    pub links: u8,
}

/// The durations that the contract names, checked together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// i: how often a beat is sent to each member on each link, 1 ms to 10 s. Default 100 ms. D,
    /// after which a silent member is lost, is three of them.
    pub interval: Duration,
    /// F: how long the filter takes after a beat (F5): below (D − i)(1 − 2ρ) − g, above i + slack
    /// or every pause that is allowed closes it. Default 180 ms.
    pub lease: Duration,
    /// The longest that this node may be late without its being a gap (F6). Default 75 ms.
    pub slack: Duration,
    /// r: the worst round trip between members, and handling. Default 5 ms.
    pub round_trip: Duration,
    /// ρ: by how much a clock may run too fast or too slow, in parts per million. Default 200.
    pub rho: u32,
    /// g: the tick of the clock that ends a lease in the kernel: 0 for BPF, one jiffy for nftables
    /// (4 ms at 250 Hz, 10 ms at 100 Hz). Default 0.
    pub tick: Duration,
}

/// What the farm does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The services, 1 to 16, equal on all members.
    pub rules: Vec<Rule>,
    /// This node's weight in each service, in the rules' order: 0 (no new clients) to
    /// [`Policy::WEIGHT_MAX`].
    pub weights: Vec<u16>,
    /// How many buckets each service has; equal on all members.
    pub buckets: Buckets,
    /// What chooses the bucket; equal on all members.
    pub hash: Hash,
    /// How clients' frames reach the members; equal on all members.
    pub mode: Mode,
    /// What happens to packets to a virtual address that no rule covers.
    pub uncovered: Uncovered,
    /// This node's hardware address on the virtual addresses' network. Needed in mode directed.
    pub mac: Option<Mac>,
    /// What a node does that hears nobody: serves everything, or nothing.
    pub isolated: Isolated,
    /// How long a moved bucket's connections may go on at their old server (F8), at most a day.
    pub drain: Duration,
    /// How long a server that joins takes to reach its weight, at most a day; 0: at once.
    pub warm_up: Duration,
}

/// What a node does that hears nobody for D.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isolated {
    /// It serves everything: the last server goes on. Two groups that share the clients' network
    /// and not one beat break each other's new connections (FG1).
    #[default]
    All,
    /// It serves nothing until it hears another member.
    Nothing,
}

/// A configuration that cannot work: which field, and what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Too few members, or too many.
    #[error("{0} members: a farm has 2 to 64")]
    Members(u32),
    /// An id that is too high for a farm.
    #[error("node {0}: the members of a farm have ids from 0 to 63")]
    Id(NodeId),
    /// This node is no member.
    #[error("node {0}, this one, is not among the members")]
    Stranger(NodeId),
    /// No network, or too many.
    #[error("{0} links: a farm needs 1 to 8 networks")]
    Links(u8),
    /// The interval is out of its range.
    #[error("interval {0:?} must be 1 ms to 10 s")]
    Interval(Duration),
    /// F is too long: others would take while a dead member's filter still does.
    #[error(
        "lease {lease:?} is too long: a dead member's filter must have closed before the others \
         take its buckets; with this interval, rho and tick it must be below {below:?}"
    )]
    LeaseLong {
        /// As configured.
        lease: Duration,
        /// What it must be below.
        below: Duration,
    },
    /// F is too short: the filter would close between two beats.
    #[error(
        "lease {lease:?} is too short: it must outlast an interval and the slack ({least:?}), or \
         a late beat closes the filter"
    )]
    LeaseShort {
        /// As configured.
        lease: Duration,
        /// The least that works.
        least: Duration,
    },
    /// The clock is too bad.
    #[error("rho {0} ppm must be at most 10000")]
    Rho(u32),
    /// The round trip is longer than an interval.
    #[error("round_trip {0:?} must be above zero and below the interval")]
    RoundTrip(Duration),
    /// The rules cannot work.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// Not one weight for each rule.
    #[error("{weights} weights for {rules} rules: each rule needs one")]
    Weights {
        /// How many weights.
        weights: usize,
        /// How many rules.
        rules: usize,
    },
    /// A weight is too high.
    #[error("weight {0} must be at most 1000")]
    Weight(u16),
    /// Mode directed without a hardware address.
    #[error("mode directed needs mac, this node's hardware address on the clients' network")]
    NoMac,
    /// A duration is too long.
    #[error("{0} must be at most a day")]
    Long(&'static str),
}

impl Config {
    /// The most members.
    pub const MEMBERS_MAX: u32 = 64;
    /// The most links.
    pub const LINKS_MAX: u8 = 8;

    /// Checks that these can work together.
    ///
    /// # Errors
    /// [`ConfigError`] names the field and what would be right; nothing was built.
    pub fn new(identity: Identity, timing: Timing, policy: Policy) -> Result<Self, ConfigError> {
        identity.check()?;
        timing.check()?;
        policy.check()?;
        Ok(Self { identity, timing, policy })
    }

    /// Who is who.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The durations.
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// What the farm does.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What members must agree on, as a number: rules, hash, key, buckets, mode, interval, lease,
    /// drain.
    pub fn accord(&self) -> u64 {
        body::accord(self, &self.policy.rules)
    }
}

impl Identity {
    fn check(&self) -> Result<(), ConfigError> {
        match self.members.len() {
            2..=Config::MEMBERS_MAX => {}
            other => return Err(ConfigError::Members(other)),
        }
        if let Some(node) = self.members.iter().find(|node| node.as_u8() >= 64) {
            return Err(ConfigError::Id(node));
        }
        if !self.members.contains(self.me) {
            return Err(ConfigError::Stranger(self.me));
        }
        match self.links {
            1..=Config::LINKS_MAX => Ok(()),
            other => Err(ConfigError::Links(other)),
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(100),
            lease: Duration::from_millis(180),
            slack: Duration::from_millis(75),
            round_trip: Duration::from_millis(5),
            rho: 200,
            tick: Duration::ZERO,
        }
    }
}

impl Timing {
    /// D: a member that is silent for so long is lost.
    pub fn timeout(&self) -> Duration {
        self.interval * 3
    }

    /// What F must stay below: (D − i)(1 − 2ρ) − g (F5).
    pub fn lease_bound(&self) -> Duration {
        let span = self.interval * 2;
        let drift = span * 2 * self.rho / 1_000_000;
        span.saturating_sub(drift).saturating_sub(self.tick)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.interval < Duration::from_millis(1) || self.interval > Duration::from_secs(10) {
            return Err(ConfigError::Interval(self.interval));
        }
        if self.rho > 10_000 {
            return Err(ConfigError::Rho(self.rho));
        }
        if self.round_trip.is_zero() || self.round_trip >= self.interval {
            return Err(ConfigError::RoundTrip(self.round_trip));
        }
        let (lease, below) = (self.lease, self.lease_bound());
        if lease >= below {
            return Err(ConfigError::LeaseLong { lease, below });
        }
        let shortest = self.interval.saturating_add(self.slack);
        if lease < shortest {
            return Err(ConfigError::LeaseShort { lease, least: shortest });
        }
        assert!(lease < self.timeout(), "others would take while this node's filter still does");
        Ok(())
    }
}

impl Policy {
    /// The highest weight.
    pub const WEIGHT_MAX: u16 = 1000;
    /// The longest drain and the longest warm-up: a day.
    pub const LONGEST: Duration = Duration::from_hours(24);

    fn check(&self) -> Result<(), ConfigError> {
        Rule::check(&self.rules)?;
        check_weights(&self.weights, self.rules.len())?;
        if self.drain > Self::LONGEST {
            return Err(ConfigError::Long("drain"));
        }
        if self.warm_up > Self::LONGEST {
            return Err(ConfigError::Long("warm_up"));
        }
        match self.mode {
            Mode::Directed if self.mac.is_none() => Err(ConfigError::NoMac),
            Mode::Directed | Mode::Invisible => Ok(()),
        }
    }
}

pub(crate) fn check_weights(weights: &[u16], rules: usize) -> Result<(), ConfigError> {
    if weights.len() != rules {
        return Err(ConfigError::Weights { weights: weights.len(), rules });
    }
    match weights.iter().find(|&&weight| weight > Policy::WEIGHT_MAX) {
        Some(&weight) => Err(ConfigError::Weight(weight)),
        None => Ok(()),
    }
}
