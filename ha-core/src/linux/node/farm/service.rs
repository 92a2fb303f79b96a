//! A service of a farm, as it is written.

use std::collections::BTreeMap;
use std::format;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::prelude::rust_2024::*;
use std::vec;

use serde::Deserialize;

use crate::farm::Policy;
use crate::ha_farm::{HashOn, Protocol, Rule, RuleError};

/// One service, as it is written: the packets to these ports of a virtual address.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawService {
    /// How it is called; default its address, ports and protocol.
    #[serde(default)]
    pub name: Option<String>,
    /// The virtual address.
    pub vip: IpAddr,
    /// Its port.
    #[serde(default)]
    pub port: Option<u16>,
    /// Or a range of ports, `"8000-8010"`.
    #[serde(default)]
    pub ports: Option<String>,
    /// `tcp` (default) or `udp`.
    #[serde(default)]
    pub protocol: RawProtocol,
    /// What of a client decides who serves it: `on_addr` (default; a client stays at its server),
    /// `on_addr_port` (each connection anew), `on_net` (whole networks), `on_ipid` (each packet anew,
    /// UDP only).
    #[serde(default)]
    pub on: RawOn,
    /// With `on_net`: bits of the networks, `{ v4 = 24, v6 = 64 }`.
    #[serde(default)]
    pub net: Option<RawNet>,
    /// Members whose share in this service is another one than elsewhere: `{ web1 = 4, web2 = 0 }`.
    #[serde(default)]
    pub weights: BTreeMap<String, u16>,
}

/// [`Protocol`] as it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawProtocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// [`HashOn`] as it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawOn {
    /// The client's address.
    #[default]
    OnAddr,
    /// Its address and port.
    OnAddrPort,
    /// Its network.
    OnNet,
    /// The packet's identification.
    OnIpid,
}

/// Bits of networks, as they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawNet {
    /// Of IPv4, 0 to 32; default 24.
    #[serde(default = "v4")]
    pub v4: u8,
    /// Of IPv6, 0 to 128; default 64.
    #[serde(default = "v6")]
    pub v6: u8,
}

/// A service, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// How it is called.
    pub name: String,
    /// Its rule.
    pub rule: Rule,
    /// This node's weight in it.
    pub weight: u16,
}

impl Service {
    /// The service as it is for the member of this name and weight.
    pub(super) fn new(
        raw: &RawService,
        member: &str,
        weight: u16,
    ) -> Result<Self, (&'static str, String)> {
        let ports = raw.ports()?;
        let rule = Rule { vip: raw.vip, ports, protocol: raw.protocol.into(), on: raw.hash_on()? };
        let name = raw.name.clone().unwrap_or_else(|| called(&rule));
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(|c| c.is_ascii_graphic()) {
            let what = format!("name {name:?}: 1 to {NAME_MAX} letters, digits and signs");
            return Err(("name", what));
        }
        let own = raw.weights.get(member).copied();
        if let Some((of, heavy)) = raw.weights.iter().find(|(_, it)| **it > Policy::WEIGHT_MAX) {
            return Err(("weights", format!("weight {heavy} of {of} must be at most 1000")));
        }
        let weight = own.unwrap_or(weight);
        if weight > Policy::WEIGHT_MAX {
            return Err(("weights", format!("weight {weight} must be at most 1000")));
        }
        Ok(Self { name, rule, weight })
    }
}

impl RawService {
    fn ports(&self) -> Result<RangeInclusive<u16>, (&'static str, String)> {
        match (self.port, &self.ports) {
            (Some(port), None) => Ok(port..=port),
            (None, Some(text)) => {
                let range = text.split_once('-').and_then(|(first, last)| {
                    Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
                });
                let what = || format!("ports is {text:?}: write a range, \"8000-8010\"");
                range.ok_or_else(|| ("ports", what()))
            }
            (Some(_), Some(_)) => Err(("ports", "port and ports: name one of the two".into())),
            (None, None) => Err(("port", "port is missing, or ports = \"8000-8010\"".into())),
        }
    }

    fn hash_on(&self) -> Result<HashOn, (&'static str, String)> {
        let net = self.net.unwrap_or(RawNet { v4: v4(), v6: v6() });
        let on = match self.on {
            RawOn::OnAddr => HashOn::Addr,
            RawOn::OnAddrPort => HashOn::AddrPort,
            RawOn::OnNet => return Ok(HashOn::Net { v4: net.v4, v6: net.v6 }),
            RawOn::OnIpid => HashOn::IpId,
        };
        match self.net {
            Some(_) => Err(("net", "net is for on = \"on_net\": leave it out".into())),
            None => Ok(on),
        }
    }
}

/// What a rule is called that has no name: `192.0.2.1:80/tcp`.
pub fn called(rule: &Rule) -> String {
    let (first, last) = (rule.ports.start(), rule.ports.end());
    let ports = if first == last { first.to_string() } else { format!("{first}-{last}") };
    let protocol = match rule.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    match rule.vip {
        IpAddr::V4(vip) => format!("{vip}:{ports}/{protocol}"),
        IpAddr::V6(vip) => format!("[{vip}]:{ports}/{protocol}"),
    }
}

/// Where in the file the rules are wrong, and what would be right.
pub(super) fn place(error: &RuleError, services: &[Service]) -> (Vec<String>, String) {
    let (at, field) = match error {
        RuleError::None | RuleError::TooMany(_) => {
            return (vec!["service".into()], format!("service: {error}"));
        }
        RuleError::Vip { rule, .. } => (*rule, "vip"),
        RuleError::Ports { rule } => (*rule, "port"),
        RuleError::Prefix { rule } => (*rule, "net"),
        RuleError::IpIdOfTcp { rule } => (*rule, "on"),
        RuleError::Overlap { second, .. } => (*second, "port"),
    };
    let name = services.get(at).map_or("?", |service| &service.name);
    let path = vec!["service".into(), at.to_string(), field.into()];
    (path, format!("service {name}: {error}"))
}

impl From<RawProtocol> for Protocol {
    fn from(protocol: RawProtocol) -> Self {
        match protocol {
            RawProtocol::Tcp => Self::Tcp,
            RawProtocol::Udp => Self::Udp,
        }
    }
}

const fn v4() -> u8 {
    24
}

const fn v6() -> u8 {
    64
}

/// It stands in metrics and pictures.
const NAME_MAX: usize = 64;
