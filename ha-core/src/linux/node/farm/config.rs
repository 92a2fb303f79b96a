//! The file of a farm's node: `/etc/ha-node/farm.toml`.
//!
//! `examples/config/farm-node.toml` is a commented example with every field.

use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;
use std::time::Duration;
use std::vec;

use serde::Deserialize;

use super::checker::{OnFailure, RawFarmChecker, checkers};
use super::plane::tick;
use super::service::{RawService, Service};
use crate::checker::CheckerConfig;
use crate::farm::survey::Hashing;
use crate::farm::{Config, ConfigError, Identity, Isolated, Policy, Timing};
use crate::ha_farm::{Buckets, Hash, Mac, Mode, Rule, Uncovered};
use crate::http::RawHttp;
use crate::linux::hook::{HookConfig, RawNotify};
use crate::linux::node::config::{FileError, Source};
use crate::linux::node::places::{self, log, log_bytes, run, state};
use crate::linux::scripts::{Script, Scripts};
use crate::proto::{ModuleId, NodeId, NodeSet};
use crate::raw::{Key, Span, cluster_id};

/// A farm's node, as its file says it. All members have the same file but for `node`, and for
/// what their machines call their interfaces.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawFarm {
    /// The cluster's name, the same on all members. Two clusters that share a network need two.
    pub cluster: String,
    /// How the farm is called: 1 to 32 of `a-z`, `0-9`, `-` and `_`; default `farm`.
    #[serde(default = "module")]
    pub module: String,
    /// Its number, 0 to 65,535, the same on all members; default 0. Two farms of one cluster need
    /// two.
    #[serde(default)]
    pub id: u16,
    /// This node: the id of one of the members.
    pub node: u8,
    /// All members, 2 to 64, this one among them.
    pub member: Vec<RawMember>,
    /// The networks that all members share, 1 to 8; that of the virtual addresses is one of them.
    pub links: Vec<RawLink>,
    /// This machine's interface on the virtual addresses' network.
    pub interface: String,
    /// How clients' frames reach the members: `invisible` (default) or `directed`; the same on all.
    #[serde(default)]
    pub mode: RawMode,
    /// Where packets are decided on: `auto` (default), `bpf` or `nft`; the same on all members.
    #[serde(default)]
    pub plane: RawPlane,
    /// How long a member with `auto` waits, when it starts, for the others to say what they can do;
    /// D to 30 s, default 3 s or D. It does not wait once all are heard, or one that takes.
    #[serde(default)]
    pub survey: Option<Span>,
    /// File with the cluster's key, as `ha keygen` makes it; readable by its owner only.
    #[serde(default)]
    pub key_file: Option<String>,
    /// A second key that is accepted while the key is changed.
    #[serde(default)]
    pub accept_key_file: Option<String>,
    /// File with the key of the hash that chooses buckets, the same on all members. Default: that
    /// of `key_file`.
    #[serde(default)]
    pub hash_key_file: Option<String>,
    /// `true`: run without a key.
    #[serde(default)]
    pub insecure: bool,
    /// i: how often a beat is sent to each member on each link; default 100 ms. A member that is
    /// silent for three of them is lost.
    #[serde(default)]
    pub interval: Option<Span>,
    /// F: how long the filter takes after a beat; default 9/10 of two intervals.
    #[serde(default)]
    pub lease: Option<Span>,
    /// The longest pause of this node that costs nothing; default 3/4 of an interval.
    #[serde(default)]
    pub slack: Option<Span>,
    /// r: the worst round trip between members; default 1/20 of an interval.
    #[serde(default)]
    pub round_trip: Option<Span>,
    /// What a node does that hears no other one: serves `all` (default) or `nothing`.
    #[serde(default)]
    pub isolated: RawIsolated,
    /// How long connections of a moved bucket may go on at their old server; default 5 m.
    #[serde(default)]
    pub drain: Option<Span>,
    /// How long a server that joins takes to reach its weight; default 0 s.
    #[serde(default)]
    pub warm_up: Option<Span>,
    /// Buckets of each service: 4096 (default) or 256; the same on all members.
    #[serde(default)]
    pub buckets: Option<u16>,
    /// What happens to packets to a virtual address that no service covers: `deny` (default) or
    /// `pass`.
    #[serde(default)]
    pub uncovered: RawUncovered,
    /// The folder of its scripts: `prestart start_both stop_both transition poststop`. Default:
    /// none.
    #[serde(default)]
    pub scripts: Option<PathBuf>,
    /// How long a start may take, and any script that is no stop; default 300 s.
    #[serde(default)]
    pub start_timeout: Option<Span>,
    /// How long a graceful stop may take; default 300 s.
    #[serde(default)]
    pub stop_timeout: Option<Span>,
    /// How long a stop by force may take before all is killed; default 300 s.
    #[serde(default)]
    pub force_timeout: Option<Span>,
    /// What must survive a restart of the daemon; default `/var/lib/ha-node`.
    #[serde(default = "state")]
    pub state: PathBuf,
    /// What only this boot needs; default `/run/ha-node`.
    #[serde(default = "run")]
    pub run: PathBuf,
    /// What scripts print; default `/var/log/ha-node`.
    #[serde(default = "log")]
    pub log: PathBuf,
    /// Bytes of that file, 4 KiB to 1 GiB, beyond which it is put aside; default 10 MiB.
    #[serde(default = "log_bytes")]
    pub log_bytes: u64,
    /// Health and metrics over HTTP, if the section is there.
    #[serde(default)]
    pub http: Option<RawHttp>,
    /// Whom to tell of events, if the section is there.
    #[serde(default)]
    pub notify: Option<RawNotify>,
    /// The services, 1 to 16; the same on all members.
    pub service: Vec<RawService>,
    /// What is looked at, and what follows when it is down.
    #[serde(default)]
    pub checker: Vec<RawFarmChecker>,
}

/// One member, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawMember {
    /// 0 to 63, of its own.
    pub id: u8,
    /// How it is called; default `node` and its id.
    #[serde(default)]
    pub name: Option<String>,
    /// Its address and UDP port on each link, in their order.
    pub addresses: Vec<SocketAddr>,
    /// How large its share is against the others', 0 to 1000; default 1. A service may say
    /// otherwise.
    #[serde(default)]
    pub weight: Option<u16>,
}

/// A network that all members share, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawLink {
    /// How it is called.
    pub name: String,
    /// This machine's interface on it.
    pub interface: String,
}

/// [`Mode`] as it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawMode {
    /// The switch floods clients' frames to all members.
    #[default]
    Invisible,
    /// One member gets them, and hands them on.
    Directed,
}

/// Where packets are decided on, as it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawPlane {
    /// BPF where all members can do it, else nftables.
    #[default]
    Auto,
    /// BPF programs.
    Bpf,
    /// Rules of nftables.
    Nft,
}

/// [`Isolated`] as it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawIsolated {
    /// It serves everything.
    #[default]
    All,
    /// It serves nothing.
    Nothing,
}

/// [`Uncovered`] as it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawUncovered {
    /// Dropped.
    #[default]
    Deny,
    /// Left alone.
    Pass,
}

/// A farm's node, checked.
#[derive(Clone, Debug)]
pub struct FarmNode {
    /// As it was written.
    pub raw: RawFarm,
    /// The cluster's key.
    pub key: Key,
    /// How the members are called.
    pub names: BTreeMap<NodeId, String>,
    /// Each member's addresses, by link.
    pub addresses: BTreeMap<NodeId, Vec<SocketAddr>>,
    /// The services, in order.
    pub services: Vec<Service>,
    /// What is looked at, and what follows.
    pub checkers: Vec<(CheckerConfig, OnFailure)>,
    /// Its scripts, if it has any.
    pub scripts: Option<Folder>,
    /// Who is told of events, if anybody.
    pub hook: Option<HookConfig>,
    identity: Identity,
    timing: Timing,
    /// Whether the file says nothing of the lease.
    free_lease: bool,
}

/// A folder of scripts, and how long they may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Where.
    pub path: PathBuf,
    /// A start.
    pub start: Duration,
    /// A graceful stop.
    pub stop: Duration,
    /// A stop by force.
    pub force: Duration,
}

/// A field by its path, and what is wrong with it.
type Wrong = (Vec<String>, String);

fn wrong(field: &str, what: impl Into<String>) -> Wrong {
    (vec![field.into()], what.into())
}

fn wrong_in(list: &str, at: usize, field: &str, what: impl Into<String>) -> Wrong {
    (vec![list.into(), at.to_string(), field.into()], what.into())
}

impl FarmNode {
    /// Reads a farm node's file.
    ///
    /// # Errors
    /// The first thing that cannot work, by file, line and field.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let source = Source::read(path)?;
        let raw: RawFarm = source.parse()?;
        raw.check().map_err(|(path, what)| {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            source.error(&path, &what)
        })
    }

    /// This node.
    pub fn me(&self) -> NodeId {
        self.identity.me
    }

    /// How this node is called.
    pub fn name(&self) -> &str {
        self.name_of(self.me())
    }

    /// How a member is called.
    pub fn name_of(&self, node: NodeId) -> &str {
        self.names.get(&node).map_or("?", String::as_str)
    }

    /// How the networks are called, in their order.
    pub fn link_names(&self) -> Vec<String> {
        self.raw.links.iter().map(|link| link.name.clone()).collect()
    }

    /// Who is who.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The durations, for a plane whose clock has this tick.
    pub fn timing(&self, tick: Duration) -> Timing {
        let timing = Timing { tick, ..self.timing };
        if self.free_lease {
            let lease = default_lease(timing.interval).min(timing.lease_bound() * 19 / 20);
            return Timing { lease, ..timing };
        }
        timing
    }

    /// How long it asks the others, with `plane = "auto"`.
    pub fn survey(&self) -> Duration {
        self.raw.survey.map_or(SURVEY, |span| span.0).max(self.timing.timeout())
    }

    /// How long connections of a bucket that has moved may go on at their old server.
    pub fn drain(&self) -> Duration {
        self.raw.drain.map_or(DRAIN, |span| span.0)
    }

    /// How long a server that joins takes to reach its weight.
    pub fn warm_up(&self) -> Duration {
        self.raw.warm_up.map_or(Duration::ZERO, |span| span.0)
    }

    /// Of each service.
    pub fn buckets(&self) -> Buckets {
        let count = self.raw.buckets.map_or(Buckets::default().count(), usize::from);
        Buckets::from_count(count).expect("the file was checked")
    }

    /// How long after the death of a member the others have its clients: it is lost after D, and a
    /// view takes three times a round trip.
    pub fn takeover(&self) -> Duration {
        self.timing.interval * 3 + self.timing.round_trip * 3
    }

    /// What the farm's node is made of, with what is known of this machine only.
    ///
    /// # Errors
    /// The first field that cannot work.
    pub fn config(
        &self,
        hash: Hash,
        mac: Option<Mac>,
        tick: Duration,
    ) -> Result<Config, ConfigError> {
        let raw = &self.raw;
        let policy = Policy {
            rules: self.rules(),
            weights: self.weights(),
            buckets: self.buckets(),
            hash,
            mode: raw.mode.into(),
            uncovered: raw.uncovered.into(),
            mac,
            isolated: raw.isolated.into(),
            drain: self.drain(),
            warm_up: self.warm_up(),
        };
        Config::new(self.identity, self.timing(tick), policy)
    }

    /// Likewise, as it would be with this hash: for what all members share, of which the hardware
    /// address is no part.
    ///
    /// # Errors
    /// The first field that cannot work.
    pub fn config_as(&self, hash: Hash) -> Result<Config, ConfigError> {
        self.config(hash, Some(ANY_MAC), tick(Hashing::of(&hash)))
    }

    /// The services' rules.
    pub fn rules(&self) -> Vec<Rule> {
        self.services.iter().map(|service| service.rule.clone()).collect()
    }

    /// This node's weight in each service.
    pub fn weights(&self) -> Vec<u16> {
        self.services.iter().map(|service| service.weight).collect()
    }

    /// The virtual addresses, each once.
    pub fn vips(&self) -> Vec<IpAddr> {
        let vips: BTreeSet<IpAddr> = self.services.iter().map(|it| it.rule.vip).collect();
        vips.into_iter().collect()
    }

    /// The socket at which `ha` reaches the daemon.
    pub fn control_socket(&self) -> PathBuf {
        self.raw.run.join("control.sock")
    }
}

impl RawFarm {
    fn check(self) -> Result<FarmNode, Wrong> {
        self.check_name()?;
        self.check_links()?;
        let (names, addresses) = self.members()?;
        let me = NodeId::new(self.node).filter(|me| names.contains_key(me));
        let me = me.ok_or_else(|| {
            let what = format!("node {} is none of the members: name one of their ids", self.node);
            wrong("node", what)
        })?;
        let key = Key::of(self.key_file.clone(), self.accept_key_file.clone(), self.insecure)
            .map_err(|error| wrong(error.field(), error.to_string()))?;
        let services = self.services(me, &names)?;
        let checkers = checkers(&self.checker).map_err(|what| wrong("checker", what))?;
        self.check_files()?;
        let scripts = self.folder()?;
        let hook = self.notify.clone().map(HookConfig::try_from);
        let hook = hook.transpose().map_err(|error| wrong("notify", error.to_string()))?;
        let identity = Identity {
            cluster: cluster_id(&self.cluster),
            module: ModuleId(self.id),
            me,
            members: names.keys().copied().collect::<NodeSet>(),
            links: u8::try_from(self.links.len()).unwrap_or(u8::MAX),
        };
        let free_lease = self.lease.is_none();
        let timing = self.timing();
        let node = FarmNode {
            raw: self,
            key,
            names,
            addresses,
            services,
            checkers,
            scripts,
            hook,
            identity,
            timing,
            free_lease,
        };
        // The machine's own address is looked up when the daemon starts.
        if let Err(error) = node.config(Hash::Jhash { seed: 0 }, Some(ANY_MAC), Duration::ZERO) {
            return Err(node.place(&error));
        }
        node.check_survey()?;
        Ok(node)
    }

    fn check_name(&self) -> Result<(), Wrong> {
        if self.cluster.is_empty() {
            return Err(wrong("cluster", "cluster is empty: give the cluster a name"));
        }
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if !(1..=NAME_MAX).contains(&self.module.len()) || !self.module.chars().all(fits) {
            let rule = "1 to 32 of a-z, 0-9, - and _, so that it can name files";
            let what = format!("module {:?}: a farm's name has {rule}", self.module);
            return Err(wrong("module", what));
        }
        Ok(())
    }

    /// FG1: two groups that share the clients' switch, but not one beat, break each other's new
    /// connections.
    fn check_links(&self) -> Result<(), Wrong> {
        let mut seen = BTreeSet::new();
        for (at, link) in self.links.iter().enumerate() {
            if !seen.insert(&link.name) {
                let what = format!("name {:?} is used twice: give each link its own", link.name);
                return Err(wrong_in("links", at, "name", what));
            }
        }
        if self.links.iter().any(|link| link.interface == self.interface) {
            return Ok(());
        }
        let what = format!(
            "no link goes over {}, the virtual addresses' network: two groups of members that \
             share the clients' switch and not one beat would break each other's connections: add \
             {{ name = \"clients\", interface = {:?} }}, and each member's address there",
            self.interface, self.interface
        );
        Err(wrong("links", what))
    }

    #[expect(clippy::type_complexity, reason = "two maps, taken apart at once")]
    fn members(
        &self,
    ) -> Result<(BTreeMap<NodeId, String>, BTreeMap<NodeId, Vec<SocketAddr>>), Wrong> {
        let (mut names, mut addresses) = (BTreeMap::new(), BTreeMap::new());
        let mut taken = BTreeSet::new();
        for (at, member) in self.member.iter().enumerate() {
            let bad = |field, what: String| Err(wrong_in("member", at, field, what));
            let Some(id) = NodeId::new(member.id).filter(|id| id.as_u8() < 64) else {
                let what = format!("id {}: the members of a farm have ids from 0 to 63", member.id);
                return bad("id", what);
            };
            let name = member.name.clone().unwrap_or_else(|| format!("node{id}"));
            if names.values().any(|other| *other == name) {
                return bad("name", format!("name {name:?} is used twice: give each its own"));
            }
            if names.insert(id, name).is_some() {
                return bad("id", format!("id {id} is there twice: give each member its own"));
            }
            let (given, links) = (member.addresses.len(), self.links.len());
            if given != links {
                let what = format!("{given} addresses for {links} links: name one on each");
                return bad("addresses", what);
            }
            if let Some(address) = member.addresses.iter().find(|it| !taken.insert(**it)) {
                return bad("addresses", format!("{address} is there twice"));
            }
            if let Some(address) = member.addresses.iter().find(|it| it.port() == 0) {
                return bad("addresses", format!("{address}: the port must not be 0"));
            }
            addresses.insert(id, member.addresses.clone());
        }
        Ok((names, addresses))
    }

    fn services(
        &self,
        me: NodeId,
        names: &BTreeMap<NodeId, String>,
    ) -> Result<Vec<Service>, Wrong> {
        let of_member = self.member.iter().find(|member| member.id == me.as_u8());
        let weight = of_member.and_then(|member| member.weight).unwrap_or(1);
        let mut services = Vec::<Service>::new();
        for (at, raw) in self.service.iter().enumerate() {
            let service = Service::new(raw, &names[&me], weight)
                .map_err(|(field, what)| wrong_in("service", at, field, what))?;
            if let Some(name) =
                raw.weights.keys().find(|name| !names.values().any(|it| it == *name))
            {
                let what = format!("weights: no member is called {name:?}");
                return Err(wrong_in("service", at, "weights", what));
            }
            if services.iter().any(|other| other.name == service.name) {
                let what = format!("name {:?} is used twice: give each its own", service.name);
                return Err(wrong_in("service", at, "name", what));
            }
            if self.vip_is_members(service.rule.vip) {
                let what = format!("{} is a member's own address", service.rule.vip);
                return Err(wrong_in("service", at, "vip", what));
            }
            services.push(service);
        }
        Ok(services)
    }

    fn vip_is_members(&self, vip: IpAddr) -> bool {
        self.member.iter().flat_map(|it| &it.addresses).any(|address| address.ip() == vip)
    }

    fn check_files(&self) -> Result<(), Wrong> {
        let folders = [("state", &*self.state), ("run", &*self.run), ("log", &*self.log)];
        if let Some((field, what)) = places::wrong(folders, self.log_bytes) {
            return Err(wrong(field, what));
        }
        match self.buckets {
            None | Some(256 | 4096) => Ok(()),
            Some(other) => {
                Err(wrong("buckets", format!("buckets is {other}: it must be 4096 or 256")))
            }
        }
    }

    fn folder(&self) -> Result<Option<Folder>, Wrong> {
        let limit = |field, span: Option<Span>| match span.map_or(SCRIPT_MAX, |span| span.0) {
            Duration::ZERO => {
                Err(wrong(field, format!("{field} is 0: nothing could be done in time")))
            }
            time => Ok(time),
        };
        let (start, stop, force) = (
            limit("start_timeout", self.start_timeout)?,
            limit("stop_timeout", self.stop_timeout)?,
            limit("force_timeout", self.force_timeout)?,
        );
        let Some(path) = self.scripts.clone() else { return Ok(None) };
        Scripts::check(&path).map_err(|error| wrong("scripts", format!("scripts: {error}")))?;
        for script in [Script::StartPrim, Script::StopPrim] {
            if path.join(script.name()).exists() {
                let what = format!(
                    "scripts: {} is a mirror's: a farm has no primary, its servers run start_both",
                    script.name()
                );
                return Err(wrong("scripts", what));
            }
        }
        Ok(Some(Folder { path, start, stop, force }))
    }

    fn timing(&self) -> Timing {
        let or = |span: Option<Span>, default: Duration| span.map_or(default, |span| span.0);
        let interval = or(self.interval, Timing::default().interval);
        Timing {
            interval,
            lease: or(self.lease, default_lease(interval)),
            slack: or(self.slack, interval * 3 / 4),
            round_trip: or(self.round_trip, interval / 20),
            ..Timing::default()
        }
    }
}

impl FarmNode {
    fn check_survey(&self) -> Result<(), Wrong> {
        let (asked, least) = (self.raw.survey.map(|span| span.0), self.timing.timeout());
        if asked.is_none_or(|asked| (least..=SURVEY_MAX).contains(&asked)) {
            return Ok(());
        }
        let what = format!("survey must be {} to {}", Span(least), Span(SURVEY_MAX));
        Err(wrong("survey", what))
    }

    /// Where in the file an error of the farm itself is.
    fn place(&self, error: &ConfigError) -> Wrong {
        let first = |fields: &[(&'static str, bool)]| {
            let written = fields.iter().find(|(_, written)| *written);
            written.or_else(|| fields.first()).map_or("interval", |(field, _)| *field)
        };
        let raw = &self.raw;
        let field = match error {
            ConfigError::Members(_) | ConfigError::Id(_) => "member",
            ConfigError::Stranger(_) => "node",
            ConfigError::Links(_) => "links",
            ConfigError::Interval(_) => "interval",
            ConfigError::LeaseLong { .. } => {
                first(&[("lease", raw.lease.is_some()), ("interval", raw.interval.is_some())])
            }
            ConfigError::LeaseShort { .. } => {
                first(&[("lease", raw.lease.is_some()), ("slack", raw.slack.is_some())])
            }
            ConfigError::RoundTrip(_) => "round_trip",
            ConfigError::Rule(rule) => return super::service::place(rule, &self.services),
            ConfigError::Weights { .. } | ConfigError::Weight(_) => "service",
            ConfigError::NoMac => "interface",
            ConfigError::Long(field) => field,
            ConfigError::Rho(_) => "cluster",
        };
        wrong(field, error.to_string())
    }
}

impl RawMode {
    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invisible => "invisible",
            Self::Directed => "directed",
        }
    }
}

impl From<RawMode> for Mode {
    fn from(mode: RawMode) -> Self {
        match mode {
            RawMode::Invisible => Self::Invisible,
            RawMode::Directed => Self::Directed,
        }
    }
}

impl From<RawIsolated> for Isolated {
    fn from(isolated: RawIsolated) -> Self {
        match isolated {
            RawIsolated::All => Self::All,
            RawIsolated::Nothing => Self::Nothing,
        }
    }
}

impl From<RawUncovered> for Uncovered {
    fn from(uncovered: RawUncovered) -> Self {
        match uncovered {
            RawUncovered::Deny => Self::Deny,
            RawUncovered::Pass => Self::Pass,
        }
    }
}

/// 9/10 of D − i, so that rates of clocks and ticks have room.
fn default_lease(interval: Duration) -> Duration {
    interval * 2 * 9 / 10
}

fn module() -> String {
    "farm".into()
}

/// A folder is named after it, and a group, and a socket, whose paths have 108 bytes.
const NAME_MAX: usize = 32;
/// Servers that are told to start at once have started by then.
const SURVEY: Duration = Duration::from_secs(3);
/// Half of what a unit is given to start in.
const SURVEY_MAX: Duration = Duration::from_secs(30);
/// For what does not depend on it.
const ANY_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const SCRIPT_MAX: Duration = Duration::from_mins(5);
/// Longer than most requests, and short enough that a server can be taken away in a tea break.
const DRAIN: Duration = Duration::from_mins(5);
