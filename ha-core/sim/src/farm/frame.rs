//! Frames as clients and members send them: as much of them as the filter reads.

use std::net::{IpAddr, Ipv4Addr};

use ha_farm::{Flow, Mac, Protocol};

/// What a TCP segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// A connection is to begin.
    Syn,
    /// The third of a handshake, and every byte after it.
    Ack,
    /// The connection ends.
    Fin,
    /// The client does not know that connection.
    Rst,
}

impl Segment {
    fn flags(self) -> u8 {
        match self {
            Self::Syn => 0x02,
            Self::Ack => 0x10,
            Self::Fin => 0x11,
            Self::Rst => 0x04,
        }
    }
}

/// The farm's virtual address.
pub const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 100));
/// Its hardware address in mode invisible: `5A:FE` and the address.
pub const VIRTUAL: Mac = Mac([0x5a, 0xfe, 10, 1, 0, 100]);
/// The hardware address of the clients' router.
pub const CLIENT: Mac = Mac([0x02, 0xcc, 0, 0, 0, 1]);
/// The TCP service's port.
pub const TCP_PORT: u16 = 80;
/// The port of the TCP service that comes and goes.
pub const WEB_PORT: u16 = 443;
/// The UDP service's port.
pub const UDP_PORT: u16 = 53;

/// More fragments follow (RFC 791).
const MORE: u16 = 0x2000;

/// A member's hardware address.
pub fn mac(node: usize) -> Mac {
    Mac([0x02, 0, 0, 0, 0, node as u8])
}

/// The flow of a client's port to the farm.
pub fn flow(protocol: Protocol, client: u32, client_port: u16) -> Flow {
    let port = match protocol {
        Protocol::Tcp => TCP_PORT,
        Protocol::Udp => UDP_PORT,
    };
    let client = IpAddr::V4(Ipv4Addr::from(0x0a09_0000 + client));
    Flow { protocol, client, client_port, vip: VIP, port }
}

/// The frame of a TCP segment of `flow`.
pub fn tcp(from: Mac, to: Mac, flow: &Flow, segment: Segment) -> Vec<u8> {
    let mut body = ports(flow);
    body.extend([0; 8]);
    body.extend([0x50, segment.flags(), 0xff, 0xff, 0, 0, 0, 0]);
    ipv4(from, to, flow, 6, 0, &body)
}

/// The frame of a UDP datagram of `flow`.
pub fn udp(from: Mac, to: Mac, flow: &Flow) -> Vec<u8> {
    let mut body = ports(flow);
    body.extend([0, 12, 0, 0, 1, 2, 3, 4]);
    ipv4(from, to, flow, 17, 0, &body)
}

/// The first fragment of a packet of `flow`, or a later one, which has no ports.
pub fn fragment(from: Mac, to: Mac, flow: &Flow, first: bool) -> Vec<u8> {
    let protocol = match flow.protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    };
    if first {
        let mut body = ports(flow);
        body.extend([0; 20]);
        return ipv4(from, to, flow, protocol, MORE, &body);
    }
    ipv4(from, to, flow, protocol, 100, &[0; 16])
}

/// An ARP request of a client for the virtual address.
pub fn who_has(from: Mac) -> Vec<u8> {
    let mut frame = ethernet(from, Mac([0xff; 6]), 0x0806);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(from.0);
    frame.extend([10, 9, 0, 1]);
    frame.extend([0; 6]);
    frame.extend(octets(VIP));
    frame
}

fn ipv4(from: Mac, to: Mac, flow: &Flow, protocol: u8, offset: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = ethernet(from, to, 0x0800);
    let length = 20 + body.len() as u16;
    frame.extend([0x45, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([0, 7]);
    frame.extend(offset.to_be_bytes());
    frame.extend([64, protocol, 0, 0]);
    frame.extend(octets(flow.client));
    frame.extend(octets(flow.vip));
    frame.extend(body);
    frame
}

fn ethernet(from: Mac, to: Mac, kind: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(64);
    frame.extend(to.0);
    frame.extend(from.0);
    frame.extend(kind.to_be_bytes());
    frame
}

fn ports(flow: &Flow) -> Vec<u8> {
    let mut body = Vec::with_capacity(20);
    body.extend(flow.client_port.to_be_bytes());
    body.extend(flow.port.to_be_bytes());
    body
}

fn octets(address: IpAddr) -> [u8; 4] {
    match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(_) => {
            unreachable!("the simulated farm speaks IPv4; the filter's tests speak both")
        }
    }
}
