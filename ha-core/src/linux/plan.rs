//! Virtual addresses as they are configured, and as the machine has them.

use core::net::IpAddr;
use core::time::Duration;
use std::prelude::rust_2024::*;
use std::string::String;

use ha_vip::{Address, Config, InterfaceId, OnRemoved};

use super::{VipError, agent};

/// The virtual addresses of a module: one set, owned by one node at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VipsConfig {
    /// 1 to 64 addresses, taken in this order and released in the reverse one.
    pub addresses: Vec<VipConfig>,
    /// Between two announcements once the first burst is over, 1 s to 300 s. Default: 30 s. Choose
    /// it below the shortest ageing time of the switches.
    pub refresh: Duration,
    /// What to do when somebody else removes an address. Default: put it back.
    pub on_removed: OnRemoved,
    /// Whether a release resets the TCP connections to these addresses, so that clients notice at
    /// once and not by a timeout. Default: no, since a service that stops closes its own.
    pub reset_connections: bool,
}

/// One virtual address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VipConfig {
    /// IPv4 or IPv6.
    pub address: IpAddr,
    /// How many bits name the network: 1 to 32, or 1 to 128. Best the whole length, 32 or 128, where
    /// the host has an address of its own in the network: of two IPv4 addresses with one network the
    /// kernel removes the second with the first.
    pub prefix: u8,
    /// The name of the interface, `eth0`.
    pub interface: String,
    /// What `ip address` and `ifconfig` show beside an IPv4 address, 1 to 15 bytes, by custom the
    /// interface's name, a colon and a word. Default: none.
    pub label: Option<String>,
    /// Whether this host's own connections begin from it. Default: no.
    pub source: VipSource,
}

/// What a virtual address is to the connections that begin on its host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VipSource {
    /// One more address: they begin from the host's own, as long as that has one there.
    #[default]
    Alias,
    /// They begin from this one, while it is held, wherever a route of the main table leads over its
    /// interface: for firewalls and databases that know no other. At most one of each family on an
    /// interface, and none of a link (`fe80::/10`). See [`detours`](ha_vip::detours) for the routes
    /// that are not followed.
    Preferred,
}

impl VipConfig {
    /// Whether both would be the source of the same connections, so that neither is for certain.
    pub fn rivals(&self, other: &Self) -> bool {
        let preferred = |vip: &Self| vip.source == VipSource::Preferred;
        preferred(self)
            && preferred(other)
            && self.interface == other.interface
            && self.address.is_ipv4() == other.address.is_ipv4()
    }
}

impl VipsConfig {
    /// These addresses, and the defaults for everything else.
    pub fn new(addresses: Vec<VipConfig>) -> Self {
        let (refresh, on_removed) = (Config::REFRESH, OnRemoved::default());
        Self { addresses, refresh, on_removed, reset_connections: false }
    }

    /// Whether this can be configured at all; the machine is not looked at.
    ///
    /// # Errors
    /// The first thing that cannot work.
    pub fn check(&self) -> Result<(), VipError> {
        Plan::new(self.clone()).map(drop)
    }

    /// Whether these could be had on this machine now: its interfaces are looked at, and its
    /// addresses, of which ours may be there. Nothing is changed, and no right is needed.
    ///
    /// # Errors
    /// As [`check`](Self::check), or what [`Vips::start`](super::Vips::start) would refuse but for
    /// its rights.
    pub fn look(&self) -> Result<(), VipError> {
        agent::look(&Plan::new(self.clone())?)
    }
}

/// What was configured, checked.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) machine: Config,
    /// The names, in the order of the machine's numbers.
    pub(super) interfaces: Vec<String>,
    /// In the order of the machine's addresses.
    pub(super) labels: Vec<Option<String>>,
    /// In the order of the machine's addresses.
    pub(super) sources: Vec<VipSource>,
    pub(super) reset_connections: bool,
}

impl Plan {
    pub(super) fn new(config: VipsConfig) -> Result<Self, VipError> {
        let mut interfaces: Vec<String> = Vec::new();
        check_sources(&config.addresses)?;
        let (mut addresses, mut labels, mut sources) = (Vec::new(), Vec::new(), Vec::new());
        for vip in config.addresses {
            let known = interfaces.iter().position(|name| *name == vip.interface);
            let place = known.unwrap_or_else(|| {
                interfaces.push(vip.interface);
                interfaces.len() - 1
            });
            check_label(vip.address, vip.label.as_ref())?;
            // More than the machine takes are refused below, by the number of addresses.
            let interface = InterfaceId(u8::try_from(place).unwrap_or(u8::MAX));
            addresses.push(Address { ip: vip.address, prefix: vip.prefix, interface });
            labels.push(vip.label);
            sources.push(vip.source);
        }
        let count = u8::try_from(interfaces.len().max(1)).unwrap_or(Config::INTERFACES_MAX);
        let machine = Config::new(count, addresses, config.refresh, config.on_removed)?;
        let reset_connections = config.reset_connections;
        Ok(Self { machine, interfaces, labels, sources, reset_connections })
    }

    /// The addresses of an interface, in the order of the plan.
    pub(super) fn addresses_on(&self, interface: InterfaceId) -> Vec<IpAddr> {
        let there = self.machine.addresses().iter().filter(|one| one.interface == interface);
        there.map(|address| address.ip).collect()
    }

    /// Whether the host's own connections begin from one of them.
    pub(super) fn has_preferred(&self) -> bool {
        self.sources.contains(&VipSource::Preferred)
    }

    /// The name of an address's interface.
    pub(super) fn interface(&self, address: Address) -> &str {
        &self.interfaces[usize::from(address.interface.0)]
    }
}

fn check_label(address: IpAddr, label: Option<&String>) -> Result<(), VipError> {
    let Some(label) = label else { return Ok(()) };
    let fits = (1..=LABEL_MAX).contains(&label.len()) && !label.contains('\0');
    if fits && address.is_ipv4() {
        return Ok(());
    }
    Err(VipError::Label { address, label: label.clone() })
}

/// Only one address can be the source of a connection.
fn check_sources(vips: &[VipConfig]) -> Result<(), VipError> {
    let preferred = || vips.iter().filter(|vip| vip.source == VipSource::Preferred);
    for (place, vip) in preferred().enumerate() {
        if let IpAddr::V6(ip) = vip.address
            && ip.is_unicast_link_local()
        {
            return Err(VipError::SourceOfALink(vip.address));
        }
        let same = |other: &&VipConfig| other.rivals(vip);
        if let Some(other) = preferred().take(place).find(same) {
            let interface = vip.interface.clone();
            return Err(VipError::TwoSources { one: other.address, two: vip.address, interface });
        }
    }
    Ok(())
}

/// `IFNAMSIZ` of the kernel, less the zero at its end.
const LABEL_MAX: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    use std::string::ToString;
    use std::{format, vec};

    fn vip(address: &str, interface: &str, label: Option<&str>) -> VipConfig {
        let (address, interface) = (address.parse::<IpAddr>().unwrap(), interface.to_string());
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        let (label, source) = (label.map(ToString::to_string), VipSource::Alias);
        VipConfig { address, prefix, interface, label, source }
    }

    fn refusal(addresses: Vec<VipConfig>) -> String {
        Plan::new(VipsConfig::new(addresses)).unwrap_err().to_string()
    }

    #[test]
    fn interfaces_are_numbered_as_they_come() {
        let config = VipsConfig::new(vec![
            vip("10.0.0.1", "eth1", Some("eth1:web")),
            vip("10.0.0.2", "eth0", None),
            vip("fd00::1", "eth1", None),
        ]);
        let plan = Plan::new(config).unwrap();
        assert_eq!(plan.interfaces, ["eth1", "eth0"]);
        assert_eq!(plan.labels, [Some("eth1:web".to_string()), None, None]);
        let numbers: Vec<u8> = plan.machine.addresses().iter().map(|it| it.interface.0).collect();
        assert_eq!(numbers, [0, 1, 0]);
        assert_eq!(plan.interface(plan.machine.addresses()[1]), "eth0");
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let many = |count: u16| {
            let vips = (1..=count).map(|n| vip(&format!("fd00::{n}"), &format!("eth{n}"), None));
            refusal(vips.collect())
        };
        for count in [0, 65, 300] {
            let expected = format!("{count} virtual addresses: a set has 1 to 64");
            assert_eq!(many(count), expected);
        }
        for (address, label) in [
            ("fd00::1", "eth0:web"),
            ("10.0.0.1", ""),
            ("10.0.0.1", "a\0"),
            ("10.0.0.1", "sixteen bytes it"),
        ] {
            let told = refusal(vec![vip(address, "eth0", Some(label))]);
            let rule = "only an IPv4 address has one, of 1 to 15 bytes";
            assert_eq!(told, format!("label {label:?} of {address}: {rule}"));
        }
    }

    #[test]
    fn one_address_of_a_family_is_preferred_on_an_interface() {
        let preferred = |address, interface| VipConfig {
            source: VipSource::Preferred,
            ..vip(address, interface, None)
        };
        let four = [("10.0.0.1", "eth0"), ("fd00::1", "eth0"), ("10.0.0.2", "eth1")];
        let mut all: Vec<_> = four.map(|(address, on)| preferred(address, on)).to_vec();
        all.push(vip("10.0.0.3", "eth0", None));
        assert!(Plan::new(VipsConfig::new(all.clone())).unwrap().has_preferred());
        all.push(preferred("10.0.0.4", "eth0"));
        assert_eq!(
            refusal(all),
            "10.0.0.1 and 10.0.0.4 are both preferred sources on \"eth0\": only one can be, of IPv4 \
             and of IPv6; make the others \"alias\""
        );
        assert_eq!(
            refusal(vec![preferred("fe80::10", "eth0")]),
            "fe80::10 cannot be a preferred source: nobody beyond its link could answer; make it \
             \"alias\""
        );
    }
}
