//! Where everything is: addresses that no other run uses, the cables between them, and files.

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ha_node::relay::{CableId, Network, Passing, Relay};

use crate::{Show, Vote};

/// One run's addresses, files and network.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Where all is written.
    pub folder: PathBuf,
    /// Where the ledger is, whoever serves it.
    pub vip: SocketAddr,
    /// Where the arbiter listens; none without one.
    pub arbiter: Option<SocketAddr>,
    /// The two nodes' configuration files.
    pub configs: [PathBuf; 2],
    relay: Relay,
    between: Vec<CableId>,
    /// From each node to the arbiter.
    witness: Vec<CableId>,
}

impl Plan {
    /// Lays the cables and writes the configuration of both nodes.
    ///
    /// # Errors
    /// Those of sockets and files.
    pub(crate) fn new(show: &Show, folder: PathBuf) -> io::Result<Self> {
        let draw = random();
        let [high, low] = [draw as u8, (draw >> 8) as u8].map(|byte| byte % 254 + 1);
        let host = |host: u8| IpAddr::V4(Ipv4Addr::new(127, high, low, host));
        let vip = free_tcp(host(100))?;
        let arbiter = match show.vote {
            Vote::None => None,
            Vote::Arbiter => Some(free_udp(host(3))?),
        };
        let mut cables = Cables::new([host(1), host(2)], host(9))?;
        cables.links()?;
        cables.links()?;
        cables.streams()?;
        if let Some(arbiter) = arbiter {
            cables.witness(arbiter)?;
        }
        let configs = [folder.join("a.toml"), folder.join("b.toml")];
        for (at, path) in configs.iter().enumerate() {
            let Settings { fields, tables } = &cables.settings[at];
            fs::write(path, general(show, &folder, at) + fields + "\n" + tables)?;
        }
        write_key(&folder.join("key"))?;
        let Cables { network, between, witness, .. } = cables;
        Ok(Self { folder, vip, arbiter, configs, relay: network.start()?, between, witness })
    }

    /// The links between the nodes, and the replication stream.
    pub(crate) fn between(&self, passing: Passing) {
        self.between.iter().for_each(|&cable| self.relay.set(cable, passing));
    }

    /// The link from one node to the arbiter, if there is one.
    pub(crate) fn witness(&self, node: usize, passing: Passing) {
        self.witness.get(node).into_iter().for_each(|&cable| self.relay.set(cable, passing));
    }
}

/// The cables while they are laid, and what each node is told of them.
struct Cables {
    network: Network,
    nodes: [IpAddr; 2],
    relay: IpAddr,
    settings: [Settings; 2],
    between: Vec<CableId>,
    witness: Vec<CableId>,
}

/// Parts of a configuration: TOML wants fields before tables.
#[derive(Default)]
struct Settings {
    fields: String,
    tables: String,
}

impl Cables {
    fn new(nodes: [IpAddr; 2], relay: IpAddr) -> io::Result<Self> {
        let (network, settings) = (Network::new()?, <[Settings; 2]>::default());
        Ok(Self { network, nodes, relay, settings, between: Vec::new(), witness: Vec::new() })
    }

    /// One more network between the nodes.
    fn links(&mut self) -> io::Result<()> {
        let [left, right] = [free_udp(self.nodes[0])?, free_udp(self.nodes[1])?];
        let cable = self.network.datagrams(self.relay, left, right)?;
        self.between.push(cable.id);
        let sides = [(left, cable.far), (right, cable.near)];
        for (settings, (local, peer)) in self.settings.iter_mut().zip(sides) {
            settings.tables += &table("[links]", [("local", local), ("peer", peer)]);
        }
        Ok(())
    }

    /// The replication stream, whoever dials.
    fn streams(&mut self) -> io::Result<()> {
        let listen = [free_tcp(self.nodes[0])?, free_tcp(self.nodes[1])?];
        for (settings, (here, there)) in
            self.settings.iter_mut().zip([(listen[0], listen[1]), (listen[1], listen[0])])
        {
            let cable = self.network.streams(self.relay, there)?;
            self.between.push(cable.id);
            settings.tables += &table("replication", [("listen", here), ("connect", cable.dial)]);
        }
        Ok(())
    }

    fn witness(&mut self, arbiter: SocketAddr) -> io::Result<()> {
        for settings in &mut self.settings {
            let cable = self.network.questions(self.relay, arbiter)?;
            self.witness.push(cable.id);
            settings.fields = format!("witness = \"{}\"\n", cable.far);
        }
        Ok(())
    }
}

fn table(name: &str, fields: [(&str, SocketAddr); 2]) -> String {
    let [one, other] = fields.map(|(field, address)| format!("{field} = \"{address}\"\n"));
    format!("[{name}]\n{one}{other}\n")
}

/// What a node's configuration says beside its cables.
fn general(show: &Show, folder: &Path, me: usize) -> String {
    let vote = match show.vote {
        Vote::None => "none",
        Vote::Arbiter => "arbiter",
    };
    let profile = show.profile;
    let name = ["a", "b"][me];
    format!(
        "cluster = \"demonstration\"\nmodule = 1\nnode = {me}\npeer = {peer}\nvote = \"{vote}\"\n\
         profile = \"{profile}\"\nbootstrap = {bootstrap}\nfolder = {home}\nkey_file = {key}\n",
        peer = 1 - me,
        bootstrap = me == 0,
        home = quoted(&folder.join(format!("node-{name}"))),
        key = quoted(&folder.join("key")),
    )
}

/// A path as TOML writes it, whatever is in it.
fn quoted(path: &Path) -> toml::Value {
    toml::Value::String(path.display().to_string())
}

/// A number that differs from run to run.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // Seeded by the system for each process.
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

fn write_key(path: &Path) -> io::Result<()> {
    let [a, b, c, d] = [(); 4].map(|()| random());
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
    writeln!(file, "{a:016x}{b:016x}{c:016x}{d:016x}")
}

/// An address with a port that is free now; nobody else uses this run's addresses.
fn free_udp(address: IpAddr) -> io::Result<SocketAddr> {
    UdpSocket::bind((address, 0))?.local_addr()
}

fn free_tcp(address: IpAddr) -> io::Result<SocketAddr> {
    TcpListener::bind((address, 0))?.local_addr()
}
