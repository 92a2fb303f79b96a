//! Connections to an etcd's members from a chosen address of this node, which `ureq` itself leaves
//! to the routes.

use core::time::Duration;
use std::fmt;
use std::format;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::prelude::rust_2024::*;

use socket2::{Domain, Protocol, Socket, Type};
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use crate::driver::Clock;

/// Connects from this address; where there is none, from what the routes say.
#[derive(Debug)]
pub(super) struct Outbound(pub(super) Option<IpAddr>);

impl Connector for Outbound {
    type Out = Connection;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _chained: Option<()>,
    ) -> Result<Option<Connection>, Error> {
        // An endpoint is an address: there is never a second one to try.
        let to = details.addrs.first().ok_or(Error::HostNotFound)?;
        let stream = self.open(*to, details.timeout)?;
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Connection { stream, buffers, clock: Clock::start() }))
    }
}

impl Outbound {
    fn open(&self, to: SocketAddr, timeout: NextTimeout) -> Result<TcpStream, Error> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        if let Some(from) = self.0 {
            let named = |error: io::Error| {
                let text = format!("witness_from {from}: {error}");
                io::Error::new(error.kind(), text)
            };
            socket.bind(&SocketAddr::new(from, 0).into()).map_err(named)?;
        }
        let connected = match left(timeout, Duration::ZERO)? {
            Some(left) => socket.connect_timeout(&to.into(), left),
            None => socket.connect(&to.into()),
        };
        connected.map_err(|error| late(error, timeout))?;
        socket.set_tcp_nodelay(true)?;
        Ok(socket.into())
    }
}

/// One connection.
pub(super) struct Connection {
    stream: TcpStream,
    buffers: LazyBuffers,
    clock: Clock,
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        // A question has a few hundred bytes, which the kernel takes at once.
        self.stream.set_write_timeout(left(timeout, Duration::ZERO)?)?;
        let sent = self.stream.write_all(&self.buffers.output()[..amount]);
        sent.map_err(|error| late(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let began = self.clock.now();
        let read = loop {
            let waited = self.clock.now().saturating_since(began);
            self.stream.set_read_timeout(left(timeout, waited)?)?;
            match self.stream.read(self.buffers.input_append_buf()) {
                // A read with a timeout is not begun again by the kernel.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(|error| late(error, timeout))?,
            }
        };
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    /// Nothing was asked, so that anything to read is the end, or of no answer.
    fn is_open(&mut self) -> bool {
        let quiet = |stream: &TcpStream| {
            stream.set_nonblocking(true)?;
            let peeked = stream.peek(&mut [0]);
            stream.set_nonblocking(false)?;
            Ok::<_, io::Error>(peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock))
        };
        quiet(&self.stream).unwrap_or(false)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt(f)
    }
}

/// What is left of a timeout after so long; `None` is for ever.
fn left(timeout: NextTimeout, waited: Duration) -> Result<Option<Duration>, Error> {
    if timeout.after.is_not_happening() {
        return Ok(None);
    }
    let left = timeout.after.saturating_sub(waited);
    if left.is_zero() { Err(Error::Timeout(timeout.reason)) } else { Ok(Some(left)) }
}

fn late(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Error::Timeout(timeout.reason),
        _ => error.into(),
    }
}
