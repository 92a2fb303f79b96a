//! Ends TCP connections to addresses that go away.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::io;
use std::prelude::rust_2024::*;
use std::vec;

use netlink_packet_core::NLM_F_ACK;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_packet_sock_diag::{SockDiagDestroy, SockDiagMessage};
use rustix::io::Errno;
use rustix::net::netlink::SOCK_DIAG;

use super::netlink::Netlink;
use crate::driver::Clock;

/// Resets every TCP connection to one of `addresses`, both ends (`SOCK_DESTROY` of `sock_diag(7)`);
/// how many. While the addresses are still set, or the other ends would not hear of it.
///
/// Ends after [`TIME_MAX`] with what it has: addresses must go in time.
///
/// # Errors
/// The kernel cannot (`Unsupported`), or does not allow it.
pub(super) fn connections_to(addresses: &[IpAddr], clock: Clock) -> io::Result<usize> {
    connections(TIME_MAX, clock, |_, server| addresses.contains(&server.ip()))
}

/// Likewise those that `which` chooses by the client's address and port and the server's; ends
/// after `time` with what it has.
///
/// # Errors
/// As [`connections_to`].
pub(super) fn connections(
    time: Duration,
    clock: Clock,
    which: impl Fn(SocketAddr, SocketAddr) -> bool,
) -> io::Result<usize> {
    let mut netlink = Netlink::open(Some(SOCK_DIAG))?;
    let (deadline, mut reset) = (clock.now() + time, 0);
    // Those that are there now, and none that comes while these end.
    let mut all = found(&mut netlink, AF_INET, &which)?;
    all.extend(found(&mut netlink, AF_INET6, &which)?);
    for request in all {
        if clock.now() >= deadline {
            return Ok(reset);
        }
        let destroy = SockDiagDestroy::new(SockDiagMessage::InetRequest(request));
        match netlink.order(NLM_F_ACK, destroy) {
            Ok(()) => reset += 1,
            // It ended by itself.
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(reset)
}

/// A tenth of the time in which a node ceases to serve with the default timing: some thousands of
/// connections.
const TIME_MAX: Duration = Duration::from_millis(50);

/// The connections of one family of sockets that `which` chooses, those of IPv4 in sockets of IPv6
/// among them; each as a question for it alone.
fn found(
    netlink: &mut Netlink,
    family: u8,
    which: impl Fn(SocketAddr, SocketAddr) -> bool,
) -> io::Result<Vec<InetRequest>> {
    let socket_id = if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
    let (extensions, states) = (ExtensionFlags::empty(), connected());
    let all = InetRequest { family, protocol: IPPROTO_TCP, extensions, states, socket_id };
    let answers = netlink.list(&SockDiagMessage::InetRequest(all.clone()))?;
    let found = answers.into_iter().filter_map(|answer| match answer {
        SockDiagMessage::InetResponse(socket) => Some(socket.header.socket_id),
        _ => None,
    });
    let ours = found.filter(|id| {
        let client = SocketAddr::new(id.destination_address.to_canonical(), id.destination_port);
        which(client, SocketAddr::new(id.source_address.to_canonical(), id.source_port))
    });
    Ok(ours.map(|socket_id| InetRequest { socket_id, ..all.clone() }).collect())
}

/// Every state in which somebody is at the other end.
fn connected() -> StateFlags {
    let states = vec![
        StateFlags::ESTABLISHED,
        StateFlags::SYN_RECV,
        StateFlags::FIN_WAIT1,
        StateFlags::FIN_WAIT2,
        StateFlags::CLOSE_WAIT,
        StateFlags::LAST_ACK,
        StateFlags::CLOSING,
    ];
    states.into_iter().fold(StateFlags::empty(), core::ops::BitOr::bitor)
}
