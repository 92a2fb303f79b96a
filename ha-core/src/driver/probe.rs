//! Asking addresses outside the cluster (vote `ping`).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::format;
use std::io::{self, Read};
use std::net::TcpStream;
use std::prelude::rust_2024::*;
use std::sync::Arc;
use std::thread;

use ha_proto::{Instant, Ticket};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tracing::{debug, warn};

use super::Clock;
use crate::Answer;
use crate::raw::PingTarget;

/// The addresses of one module. Each question has a thread of its own, of which there are as many
/// as addresses, while the node is isolated: a look must not wait for another, nor the node for it.
pub(super) struct Prober {
    targets: Vec<PingTarget>,
    answer: Arc<dyn Fn(Ticket, Answer) + Send + Sync>,
}

impl Prober {
    pub(super) fn new(
        targets: Vec<PingTarget>,
        answer: impl Fn(Ticket, Answer) + Send + Sync + 'static,
    ) -> Self {
        Self { targets, answer: Arc::new(answer) }
    }

    /// Asks the address at `place` once.
    pub(super) fn probe(&self, ticket: Ticket, place: u8, within: Duration) {
        let target = self.targets[usize::from(place)];
        let answer = Arc::clone(&self.answer);
        let ask = move || {
            let result = probe(target, within, ticket);
            debug!(%target, ?result, "asked an address outside");
            answer(ticket, if result.is_ok() { Answer::Done } else { Answer::Failed });
        };
        if let Err(error) = thread::Builder::new().name(format!("ha-probe-{place}")).spawn(ask) {
            warn!(%target, %error, "cannot ask an address outside");
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
fn probe(target: PingTarget, within: Duration, ticket: Ticket) -> io::Result<()> {
    match target {
        PingTarget::Tcp(address) => TcpStream::connect_timeout(&address, within).map(drop),
        // The number tells this question from others of this machine.
        PingTarget::Icmp(address) => ping(address, within, ticket.0 as u16),
    }
}

/// One ICMP echo (RFC 792, RFC 4443). The socket is connected, so that only that address is heard.
fn ping(address: IpAddr, within: Duration, number: u16) -> io::Result<()> {
    let (domain, protocol, request, reply) = match address {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8, 0),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128, 129),
    };
    let (socket, raw) = open(domain, protocol)?;
    let any = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    socket.bind(&SockAddr::from(SocketAddr::new(any, 0)))?;
    socket.connect(&SockAddr::from(SocketAddr::new(address, 0)))?;
    let echo = Echo { kind: request, id: std::process::id() as u16, number };
    socket.send(&echo.encode())?;
    let clock = Clock::start();
    let end = clock.now() + within;
    let mut room = [0; REPLY_MAX];
    loop {
        socket.set_read_timeout(Some(left(clock, end)?))?;
        let len = (&socket).read(&mut room)?;
        let heard = &room[..len];
        let body = if raw && address.is_ipv4() { behind_header(heard) } else { heard };
        if echo.is_answered_by(body, reply, raw) {
            return Ok(());
        }
    }
}

/// A socket for echoes, and whether it is a raw one: whether others' replies are heard too.
fn open(domain: Domain, protocol: Protocol) -> io::Result<(Socket, bool)> {
    // Without privileges where `net.ipv4.ping_group_range` allows it.
    match Socket::new(domain, Type::DGRAM, Some(protocol)) {
        Ok(socket) => Ok((socket, false)),
        Err(_) => Ok((Socket::new(domain, Type::RAW, Some(protocol))?, true)),
    }
}

fn left(clock: Clock, end: Instant) -> io::Result<Duration> {
    let left = end.saturating_since(clock.now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// What follows the header of an IPv4 packet.
fn behind_header(packet: &[u8]) -> &[u8] {
    let len = packet.first().map_or(0, |first| usize::from(first & 0xf) * 4);
    packet.get(len..).unwrap_or_default()
}

/// An ICMP echo request: type, code, checksum, id, number, and nothing else.
#[derive(Clone, Copy, Debug)]
struct Echo {
    kind: u8,
    id: u16,
    number: u16,
}

impl Echo {
    const LEN: usize = 8;

    fn encode(self) -> [u8; Self::LEN] {
        let ([id0, id1], [number0, number1]) = (self.id.to_be_bytes(), self.number.to_be_bytes());
        let mut bytes = [self.kind, 0, 0, 0, id0, id1, number0, number1];
        // For IPv6 the kernel fills it in, with the addresses that it covers too.
        [bytes[2], bytes[3]] = checksum(bytes).to_be_bytes();
        bytes
    }

    /// A datagram socket has an id of its own, and hears its own replies only.
    fn is_answered_by(self, bytes: &[u8], reply: u8, raw: bool) -> bool {
        let Some(&[kind, 0, _, _, id0, id1, number0, number1]) = bytes.first_chunk() else {
            return false;
        };
        let ours = !raw || u16::from_be_bytes([id0, id1]) == self.id;
        kind == reply && ours && u16::from_be_bytes([number0, number1]) == self.number
    }
}

/// RFC 1071: the complement of the sum of all words, in one's complement.
fn checksum(bytes: [u8; Echo::LEN]) -> u16 {
    let sum: u32 = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// The longest packet that is looked at: a header with options, and an echo.
const REPLY_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::mpsc::channel;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn an_echo_is_golden() {
        let echo = Echo { kind: 8, id: 0x1234, number: 7 };
        assert_eq!(echo.encode(), [8, 0, 0xe5, 0xc4, 0x12, 0x34, 0, 7]);
        assert!(echo.is_answered_by(&[0, 0, 0, 0, 0x12, 0x34, 0, 7], 0, true));
        assert!(!echo.is_answered_by(&[0, 0, 0, 0, 0x12, 0x35, 0, 7], 0, true), "another's");
        assert!(!echo.is_answered_by(&[0, 0, 0, 0, 0x12, 0x34, 0, 8], 0, false), "an older one");
        assert!(!echo.is_answered_by(&[8, 0, 0, 0, 0x12, 0x34, 0, 7], 0, true), "the request");
        assert!(!echo.is_answered_by(&[3, 1, 0, 0], 0, true), "unreachable");
    }

    #[test]
    fn a_short_packet_is_no_answer() {
        for bytes in [&[][..], &[0x45], &[0x4f; 30]] {
            assert!(behind_header(bytes).len() <= bytes.len());
        }
    }

    #[test]
    fn a_port_that_listens_answers_and_one_that_does_not_refuses() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let open = listener.local_addr().unwrap();
        let (said, says) = channel();
        let targets = vec![PingTarget::Tcp(open)];
        let prober = Prober::new(targets, move |ticket, answer| {
            said.send((ticket, answer)).unwrap();
        });
        prober.probe(Ticket(1), 0, SOON);
        assert_eq!(says.recv_timeout(SOON).unwrap(), (Ticket(1), Answer::Done));
        drop(listener);
        prober.probe(Ticket(2), 0, SOON);
        assert_eq!(says.recv_timeout(SOON).unwrap(), (Ticket(2), Answer::Failed));
    }

    #[test]
    fn the_loopback_addresses_answer_an_echo() {
        if !rustix::process::geteuid().is_root() {
            std::println!("skipped: needs root");
            return;
        }
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        for (number, address) in loopback.into_iter().enumerate() {
            ping(address, SOON, number as u16).unwrap();
        }
    }
}
