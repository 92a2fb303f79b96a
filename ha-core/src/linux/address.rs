//! Addresses of the kernel: set, removed and listed through netlink.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::io;
use std::prelude::rust_2024::*;
use std::string::String;

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use super::link::Link;
use super::netlink::Netlink;
use super::plan::VipSource;

/// The addresses of this network namespace.
#[derive(Debug)]
pub(super) struct Addresses {
    netlink: Netlink,
    /// Those of IPv6 that were set here, and with which flags: an extension must not change them,
    /// and need not look at all addresses again.
    flags: BTreeMap<Spot, AddressFlags>,
}

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    /// The interface's number.
    pub(super) index: u32,
    pub(super) ip: IpAddr,
    pub(super) prefix: u8,
}

/// An address that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) spot: Spot,
    /// Whether it carries our mark.
    pub(super) ours: bool,
    /// Whether it goes only when somebody takes it off.
    pub(super) for_ever: bool,
}

impl Addresses {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { netlink: Netlink::open(None)?, flags: BTreeMap::new() })
    }

    /// An error of the kind `PermissionDenied` without `CAP_NET_ADMIN`; changes nothing.
    pub(super) fn may_change(&mut self) -> io::Result<()> {
        // The kernel looks at the right before it looks at the question, which means nothing.
        let nothing = RouteNetlinkMessage::DelAddress(AddressMessage::default());
        match self.netlink.order(NLM_F_ACK, nothing) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
            Err(_) | Ok(()) => Ok(()),
        }
    }

    /// The interface of this name, if there is one.
    pub(super) fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        Link::find(&mut self.netlink, name)
    }

    /// All addresses.
    pub(super) fn list(&mut self) -> io::Result<Vec<Found>> {
        let all = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let answers = self.netlink.list(&all)?;
        let found = answers.iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(message) => Found::read(message),
            _ => None,
        });
        Ok(found.collect())
    }

    /// Sets an address, or gives it this lifetime if it is there, in one step. Marked as ours; not
    /// asked about on the network first, so it is usable at once. `label` is IPv4's alone.
    ///
    /// The kernel counts whole seconds. Rounded up: an address that a living process holds is taken
    /// off when its right ends, to the millisecond, and one whose process died outlives that by
    /// less than a second, which the contract's bound counts in (R10).
    ///
    /// An alias of IPv6 is deprecated from the start: of two addresses the kernel would else choose
    /// the one that is more alike to where a connection goes, or the newer one (RFC 6724). Of IPv4
    /// it chooses by routes, which name the first address of a network.
    pub(super) fn set(
        &mut self,
        spot: Spot,
        label: Option<&str>,
        source: VipSource,
        lifetime: Duration,
    ) -> io::Result<()> {
        let seconds = whole_seconds(lifetime);
        let alias = source == VipSource::Alias && spot.ip.is_ipv6();
        self.put(spot, label, seconds, if alias { 0 } else { seconds })
    }

    /// Sets an address for ever, as one that the host's own connections do not begin from: the
    /// kernel chooses no deprecated address of IPv6, and none of `lo` of IPv4 where the way out
    /// has one.
    pub(super) fn set_for_others(&mut self, spot: Spot) -> io::Result<()> {
        let preferred = if spot.ip.is_ipv4() { u32::MAX } else { 0 };
        self.put(spot, None, u32::MAX, preferred)
    }

    fn put(
        &mut self,
        spot: Spot,
        label: Option<&str>,
        valid: u32,
        preferred: u32,
    ) -> io::Result<()> {
        let mut message = spot.message();
        let flags = self.flags(spot)?;
        let mut times = CacheInfo::default();
        (times.ifa_valid, times.ifa_preferred) = (valid, preferred);
        message.attributes.push(AddressAttribute::Flags(flags));
        message.attributes.push(AddressAttribute::CacheInfo(times));
        message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(MARK)));
        let label = label.map(|label| AddressAttribute::Label(String::from(label)));
        message.attributes.extend(label);
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        self.netlink.order(flags, RouteNetlinkMessage::NewAddress(message))
    }

    fn flags(&mut self, spot: Spot) -> io::Result<AddressFlags> {
        if spot.ip.is_ipv4() {
            return Ok(AddressFlags::empty());
        }
        if let Some(flags) = self.flags.get(&spot) {
            return Ok(*flags);
        }
        let mut flags = AddressFlags::Nodad;
        // A route that the host has by an address of its own would end with this lifetime; one to
        // the address alone says nothing, and the kernel would keep it for the rest of that.
        if spot.prefix == 128
            || self.list()?.iter().any(|found| !found.ours && spot.shares_network(found.spot))
        {
            flags |= AddressFlags::Noprefixroute;
        }
        self.flags.insert(spot, flags);
        Ok(flags)
    }

    /// Takes an address off if it is marked as ours. Done as well when it is not there.
    pub(super) fn remove(&mut self, spot: Spot) -> io::Result<()> {
        self.flags.remove(&spot);
        if !self.list()?.iter().any(|found| found.ours && found.spot == spot) {
            return Ok(());
        }
        let message = RouteNetlinkMessage::DelAddress(spot.message());
        match self.netlink.order(NLM_F_ACK, message) {
            // Its lifetime ended since it was seen.
            Err(error) if error.raw_os_error() == Some(Errno::ADDRNOTAVAIL.raw_os_error()) => {
                Ok(())
            }
            other => other,
        }
    }
}

impl Spot {
    fn message(self) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.index = self.index;
        message.header.prefix_len = self.prefix;
        message.header.family = match self.ip {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        let attributes = [AddressAttribute::Local(self.ip), AddressAttribute::Address(self.ip)];
        message.attributes.extend(attributes);
        message
    }

    /// Whether both are addresses of one network on one interface.
    fn shares_network(self, other: Self) -> bool {
        let shift = |bits: u32| bits - u32::from(self.prefix).min(bits);
        let same = match (self.ip, other.ip) {
            (IpAddr::V4(one), IpAddr::V4(two)) => {
                (one.to_bits() ^ two.to_bits()).checked_shr(shift(32)).unwrap_or(0) == 0
            }
            (IpAddr::V6(one), IpAddr::V6(two)) => {
                (one.to_bits() ^ two.to_bits()).checked_shr(shift(128)).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        };
        same && self.index == other.index && self.prefix == other.prefix
    }
}

impl Found {
    /// What a message says; `None` for what is no address of IP.
    pub(super) fn read(message: &AddressMessage) -> Option<Self> {
        let (mut local, mut remote, mut ours, mut for_ever) = (None, None, false, false);
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(ip) => local = Some(*ip),
                AddressAttribute::Address(ip) => remote = Some(*ip),
                AddressAttribute::Protocol(mark) => ours = u8::from(*mark) == MARK,
                AddressAttribute::CacheInfo(times) => for_ever = times.ifa_valid == u32::MAX,
                _ => {}
            }
        }
        // Where both are there, the other one is the far end of a tunnel.
        let ip = local.or(remote)?;
        let (index, prefix) = (message.header.index, message.header.prefix_len);
        Some(Self { spot: Spot { index, ip, prefix }, ours, for_ever })
    }
}

/// What marks an address as set by this program (`IFA_PROTO`, Linux 5.18): `h` of `ha`. The kernel
/// itself uses 1 to 3, and routing daemons their numbers of `rt_protos`, where 104 is nobody's.
pub(super) const MARK: u8 = 0x68;

/// At least one second: zero would be an address that is gone when it is set.
pub(super) fn whole_seconds(lifetime: Duration) -> u32 {
    let up = lifetime.as_secs() + u64::from(lifetime.subsec_nanos() > 0);
    // All ones mean for ever.
    up.clamp(1, u64::from(u32::MAX - 1)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(ip: &str, prefix: u8) -> Spot {
        Spot { index: 7, ip: ip.parse().unwrap(), prefix }
    }

    #[test]
    fn lifetimes_are_rounded_up_and_never_zero_or_for_ever() {
        let cases = [
            (0, 1),
            (1, 1),
            (1_000_000_000, 1),
            (1_000_000_001, 2),
            (2_999_999_999, 3),
            (u64::MAX, 4_294_967_294),
        ];
        for (nanos, seconds) in cases {
            assert_eq!(whole_seconds(Duration::from_nanos(nanos)), seconds, "{nanos}");
        }
    }

    #[test]
    fn a_network_is_shared_on_one_interface_and_with_one_length() {
        let vip = spot("fd00::100", 64);
        assert!(vip.shares_network(spot("fd00::1", 64)));
        assert!(!vip.shares_network(spot("fd00:0:0:1::1", 64)));
        assert!(!vip.shares_network(spot("fd00::1", 128)));
        assert!(!vip.shares_network(Spot { index: 8, ..vip }));
        assert!(!vip.shares_network(spot("10.0.0.1", 64)));
        assert!(spot("10.0.0.1", 24).shares_network(spot("10.0.0.200", 24)));
        assert!(!spot("10.0.0.1", 32).shares_network(spot("10.0.0.2", 32)));
        assert!(spot("10.0.0.1", 32).shares_network(spot("10.0.0.1", 32)));
    }

    #[test]
    fn what_is_written_is_read() {
        let spot = spot("fd00::100", 64);
        let mut message = spot.message();
        assert_eq!(Found::read(&message), Some(Found { spot, ours: false, for_ever: false }));
        message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(MARK)));
        assert_eq!(Found::read(&message), Some(Found { spot, ours: true, for_ever: false }));
        for (seconds, for_ever) in [(3, false), (u32::MAX, true)] {
            let mut message = message.clone();
            let mut times = CacheInfo::default();
            times.ifa_valid = seconds;
            message.attributes.push(AddressAttribute::CacheInfo(times));
            assert_eq!(Found::read(&message), Some(Found { spot, ours: true, for_ever }));
        }
        assert_eq!(Found::read(&AddressMessage::default()), None);
    }
}
