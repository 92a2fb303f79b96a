//! Where everything is: addresses that no other run uses, the cables between them, and files.

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ha_node::relay::{CableId, Network, Passing, Relay};

use crate::{Profile, Show, Vote};

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
        let net = |host: u8| {
            let [high, low] = [draw as u8, (draw >> 8) as u8].map(|byte| byte % 254 + 1);
            IpAddr::V4(Ipv4Addr::new(127, high, low, host))
        };
        let (nodes, relay) = ([net(1), net(2)], net(9));
        let vip = free_tcp(net(100))?;
        let arbiter = match show.vote {
            Vote::None => None,
            Vote::Arbiter => Some(free_udp(net(3))?),
        };
        let mut network = Network::new()?;
        let mut files = nodes.map(|_| String::new());
        let mut between = Vec::new();
        for _ in 0..2 {
            let ends = [free_udp(nodes[0])?, free_udp(nodes[1])?];
            let cable = network.datagrams(relay, ends[0], ends[1])?;
            between.push(cable.id);
            for (file, (local, peer)) in
                files.iter_mut().zip([(ends[0], cable.far), (ends[1], cable.near)])
            {
                *file += &format!("[[links]]\nlocal = \"{local}\"\npeer = \"{peer}\"\n\n");
            }
        }
        let listen = [free_tcp(nodes[0])?, free_tcp(nodes[1])?];
        let dial = [network.streams(relay, listen[1])?, network.streams(relay, listen[0])?];
        between.extend(dial.map(|cable| cable.id));
        let (mut witness, mut heads) = (Vec::new(), [String::new(), String::new()]);
        for (at, file) in files.iter_mut().enumerate() {
            let (listen, connect) = (listen[at], dial[at].dial);
            *file += &format!("[replication]\nlisten = \"{listen}\"\nconnect = \"{connect}\"\n\n");
            let Some(arbiter) = arbiter else { continue };
            let cable = network.questions(relay, arbiter)?;
            witness.push(cable.id);
            heads[at] = format!("witness = \"{}\"\n", cable.far);
        }
        let key = folder.join("key");
        write_key(&key)?;
        let configs = [folder.join("a.toml"), folder.join("b.toml")];
        for (at, (path, cables)) in configs.iter().zip(files).enumerate() {
            fs::write(path, general(show, &folder, at) + &heads[at] + "\n" + &cables)?;
        }
        let relay = network.start()?;
        Ok(Self { folder, vip, arbiter, configs, relay, between, witness })
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

/// What a node's configuration says beside its cables.
fn general(show: &Show, folder: &Path, me: usize) -> String {
    let vote = match show.vote {
        Vote::None => "none",
        Vote::Arbiter => "arbiter",
    };
    let profile = match show.profile {
        Profile::Fast => "fast",
        Profile::Lan => "lan",
        Profile::Wan => "wan",
    };
    let name = ["a", "b"][me];
    format!(
        "cluster = \"demonstration\"\nmodule = 1\nnode = {me}\npeer = {peer}\nvote = \"{vote}\"\n\
         profile = \"{profile}\"\nbootstrap = {bootstrap}\nfolder = \"{folder}/node-{name}\"\n\
         key_file = \"{folder}/key\"\n",
        peer = 1 - me,
        bootstrap = me == 0,
        folder = folder.display(),
    )
}

/// A number that differs from run to run.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // Seeded by the system for each process.
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

fn write_key(path: &Path) -> io::Result<()> {
    let key: String = (0..4).map(|_| format!("{:016x}", random())).collect();
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
    writeln!(file, "{key}")
}

/// An address with a port that is free now; nobody else uses this run's addresses.
fn free_udp(address: IpAddr) -> io::Result<SocketAddr> {
    UdpSocket::bind((address, 0))?.local_addr()
}

fn free_tcp(address: IpAddr) -> io::Result<SocketAddr> {
    TcpListener::bind((address, 0))?.local_addr()
}
