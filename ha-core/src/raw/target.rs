//! An address outside the cluster, as it is written.

use alloc::string::{String, ToString};
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;

use thiserror::Error;

/// What the vote `ping` looks at: an address outside the cluster. Behind `%`, where it is asked
/// from, if that is not left to the routes: an interface, or an address of this node.
///
/// ```
/// use ha_core::raw::{PingFrom, PingTarget, PingTo};
///
/// let target: PingTarget = "192.0.2.1".parse()?;
/// assert!(matches!(target.to, PingTo::Icmp(_)) && target.from.is_none());
/// let target: PingTarget = "[2001:db8::1]:53%eth0".parse()?;
/// assert!(matches!(target.to, PingTo::Tcp(_)));
/// assert_eq!(target.from, Some(PingFrom::Interface("eth0".into())));
/// # Ok::<(), ha_core::raw::PingTargetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PingTarget {
    /// What is asked.
    pub to: PingTo,
    /// From where; `None` is where the routes say.
    pub from: Option<PingFrom>,
}

/// How an address is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingTo {
    /// An address alone: an ICMP echo request. A router answers it.
    Icmp(IpAddr),
    /// An address and a port: a TCP connection.
    Tcp(SocketAddr),
}

/// Where this node asks from, whatever its routes say: a network that is cut must not look well
/// because there is another way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PingFrom {
    /// Out of this interface, and nowhere else; with its address.
    Interface(String),
    /// With this address of the node, along the routes of that address.
    Address(IpAddr),
}

/// A text that is no address, or no place to ask it from.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PingTargetError {
    /// Before the `%`, if there is one.
    #[error("{0:?} is no address: write one alone to ping it, or with a port to connect to it")]
    To(String),
    /// Behind it.
    #[error(
        "{0:?} is no place to ask from: write an interface or an address of this node behind the %"
    )]
    From(String),
    /// Both are addresses.
    #[error("{to} cannot be asked from {from}: name an address of the same family")]
    Family {
        /// What is asked.
        to: IpAddr,
        /// From where.
        from: IpAddr,
    },
}

impl PingTo {
    /// The address.
    pub const fn ip(self) -> IpAddr {
        match self {
            Self::Icmp(ip) => ip,
            Self::Tcp(address) => address.ip(),
        }
    }
}

impl PingFrom {
    /// Whether `to` can be asked from there.
    ///
    /// # Errors
    /// [`PingTargetError::Family`].
    pub(super) fn check(self, to: IpAddr) -> Result<Self, PingTargetError> {
        match self {
            Self::Address(from) if from.is_ipv4() != to.is_ipv4() => {
                Err(PingTargetError::Family { to, from })
            }
            Self::Address(_) | Self::Interface(_) => Ok(self),
        }
    }
}

impl FromStr for PingTarget {
    type Err = PingTargetError;

    fn from_str(text: &str) -> Result<Self, PingTargetError> {
        // The number of an interface may stand in brackets: it is part of the address.
        if let Ok(address) = text.parse() {
            return Ok(Self { to: PingTo::Tcp(address), from: None });
        }
        let Some((to, from)) = text.rsplit_once('%') else {
            return Ok(Self { to: text.parse()?, from: None });
        };
        let to: PingTo = to.parse()?;
        let from: PingFrom = from.parse()?;
        Ok(Self { to, from: Some(from.check(to.ip())?) })
    }
}

impl FromStr for PingTo {
    type Err = PingTargetError;

    fn from_str(text: &str) -> Result<Self, PingTargetError> {
        let alone = text.parse().map(Self::Icmp);
        let with_port = || text.parse().map(Self::Tcp);
        alone.or_else(|_| with_port()).map_err(|_| PingTargetError::To(text.to_string()))
    }
}

impl FromStr for PingFrom {
    type Err = PingTargetError;

    fn from_str(text: &str) -> Result<Self, PingTargetError> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        if is_interface(text) {
            Ok(Self::Interface(text.to_string()))
        } else {
            Err(PingTargetError::From(text.to_string()))
        }
    }
}

/// Whether an interface of Linux can have this name (`dev_valid_name` of the kernel).
pub(super) fn is_interface(name: &str) -> bool {
    let plain = |c: char| c != '/' && c != ':' && c != '%' && !c.is_whitespace() && c != '\0';
    let fits = (1..=INTERFACE_MAX).contains(&name.len()) && name.chars().all(plain);
    fits && name != "." && name != ".."
}

/// `IFNAMSIZ` of the kernel, less the zero at its end.
const INTERFACE_MAX: usize = 15;

impl fmt::Display for PingTarget {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to {
            PingTo::Icmp(address) => address.fmt(f)?,
            PingTo::Tcp(address) => address.fmt(f)?,
        }
        match &self.from {
            None => Ok(()),
            Some(PingFrom::Interface(name)) => write!(f, "%{name}"),
            Some(PingFrom::Address(address)) => write!(f, "%{address}"),
        }
    }
}

#[cfg(feature = "serde")]
mod deserialize {
    use core::fmt;

    use serde::de::{Deserialize, Deserializer, Error, Visitor};

    use super::PingTarget;

    impl<'de> Deserialize<'de> for PingTarget {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            struct Text;
            impl Visitor<'_> for Text {
                type Value = PingTarget;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(
                        "an address as \"192.0.2.1\", \"192.0.2.1:53\" or \"192.0.2.1%eth0\"",
                    )
                }

                fn visit_str<E: Error>(self, text: &str) -> Result<PingTarget, E> {
                    text.parse().map_err(E::custom)
                }
            }
            from.deserialize_str(Text)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn what_is_written_comes_back() {
        for text in [
            "192.0.2.1",
            "2001:db8::1",
            "192.0.2.1:53",
            "[2001:db8::1]:53",
            "[fe80::1%2]:53",
            "192.0.2.1%eth0",
            "fe80::1%bond0.7",
            "192.0.2.1%192.0.2.9",
            "2001:db8::1%2001:db8::9",
            "[2001:db8::1]:53%eth0",
            "192.0.2.1:53%192.0.2.9",
        ] {
            let target: PingTarget = text.parse().unwrap();
            assert_eq!(target.to_string(), text);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let refused = |text: &str| text.parse::<PingTarget>().unwrap_err().to_string();
        for text in ["", "router", "192.0.2.1:", "192.0.2.1:65536", "2001:db8::1]:53"] {
            assert!(refused(text).starts_with(&std::format!("{text:?} is no address")), "{text}");
        }
        assert!(refused("router%eth0").starts_with("\"router\" is no address"));
        for from in ["", "a b", "an interface", "sixteen-bytes-it", "a/b", "..", "eth0:1"] {
            let told = refused(&std::format!("192.0.2.1%{from}"));
            assert!(told.starts_with(&std::format!("{from:?} is no place to ask from")), "{told}");
        }
        let told = "192.0.2.1 cannot be asked from fd00::1: name an address of the same family";
        assert_eq!(refused("192.0.2.1%fd00::1"), told);
    }
}
