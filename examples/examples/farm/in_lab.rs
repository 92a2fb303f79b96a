//! The farm in the kernel: servers are network namespaces on a switch, each with the real daemon,
//! its filter and a web server; `wrk` is the load.

use std::fmt::Write as _;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ha_core::control::protocol::{Reply, Request};
use ha_core::control::{Client, FarmStatus, FarmVerb};
use ha_lab::{Bridge, Host, Lab, Process, within};
use rustix::process::{Pid, Signal, kill_process};

use crate::stage::{SERVERS, Server, Stage, Tally};
use crate::web::{Counts, Web};

/// Namespaces in place of servers.
#[derive(Debug)]
pub(crate) struct InLab {
    /// The load; taken away at the end.
    load: Option<Load>,
    /// What came of those before.
    past: Past,
    client: Host,
    /// How many connections it has.
    clients: u16,
    daemons: [Option<Process>; SERVERS],
    webs: [Option<Web>; SERVERS],
    counts: [Arc<Counts>; SERVERS],
    hosts: [Host; SERVERS],
    network: Bridge,
    /// Last: it goes when nothing of it is used any more.
    lab: Lab,
}

/// A load generator: another one as soon as other errors are to be expected, for it tells them
/// when it ends.
#[derive(Debug)]
struct Load {
    wrk: Process,
    /// Who is dead for a part of its time.
    dead: Option<usize>,
    /// What the servers had counted when it began.
    began: [u64; SERVERS],
}

/// What loads that have ended saw.
#[derive(Debug, Default)]
struct Past {
    broken: [u64; SERVERS],
    unopened: u64,
    said: Vec<String>,
}

impl InLab {
    /// Whether the load generator is there; what to do if it is not.
    pub(crate) fn check() -> Result<(), String> {
        match Command::new("wrk").arg("-v").output() {
            Ok(_) => Ok(()),
            Err(_) => Err("no wrk, which is the load: apt-get install wrk".into()),
        }
    }

    /// Starts servers and clients.
    pub(crate) fn start(clients: u16) -> io::Result<Self> {
        let mut lab = Lab::new("farm")?;
        let network = lab.bridge()?;
        let mut host = |at: usize| lab.host(&format!("server{at}"), &[&network]);
        let hosts = [host(0)?, host(1)?, host(2)?];
        let client = lab.host("client", &[&network])?;
        let mut stage = Self {
            load: None,
            past: Past::default(),
            client,
            clients,
            daemons: [const { None }; SERVERS],
            webs: [const { None }; SERVERS],
            counts: std::array::from_fn(|_| Arc::default()),
            hosts,
            network,
            lab,
        };
        for server in 0..SERVERS {
            Stage::start(&mut stage, server)?;
        }
        let shared = |stage: &Self| stage.servers().iter().all(|server| server.full);
        if !within(PATIENCE, || shared(&stage)) {
            let said: Vec<String> = stage.daemons.iter().flatten().map(Process::output).collect();
            return Err(io::Error::other(format!("no farm came about: {}", said.join("\n"))));
        }
        stage.ask_all_the_time(None)?;
        Ok(stage)
    }

    fn ask_all_the_time(&mut self, dead: Option<usize>) -> io::Result<()> {
        let (url, clients) = (format!("http://{}/", self.vip()), self.clients.to_string());
        let wrk = self
            .client
            .spawn("wrk", |it| it.args(["-t", "1", "-d", "1h", "-c", &clients, &url]))?;
        self.load = Some(Load { wrk, dead, began: self.counted() });
        Ok(())
    }

    /// Connections that broke, as the servers have counted so far.
    fn counted(&self) -> [u64; SERVERS] {
        std::array::from_fn(|at| self.counts[at].broken.load(Ordering::Relaxed))
    }

    /// Lets the load come to its end, and takes what it tells. Only of a dead server may anything
    /// have failed.
    fn rest(&mut self) {
        let counted = self.counted();
        let Some(Load { wrk, dead, began }) = self.load.take() else { return };
        let pid = i32::try_from(wrk.pid()).ok().and_then(Pid::from_raw);
        let told = pid.map(|pid| kill_process(pid, Signal::INT));
        if told != Some(Ok(())) || !wrk.wait_for("Transfer/sec", PATIENCE) {
            eprintln!("farm: wrk says nothing: {}", wrk.output());
        }
        let said = wrk.output();
        let past = &mut self.past;
        past.unopened += count(&said, &["connect ", "timeout ", "responses: "]);
        let mut known = 0;
        for (at, broken) in past.broken.iter_mut().enumerate() {
            *broken += counted[at] - began[at];
            known += counted[at] - began[at];
        }
        // What nobody counted whose end it was: until the lease of a dead server is over, its kernel
        // refuses those who come.
        let refused = count(&said, &["read ", "write "]).saturating_sub(known);
        *dead.map_or(&mut past.unopened, |dead| &mut past.broken[dead]) += refused;
        past.said.push(said);
        // How the connections of a load end is no part of the story.
        if !within(PATIENCE, || self.webs.iter().flatten().all(Web::is_idle)) {
            eprintln!("farm: connections of wrk stay open");
        }
    }

    fn vip(&self) -> Ipv4Addr {
        self.network.v4(100)
    }

    fn folder(&self, server: usize) -> PathBuf {
        self.lab.folder().join(self.hosts[server].name())
    }

    /// All servers share one kernel, where this names the filter.
    fn module(&self, server: usize) -> String {
        format!("{}-{}", self.lab.name(), self.hosts[server].name())
    }

    fn configuration(&self, server: usize) -> String {
        let folder = self.folder(server);
        let (module, folder) = (self.module(server), folder.display());
        let mut text = format!(
            "cluster = \"{}\"\nmodule = \"{module}\"\nnode = {server}\ninterface = \"eth0\"\n\
             links = [{{ name = \"clients\", interface = \"eth0\" }}]\ninsecure = true\n\
             interval = \"200ms\"\ndrain = \"3s\"\n\
             state = \"{folder}/state\"\nrun = \"{folder}/run\"\nlog = \"{folder}/log\"\n",
            self.lab.name(),
        );
        for (id, host) in self.hosts.iter().enumerate() {
            let (name, at) = (host.name(), host.v4(&self.network));
            let member = format!("id = {id}\nname = \"{name}\"\naddresses = [\"{at}:7500\"]");
            write!(text, "\n[[member]]\n{member}\n").expect("a text takes all");
        }
        let service = format!("vip = \"{}\"\nport = 80\non = \"on_addr_port\"", self.vip());
        write!(text, "\n[[service]]\nname = \"web\"\n{service}\n").expect("a text takes all");
        text
    }

    fn ask(&self, server: usize, request: &Request) -> Option<Reply> {
        let socket = self.folder(server).join("run/control.sock");
        Client::ask(&socket, request).ok()?.next(Some(PATIENCE)).ok()?
    }

    fn server(&self, server: usize) -> Server {
        if self.daemons[server].is_none() {
            return Server { says: "dead".into(), ..Server::default() };
        }
        let asked = self.ask(server, &Request::Status { module: None, watch: false });
        let Some(Reply::Farms(farms)) = asked else {
            return Server { up: true, says: "starts".into(), ..Server::default() };
        };
        farms.first().map(seen).unwrap_or_default()
    }
}

impl Stage for InLab {
    fn what(&self) -> String {
        "in the kernel: network namespaces on a switch, each with the daemon, its filter and a web \
         server; wrk asks all the time"
            .into()
    }

    fn kill(&mut self, server: usize) {
        self.rest();
        if let Err(error) = self.ask_all_the_time(Some(server)) {
            eprintln!("farm: nobody asks: {error}");
        }
        let answers = || self.counts[server].served.load(Ordering::Relaxed);
        let before = answers();
        if !within(PATIENCE, || answers() > before) {
            eprintln!("farm: server{server} serves nobody");
        }
        if let Some(daemon) = self.daemons[server].take() {
            // One that has ended has said why.
            let _ = daemon.kill();
        }
        self.webs[server] = None;
    }

    fn start(&mut self, server: usize) -> io::Result<()> {
        let (host, folder) = (&self.hosts[server], self.folder(server));
        std::fs::create_dir_all(&folder)?;
        let file = folder.join("farm.toml");
        std::fs::write(&file, self.configuration(server))?;
        let web = Web::start(host, host.name(), &self.counts[server])?;
        let this = std::env::current_exe()?;
        let daemon = host.spawn(this, |it| it.arg("--daemon").arg(&file))?;
        (self.webs[server], self.daemons[server]) = (Some(web), Some(daemon));
        if self.load.as_ref().is_some_and(|load| load.dead == Some(server)) {
            self.rest();
            self.ask_all_the_time(None)?;
        }
        Ok(())
    }

    fn drain(&mut self, server: usize, on: bool) {
        let node = self.hosts[server].name().into();
        let verb = FarmVerb::Drain { node, on };
        let order = Request::FarmOrder { module: None, verb, force: false, wait_ms: 10_000 };
        match self.ask(server, &order) {
            Some(Reply::Said(_)) => {}
            other => eprintln!("farm: server{server} is not drained: {other:?}"),
        }
    }

    fn servers(&self) -> [Server; SERVERS] {
        std::array::from_fn(|server| self.server(server))
    }

    fn tally(&self) -> Tally {
        let (now, began) = (self.counted(), self.load.as_ref().map(|load| load.began));
        Tally {
            served: std::array::from_fn(|at| self.counts[at].served.load(Ordering::Relaxed)),
            broken: std::array::from_fn(|at| {
                self.past.broken[at] + began.map_or(0, |began| now[at] - began[at])
            }),
            unopened: self.past.unopened,
            twice: 0,
        }
    }

    fn end(&mut self) -> Tally {
        self.rest();
        self.tally()
    }

    fn closing(&self) -> Vec<String> {
        let told = |line: &&str| line.contains("requests in") || line.contains("Socket errors");
        let lines = self.past.said.iter().flat_map(|said| said.lines()).filter(told);
        lines.map(|line| format!("wrk: {}", line.trim())).collect()
    }
}

impl Drop for InLab {
    /// The filters are pinned, and would outlive the namespaces.
    fn drop(&mut self) {
        for server in 0..SERVERS {
            self.daemons[server] = None;
            let pins = Path::new("/sys/fs/bpf/ha-node").join(self.module(server));
            // It is not there after an orderly end.
            let _ = std::fs::remove_dir_all(pins);
        }
    }
}

/// What a server says of itself.
fn seen(farm: &FarmStatus) -> Server {
    let me = farm.members.iter().find(|member| member.name == farm.node);
    let buckets = me.and_then(|me| me.buckets.first()).copied().unwrap_or(0) as usize;
    let takes = farm.role == ha_core::proto::Role::Up;
    let says = match (&farm.why, farm.drained) {
        (Some(why), _) if !takes => why.clone(),
        (_, true) => "drains".into(),
        (_, false) => String::new(),
    };
    Server { up: true, says, buckets: if takes { buckets } else { 0 }, full: takes && farm.full }
}

/// Failures of these kinds, as in `Socket errors: connect 0, read 16, write 0, timeout 0`.
fn count(said: &str, kinds: &[&str]) -> u64 {
    let told = said.lines().filter(|it| it.contains("Socket errors") || it.contains("Non-2xx"));
    let number = |line: &str, kind: &str| {
        let (_, rest) = line.split_once(kind)?;
        rest.trim().split([',', ' ']).next()?.parse::<u64>().ok()
    };
    told.flat_map(|line| kinds.iter().filter_map(move |kind| number(line, kind))).sum()
}

/// A machine that is busy is slower.
const PATIENCE: Duration = Duration::from_secs(20);
