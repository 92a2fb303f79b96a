//! Rules: which packets are a service's, and what of a client decides who serves it.

use core::net::IpAddr;
use core::ops::RangeInclusive;

use thiserror::Error;

/// One service: the packets to these ports of a virtual address.
///
/// Its place in the list of rules is its number; each service has a table of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The virtual address (VIP) that clients talk to.
    pub vip: IpAddr,
    /// The ports, 1 to 65535.
    pub ports: RangeInclusive<u16>,
    /// The protocol.
    pub protocol: Protocol,
    /// What of a client decides who serves it.
    pub on: HashOn,
}

/// What a rule is about. Everything else to a VIP is covered by no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Which part of a packet chooses the bucket. What is equal there goes to one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashOn {
    /// The client's address (`on_addr`): a client keeps its server over all its connections.
    Addr,
    /// The client's address and port (`on_addr_port`): the best spread. Fragments have no ports:
    /// those of UDP go by the address alone, those of TCP are dropped (F10).
    AddrPort,
    /// The client's network (`on_net`): clients behind several proxies of one network keep their
    /// server.
    Net {
        /// How many bits of an IPv4 address name the network, 0 to 32.
        v4: u8,
        /// How many bits of an IPv6 address name the network, 0 to 128.
        v6: u8,
    },
    /// The identification of the IPv4 packet (`on_ipid`): spreads even one UDP client. IPv6 has
    /// none: there it is the client's address. Not for TCP, whose segments would be scattered.
    IpId,
}

/// Whether clients' frames reach every member, or one that hands them on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// The VIP has a virtual MAC that no switch learns: every member sees every frame.
    Invisible,
    /// The VIP has the announcer's MAC, who hands frames to their owners (F9).
    Directed,
}

/// What happens to packets to a VIP that no rule covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Uncovered {
    /// They are dropped.
    #[default]
    Deny,
    /// The filter leaves them to the kernel that received them, as long as its lease runs.
    Pass,
}

/// Why rules cannot work. `rule` and its like are places in the list, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RuleError {
    /// There is no rule.
    #[error("no rule: nothing would be served")]
    None,
    /// There are more than [`Rule::MAX`].
    #[error("{0} rules: at most {max} fit the filter", max = Rule::MAX)]
    TooMany(usize),
    /// The VIP is no address of a host: unspecified, multicast, broadcast or an IPv4 address in
    /// the clothes of IPv6.
    #[error("rule {rule}: {vip} is no address that a server can have")]
    Vip {
        /// Which rule.
        rule: usize,
        /// Its VIP.
        vip: IpAddr,
    },
    /// The ports contain 0, or are none.
    #[error("rule {rule}: ports go from 1 to 65535, the first before the last")]
    Ports {
        /// Which rule.
        rule: usize,
    },
    /// A prefix has more bits than the address.
    #[error("rule {rule}: a prefix has at most 32 bits of IPv4 and 128 of IPv6")]
    Prefix {
        /// Which rule.
        rule: usize,
    },
    /// TCP by the identification of packets: no connection would come about.
    #[error("rule {rule}: on_ipid scatters the segments of a TCP connection: it is for UDP")]
    IpIdOfTcp {
        /// Which rule.
        rule: usize,
    },
    /// A packet would be two services'.
    #[error("rules {first} and {second} cover one port of one address")]
    Overlap {
        /// Which rule.
        first: usize,
        /// Which other rule, further down.
        second: usize,
    },
}

impl Rule {
    /// The most rules of a farm: the kernel's filter tries them one after the other, for each
    /// packet.
    pub const MAX: usize = 16;

    /// Whether these rules can work together.
    ///
    /// # Errors
    /// [`RuleError`] names the first rule that cannot.
    pub fn check(rules: &[Self]) -> Result<(), RuleError> {
        match rules.len() {
            0 => return Err(RuleError::None),
            1..=Self::MAX => {}
            many => return Err(RuleError::TooMany(many)),
        }
        for (at, rule) in rules.iter().enumerate() {
            rule.check_alone(at)?;
            if let Some(first) = rules[..at].iter().position(|before| before.overlaps(rule)) {
                return Err(RuleError::Overlap { first, second: at });
            }
        }
        Ok(())
    }

    fn check_alone(&self, rule: usize) -> Result<(), RuleError> {
        if !is_host(self.vip) {
            return Err(RuleError::Vip { rule, vip: self.vip });
        }
        if *self.ports.start() == 0 || self.ports.is_empty() {
            return Err(RuleError::Ports { rule });
        }
        match self.on {
            HashOn::Net { v4, v6 } if v4 > 32 || v6 > 128 => Err(RuleError::Prefix { rule }),
            HashOn::IpId if self.protocol == Protocol::Tcp => Err(RuleError::IpIdOfTcp { rule }),
            HashOn::Addr | HashOn::AddrPort | HashOn::Net { .. } | HashOn::IpId => Ok(()),
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.vip == other.vip
            && self.protocol == other.protocol
            && self.ports.start() <= other.ports.end()
            && other.ports.start() <= self.ports.end()
    }
}

// The kernel's filter has a byte for a rule's number.
const _: () = assert!(Rule::MAX <= u8::MAX as usize);

fn is_host(vip: IpAddr) -> bool {
    match vip {
        IpAddr::V4(vip) => !vip.is_unspecified() && !vip.is_multicast() && !vip.is_broadcast(),
        IpAddr::V6(vip) => {
            !vip.is_unspecified() && !vip.is_multicast() && vip.to_ipv4_mapped().is_none()
        }
    }
}
