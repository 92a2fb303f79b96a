//! An address outside the cluster, as it is written.

use alloc::string::{String, ToString};
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;

use thiserror::Error;

/// What the vote `ping` looks at: an address outside the cluster.
///
/// ```
/// use ha_core::raw::PingTarget;
///
/// assert!(matches!("192.0.2.1".parse()?, PingTarget::Icmp(_)));
/// assert!(matches!("[2001:db8::1]:53".parse()?, PingTarget::Tcp(_)));
/// # Ok::<(), ha_core::raw::PingTargetError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingTarget {
    /// An address alone: an ICMP echo request. A router answers it.
    Icmp(IpAddr),
    /// An address and a port: a TCP connection.
    Tcp(SocketAddr),
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no address: write one alone to ping it, or with a port to connect to it")]
pub struct PingTargetError(String);

impl FromStr for PingTarget {
    type Err = PingTargetError;

    fn from_str(text: &str) -> Result<Self, PingTargetError> {
        let alone = text.parse().map(Self::Icmp);
        let with_port = || text.parse().map(Self::Tcp);
        alone.or_else(|_| with_port()).map_err(|_| PingTargetError(text.to_string()))
    }
}

impl fmt::Display for PingTarget {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Icmp(address) => address.fmt(f),
            Self::Tcp(address) => address.fmt(f),
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
                    f.write_str("an address as \"192.0.2.1\" or \"192.0.2.1:53\"")
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
        for text in ["192.0.2.1", "2001:db8::1", "192.0.2.1:53", "[2001:db8::1]:53"] {
            let target: PingTarget = text.parse().unwrap();
            assert_eq!(target.to_string(), text);
        }
        for text in ["", "router", "192.0.2.1:", "192.0.2.1:65536", "2001:db8::1]:53"] {
            assert_eq!(text.parse::<PingTarget>(), Err(PingTargetError(text.to_string())));
        }
    }
}
