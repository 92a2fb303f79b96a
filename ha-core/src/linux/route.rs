//! Routes of the kernel: those of others are read, ours are set and removed through netlink.

use core::net::IpAddr;
use std::io;
use std::prelude::rust_2024::*;

use ha_vip::Network;
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
    RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use super::address::MARK;
use super::netlink::Netlink;

/// The main routing table of this network namespace.
#[derive(Debug)]
pub(super) struct Routes {
    netlink: Netlink,
}

/// A route that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) to: Network,
    pub(super) metric: u32,
    pub(super) source: Option<IpAddr>,
    /// How it goes there; `None` if that is more than an interface and a gateway.
    pub(super) way: Option<Way>,
    /// Whether it carries our mark.
    pub(super) ours: bool,
}

/// How packets go: all of a route that another route to a part of its network takes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// The interface's number.
    pub(super) index: u32,
    scope: RouteScope,
    onlink: bool,
    /// Gateway and metrics, as the kernel said them.
    attributes: Vec<RouteAttribute>,
}

/// A route of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Laid {
    pub(super) to: Network,
    pub(super) way: Way,
    /// `None` if its address is gone, of IPv6: the kernel takes the source out of the route then.
    /// One of IPv4 goes with its address.
    pub(super) source: Option<IpAddr>,
}

impl Routes {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { netlink: Netlink::open(None)? })
    }

    /// All routes of these families that are used for packets of any kind of service.
    pub(super) fn list(&mut self, families: &[AddressFamily]) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for &family in families {
            let mut all = RouteMessage::default();
            all.header.address_family = family;
            let answers = self.netlink.list(&RouteNetlinkMessage::GetRoute(all))?;
            found.extend(answers.iter().filter_map(|answer| match answer {
                RouteNetlinkMessage::NewRoute(message) => Found::read(message),
                _ => None,
            }));
        }
        Ok(found)
    }

    /// Sets a route of ours in one step, or extends it. That of IPv6 ends by itself after
    /// `seconds`; that of IPv4 ends with its source.
    pub(super) fn set(&mut self, laid: &Laid, seconds: u32) -> io::Result<()> {
        let mut message = laid.message();
        if laid.to.first.is_ipv6() {
            message.attributes.push(RouteAttribute::Expires(seconds));
        }
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        self.netlink.order(flags, RouteNetlinkMessage::NewRoute(message))
    }

    /// Removes a route of ours. Done as well when it is not there.
    pub(super) fn remove(&mut self, laid: &Laid) -> io::Result<()> {
        let message = RouteNetlinkMessage::DelRoute(laid.message());
        match self.netlink.order(NLM_F_ACK, message) {
            Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(()),
            other => other,
        }
    }
}

impl Found {
    /// What a message says; `None` for what is in another table, or no route of IP.
    pub(super) fn read(message: &RouteMessage) -> Option<Self> {
        let RouteMessage { header, attributes, .. } = message;
        let mut first = match header.address_family {
            AddressFamily::Inet => IpAddr::from([0; 4]),
            AddressFamily::Inet6 => IpAddr::from([0; 16]),
            _ => return None,
        };
        let (mut table, mut metric, mut source) = (u32::from(header.table), 0, None);
        for attribute in attributes {
            match attribute {
                RouteAttribute::Destination(ip) => first = address(ip)?,
                RouteAttribute::Table(number) => table = *number,
                RouteAttribute::Priority(number) => metric = *number,
                RouteAttribute::PrefSource(ip) => source = address(ip),
                _ => {}
            }
        }
        let to = Network { prefix: header.destination_prefix_length, first };
        let ours = u8::from(header.protocol) == MARK && metric == METRIC;
        let mut found = Self { to, metric, source, way: Way::read(message), ours };
        if header.tos != 0 || header.source_prefix_length != 0 {
            // It is looked at before those for all packets, so nothing goes before it.
            (found.metric, found.way) = (0, None);
        }
        let real = !header.flags.contains(RouteFlags::Cloned);
        (table == u32::from(RouteHeader::RT_TABLE_MAIN) && real).then_some(found)
    }

    /// The route as one of ours, if it is.
    pub(super) fn laid(&self) -> Option<Laid> {
        let way = self.way.clone().filter(|_| self.ours)?;
        Some(Laid { to: self.to, way, source: self.source })
    }
}

impl Way {
    fn read(message: &RouteMessage) -> Option<Self> {
        let header = &message.header;
        if header.kind != RouteType::Unicast || header.flags.contains(RouteFlags::Dead) {
            return None;
        }
        let (mut index, mut attributes) = (None, Vec::new());
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Oif(number) => index = Some(*number),
                RouteAttribute::Gateway(_)
                | RouteAttribute::Via(_)
                | RouteAttribute::Metrics(_) => {
                    attributes.push(attribute.clone());
                }
                RouteAttribute::MultiPath(_)
                | RouteAttribute::EncapType(_)
                | RouteAttribute::Encap(_)
                | RouteAttribute::NewDestination(_)
                | RouteAttribute::NewDestinationAddress(_) => return None,
                _ => {}
            }
        }
        let onlink = header.flags.contains(RouteFlags::Onlink);
        Some(Self { index: index?, scope: header.scope, onlink, attributes })
    }
}

impl Laid {
    fn message(&self) -> RouteMessage {
        let mut message = RouteMessage::default();
        let header = &mut message.header;
        header.address_family = family(self.to.first);
        header.destination_prefix_length = self.to.prefix;
        header.table = RouteHeader::RT_TABLE_MAIN;
        header.protocol = RouteProtocol::Other(MARK);
        header.scope = self.way.scope;
        header.kind = RouteType::Unicast;
        header.flags = if self.way.onlink { RouteFlags::Onlink } else { RouteFlags::empty() };
        message.attributes.extend([
            RouteAttribute::Destination(self.to.first.into()),
            RouteAttribute::Oif(self.way.index),
            RouteAttribute::Priority(METRIC),
        ]);
        message.attributes.extend(self.way.attributes.iter().cloned());
        let source = self.source.map(|ip| RouteAttribute::PrefSource(ip.into()));
        message.attributes.extend(source);
        message
    }
}

fn family(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn address(ip: &RouteAddress) -> Option<IpAddr> {
    match ip {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}

/// Higher than anybody's, but for the kernel's own that lead nowhere: of two routes to one network
/// theirs is used, and theirs is what `ip route` replaces and deletes.
const METRIC: u32 = u32::MAX - 1;

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn route(attributes: Vec<RouteAttribute>) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.kind = RouteType::Unicast;
        message.header.destination_prefix_length = 1;
        message.attributes = attributes;
        message
    }

    fn way() -> Vec<RouteAttribute> {
        let gateway = IpAddr::from([10, 0, 0, 254]);
        vec![RouteAttribute::Gateway(gateway.into()), RouteAttribute::Oif(7)]
    }

    #[test]
    fn what_is_written_is_read() {
        let to = Network { prefix: 1, first: [0; 4].into() };
        let way = Way::read(&route(way())).unwrap();
        let laid = Laid { to, way, source: Some([10, 0, 0, 10].into()) };
        let found = Found::read(&laid.message()).unwrap();
        assert_eq!(found.laid(), Some(laid));
        assert!(found.ours);
    }

    #[test]
    fn the_way_of_others_is_taken_over_if_it_is_one() {
        let plain = Found::read(&route(way())).unwrap();
        assert_eq!((plain.way.as_ref().map(|way| way.index), plain.ours), (Some(7), false));
        assert_eq!(plain.laid(), None);
        let several = route(vec![RouteAttribute::MultiPath(vec![])]);
        assert_eq!(Found::read(&several).unwrap().way, None);
        let mut nowhere = route(way());
        nowhere.header.kind = RouteType::BlackHole;
        assert_eq!(Found::read(&nowhere).unwrap().way, None);
        // Whoever marks routes as we do, but not behind all others, keeps them.
        let mut theirs = route(way());
        theirs.header.protocol = RouteProtocol::Other(MARK);
        assert!(!Found::read(&theirs).unwrap().ours);
    }

    #[test]
    fn what_goes_before_all_metrics_is_nobodys_way() {
        for change in
            [|it: &mut RouteHeader| it.tos = 4, |it: &mut RouteHeader| it.source_prefix_length = 64]
        {
            let mut message = route(way());
            message.attributes.push(RouteAttribute::Priority(100));
            change(&mut message.header);
            let found = Found::read(&message).unwrap();
            assert_eq!((found.metric, found.way), (0, None));
        }
    }

    #[test]
    fn other_tables_are_not_looked_at() {
        let mut message = route(way());
        message.header.table = 0;
        assert_eq!(Found::read(&message), None);
        message.attributes.push(RouteAttribute::Table(254));
        assert!(Found::read(&message).is_some());
        message.header.flags = RouteFlags::Cloned;
        assert_eq!(Found::read(&message), None);
    }
}
