//! Sockets at addresses that this machine may get later: an interface that is down at the start
//! comes up, and a network is late at a boot.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::prelude::rust_2024::*;

use socket2::{Domain, Protocol, Socket, Type};

use super::{Driver, StartError};

/// A socket for datagrams that no runtime watches yet.
pub(crate) fn bind(field: &'static str, address: SocketAddr) -> Result<UdpSocket, StartError> {
    let made = made(address, Type::DGRAM, Protocol::UDP).and_then(|socket| {
        socket.bind(&address.into())?;
        Ok(socket.into())
    });
    made.map_err(|source| StartError::Bind { field, address, source })
}

/// A socket for connections that no runtime watches yet.
pub(crate) fn listen(field: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let made = made(address, Type::STREAM, Protocol::TCP).and_then(|socket| {
        // Connections of the process before, which has ended, stand in nobody's way.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    });
    made.map_err(|source| StartError::Bind { field, address, source })
}

fn made(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv4() {
        socket.set_freebind_v4(true)?;
    } else {
        socket.set_freebind_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

impl Driver {
    /// Whether a start could use this address for datagrams, as [`RawConfig::links`] has them. It
    /// need not be on this machine yet.
    ///
    /// # Errors
    /// [`StartError::Bind`] with this `field`.
    ///
    /// [`RawConfig::links`]: crate::raw::RawConfig::links
    pub fn check_link(field: &'static str, address: SocketAddr) -> Result<(), StartError> {
        bind(field, address).map(drop)
    }

    /// Whether a start could listen for connections at this address. It need not be on this machine
    /// yet.
    ///
    /// # Errors
    /// [`StartError::Bind`] with this `field`.
    pub fn check_listener(field: &'static str, address: SocketAddr) -> Result<(), StartError> {
        listen(field, address).map(drop)
    }
}

/// Connections that wait to be accepted: what the standard library has.
const BACKLOG: i32 = 128;
