//! A switch.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::Duration;

use crate::host::Host;
use crate::namespace::Namespace;
use crate::neighbour::{Mac, word_after};
use crate::tool;

/// A switch, with a network of its own: `10.77.1.0/24` and `fd00:77:1::/64` for the first, and
/// so on. A handle; made by [`Lab::bridge`](crate::Lab::bridge).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    number: u8,
    /// What its addresses of IPv4 begin with.
    network: [u8; 3],
    switch: Namespace,
}

impl Bridge {
    pub(crate) fn make(number: u8, network: [u8; 3], switch: Namespace) -> io::Result<Self> {
        let bridge = Self { number, network, switch };
        let device = bridge.device();
        // Snooping would hold back neighbour discovery until a querier spoke, and there is none.
        bridge.switch.ip(&format!(
            "link add {device} type bridge mcast_snooping 0\nlink set {device} up\n"
        ))?;
        Ok(bridge)
    }

    /// The address of number `n` in its network. Hosts have 1 to 99, in the order in which they
    /// were made, the same in each of their networks; 100 to 254 are free for virtual addresses.
    pub fn v4(&self, n: u8) -> Ipv4Addr {
        let [first, second, third] = self.network;
        Ipv4Addr::new(first, second, third, n)
    }

    /// Likewise: the last group is `n` in decimal digits.
    pub fn v6(&self, n: u8) -> Ipv6Addr {
        let digits = u16::from(n / 100) << 8 | u16::from(n / 10 % 10) << 4 | u16::from(n % 10);
        Ipv6Addr::new(0xfd00, 0x77, u16::from(self.number), 0, 0, 0, 0, digits)
    }

    /// After what time an address of which nothing was heard is forgotten: 300 s unless set. To
    /// hundredths of a second.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn set_ageing(&self, ageing: Duration) -> io::Result<()> {
        let (device, hundredths) = (self.device(), ageing.as_millis() / 10);
        self.switch.ip(&format!("link set {device} type bridge ageing_time {hundredths}\n"))
    }

    /// Whether frames for an address that the switch does not know go to this host, too, as they do
    /// unless set. Broadcasts always do.
    ///
    /// # Errors
    /// The host has no cable to this switch.
    pub fn set_flooding(&self, host: &Host, on: bool) -> io::Result<()> {
        let (port, flood) = (self.port(host.name()), if on { "on" } else { "off" });
        self.switch.ip(&format!("link set {port} type bridge_slave flood {flood}\n"))
    }

    /// Behind which host the switch believes each address to be, as it learned from frames.
    ///
    /// # Errors
    /// `bridge` cannot be run.
    pub fn learned(&self) -> io::Result<Vec<Learned>> {
        let device = self.device();
        let mut command = Command::new("bridge");
        command.args(["-n", self.switch.name(), "fdb", "show", "br", &device]);
        let told = tool::run(&mut command, "")?;
        Ok(told.lines().filter_map(Learned::parse).collect())
    }

    /// Pulls a host's cable out: the host sees that its link has no carrier, and keeps addresses.
    ///
    /// # Errors
    /// The host has no cable to this switch.
    pub fn unplug(&self, host: &Host) -> io::Result<()> {
        self.switch.ip(&format!("link set {} down\n", self.port(host.name())))
    }

    /// Puts the cable in again.
    ///
    /// # Errors
    /// The host has no cable to this switch.
    pub fn plug(&self, host: &Host) -> io::Result<()> {
        self.switch.ip(&format!("link set {} up\n", self.port(host.name())))
    }

    /// Takes a host's interface away, as a driver that is removed does: the host has it no more,
    /// nor what was set at it.
    ///
    /// # Errors
    /// The host has no cable to this switch.
    pub fn cut_cable(&self, host: &Host) -> io::Result<Mac> {
        let mac = host.mac(self)?;
        self.switch.ip(&format!("link delete {}\n", self.port(host.name())))?;
        Ok(mac)
    }

    /// Makes it anew, with another number, by the same name and with this hardware address and the
    /// host's own addresses.
    ///
    /// # Errors
    /// The host has one.
    pub fn lay_cable(&self, host: &Host, mac: Mac) -> io::Result<()> {
        let (port, device, interface) =
            (self.port(host.name()), self.device(), host.interface(self));
        let peer = host.namespace().name();
        self.switch.ip(&format!(
            "link add {port} type veth peer name {interface} address {mac} netns {peer}\n\
             link set {port} master {device} up\n"
        ))?;
        host.link_up(self)
    }

    /// Its interface in the namespace of the switches.
    pub(crate) fn device(&self) -> String {
        format!("br{}", self.number)
    }

    /// The interface in the namespace of the switches that a host's cable ends at.
    pub(crate) fn port(&self, host: &str) -> String {
        format!("{host}.{}", self.number)
    }
}

/// Where a switch believes an address to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    /// The address.
    pub mac: Mac,
    /// The name of the host whose cable leads there.
    pub host: String,
}

impl Learned {
    /// A line of `bridge fdb show`; `None` for entries that the kernel made itself.
    fn parse(line: &str) -> Option<Self> {
        if line.split_whitespace().any(|word| word == "permanent" || word == "self") {
            return None;
        }
        let mac = line.split_whitespace().next()?.parse().ok()?;
        let (host, _number) = word_after(line, "dev")?.split_once('.')?;
        Some(Self { mac, host: host.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_alike_in_both_families() {
        let bridge =
            Bridge { number: 2, network: [10, 77, 2], switch: Namespace::named("x".to_owned()) };
        assert_eq!(bridge.v4(1).to_string(), "10.77.2.1");
        assert_eq!(bridge.v6(1).to_string(), "fd00:77:2::1");
        assert_eq!(bridge.v4(100).to_string(), "10.77.2.100");
        assert_eq!(bridge.v6(100).to_string(), "fd00:77:2::100");
        assert_eq!(bridge.v6(254).to_string(), "fd00:77:2::254");
        assert_eq!(bridge.port("client"), "client.2");
    }

    #[test]
    fn only_what_was_learned_from_frames_counts() {
        let mac: Mac = "92:48:e9:84:6a:c6".parse().unwrap();
        let learned = Learned { mac, host: "a".to_owned() };
        let cases = [
            ("92:48:e9:84:6a:c6 dev a.1 master br1 ", Some(learned)),
            ("92:48:e9:84:6a:c6 dev a.1 vlan 1 master br1 permanent", None),
            ("33:33:00:00:00:01 dev a.1 self permanent", None),
            ("", None),
        ];
        for (line, expected) in cases {
            assert_eq!(Learned::parse(line), expected, "{line}");
        }
    }
}
