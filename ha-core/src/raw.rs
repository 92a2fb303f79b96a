//! The configuration as it is written, and the checked one that a driver starts from.

mod checker;
mod etcd;
mod target;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;
use core::time::Duration;

use ha_proto::{ClusterId, ModuleId, NodeId};
use ha_quorum::{Vote, ping};
use thiserror::Error;

use crate::config::{ConfigError, DefaultPrim, Identity, Limits, Policy, Winner};
use crate::{Config, Profile, Timing};

pub use self::checker::{CheckerError, RawChecker, RawKind, checkers};
pub use self::etcd::{Endpoint, EndpointError, Etcd};
pub use self::target::{PingFrom, PingTarget, PingTargetError, PingTo};

/// One module on one node, as an administrator writes it. Both nodes are configured alike but for
/// `node` and `peer`, the sides of each link and of the stream, `witness_from`, and `bootstrap`.
///
/// With the feature `serde` it is read from any format; unknown fields are refused.
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use ha_core::raw::{NodeConfig, RawConfig};
///
/// let raw: RawConfig = toml::from_str(
///     r#"
///     cluster = "shop"
///     node = 0
///     peer = 1
///     links = [{ local = "10.0.0.1:7400", peer = "10.0.0.2:7400" }]
///     replication = { listen = "10.0.0.1:7401", connect = "10.0.0.2:7401" }
///     witness = "10.0.0.3:7402"
///     folder = "/var/lib/ha-node/shop"
///     key_file = "/etc/ha-node/key"
///     "#,
/// )?;
/// let config = NodeConfig::try_from(raw)?;
/// assert_eq!(config.links.len(), 1);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(deny_unknown_fields))]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the file")]
pub struct RawConfig {
    /// The cluster's name: any text that is not empty, the same on every node and at the witness.
    /// Two clusters that share a network or a witness need two names.
    pub cluster: String,
    /// Which module of the process: 0 to 65,535, default 0, the same on both nodes. One that moves
    /// by itself (its own primary, log and address) is a module of its own.
    #[cfg_attr(feature = "serde", serde(default))]
    pub module: u16,
    /// This node: 0 to 127, unique in the cluster.
    pub node: u8,
    /// The other node: 0 to 127.
    pub peer: u8,
    /// The networks that both share, 1 to 8, in the same order on both. Two that fail independently
    /// (another card, another switch) keep a cable from looking like a dead node.
    pub links: Vec<Link>,
    /// Where records go from node to node, over TCP: the faster network.
    pub replication: Replication,
    /// Address of the arbiter; with `vote = "arbiter"` either this or `etcd` is needed, and only
    /// there.
    #[cfg_attr(feature = "serde", serde(default))]
    pub witness: Option<SocketAddr>,
    /// With `witness` or `etcd`: the address of this node that it is asked from, as `"10.0.0.1"`;
    /// default what the routes say. For a node whose own connections begin from a virtual address.
    #[cfg_attr(feature = "serde", serde(default))]
    pub witness_from: Option<IpAddr>,
    /// In the place of `witness`: members of an etcd cluster (3.4 or newer) that keeps the register,
    /// 1 to 9, the same cluster on both nodes, as `["http://10.0.0.3:2379"]`. All of its members
    /// belong here; one that answers is enough. Needs the feature `etcd`.
    ///
    /// - A takeover takes up to a tenth of the lease longer than with an arbiter.
    /// - A member has a third of `round_trip` to answer, so that another can be asked in time: a
    ///   write with its disk must not take longer.
    /// - Neither TLS nor users: whoever reaches these endpoints can stop the cluster or make two
    ///   primaries. On loopback, or through a tunnel.
    /// - Each renewal is a revision, three in a lease: run etcd with
    ///   `--auto-compaction-mode=periodic --auto-compaction-retention=1h`, or it fills up.
    /// - A cluster that was made anew, or restored from a snapshot, needs an
    ///   `--initial-cluster-token` that it never had: by that it is known for another one, and the
    ///   nodes adopt it by themselves.
    #[cfg_attr(feature = "serde", serde(default))]
    pub etcd: Vec<Endpoint>,
    /// With `etcd`: what the register's key begins with; default `/ha`. The key is this, the
    /// cluster's name and the module's number: `/ha/shop/0`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub etcd_prefix: Option<String>,
    /// Who decides: `arbiter` (default; one primary at any time), `none` (always available, and two
    /// primaries when the nodes lose each other), `ping` (whoever reaches the addresses in `ping`;
    /// two primaries when only the link between the nodes is cut), `manual` (an operator does).
    #[cfg_attr(feature = "serde", serde(default))]
    pub vote: RawVote,
    /// With `vote = "ping"`: addresses outside the cluster, 1 to 9, better an odd number. An address
    /// alone is pinged, one with a port is connected to; `"192.0.2.1%eth0"` is asked out of that
    /// interface only, and `"192.0.2.1%192.0.2.9"` from that address of this node, whatever the
    /// routes say. A node that has lost its peer goes on, or takes over, only if a majority answers.
    /// Routers of either site, not the other node's neighbours; and never one that only one of the
    /// two nodes can reach at any time.
    #[cfg_attr(feature = "serde", serde(default))]
    pub ping: Vec<PingTarget>,
    /// With `vote = "ping"`: how long an answer may take; default 500 ms. A takeover waits as long.
    #[cfg_attr(feature = "serde", serde(default))]
    pub probe: Option<Span>,
    /// Named durations: `fast` (one quiet local network), `lan` (default), `wan` (two sites).
    #[cfg_attr(feature = "serde", serde(default))]
    pub profile: Profile,
    /// How often a beat is sent on each link, e.g. `"100ms"`; default from the profile. Shorter
    /// finds a loss sooner and costs packets.
    #[cfg_attr(feature = "serde", serde(default))]
    pub heartbeat: Option<Span>,
    /// D: without a beat for so long the peer is lost. At least three heartbeats, and longer than
    /// the worst pause that should cause no takeover; default from the profile.
    #[cfg_attr(feature = "serde", serde(default))]
    pub timeout: Option<Span>,
    /// L: how long the right to serve lasts unrenewed; about as long takes a takeover. The same on
    /// both nodes; default from the profile.
    #[cfg_attr(feature = "serde", serde(default))]
    pub lease: Option<Span>,
    /// R: the worst round trip to the witness with its disk; default from the profile.
    #[cfg_attr(feature = "serde", serde(default))]
    pub round_trip: Option<Span>,
    /// S: the longest that ceasing to serve takes (addresses off, application frozen); default from
    /// the profile.
    #[cfg_attr(feature = "serde", serde(default))]
    pub stop: Option<Span>,
    /// A secondary in sync without progress for so long is excluded, so that writes go on. Default
    /// 2 s; longer than the slowest fsync of its disk.
    #[cfg_attr(feature = "serde", serde(default))]
    pub stall: Option<Span>,
    /// Where the application goes home to: `alone` (default; it stays), `last`, or a node's id.
    #[cfg_attr(feature = "serde", serde(default))]
    pub default_prim: DefaultPrim,
    /// With `vote = "none"`, who goes on when two primaries meet: `former_prim` (default),
    /// `former_second`, `most_recent`, or `wait` (an operator decides).
    #[cfg_attr(feature = "serde", serde(default))]
    pub winner: Winner,
    /// Whether the module takes part as soon as the process runs (default), or waits for `start`.
    #[cfg_attr(feature = "serde", serde(default = "yes"))]
    pub autostart: bool,
    /// Whether this node may make a pair out of two blank nodes by itself; on one node at most.
    /// Default false: an operator orders `prim` once.
    #[cfg_attr(feature = "serde", serde(default))]
    pub bootstrap: bool,
    /// With `vote = "none"`: after so long without its peer a booted node starts alone, perhaps
    /// with stale data. Default: never.
    #[cfg_attr(feature = "serde", serde(default))]
    pub alone_after: Option<Span>,
    /// For larger groups: among equal candidates the higher one asks first; 0 to 255, default 0. In
    /// a pair it decides nothing.
    #[cfg_attr(feature = "serde", serde(default))]
    pub preference: u8,
    /// Whether a secondary takes over by itself (default).
    #[cfg_attr(feature = "serde", serde(default = "yes"))]
    pub failover: bool,
    /// The module's folder: its log, and what it must remember. On a local disk; of this module of
    /// this node alone.
    pub folder: String,
    /// Bytes of proposed records that may wait for a copy to be durable; default 8 MiB, at least
    /// 2 MiB. Bandwidth times round trip is the least that keeps a long link busy.
    #[cfg_attr(feature = "serde", serde(default))]
    pub window_bytes: Option<u64>,
    /// Size of the log at which records are refused, in bytes; default 16 GiB, at least 4 MiB.
    #[cfg_attr(feature = "serde", serde(default))]
    pub log_bytes: Option<u64>,
    /// Size of one file of the log, in bytes, reserved at once; default 64 MiB, 4 MiB to 1 GiB.
    #[cfg_attr(feature = "serde", serde(default))]
    pub segment_bytes: Option<u64>,
    /// Bytes of records that may be set aside at a time; default 1 GiB.
    #[cfg_attr(feature = "serde", serde(default))]
    pub aside_bytes: Option<u64>,
    /// File with the cluster's key, 64 hexadecimal digits or 32 bytes, readable by its owner only.
    #[cfg_attr(feature = "serde", serde(default))]
    pub key_file: Option<String>,
    /// File with a second key that is accepted, never signed with; default none. Two keys are valid
    /// at once while the key is changed, in three steps without an outage, each on both nodes and
    /// at the arbiter before the next, one process after the other:
    ///
    /// 1. name the new key here, and restart;
    /// 2. name the new key in `key_file` and the old one here, and restart;
    /// 3. leave this out, and restart: the old key opens nothing any more.
    #[cfg_attr(feature = "serde", serde(default))]
    pub accept_key_file: Option<String>,
    /// `true`: run without a key. Whoever reaches the ports can then stop the cluster, or read and
    /// change its data.
    #[cfg_attr(feature = "serde", serde(default))]
    pub insecure: bool,
}

/// One network between the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(deny_unknown_fields))]
pub struct Link {
    /// Address and UDP port here.
    pub local: SocketAddr,
    /// Address and UDP port at the peer.
    pub peer: SocketAddr,
}

/// The ends of the replication stream; the node with the lower id dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(deny_unknown_fields))]
pub struct Replication {
    /// Address and TCP port here.
    pub listen: SocketAddr,
    /// Address and TCP port at the peer.
    pub connect: SocketAddr,
}

/// [`Vote`] as it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum RawVote {
    /// A stateful witness.
    #[default]
    Arbiter,
    /// No witness.
    None,
    /// Addresses outside the cluster.
    Ping,
    /// An operator.
    Manual,
}

/// A duration as it is written: a whole number and `us`, `ms`, `s`, `m` or `h`.
///
/// ```
/// use core::time::Duration;
/// use ha_core::raw::Span;
///
/// assert_eq!("10ms".parse::<Span>()?.0, Duration::from_millis(10));
/// assert!("10".parse::<Span>().is_err());
/// # Ok::<(), ha_core::raw::SpanError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no duration: write a whole number and us, ms, s, m or h, as in \"250ms\"")]
pub struct SpanError(String);

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let error = || SpanError(text.to_string());
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
        let (number, unit) = text.split_at(split);
        let number: u64 = number.parse().map_err(|_| error())?;
        let micros: u64 = match unit.trim_start() {
            "us" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            _ => return Err(error()),
        };
        number.checked_mul(micros).map(Duration::from_micros).map(Self).ok_or_else(error)
    }
}

/// One module on one node, checked: what a driver starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// What the pure machine needs.
    pub config: Config,
    /// The networks, in order.
    pub links: Vec<Link>,
    /// The ends of the stream.
    pub replication: Replication,
    /// The arbiter.
    pub witness: Option<SocketAddr>,
    /// The etcd in its place.
    pub etcd: Option<Etcd>,
    /// The address of this node that either is asked from; `None`: what the routes say.
    pub witness_from: Option<IpAddr>,
    /// The addresses outside the cluster.
    pub ping: Vec<PingTarget>,
    /// The module's folder.
    pub folder: String,
    /// Size of one file of the log.
    pub segment_bytes: u64,
    /// Bytes that may be set aside at a time.
    pub aside_bytes: u64,
    /// The cluster's key.
    pub key: Key,
}

/// Where the cluster's key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// In this file.
    File(String),
    /// In two files, while it is changed: two keys are valid at once.
    Rotating {
        /// The one to sign with.
        signing: String,
        /// The one that is accepted besides.
        accepted: String,
    },
    /// There is none, and the administrator said so.
    Insecure,
}

impl Key {
    /// What the fields `key_file`, `accept_key_file` and `insecure` say together.
    ///
    /// # Errors
    /// They contradict each other, or none of them says anything.
    pub fn of(
        key_file: Option<String>,
        accept_key_file: Option<String>,
        insecure: bool,
    ) -> Result<Self, RawError> {
        match (key_file, accept_key_file) {
            (Some(_), _) if insecure => Err(RawError::KeyAndInsecure("key_file")),
            (None, Some(_)) if insecure => Err(RawError::KeyAndInsecure("accept_key_file")),
            (None, None) if insecure => Ok(Self::Insecure),
            (None, None) => Err(RawError::NoKey),
            (None, Some(_)) => Err(RawError::AcceptKey),
            (Some(file), None) => Ok(Self::File(file)),
            (Some(signing), Some(accepted)) if signing == accepted => Err(RawError::AcceptKey),
            (Some(signing), Some(accepted)) => Ok(Self::Rotating { signing, accepted }),
        }
    }
}

/// What is wrong with a configuration: the field, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RawError {
    /// No name.
    #[error("cluster is empty: give the cluster a name, the same on every node")]
    Cluster,
    /// An id out of range.
    #[error("{field} is {value}: ids go from 0 to 127")]
    Id {
        /// `node` or `peer`.
        field: &'static str,
        /// As written.
        value: u8,
    },
    /// No network.
    #[error("links is empty: a pair needs at least one network, better two")]
    NoLinks,
    /// More networks than there are numbers for.
    #[error("links names {0} networks: at most 8")]
    Links(usize),
    /// Two networks on one socket.
    #[error("links uses {0} twice: each network needs an address, or a port, of its own")]
    SameLink(SocketAddr),
    /// A link or stream to itself.
    #[error("{field} is {address} on both sides: name the peer's address there")]
    SameSide {
        /// `links` or `replication`.
        field: &'static str,
        /// As written.
        address: SocketAddr,
    },
    /// An arbiter is needed.
    #[error(
        "vote = \"arbiter\" needs witness, the arbiter's address and port, or etcd, a list of \
         endpoints"
    )]
    NoWitness,
    /// An arbiter that nobody asks.
    #[error("{0} is set, but only vote = \"arbiter\" asks it: leave one of them out")]
    Witness(&'static str),
    /// An address that nothing is asked from.
    #[error(
        "witness_from is no address from which witness or etcd can be asked: name one of this \
         node's, of the same family as theirs and not link-local, or leave it out"
    )]
    WitnessFrom,
    /// Two that could disagree.
    #[error("witness and etcd are both set: one of them decides, leave the other out")]
    TwoWitnesses,
    /// More endpoints than an etcd has.
    #[error("etcd names {0} endpoints: at most {max}", max = Etcd::ENDPOINTS_MAX)]
    Endpoints(usize),
    /// A prefix of nothing.
    #[error("etcd_prefix is set without etcd: name the endpoints in etcd, or leave it out")]
    EtcdPrefix,
    /// No folder.
    #[error("folder is empty: name a folder on a local disk")]
    Folder,
    /// A size that does not work.
    #[error("{field} is {value}: it must be {least} to {most} bytes")]
    Size {
        /// Which.
        field: &'static str,
        /// As written.
        value: u64,
        /// The least that works.
        least: u64,
        /// The most that works.
        most: u64,
    },
    /// Neither a key nor the word that there is none.
    #[error("key_file is missing: name the file with the cluster's key, or set insecure = true")]
    NoKey,
    /// Both.
    #[error("{0} and insecure = true contradict each other: leave one of them out")]
    KeyAndInsecure(&'static str),
    /// A second key without a first, or the same again.
    #[error(
        "accept_key_file names a second key: name another one in key_file, or leave \
         accept_key_file out"
    )]
    AcceptKey,
    /// Addresses that nobody looks at.
    #[error("{0} is set, but only vote = \"ping\" uses it: leave one of them out")]
    Ping(&'static str),
    /// A setting of another kind of vote.
    #[error("alone_after works with vote = \"none\" only: leave it out")]
    AloneAfter,
    /// What the pure configuration says.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl RawError {
    /// The field that is to be changed, as it is written.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Id { field, .. }
            | Self::SameSide { field, .. }
            | Self::Size { field, .. }
            | Self::KeyAndInsecure(field)
            | Self::Ping(field)
            | Self::Witness(field) => field,
            Self::NoLinks | Self::Links(_) | Self::SameLink(_) => "links",
            Self::NoWitness => "vote",
            Self::WitnessFrom => "witness_from",
            Self::TwoWitnesses | Self::Endpoints(_) => "etcd",
            Self::EtcdPrefix => "etcd_prefix",
            Self::Folder => "folder",
            Self::NoKey => "key_file",
            Self::AcceptKey => "accept_key_file",
            Self::AloneAfter => "alone_after",
            Self::Config(error) => error.field(),
        }
    }
}

impl TryFrom<RawConfig> for NodeConfig {
    type Error = RawError;

    fn try_from(raw: RawConfig) -> Result<Self, RawError> {
        let identity = raw.identity()?;
        raw.check_addresses()?;
        let vote = raw.vote();
        let etcd = raw.etcd()?;
        match (vote, raw.witness, &etcd) {
            (Vote::Arbiter, None, None) => return Err(RawError::NoWitness),
            (Vote::Arbiter, Some(_), Some(_)) => return Err(RawError::TwoWitnesses),
            (Vote::None | Vote::Manual | Vote::Ping, Some(_), _) => {
                return Err(RawError::Witness("witness"));
            }
            (Vote::None | Vote::Manual | Vote::Ping, None, Some(_)) => {
                return Err(RawError::Witness("etcd"));
            }
            (Vote::Arbiter, Some(_), None)
            | (Vote::Arbiter, None, Some(_))
            | (Vote::None | Vote::Manual | Vote::Ping, None, None) => {}
        }
        if !raw.witness_from.is_none_or(|from| reaches(from, raw.witness, etcd.as_ref())) {
            return Err(RawError::WitnessFrom);
        }
        if vote != Vote::Ping && !raw.ping.is_empty() {
            return Err(RawError::Ping("ping"));
        }
        if vote != Vote::Ping && raw.probe.is_some() {
            return Err(RawError::Ping("probe"));
        }
        if raw.alone_after.is_some() && vote != Vote::None {
            return Err(RawError::AloneAfter);
        }
        if raw.folder.is_empty() {
            return Err(RawError::Folder);
        }
        let config = Config::new(identity, raw.timing(), raw.policy(), raw.limits()?)?;
        let segment_bytes =
            size("segment_bytes", raw.segment_bytes, SEGMENT_DEFAULT, SEGMENT_MIN, SEGMENT_MAX)?;
        let aside_bytes = size("aside_bytes", raw.aside_bytes, ASIDE_DEFAULT, 0, u64::MAX)?;
        let key = raw.key()?;
        Ok(Self {
            config,
            links: raw.links,
            replication: raw.replication,
            witness: raw.witness,
            etcd,
            witness_from: raw.witness_from,
            ping: raw.ping,
            folder: raw.folder,
            segment_bytes,
            aside_bytes,
            key,
        })
    }
}

impl RawConfig {
    /// What cannot be left out, with every other field at its default, for programs that configure
    /// themselves.
    pub fn new(
        cluster: impl Into<String>,
        (node, peer): (u8, u8),
        links: Vec<Link>,
        replication: Replication,
        folder: impl Into<String>,
    ) -> Self {
        Self {
            cluster: cluster.into(),
            module: 0,
            node,
            peer,
            links,
            replication,
            witness: None,
            witness_from: None,
            etcd: Vec::new(),
            etcd_prefix: None,
            vote: RawVote::default(),
            ping: Vec::new(),
            probe: None,
            profile: Profile::default(),
            heartbeat: None,
            timeout: None,
            lease: None,
            round_trip: None,
            stop: None,
            stall: None,
            default_prim: DefaultPrim::default(),
            winner: Winner::default(),
            autostart: true,
            bootstrap: false,
            alone_after: None,
            preference: 0,
            failover: true,
            folder: folder.into(),
            window_bytes: None,
            log_bytes: None,
            segment_bytes: None,
            aside_bytes: None,
            key_file: None,
            accept_key_file: None,
            insecure: false,
        }
    }

    fn identity(&self) -> Result<Identity, RawError> {
        if self.cluster.is_empty() {
            return Err(RawError::Cluster);
        }
        if self.links.is_empty() {
            return Err(RawError::NoLinks);
        }
        let links = u8::try_from(self.links.len()).unwrap_or(u8::MAX);
        if links > Config::LINKS_MAX {
            return Err(RawError::Links(self.links.len()));
        }
        Ok(Identity {
            cluster: cluster_id(&self.cluster),
            module: ModuleId(self.module),
            me: node("node", self.node)?,
            peer: node("peer", self.peer)?,
            links,
        })
    }

    fn check_addresses(&self) -> Result<(), RawError> {
        for (at, link) in self.links.iter().enumerate() {
            if link.local == link.peer {
                return Err(RawError::SameSide { field: "links", address: link.local });
            }
            if self.links[..at].iter().any(|other| other.local == link.local) {
                return Err(RawError::SameLink(link.local));
            }
        }
        let Replication { listen, connect } = self.replication;
        if listen == connect {
            return Err(RawError::SameSide { field: "replication", address: listen });
        }
        Ok(())
    }

    fn etcd(&self) -> Result<Option<Etcd>, RawError> {
        let prefix = self.etcd_prefix.as_deref();
        match self.etcd.len() {
            0 if prefix.is_some() => Err(RawError::EtcdPrefix),
            0 => Ok(None),
            1..=Etcd::ENDPOINTS_MAX => {
                Ok(Some(Etcd::new(self.etcd.clone(), prefix, &self.cluster, self.module)))
            }
            more => Err(RawError::Endpoints(more)),
        }
    }

    fn key(&self) -> Result<Key, RawError> {
        Key::of(self.key_file.clone(), self.accept_key_file.clone(), self.insecure)
    }

    fn vote(&self) -> Vote {
        match self.vote {
            RawVote::Arbiter => Vote::Arbiter,
            RawVote::None => Vote::None,
            RawVote::Ping => Vote::Ping,
            RawVote::Manual => Vote::Manual,
        }
    }

    fn timing(&self) -> Timing {
        let default = self.profile.timing();
        let or = |span: Option<Span>, default| span.map_or(default, |span| span.0);
        Timing {
            heartbeat: or(self.heartbeat, default.heartbeat),
            timeout: or(self.timeout, default.timeout),
            lease: or(self.lease, default.lease),
            round_trip: or(self.round_trip, default.round_trip),
            stop: or(self.stop, default.stop),
        }
    }

    fn policy(&self) -> Policy {
        let targets = u8::try_from(self.ping.len()).unwrap_or(u8::MAX);
        let probe = self.probe.map_or(PROBE_DEFAULT, |span| span.0);
        let vote = self.vote();
        Policy {
            vote,
            ping: (vote == Vote::Ping).then_some(ping::Config { targets, probe }),
            default_prim: self.default_prim,
            winner: self.winner,
            autostart: self.autostart,
            bootstrap: self.bootstrap,
            alone_after: self.alone_after.map(|span| span.0),
            preference: self.preference,
            failover: self.failover,
        }
    }

    fn limits(&self) -> Result<Limits, RawError> {
        let default = Limits::default();
        let window = default.window_bytes as u64;
        let window = size("window_bytes", self.window_bytes, window, 1, WINDOW_MAX)?;
        Ok(Limits {
            window_bytes: window as usize,
            stall: self.stall.map_or(default.stall, |span| span.0),
            log_bytes: self.log_bytes.unwrap_or(default.log_bytes),
            ..default
        })
    }
}

impl fmt::Display for Span {
    /// As it would be written, in the largest unit that keeps it whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        let units = [(3_600_000_000, "h"), (60_000_000, "m"), (1_000_000, "s"), (1_000, "ms")];
        let found = units.iter().find(|(size, _)| micros >= *size && micros.is_multiple_of(*size));
        let (size, unit) = found.copied().unwrap_or((1, "us"));
        write!(f, "{}{unit}", micros / size)
    }
}

/// The number of a cluster's name: FNV-1a, 64 bits. It keeps clusters apart that share a network by
/// mistake; the key keeps strangers out.
pub fn cluster_id(name: &str) -> ClusterId {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    ClusterId(hash)
}

/// Whether each that would be asked from here has an address of this family, and this is one that a
/// host can have and name without an interface.
fn reaches(from: IpAddr, witness: Option<SocketAddr>, etcd: Option<&Etcd>) -> bool {
    let bare = match from {
        IpAddr::V4(from) => !from.is_broadcast(),
        IpAddr::V6(from) => !from.is_unicast_link_local(),
    };
    if !bare || from.is_unspecified() || from.is_multicast() {
        return false;
    }
    let members = etcd.iter().flat_map(|etcd| &etcd.endpoints).map(|member| member.0);
    let mut asked = witness.into_iter().chain(members).peekable();
    asked.peek().is_some() && asked.all(|to| to.is_ipv4() == from.is_ipv4())
}

fn node(field: &'static str, value: u8) -> Result<NodeId, RawError> {
    NodeId::new(value).ok_or(RawError::Id { field, value })
}

fn size(
    field: &'static str,
    value: Option<u64>,
    default: u64,
    least: u64,
    most: u64,
) -> Result<u64, RawError> {
    let value = value.unwrap_or(default);
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(RawError::Size { field, value, least, most })
    }
}

/// How long an address outside may take to answer: far longer than a router of the same site needs.
const PROBE_DEFAULT: Duration = Duration::from_millis(500);
pub(crate) const SEGMENT_DEFAULT: u64 = 64 << 20;
/// The smallest `segment_bytes`: the longest batch fits, with the longest record in it.
pub const SEGMENT_MIN: u64 = 4 << 20;
/// A start reads one file whole.
pub(crate) const SEGMENT_MAX: u64 = 1 << 30;
pub(crate) const ASIDE_DEFAULT: u64 = 1 << 30;
/// What waits is in memory.
const WINDOW_MAX: u64 = 1 << 30;

#[cfg(feature = "serde")]
mod read {
    use core::fmt;

    use ha_proto::NodeId;
    use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

    use super::Span;
    use crate::config::DefaultPrim;

    pub(super) const fn yes() -> bool {
        true
    }

    impl<'de> Deserialize<'de> for Span {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            struct Text;
            impl Visitor<'_> for Text {
                type Value = Span;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a duration as \"250ms\"")
                }

                fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
                    text.parse().map_err(E::custom)
                }
            }
            from.deserialize_str(Text)
        }
    }

    impl<'de> Deserialize<'de> for DefaultPrim {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            struct Either;
            impl Visitor<'_> for Either {
                type Value = DefaultPrim;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("\"alone\", \"last\" or a node's id, 0 to 127")
                }

                fn visit_str<E: Error>(self, text: &str) -> Result<DefaultPrim, E> {
                    match text {
                        "alone" => Ok(DefaultPrim::Alone),
                        "last" => Ok(DefaultPrim::Last),
                        _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                    }
                }

                fn visit_u64<E: Error>(self, id: u64) -> Result<DefaultPrim, E> {
                    let node = u8::try_from(id).ok().and_then(NodeId::new);
                    let refused = || E::invalid_value(Unexpected::Unsigned(id), &self);
                    node.map(DefaultPrim::Node).ok_or_else(refused)
                }

                fn visit_i64<E: Error>(self, id: i64) -> Result<DefaultPrim, E> {
                    let node = u8::try_from(id).ok().and_then(NodeId::new);
                    let refused = || E::invalid_value(Unexpected::Signed(id), &self);
                    node.map(DefaultPrim::Node).ok_or_else(refused)
                }
            }
            from.deserialize_any(Either)
        }
    }
}

#[cfg(feature = "serde")]
use read::yes;

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    fn raw() -> RawConfig {
        let links = vec![Link { local: address(1), peer: address(2) }];
        let replication = Replication { listen: address(3), connect: address(4) };
        RawConfig {
            witness: Some(address(5)),
            insecure: true,
            ..RawConfig::new("shop", (0, 1), links, replication, "/tmp/shop")
        }
    }

    fn refused(change: impl FnOnce(&mut RawConfig)) -> String {
        let mut raw = raw();
        change(&mut raw);
        NodeConfig::try_from(raw).expect_err("it cannot work").to_string()
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let node = NodeConfig::try_from(raw()).unwrap();
        assert_eq!(node.config.timing(), &Profile::Lan.timing());
        assert_eq!(node.config.policy(), &Policy::default());
        assert_eq!(node.config.limits(), &Limits::default());
        assert_eq!(node.config.identity().cluster, cluster_id("shop"));
        assert_eq!(node.key, Key::Insecure);
        assert_eq!((node.segment_bytes, node.aside_bytes), (64 << 20, 1 << 30));
    }

    #[test]
    fn every_refusal_names_the_field_and_what_would_be_right() {
        let span = |millis| Some(Span(Duration::from_millis(millis)));
        let rows: [(String, &[&str]); 24] = [
            (refused(|raw| raw.cluster = String::new()), &["cluster", "name"]),
            (refused(|raw| raw.node = 128), &["node is 128", "0 to 127"]),
            (refused(|raw| raw.peer = 200), &["peer is 200", "0 to 127"]),
            (refused(|raw| raw.peer = 0), &["node and peer", "id of its own"]),
            (refused(|raw| raw.links = vec![]), &["links", "at least one"]),
            (refused(|raw| raw.links = vec![raw.links[0]; 9]), &["links", "9", "at most 8"]),
            (refused(|raw| raw.links = vec![raw.links[0]; 2]), &["links", "twice", "10.0.0.1:1"]),
            (refused(|raw| raw.links[0].peer = address(1)), &["links", "both sides"]),
            (refused(|raw| raw.replication.connect = address(3)), &["replication", "both sides"]),
            (
                refused(|raw| (raw.vote, raw.witness) = (RawVote::Ping, None)),
                &["0 ping addresses", "1 to 9"],
            ),
            (refused(|raw| raw.ping = vec!["192.0.2.1".parse().unwrap()]), &["ping", "leave one"]),
            (refused(|raw| raw.probe = span(1)), &["probe is set", "leave one"]),
            (refused(|raw| raw.alone_after = span(1)), &["alone_after", "none"]),
            (refused(|raw| raw.folder = String::new()), &["folder", "local disk"]),
            (refused(|raw| raw.segment_bytes = Some(1)), &["segment_bytes is 1", "4194304 to"]),
            (refused(|raw| raw.window_bytes = Some(1)), &["window_bytes is 1", "at least"]),
            (refused(|raw| raw.log_bytes = Some(1)), &["log_bytes is 1", "at least"]),
            (refused(|raw| raw.insecure = false), &["key_file", "insecure = true"]),
            (refused(|raw| raw.key_file = Some("k".to_string())), &["key_file and insecure"]),
            (
                refused(|raw| raw.accept_key_file = Some("k".to_string())),
                &["accept_key_file and insecure"],
            ),
            (
                refused(|raw| {
                    raw.insecure = false;
                    raw.accept_key_file = Some("k".to_string());
                }),
                &["accept_key_file", "another one in key_file"],
            ),
            (
                refused(|raw| {
                    raw.insecure = false;
                    raw.key_file = Some("k".to_string());
                    raw.accept_key_file = Some("k".to_string());
                }),
                &["accept_key_file", "another one in key_file"],
            ),
            (refused(|raw| raw.timeout = span(200)), &["timeout", "3 heartbeats", "300ms"]),
            (
                refused(|raw| raw.default_prim = DefaultPrim::Node(NodeId::new(7).unwrap())),
                &["default_prim", "7", "neither"],
            ),
        ];
        say(&rows);
    }

    #[test]
    fn every_refusal_of_a_witness_names_the_field_and_what_would_be_right() {
        let etcd: Endpoint = "http://10.0.0.3:2379".parse().unwrap();
        let from = |address: &str| Some(address.parse().unwrap());
        let by_etcd = |raw: &mut RawConfig, own| {
            (raw.witness, raw.etcd, raw.witness_from) = (None, vec![etcd], from(own));
        };
        let mut accepted = raw();
        by_etcd(&mut accepted, "10.0.0.1");
        assert_eq!(NodeConfig::try_from(accepted).unwrap().witness_from, from("10.0.0.1"));
        let rows: [(String, &[&str]); 13] = [
            (
                refused(|raw| raw.witness_from = from("::1")),
                &["witness_from", "same family as theirs", "or leave it out"],
            ),
            (
                refused(|raw| {
                    by_etcd(raw, "10.0.0.1");
                    raw.etcd.push("http://[::1]:2379".parse().unwrap());
                }),
                &["witness_from", "same family as theirs"],
            ),
            (
                refused(|raw| {
                    (raw.vote, raw.witness, raw.witness_from) =
                        (RawVote::None, None, from("10.0.0.1"));
                }),
                &["witness_from", "or leave it out"],
            ),
            (refused(|raw| raw.witness_from = from("0.0.0.0")), &["witness_from", "this node's"]),
            (refused(|raw| raw.witness_from = from("224.0.0.1")), &["witness_from", "this node's"]),
            (
                refused(|raw| {
                    (raw.witness, raw.witness_from) =
                        (Some("[fd00::3]:1".parse().unwrap()), from("fe80::1"));
                }),
                &["witness_from", "not link-local"],
            ),
            (refused(|raw| raw.witness = None), &["vote", "needs witness", "or etcd"]),
            (refused(|raw| raw.etcd = vec![etcd]), &["witness and etcd", "leave"]),
            (refused(|raw| raw.etcd = vec![etcd; 10]), &["etcd", "10", "at most 9"]),
            (
                refused(|raw| raw.etcd_prefix = Some("/x".to_string())),
                &["etcd_prefix", "endpoints"],
            ),
            (
                refused(|raw| {
                    (raw.vote, raw.witness, raw.etcd) = (RawVote::None, None, vec![etcd]);
                }),
                &["etcd is set", "arbiter", "leave one"],
            ),
            (
                refused(|raw| {
                    (raw.vote, raw.etcd) = (RawVote::Manual, vec![etcd]);
                }),
                &["witness is set", "arbiter", "leave one"],
            ),
            (refused(|raw| raw.vote = RawVote::None), &["witness is set", "leave one"]),
        ];
        say(&rows);
    }

    fn say(rows: &[(String, &[&str])]) {
        for (message, words) in rows {
            for word in *words {
                assert!(message.contains(word), "{message:?} does not say {word:?}");
            }
        }
    }

    #[test]
    fn a_span_is_read_and_written_alike() {
        for text in ["1us", "250ms", "3s", "90s", "2m", "24h", "1500ms", "0us"] {
            let span: Span = text.parse().unwrap();
            let again: Span = format!("{span}").parse().unwrap();
            assert_eq!(span, again, "{text}");
        }
        assert_eq!("90s".parse(), Ok(Span(Duration::from_secs(90))));
        assert_eq!(Span(Duration::from_mins(2)).to_string(), "2m");
        for text in ["", "1", "ms", "1.5s", "-1s", "1 parsec", "99999999999999999999s", "1h1m"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        assert!("18446744073709551615h".parse::<Span>().is_err());
    }

    #[test]
    fn a_name_keeps_its_number() {
        // The published vectors of FNV-1a.
        assert_eq!(cluster_id(""), ClusterId(0xcbf2_9ce4_8422_2325));
        assert_eq!(cluster_id("a"), ClusterId(0xaf63_dc4c_8601_ec8c));
        assert_eq!(cluster_id("foobar"), ClusterId(0x8594_4171_f739_67e8));
    }

    #[cfg(feature = "serde")]
    mod text {
        use super::*;

        const TEXT: &str = r#"
            cluster = "shop"
            node = 0
            peer = 1
            links = [{ local = "10.0.0.1:1", peer = "10.0.0.1:2" }]
            replication = { listen = "10.0.0.1:3", connect = "10.0.0.1:4" }
            folder = "/tmp/shop"
        "#;

        fn read(more: &str) -> Result<RawConfig, String> {
            toml::from_str(&format!("{TEXT}{more}")).map_err(|error| error.to_string())
        }

        #[test]
        fn an_etcd_stands_in_the_place_of_the_witness() {
            let etcd = r#"
                etcd = ["http://10.0.0.3:2379", "http://[::1]:2379"]
                insecure = true
            "#;
            let node = NodeConfig::try_from(read(etcd).unwrap()).unwrap();
            let etcd = node.etcd.unwrap();
            assert_eq!((etcd.endpoints.len(), etcd.key.as_str()), (2, "/ha/shop/0"));
            assert_eq!(node.witness, None);
        }

        #[test]
        fn what_is_left_out_is_the_default() {
            let expected = RawConfig { witness: None, insecure: false, ..raw() };
            assert_eq!(read(""), Ok(expected));
        }

        #[test]
        fn everything_can_be_written() {
            let more = r#"
                module = 3
                vote = "none"
                profile = "fast"
                heartbeat = "5ms"
                stall = "1s"
                default_prim = 1
                winner = "most_recent"
                autostart = false
                bootstrap = true
                alone_after = "2m"
                preference = 9
                failover = false
                window_bytes = 4194304
                insecure = true
            "#;
            let node = NodeConfig::try_from(read(more).unwrap()).unwrap();
            assert_eq!(node.config.identity().module, ModuleId(3));
            assert_eq!(node.config.timing().heartbeat, Duration::from_millis(5));
            assert_eq!(node.config.timing().timeout, Duration::from_millis(30));
            assert_eq!(node.config.limits().window_bytes, 4 << 20);
            let policy = Policy {
                vote: Vote::None,
                ping: None,
                default_prim: DefaultPrim::Node(NodeId::new(1).unwrap()),
                winner: Winner::MostRecent,
                autostart: false,
                bootstrap: true,
                alone_after: Some(Duration::from_mins(2)),
                preference: 9,
                failover: false,
            };
            assert_eq!(node.config.policy(), &policy);
        }

        #[test]
        fn what_is_unknown_or_no_value_is_refused_by_name() {
            for (more, words) in [
                ("heartbeet = 1", ["heartbeet", "unknown field"]),
                ("heartbeat = \"1 day\"", ["1 day", "250ms"]),
                ("heartbeat = 5", ["250ms", "integer"]),
                ("vote = \"majority\"", ["majority", "arbiter"]),
                ("default_prim = 300", ["300", "node's id"]),
                ("default_prim = 128", ["128", "0 to 127"]),
                ("winner = \"none\"", ["none", "former_prim"]),
                ("default_prim = \"first\"", ["first", "alone"]),
                ("etcd = [\"https://10.0.0.3:2379\"]", ["TLS", "http://127.0.0.1:2379"]),
                ("etcd = [\"etcd:2379\"]", ["etcd:2379", "http://10.0.0.3:2379"]),
                ("etcd = \"http://10.0.0.3:2379\"", ["etcd", "sequence"]),
            ] {
                let error = read(more).unwrap_err();
                for word in words {
                    assert!(error.contains(word), "{error:?} does not say {word:?}");
                }
            }
        }
    }
}
