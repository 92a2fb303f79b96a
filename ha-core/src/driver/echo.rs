//! One ICMP echo, and where it is sent from.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::sync::atomic::{AtomicU16, Ordering};
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::prelude::rust_2024::*;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::raw::PingFrom;

/// An ICMP echo request that was sent (RFC 792, RFC 4443), and the socket that hears the reply.
#[derive(Debug)]
pub(crate) struct Ping {
    /// Of ICMP, in the clothes of one that tells who sent what it reads.
    socket: UdpSocket,
    to: IpAddr,
    /// Whether others' replies are heard too.
    raw: bool,
    v4: bool,
    request: Echo,
}

impl Ping {
    /// Asks `to`, from there or where the routes say.
    pub(crate) fn send(to: IpAddr, from: Option<&PingFrom>) -> io::Result<Self> {
        let (domain, protocol, kind) = match to {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128),
        };
        let (socket, raw) = open(domain, protocol)?;
        place(&socket, to, from)?;
        socket.connect(&SockAddr::from(SocketAddr::new(to, 0)))?;
        // Told from others of this machine by the process, and from others of the process.
        let (id, number) = (std::process::id() as u16, NUMBER.fetch_add(1, Ordering::Relaxed));
        let request = Echo { kind, id, number };
        socket.send(&request.encode())?;
        let socket = UdpSocket::from(OwnedFd::from(socket));
        Ok(Self { socket, to, raw, v4: to.is_ipv4(), request })
    }

    /// The socket, to be told how long to wait.
    pub(crate) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Reads one packet; whether it is the reply. Though the socket is connected, the kernel gives a
    /// datagram socket of ICMP what bears its id, whoever sent that.
    pub(crate) fn hear(&self) -> io::Result<bool> {
        let mut room = [0; REPLY_MAX];
        let (len, from) = match self.socket.recv_from(&mut room) {
            // A process that was stopped and goes on has not been refused anything.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(false),
            heard => heard?,
        };
        if from.ip() != self.to {
            return Ok(false);
        }
        let heard = &room[..len];
        let body = if self.raw && self.v4 { behind_header(heard) } else { heard };
        let reply = if self.v4 { 0 } else { 129 };
        Ok(self.request.is_answered_by(body, reply, self.raw))
    }
}

impl AsRawFd for Ping {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl From<Ping> for OwnedFd {
    fn from(ping: Ping) -> Self {
        ping.socket.into()
    }
}

/// Binds a socket that will ask `to`, to where it is asked from.
pub(super) fn place(socket: &Socket, to: IpAddr, from: Option<&PingFrom>) -> io::Result<()> {
    let any = match to {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let address = match from {
        None => any,
        Some(PingFrom::Interface(name)) => {
            socket.bind_device(Some(name.as_bytes()))?;
            any
        }
        Some(PingFrom::Address(address)) => *address,
    };
    socket.bind(&SockAddr::from(SocketAddr::new(address, 0)))
}

/// A socket for echoes, and whether it is a raw one: whether others' replies are heard too.
fn open(domain: Domain, protocol: Protocol) -> io::Result<(Socket, bool)> {
    // Without privileges where `net.ipv4.ping_group_range` allows it.
    match Socket::new(domain, Type::DGRAM, Some(protocol)) {
        Ok(socket) => Ok((socket, false)),
        Err(_) => Ok((Socket::new(domain, Type::RAW, Some(protocol))?, true)),
    }
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

/// The number of the next request of this process.
static NUMBER: AtomicU16 = AtomicU16::new(0);

/// The longest packet that is looked at: a header with options, and an echo.
const REPLY_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

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

    /// The kernel does not ask who sent it.
    #[test]
    fn only_the_address_that_was_asked_answers() {
        let Some(mut lab) = ha_lab::Lab::root_or_skip("only_the_asked_answers") else { return };
        let network = lab.bridge().unwrap();
        let host = lab.host("node", &[&network]).unwrap();
        // No socket is raw, and nobody but this test replies.
        host.sysctl("net.ipv4.ping_group_range", "0 2147483647").unwrap();
        host.sysctl("net.ipv4.icmp_echo_ignore_all", "1").unwrap();
        host.inside(|| {
            let ping = Ping::send(Ipv4Addr::LOCALHOST.into(), None).unwrap();
            assert!(!ping.raw, "any user may ping here");
            let id = ping.socket.local_addr().unwrap().port();
            let reply = Echo { kind: 0, id, number: ping.request.number };
            for (from, answers) in [(2, false), (1, true)] {
                let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
                place(
                    &raw,
                    ping.to,
                    Some(&PingFrom::Address(Ipv4Addr::new(127, 0, 0, from).into())),
                )
                .unwrap();
                let to = SockAddr::from(SocketAddr::new(ping.to, 0));
                raw.send_to(&reply.encode(), &to).unwrap();
                assert_eq!(ping.hear().unwrap(), answers, "from 127.0.0.{from}");
            }
        })
        .unwrap();
    }

    #[test]
    fn a_short_packet_is_no_answer() {
        for bytes in [&[][..], &[0x45], &[0x4f; 30]] {
            assert!(behind_header(bytes).len() <= bytes.len());
        }
    }
}
