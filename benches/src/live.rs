//! Two real nodes over loopback, with their logs on a real disk.

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

use ha_core::driver::{Arbiter, ArbiterConfig, Driver, Handle, Host, Running};
use ha_core::raw::{Key, Link, NodeConfig, RawConfig, RawVote, Replication};
use ha_proto::Role;

/// A pair of nodes and their arbiter, each with threads of its own, all in this process: on two
/// cores they share them as three machines' processes would.
#[derive(Debug)]
pub struct Live {
    handles: [Handle; 2],
    _running: [Running; 2],
    _arbiter: Arbiter,
}

/// How a pair's links are kept private.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privacy {
    /// As in service: a key, the stream encrypted.
    Encrypted,
    /// Without a key.
    Insecure,
}

impl Live {
    /// A pair in service, node 0 `PRIM`, with `hosts` as applications and all files in `folder`.
    ///
    /// # Errors
    /// When it cannot start, or is not whole within ten seconds.
    pub fn start<H: Host>(
        folder: &Path,
        privacy: Privacy,
        hosts: [H; 2],
    ) -> Result<Self, Box<dyn Error>> {
        let key = folder.join("key");
        std::fs::write(&key, "07".repeat(32))?;
        let key = match privacy {
            Privacy::Encrypted => Some(key.display().to_string()),
            Privacy::Insecure => None,
        };
        let witness_key = key.clone().map_or(Key::Insecure, Key::File);
        let listen = (Ipv4Addr::LOCALHOST, 0).into();
        let config = ArbiterConfig::new(listen, folder.join("arbiter"), witness_key);
        let arbiter = Arbiter::start(&config)?;
        let links = [free_udp()?, free_udp()?];
        let streams = [free_tcp()?, free_tcp()?];
        let mut nodes = Vec::new();
        for (me, host) in hosts.into_iter().enumerate() {
            let peer = 1 - me;
            let link = Link { local: links[me], peer: links[peer] };
            let stream = Replication { listen: streams[me], connect: streams[peer] };
            let home = folder.join(format!("node-{me}")).display().to_string();
            let mut raw = RawConfig::new("bench", (me as u8, peer as u8), vec![link], stream, home);
            raw.vote = RawVote::Arbiter;
            raw.witness = Some(arbiter.address());
            raw.bootstrap = me == 0;
            raw.key_file.clone_from(&key);
            raw.insecure = privacy == Privacy::Insecure;
            let mut driver = Driver::new();
            let handle = driver.add(NodeConfig::try_from(raw)?, host)?;
            nodes.push((handle, driver.start()?));
        }
        let (second, first) = (nodes.pop(), nodes.pop());
        let (first, second) = first.zip(second).expect("two nodes were started");
        let live =
            Self { handles: [first.0, second.0], _running: [first.1, second.1], _arbiter: arbiter };
        live.wait()?;
        Ok(live)
    }

    /// The primary.
    pub fn primary(&self) -> &Handle {
        &self.handles[0]
    }

    fn wait(&self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let whole = async {
            for (handle, role) in self.handles.iter().zip([Role::Prim, Role::Second]) {
                handle.status().until(|status| status.role == role && status.ready).await;
            }
        };
        let limit = Duration::from_secs(10);
        runtime.block_on(async { tokio::time::timeout(limit, whole).await })?;
        Ok(())
    }
}

/// An address with a port that is free now.
///
/// # Errors
/// Those of the socket.
pub fn free_tcp() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn free_udp() -> io::Result<SocketAddr> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
