//! What a mirror is told once, at its start.

use core::time::Duration;

use ha_proto::{ClusterId, ModuleId, NodeId};
use ha_quorum::{Ping, Vote, ping};
use thiserror::Error;

use crate::{Timing, TimingError};

/// The configuration of one module on one node, as the pure machine needs it. Checked: an
/// impossible one cannot be built ([`Config::new`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub(crate) identity: Identity,
    pub(crate) timing: Timing,
    pub(crate) policy: Policy,
    pub(crate) limits: Limits,
}

/// Who is who. Both nodes are configured alike but for `me` and `peer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// In every header: datagrams of another cluster are refused.
    pub cluster: ClusterId,
    /// Which module of the process.
    pub module: ModuleId,
    /// This node.
    pub me: NodeId,
    /// The other node.
    pub peer: NodeId,
    /// How many networks the two share, 1 to 8.
    pub links: u8,
}

/// Who should serve, and who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The kind of vote.
    pub vote: Vote,
    /// Vote `ping`: how many addresses outside the cluster are looked at, and for how long.
    pub ping: Option<ping::Config>,
    /// Where the application should go once the pair is whole again.
    pub default_prim: DefaultPrim,
    /// Who wins when two primaries meet (vote `none`).
    pub winner: Winner,
    /// Whether the module takes part as soon as the process runs; else an operator starts it.
    pub autostart: bool,
    /// Whether this node may bootstrap a pair of two blank nodes by itself. On one node at most.
    pub bootstrap: bool,
    /// Vote `none`: after so long without its peer a node that booted as part of a pair starts
    /// alone. It may then serve stale data: off by default.
    pub alone_after: Option<Duration>,
    /// R8: told in every beat. A pair has one candidate besides the holder: it decides nothing yet.
    pub preference: u8,
    /// Whether a secondary takes over by itself; `failover off` until an operator says otherwise.
    pub failover: bool,
}

/// Where the application goes home to (`defaultprim`). With the feature `serde`, as text: `"alone"`,
/// `"last"`, or a node's id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DefaultPrim {
    /// It stays where it is.
    #[default]
    Alone,
    /// To this node.
    Node(NodeId),
    /// To the node that was primary before the last failover.
    Last,
}

/// Who goes on when two primaries meet; the other stops, keeps its records aside and follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Winner {
    /// The holder of the last reign that both know.
    #[default]
    FormerPrim,
    /// The other one.
    FormerSecond,
    /// The one whose last reign is the higher.
    MostRecent,
    /// Neither: both wait for an operator.
    Wait,
}

/// Bounds of the replication log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of records that may wait for a copy to be durable; beyond, `propose` says `Full`.
    pub window_bytes: usize,
    /// Records that may wait likewise.
    pub window_records: usize,
    /// A secondary in sync that makes no progress for so long is excluded; a node whose disk does
    /// not answer for so long leaves the service to a ready peer. Not below the heartbeat timeout.
    pub stall: Duration,
    /// Size of the log at which appends are refused, in bytes.
    pub log_bytes: u64,
}

/// A configuration that cannot work: which field, and what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Durations.
    #[error(transparent)]
    Timing(#[from] TimingError),
    /// Two nodes with one id.
    #[error("node and peer are both {0}: each node of a cluster needs an id of its own")]
    SameNode(NodeId),
    /// No network, or too many.
    #[error("{0} links: a pair needs 1 to 8 networks")]
    Links(u8),
    /// Nothing to look at.
    #[error("vote = \"ping\" needs ping, the addresses outside the cluster to look at")]
    NoPing,
    /// Addresses outside.
    #[error(transparent)]
    Ping(#[from] ping::ConfigError),
    /// A default primary that is neither node.
    #[error("default_prim names node {0}, which is neither this node nor its peer")]
    DefaultPrim(NodeId),
    /// A limit that leaves no room.
    #[error("{field} is {value}: it must be at least {least}")]
    Limit {
        /// Which.
        field: &'static str,
        /// As configured.
        value: u64,
        /// What would be right.
        least: u64,
    },
}

impl ConfigError {
    /// The field that is to be changed, as it is written.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Timing(error) => error.field(),
            Self::SameNode(_) => "node",
            Self::Links(_) => "links",
            Self::NoPing | Self::Ping(ping::ConfigError::Targets(_)) => "ping",
            Self::Ping(ping::ConfigError::Probe) => "probe",
            Self::DefaultPrim(_) => "default_prim",
            Self::Limit { field: "stall (microseconds)", .. } => "stall",
            Self::Limit { field, .. } => field,
        }
    }
}

impl Config {
    /// The most networks that a pair shares.
    pub const LINKS_MAX: u8 = 8;

    /// Checks everything together.
    ///
    /// # Errors
    /// The first field that cannot work.
    pub fn new(
        identity: Identity,
        timing: Timing,
        policy: Policy,
        limits: Limits,
    ) -> Result<Self, ConfigError> {
        if identity.me == identity.peer {
            return Err(ConfigError::SameNode(identity.me));
        }
        if identity.links == 0 || identity.links > Self::LINKS_MAX {
            return Err(ConfigError::Links(identity.links));
        }
        match policy.vote {
            Vote::Ping => {
                Ping::new(policy.ping.ok_or(ConfigError::NoPing)?)?;
                timing.check()?;
            }
            Vote::Arbiter => timing.check_with_lease()?,
            Vote::None | Vote::Manual => timing.check()?,
        }
        if let DefaultPrim::Node(node) = policy.default_prim
            && node != identity.me
            && node != identity.peer
        {
            return Err(ConfigError::DefaultPrim(node));
        }
        limits.check()?;
        Ok(Self { identity, timing, policy, limits })
    }

    /// Who is who.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The durations.
    pub const fn timing(&self) -> &Timing {
        &self.timing
    }

    /// Who should serve.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The log's bounds.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How long a peer may make no progress, and this node's disk may not answer.
    pub(crate) fn stall(&self) -> Duration {
        self.limits.stall.max(self.timing.timeout)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            vote: Vote::Arbiter,
            ping: None,
            default_prim: DefaultPrim::Alone,
            winner: Winner::FormerPrim,
            autostart: true,
            bootstrap: false,
            alone_after: None,
            preference: 0,
            failover: true,
        }
    }
}

impl Limits {
    /// One record of the longest kind with its header must fit the window.
    const WINDOW_LEAST: usize = 2 << 20;
    /// A log must hold a few windows.
    const LOG_LEAST: u64 = 4 << 20;

    fn check(&self) -> Result<(), ConfigError> {
        let rows = [
            ("window_bytes", self.window_bytes as u64, Self::WINDOW_LEAST as u64),
            ("window_records", self.window_records as u64, 1),
            ("log_bytes", self.log_bytes, Self::LOG_LEAST),
            ("stall (microseconds)", self.stall.as_micros() as u64, 1_000),
        ];
        for (field, value, least) in rows {
            if value < least {
                return Err(ConfigError::Limit { field, value, least });
            }
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window_bytes: 8 << 20,
            window_records: 16_384,
            stall: Duration::from_secs(2),
            log_bytes: 16 << 30,
        }
    }
}
