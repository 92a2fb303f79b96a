//! What of a frame decides: parsed from any bytes, without an allocation.

use core::net::IpAddr;

use crate::{Flow, Protocol, Reason};

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

/// What a packet carries. Flat, and filled in place: an enum of structures, or a result that holds
/// one, is put together in memory byte by byte, and each decision would wait for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct What {
    /// TCP or UDP; `None` for everything else.
    pub(crate) protocol: Option<Protocol>,
    /// Whether the ports are known: not of a fragment, nor of an embedded part that is too short.
    pub(crate) has_ports: bool,
    pub(crate) client_port: u16,
    pub(crate) port: u16,
    /// A segment that begins a connection.
    pub(crate) syn: bool,
    /// An echo request, a fragment of ICMP, or an error about an answer to one.
    pub(crate) echo: bool,
}

impl<const N: usize> Packet<N> {
    /// Nothing is known of it.
    pub(crate) const BLANK: Self =
        Self { client: [0; N], id: None, what: What::OTHER, embedded: false };

    /// Whose it is, if its ports are known.
    #[inline]
    pub(crate) fn flow(&self, vip: [u8; N]) -> Option<Flow>
    where
        IpAddr: From<[u8; N]>,
    {
        let What { protocol, has_ports, client_port, port, .. } = self.what;
        let (client, vip) = (self.client.into(), vip.into());
        let protocol = protocol.filter(|_| has_ports)?;
        Some(Flow { protocol, client, client_port, vip, port })
    }
}

impl What {
    const OTHER: Self =
        Self { protocol: None, has_ports: false, client_port: 0, port: 0, syn: false, echo: false };
    const ECHO: Self = Self { echo: true, ..Self::OTHER };

    const fn portless(protocol: Protocol) -> Self {
        Self { protocol: Some(protocol), ..Self::OTHER }
    }

    #[inline]
    pub(crate) fn is_tcp(self) -> bool {
        self.protocol == Some(Protocol::Tcp)
    }
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

#[expect(clippy::inline_always, reason = "of each packet; a call costs more")]
#[inline(always)]
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[expect(clippy::inline_always, reason = "of each packet; a call costs more")]
#[inline(always)]
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
pub(crate) fn v4(packet: &[u8], vip: [u8; 4], into: &mut Packet<4>) -> Result<(), Reason> {
    let header: [u8; V4_LEN] = array(packet, 0).ok_or(Reason::Truncated)?;
    let len = usize::from(header[0] & 0xf) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4 || len < V4_LEN || total < len {
        return Err(Reason::Malformed);
    }
    let body = packet.get(len..total).ok_or(Reason::Truncated)?;
    into.client = [header[12], header[13], header[14], header[15]];
    into.id = Some(u16::from_be_bytes([header[4], header[5]]));
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    let what = &mut into.what;
    match header[9] {
        TCP if fragment => what.protocol = Some(Protocol::Tcp),
        UDP if fragment => what.protocol = Some(Protocol::Udp),
        ICMP if fragment => what.echo = true,
        TCP => tcp(body, what)?,
        UDP => udp(body, what)?,
        ICMP => match kind(body)? {
            8 => what.echo = true,
            3 | 4 | 5 | 11 | 12 => *into = v4_embedded(&body[ICMP_LEN..], vip)?,
            _ => {}
        },
        _ => {}
    }
    Ok(())
}

/// The packet of `vip`'s that an ICMP error is about, cut off anywhere.
#[cold]
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
        protocol if protocol == icmp => return What::ECHO,
        _ => return What::OTHER,
    };
    match (number(body, 0), number(body, 2)) {
        (Some(port), Some(client_port)) => {
            What { has_ports: true, client_port, port, ..What::portless(protocol) }
        }
        _ => What::portless(protocol),
    }
}

#[expect(clippy::inline_always, reason = "of each packet; a call costs more")]
#[inline(always)]
fn tcp(body: &[u8], into: &mut What) -> Result<(), Reason> {
    let header: &[u8; TCP_LEN] = body.first_chunk().ok_or(Reason::Truncated)?;
    into.protocol = Some(Protocol::Tcp);
    into.has_ports = true;
    into.client_port = u16::from_be_bytes([header[0], header[1]]);
    into.port = u16::from_be_bytes([header[2], header[3]]);
    into.syn = header[13] & 0x12 == 0x02;
    Ok(())
}

#[expect(clippy::inline_always, reason = "of each packet; a call costs more")]
#[inline(always)]
fn udp(body: &[u8], into: &mut What) -> Result<(), Reason> {
    let header: &[u8; UDP_LEN] = body.first_chunk().ok_or(Reason::Truncated)?;
    into.protocol = Some(Protocol::Udp);
    into.has_ports = true;
    into.client_port = u16::from_be_bytes([header[0], header[1]]);
    into.port = u16::from_be_bytes([header[2], header[3]]);
    Ok(())
}

/// The type of an ICMP message.
fn kind(body: &[u8]) -> Result<u8, Reason> {
    body.first_chunk::<ICMP_LEN>().map(|header| header[0]).ok_or(Reason::Truncated)
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
pub(crate) fn v6(packet: &[u8], vip: [u8; 16], into: &mut Packet<16>) -> Result<(), Reason> {
    let packet = v6_whole(packet)?;
    into.client = array(packet, 8).ok_or(Reason::Truncated)?;
    let upper = walk(packet)?;
    let body = packet.get(upper.at..).ok_or(Reason::Truncated)?;
    let fragment = upper.fragment != Fragment::Whole;
    let what = &mut into.what;
    match upper.protocol {
        TCP if fragment => what.protocol = Some(Protocol::Tcp),
        UDP if fragment => what.protocol = Some(Protocol::Udp),
        ICMP_V6 if fragment => what.echo = true,
        0 | 43 | 44 | 51 | 60 if fragment => return Err(Reason::Fragment),
        TCP => tcp(body, what)?,
        UDP => udp(body, what)?,
        ICMP_V6 => match kind(body)? {
            128 => what.echo = true,
            1..=4 => *into = v6_embedded(&body[ICMP_LEN..], vip)?,
            _ => {}
        },
        _ => {}
    }
    Ok(())
}

/// As [`v4_embedded`].
#[cold]
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
