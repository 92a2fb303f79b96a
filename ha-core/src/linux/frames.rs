//! Frames of one interface: announcements out, other hosts' claims in.

use core::net::IpAddr;
use core::task::{Context, Poll, ready};
use std::io;
use std::os::fd::AsRawFd;
use std::prelude::rust_2024::*;
use std::vec;

use ha_vip::Frame;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{LinkAddr, bind};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;

use super::filter::{ANCILLARY, Size, Step, program};
use crate::driver::watch;

/// Packet sockets (packet(7)) on one interface of Ethernet. They hear the ARP and the neighbor
/// discovery in which others claim its addresses, on the interface's own network: nothing that it
/// sends, nothing tagged for a VLAN.
#[derive(Debug)]
pub(super) struct Frames {
    /// By type of frames.
    sockets: Vec<(u16, AsyncFd<Socket>)>,
    index: u32,
}

impl Frames {
    /// Opens the interface of this number, in this thread's network namespace, to hear who else
    /// claims one of `ips`. Needs the runtime's context, and `CAP_NET_RAW`.
    pub(super) fn open(index: u32, ips: &[IpAddr]) -> io::Result<Self> {
        // A socket of every type is shown each frame, out and in, and each module has its own.
        let has = |v4: bool| ips.iter().any(|ip| ip.is_ipv4() == v4);
        let families = [(has(true), ETH_P_ARP), (has(false), ETH_P_IPV6)];
        let types = families.into_iter().filter_map(|(has, of)| has.then_some(of));
        Self::start(index, types, &filter(ips))
    }

    /// As [`Frames::open`], but to hear who asks for one of `ips`, too: requests of ARP, and
    /// neighbor solicitations. Of those, a socket hears even what a filter behind it drops.
    pub(super) fn questions(index: u32, ips: &[IpAddr]) -> io::Result<Self> {
        Self::start(index, [ETH_P_ALL], &questions(ips))
    }

    fn start(
        index: u32,
        types: impl IntoIterator<Item = u16>,
        filter: &[SockFilter],
    ) -> io::Result<Self> {
        let address = link_address(index)?;
        let open = |of: u16| {
            let protocol = Protocol::from(i32::from(of.to_be()));
            let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(protocol))?;
            socket.attach_filter(filter)?;
            bind(socket.as_raw_fd(), &address)?;
            // Until it was bound, it heard every interface.
            while read(&socket, &mut [0; Self::BYTES_MAX]).is_ok() {}
            Ok((of, watch(socket)?))
        };
        let sockets = types.into_iter().map(open).collect::<io::Result<Vec<_>>>()?;
        assert!(!sockets.is_empty(), "an interface without addresses is not opened");
        Ok(Self { sockets, index })
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
        // The kernel takes what a socket sends for a frame of the socket's own type, and filters on
        // the way out go by that.
        let bytes = frame.as_bytes();
        let types = self.sockets.iter().map(|(of, _)| *of);
        let (_, socket) = &self.sockets[sender(types, bytes)];
        socket.get_ref().send(bytes).map(drop)
    }

    /// Ready when a frame came: its length.
    pub(super) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        bytes: &mut [u8; Self::BYTES_MAX],
    ) -> Poll<io::Result<usize>> {
        for (_, socket) in &self.sockets {
            if let Poll::Ready(read) = poll_read(socket, cx, bytes) {
                return Poll::Ready(read);
            }
        }
        Poll::Pending
    }
}

/// Which of the sockets of these types sends the frame: the one of its type, or the first.
fn sender(mut types: impl Iterator<Item = u16>, frame: &[u8]) -> usize {
    let of = frame.get(12..14).map(|of| u16::from_be_bytes([of[0], of[1]]));
    types.position(|it| Some(it) == of).unwrap_or(0)
}

fn poll_read(
    socket: &AsyncFd<Socket>,
    cx: &mut Context<'_>,
    bytes: &mut [u8],
) -> Poll<io::Result<usize>> {
    loop {
        let mut ready = ready!(socket.poll_read_ready(cx))?;
        match ready.try_io(|socket| read(socket.get_ref(), bytes)) {
            Ok(read) => return Poll::Ready(read),
            Err(_would_block) => {}
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

// Types of frames of `if_ether.h`; of every type is shown what a filter drops, too.
const ETH_P_ALL: u16 = 0x0003;
const ETH_P_ARP: u16 = 0x0806;
const ETH_P_IPV6: u16 = 0x86dd;

/// What is heard: whatever claims one of these addresses. There may be much else on a network, and
/// a socket for each of many modules.
fn filter(ips: &[IpAddr]) -> Vec<SockFilter> {
    let arp = vec![Step::Load(Size::Four, ARP_SENDER)];
    let discovery = vec![
        Step::If(135, "solicitation"),
        Step::If(136, "advertisement"),
        Step::Go("ignore"),
        Step::Label("solicitation"),
        Step::Load(Size::Four, IPV6_SOURCE + 12),
        Step::Go("compare"),
        Step::Label("advertisement"),
        Step::Load(Size::Four, NEIGHBOR_TARGET + 12),
        Step::Label("compare"),
    ];
    hear(ips, arp, discovery)
}

/// What is heard by who answers: whatever asks for one of these addresses, or claims one.
fn questions(ips: &[IpAddr]) -> Vec<SockFilter> {
    let mut arp = vec![Step::Load(Size::Four, ARP_SENDER)];
    arp.extend(v4(ips));
    arp.extend([
        Step::Load(Size::Two, ARP_OPERATION),
        Step::If(1, "request"),
        Step::Go("ignore"),
        Step::Label("request"),
        Step::Load(Size::Four, ARP_TARGET),
    ]);
    let mut discovery = vec![
        Step::If(135, "solicitation"),
        Step::If(136, "target"),
        Step::Go("ignore"),
        Step::Label("solicitation"),
        Step::Load(Size::Four, IPV6_SOURCE + 12),
    ];
    discovery.extend(v6(ips));
    discovery.extend([Step::Label("target"), Step::Load(Size::Four, NEIGHBOR_TARGET + 12)]);
    hear(ips, arp, discovery)
}

/// Hears untagged frames that come in and are about one of these addresses: `arp` loads that of an
/// ARP frame, `discovery`, behind the type of an `ICMPv6` message, the end of that of another one.
fn hear(ips: &[IpAddr], arp: Vec<Step>, discovery: Vec<Step>) -> Vec<SockFilter> {
    let mut steps = vec![
        // `SKF_AD_PKTTYPE`, `PACKET_OUTGOING`.
        Step::Load(Size::Four, ANCILLARY + 4),
        Step::If(4, "ignore"),
        // `SKF_AD_VLAN_TAG_PRESENT`.
        Step::Load(Size::Four, ANCILLARY + 48),
        Step::If(0, "untagged"),
        Step::Go("ignore"),
        Step::Label("untagged"),
        Step::Load(Size::Two, ETHERTYPE),
        Step::If(0x0806, "ARP"),
        Step::If(0x86dd, "IPv6"),
        Step::Go("ignore"),
        Step::Label("ARP"),
    ];
    steps.extend(arp);
    steps.extend(v4(ips));
    steps.extend([
        Step::Go("ignore"),
        Step::Label("IPv6"),
        Step::Load(Size::One, NEXT_HEADER),
        Step::If(58, "ICMPv6"),
        Step::Go("ignore"),
        Step::Label("ICMPv6"),
        Step::Load(Size::One, ICMP_TYPE),
    ]);
    steps.extend(discovery);
    steps.extend(v6(ips));
    steps.extend([
        Step::Label("ignore"),
        Step::Hear(0),
        Step::Label("hear"),
        Step::Hear(Frames::BYTES_MAX),
    ]);
    program(&steps)
}

/// Hears what was loaded last if it is one of these addresses.
fn v4(ips: &[IpAddr]) -> impl Iterator<Item = Step> {
    ips.iter().filter_map(|ip| match ip {
        IpAddr::V4(ip) => Some(Step::If(ip.to_bits(), "hear")),
        IpAddr::V6(_) => None,
    })
}

/// Likewise if it is the last four bytes of sixteen: what is heard in vain is read with care.
fn v6(ips: &[IpAddr]) -> impl Iterator<Item = Step> {
    ips.iter().filter_map(|ip| match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => Some(Step::If((ip.to_bits() & u128::from(u32::MAX)) as u32, "hear")),
    })
}

// Where things are in an untagged frame: behind the 14 bytes of Ethernet, in ARP (RFC 826) and in
// IPv6 (RFC 8200) without extension headers, as neighbor discovery is.
const ETHERTYPE: u32 = 12;
const ARP_OPERATION: u32 = 14 + 6;
const ARP_SENDER: u32 = 14 + 14;
const ARP_TARGET: u32 = 14 + 24;
const NEXT_HEADER: u32 = 14 + 6;
const IPV6_SOURCE: u32 = 14 + 8;
const ICMP_TYPE: u32 = 14 + 40;
const NEIGHBOR_TARGET: u32 = 14 + 40 + 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_sent_by_the_socket_of_its_type() {
        let mut frame = [0; 60];
        let both = [ETH_P_ARP, ETH_P_IPV6];
        frame[12..14].copy_from_slice(&ETH_P_IPV6.to_be_bytes());
        assert_eq!(sender(both.into_iter(), &frame), 1);
        frame[12..14].copy_from_slice(&ETH_P_ARP.to_be_bytes());
        assert_eq!(sender(both.into_iter(), &frame), 0);
        assert_eq!(sender([ETH_P_ALL].into_iter(), &frame), 0);
    }
}
