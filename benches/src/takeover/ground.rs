//! Where the trials take place.

use std::io;
use std::net::{IpAddr, SocketAddr};

use ha_lab::{Bridge, Host, Lab, Process};

/// Two servers, a client and a third place at one switch. The service runs on both servers all the
/// time, bound to the virtual addresses: what is measured is how fast these move.
#[derive(Debug)]
pub struct Ground {
    /// The one switch.
    pub network: Bridge,
    /// The primary.
    pub a: Host,
    /// The other server.
    pub b: Host,
    /// Who asks.
    pub client: Host,
    /// A witness, or an address outside the pair.
    pub outside: Host,
    _services: [Process; 2],
    /// Last: it goes when nothing of it is used any more.
    pub lab: Lab,
}

impl Ground {
    /// Makes it, with nothing but the services.
    ///
    /// # Errors
    /// Not root, or a tool is missing: the message says which.
    pub fn make() -> io::Result<Self> {
        let mut lab = Lab::new("takeover")?;
        let network = lab.bridge()?;
        let mut host = |name| lab.host(name, &[&network]);
        let (a, b, client, outside) = (host("a")?, host("b")?, host("client")?, host("w")?);
        let targets = targets(&network);
        let services = [a.serve(&targets)?, b.serve(&targets)?];
        Ok(Self { network, a, b, client, outside, _services: services, lab })
    }

    /// The virtual addresses, one of each family.
    pub fn addresses(&self) -> [IpAddr; 2] {
        targets(&self.network).map(|target| target.ip())
    }

    /// Where clients ask.
    pub fn targets(&self) -> [SocketAddr; 2] {
        targets(&self.network)
    }
}

fn targets(network: &Bridge) -> [SocketAddr; 2] {
    let addresses = [IpAddr::from(network.v4(VIP)), network.v6(VIP).into()];
    addresses.map(|address| (address, PORT).into())
}

/// The first number that a lab leaves free.
const VIP: u8 = 100;

/// Of the echo service.
const PORT: u16 = 7000;
