//! A pair with a service, a client and a third place, for all tests here.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use ha_lab::{Bridge, Cut, Host, Lab, Mac, Node, PairFile, Prober, Process};
use ha_lab::{installed_or_skip, program, within};

use crate::{PACE, SOON};

/// Who decides when the nodes have lost each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vote {
    None,
    Ping,
    Arbiter,
    /// An arbiter whose register a real etcd keeps.
    Etcd,
}

/// Found within half a second, and with room for what a loaded machine does to a process that
/// should run every 50 ms.
pub(crate) const PROMPT: &str = "heartbeat = \"50ms\"\ntimeout = \"500ms\"\nlease = \"1500ms\"\n\
    round_trip = \"150ms\"\nstop = \"250ms\"\n";

/// The first number that a lab leaves free.
const VIP: u8 = 100;

/// Of the service.
pub(crate) const PORT: u16 = 7000;

/// The name of the one module that most tests have.
pub(crate) const MODULE: &str = "web";

/// Two servers `a` and `b` with a node each, a client, and the host `w` for the witness, or for the
/// address outside. `networks` of them all; the client's is the first.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) networks: Vec<Bridge>,
    /// Those that beats and records go by; all unless a test says otherwise.
    pub(crate) beats: Range<usize>,
    pub(crate) hosts: [Host; 2],
    pub(crate) client: Host,
    pub(crate) outside: Host,
    pub(crate) witness: Option<Process>,
    pub(crate) daemons: [Option<Process>; 2],
    pub(crate) nodes: [Node; 2],
    pub(crate) vote: Vote,
    /// `source` of both addresses, if it is written.
    pub(crate) source: Option<&'static str>,
    /// Whether the nodes ask the witness from their own addresses, whatever the routes say.
    pub(crate) own_asks: bool,
    /// What daemons and witness find in their environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Last: it goes when nothing of it is used any more.
    pub(crate) lab: Lab,
}

impl Rig {
    /// Hosts, and the witness where the vote has one; no node is configured. `None`, said aloud,
    /// where there can be no lab. The test's name is part of paths: keep it short.
    pub(crate) fn new(test: &str, vote: Vote, networks: usize) -> Option<Self> {
        let mut lab = Lab::root_or_skip(test)?;
        let networks: Vec<Bridge> = (0..networks).map(|_| lab.bridge().unwrap()).collect();
        let all: Vec<&Bridge> = networks.iter().collect();
        let hosts = ["a", "b"].map(|name| lab.host(name, &all).unwrap());
        let client = lab.host("client", &all[..1]).unwrap();
        let outside = lab.host("w", &all).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_mirror-node"));
        let nodes = hosts.each_ref().map(|host| Node::new(&lab, host, program).unwrap());
        let (witness, daemons) = (None, [None, None]);
        let beats = 0..networks.len();
        let source = None;
        let mut rig = Self {
            networks,
            beats,
            hosts,
            client,
            outside,
            witness,
            daemons,
            nodes,
            vote,
            source,
            own_asks: false,
            environment: Vec::new(),
            lab,
        };
        match vote {
            Vote::Arbiter => rig.start_witness(),
            Vote::Etcd if !installed_or_skip(&["etcd"]) => return None,
            Vote::Etcd => rig.start_etcd(),
            Vote::None | Vote::Ping => {}
        }
        Some(rig)
    }

    /// Likewise with both nodes at work, `a` primary and `b` ready to take over.
    pub(crate) fn whole(test: &str, vote: Vote, networks: usize) -> Option<Self> {
        let mut rig = Self::new(test, vote, networks)?;
        rig.configure("", "");
        for node in [0, 1] {
            rig.start(node);
        }
        rig.until_whole(0);
        Some(rig)
    }

    /// Writes both files: [`PROMPT`] and the lines of `shared` for the node, those of `module` for
    /// its one module, whose service is the echo service.
    pub(crate) fn configure(&self, shared: &str, module: &str) {
        for (me, node) in self.nodes.iter().enumerate() {
            serve(node, MODULE, &self.targets());
            let vips = self.vips();
            let scripts = node.scripts(MODULE).display().to_string();
            let module = format!(
                "[[module]]\nname = \"{MODULE}\"\nid = 0\nbootstrap = {}\n\
                 scripts = \"{scripts}\"\nvips = [{vips}]\n{module}\n",
                me == 0
            );
            self.write(me, &format!("{PROMPT}{shared}"), &module);
        }
    }

    /// Writes one file.
    pub(crate) fn write(&self, node: usize, shared: &str, modules: &str) {
        let networks: Vec<&Bridge> = self.networks[self.beats.clone()].iter().collect();
        let hosts = self.hosts.each_ref();
        let pair = PairFile { hosts, networks: &networks, lab: &self.lab };
        let vote = self.vote_lines(node);
        let text = pair.text(&self.nodes[node], &format!("{vote}{shared}"), modules).unwrap();
        self.nodes[node].configure(&text).unwrap();
    }

    fn vote_lines(&self, node: usize) -> String {
        // By the last network, which is not the client's where there are two.
        let last = self.networks.last().unwrap();
        let (at, own) = (self.outside.v4(last), self.hosts[node].v4(last));
        let from =
            if self.own_asks { format!("witness_from = \"{own}\"\n") } else { String::new() };
        match self.vote {
            Vote::None => "vote = \"none\"\n".to_owned(),
            Vote::Ping => format!("vote = \"ping\"\nping = [\"{at}\"]\nprobe = \"200ms\"\n"),
            Vote::Arbiter => format!("witness = \"{at}:{WITNESS_PORT}\"\n{from}"),
            Vote::Etcd => format!("etcd = [\"http://{at}:{ETCD_PORT}\"]\n{from}"),
        }
    }

    pub(crate) fn start(&mut self, node: usize) {
        self.nodes[node].set_environment(&self.environment);
        self.daemons[node] = Some(self.nodes[node].start().unwrap());
    }

    pub(crate) fn start_witness(&mut self) {
        let at = self.outside.v4(self.networks.last().unwrap());
        let folder = self.lab.folder().join("witness");
        let key = ha_lab::key(&self.lab).unwrap();
        let (folder, key) = (folder.display(), key.display());
        let text = format!(
            "listen = \"{at}:{WITNESS_PORT}\"\nfolder = \"{folder}\"\nkey_file = \"{key}\"\n"
        );
        let file = self.lab.folder().join("witness.toml");
        fs::write(&file, text).unwrap();
        let program = env!("CARGO_BIN_EXE_witness-node");
        let environment = self.environment.clone();
        let witness =
            self.outside.spawn(program, |it| it.envs(environment).arg("--config").arg(&file));
        let witness = witness.unwrap();
        assert!(witness.wait_for("answers", SOON), "{}", witness.output());
        self.witness = Some(witness);
    }

    /// In the witness's place, a cluster of one member.
    fn start_etcd(&mut self) {
        let at = self.outside.v4(self.networks.last().unwrap());
        let folder = self.lab.folder().join("etcd");
        let url = format!("http://{at}:{ETCD_PORT}");
        let etcd = self.outside.spawn("etcd", |it| {
            it.arg("--data-dir").arg(&folder).args(["--listen-client-urls", &url]);
            it.args(["--advertise-client-urls", &url, "--logger", "zap"])
        });
        let etcd = etcd.unwrap();
        assert!(etcd.wait_for("serving client traffic", SOON), "{}", etcd.output());
        self.witness = Some(etcd);
    }

    pub(crate) fn daemon(&self, node: usize) -> &Process {
        self.daemons[node].as_ref().expect("it was started")
    }

    /// What a node announced last, `Prim ready`, as its log has it.
    pub(crate) fn role(&self, node: usize) -> String {
        last_role(&self.daemon(node).output())
    }

    /// Waits until a node's role is one of these.
    pub(crate) fn until_role(&self, node: usize, roles: &[&str]) {
        let reached = within(SOON, || roles.contains(&&*self.role(node)));
        assert!(reached, "{} is {}, not {roles:?}", self.hosts[node].name(), self.role(node));
    }

    /// Waits until one node is primary and the other could take over.
    pub(crate) fn until_whole(&self, primary: usize) {
        self.until_role(primary, &["Prim ready"]);
        self.until_role(1 - primary, &["Second ready"]);
        self.until_holds(primary);
    }

    /// Waits until a node has all virtual addresses, and the other none.
    pub(crate) fn until_holds(&self, node: usize) {
        for (host, all) in [(node, true), (1 - node, false)] {
            assert!(within(SOON, || self.holds(host, all)), "{}", self.addresses_shown(host));
        }
    }

    /// Whether a node has all virtual addresses, or none.
    pub(crate) fn holds(&self, node: usize, all: bool) -> bool {
        self.addresses().iter().all(|address| self.hosts[node].holds(*address).unwrap() == all)
    }

    fn addresses_shown(&self, node: usize) -> String {
        told(self.hosts[node].command("ip").args(["-br", "address"]))
    }

    /// The virtual addresses: one of IPv4, one of IPv6.
    pub(crate) fn addresses(&self) -> [IpAddr; 2] {
        let network = &self.networks[0];
        [network.v4(VIP).into(), network.v6(VIP).into()]
    }

    /// Where clients ask.
    pub(crate) fn targets(&self) -> [SocketAddr; 2] {
        self.addresses().map(|address| (address, PORT).into())
    }

    fn vips(&self) -> String {
        let more = self.source.map_or(String::new(), |source| format!(", source = \"{source}\""));
        let vip = |address| format!("{{ address = \"{address}\", interface = \"eth0\"{more} }}");
        self.addresses().map(vip).join(", ")
    }

    /// A client of each address that asks all the time.
    pub(crate) fn probers(&self) -> [Prober; 2] {
        self.targets().map(|target| Prober::start(&self.client, target, PACE).unwrap())
    }

    /// The cables of a node at every switch.
    pub(crate) fn cables(&self, node: usize) -> Vec<Cut> {
        let cut = |network| Cut::of(&self.hosts[node], network);
        self.networks.iter().map(cut).collect()
    }

    /// What the two nodes say to each other at every switch.
    pub(crate) fn between(&self) -> Vec<Cut> {
        let [a, b] = &self.hosts;
        self.networks.iter().map(|network| Cut::between(a, b, network)).collect()
    }

    pub(crate) fn mac(&self, node: usize) -> Mac {
        self.hosts[node].mac(&self.networks[0]).unwrap()
    }

    /// What the kernel tells of the group of a node's service.
    pub(crate) fn events(&self, node: usize) -> String {
        fs::read_to_string(self.service(node).join("cgroup.events")).unwrap_or_default()
    }

    /// The group of a node's service.
    pub(crate) fn service(&self, node: usize) -> PathBuf {
        let found = fs::read_dir(self.nodes[node].group()).unwrap().flatten();
        let name = format!("-{node}-{MODULE}");
        let own =
            found.map(|entry| entry.path()).filter(|it| it.to_string_lossy().ends_with(&name));
        own.max().expect("the module has a group").join("prim")
    }

    /// Changes a node's file; what is to be changed must be in it.
    pub(crate) fn replace(&self, node: usize, changes: &[(&str, &str)]) {
        let mut text = fs::read_to_string(self.nodes[node].file()).unwrap();
        for (from, to) in changes {
            assert!(text.contains(from), "{from:?} is not in {text}");
            text = text.replacen(from, to, 1);
        }
        self.nodes[node].configure(&text).unwrap();
    }

    /// What a node's scripts wrote.
    pub(crate) fn wrote(&self, node: usize, file: &str) -> String {
        self.nodes[node].wrote(MODULE, file)
    }
}

/// Scripts that start and stop the echo service, and note what they were called for.
pub(crate) fn serve(node: &Node, module: &str, targets: &[SocketAddr]) {
    let (echo, name) = (program("ha-lab-echo").unwrap(), node.host().name());
    let binds: Vec<String> = targets.iter().map(|target| format!("--bind {target}")).collect();
    let start = format!(
        "echo \"start $4\" >> calls\n\
         setsid '{}' --name {name} {} < /dev/null > /dev/null 2>&1 &\n\
         echo $! > pid",
        echo.display(),
        binds.join(" ")
    );
    let scripts = [
        ("prestart", "rm -f pid"),
        ("start_prim", &start),
        ("stop_prim", "echo \"stop $4\" >> calls\n[ -s pid ] && kill $(cat pid)\nrm -f pid"),
        ("transition", "echo \"$1 $2 $4\" >> roles"),
    ];
    for (name, text) in scripts {
        node.script(module, name, text).unwrap();
    }
}

/// Keeps what a host's kernel says by itself from its networks, which one of IPv4 has none of.
pub(crate) fn mute(host: &Host) {
    let rules = "table ip6 mute { chain output { type filter hook output priority 0; \
        icmpv6 type { mld2-listener-report, nd-router-solicit } drop; }; }";
    told(host.command("nft").arg(rules));
}

/// Waits until each prober hears from a node.
pub(crate) fn until_answers(probers: &[Prober], name: &str) {
    for prober in probers {
        assert!(prober.wait_for(name, SOON), "not {name}: {:?}", prober.last());
    }
}

/// Ends these; nobody answered one of them while another node was the one that is entitled.
pub(crate) fn no_strays(probers: [Prober; 2]) {
    for report in probers.map(|prober| prober.finish().unwrap()) {
        let strays = report.strays(&report.turns(&["a", "b"]));
        assert!(strays.is_empty(), "{strays:?}");
    }
}

/// However the module is doing: `ha status` says that by its exit code, too.
pub(crate) fn status(rig: &Rig, node: usize) -> String {
    let output = ha(rig, node).arg("status").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// `ha` at a node's socket.
pub(crate) fn ha(rig: &Rig, node: usize) -> Command {
    let file = fs::read_to_string(rig.nodes[node].file()).unwrap();
    let run = file.lines().find_map(|line| line.strip_prefix("run = ")).expect("it has a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ha"));
    command.arg("--socket").arg(format!("{}/control.sock", run.trim_matches('"')));
    command
}

/// What a tool that does its work prints.
pub(crate) fn told(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Of the witness, UDP.
pub(crate) const WITNESS_PORT: u16 = 7402;

/// Where clients of the etcd are answered.
pub(crate) const ETCD_PORT: u16 = 2379;

/// The last line of a log that tells of a role: `Prim ready`, `Wait`.
fn last_role(log: &str) -> String {
    let words = log.rsplit_once(" to: ").map_or("", |(_, rest)| rest);
    let (role, rest) = words.split_once(", ready: ").unwrap_or_default();
    if rest.starts_with("true") { format!("{role} ready") } else { role.to_owned() }
}
