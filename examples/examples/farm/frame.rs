//! Frames as a client's network card would send them: Ethernet, IPv4, TCP.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use ha_core::ha_farm::{Flow, Protocol};

/// The virtual address of the farm, and its port.
pub(crate) const VIP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 80);

/// What a segment of TCP is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// A client begins.
    Syn,
    /// A request of this number.
    Request(u32),
    /// A client ends.
    Fin,
}

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The connection is there.
    SynAck,
    /// The answer to the request of this number.
    Answer(u32),
    /// There is no such connection.
    Reset,
}

const ETHERNET: usize = 14;
const IP: usize = 20;
const TCP: usize = 20;
const HEADERS: usize = ETHERNET + IP + TCP;
/// The longest frame here.
pub(crate) const FRAME_MAX: usize = HEADERS + 4;

/// A client's frame to the virtual address. Checksums are left out: nobody here looks at them.
pub(crate) fn frame(client: SocketAddrV4, segment: Segment) -> Vec<u8> {
    let (flags, payload) = match segment {
        Segment::Syn => (0x02, None),
        Segment::Request(number) => (0x18, Some(number)),
        Segment::Fin => (0x11, None),
    };
    let mut frame = vec![0; HEADERS];
    frame[..6].copy_from_slice(&[0x5a, 0xfe, 192, 0, 2, 1]);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    frame[12..14].copy_from_slice(&[8, 0]);
    let length = IP + TCP + payload.map_or(0, |_| 4);
    let ip = &mut frame[ETHERNET..];
    (ip[0], ip[3], ip[8], ip[9]) = (0x45, length as u8, 64, 6);
    ip[12..16].copy_from_slice(&client.ip().octets());
    ip[16..20].copy_from_slice(&VIP.ip().octets());
    let tcp = &mut frame[ETHERNET + IP..];
    tcp[..2].copy_from_slice(&client.port().to_be_bytes());
    tcp[2..4].copy_from_slice(&VIP.port().to_be_bytes());
    (tcp[12], tcp[13]) = (0x50, flags);
    frame.extend(payload.into_iter().flat_map(u32::to_be_bytes));
    frame
}

/// What a server's TCP reads of a frame that its kernel took.
pub(crate) fn read(frame: &[u8]) -> Option<(Flow, Segment)> {
    let ip = frame.get(ETHERNET..HEADERS)?;
    let tcp = &ip[IP..];
    let client = Ipv4Addr::from([ip[12], ip[13], ip[14], ip[15]]);
    let flow = Flow {
        protocol: Protocol::Tcp,
        client: IpAddr::V4(client),
        client_port: u16::from_be_bytes([tcp[0], tcp[1]]),
        vip: IpAddr::V4(*VIP.ip()),
        port: VIP.port(),
    };
    let segment = match tcp[13] {
        0x02 => Segment::Syn,
        0x11 => Segment::Fin,
        _ => Segment::Request(u32::from_be_bytes(frame.get(HEADERS..)?.try_into().ok()?)),
    };
    Some((flow, segment))
}

/// A server's answer as a datagram: who, to which port of a client, what.
pub(crate) fn answer(server: usize, port: u16, reply: Reply) -> [u8; 8] {
    let (kind, number) = match reply {
        Reply::SynAck => (0, 0),
        Reply::Answer(number) => (1, number),
        Reply::Reset => (2, 0),
    };
    let mut bytes = [server as u8, kind, 0, 0, 0, 0, 0, 0];
    bytes[2..4].copy_from_slice(&port.to_be_bytes());
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// The same, read.
pub(crate) fn read_answer(bytes: &[u8]) -> Option<(usize, u16, Reply)> {
    let [server, kind, port @ .., _, _, _, _] = bytes else { return None };
    let port = u16::from_be_bytes(port.try_into().ok()?);
    let number = u32::from_be_bytes(bytes[4..].try_into().ok()?);
    let reply = match kind {
        0 => Reply::SynAck,
        1 => Reply::Answer(number),
        2 => Reply::Reset,
        _ => return None,
    };
    Some((usize::from(*server), port, reply))
}
