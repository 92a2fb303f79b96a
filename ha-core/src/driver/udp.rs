//! The sockets for datagrams.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::prelude::rust_2024::*;
use std::task::{Context, Poll};

use ha_proto::wire::LONG_MAX;
use tokio::io::unix::AsyncFd;

use super::watched::watch;

/// One socket of the process: for one link, or for one witness. All modules share it.
///
/// It takes datagrams from any address: what is in them is authenticated, and addresses change on
/// the way.
#[derive(Debug)]
pub(crate) struct Port {
    socket: AsyncFd<UdpSocket>,
    /// The longest datagram that is read whole.
    longest: usize,
}

/// The address to send from when only the other end is configured.
pub(super) fn any_for(to: SocketAddr) -> SocketAddr {
    match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

impl Port {
    /// A port for datagrams of up to `longest` bytes. Needs the runtime's context.
    pub(crate) fn new(socket: UdpSocket, longest: usize) -> io::Result<Self> {
        assert!(longest <= LONG_MAX, "a longer datagram would be cut, and refused");
        Ok(Self { socket: watch(socket)?, longest })
    }

    /// Sends one datagram, or loses it: a full buffer and an unreachable network are losses.
    pub(crate) fn send(&self, bytes: &[u8], to: SocketAddr) -> bool {
        self.socket.get_ref().send_to(bytes, to).is_ok()
    }

    /// Receives what is there, at most [`RECEIVE_MAX`] datagrams; whether there may be more. Ready
    /// to be woken for more otherwise.
    pub(crate) fn receive(
        &self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(&[u8], SocketAddr),
    ) -> bool {
        // One byte more than a datagram may have: a longer one is cut, seen to be so, and refused.
        let mut buffer = [0; LONG_MAX + 1];
        let buffer = &mut buffer[..=self.longest];
        let mut left = RECEIVE_MAX;
        while left > 0 {
            let Poll::Ready(Ok(mut ready)) = self.socket.poll_read_ready(cx) else { return false };
            loop {
                match self.socket.get_ref().recv_from(buffer) {
                    Ok((len, from)) => take(&buffer[..len], from),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        ready.clear_ready();
                        break;
                    }
                    // An earlier datagram could not be delivered: that is a loss, said here.
                    Err(_) => {}
                }
                left -= 1;
                if left == 0 {
                    return true;
                }
            }
        }
        true
    }
}

/// What one socket may bring in one turn, so that the others and the timers come to theirs.
const RECEIVE_MAX: usize = 64;
