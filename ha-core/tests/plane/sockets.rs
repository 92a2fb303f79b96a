//! Connections of this machine with itself, in every state that matters for F8.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use ha_core::ha_farm::{Flow, Protocol, Sockets};

/// What the model knows of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) live: BTreeSet<Flow>,
    pub(crate) released: BTreeSet<Flow>,
}

impl Sockets for Model {
    fn live(&self, flow: &Flow) -> bool {
        self.live.contains(flow) && !self.released.contains(flow)
    }

    fn release(&mut self, flow: &Flow) {
        self.released.insert(*flow);
    }

    fn claim(&mut self, flow: &Flow) {
        self.released.remove(flow);
    }
}

/// The connections; dropping it ends them.
#[derive(Debug)]
pub(crate) struct Connections {
    _listener: TcpListener,
    _open: Vec<TcpStream>,
    /// All of them.
    pub(crate) flows: Vec<Flow>,
    /// Those whose socket at the server's end is live.
    pub(crate) live: BTreeSet<Flow>,
}

impl Connections {
    /// Some of each kind, to a listener on `vip`.
    pub(crate) fn open(vip: IpAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::new(vip, 0))?;
        let address = listener.local_addr()?;
        let (mut open, mut flows, mut live) = (Vec::new(), Vec::new(), BTreeSet::new());
        for number in 0..16 {
            let client = TcpStream::connect(address)?;
            let (mut server, peer) = listener.accept()?;
            let flow = Flow {
                protocol: Protocol::Tcp,
                client: peer.ip(),
                client_port: peer.port(),
                vip,
                port: address.port(),
            };
            flows.push(flow);
            match number % 4 {
                // ESTABLISHED.
                0 => {}
                // FIN_WAIT2 at the server.
                1 => server.shutdown(Shutdown::Write)?,
                // CLOSE_WAIT at the server.
                2 => client.shutdown(Shutdown::Write)?,
                // TIME_WAIT at the server: not live.
                _ => {
                    server.shutdown(Shutdown::Write)?;
                    client.shutdown(Shutdown::Write)?;
                    server.set_read_timeout(Some(Duration::from_secs(5)))?;
                    let end = server.read(&mut [0])?;
                    assert_eq!(end, 0, "the client said nothing but its end");
                }
            }
            if number % 4 < 3 {
                live.insert(flow);
            }
            open.extend([client, server]);
        }
        // Nobody's: only the listener would answer.
        let one = flows[0];
        flows.extend((0..4).map(|number| Flow { client_port: 1 + number, ..one }));
        Ok(Self { _listener: listener, _open: open, flows, live })
    }
}
