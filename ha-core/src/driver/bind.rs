//! Sockets at addresses that this machine may get later: an interface that is down at the start
//! comes up, and a network is late at a boot.

use core::time::Duration;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::prelude::rust_2024::*;
use std::thread;

use socket2::{Domain, Protocol, Socket, Type};

use super::{Driver, StartError};

/// A socket for datagrams that no runtime watches yet.
pub(crate) fn bind(field: &'static str, address: SocketAddr) -> Result<UdpSocket, StartError> {
    let made = once_free(|| {
        let socket = made(address, Type::DGRAM, Protocol::UDP)?;
        // The kernel gives what it allows (`net.core.rmem_max`).
        socket.set_recv_buffer_size(RECEIVE)?;
        socket.bind(&address.into())?;
        Ok(socket.into())
    });
    made.map_err(|source| StartError::Bind { field, address, source })
}

/// A socket for connections that no runtime watches yet.
pub(crate) fn listen(field: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let made = once_free(|| {
        let socket = made(address, Type::STREAM, Protocol::TCP)?;
        // Connections of the process before, which has ended, stand in nobody's way.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    });
    made.map_err(|source| StartError::Bind { field, address, source })
}

/// Tries until nobody has the address, for a moment: a child that the process before was starting
/// when it ended holds its sockets until it runs its own program.
#[expect(clippy::disallowed_methods, reason = "a start: nobody waits for this thread yet")]
fn once_free<T>(mut bind: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..TRIES {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => thread::sleep(PAUSE),
            done => return done,
        }
    }
    bind()
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
/// Bytes of datagrams that wait, as the kernel counts them: some thousands, which is what a hundred
/// modules send while a loaded machine lets their peer wait.
const RECEIVE: usize = 4 << 20;
/// Less together than the lease that a farm's next process has.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_free_in_a_moment_is_waited_for_and_another_one_is_not() {
        let mut tries = 0;
        let free_at_the_third = || {
            tries += 1;
            if tries < 3 { Err(io::ErrorKind::AddrInUse.into()) } else { Ok(()) }
        };
        once_free(free_at_the_third).unwrap();
        assert_eq!(tries, 3);
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = bind("links", taken.local_addr().unwrap()).unwrap_err();
        assert!(error.to_string().contains("in use"), "{error}");
        let mut tries = 0;
        let denied = || {
            tries += 1;
            Err::<(), _>(io::Error::from(io::ErrorKind::PermissionDenied))
        };
        once_free(denied).unwrap_err();
        assert_eq!(tries, 1);
    }

    /// A kernel's default has room for 166 of them.
    #[test]
    fn the_beats_of_a_hundred_modules_wait_three_times() {
        let socket = bind("links", "127.0.0.1:0".parse().unwrap()).unwrap();
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..300 {
            other.send_to(&[0; 200], socket.local_addr().unwrap()).unwrap();
        }
        let came = core::iter::from_fn(|| socket.recv(&mut [0; 200]).ok()).count();
        assert_eq!(came, 300);
    }
}
