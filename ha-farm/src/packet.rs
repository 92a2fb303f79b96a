//! What of a frame decides: parsed from any bytes, without an allocation.

use crate::{Protocol, Reason};

/// An IP packet to a VIP; `N` bytes are an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet<const N: usize> {
    /// Whose packet it is; of an ICMP error, whom the packet went to that is embedded in it.
    pub(crate) client: [u8; N],
    /// The identification, if the client gave one.
    pub(crate) id: Option<u16>,
    pub(crate) what: What,
    /// An ICMP error: `what` and `client` are of the packet that is embedded in it.
    pub(crate) embedded: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Ports {
        protocol: Protocol,
        client_port: u16,
        port: u16,
        syn: bool,
    },
    /// A fragment, or the embedded part of a packet, whose ports are not known.
    Portless(Protocol),
    /// An echo request, a fragment of ICMP, or an error about an answer to one.
    Echo,
    Other,
}

/// What a frame holds, and where that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ether<'a> {
    Arp(&'a [u8]),
    V4(&'a [u8]),
    V6(&'a [u8]),
    Other,
}

/// Up to two VLAN tags are skipped (IEEE 802.1Q, 802.1ad).
const TAGS_MAX: usize = 2;
/// More extension headers than that are not followed. Real packets have two or three.
const HEADERS_MAX: usize = 8;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;
/// Of a TCP header without options, and of UDP's and ICMP's.
const TCP_LEN: usize = 20;
const UDP_LEN: usize = 8;
const ICMP_LEN: usize = 8;
const V4_LEN: usize = 20;
const V6_LEN: usize = 40;

pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

#[inline]
pub(crate) fn ether(frame: &[u8]) -> Ether<'_> {
    let mut at = 12;
    for _ in 0..=TAGS_MAX {
        let Some(kind) = number(frame, at) else { return Ether::Other };
        let rest = &frame[at + 2..];
        match kind {
            0x0800 => return Ether::V4(rest),
            0x86dd => return Ether::V6(rest),
            0x0806 => return Ether::Arp(rest),
            0x8100 | 0x88a8 => at += 4,
            _ => return Ether::Other,
        }
    }
    Ether::Other
}

/// Whom an ARP packet of Ethernet and IPv4 asks for or tells.
pub(crate) fn arp_target(packet: &[u8]) -> Option<[u8; 4]> {
    packet.starts_with(&[0, 1, 8, 0, 6, 4]).then(|| array(packet, 24))?
}

/// Where the IPv4 packet goes, if its header is there.
#[inline]
pub(crate) fn v4_destination(packet: &[u8]) -> Option<[u8; 4]> {
    array(packet, 16)
}

/// Where the IPv6 packet goes, if its header is there.
#[inline]
pub(crate) fn v6_destination(packet: &[u8]) -> Option<[u8; 16]> {
    array(packet, 24)
}

/// The IPv4 packet to `vip`, whose first 20 bytes are there.
#[inline]
pub(crate) fn v4(packet: &[u8], vip: [u8; 4]) -> Result<Packet<4>, Reason> {
    let header: [u8; V4_LEN] = array(packet, 0).ok_or(Reason::Truncated)?;
    let len = usize::from(header[0] & 0xf) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4 || len < V4_LEN || total < len {
        return Err(Reason::Malformed);
    }
    let body = packet.get(len..total).ok_or(Reason::Truncated)?;
    let client = [header[12], header[13], header[14], header[15]];
    let id = Some(u16::from_be_bytes([header[4], header[5]]));
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    let what = match header[9] {
        TCP if fragment => What::Portless(Protocol::Tcp),
        UDP if fragment => What::Portless(Protocol::Udp),
        ICMP if fragment => What::Echo,
        TCP => tcp(body)?,
        UDP => udp(body)?,
        ICMP => match kind(body)? {
            8 => What::Echo,
            3 | 4 | 5 | 11 | 12 => return v4_embedded(&body[ICMP_LEN..], vip),
            _ => What::Other,
        },
        _ => What::Other,
    };
    Ok(Packet { client, id, what, embedded: false })
}

/// The packet of `vip`'s that an ICMP error is about, cut off anywhere.
fn v4_embedded(packet: &[u8], vip: [u8; 4]) -> Result<Packet<4>, Reason> {
    let header: [u8; V4_LEN] = array(packet, 0).ok_or(Reason::Embedded)?;
    let len = usize::from(header[0] & 0xf) * 4;
    if header[0] >> 4 != 4 || len < V4_LEN || header[12..16] != vip {
        return Err(Reason::Embedded);
    }
    let client = [header[16], header[17], header[18], header[19]];
    let first = number(&header, 6).is_some_and(|offset| offset << 3 == 0);
    let body = if first { packet.get(len..).unwrap_or(&[]) } else { &[] };
    let what = embedded(header[9], body, ICMP);
    Ok(Packet { client, id: None, what, embedded: true })
}

/// What follows the header of a packet of ours, its ports the other way round.
fn embedded(protocol: u8, body: &[u8], icmp: u8) -> What {
    let protocol = match protocol {
        TCP => Protocol::Tcp,
        UDP => Protocol::Udp,
        protocol if protocol == icmp => return What::Echo,
        _ => return What::Other,
    };
    match (number(body, 0), number(body, 2)) {
        (Some(port), Some(client_port)) => What::Ports { protocol, client_port, port, syn: false },
        _ => What::Portless(protocol),
    }
}

fn tcp(body: &[u8]) -> Result<What, Reason> {
    let header: [u8; TCP_LEN] = array(body, 0).ok_or(Reason::Truncated)?;
    Ok(What::Ports {
        protocol: Protocol::Tcp,
        client_port: u16::from_be_bytes([header[0], header[1]]),
        port: u16::from_be_bytes([header[2], header[3]]),
        syn: header[13] & 0x12 == 0x02,
    })
}

fn udp(body: &[u8]) -> Result<What, Reason> {
    let header: [u8; UDP_LEN] = array(body, 0).ok_or(Reason::Truncated)?;
    Ok(What::Ports {
        protocol: Protocol::Udp,
        client_port: u16::from_be_bytes([header[0], header[1]]),
        port: u16::from_be_bytes([header[2], header[3]]),
        syn: false,
    })
}

/// The type of an ICMP message.
fn kind(body: &[u8]) -> Result<u8, Reason> {
    array::<ICMP_LEN>(body, 0).map(|header| header[0]).ok_or(Reason::Truncated)
}

/// What follows the extension headers of an IPv6 packet.
#[derive(Clone, Copy)]
struct Upper {
    protocol: u8,
    at: usize,
    fragment: Fragment,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fragment {
    Whole,
    First,
    Later,
}

/// Walks over the extension headers (RFC 8200, RFC 4302). A lone fragment is a whole packet
/// (RFC 6946); behind the header of any other nothing is read, for only the first has more.
#[inline]
fn walk(packet: &[u8]) -> Result<Upper, Reason> {
    let mut protocol = packet[6];
    let mut at = V6_LEN;
    for _ in 0..=HEADERS_MAX {
        let header: [u8; 2] = match protocol {
            0 | 43 | 44 | 51 | 60 => array(packet, at).ok_or(Reason::Truncated)?,
            _ => return Ok(Upper { protocol, at, fragment: Fragment::Whole }),
        };
        let units = usize::from(header[1]);
        match protocol {
            44 => {
                let offset = number(packet, at + 2).ok_or(Reason::Truncated)?;
                at += 8;
                if offset & 0xfff9 != 0 {
                    let first = offset & 0xfff8 == 0;
                    let fragment = if first { Fragment::First } else { Fragment::Later };
                    return Ok(Upper { protocol: header[0], at, fragment });
                }
            }
            51 => at += 4 * (units + 2),
            _ => at += 8 * (units + 1),
        }
        if at > packet.len() {
            return Err(Reason::Truncated);
        }
        protocol = header[0];
    }
    Err(Reason::Headers)
}

/// The packet without what follows it in the frame; its first 40 bytes are there.
fn v6_whole(packet: &[u8]) -> Result<&[u8], Reason> {
    if packet[0] >> 4 != 6 {
        return Err(Reason::Malformed);
    }
    let payload = number(packet, 4).ok_or(Reason::Truncated)?;
    packet.get(..V6_LEN + usize::from(payload)).ok_or(Reason::Truncated)
}

/// About whose address the neighbor discovery is that this packet is, if it is one: a
/// solicitation or an advertisement. The packet's first 40 bytes are there.
pub(crate) fn nd_target(packet: &[u8]) -> Option<[u8; 16]> {
    if !matches!(packet[6], 0 | 43 | 44 | 51 | 58 | 60) {
        return None;
    }
    let packet = v6_whole(packet).ok()?;
    let upper = walk(packet).ok()?;
    let solicits = upper.protocol == ICMP_V6 && upper.fragment == Fragment::Whole;
    let body = packet.get(upper.at..)?;
    (solicits && matches!(body.first(), Some(135 | 136))).then(|| array(body, 8))?
}

/// The IPv6 packet to `vip`, whose first 40 bytes are there.
#[inline]
pub(crate) fn v6(packet: &[u8], vip: [u8; 16]) -> Result<Packet<16>, Reason> {
    let packet = v6_whole(packet)?;
    let client = array(packet, 8).ok_or(Reason::Truncated)?;
    let upper = walk(packet)?;
    let body = packet.get(upper.at..).ok_or(Reason::Truncated)?;
    let fragment = upper.fragment != Fragment::Whole;
    let what = match upper.protocol {
        TCP if fragment => What::Portless(Protocol::Tcp),
        UDP if fragment => What::Portless(Protocol::Udp),
        ICMP_V6 if fragment => What::Echo,
        0 | 43 | 44 | 51 | 60 if fragment => return Err(Reason::Fragment),
        TCP => tcp(body)?,
        UDP => udp(body)?,
        ICMP_V6 => match kind(body)? {
            128 => What::Echo,
            1..=4 => return v6_embedded(&body[ICMP_LEN..], vip),
            _ => What::Other,
        },
        _ => What::Other,
    };
    Ok(Packet { client, id: None, what, embedded: false })
}

/// As [`v4_embedded`].
fn v6_embedded(packet: &[u8], vip: [u8; 16]) -> Result<Packet<16>, Reason> {
    let header: [u8; V6_LEN] = array(packet, 0).ok_or(Reason::Embedded)?;
    let upper = walk(packet).map_err(|_| Reason::Embedded)?;
    if header[0] >> 4 != 6 || header[8..24] != vip {
        return Err(Reason::Embedded);
    }
    let body = match upper.fragment {
        Fragment::Whole | Fragment::First => packet.get(upper.at..).unwrap_or(&[]),
        Fragment::Later => &[],
    };
    let client = array(&header, 24).ok_or(Reason::Embedded)?;
    let what = embedded(upper.protocol, body, ICMP_V6);
    Ok(Packet { client, id: None, what, embedded: true })
}
