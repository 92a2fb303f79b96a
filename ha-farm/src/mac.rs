//! Hardware addresses.

use core::fmt;
use core::net::IpAddr;

/// A hardware address of Ethernet (IEEE 802 MAC-48).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The one that clients of mode invisible send to: `5a:fe` and the last four bytes of the
    /// address. No card has it and no member sends from it, so a switch never learns where it is
    /// and every member gets the frames. Locally administered, of one card.
    pub fn of_vip(vip: IpAddr) -> Self {
        let [a, b, c, d] = match vip {
            IpAddr::V4(vip) => vip.octets(),
            IpAddr::V6(vip) => {
                let [.., a, b, c, d] = vip.octets();
                [a, b, c, d]
            }
        };
        Self([0x5a, 0xfe, a, b, c, d])
    }
}

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
    fn a_vip_names_its_mac() {
        let of = |vip: &str| Mac::of_vip(vip.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.1"), "5a:fe:c0:00:02:01");
        assert_eq!(of("2001:db8::102:304"), "5a:fe:01:02:03:04");
    }
}
