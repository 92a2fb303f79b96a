//! The services that a history's members have in force, and the sets of them that their files say
//! one after the other.
//!
//! A service is known by its rule and not by its place: rules that change may move it.

use ha_farm::{Filter, HashOn, Protocol, Rule};
use ha_proto::NodeId;

use super::frame::{TCP_PORT, UDP_PORT, VIP, WEB_PORT};

/// How many services there are in all; no set has each of them.
pub const SERVICES: usize = 4;

/// TCP, and the bucket is chosen by address and port.
pub const BY_PORT: usize = 0;
/// UDP.
pub const UDP: usize = 1;
/// TCP at another port, which only some sets have.
pub const WEB: usize = 2;
/// TCP at the port of the first one, and the bucket is chosen by the address alone: a set has one
/// of the two at most.
pub const BY_ADDRESS: usize = 3;

/// Services in the order of a file.
pub type Set = Vec<usize>;

/// The sets of one history; the first is the one that all begin with.
pub fn sets(on: HashOn) -> Vec<Set> {
    let (tcp, changed) = match on {
        HashOn::Addr => (BY_ADDRESS, BY_PORT),
        HashOn::AddrPort | HashOn::Net { .. } | HashOn::IpId => (BY_PORT, BY_ADDRESS),
    };
    vec![
        vec![tcp, UDP],
        vec![UDP, tcp],
        vec![tcp, UDP, WEB],
        vec![WEB, tcp, UDP],
        vec![WEB, tcp],
        vec![tcp],
        vec![changed, UDP],
    ]
}

/// What a file says of a service.
pub fn rule(service: usize) -> Rule {
    let (port, protocol, on) = match service {
        BY_PORT => (TCP_PORT, Protocol::Tcp, HashOn::AddrPort),
        UDP => (UDP_PORT, Protocol::Udp, HashOn::AddrPort),
        WEB => (WEB_PORT, Protocol::Tcp, HashOn::AddrPort),
        BY_ADDRESS => (TCP_PORT, Protocol::Tcp, HashOn::Addr),
        _ => unreachable!("there is no service {service}"),
    };
    Rule { vip: VIP, ports: port..=port, protocol, on }
}

/// Which service a rule is.
pub fn of(rule: &Rule) -> usize {
    match (rule.protocol, *rule.ports.start(), rule.on) {
        (Protocol::Udp, ..) => UDP,
        (Protocol::Tcp, WEB_PORT, _) => WEB,
        (Protocol::Tcp, _, HashOn::Addr) => BY_ADDRESS,
        (Protocol::Tcp, ..) => BY_PORT,
    }
}

/// The services that a filter is of, in its order.
pub fn set(filter: &Filter) -> impl Iterator<Item = usize> {
    filter.setup().rules.iter().map(of)
}

/// The words of each of a filter's services.
pub fn rows(filter: &Filter) -> impl Iterator<Item = (usize, &[u32])> {
    set(filter).enumerate().map(|(place, service)| (service, filter.words(place)))
}

/// The words of a service, if the filter is of it.
pub fn row(filter: &Filter, service: usize) -> Option<&[u32]> {
    rows(filter).find_map(|(known, words)| (known == service).then_some(words))
}

/// The word of a bucket; one that nobody owns or owned if the filter is not of its service.
pub fn word(filter: &Filter, service: usize, bucket: usize) -> u32 {
    row(filter, service).map_or(NOBODY, |words| words[bucket])
}

/// Whether two filters are of the same services in the same order.
pub fn are_alike(one: &Filter, other: &Filter) -> bool {
    one.setup().rules == other.setup().rules
}

/// A bucket that nobody has yet.
pub const NOBODY: u32 = u32::from_le_bytes([Filter::NONE, Filter::NONE, Filter::NONE, 0]);

const _: () = assert!(Filter::NONE > NodeId::MAX, "nobody would be somebody");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_is_found_by_its_rule_and_no_set_has_one_twice() {
        (0..SERVICES).for_each(|service| assert_eq!(of(&rule(service)), service));
        for set in [HashOn::Addr, HashOn::AddrPort].into_iter().flat_map(sets) {
            let rules: Vec<Rule> = set.iter().copied().map(rule).collect();
            assert_eq!(Rule::check(&rules), Ok(()), "{set:?}");
        }
    }
}
