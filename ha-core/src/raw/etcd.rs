//! An etcd that keeps the register, as it is written.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::str::FromStr;

use thiserror::Error;

/// Where one member of an etcd cluster answers its clients, in plain HTTP: by address, so that no
/// takeover waits for a name server.
///
/// ```
/// use ha_core::raw::Endpoint;
///
/// assert_eq!("http://10.0.0.3:2379".parse::<Endpoint>()?.0, "10.0.0.3:2379".parse()?);
/// assert!("https://10.0.0.3:2379".parse::<Endpoint>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint(pub SocketAddr);

/// A text that is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// TLS is not spoken.
    #[error(
        "{0:?}: TLS is not spoken to etcd: name a plain endpoint as \"http://127.0.0.1:2379\", of \
         a member on this machine or of a tunnel to one"
    )]
    Tls(String),
    /// No address.
    #[error("{0:?} is no endpoint: write an address and a port as \"http://10.0.0.3:2379\"")]
    Text(String),
}

/// The etcd of a pair, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etcd {
    /// Its members, or some of them; any order.
    pub endpoints: Vec<Endpoint>,
    /// The key of the register.
    pub key: String,
}

impl Etcd {
    /// The most endpoints: a cluster of etcd has seven members at most, and each that does not
    /// answer costs time.
    pub const ENDPOINTS_MAX: usize = 9;

    /// The prefix of all keys, unless another is configured.
    pub const PREFIX: &'static str = "/ha";

    pub(super) fn new(
        endpoints: Vec<Endpoint>,
        prefix: Option<&str>,
        cluster: &str,
        module: u16,
    ) -> Self {
        let prefix = prefix.unwrap_or(Self::PREFIX).trim_end_matches('/');
        let key = alloc::format!("{prefix}/{cluster}/{module}");
        Self { endpoints, key }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if text.starts_with("https://") {
            return Err(EndpointError::Tls(text.to_string()));
        }
        let address = text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let address = address.and_then(|address| address.parse().ok()).map(Self);
        address.ok_or_else(|| EndpointError::Text(text.to_string()))
    }
}

impl fmt::Display for Endpoint {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

#[cfg(feature = "serde")]
mod deserialize {
    use core::fmt;

    use serde::de::{Deserialize, Deserializer, Error, Visitor};

    use super::Endpoint;

    impl<'de> Deserialize<'de> for Endpoint {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            struct Text;
            impl Visitor<'_> for Text {
                type Value = Endpoint;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("an endpoint as \"http://10.0.0.3:2379\"")
                }

                fn visit_str<E: Error>(self, text: &str) -> Result<Endpoint, E> {
                    text.parse().map_err(E::custom)
                }
            }
            from.deserialize_str(Text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_comes_back() {
        for text in ["http://10.0.0.3:2379", "http://[::1]:2379"] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), text);
            let slash = alloc::format!("{text}/");
            assert_eq!(slash.parse(), Ok(endpoint));
        }
        for text in ["", "10.0.0.3:2379", "http://10.0.0.3", "http://etcd:2379", "http://"] {
            let error = EndpointError::Text(text.to_string());
            assert_eq!(text.parse::<Endpoint>(), Err(error));
        }
        let error = "https://10.0.0.3:2379".parse::<Endpoint>().unwrap_err().to_string();
        assert!(error.contains("TLS is not spoken") && error.contains("tunnel"), "{error}");
    }

    #[test]
    fn a_key_names_cluster_and_module() {
        let key = |prefix| Etcd::new(Vec::new(), prefix, "shop", 3).key;
        assert_eq!(key(None), "/ha/shop/3");
        assert_eq!(key(Some("/elsewhere/")), "/elsewhere/shop/3");
        assert_eq!(key(Some("")), "/shop/3");
    }
}
