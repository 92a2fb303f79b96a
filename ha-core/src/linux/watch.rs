//! What the kernel says unasked: addresses and interfaces that change.

use core::net::IpAddr;
use core::task::{Context, Poll, ready};
use std::io;
use std::os::fd::OwnedFd;
use std::prelude::rust_2024::*;
use std::vec;

use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::RouteNetlinkMessage;
use rustix::net::{RecvFlags, recv};
use socket2::{SockFilter, SockRef};
use tokio::io::unix::AsyncFd;

use super::address::{Found, MARK};
use super::filter::{Size, Step, program};
use super::netlink::{BYTES_MAX, is_overrun, messages, open};
use super::route;
use crate::driver::watch;

/// Hears what changes. A notice is a reason to look and nothing more: it tells of the past, and
/// some of it is our own doing.
#[derive(Debug)]
pub(super) struct Watch {
    socket: AsyncFd<OwnedFd>,
    buffer: Vec<u8>,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// This address was set, by somebody else, or is gone.
    Address(IpAddr),
    /// An interface came, went or changed.
    Link,
    /// A route came, went or changed, and not one that we set.
    Route,
    /// Nobody knows what: notices were lost, or make no sense.
    Anything,
}

impl Watch {
    /// Hears of this thread's network namespace, of its routes too if they matter. Needs the
    /// runtime's context.
    pub(super) fn open(routes: bool) -> io::Result<Self> {
        let socket = open(None, if routes { GROUPS | GROUPS_OF_ROUTES } else { GROUPS })?;
        SockRef::from(&socket).attach_filter(&filter())?;
        Ok(Self { socket: watch(socket)?, buffer: vec![0; BYTES_MAX] })
    }

    /// Ready when something happened that `matters`.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        matters: impl Fn(Notice) -> bool,
    ) -> Poll<io::Result<Notice>> {
        loop {
            let mut ready = ready!(self.socket.poll_read_ready(cx))?;
            let buffer = &mut self.buffer[..];
            let read = ready.try_io(|socket| Ok(recv(socket, buffer, RecvFlags::TRUNC)?.1));
            let len = match read {
                Ok(Ok(len)) => Some(len).filter(|len| *len <= self.buffer.len()),
                Ok(Err(error)) if is_overrun(&error) => None,
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => continue,
            };
            let said = len.map(|len| notices(&self.buffer[..len]));
            let anything = || Some(Notice::Anything);
            if let Some(said) = said.map_or_else(anything, |mut it| it.find(|it| matters(*it))) {
                return Poll::Ready(Ok(said));
            }
        }
    }
}

/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR` of `rtnetlink.h`.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// `RTMGRP_IPV4_ROUTE` and `RTMGRP_IPV6_ROUTE`.
const GROUPS_OF_ROUTES: u32 = 0x40 | 0x400;

/// What the kernel does not even queue: an address that is set with our mark. Each extension of
/// each module's addresses would else wake every module's thread.
fn filter() -> Vec<SockFilter> {
    // Netlink's header is as the machine writes it, and a filter loads as the network does: a byte
    // at a time is the same for both.
    let [low, high] = if cfg!(target_endian = "little") { [4, 5] } else { [5, 4] };
    program(&[
        Step::Load(Size::One, high),
        Step::If(0, "a type of one byte"),
        Step::Go("hear"),
        Step::Label("a type of one byte"),
        Step::Load(Size::One, low),
        Step::If(RTM_NEWADDR, "an address"),
        Step::Go("hear"),
        Step::Label("an address"),
        Step::Attribute { kind: IFA_PROTO, list: HEADERS, none: "hear" },
        Step::If(MARK.into(), "ours"),
        Step::Label("hear"),
        Step::Hear(BYTES_MAX),
        Step::Label("ours"),
        Step::Hear(0),
    ])
}

/// `rtnetlink.h`.
const RTM_NEWADDR: u32 = 20;
/// `if_addr.h`.
const IFA_PROTO: u32 = 11;
/// The bytes of the headers of netlink and of an address.
const HEADERS: u32 = 16 + 8;

fn notices(bytes: &[u8]) -> impl Iterator<Item = Notice> {
    messages::<RouteNetlinkMessage>(bytes).filter_map(|message| {
        match message.map(|it| it.payload) {
            Ok(NetlinkPayload::InnerMessage(message)) => notice(&message),
            Ok(_) | Err(_) => Some(Notice::Anything),
        }
    })
}

fn notice(message: &RouteNetlinkMessage) -> Option<Notice> {
    match message {
        // Ours, extended: the most frequent of all.
        RouteNetlinkMessage::NewAddress(message) => {
            Found::read(message).filter(|found| !found.ours).map(|it| Notice::Address(it.spot.ip))
        }
        RouteNetlinkMessage::DelAddress(message) => {
            Found::read(message).map(|found| Notice::Address(found.spot.ip))
        }
        // Ours, set or extended.
        RouteNetlinkMessage::NewRoute(message) => {
            route::Found::read(message).filter(|found| !found.ours).map(|_| Notice::Route)
        }
        RouteNetlinkMessage::DelRoute(message) => {
            route::Found::read(message).map(|_| Notice::Route)
        }
        _ => Some(Notice::Link),
    }
}
