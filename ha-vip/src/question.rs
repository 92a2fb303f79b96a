//! Who asks where an address is.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet_packet::Packet;
use pnet_packet::arp::{ArpHardwareTypes, ArpOperations, ArpPacket};
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::icmpv6::ndp::{NdpOptionTypes, NeighborSolicitPacket};
use pnet_packet::icmpv6::{Icmpv6Packet, Icmpv6Types, checksum};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::Ipv6Packet;

use crate::{Frame, Mac, arp_answer, neighbor_advertisement, neighbor_answer};

/// A question that was seen on the wire: who has this address?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// By ARP (RFC 826).
    Arp {
        /// Which address.
        ip: Ipv4Addr,
        /// Who asks; 0.0.0.0 in a probe.
        asker: Ipv4Addr,
        /// From which card.
        card: Mac,
    },
    /// By neighbor discovery (RFC 4861).
    Neighbor {
        /// Which address.
        ip: Ipv6Addr,
        /// Who asks; `None` in the detection of duplicates (RFC 4862), which all nodes are told.
        asker: Option<Ipv6Addr>,
        /// From which card.
        card: Mac,
    },
}

impl Question {
    /// Which address is asked for.
    pub const fn ip(self) -> IpAddr {
        match self {
            Self::Arp { ip, .. } => IpAddr::V4(ip),
            Self::Neighbor { ip, .. } => IpAddr::V6(ip),
        }
    }

    /// The answer that it is at `mac`.
    pub fn answer(self, mac: Mac) -> Frame {
        match self {
            Self::Arp { ip, asker, card } => arp_answer(ip, mac, (asker, card)),
            Self::Neighbor { ip, asker: Some(asker), card } => {
                neighbor_answer(ip, mac, (asker, card))
            }
            Self::Neighbor { ip, asker: None, card: _ } => neighbor_advertisement(ip, mac),
        }
    }
}

/// What `frame`, whole from its destination on and without a tag, asks. A host's claim of its own
/// address, which has the form of a question (RFC 5227 §3), is none. Any bytes are right: what is
/// cut short, malformed, or has come through a router (RFC 4861 §7.1) asks nothing.
pub fn question(frame: &[u8]) -> Option<Question> {
    let ethernet = EthernetPacket::new(frame)?;
    match ethernet.get_ethertype() {
        EtherTypes::Arp => arp(ethernet.payload()),
        EtherTypes::Ipv6 => neighbor(ethernet.payload(), Mac(ethernet.get_source().octets())),
        _ => None,
    }
}

fn arp(bytes: &[u8]) -> Option<Question> {
    let arp = ArpPacket::new(bytes)?;
    let known = arp.get_hardware_type() == ArpHardwareTypes::Ethernet
        && arp.get_protocol_type() == EtherTypes::Ipv4
        && (arp.get_hw_addr_len(), arp.get_proto_addr_len()) == (6, 4)
        && arp.get_operation() == ArpOperations::Request;
    let (ip, asker) = (arp.get_target_proto_addr(), arp.get_sender_proto_addr());
    let (ip, asker) = (Ipv4Addr::from(ip.octets()), Ipv4Addr::from(asker.octets()));
    let card = Mac(arp.get_sender_hw_addr().octets());
    (known && ip != asker && is_one_card(card)).then_some(Question::Arp { ip, asker, card })
}

fn neighbor(bytes: &[u8], sender: Mac) -> Option<Question> {
    let ipv6 = Ipv6Packet::new(bytes)?;
    let message = bytes.get(HEADER..)?.get(..usize::from(ipv6.get_payload_length()))?;
    let icmp = Icmpv6Packet::new(message)?;
    let sum = checksum(&icmp, &ipv6.get_source(), &ipv6.get_destination());
    let known = ipv6.get_version() == 6
        && ipv6.get_next_header() == IpNextHeaderProtocols::Icmpv6
        && ipv6.get_hop_limit() == 255
        && icmp.get_icmpv6_type() == Icmpv6Types::NeighborSolicit
        && icmp.get_icmpv6_code().0 == 0
        && icmp.get_checksum() == sum;
    let solicitation = NeighborSolicitPacket::new(message)?;
    let ip = Ipv6Addr::from(solicitation.get_target_addr().octets());
    let asker = Ipv6Addr::from(ipv6.get_source().octets());
    let asker = Some(asker).filter(|asker| !asker.is_unspecified());
    let card = option(message.get(FIXED..)?).unwrap_or(sender);
    let known = known && asker != Some(ip) && is_one_card(card);
    known.then_some(Question::Neighbor { ip, asker, card })
}

/// The source's link-layer address, if the options have it.
fn option(mut options: &[u8]) -> Option<Mac> {
    while let [kind, eights, value @ ..] = options {
        let len = usize::from(*eights) * 8;
        if *kind == NdpOptionTypes::SourceLLAddr.0 && len == 8 {
            return value.first_chunk().copied().map(Mac);
        }
        // An option without a length, or cut short, is the last one.
        options = options.get(len.max(8)..)?;
    }
    None
}

/// Neither a group's address nor none at all.
fn is_one_card(mac: Mac) -> bool {
    mac.0[0] & 1 == 0 && mac.0 != [0; 6]
}

const HEADER: usize = Ipv6Packet::minimum_packet_size();
/// A solicitation without options.
const FIXED: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ArpForm, arp_announcement, arp_probe, claim, golden, neighbor_probe, neighbor_question,
    };
    use proptest::prelude::*;

    const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 7);
    const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);

    /// An ARP request as a client sends it.
    fn request() -> alloc::vec::Vec<u8> {
        let mut bytes = arp_probe(VIP, golden::MAC).as_bytes().to_vec();
        bytes[28..32].copy_from_slice(&CLIENT.octets());
        bytes
    }

    #[test]
    fn a_request_a_probe_and_a_solicitation_ask() {
        let card = golden::MAC;
        let asks = |asker| Some(Question::Arp { ip: VIP, asker, card });
        assert_eq!(question(&request()), asks(CLIENT));
        let probe = arp_probe(VIP, card);
        assert_eq!(question(probe.as_bytes()), asks(Ipv4Addr::UNSPECIFIED));
        let solicitation = neighbor_probe(VIP6, card);
        let asked = Question::Neighbor { ip: VIP6, asker: None, card };
        assert_eq!(question(solicitation.as_bytes()), Some(asked));
        let own = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 1);
        let asked = Question::Neighbor { ip: VIP6, asker: Some(own), card };
        assert_eq!(question(neighbor_question(VIP6, card).as_bytes()), Some(asked));
    }

    #[test]
    fn a_claim_an_answer_and_a_spoiled_question_ask_nothing() {
        for form in [ArpForm::Request, ArpForm::Reply] {
            let claim = arp_announcement(VIP, golden::MAC, form);
            assert_eq!(question(claim.as_bytes()), None, "{form:?}");
        }
        let asked = question(&request()).unwrap();
        assert_eq!(question(asked.answer(golden::MAC).as_bytes()), None, "answers without end");
        let mut spoiled = neighbor_probe(VIP6, golden::MAC).as_bytes().to_vec();
        spoiled[77] ^= 1;
        assert_eq!(question(&spoiled), None, "its checksum is wrong");
        let mut routed = neighbor_probe(VIP6, golden::MAC).as_bytes().to_vec();
        routed[21] = 254;
        assert_eq!(question(&routed), None, "it came through a router");
    }

    /// What a farm asks claims nothing, and the answer of another farm names its card.
    #[test]
    fn a_question_is_no_claim_and_its_answer_is_one() {
        let (other, virtual_mac) = (Mac([2, 0, 0, 0, 0, 9]), Mac([0x5a, 0xfe, 10, 0, 0, 1]));
        for asked in [arp_probe(VIP, golden::MAC), neighbor_question(VIP6, golden::MAC)] {
            assert_eq!(claim(asked.as_bytes()).filter(|it| it.ip == VIP || it.ip == VIP6), None);
            let asked = question(asked.as_bytes()).unwrap();
            let answer = asked.answer(virtual_mac).sent_by(other);
            assert_eq!(answer.as_bytes()[..6], golden::MAC.0, "nobody else hears it");
            let said = claim(answer.as_bytes()).unwrap();
            assert_eq!((said.ip, said.mac, said.card), (asked.ip(), virtual_mac, other));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_question_or_none(
            at in 0_usize..90,
            byte: u8,
            len in 0_usize..90,
            which in 0..2,
        ) {
            let solicitation = neighbor_probe(VIP6, golden::MAC);
            let mut bytes = if which == 0 { request() } else { solicitation.as_bytes().to_vec() };
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(len);
            if let Some(asked) = question(&bytes) {
                prop_assert_eq!(question(asked.answer(golden::MAC).as_bytes()), None);
            }
        }
    }
}
