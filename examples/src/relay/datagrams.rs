//! One cable for datagrams.

use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::UdpSocket;
use mio::{Interest, Poll, Token};

use super::Passing;

/// Two sockets, one facing each end; what one hears the other says.
#[derive(Debug)]
pub(super) struct Datagrams {
    first: usize,
    sockets: [UdpSocket; 2],
    ends: [Option<SocketAddr>; 2],
    /// Whether the left end is whoever was heard there last.
    learns: bool,
}

impl Datagrams {
    pub(super) fn new(
        poll: &Poll,
        first: usize,
        address: IpAddr,
        left: Option<SocketAddr>,
        right: SocketAddr,
    ) -> io::Result<Self> {
        let mut sockets =
            [UdpSocket::bind((address, 0).into())?, UdpSocket::bind((address, 0).into())?];
        for (side, socket) in sockets.iter_mut().enumerate() {
            poll.registry().register(socket, Token(first + side), Interest::READABLE)?;
        }
        Ok(Self { first, sockets, ends: [left, Some(right)], learns: left.is_none() })
    }

    /// The socket that faces the left end, and the one that faces the right one.
    pub(super) fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.sockets[0].local_addr()?, self.sockets[1].local_addr()?))
    }

    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// The socket that faces `side` has something.
    pub(super) fn ready(&mut self, side: usize, passing: Passing, buffer: &mut [u8]) {
        let Some(from) = self.sockets.get(side) else { return };
        let to = 1 - side;
        let passes = if side == 0 { passing.forth } else { passing.back };
        loop {
            match from.recv_from(buffer) {
                Ok((len, sender)) => {
                    if self.learns && side == 0 {
                        self.ends[0] = Some(sender);
                    }
                    if let (true, Some(end)) = (passes, self.ends[to]) {
                        // A network may lose any datagram, and nobody is told.
                        let _ = self.sockets[to].send_to(&buffer[..len], end);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The other end is not there (ECONNREFUSED for an earlier datagram).
                Err(_) => {}
            }
        }
    }
}
