//! Interfaces of the kernel.

use std::io;
use std::prelude::rust_2024::*;
use std::string::String;

use ha_vip::Mac;
use netlink_packet_core::NLM_F_ACK;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use rustix::io::Errno;

use super::netlink::Netlink;

/// An interface as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Its number; one that was made anew has another.
    pub(super) index: u32,
    /// Its hardware address, if it is one of Ethernet.
    pub(super) mac: Option<Mac>,
    /// Whether it can send: set up, and with a carrier.
    pub(super) up: bool,
}

impl Link {
    /// The interface of this name, if there is one.
    pub(super) fn find(netlink: &mut Netlink, name: &str) -> io::Result<Option<Self>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(String::from(name)));
        let answers = netlink.ask(NLM_F_ACK, RouteNetlinkMessage::GetLink(message));
        match answers {
            Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(None),
            Err(error) => Err(error),
            Ok(answers) => Ok(answers.iter().find_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(message) => Some(Self::read(message)),
                _ => None,
            })),
        }
    }

    fn read(message: &LinkMessage) -> Self {
        let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
        let mac = message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok().map(Mac),
            _ => None,
        });
        let up = message.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp);
        Self { index: message.header.index, mac: mac.filter(|_| ethernet), up }
    }
}

/// The Ethernet address of an interface in this thread's network namespace.
///
/// # Errors
/// There is no such interface, or it is none of Ethernet.
pub fn mac_of(interface: &str) -> io::Result<ha_farm::Mac> {
    let link = Link::find(&mut Netlink::open(None)?, interface)?;
    let link = link.ok_or_else(|| io::Error::other("there is no such interface"))?;
    let mac = link.mac.ok_or_else(|| io::Error::other("it is not of Ethernet"))?;
    Ok(ha_farm::Mac(mac.0))
}
