//! The files of a mirror node: `/etc/ha-node/ha-node.toml`, and `modules.d/*.toml` beside it.
//!
//! `examples/config/ha-node.toml` is a commented example with every field.

use std::collections::BTreeSet;
use std::format;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::locate::line_of;
use super::places::{self, log, log_bytes, run, state};
use crate::Profile;
use crate::checker::{CheckerConfig, Loops};
use crate::config::{DefaultPrim, Winner};
use crate::http::RawHttp;
use crate::linux::hook::{HookConfig, RawNotify};
use crate::linux::scripts::{self, Scripts};
use crate::linux::{VipConfig, VipSource, VipsConfig};
use crate::raw::{
    Endpoint, Link, NodeConfig, PingTarget, RawChecker, RawConfig, RawVote, Replication,
    SEGMENT_MIN, Span, checkers,
};
use crate::verdict::Names;
use crate::vip::OnRemoved;

/// What all modules of a node share: its file `ha-node.toml`. Both nodes are configured alike but
/// for `node` and `peer`, the sides of links and stream, `witness_from`, `[http] listen`, and
/// `bootstrap` of each module.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawNode {
    /// The cluster's name, the same on both nodes and at the witness.
    pub cluster: String,
    /// This node: 0 to 127.
    pub node: u8,
    /// The other node: 0 to 127.
    pub peer: u8,
    /// How this node is called, for people and scripts: 1 to 64 bytes without blanks. Default: the
    /// machine's host name.
    #[serde(default)]
    pub name: Option<String>,
    /// The networks that both share, 1 to 8, in the same order on both; better two that fail
    /// independently.
    pub links: Vec<Link>,
    /// Where records go from node to node, over TCP.
    pub replication: Replication,
    /// Address of the witness; needed with `vote = "arbiter"`, and only there.
    #[serde(default)]
    pub witness: Option<SocketAddr>,
    /// With `witness` or `etcd`: the address of this node that it is asked from. Default: what the
    /// routes say, which while a `vips` entry with `source = "preferred"` is here is that one.
    #[serde(default)]
    pub witness_from: Option<IpAddr>,
    /// Or an etcd in the witness's place: 1 to 9 of its endpoints, `http://ADDRESS:PORT`.
    #[serde(default)]
    pub etcd: Vec<Endpoint>,
    /// What its keys begin with; default `/ha`.
    #[serde(default)]
    pub etcd_prefix: Option<String>,
    /// Who decides: `arbiter` (default), `none`, `ping` or `manual`.
    #[serde(default)]
    pub vote: RawVote,
    /// With `vote = "ping"`: 1 to 9 addresses outside the cluster, of which a majority must answer.
    #[serde(default)]
    pub ping: Vec<PingTarget>,
    /// With `vote = "ping"`: how long an answer may take; default 500 ms.
    #[serde(default)]
    pub probe: Option<Span>,
    /// Named durations: `fast`, `lan` (default) or `wan`; each can be set by itself below.
    #[serde(default)]
    pub profile: Profile,
    /// How often a beat is sent on each link.
    #[serde(default)]
    pub heartbeat: Option<Span>,
    /// D: without a beat for so long the peer is lost. At least three heartbeats.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// L: how long the right to serve lasts unrenewed. The same on both nodes.
    #[serde(default)]
    pub lease: Option<Span>,
    /// R: the worst round trip to the witness with its disk.
    #[serde(default)]
    pub round_trip: Option<Span>,
    /// S: the longest that ceasing to serve takes: addresses off, processes frozen.
    #[serde(default)]
    pub stop: Option<Span>,
    /// File with the cluster's key, as `ha keygen` makes it; readable by its owner only.
    #[serde(default)]
    pub key_file: Option<String>,
    /// A second key that is accepted while the key is changed.
    #[serde(default)]
    pub accept_key_file: Option<String>,
    /// `true`: run without a key.
    #[serde(default)]
    pub insecure: bool,
    /// What must survive a restart, a folder for each module; default `/var/lib/ha-node`.
    #[serde(default = "state")]
    pub state: PathBuf,
    /// What only this boot needs; default `/run/ha-node`.
    #[serde(default = "run")]
    pub run: PathBuf,
    /// What scripts print, a file for each module; default `/var/log/ha-node`.
    #[serde(default = "log")]
    pub log: PathBuf,
    /// Bytes of one of these files, 4 KiB to 1 GiB, beyond which it is put aside; default 10 MiB.
    #[serde(default = "log_bytes")]
    pub log_bytes: u64,
    /// The program of the guardian. Default: `ha-guardian` beside this program.
    #[serde(default)]
    pub guardian: Option<PathBuf>,
    /// A watchdog device that the guardians feed, `/dev/watchdog`: it resets the machine when a
    /// service that lost its right to run cannot be killed. Default: none.
    #[serde(default)]
    pub watchdog: Option<PathBuf>,
    /// How the other node is called, likewise; default `node` and its number.
    #[serde(default)]
    pub peer_name: Option<String>,
    /// Health and metrics over HTTP, if the section is there.
    #[serde(default)]
    pub http: Option<RawHttp>,
    /// Whom to tell of events, if the section is there.
    #[serde(default)]
    pub notify: Option<RawNotify>,
    /// The modules; more may stand in `modules.d`, one in a file, without the heading.
    #[serde(default)]
    pub module: Vec<RawModule>,
}

/// One module: what moves by itself from node to node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the file")]
pub struct RawModule {
    /// How it is called: 1 to 32 of `a-z`, `0-9`, `-` and `_`.
    pub name: String,
    /// Its number, 0 to 65,535, the same on both nodes and never that of another one.
    pub id: u16,
    /// Its virtual addresses, one set that moves as one.
    #[serde(default)]
    pub vips: Vec<RawVip>,
    /// Between two announcements of them for ever, 1 s to 5 m; default 30 s.
    #[serde(default)]
    pub refresh: Option<Span>,
    /// When somebody else removes an address: `put_back` (default) or `step_down`.
    #[serde(default)]
    pub on_removed: RawOnRemoved,
    /// Whether TCP connections to the addresses are reset when they are released.
    #[serde(default)]
    pub reset_connections: bool,
    /// The folder of its scripts: `prestart start_prim stop_prim start_both stop_both transition
    /// poststop`, each of which may be missing. Default: none.
    #[serde(default)]
    pub scripts: Option<PathBuf>,
    /// A systemd unit in place of `start_prim` and `stop_prim`.
    #[serde(default)]
    pub unit: Option<String>,
    /// How long a start may take, and any script that is no stop; default 300 s.
    #[serde(default)]
    pub start_timeout: Option<Span>,
    /// How long a graceful stop may take; default 300 s.
    #[serde(default)]
    pub stop_timeout: Option<Span>,
    /// How long a stop by force may take before all is killed; default 300 s.
    #[serde(default)]
    pub force_timeout: Option<Span>,
    /// How long processes that lost their right to run stay frozen before the guardian kills them
    /// because the daemon does not: 1 ms to 1 h, default 3 s.
    #[serde(default)]
    pub grace: Option<Span>,
    /// Where it goes home to: `alone` (default; it stays), `last`, or a node's id.
    #[serde(default)]
    pub default_prim: DefaultPrim,
    /// With `vote = "none"`, who goes on when two primaries meet.
    #[serde(default)]
    pub winner: Winner,
    /// Whether it takes part as soon as the daemon runs (default), or waits for `ha start`.
    #[serde(default = "yes")]
    pub autostart: bool,
    /// Whether this node may make a pair out of two blank ones by itself; on one node at most.
    /// Default false: an operator orders `ha prim` once.
    #[serde(default)]
    pub bootstrap: bool,
    /// With `vote = "none"`: after so long without its peer a booted node starts alone.
    #[serde(default)]
    pub alone_after: Option<Span>,
    /// Whether a secondary takes over by itself (default).
    #[serde(default = "yes")]
    pub failover: bool,
    /// How often checkers may restart it, 0 to 255, in `loop_interval`; then it is stopped until an
    /// operator looks. Default 3.
    #[serde(default)]
    pub maxloop: Option<u8>,
    /// See `maxloop`; default 24 h.
    #[serde(default)]
    pub loop_interval: Option<Span>,
    /// What is looked at, and what follows when it is down.
    #[serde(default)]
    pub checker: Vec<RawChecker>,
}

/// A virtual address, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawVip {
    /// IPv4 or IPv6.
    pub address: IpAddr,
    /// Bits of its network. Default, and best where the host has an address of its own in the
    /// network: all of them, 32 or 128.
    #[serde(default)]
    pub prefix: Option<u8>,
    /// The interface, `eth0`.
    pub interface: String,
    /// What `ip address` shows beside an IPv4 address; default none.
    #[serde(default)]
    pub label: Option<String>,
    /// What it is to connections that begin on its host.
    #[serde(default)]
    pub source: RawSource,
}

/// [`VipSource`] as it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawSource {
    /// They begin from the host's own address.
    #[default]
    Alias,
    /// They begin from this one while it is held.
    Preferred,
}

/// [`OnRemoved`] as it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawOnRemoved {
    /// Set it again.
    #[default]
    PutBack,
    /// Leave the service to the peer.
    StepDown,
}

/// A node's configuration, checked.
#[derive(Clone, Debug)]
pub struct Node {
    /// As it was written, modules of other files included.
    pub raw: RawNode,
    /// How this node is called.
    pub name: String,
    /// The modules, in the order of the files.
    pub modules: Vec<Module>,
    /// Whom to tell of events.
    pub hook: Option<HookConfig>,
    /// The files as they were read: the main one, and those of `modules.d` by their names.
    pub(super) texts: Texts,
}

/// What a node's files held, to be written down again.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    main: String,
    modules: Vec<(PathBuf, String)>,
}

impl Texts {
    /// Writes the files anew, into a folder that is made empty before; the path of the main one.
    ///
    /// # Errors
    /// The folder cannot be made, or a file not be written.
    pub(super) fn write(&self, folder: &Path) -> io::Result<PathBuf> {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let more = folder.join("modules.d");
        fs::create_dir_all(&more)?;
        for (name, text) in &self.modules {
            fs::write(more.join(name), text)?;
        }
        let main = folder.join("ha-node.toml");
        fs::write(&main, &self.main)?;
        Ok(main)
    }
}

/// A module's configuration, checked.
#[derive(Clone, Debug)]
pub struct Module {
    /// How it is called.
    pub name: String,
    /// What the driver starts from.
    pub node: NodeConfig,
    /// Its virtual addresses, if it has any.
    pub vips: Option<VipsConfig>,
    /// Its service, if it has any.
    pub service: Option<Service>,
    /// What is looked at.
    pub checkers: Vec<CheckerConfig>,
    /// Its automatic restarts.
    pub loops: Loops,
}

/// A service, as it is started and stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The folder of the scripts; an empty one stands for none.
    pub scripts: Option<PathBuf>,
    /// The unit in place of those of a primary.
    pub unit: Option<String>,
    /// How long a start may take.
    pub start: Duration,
    /// How long a graceful stop may take.
    pub stop: Duration,
    /// How long a stop by force may take.
    pub force: Duration,
    /// How long it stays frozen before the guardian kills it.
    pub grace: Duration,
}

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{}: {what}", path.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct FileError {
    /// Which file.
    pub path: PathBuf,
    /// In which line, from 1, where one can be named.
    pub line: Option<usize>,
    /// The field, and what would be right.
    pub what: String,
}

/// A file and its text, so that errors can say where they are.
pub(crate) struct Source {
    path: PathBuf,
    text: String,
}

/// Where a module was written.
struct Place<'a> {
    source: &'a Source,
    /// Its place in the list of the node's file; `None` in a file of its own.
    at: Option<usize>,
}

impl Module {
    /// The scripts and the unit that its service is, neither where it is addresses alone.
    pub fn service_is(&self) -> (Option<&Path>, Option<&str>) {
        let service = self.service.as_ref();
        let scripts = service.and_then(|it| it.scripts.as_deref());
        (scripts, service.and_then(|it| it.unit.as_deref()))
    }

    /// What it is, in a word or two.
    pub fn says(&self) -> String {
        let unit = self.service.as_ref().and_then(|it| it.unit.clone());
        let scripts = self.service.as_ref().and_then(|it| it.scripts.as_ref());
        unit.or_else(|| scripts.map(|folder| folder.display().to_string()))
            .unwrap_or_else(|| "addresses".into())
    }
}

impl Node {
    /// Reads a node's file, and those of `modules.d` beside it in the order of their names.
    ///
    /// # Errors
    /// The first thing that cannot work, by file, line and field.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let main = Source::read(path)?;
        let mut raw: RawNode = main.parse()?;
        let more = Self::read_folder(&path.with_file_name("modules.d"))?;
        let listed = (0..raw.module.len()).map(|at| Place { source: &main, at: Some(at) });
        let places: Vec<Place<'_>> =
            listed.chain(more.iter().map(|(source, _)| Place { source, at: None })).collect();
        raw.module.extend(more.iter().map(|(_, module)| module.clone()));
        if raw.module.is_empty() {
            return Err(main.error(&[], "module is missing: a node needs at least one [[module]]"));
        }
        raw.check(&main)?;
        let mut modules = Vec::new();
        for (module, place) in raw.module.iter().zip(&places) {
            let checked = raw.module(module).map_err(|(field, what)| place.error(field, &what))?;
            raw.check_unique(module, modules.len())
                .map_err(|(field, what)| place.error(field, &what))?;
            modules.push(checked);
        }
        let name = raw.name.clone().unwrap_or_else(|| host_name(raw.node));
        let hook = raw.notify.clone().map(HookConfig::try_from);
        let hook = hook.transpose().map_err(|error| main.error(&["notify"], &error.to_string()))?;
        let kept = |(source, _): (Source, RawModule)| {
            Some((PathBuf::from(source.path.file_name()?), source.text))
        };
        let texts =
            Texts { main: main.text.clone(), modules: more.into_iter().filter_map(kept).collect() };
        let node = Self { raw, name, modules, hook, texts };
        let names = node.names();
        for (field, name) in [("name", &names.me), ("peer_name", &names.peer)] {
            let plain = name.chars().all(|c| !c.is_whitespace() && !c.is_control());
            if !plain || !(1..=NODE_NAME_MAX).contains(&name.len()) {
                let what = format!("{field} {name:?} must have 1 to 64 bytes without blanks");
                return Err(main.error(&[field], &what));
            }
        }
        if names.me == names.peer {
            // `ha prim --keep NODE` would keep the wrong data.
            let what = format!("both nodes are called {:?}: set peer_name", names.me);
            return Err(main.error(&["peer_name"], &what));
        }
        Ok(node)
    }

    fn read_folder(folder: &Path) -> Result<Vec<(Source, RawModule)>, FileError> {
        let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let files: BTreeSet<PathBuf> =
            paths.filter(|path| path.extension().is_some_and(|it| it == "toml")).collect();
        files
            .into_iter()
            .map(|path| {
                let source = Source::read(&path)?;
                let module = source.parse()?;
                Ok((source, module))
            })
            .collect()
    }

    /// What an administrator calls the parts of a module.
    pub fn names_in(&self, module: &Module) -> Names {
        let checkers = module.checkers.iter().map(|checker| checker.name.clone());
        Names { resources: checkers.chain(["addresses".into()]).collect(), ..self.names() }
    }

    /// What an administrator calls the nodes and the networks.
    pub fn names(&self) -> Names {
        let other = || format!("node{}", self.raw.peer);
        Names {
            me: self.name.clone(),
            peer: self.raw.peer_name.clone().unwrap_or_else(other),
            links: self.raw.links.iter().map(|link| link.local.ip().to_string()).collect(),
            resources: Vec::new(),
        }
    }

    /// The socket at which `ha` reaches the daemon.
    pub fn control_socket(&self) -> PathBuf {
        self.raw.run.join("control.sock")
    }
}

impl Source {
    pub(crate) fn read(path: &Path) -> Result<Self, FileError> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Self { path: path.into(), text }),
            Err(error) => {
                let what = match error.kind() {
                    io::ErrorKind::NotFound => "there is no such file: name another one, or write \
                        it; examples/config has one with every field"
                        .into(),
                    io::ErrorKind::PermissionDenied => {
                        "this user may not read it: be root, or the user that it is for".into()
                    }
                    io::ErrorKind::IsADirectory => "it is a folder: name a file in it".into(),
                    _ => format!("cannot be read: {error}"),
                };
                Err(FileError { path: path.into(), line: None, what })
            }
        }
    }

    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, FileError> {
        toml::from_str(&self.text).map_err(|error| {
            let start = error.span().map(|span| span.start);
            let line = start.map(|at| self.text[..at].matches('\n').count() + 1);
            let what = error.message().replace('\n', ": ");
            FileError { path: self.path.clone(), line, what }
        })
    }

    pub(crate) fn error(&self, path: &[&str], what: &str) -> FileError {
        let line = line_of(&self.text, path);
        FileError { path: self.path.clone(), line, what: what.into() }
    }
}

impl Place<'_> {
    fn error(&self, field: &str, what: &str) -> FileError {
        match self.at {
            Some(at) => self.source.error(&["module", &at.to_string(), field], what),
            None => self.source.error(&[field], what),
        }
    }
}

/// A field, and what is wrong with it.
type Wrong = (&'static str, String);

impl RawNode {
    /// What all modules share, before any of them is looked at.
    fn check(&self, source: &Source) -> Result<(), FileError> {
        let first = self.module.first().expect("there is a module");
        if let Err(error) = NodeConfig::try_from(self.raw_module(first))
            && !OF_A_MODULE.contains(&error.field())
        {
            return Err(source.error(&[error.field()], &error.to_string()));
        }
        let folders = [("state", &*self.state), ("run", &*self.run), ("log", &*self.log)];
        if let Some((field, what)) = places::wrong(folders, self.log_bytes) {
            return Err(source.error(&[field], &what));
        }
        Ok(())
    }

    fn check_unique(&self, module: &RawModule, before: usize) -> Result<(), Wrong> {
        let others = &self.module[..before];
        if others.iter().any(|other| other.name == module.name) {
            let name = &module.name;
            return Err(("name", format!("name {name:?} is used twice: give each module its own")));
        }
        if others.iter().any(|other| other.id == module.id) {
            let id = module.id;
            return Err(("id", format!("id {id} is used twice: give each module one of its own")));
        }
        others.iter().try_for_each(|other| module.is_apart_from(other))
    }

    fn module(&self, module: &RawModule) -> Result<Module, Wrong> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if !(1..=NAME_MAX).contains(&module.name.len()) || !module.name.chars().all(fits) {
            let rule = "1 to 32 of a-z, 0-9, - and _, so that it can name files";
            return Err(("name", format!("name {:?}: a module's name has {rule}", module.name)));
        }
        let raw = self.raw_module(module);
        let node = NodeConfig::try_from(raw).map_err(|error| (error.field(), error.to_string()))?;
        let (vips, service) = (module.vips()?, module.service()?);
        if let Some(from) = self.witness_from.filter(|from| module.holds(*from)) {
            let text = format!("{from} is witness_from, too: only who holds it could ask");
            return Err(("vips", format!("{text}; name an address of this node's own there")));
        }
        let checkers = checkers(module.checker.clone());
        let checkers = checkers.map_err(|error| ("checker", error.to_string()))?;
        let interval = module.loop_interval.map_or(LOOP_INTERVAL, |span| span.0);
        let loops = Loops::new(module.maxloop.unwrap_or(MAXLOOP), interval);
        Ok(Module { name: module.name.clone(), node, vips, service, checkers, loops })
    }

    fn raw_module(&self, module: &RawModule) -> RawConfig {
        let ids = (self.node, self.peer);
        let folder = self.state.join(&module.name).display().to_string();
        let base =
            RawConfig::new(&*self.cluster, ids, self.links.clone(), self.replication, folder);
        RawConfig {
            module: module.id,
            witness: self.witness,
            witness_from: self.witness_from,
            etcd: self.etcd.clone(),
            etcd_prefix: self.etcd_prefix.clone(),
            vote: self.vote,
            ping: self.ping.clone(),
            probe: self.probe,
            profile: self.profile,
            heartbeat: self.heartbeat,
            timeout: self.timeout,
            lease: self.lease,
            round_trip: self.round_trip,
            stop: self.stop,
            default_prim: module.default_prim,
            winner: module.winner,
            autostart: module.autostart,
            bootstrap: module.bootstrap,
            alone_after: module.alone_after,
            failover: module.failover,
            // A service with scripts has no records of its own: its log stays empty.
            segment_bytes: Some(SEGMENT_MIN),
            key_file: self.key_file.clone(),
            accept_key_file: self.accept_key_file.clone(),
            insecure: self.insecure,
            ..base
        }
    }
}

impl RawModule {
    fn has(&self, vip: &VipConfig) -> bool {
        let same = |own: &RawVip| own.address == vip.address && own.interface == vip.interface;
        self.vips.iter().any(same)
    }

    /// Whether that is one of its virtual addresses.
    fn holds(&self, address: IpAddr) -> bool {
        self.vips.iter().any(|own| own.address == address)
    }

    /// Whether both can be at one node, as either may be.
    fn is_apart_from(&self, other: &Self) -> Result<(), Wrong> {
        let all = |module: &Self| module.vips.iter().map(VipConfig::from).collect::<Vec<_>>();
        for vip in all(self) {
            let (address, name) = (vip.address, &other.name);
            if other.has(&vip) {
                let text = format!("{address} is an address of module {name:?} too");
                return Err(("vips", format!("{text}: it moves with one")));
            }
            if let Some(rival) = all(other).iter().find(|rival| rival.rivals(&vip)) {
                let text = format!(
                    "{address} is a preferred source on {:?}, and so is {} of module {name:?}",
                    vip.interface, rival.address
                );
                return Err(("vips", format!("{text}: only one can be; make the other \"alias\"")));
            }
        }
        Ok(())
    }

    fn vips(&self) -> Result<Option<VipsConfig>, Wrong> {
        if self.vips.is_empty() {
            return Ok(None);
        }
        let mut vips = VipsConfig::new(self.vips.iter().map(VipConfig::from).collect());
        vips.refresh = self.refresh.map_or(vips.refresh, |span| span.0);
        vips.on_removed = match self.on_removed {
            RawOnRemoved::PutBack => OnRemoved::PutBack,
            RawOnRemoved::StepDown => OnRemoved::StepDown,
        };
        vips.reset_connections = self.reset_connections;
        vips.check().map_err(|error| ("vips", error.to_string()))?;
        Ok(Some(vips))
    }

    fn service(&self) -> Result<Option<Service>, Wrong> {
        let limit = |field, span: Option<Span>| match span.map_or(SCRIPT_MAX, |span| span.0) {
            Duration::ZERO => Err((field, format!("{field} is 0: nothing could be done in time"))),
            time => Ok(time),
        };
        let service = Service {
            scripts: self.scripts.clone(),
            unit: self.unit.clone(),
            start: limit("start_timeout", self.start_timeout)?,
            stop: limit("stop_timeout", self.stop_timeout)?,
            force: limit("force_timeout", self.force_timeout)?,
            grace: self.grace.map_or(GRACE, |span| span.0),
        };
        if !(GRACE_MIN..=GRACE_MAX).contains(&service.grace) {
            let grace = Span(service.grace);
            return Err(("grace", format!("grace is {grace}: it must be 1ms to 1h")));
        }
        if let Some(folder) = &self.scripts {
            Scripts::check(folder).map_err(|error| ("scripts", format!("scripts: {error}")))?;
            let prim = [scripts::Script::StartPrim, scripts::Script::StopPrim];
            if self.unit.is_some() && prim.iter().any(|it| folder.join(it.name()).exists()) {
                let what = "unit stands in place of start_prim and stop_prim: remove those from \
                    scripts, or leave unit out";
                return Err(("unit", what.into()));
            }
        }
        Ok((self.scripts.is_some() || self.unit.is_some()).then_some(service))
    }
}

impl From<&RawVip> for VipConfig {
    fn from(vip: &RawVip) -> Self {
        Self {
            address: vip.address,
            prefix: vip.prefix.unwrap_or(if vip.address.is_ipv4() { 32 } else { 128 }),
            interface: vip.interface.clone(),
            label: vip.label.clone(),
            source: match vip.source {
                RawSource::Alias => VipSource::Alias,
                RawSource::Preferred => VipSource::Preferred,
            },
        }
    }
}

fn host_name(node: u8) -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => format!("node{node}"),
        name => name.into(),
    }
}

const fn yes() -> bool {
    true
}

/// Fields of [`RawConfig`] that are written for each module; the others are the node's.
const OF_A_MODULE: [&str; 2] = ["default_prim", "alone_after"];
/// A folder is named after it, and a group, and a socket, whose paths have 108 bytes.
const NAME_MAX: usize = 32;
/// The longest host name of Linux: one that is longer fits into no line of a status.
const NODE_NAME_MAX: usize = 64;
/// A few lines must fit.
/// `nicestoptimeout` and its like (DOMAIN.md section 1).
const SCRIPT_MAX: Duration = Duration::from_mins(5);
/// `maxloop` and `loop_interval` (DOMAIN.md section 1).
const MAXLOOP: u8 = 3;
const LOOP_INTERVAL: Duration = Duration::from_hours(24);
const GRACE: Duration = Duration::from_secs(3);
const GRACE_MIN: Duration = Duration::from_millis(1);
const GRACE_MAX: Duration = Duration::from_hours(1);
