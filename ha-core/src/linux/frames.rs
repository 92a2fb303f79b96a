//! Frames of one interface: announcements out, other hosts' claims in.

use core::task::{Context, Poll, ready};
use std::io;
use std::os::fd::AsRawFd;
use std::prelude::rust_2024::*;

use ha_vip::Frame;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{LinkAddr, bind};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;

use crate::driver::watch;

/// A packet socket (packet(7)) on one interface of Ethernet. Hears ARP and neighbor discovery of
/// others, of the interface's own network: nothing that it sends, nothing tagged for a VLAN.
#[derive(Debug)]
pub(super) struct Frames {
    socket: AsyncFd<Socket>,
    index: u32,
}

impl Frames {
    /// Opens the interface of this number, in this thread's network namespace. Needs the runtime's
    /// context, and `CAP_NET_RAW`.
    pub(super) fn open(index: u32) -> io::Result<Self> {
        let everything = Protocol::from(i32::from(ETH_P_ALL.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(everything))?;
        socket.attach_filter(&FILTER)?;
        bind(socket.as_raw_fd(), &link_address(index)?)?;
        let frames = Self { socket: watch(socket)?, index };
        // Until it was bound, it heard every interface.
        while read(frames.socket.get_ref(), &mut [0; Self::BYTES_MAX]).is_ok() {}
        Ok(frames)
    }

    /// What an opened socket reads at once: a neighbor advertisement with every option that RFC
    /// 4861 knows of is shorter. The rest of a longer frame is cut off, and claims nothing.
    pub(super) const BYTES_MAX: usize = 512;

    /// The number of its interface.
    pub(super) fn index(&self) -> u32 {
        self.index
    }

    /// Sends a frame now, or never.
    pub(super) fn send(&self, frame: &Frame) -> io::Result<()> {
        self.socket.get_ref().send(frame.as_bytes()).map(drop)
    }

    /// Ready when a frame came: its length.
    pub(super) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        bytes: &mut [u8; Self::BYTES_MAX],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.socket.poll_read_ready(cx))?;
            match ready.try_io(|socket| read(socket.get_ref(), bytes)) {
                Ok(read) => return Poll::Ready(read),
                Err(_would_block) => {}
            }
        }
    }
}

fn read(socket: &Socket, bytes: &mut [u8]) -> io::Result<usize> {
    // `Read` of a socket fills plain bytes; its own `recv` wants uninitialised ones.
    io::Read::read(&mut &*socket, bytes)
}

/// The interface's address for a packet socket. A list of all is the way to one without `unsafe`.
fn link_address(index: u32) -> io::Result<LinkAddr> {
    let found = getifaddrs()?.find_map(|one| {
        let address = one.address?.as_link_addr().copied()?;
        (address.ifindex() == index as usize).then_some(address)
    });
    found.ok_or_else(|| io::Error::from_raw_os_error(rustix::io::Errno::NODEV.raw_os_error()))
}

/// `if_ether.h`: frames of every type. One socket hears both families, with the filter's help.
const ETH_P_ALL: u16 = 0x0003;

/// Where the kernel keeps what it knows of a frame besides its bytes (`SKF_AD_OFF` of `filter.h`).
const ANCILLARY: u32 = 0xffff_f000;

// Instructions of the classic packet filter (`linux/filter.h`), in the order of their use.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// What is heard; each jump says how many instructions to leave out if equal, and if not.
const FILTER: [SockFilter; 14] = [
    // Of ours (`SKF_AD_PKTTYPE`, `PACKET_OUTGOING`).
    SockFilter::new(LOAD_WORD, 0, 0, ANCILLARY + 4),
    SockFilter::new(JUMP_IF_EQUAL, 11, 0, 4),
    // Of a VLAN (`SKF_AD_VLAN_TAG_PRESENT`).
    SockFilter::new(LOAD_WORD, 0, 0, ANCILLARY + 48),
    SockFilter::new(JUMP_IF_EQUAL, 0, 9, 0),
    // ARP.
    SockFilter::new(LOAD_HALF, 0, 0, 12),
    SockFilter::new(JUMP_IF_EQUAL, 6, 0, 0x0806),
    // IPv6, and in it ICMPv6, a neighbor solicitation or advertisement.
    SockFilter::new(JUMP_IF_EQUAL, 0, 6, 0x86dd),
    SockFilter::new(LOAD_BYTE, 0, 0, 20),
    SockFilter::new(JUMP_IF_EQUAL, 0, 4, 58),
    SockFilter::new(LOAD_BYTE, 0, 0, 54),
    SockFilter::new(JUMP_IF_EQUAL, 1, 0, 135),
    SockFilter::new(JUMP_IF_EQUAL, 0, 1, 136),
    SockFilter::new(RETURN, 0, 0, Frames::BYTES_MAX as u32),
    SockFilter::new(RETURN, 0, 0, 0),
];
