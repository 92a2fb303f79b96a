//! What cannot work cannot be made, and the error says what is wrong.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;

use ha_farm::{
    Buckets, Filter, FilterError, Hash, HashOn, Mac, Mode, Plan, Protocol, Rule, RuleError, Setup,
    Table, Uncovered,
};
use ha_proto::NodeId;

fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

fn rule() -> Rule {
    let vip = "192.0.2.1".parse().unwrap();
    Rule { vip, ports: 80..=443, protocol: Protocol::Tcp, on: HashOn::Addr }
}

/// What is wrong with these, and how that is said.
#[track_caller]
fn refused(rules: &[Rule], error: RuleError, message: &str) {
    assert_eq!(Rule::check(rules), Err(error));
    assert_eq!(error.to_string(), message);
}

#[test]
fn there_are_one_to_sixteen_rules() {
    let rules: Vec<Rule> = (1..=17).map(|port| Rule { ports: port..=port, ..rule() }).collect();
    assert_eq!(Rule::check(&rules[..16]), Ok(()));
    refused(&[], RuleError::None, "no rule: nothing would be served");
    refused(&rules, RuleError::TooMany(17), "17 rules: at most 16 fit the filter");
}

#[test]
fn a_vip_is_the_address_of_a_host() {
    for vip in ["0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1", "::ffff:192.0.2.1"] {
        let vip = vip.parse().unwrap();
        let message = format!("rule 1: {vip} is no address that a server can have");
        refused(&[rule(), Rule { vip, ..rule() }], RuleError::Vip { rule: 1, vip }, &message);
    }
    let vip = "2001:db8::1".parse().unwrap();
    assert_eq!(Rule::check(&[Rule { vip, ..rule() }]), Ok(()));
}

#[test]
fn ports_are_some_and_not_0() {
    let message = "rule 0: ports go from 1 to 65535, the first before the last";
    #[expect(clippy::reversed_empty_ranges, reason = "this is what is refused")]
    for ports in [0..=80, 0..=0, 81..=80] {
        refused(&[Rule { ports, ..rule() }], RuleError::Ports { rule: 0 }, message);
    }
    assert_eq!(Rule::check(&[Rule { ports: 1..=u16::MAX, ..rule() }]), Ok(()));
}

#[test]
fn a_prefix_is_of_the_address() {
    let message = "rule 0: a prefix has at most 32 bits of IPv4 and 128 of IPv6";
    for (v4, v6) in [(33, 128), (32, 129)] {
        let on = HashOn::Net { v4, v6 };
        refused(&[Rule { on, ..rule() }], RuleError::Prefix { rule: 0 }, message);
    }
    assert_eq!(Rule::check(&[Rule { on: HashOn::Net { v4: 32, v6: 128 }, ..rule() }]), Ok(()));
}

#[test]
fn on_ipid_is_for_udp() {
    let message = "rule 0: on_ipid scatters the segments of a TCP connection: it is for UDP";
    let by_id = Rule { on: HashOn::IpId, ..rule() };
    refused(std::slice::from_ref(&by_id), RuleError::IpIdOfTcp { rule: 0 }, message);
    assert_eq!(Rule::check(&[Rule { protocol: Protocol::Udp, ..by_id }]), Ok(()));
}

#[test]
fn a_packet_is_one_services() {
    let overlap = RuleError::Overlap { first: 0, second: 2 };
    let message = "rules 0 and 2 cover one port of one address";
    let udp = Rule { protocol: Protocol::Udp, ..rule() };
    for ports in [443..=443, 1..=80, 100..=200] {
        refused(&[rule(), udp.clone(), Rule { ports, ..rule() }], overlap, message);
    }
    let elsewhere = Rule { vip: "192.0.2.2".parse().unwrap(), ..rule() };
    let others = [rule(), udp, elsewhere, Rule { ports: 444..=500, ..rule() }];
    assert_eq!(Rule::check(&others), Ok(()));
}

/// A filter of node 0 in mode directed, of members 0 to 2, with these MACs.
fn directed(macs: &[(u8, u8)], tables: &[Table]) -> Result<Filter, FilterError> {
    let macs = macs.iter().map(|&(id, last)| (node(id), Mac([2, 0, 0, 0, 0, last]))).collect();
    let (mode, uncovered, hash) = (Mode::Directed, Uncovered::Deny, Hash::Jhash { seed: 0 });
    let setup = Setup { me: node(0), mode, uncovered, hash, rules: vec![rule()], macs };
    Filter::new(setup, tables, |_, _| true)
}

fn table(counter: u64, ids: &[u8], before: &Table) -> Table {
    let weights: BTreeMap<_, _> = ids.iter().map(|&id| (node(id), 1)).collect();
    before.next(&Plan { counter, weights, settled: 0, taken: None })
}

#[test]
fn each_rule_has_a_table() {
    let table = table(1, &[0], &Table::new(Buckets::Few));
    let error = directed(&[(0, 0)], &[table.clone(), table]).unwrap_err();
    assert_eq!(error, FilterError::Tables { rules: 1, tables: 2 });
    assert_eq!(error.to_string(), "1 rules and 2 tables: each rule has one");
}

#[test]
fn who_is_handed_frames_has_a_hardware_address_of_its_own() {
    let old = table(1, &[0, 1], &Table::new(Buckets::Few));
    let drains = [table(2, &[0, 1, 2], &old)];
    assert!(directed(&[(0, 10), (1, 11), (2, 12)], &drains).is_ok());
    for missing in 0..3 {
        let others: Vec<_> =
            [(0, 10), (1, 11), (2, 12)].into_iter().filter(|(id, _)| *id != missing).collect();
        let error = directed(&others, &drains).unwrap_err();
        assert_eq!(error, FilterError::NoMac(node(missing)));
        let message =
            format!("node {missing} has no hardware address: nothing could be handed to it");
        assert_eq!(error.to_string(), message);
    }
    let error = directed(&[(0, 10), (1, 11), (2, 11)], &drains).unwrap_err();
    assert_eq!(error, FilterError::MacTwice(Mac([2, 0, 0, 0, 0, 11])));
    assert_eq!(error.to_string(), "02:00:00:00:00:0b is the hardware address of two members");
}

#[test]
fn an_error_of_a_rule_is_the_filters() {
    let hash = Hash::Sip { key: [0; 16] };
    let (mode, uncovered) = (Mode::Invisible, Uncovered::Pass);
    let setup = Setup { me: node(0), mode, uncovered, hash, rules: vec![], macs: [].into() };
    let error = Filter::new(setup, &[], |_, _| true).unwrap_err();
    assert_eq!(error, FilterError::Rule(RuleError::None));
    assert_eq!(error.to_string(), RuleError::None.to_string());
}
