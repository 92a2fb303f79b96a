//! Names of things: addresses, interfaces, hardware addresses.

use core::fmt;
use core::net::IpAddr;

/// One virtual address: what clients talk to, and where it is set.
///
/// Its label and scope are the adapter's business; see [`detours`](crate::detours) for its host's own
/// connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The address, IPv4 or IPv6.
    pub ip: IpAddr,
    /// How many of its bits name the network: 1 to 32, or 1 to 128.
    pub prefix: u8,
    /// On which interface.
    pub interface: InterfaceId,
}

impl fmt::Display for Address {
    /// `192.0.2.10/24 on interface 0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} on interface {}", self.ip, self.prefix, self.interface.0)
    }
}

/// A network interface, by its place in the configuration's list; its name is the adapter's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId(pub u8);

/// A hardware address of Ethernet (IEEE 802 MAC-48).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    /// `02:00:00:00:00:01`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn names_are_shown_as_operators_write_them() {
        assert_eq!(Mac([2, 0, 0, 0xab, 0, 1]).to_string(), "02:00:00:ab:00:01");
        let ip = "2001:db8::10".parse().unwrap();
        let address = Address { ip, prefix: 64, interface: InterfaceId(1) };
        assert_eq!(address.to_string(), "2001:db8::10/64 on interface 1");
    }
}
