//! Asking addresses outside the cluster (vote `ping`).

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::format;
use std::io;
use std::prelude::rust_2024::*;
use std::sync::Arc;
use std::thread;

use ha_proto::{Instant, Ticket};
use socket2::{Domain, SockAddr, Socket, Type};
use tracing::{debug, warn};

use super::Clock;
use super::echo::{Ping, place};
use crate::Answer;
use crate::raw::{PingFrom, PingTarget, PingTo};

/// The addresses of one module. Each question has a thread of its own, of which there are as many
/// as addresses, while the node is isolated: a look must not wait for another, nor the node for it.
pub(super) struct Prober {
    targets: Arc<[PingTarget]>,
    answer: Arc<dyn Fn(Ticket, Answer) + Send + Sync>,
}

impl Prober {
    pub(super) fn new(
        targets: Vec<PingTarget>,
        answer: impl Fn(Ticket, Answer) + Send + Sync + 'static,
    ) -> Self {
        Self { targets: targets.into(), answer: Arc::new(answer) }
    }

    /// Asks the address at `place` once.
    pub(super) fn probe(&self, ticket: Ticket, place: u8, within: Duration) {
        let (targets, at) = (Arc::clone(&self.targets), usize::from(place));
        let answer = Arc::clone(&self.answer);
        let ask = move || {
            let target = &targets[at];
            let result = probe(target, within);
            debug!(%target, ?result, "asked an address outside");
            answer(ticket, if result.is_ok() { Answer::Done } else { Answer::Failed });
        };
        if let Err(error) = thread::Builder::new().name(format!("ha-probe-{place}")).spawn(ask) {
            warn!(target = %self.targets[at], %error, "cannot ask an address outside");
            (self.answer)(ticket, Answer::Failed);
        }
    }
}

impl fmt::Debug for Prober {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prober").field("targets", &self.targets).finish_non_exhaustive()
    }
}

/// Whether it answers in time.
fn probe(target: &PingTarget, within: Duration) -> io::Result<()> {
    match target.to {
        PingTo::Tcp(address) => connect(address, target.from.as_ref(), within),
        PingTo::Icmp(address) => ping(address, target.from.as_ref(), within),
    }
}

fn connect(to: SocketAddr, from: Option<&PingFrom>, within: Duration) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    place(&socket, to.ip(), from)?;
    socket.connect_timeout(&SockAddr::from(to), within)
}

fn ping(to: IpAddr, from: Option<&PingFrom>, within: Duration) -> io::Result<()> {
    let clock = Clock::start();
    let ping = Ping::send(to, from)?;
    let end = Instant::ZERO + within;
    loop {
        ping.socket().set_read_timeout(Some(left(clock, end)?))?;
        if ping.hear()? {
            return Ok(());
        }
    }
}

fn left(clock: Clock, end: Instant) -> io::Result<Duration> {
    let left = end.saturating_since(clock.now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};
    use std::net::TcpListener;
    use std::sync::mpsc::channel;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn a_port_that_listens_answers_and_one_that_does_not_refuses() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let open = listener.local_addr().unwrap();
        let (said, says) = channel();
        let from = Some(PingFrom::Address(open.ip()));
        let targets = [None, from].map(|from| PingTarget { to: PingTo::Tcp(open), from });
        let prober = Prober::new(targets.to_vec(), move |ticket, answer| {
            said.send((ticket, answer)).unwrap();
        });
        for place in [0, 1] {
            prober.probe(Ticket(1), place, SOON);
            assert_eq!(says.recv_timeout(SOON).unwrap(), (Ticket(1), Answer::Done));
        }
        drop(listener);
        prober.probe(Ticket(2), 0, SOON);
        assert_eq!(says.recv_timeout(SOON).unwrap(), (Ticket(2), Answer::Failed));
    }

    #[test]
    fn the_loopback_addresses_answer_an_echo() {
        if !ha_lab::root_or_skip() {
            return;
        }
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        for address in loopback {
            let lo = PingFrom::Interface("lo".into());
            for from in [None, Some(lo), Some(PingFrom::Address(address))] {
                ping(address, from.as_ref(), SOON).unwrap();
            }
        }
    }

    /// Two ways to one router: asked out of the one that is cut, it does not answer, although the
    /// routes lead over the other one.
    #[test]
    fn an_address_is_asked_from_where_it_is_said_and_nowhere_else() {
        use ha_lab::Lab;
        let Some(mut lab) = Lab::root_or_skip("an_address_is_asked_from") else { return };
        let [one, other] = [(); 2].map(|()| lab.bridge().unwrap());
        let node = lab.host("node", &[&one, &other]).unwrap();
        let router = lab.router("router", &[&one, &other]).unwrap();
        // It is reached by the address of the first network, and by way of the second one.
        let to = IpAddr::from(router.v4(&one));
        let route = format!("route replace {to} via {} dev eth1", router.v4(&other));
        let status = node.command("ip").args(route.split(' ')).status().unwrap();
        assert!(status.success(), "{route}");
        let short = Duration::from_millis(500);
        let asks = |from: Option<&str>, within| {
            let from = from.map(|from| from.parse().unwrap());
            node.inside(|| ping(to, from.as_ref(), within)).unwrap().is_ok()
        };
        let own = node.v4(&other).to_string();
        assert!(asks(None, SOON));
        assert!(asks(Some("eth0"), SOON));
        assert!(asks(Some("eth1"), SOON));
        assert!(asks(Some(&own), SOON));
        node.link_down(&one).unwrap();
        assert!(asks(None, SOON), "the route is whole");
        assert!(!asks(Some("eth0"), short), "the network that is watched is not");
        assert!(
            !asks(Some(&node.v4(&one).to_string()), short),
            "nor does an answer to its address come"
        );
    }
}
