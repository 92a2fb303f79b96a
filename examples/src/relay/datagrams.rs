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
    ends: [SocketAddr; 2],
}

impl Datagrams {
    pub(super) fn new(
        poll: &Poll,
        first: usize,
        address: IpAddr,
        ends: [SocketAddr; 2],
    ) -> io::Result<Self> {
        let mut sockets =
            [UdpSocket::bind((address, 0).into())?, UdpSocket::bind((address, 0).into())?];
        for (side, socket) in sockets.iter_mut().enumerate() {
            poll.registry().register(socket, Token(first + side), Interest::READABLE)?;
        }
        Ok(Self { first, sockets, ends })
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
            match from.recv(buffer) {
                Ok(len) if passes => {
                    // A network may lose any datagram, and nobody is told.
                    let _ = self.sockets[to].send_to(&buffer[..len], self.ends[to]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Cut; or the other end is not there (ECONNREFUSED for an earlier datagram).
                Ok(_) | Err(_) => {}
            }
        }
    }
}
