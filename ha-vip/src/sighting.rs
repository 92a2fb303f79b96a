//! Who else says that an address of ours is his.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet_packet::Packet;
use pnet_packet::arp::{ArpHardwareTypes, ArpPacket};
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::icmpv6::ndp::{
    NdpOptionType, NdpOptionTypes, NeighborAdvertPacket, NeighborSolicitPacket,
};
use pnet_packet::icmpv6::{Icmpv6Packet, Icmpv6Types, checksum};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::Ipv6Packet;
use pnet_packet::vlan::VlanPacket;

use crate::{Config, Mac};

/// A claim that was seen on the wire: this address is at that hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sighting {
    /// Which address.
    pub ip: IpAddr,
    /// Whose hardware address.
    pub mac: Mac,
    /// From which card the frame came, whatever it says.
    pub card: Mac,
}

/// What `frame`, whole from its destination on, claims about one of the addresses of `ours`.
///
/// A claim is whatever makes neighbours change their caches: an ARP packet, request or reply, from
/// the address (RFC 5227 §2.4); a neighbor advertisement for it; a neighbor solicitation from it.
/// A probe is none: neither one of ARP, which has no sender (RFC 5227 §2.1), nor a solicitation
/// from `::` (RFC 4862 §5.4.2).
///
/// Our own claims are found too, since a socket may hear what its machine sends: an
/// [`AddressSet`](crate::AddressSet) knows its hardware addresses and ignores them. Any bytes are
/// right: what is cut short, malformed, or has come through a router (RFC 4861 §7.1) claims
/// nothing. Up to two tags of a VLAN are passed over (IEEE 802.1Q); which VLANs are heard is the
/// adapter's choice of a socket.
pub fn sighting(frame: &[u8], ours: &Config) -> Option<Sighting> {
    claim(frame).filter(|claim| ours.addresses().iter().any(|address| address.ip == claim.ip))
}

/// As [`sighting()`], of whichever address it is.
pub fn claim(frame: &[u8]) -> Option<Sighting> {
    let ethernet = EthernetPacket::new(frame)?;
    let sender = Mac(ethernet.get_source().octets());
    let (mut what, mut rest) = (ethernet.get_ethertype(), ethernet.payload());
    for _ in 0..TAGS_MAX {
        if what != EtherTypes::Vlan && what != EtherTypes::PBridge {
            break;
        }
        let tag = VlanPacket::new(rest)?;
        what = tag.get_ethertype();
        rest = &rest[VlanPacket::minimum_packet_size()..];
    }
    let (ip, mac) = match what {
        EtherTypes::Arp => arp_claim(rest),
        EtherTypes::Ipv6 => neighbor_claim(rest, sender),
        _ => None,
    }?;
    Some(Sighting { ip, mac, card: sender })
}

/// A tag of the provider and one of the customer (IEEE 802.1ad).
const TAGS_MAX: usize = 2;

fn arp_claim(bytes: &[u8]) -> Option<(IpAddr, Mac)> {
    let arp = ArpPacket::new(bytes)?;
    let kind = (arp.get_hardware_type(), arp.get_protocol_type());
    let lengths = (arp.get_hw_addr_len(), arp.get_proto_addr_len());
    if kind != (ArpHardwareTypes::Ethernet, EtherTypes::Ipv4) || lengths != (6, 4) {
        return None;
    }
    let ip = Ipv4Addr::from(arp.get_sender_proto_addr().octets());
    Some((ip.into(), Mac(arp.get_sender_hw_addr().octets())))
}

fn neighbor_claim(bytes: &[u8], sender: Mac) -> Option<(IpAddr, Mac)> {
    let ipv6 = Ipv6Packet::new(bytes)?;
    let message = ipv6.payload();
    let whole = message.len() == usize::from(ipv6.get_payload_length());
    let near = ipv6.get_hop_limit() == 255 && ipv6.get_version() == 6;
    if !whole || !near || ipv6.get_next_header() != IpNextHeaderProtocols::Icmpv6 {
        return None;
    }
    let icmp = Icmpv6Packet::new(message)?;
    let sum = checksum(&icmp, &ipv6.get_source(), &ipv6.get_destination());
    if icmp.get_checksum() != sum || icmp.get_icmpv6_code().0 != 0 {
        return None;
    }
    let (ip, fixed, option) = match icmp.get_icmpv6_type() {
        Icmpv6Types::NeighborAdvert => {
            let target = NeighborAdvertPacket::new(message)?.get_target_addr();
            let fixed = NeighborAdvertPacket::minimum_packet_size();
            (target, fixed, NdpOptionTypes::TargetLLAddr)
        }
        Icmpv6Types::NeighborSolicit => {
            let fixed = NeighborSolicitPacket::minimum_packet_size();
            (ipv6.get_source(), fixed, NdpOptionTypes::SourceLLAddr)
        }
        _ => return None,
    };
    let mac = find_option(message.get(fixed..)?, option, sender)?;
    Some((Ipv6Addr::from(ip.octets()).into(), mac))
}

/// The hardware address in the first option of this kind, or `otherwise`. `None` when the options
/// are malformed, which makes the whole message void (RFC 4861 §4.6).
///
/// By hand: the options of `pnet_packet` overflow where one says that it has 256 bytes or more.
fn find_option(mut options: &[u8], kind: NdpOptionType, otherwise: Mac) -> Option<Mac> {
    let mut found = None;
    while let [this, units, ..] = *options {
        let len = usize::from(units) * 8;
        if len == 0 || len > options.len() {
            return None;
        }
        let (option, rest) = options.split_at(len);
        if this == kind.0 && found.is_none() {
            let mac = option[2..].first_chunk().expect("an option has 8 bytes at least");
            found = Some(Mac(*mac));
        }
        assert!(rest.len() < options.len(), "a crafted frame would be read for ever");
        options = rest;
    }
    options.is_empty().then_some(found.unwrap_or(otherwise))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use crate::{
        Address, ArpForm, Config, InterfaceId, OnRemoved, arp_announcement, golden,
        neighbor_advertisement,
    };

    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn ours() -> Config {
        let address = |ip: &str, prefix| {
            let ip = ip.parse().unwrap();
            Address { ip, prefix, interface: InterfaceId(0) }
        };
        let addresses = vec![
            address("192.0.2.10", 24),
            address("192.0.2.20", 24),
            address("2001:db8::10", 64),
            address("2001:db8::20", 64),
        ];
        Config::new(1, addresses, Config::REFRESH, OnRemoved::PutBack).unwrap()
    }

    fn see(frame: &[u8]) -> Option<Sighting> {
        sighting(frame, &ours())
    }

    /// By a card that has this address.
    fn claim(ip: &str, mac: Mac) -> Sighting {
        Sighting { ip: ip.parse().unwrap(), mac, card: mac }
    }

    /// The frame with its checksum of `ICMPv6` right again.
    fn summed(mut frame: Vec<u8>) -> Vec<u8> {
        let ipv6 = Ipv6Packet::new(&frame[14..54]).unwrap();
        let message = Icmpv6Packet::new(&frame[54..]).unwrap();
        let sum = checksum(&message, &ipv6.get_source(), &ipv6.get_destination());
        frame[56..58].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    fn advertisement() -> Vec<u8> {
        let ip = "2001:db8::10".parse().unwrap();
        neighbor_advertisement(ip, OTHER).as_bytes().to_vec()
    }

    /// A solicitation for somebody, from our address, by a neighbour with a source option.
    fn solicitation() -> Vec<u8> {
        let mut frame = advertisement();
        frame[54] = 135;
        frame[58] = 0;
        frame[77] = 0x99;
        frame[78] = 1;
        summed(frame)
    }

    #[test]
    fn what_other_programs_send_is_a_claim() {
        assert_eq!(see(&golden::ARPING_REQUEST), Some(claim("192.0.2.10", golden::MAC)));
        assert_eq!(see(&golden::ARPING_REPLY), Some(claim("192.0.2.10", golden::MAC)));
        assert_eq!(see(&golden::KEEPALIVED_ARP), Some(claim("192.0.2.20", golden::MAC)));
        assert_eq!(see(&golden::KERNEL_NDISC_NOTIFY), Some(claim("2001:db8::10", golden::MAC)));
        assert_eq!(see(&golden::NDPTOOL_ADVERTISEMENT), Some(claim("2001:db8::10", golden::MAC)));
        assert_eq!(
            see(&golden::KEEPALIVED_ADVERTISEMENT),
            Some(claim("2001:db8::20", golden::MAC))
        );
        assert_eq!(see(&golden::KERNEL_ARP_NOTIFY), None, "192.0.2.1 is not ours");
    }

    #[test]
    fn a_question_about_our_address_is_no_claim() {
        let mut probe = golden::ARPING_REQUEST;
        probe[28..32].fill(0);
        assert_eq!(see(&probe), None, "a probe of RFC 5227");
        let mut request = golden::ARPING_REQUEST;
        request[31] = 99;
        assert_eq!(see(&request), None, "another host asks for ours");
        let mut duplicate = solicitation();
        duplicate[22..38].fill(0);
        duplicate[77] = 0x10;
        assert_eq!(see(&summed(duplicate)), None, "duplicate address detection");
    }

    #[test]
    fn a_solicitation_from_our_address_is_a_claim() {
        assert_eq!(see(&solicitation()), Some(claim("2001:db8::10", OTHER)));
    }

    #[test]
    fn without_an_option_the_sender_of_the_frame_is_the_claimant() {
        let mut frame = advertisement();
        frame.truncate(78);
        frame[19] = 24;
        frame[6..12].copy_from_slice(&golden::MAC.0);
        assert_eq!(see(&summed(frame)), Some(claim("2001:db8::10", golden::MAC)));
    }

    #[test]
    fn the_card_is_told_beside_what_it_claims() {
        let vip = Mac([0x5a, 0xfe, 192, 0, 2, 10]);
        let ip = Ipv4Addr::new(192, 0, 2, 10);
        let frame = arp_announcement(ip, vip, ArpForm::Reply).sent_by(OTHER);
        let expected = Sighting { ip: ip.into(), mac: vip, card: OTHER };
        assert_eq!(super::claim(frame.as_bytes()), Some(expected), "two farms claim the same");
    }

    #[test]
    fn the_option_is_found_behind_others() {
        let mut frame = advertisement();
        let option = frame.split_off(78);
        frame.extend([14, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
        frame.extend(option);
        frame[19] += 16;
        assert_eq!(see(&summed(frame)), Some(claim("2001:db8::10", OTHER)));
    }

    #[test]
    fn what_breaks_the_rules_of_neighbor_discovery_is_no_claim() {
        let broken = |at: usize, byte: u8| {
            let mut frame = advertisement();
            frame[at] = byte;
            see(&summed(frame))
        };
        assert_eq!(broken(21, 254), None, "it came through a router");
        assert_eq!(broken(14, 0x40), None, "not version 6");
        assert_eq!(broken(55, 1), None, "a code that nobody defined");
        assert_eq!(broken(79, 0), None, "an option without a length");
        assert_eq!(broken(79, 2), None, "an option longer than the message");
        assert_eq!(broken(79, 32), None, "256 bytes, too many for a u8");
        assert_eq!(broken(20, 17), None, "UDP");
        assert_eq!(broken(54, 128), None, "an echo request");
        assert_eq!(broken(19, 40), None, "shorter than it says");
        let mut wrong_sum = advertisement();
        wrong_sum[57] ^= 1;
        assert_eq!(see(&wrong_sum), None);
    }

    #[test]
    fn what_is_no_arp_of_ethernet_and_ipv4_is_no_claim() {
        for at in [15, 17, 18, 19] {
            let mut frame = golden::ARPING_REPLY;
            frame[at] += 1;
            assert_eq!(see(&frame), None, "byte {at}");
        }
    }

    #[test]
    fn tags_of_a_vlan_are_passed_over() {
        for frame in [golden::ARPING_REPLY.to_vec(), advertisement()] {
            let untagged = see(&frame);
            assert!(untagged.is_some());
            let tag = |frame: &[u8], what: [u8; 2]| {
                [&frame[..12], &what, &[0x20, 5], &frame[12..]].concat()
            };
            let tagged = tag(&frame, [0x81, 0]);
            assert_eq!(see(&tagged), untagged);
            let twice = tag(&tagged, [0x88, 0xa8]);
            assert_eq!(see(&twice), untagged);
            assert_eq!(see(&tag(&twice, [0x88, 0xa8])), None, "three tags");
        }
    }

    proptest! {
        #[test]
        fn an_announcement_is_a_claim_of_its_sender(mac: [u8; 6], which in 0..2_usize) {
            let ip = [Ipv4Addr::new(192, 0, 2, 10), Ipv4Addr::new(192, 0, 2, 20)][which];
            for form in [ArpForm::Request, ArpForm::Reply] {
                let frame = arp_announcement(ip, Mac(mac), form);
                let expected = Sighting { ip: ip.into(), mac: Mac(mac), card: Mac(mac) };
                prop_assert_eq!(see(frame.as_bytes()), Some(expected));
            }
            let ip = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, [0x10, 0x20][which]);
            let frame = neighbor_advertisement(ip, Mac(mac));
            let expected = Sighting { ip: ip.into(), mac: Mac(mac), card: Mac(mac) };
            prop_assert_eq!(see(frame.as_bytes()), Some(expected));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            prefix in 0..3_usize,
        ) {
            let start = [&[][..], &golden::KERNEL_NDISC_NOTIFY[..58], &golden::ARPING_REPLY[..20]];
            let mut frame = [start[prefix], &bytes].concat();
            let _ = see(&frame);
            if prefix == 1 {
                frame[19] = (frame.len() - 54) as u8;
                let _ = see(&summed(frame));
            }
        }

        #[test]
        fn a_frame_that_is_cut_short_claims_nothing(at in 0..42_usize, more in 0..44_usize) {
            prop_assert_eq!(see(&golden::ARPING_REPLY[..at]), None);
            prop_assert_eq!(see(&advertisement()[..at + more]), None);
        }
    }
}
