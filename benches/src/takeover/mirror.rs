//! `mirror-node`, as an administrator sets it up: one module with a service of scripts.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ha_lab::{Node, PairFile, Process, built, key, within};

use super::ground::Ground;
use super::pair::Pair;
use super::setting::Setting;

/// Who decides when the nodes have lost each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vote {
    /// Nobody.
    None,
    /// Whoever reaches an address outside.
    Ping,
    /// A witness.
    Arbiter,
}

/// The programs under test, built as this bench is.
#[derive(Clone, Debug)]
pub struct Programs {
    mirror: PathBuf,
    witness: PathBuf,
    ha: PathBuf,
}

/// A `mirror-node` on each server, and what its vote needs.
#[derive(Debug)]
pub struct Mirror {
    daemons: [Process; 2],
    events: PathBuf,
    ha: PathBuf,
    nodes: [Node; 2],
    _witness: Option<Process>,
}

/// The durations of a pair, from which its bounds follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durations {
    /// L.
    pub lease: Duration,
    /// R.
    pub round_trip: Duration,
    /// S.
    pub stop: Duration,
    /// How long an address outside may take to answer.
    pub probe: Duration,
}

impl Vote {
    /// All that need no operator.
    pub const ALL: [Self; 3] = [Self::None, Self::Ping, Self::Arbiter];
}

impl fmt::Display for Vote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Ping => "ping",
            Self::Arbiter => "arbiter",
        })
    }
}

impl Programs {
    /// Builds them.
    ///
    /// # Errors
    /// Cargo's.
    pub fn build() -> io::Result<Self> {
        // The guardian is looked for beside the daemon.
        built("ha-node", "ha-guardian")?;
        let (mirror, witness) =
            (built("ha-node", "mirror-node")?, built("ha-node", "witness-node")?);
        Ok(Self { mirror, witness, ha: built("ha-node", "ha")? })
    }
}

impl Durations {
    /// What goes with a detection: about the ratios of the named profiles, and what R5 needs.
    pub fn of(setting: Setting) -> Self {
        let [lease, round_trip, stop, probe] = match setting.heartbeat().as_millis() {
            ..=10 => [300, 30, 50, 30],
            11..=100 => [1_000, 100, 200, 100],
            _ => [4_000, 300, 500, 300],
        };
        let [lease, round_trip, stop, probe] =
            [lease, round_trip, stop, probe].map(Duration::from_millis);
        Self { lease, round_trip, stop, probe }
    }

    /// R10: the kernel counts whole seconds.
    pub fn lifetime(self) -> Duration {
        Duration::from_secs(self.lease.as_millis().div_ceil(1_000) as u64)
    }

    /// G3, but for the two round trips to the witness and the start: max(D, L(1 + 2 rho)).
    pub fn takeover(self, setting: Setting) -> Duration {
        setting.timeout().max(self.lease + self.lease / 500)
    }
}

impl Mirror {
    /// Starts both with one module and `more` of one address each, every one with a service of a
    /// process, and returns when the first is primary and the second could take over, in all of them.
    ///
    /// # Errors
    /// They do not become what they should: the message has their logs.
    pub fn start(
        ground: &Ground,
        programs: &Programs,
        setting: Setting,
        vote: Vote,
        more: u8,
    ) -> io::Result<Self> {
        let witness = match vote {
            Vote::Arbiter => Some(witness(ground, &programs.witness)?),
            Vote::None | Vote::Ping => None,
        };
        let node = |host| Node::new(&ground.lab, host, &programs.mirror);
        let nodes = [node(&ground.a)?, node(&ground.b)?];
        let networks = [&ground.network];
        let pair =
            PairFile { hosts: [&ground.a, &ground.b], networks: &networks, lab: &ground.lab };
        for node in &nodes {
            let mut modules = module(ground, node, &service(node, MODULE)?);
            for id in 1..=more {
                modules += &other(ground, node, id)?;
            }
            let text = pair.text(node, &shared(ground, setting, vote), &modules)?;
            node.configure(&text)?;
        }
        let daemons = [nodes[0].start()?, nodes[1].start()?];
        let group = format!("ha-{}-0-{MODULE}/prim/cgroup.events", ground.lab.name());
        let events = nodes[0].group().join(group);
        let ha = programs.ha.clone();
        let mirror = Self { daemons, events, ha, nodes, _witness: witness };
        mirror.until_whole(1 + usize::from(more))?;
        Ok(mirror)
    }

    /// The two daemons.
    pub fn daemons(&self) -> &[Process; 2] {
        &self.daemons
    }

    /// The guardians of the services of one of the two nodes.
    ///
    /// # Errors
    /// The list of processes cannot be read.
    pub fn guardians(&self, node: usize) -> io::Result<Vec<u32>> {
        let folder = self.nodes[node].folder().display().to_string();
        let mut guardians = Vec::new();
        for process in fs::read_dir("/proc")? {
            let process = process?;
            // A process may have ended meanwhile.
            let line = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
            let mut words = line.split('\0');
            let program = words.next().is_some_and(|word| word.ends_with("/ha-guardian"));
            if program && words.next().is_some_and(|socket| socket.starts_with(&folder)) {
                guardians
                    .extend(process.file_name().to_str().and_then(|pid| pid.parse::<u32>().ok()));
            }
        }
        Ok(guardians)
    }

    /// How often a node lost its peer, and how often one began to serve, since they were started.
    pub fn losses(&self) -> (usize, usize) {
        let count = |what| self.daemons.iter().map(|it| it.output().matches(what).count()).sum();
        (count("PeerDown("), count("Serving("))
    }

    fn until_whole(&self, modules: usize) -> io::Result<()> {
        for (daemon, role) in self.daemons.iter().zip(["Prim", "Second"]) {
            let ready = format!("to: {role}, ready: true");
            if !within(START_MAX, || daemon.output().matches(&ready).count() >= modules) {
                return Err(io::Error::other(format!("not {role}: {}", daemon.output())));
            }
        }
        Ok(())
    }
}

impl Pair for Mirror {
    fn kill(&self) -> io::Result<()> {
        self.daemons[0].kill()
    }

    fn stop(&self) -> io::Result<()> {
        self.daemons[0].stop()
    }

    fn swap(&self) -> io::Result<()> {
        let mut said = Vec::new();
        // A witness that has just started gives nothing away for a lease.
        let accepted = within(START_MAX, || {
            let mut ha = Command::new(&self.ha);
            ha.arg("--socket").arg(self.nodes[0].folder().join("run/control.sock"));
            let ordered = ha.args(["swap", "--yes"]).stdin(Stdio::null()).output();
            ordered.is_ok_and(|ordered| {
                said = ordered.stderr;
                ordered.status.success()
            })
        });
        if accepted {
            return Ok(());
        }
        Err(io::Error::other(format!("ha swap: {}", String::from_utf8_lossy(&said))))
    }

    fn is_fenced(&self) -> Option<bool> {
        let events = fs::read_to_string(&self.events).unwrap_or_default();
        Some(events.contains("frozen 1") || events.contains("populated 0"))
    }
}

const MODULE: &str = "web";

/// Of the witness, UDP.
const WITNESS_PORT: u16 = 7402;

/// How long a pair may take to be whole: seconds of the slowest setting on a loaded machine.
const START_MAX: Duration = Duration::from_secs(30);

fn shared(ground: &Ground, setting: Setting, vote: Vote) -> String {
    let at = ground.outside.v4(&ground.network);
    let durations = Durations::of(setting);
    let vote = match vote {
        Vote::None => "vote = \"none\"\n".to_owned(),
        Vote::Ping => {
            let probe = durations.probe.as_micros();
            format!("vote = \"ping\"\nping = [\"{at}\"]\nprobe = \"{probe}us\"\n")
        }
        Vote::Arbiter => format!("witness = \"{at}:{WITNESS_PORT}\"\n"),
    };
    let times = [
        ("heartbeat", setting.heartbeat()),
        ("timeout", setting.timeout()),
        ("lease", durations.lease),
        ("round_trip", durations.round_trip),
        ("stop", durations.stop),
    ];
    let lines = times.map(|(name, time)| format!("{name} = \"{}us\"\n", time.as_micros()));
    vote + &lines.concat()
}

/// The scripts of a process that is frozen and killed when its daemon does not do it.
fn service(node: &Node, module: &str) -> io::Result<PathBuf> {
    let start = "setsid sleep 86400 > /dev/null 2>&1 & echo $! > pid";
    node.script(module, "start_prim", start)?;
    node.script(module, "stop_prim", "kill $(cat pid)")
}

fn module(ground: &Ground, node: &Node, scripts: &Path) -> String {
    let vip = |address| format!("{{ address = \"{address}\", interface = \"eth0\" }}");
    let (vips, scripts) = (ground.addresses().map(vip).join(", "), scripts.display());
    let first = node.host().name() == ground.a.name();
    format!(
        "[[module]]\nname = \"{MODULE}\"\nid = 0\nbootstrap = {first}\nscripts = \"{scripts}\"\n\
         vips = [{vips}]\n"
    )
}

fn other(ground: &Ground, node: &Node, id: u8) -> io::Result<String> {
    let address = ground.network.v4(OTHERS + id);
    let first = node.host().name() == ground.a.name();
    let (name, scripts) = (format!("m{id}"), service(node, &format!("m{id}"))?);
    Ok(format!(
        "[[module]]\nname = \"{name}\"\nid = {id}\nbootstrap = {first}\n\
         scripts = \"{}\"\nvips = [{{ address = \"{address}\", interface = \"eth0\" }}]\n",
        scripts.display()
    ))
}

/// The addresses of further modules come behind this one.
const OTHERS: u8 = 120;

fn witness(ground: &Ground, program: &Path) -> io::Result<Process> {
    let at = ground.outside.v4(&ground.network);
    let (folder, file) = (ground.lab.folder().join("witness"), ground.lab.folder().join("w.toml"));
    let key = key(&ground.lab)?;
    let text = format!(
        "listen = \"{at}:{WITNESS_PORT}\"\nfolder = \"{}\"\nkey_file = \"{}\"\n",
        folder.display(),
        key.display()
    );
    fs::write(&file, text)?;
    let witness = ground.outside.spawn(program, |it| it.arg("--config").arg(&file))?;
    if witness.wait_for("answers", START_MAX) {
        return Ok(witness);
    }
    Err(io::Error::other(format!("no witness: {}", witness.output())))
}
