//! The farm in user space: servers are threads, their kernels are in memory, the network is
//! loopback.

use std::io;
use std::net::UdpSocket;
use std::time::Duration;

use ha_core::farm::{Config, Identity, Isolated, Order, Policy, Timing};
use ha_core::ha_farm::{Buckets, Hash, HashOn, Mode, Protocol, Rule, Uncovered};
use ha_core::proto::{Boot, ModuleId, NodeId};
use ha_core::raw::cluster_id;

use crate::clients::Clients;
use crate::frame::VIP;
use crate::member::{Member, Place, place};
use crate::stage::{SERVERS, Server, Stage, Tally};

/// Threads in place of servers.
#[derive(Debug)]
pub(crate) struct UserSpace {
    // The clients go first.
    clients: Clients,
    members: [Option<Member>; SERVERS],
    places: Vec<Place>,
    boots: u64,
}

impl UserSpace {
    /// Starts servers and clients.
    pub(crate) fn start(clients: u16) -> io::Result<Self> {
        let places = (0..SERVERS).map(|_| place()).collect::<io::Result<Vec<_>>>()?;
        let frames = places.iter().map(|place| place.frames).collect();
        let clients = Clients::start(UdpSocket::bind("127.0.0.1:0")?, frames, clients)?;
        let mut stage = Self { clients, members: [const { None }; SERVERS], places, boots: 0 };
        for server in 0..SERVERS {
            stage.start(server)?;
        }
        Ok(stage)
    }
}

impl Stage for UserSpace {
    fn what(&self) -> String {
        "in user space: threads are servers, each with a kernel in memory; datagrams on loopback \
         are frames, sent to all servers as a switch does"
            .into()
    }

    fn kill(&mut self, server: usize) {
        self.members[server] = None;
    }

    fn start(&mut self, server: usize) -> io::Result<()> {
        self.boots += 1;
        let boot = Boot(self.boots);
        let config = config(server);
        let member = Member::start(config, boot, self.places.clone(), self.clients.at())?;
        self.members[server] = Some(member);
        Ok(())
    }

    fn drain(&mut self, server: usize, on: bool) {
        if let Some(member) = &self.members[server] {
            member.order(Order::Drain(on));
        }
    }

    fn servers(&self) -> [Server; SERVERS] {
        let dead = || Server { says: "dead".into(), ..Server::default() };
        std::array::from_fn(|at| self.members[at].as_ref().map_or_else(dead, Member::seen))
    }

    fn tally(&self) -> Tally {
        self.clients.tally()
    }

    fn end(&mut self) -> Tally {
        self.clients.end()
    }

    fn closing(&self) -> Vec<String> {
        vec![format!("connections that two servers answered  {}", self.tally().twice)]
    }
}

fn config(server: usize) -> Config {
    let node = |id: usize| NodeId::new(id as u8).expect("a few servers");
    let identity = Identity {
        cluster: cluster_id("farm"),
        module: ModuleId(0),
        me: node(server),
        members: (0..SERVERS).map(node).collect(),
        links: 1,
    };
    let rule = Rule {
        vip: (*VIP.ip()).into(),
        ports: VIP.port()..=VIP.port(),
        protocol: Protocol::Tcp,
        on: HashOn::AddrPort,
    };
    let policy = Policy {
        rules: vec![rule],
        weights: vec![1],
        buckets: Buckets::Many,
        hash: Hash::Sip { key: *b"no secret at all" },
        mode: Mode::Invisible,
        uncovered: Uncovered::Deny,
        mac: None,
        isolated: Isolated::All,
        // Connections last two seconds.
        drain: Duration::from_secs(3),
        warm_up: Duration::ZERO,
    };
    // Twice the default: an audience's machine may be busy with other things.
    let timing = Timing {
        interval: Duration::from_millis(200),
        lease: Duration::from_millis(380),
        slack: Duration::from_millis(150),
        ..Timing::default()
    };
    Config::new(identity, timing, policy).expect("these durations and rules fit together")
}
