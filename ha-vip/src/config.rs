//! What a set of addresses is told once.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use thiserror::Error;

use crate::{Address, InterfaceId};

/// What a set of addresses is told once; cannot be built wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub(crate) interfaces: u8,
    pub(crate) addresses: Vec<Address>,
    pub(crate) refresh: Duration,
    pub(crate) on_removed: OnRemoved,
}

/// What to do when somebody else removed an address of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRemoved {
    /// Set it again, as often as [`Config::PUT_BACKS_MAX`] allows; then step down. For a stray
    /// `ip addr flush`, or a network manager that forgets.
    #[default]
    PutBack,
    /// Give all addresses up at once, so that the other node takes them. For a site where removing
    /// an address is how an operator takes a service away.
    StepDown,
}

/// Why a configuration is refused; nothing was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// No address, or more than [`Config::ADDRESSES_MAX`].
    #[error("{0} virtual addresses: a set has 1 to 64")]
    Addresses(usize),
    /// No interface, or more than [`Config::INTERFACES_MAX`].
    #[error("{0} interfaces: a set uses 1 to 64")]
    Interfaces(u8),
    /// An address names an interface beyond the list.
    #[error("{0}: there is no such interface")]
    NoInterface(Address),
    /// One address is there twice. A link-local one of IPv6 may be on several interfaces.
    #[error("{0}: the address is there twice")]
    Twice(Address),
    /// The prefix is 0, or longer than an address.
    #[error("{0}: a prefix has 1 to 32 bits with IPv4, 1 to 128 with IPv6")]
    Prefix(Address),
    /// Multicast, broadcast, unspecified, loopback, or an IPv4 address written as one of IPv6: no
    /// client on the network can have it as a neighbour.
    #[error("{0}: no client can reach a server at such an address")]
    Unusable(Address),
    /// The refresh is outside of [`Config::REFRESH_MIN`] to [`Config::REFRESH_MAX`].
    #[error("a refresh of {0:?} is not between 1 s and 300 s")]
    Refresh(Duration),
}

impl Config {
    /// The most addresses of one set: what one datagram of netlink and one burst can carry in a
    /// moment, and far above what a service has.
    pub const ADDRESSES_MAX: usize = 64;
    /// The most interfaces: one for each address.
    pub const INTERFACES_MAX: u8 = 64;
    /// The default time between two announcements, for ever (`FIELD.md` rows 1 and 2).
    pub const REFRESH: Duration = Duration::from_secs(30);
    /// The shortest time between two announcements: more would be a storm, and a bridge that ages
    /// faster is broken.
    pub const REFRESH_MIN: Duration = Duration::from_secs(1);
    /// The longest one: the time in which bridges forget an address (IEEE 802.1Q, 300 s).
    pub const REFRESH_MAX: Duration = Duration::from_mins(5);
    /// How often an address is put back within [`Config::PUT_BACK_WINDOW`]. Who removes it more
    /// often does it on purpose, and two agents would fight for ever.
    pub const PUT_BACKS_MAX: usize = 5;
    /// See [`Config::PUT_BACKS_MAX`]: a slow fight, too, ends; five unrelated accidents in a minute
    /// do not happen.
    pub const PUT_BACK_WINDOW: Duration = Duration::from_mins(1);

    /// The configuration of a set.
    ///
    /// - `interfaces`: how many there are, 1 to 64; they are called `InterfaceId(0)` and so on.
    /// - `addresses`: 1 to 64, taken in this order and released in the reverse one.
    /// - `refresh`: between announcements once the burst is over, 1 s to 300 s. Default: 30 s.
    ///   Choose it below the shortest ageing time of the switches.
    /// - `on_removed`: what to do when somebody else removes an address. Default: put it back.
    ///
    /// # Errors
    /// [`ConfigError`] when a value is out of its range.
    pub fn new(
        interfaces: u8,
        addresses: Vec<Address>,
        refresh: Duration,
        on_removed: OnRemoved,
    ) -> Result<Self, ConfigError> {
        if addresses.is_empty() || addresses.len() > Self::ADDRESSES_MAX {
            return Err(ConfigError::Addresses(addresses.len()));
        }
        if interfaces == 0 || interfaces > Self::INTERFACES_MAX {
            return Err(ConfigError::Interfaces(interfaces));
        }
        if !(Self::REFRESH_MIN..=Self::REFRESH_MAX).contains(&refresh) {
            return Err(ConfigError::Refresh(refresh));
        }
        let mut known = BTreeSet::new();
        for &address in &addresses {
            check(address, interfaces)?;
            if !known.insert(identity(address)) {
                return Err(ConfigError::Twice(address));
            }
        }
        assert!(known.len() == addresses.len(), "one address would be set and removed as two");
        Ok(Self { interfaces, addresses, refresh, on_removed })
    }

    /// The addresses, in the order of the configuration.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }
}

fn check(address: Address, interfaces: u8) -> Result<(), ConfigError> {
    let (bits, usable) = match address.ip {
        IpAddr::V4(ip) => (32, is_usable_v4(ip)),
        IpAddr::V6(ip) => (128, is_usable_v6(ip)),
    };
    if !usable {
        return Err(ConfigError::Unusable(address));
    }
    if address.prefix == 0 || address.prefix > bits {
        return Err(ConfigError::Prefix(address));
    }
    if address.interface.0 >= interfaces {
        return Err(ConfigError::NoInterface(address));
    }
    Ok(())
}

fn is_usable_v4(ip: Ipv4Addr) -> bool {
    let reserved = ip.is_multicast() || ip.is_broadcast() || ip.octets()[0] == 0;
    !reserved && !ip.is_loopback()
}

fn is_usable_v6(ip: Ipv6Addr) -> bool {
    let reserved = ip.is_multicast() || ip.is_unspecified() || ip.to_ipv4_mapped().is_some();
    !reserved && !ip.is_loopback()
}

/// What makes two addresses one: a link-local one of IPv6 means something on each link.
fn identity(address: Address) -> (IpAddr, Option<InterfaceId>) {
    let local = match address.ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    (address.ip, local.then_some(address.interface))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    fn address(ip: &str, prefix: u8, interface: u8) -> Address {
        Address { ip: ip.parse().unwrap(), prefix, interface: InterfaceId(interface) }
    }

    fn config(addresses: &[Address]) -> Result<(), ConfigError> {
        Config::new(2, addresses.to_vec(), Config::REFRESH, OnRemoved::PutBack).map(|_| ())
    }

    #[test]
    fn the_numbers_are_checked_at_their_edges() {
        let many = |count: u8| (1..=count).map(|at| address(&alloc::format!("10.0.0.{at}"), 24, 0));
        let build = |count, interfaces, refresh| {
            let refresh = Duration::from_millis(refresh);
            Config::new(interfaces, many(count).collect(), refresh, OnRemoved::StepDown).map(|_| ())
        };
        assert_eq!(build(1, 1, 1_000), Ok(()));
        assert_eq!(build(64, 64, 300_000), Ok(()));
        assert_eq!(build(0, 1, 1_000), Err(ConfigError::Addresses(0)));
        assert_eq!(build(65, 1, 1_000), Err(ConfigError::Addresses(65)));
        assert_eq!(build(1, 0, 1_000), Err(ConfigError::Interfaces(0)));
        assert_eq!(build(1, 65, 1_000), Err(ConfigError::Interfaces(65)));
        assert_eq!(build(1, 1, 999), Err(ConfigError::Refresh(Duration::from_millis(999))));
        assert_eq!(build(1, 1, 300_001), Err(ConfigError::Refresh(Duration::from_millis(300_001))));
    }

    #[test]
    fn addresses_that_no_client_can_reach_are_refused() {
        let unusable = [
            ("0.0.0.0", 8),
            ("0.1.2.3", 8),
            ("127.0.0.1", 8),
            ("224.0.0.18", 4),
            ("255.255.255.255", 32),
            ("::", 64),
            ("::1", 128),
            ("ff02::1", 64),
            ("::ffff:192.0.2.1", 96),
        ];
        for (ip, prefix) in unusable {
            let address = address(ip, prefix, 0);
            assert_eq!(config(&[address]), Err(ConfigError::Unusable(address)));
        }
    }

    #[test]
    fn prefixes_and_interfaces_are_checked() {
        for (ip, prefix, is_right) in [
            ("10.0.0.1", 0, false),
            ("10.0.0.1", 1, true),
            ("10.0.0.1", 32, true),
            ("10.0.0.1", 33, false),
            ("2001:db8::1", 0, false),
            ("2001:db8::1", 128, true),
            ("2001:db8::1", 129, false),
        ] {
            let address = address(ip, prefix, 1);
            let expected = if is_right { Ok(()) } else { Err(ConfigError::Prefix(address)) };
            assert_eq!(config(&[address]), expected);
        }
        let beyond = address("10.0.0.1", 24, 2);
        assert_eq!(config(&[beyond]), Err(ConfigError::NoInterface(beyond)));
    }

    #[test]
    fn one_address_twice_is_refused_unless_it_is_of_the_link() {
        let (first, again) = (address("10.0.0.1", 24, 0), address("10.0.0.1", 16, 1));
        assert_eq!(config(&[first, again]), Err(ConfigError::Twice(again)));
        let (first, other) = (address("fe80::1", 64, 0), address("fe80::1", 64, 1));
        assert_eq!(config(&[first, other]), Ok(()));
        assert_eq!(config(&[first, other, first]), Err(ConfigError::Twice(first)));
    }

    #[test]
    fn errors_name_the_address_and_the_bound() {
        let error = ConfigError::Prefix(address("10.0.0.1", 33, 0));
        let text = "10.0.0.1/33 on interface 0: a prefix has 1 to 32 bits with IPv4, 1 to 128 with \
                    IPv6";
        assert_eq!(error.to_string(), text);
        let config =
            Config::new(1, vec![], Config::REFRESH, OnRemoved::default()).unwrap_err().to_string();
        assert_eq!(config, "0 virtual addresses: a set has 1 to 64");
    }
}
