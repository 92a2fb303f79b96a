//! Why virtual addresses cannot be had here.

use core::net::IpAddr;
use std::io;
use std::prelude::rust_2024::*;
use std::string::String;

use ha_vip::ConfigError;
use thiserror::Error;

/// Why a module's virtual addresses cannot be had here. Nothing runs then, and no address is set.
#[derive(Debug, Error)]
pub enum VipError {
    /// A value is out of its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A label that the kernel cannot keep.
    #[error("label {label:?} of {address}: only an IPv4 address has one, of 1 to 15 bytes")]
    Label {
        /// Of which address.
        address: IpAddr,
        /// As configured.
        label: String,
    },
    /// Two addresses that are to be the source of the same connections.
    #[error(
        "{one} and {two} are both preferred sources on {interface:?}: only one can be, of IPv4 and \
         of IPv6; make the others \"alias\""
    )]
    TwoSources {
        /// The one that was named first.
        one: IpAddr,
        /// The other one.
        two: IpAddr,
        /// Where both are.
        interface: String,
    },
    /// An address of one link that is to be the source of connections anywhere.
    #[error(
        "{0} cannot be a preferred source: nobody beyond its link could answer; make it \"alias\""
    )]
    SourceOfALink(IpAddr),
    /// No interface of this name.
    #[error(
        "{address}: there is no interface {interface:?}: `ip link` lists those of this machine"
    )]
    NoInterface {
        /// Which address was to be set there.
        address: IpAddr,
        /// As configured.
        interface: String,
    },
    /// The interface is none of Ethernet, so nobody could be told where the address is.
    #[error("{address}: interface {interface:?} has no Ethernet address: choose another one")]
    NotEthernet {
        /// Which address was to be set there.
        address: IpAddr,
        /// As configured.
        interface: String,
    },
    /// Somebody else set the address here, and would lose it to us.
    #[error("{0} is set on this machine, and not by us: `ip address show to {0}`; remove it there")]
    Foreign(IpAddr),
    /// The process lacks a right.
    #[error(
        "virtual addresses need {0}: run as root, or grant it (AmbientCapabilities= of systemd)"
    )]
    NotPermitted(&'static str),
    /// The system refuses something else.
    #[error("virtual addresses: {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl VipError {
    /// What the system said to `what`, which needs the capability `right`.
    pub(super) fn system(
        what: &'static str,
        right: &'static str,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted(right),
            _ => Self::System { what, source },
        }
    }
}
