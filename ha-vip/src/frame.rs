//! The frames that tell the network where an address is now, and those that ask who has it.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use pnet_packet::arp::{
    ArpHardwareTypes, ArpOperation, ArpOperations, ArpPacket, MutableArpPacket,
};
use pnet_packet::ethernet::{EtherType, EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet_packet::icmpv6::ndp::{
    MutableNeighborAdvertPacket, MutableNeighborSolicitPacket, NdpOptionType, NdpOptionTypes,
    NeighborAdvertFlags,
};
use pnet_packet::icmpv6::{Icmpv6Packet, Icmpv6Types, checksum};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::{Ipv6Packet, MutableIpv6Packet};

use crate::Mac;

/// A frame, whole from its destination on and without its checksum, kept inline. The network card
/// pads what is shorter than 60 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Frame {
    len: u8,
    bytes: [u8; Self::BYTES_MAX],
}

impl Frame {
    /// The longest frame: a neighbor advertisement.
    pub const BYTES_MAX: usize = ADVERTISEMENT;

    /// The bytes for the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The same frame, sent by another card: its source is `mac`, and what it says stays. A switch
    /// learns from the source, its receivers believe what it says.
    #[must_use]
    pub fn sent_by(mut self, mac: Mac) -> Self {
        self.bytes[6..12].copy_from_slice(&mac.0);
        self
    }

    fn zeroed(len: usize) -> Self {
        assert!(len <= Self::BYTES_MAX, "the end of the frame would be missing");
        Self { len: len as u8, bytes: [0; Self::BYTES_MAX] }
    }

    fn ethernet(&mut self, destination: Mac, source: Mac, what: EtherType) {
        let bytes = &mut self.bytes[..ETHERNET];
        let mut ethernet = MutableEthernetPacket::new(bytes).expect("it has its length");
        ethernet.set_destination(destination.0.into());
        ethernet.set_source(source.0.into());
        ethernet.set_ethertype(what);
    }
}

impl fmt::Debug for Frame {
    /// The bytes in hexadecimal digits, without gaps.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// In which of its two forms an address is announced by ARP. Devices ignore the one or the other
/// (`FIELD.md` row 3), so both are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpForm {
    /// A request for one's own address: RFC 5227 §3 recommends it.
    Request,
    /// A reply that nobody asked for: RFC 5944 §4.6 has both.
    Reply,
}

/// An announcement that `ip` is at `mac`, to everybody on the link (RFC 826, RFC 5227 §3).
///
/// | at | bytes | what | here |
/// |---|---|---|---|
/// | 0 | 6 | destination | `ff:ff:ff:ff:ff:ff` |
/// | 6 | 6 | source | `mac` |
/// | 12 | 2 | type | 0x0806, ARP |
/// | 14 | 2 | hardware | 1, Ethernet |
/// | 16 | 2 | protocol | 0x0800, IPv4 |
/// | 18 | 2 | lengths | 6 and 4 |
/// | 20 | 2 | operation | 1 request, 2 reply |
/// | 22 | 6 | sender's hardware | `mac` |
/// | 28 | 4 | sender's protocol | `ip` |
/// | 32 | 6 | target's hardware | zero in a request (RFC 5227), `mac` in a reply (RFC 5944) |
/// | 38 | 4 | target's protocol | `ip` |
pub fn arp_announcement(ip: Ipv4Addr, mac: Mac, form: ArpForm) -> Frame {
    let (operation, target) = match form {
        ArpForm::Request => (ArpOperations::Request, Mac([0; 6])),
        ArpForm::Reply => (ArpOperations::Reply, mac),
    };
    let mut frame = Frame::zeroed(ARP);
    frame.ethernet(BROADCAST, mac, EtherTypes::Arp);
    fill_arp(&mut frame.bytes[ETHERNET..ARP], (ip, mac), (ip, target), operation);
    frame
}

/// The question who has `ip`, from `mac` (RFC 5227 §2.1.1): an [`arp_announcement`] of the form
/// [`ArpForm::Request`], but with zeros as the sender's protocol address, so that it claims nothing
/// and changes no cache. Whoever has the address answers; not the machine that asks.
pub fn arp_probe(ip: Ipv4Addr, mac: Mac) -> Frame {
    let mut frame = Frame::zeroed(ARP);
    frame.ethernet(BROADCAST, mac, EtherTypes::Arp);
    let (sender, target) = ((Ipv4Addr::UNSPECIFIED, mac), (ip, Mac([0; 6])));
    fill_arp(&mut frame.bytes[ETHERNET..ARP], sender, target, ArpOperations::Request);
    frame
}

/// An unsolicited neighbor advertisement that `ip` is at `mac`, to all nodes on the link (RFC 4861
/// §4.4 and §7.2.6).
///
/// | at | bytes | what | here |
/// |---|---|---|---|
/// | 0 | 6 | destination | `33:33:00:00:00:01` (RFC 2464 §7) |
/// | 6 | 6 | source | `mac` |
/// | 12 | 2 | type | 0x86dd, IPv6 |
/// | 14 | 4 | version, class, flow | 6, 0, 0 |
/// | 18 | 2 | length of what follows | 32 |
/// | 20 | 1 | next header | 58, `ICMPv6` |
/// | 21 | 1 | hop limit | 255: from this link |
/// | 22 | 16 | source | `ip` |
/// | 38 | 16 | destination | `ff02::1` |
/// | 54 | 1 | type | 136, neighbor advertisement |
/// | 55 | 1 | code | 0 |
/// | 56 | 2 | checksum | of all from here and of the addresses |
/// | 58 | 1 | flags | 0x20: override; not solicited, not a router |
/// | 59 | 3 | reserved | 0 |
/// | 62 | 16 | target | `ip` |
/// | 78 | 2 | option | 2, target's link-layer address; 1 times 8 bytes |
/// | 80 | 6 | option's value | `mac` |
///
/// The router flag is never set: clients must not use this address as their gateway.
pub fn neighbor_advertisement(ip: Ipv6Addr, mac: Mac) -> Frame {
    advertise(ip, mac, (ALL_NODES, ALL_NODES_MAC), NeighborAdvertFlags::Override)
}

/// The question who has `ip`, from `mac`: a neighbor solicitation as for the detection of
/// duplicates (RFC 4861 §4.3, RFC 4862 §5.4.2), which claims nothing and changes no cache. Whoever
/// has the address tells all nodes; not the machine that asks.
///
/// | at | bytes | what | here |
/// |---|---|---|---|
/// | 0 | 6 | destination | `33:33:ff` and the last three bytes of `ip` |
/// | 6 | 6 | source | `mac` |
/// | 12 | 2 | type | 0x86dd, IPv6 |
/// | 14 | 4 | version, class, flow | 6, 0, 0 |
/// | 18 | 2 | length of what follows | 24 |
/// | 20 | 1 | next header | 58, `ICMPv6` |
/// | 21 | 1 | hop limit | 255: from this link |
/// | 22 | 16 | source | `::` |
/// | 38 | 16 | destination | `ff02::1:ff00:0` and the last three bytes of `ip` |
/// | 54 | 1 | type | 135, neighbor solicitation |
/// | 55 | 1 | code | 0 |
/// | 56 | 2 | checksum | of all from here and of the addresses |
/// | 58 | 4 | reserved | 0 |
/// | 62 | 16 | target | `ip` |
pub fn neighbor_probe(ip: Ipv6Addr, mac: Mac) -> Frame {
    solicit(ip, mac, None)
}

/// The question who has `ip`, from the card `mac` (RFC 4861 §4.3): a [`neighbor_probe`], but from
/// the address of the link that every card of Ethernet has (RFC 4291 §2.5.6), with the option that
/// says where that is (1, once 8 bytes, `mac`, behind the target). So the answer comes to who asks
/// alone: a probe's comes to all nodes, and moves them to who answers.
pub fn neighbor_question(ip: Ipv6Addr, mac: Mac) -> Frame {
    let mut own = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 0];
    let (vendor, rest) = mac.0.split_at(3);
    own[8..11].copy_from_slice(vendor);
    own[13..].copy_from_slice(rest);
    // Given by a vendor, or by hand: told the other way round.
    own[8] ^= 2;
    solicit(ip, mac, Some(Ipv6Addr::from(own)))
}

/// A solicitation; from somebody with the option that says where he is.
fn solicit(ip: Ipv6Addr, mac: Mac, asker: Option<Ipv6Addr>) -> Frame {
    let [.., a, b, c] = ip.octets();
    let group = u128::from(SOLICITED) | u128::from(ip) & 0xff_ffff;
    let len = SOLICITATION + if asker.is_some() { OPTION } else { 0 };
    let mut frame = Frame::zeroed(len);
    frame.ethernet(Mac([0x33, 0x33, 0xff, a, b, c]), mac, EtherTypes::Ipv6);
    let bytes = &mut frame.bytes[ETHERNET..len];
    let (header, message) = bytes.split_at_mut(Ipv6Packet::minimum_packet_size());
    let source = asker.unwrap_or(Ipv6Addr::UNSPECIFIED);
    fill_ipv6(header, source, Ipv6Addr::from(group), message.len());
    if asker.is_some() {
        let at = message.len() - OPTION;
        fill_option(&mut message[at..], NdpOptionTypes::SourceLLAddr, mac);
    }
    let mut solicitation = MutableNeighborSolicitPacket::new(message).expect("it has its length");
    solicitation.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
    solicitation.set_target_addr(ip.octets().into());
    let header = Ipv6Packet::new(header).expect("it has its length");
    let whole = Icmpv6Packet::new(message).expect("it has its length");
    let sum = checksum(&whole, &header.get_source(), &header.get_destination());
    let mut solicitation = MutableNeighborSolicitPacket::new(message).expect("it has its length");
    solicitation.set_checksum(sum);
    frame
}

/// The answer by ARP that `ip` is at `mac`, to who asked (RFC 826): as [`arp_announcement`] of the
/// form [`ArpForm::Reply`], but to one card, with its addresses as the target's.
pub fn arp_answer(ip: Ipv4Addr, mac: Mac, (asker, card): (Ipv4Addr, Mac)) -> Frame {
    let mut frame = Frame::zeroed(ARP);
    frame.ethernet(card, mac, EtherTypes::Arp);
    let bytes = &mut frame.bytes[ETHERNET..ARP];
    fill_arp(bytes, (ip, mac), (asker, card), ArpOperations::Reply);
    frame
}

/// The answer by neighbor discovery that `ip` is at `mac`, to who asked (RFC 4861 §7.2.4): as
/// [`neighbor_advertisement`], but to one node, with the flag *solicited* set beside *override*
/// (0x60 at 58).
pub fn neighbor_answer(ip: Ipv6Addr, mac: Mac, (asker, card): (Ipv6Addr, Mac)) -> Frame {
    let flags = NeighborAdvertFlags::Override | NeighborAdvertFlags::Solicited;
    advertise(ip, mac, (asker, card), flags)
}

/// The length of a header of Ethernet.
const ETHERNET: usize = EthernetPacket::minimum_packet_size();
/// The length of an announcement by ARP.
const ARP: usize = ETHERNET + ArpPacket::minimum_packet_size();
/// The length of an option that names a hardware address.
const OPTION: usize = 8;
/// The length of a neighbor advertisement without options.
const FIXED: usize = MutableNeighborAdvertPacket::minimum_packet_size();
/// The length of an announcement by neighbor discovery.
const ADVERTISEMENT: usize = ETHERNET + Ipv6Packet::minimum_packet_size() + FIXED + OPTION;
/// The length of a neighbor solicitation without options.
const SOLICITATION: usize = ETHERNET
    + Ipv6Packet::minimum_packet_size()
    + MutableNeighborSolicitPacket::minimum_packet_size();
const _: () = assert!(ARP == 42 && ADVERTISEMENT == 86, "the tables above would be wrong");
const _: () = assert!(SOLICITATION == 78, "the table above would be wrong");

const BROADCAST: Mac = Mac([0xff; 6]);
/// Every node of IPv6 on the link, as a hardware address and as one of IPv6.
const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// The group of those who have an address that ends in the same three bytes (RFC 4291 §2.7.1).
const SOLICITED: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0);

fn fill_arp(
    bytes: &mut [u8],
    (ip, mac): (Ipv4Addr, Mac),
    (target, to): (Ipv4Addr, Mac),
    operation: ArpOperation,
) {
    let mut arp = MutableArpPacket::new(bytes).expect("it has its length");
    arp.set_hardware_type(ArpHardwareTypes::Ethernet);
    arp.set_protocol_type(EtherTypes::Ipv4);
    arp.set_hw_addr_len(6);
    arp.set_proto_addr_len(4);
    arp.set_operation(operation);
    arp.set_sender_hw_addr(mac.0.into());
    arp.set_sender_proto_addr(ip.octets().into());
    arp.set_target_hw_addr(to.0.into());
    arp.set_target_proto_addr(target.octets().into());
}

fn fill_ipv6(bytes: &mut [u8], source: Ipv6Addr, destination: Ipv6Addr, payload: usize) {
    let mut ipv6 = MutableIpv6Packet::new(bytes).expect("it has its length");
    ipv6.set_version(6);
    ipv6.set_payload_length(payload as u16);
    ipv6.set_next_header(IpNextHeaderProtocols::Icmpv6);
    ipv6.set_hop_limit(255);
    ipv6.set_source(source.octets().into());
    ipv6.set_destination(destination.octets().into());
}

fn advertise(ip: Ipv6Addr, mac: Mac, (to, card): (Ipv6Addr, Mac), flags: u8) -> Frame {
    let mut frame = Frame::zeroed(ADVERTISEMENT);
    frame.ethernet(card, mac, EtherTypes::Ipv6);
    let (header, message) = frame.bytes[ETHERNET..].split_at_mut(Ipv6Packet::minimum_packet_size());
    fill_ipv6(header, ip, to, message.len());
    fill_advertisement(message, ip, mac, flags);
    let header = Ipv6Packet::new(header).expect("it has its length");
    let whole = Icmpv6Packet::new(message).expect("it has its length");
    let sum = checksum(&whole, &header.get_source(), &header.get_destination());
    let mut advertisement = MutableNeighborAdvertPacket::new(message).expect("it has its length");
    advertisement.set_checksum(sum);
    frame
}

fn fill_advertisement(bytes: &mut [u8], target: Ipv6Addr, mac: Mac, flags: u8) {
    let mut advertisement = MutableNeighborAdvertPacket::new(bytes).expect("it has its length");
    advertisement.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
    advertisement.set_flags(flags);
    advertisement.set_target_addr(target.octets().into());
    fill_option(&mut bytes[FIXED..], NdpOptionTypes::TargetLLAddr, mac);
}

fn fill_option(option: &mut [u8], kind: NdpOptionType, mac: Mac) {
    assert!(option.len() == OPTION, "the option would say another length than it has");
    option[0] = kind.0;
    option[1] = (OPTION / 8) as u8;
    option[2..].copy_from_slice(&mac.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;
    use alloc::format;

    #[test]
    fn the_request_is_the_kernels() {
        let frame = arp_announcement(Ipv4Addr::new(192, 0, 2, 1), golden::MAC, ArpForm::Request);
        assert_eq!(frame.as_bytes(), golden::KERNEL_ARP_NOTIFY);
    }

    #[test]
    fn the_request_differs_from_arpings_in_the_target_that_everybody_ignores() {
        let frame = arp_announcement(Ipv4Addr::new(192, 0, 2, 10), golden::MAC, ArpForm::Request);
        let mut theirs = golden::ARPING_REQUEST;
        assert_eq!(theirs[32..38], [0xff; 6]);
        theirs[32..38].fill(0);
        assert_eq!(frame.as_bytes(), theirs);
    }

    #[test]
    fn the_request_differs_from_keepaliveds_in_the_target_that_everybody_ignores() {
        let frame = arp_announcement(Ipv4Addr::new(192, 0, 2, 20), golden::MAC, ArpForm::Request);
        let mut theirs = golden::KEEPALIVED_ARP;
        theirs[32..38].fill(0);
        assert_eq!(frame.as_bytes(), theirs);
    }

    #[test]
    fn the_reply_is_arpings() {
        let frame = arp_announcement(Ipv4Addr::new(192, 0, 2, 10), golden::MAC, ArpForm::Reply);
        assert_eq!(frame.as_bytes(), golden::ARPING_REPLY);
    }

    #[test]
    fn the_advertisement_is_the_kernels_and_keepaliveds() {
        let of = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
        let frame = neighbor_advertisement(of(0x10), golden::MAC);
        assert_eq!(frame.as_bytes(), golden::KERNEL_NDISC_NOTIFY);
        let frame = neighbor_advertisement(of(0x20), golden::MAC);
        assert_eq!(frame.as_bytes(), golden::KEEPALIVED_ADVERTISEMENT);
    }

    #[test]
    fn the_advertisement_differs_from_ndptools_in_its_source() {
        let ip = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
        let mut frame = neighbor_advertisement(ip, golden::MAC).as_bytes().to_vec();
        let theirs = golden::NDPTOOL_ADVERTISEMENT;
        assert_eq!(theirs[22..24], [0xfe, 0x80], "it speaks from its own address of the link");
        frame[22..38].copy_from_slice(&theirs[22..38]);
        frame[56..58].copy_from_slice(&theirs[56..58]);
        assert_eq!(frame, theirs);
    }

    #[test]
    fn a_probe_is_arpings_request_without_its_claim() {
        let frame = arp_probe(Ipv4Addr::new(192, 0, 2, 10), golden::MAC);
        let mut theirs = golden::ARPING_REQUEST;
        theirs[28..38].fill(0);
        assert_eq!(frame.as_bytes(), theirs);
    }

    #[test]
    fn a_solicitation_is_as_its_table_says() {
        let ip = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12, 0x3456);
        let text = "3333ff12345602000000000186dd6000000000183aff\
                    00000000000000000000000000000000\
                    ff0200000000000000000001ff123456\
                    8700e41e0000000020010db8000000000000000000123456";
        assert_eq!(format!("{:?}", neighbor_probe(ip, golden::MAC)), text);
    }

    #[test]
    fn a_question_names_its_asker() {
        let ip = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12, 0x3456);
        let frame = neighbor_question(ip, golden::MAC);
        let (bytes, probe) = (frame.as_bytes(), neighbor_probe(ip, golden::MAC));
        assert_eq!(bytes[..18], probe.as_bytes()[..18]);
        assert_eq!(bytes[62..78], probe.as_bytes()[62..]);
        assert_eq!(bytes[19], 32);
        let source: [u8; 16] = bytes[22..38].try_into().unwrap();
        assert_eq!(format!("{}", Ipv6Addr::from(source)), "fe80::ff:fe00:1");
        assert_eq!(bytes[78..], [1, 1, 2, 0, 0, 0, 0, 1]);
        assert_eq!(sum(bytes, 32), 0xffff, "a receiver would drop it");
    }

    /// Of the pseudo-header and a message of this length: all ones where its checksum is right.
    fn sum(frame: &[u8], len: u8) -> u32 {
        let mut words = frame[22..].to_vec();
        words.extend([0, 0, 0, len, 0, 0, 0, 58]);
        let sum: u32 = words.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
        (sum & 0xffff) + (sum >> 16)
    }

    #[test]
    fn an_answer_by_arp_is_as_its_table_says() {
        let asker = (Ipv4Addr::new(10, 0, 0, 7), Mac([2, 0, 0, 0, 0, 7]));
        let vip = Mac([0x5a, 0xfe, 10, 0, 0, 1]);
        let frame = arp_answer(Ipv4Addr::new(10, 0, 0, 1), vip, asker).sent_by(golden::MAC);
        let text = "0200000000070200000000010806000108000604000\
                    25afe0a0000010a0000010200000000070a000007";
        assert_eq!(format!("{frame:?}"), text, "the card's own address is in no claim");
    }

    #[test]
    fn an_answer_by_neighbor_discovery_is_as_its_table_says() {
        let of = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
        let asker = (of(7), Mac([2, 0, 0, 0, 0, 7]));
        let vip = Mac([0x5a, 0xfe, 0, 0, 0, 1]);
        let frame = neighbor_answer(of(1), vip, asker).sent_by(golden::MAC);
        let bytes = frame.as_bytes();
        assert_eq!(bytes[..12], [2, 0, 0, 0, 0, 7, 2, 0, 0, 0, 0, 1]);
        assert_eq!(bytes[54..56], [136, 0]);
        assert_eq!(bytes[58], 0x60, "solicited, override");
        assert_eq!(bytes[78..], [2, 1, 0x5a, 0xfe, 0, 0, 0, 1]);
        assert_eq!(sum(bytes, 32), 0xffff, "a receiver would drop it");
    }

    #[test]
    fn a_frame_is_shown_in_hexadecimal_digits() {
        let frame = arp_announcement(Ipv4Addr::new(10, 0, 0, 1), golden::MAC, ArpForm::Reply);
        let text = "ffffffffffff0200000000010806000108000604000202000000\
                    00010a0000010200000000010a000001";
        assert_eq!(format!("{frame:?}"), text);
    }
}
