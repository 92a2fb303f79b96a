//! What the rules of nftables say: [`Filter::decide`](ha_farm::Filter::decide), but that nothing
//! drains.

use core::fmt::Write;
use core::net::IpAddr;
use std::collections::BTreeSet;
use std::format;
use std::prelude::rust_2024::*;
use std::string::String;

use ha_farm::{HashOn, Mac, Mode, Protocol, Reason, Rule, Setup, Uncovered};

/// What the text depends on, and nothing that a view changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) rules: Vec<Rule>,
    /// How many buckets each has.
    pub(super) buckets: Vec<usize>,
    pub(super) mode: Mode,
    pub(super) uncovered: Uncovered,
    pub(super) seed: u32,
    /// This node's.
    pub(super) mac: Option<Mac>,
    pub(super) interfaces: Vec<String>,
}

/// Where a packet's client is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// In its own headers.
    Sender,
    /// In the packet that an ICMP error is about.
    Embedded,
}

/// What chooses a bucket there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Address,
    AddressAndPort,
    Network(u8),
    Identification,
}

/// One text under way.
struct Text<'a> {
    plan: &'a Plan,
    table: &'a str,
    generation: u32,
    /// Chains of services, which others go to.
    chains: BTreeSet<String>,
    out: String,
}

impl Plan {
    pub(super) fn new(setup: &Setup, seed: u32, buckets: Vec<usize>, at: &[String]) -> Self {
        let mac = setup.macs.get(&setup.me).copied();
        Self {
            rules: setup.rules.clone(),
            buckets,
            mode: setup.mode,
            uncovered: setup.uncovered,
            seed,
            mac: mac.filter(|_| setup.mode == Mode::Directed),
            interfaces: at.to_vec(),
        }
    }

    /// All rules of a generation, and what makes them the ones in force, as one transaction.
    pub(super) fn text(&self, table: &str, generation: u32) -> String {
        let mut out = self.rules(table, generation);
        // Leads nowhere, and tells a next process what the rules are.
        line(&mut out, format_args!("add chain netdev {table} {}", self.mark(generation)));
        out
    }

    /// The name of the chain that tells what the rules of a generation are: by all of their text.
    pub(super) fn mark(&self, generation: u32) -> String {
        // FNV-1a: any change gives another number.
        let digest = self.rules("", 0).bytes().fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| {
            (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{MARK}{generation}_{digest:016x}")
    }

    fn rules(&self, table: &str, generation: u32) -> String {
        let chains = BTreeSet::new();
        let mut text = Text { plan: self, table, generation, chains, out: String::new() };
        for family in [4, 6] {
            if self.vips(family).next().is_some() {
                text.family(family);
            }
        }
        text.entry();
        text.out
    }

    /// What takes the chains of a generation away, once none of them is in force.
    pub(super) fn removal(&self, table: &str, generation: u32) -> String {
        let text = self.text(table, generation);
        let chains = lines(&text).filter(|(word, name)| *word == "chain" && *name != ENTRY);
        let names: Vec<&str> = chains.map(|(_, name)| name).collect();
        let mut out = String::new();
        // Chains go to each other: all are empty before the first one goes.
        for word in ["flush", "delete"] {
            for name in &names {
                line(&mut out, format_args!("{word} chain netdev {table} {name}"));
            }
        }
        out
    }

    fn vips(&self, family: u8) -> impl Iterator<Item = IpAddr> {
        let all: BTreeSet<IpAddr> = self.rules.iter().map(|rule| rule.vip).collect();
        all.into_iter().filter(move |vip| vip.is_ipv4() == (family == 4))
    }

    fn of(&self, vip: IpAddr) -> impl Iterator<Item = (usize, &Rule)> {
        self.rules.iter().enumerate().filter(move |(_, rule)| rule.vip == vip)
    }
}

/// The names of a table's counters, of which each counts packets.
pub(super) fn counters() -> impl Iterator<Item = String> {
    let names = [String::from(NEIGHBOUR), String::from(PASSED)].into_iter();
    let names = names.chain(Reason::ALL.map(dropped));
    names.chain((0..Rule::MAX).flat_map(|service| [accepted(service), handed(service)]))
}

/// What each line of a text adds, `chain` or `rule`, and the chain's name.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let mut words = line.strip_prefix("add ")?.split(' ');
        Some((words.next()?, words.nth(2)?))
    })
}

pub(super) const NEIGHBOUR: &str = "neighbour";
pub(super) const PASSED: &str = "passed";

pub(super) fn dropped(reason: Reason) -> String {
    format!("dropped_{}", reason.name())
}

pub(super) fn accepted(service: usize) -> String {
    format!("accepted_{service}")
}

pub(super) fn handed(service: usize) -> String {
    format!("handed_{service}")
}

/// The buckets that this node takes.
pub(super) fn mine(generation: u32, service: usize) -> String {
    format!("mine_{generation}_{service}")
}

/// Whom the others' buckets are handed to.
pub(super) fn owners(generation: u32, service: usize) -> String {
    format!("owners_{generation}_{service}")
}

/// The members' hardware addresses.
pub(super) fn members(generation: u32) -> String {
    format!("members_{generation}")
}

/// When the filter takes.
pub(super) const LEASE: &str = "lease";

impl Text<'_> {
    /// The chain for packets to the VIPs of a family.
    fn family(&mut self, family: u8) {
        let chain = format!("vips_{}_{family}", self.generation);
        let drop = |reason| format!("counter name {} drop", dropped(reason));
        let mut rules = std::vec![format!("meta time != @{LEASE} {}", drop(Reason::Closed))];
        if let Some(mac) = self.plan.mac {
            rules.push(format!("ether daddr != {mac} {}", drop(Reason::Elsewhere)));
        }
        let vips: Vec<IpAddr> = self.plan.vips(family).collect();
        for vip in vips {
            self.vip(vip, &mut rules);
        }
        rules.push(match self.plan.uncovered {
            Uncovered::Deny => drop(Reason::Uncovered),
            Uncovered::Pass => format!("counter name {PASSED} accept"),
        });
        self.chain(&chain, &rules);
    }

    /// The rules for one VIP, in the order in which a packet meets them.
    fn vip(&mut self, vip: IpAddr, rules: &mut Vec<String>) {
        let v4 = vip.is_ipv4();
        let to = if v4 { format!("ip daddr {vip}") } else { format!("ip6 daddr {vip}") };
        let services: Vec<(usize, Rule)> =
            self.plan.of(vip).map(|(at, rule)| (at, rule.clone())).collect();
        let behind = self.whole(&to, v4, &services, rules);
        let (first, _) = services[0];
        let echoes = self.service(first, Side::Sender, Some(Key::Address), v4);
        // A lone fragment of IPv6 is a whole packet (RFC 6946).
        let fragments: &[&str] = if v4 {
            &["ip frag-off & 0x3fff != 0"]
        } else {
            &["frag frag-off != 0", "frag more-fragments 1"]
        };
        let fragments: Vec<String> =
            fragments.iter().map(|fragment| format!("{to} {fragment}")).collect();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let of = services.iter().find(|(_, rule)| rule.protocol == protocol);
            let Some((at, rule)) = of else { continue };
            let key = portless(rule, v4);
            let chain = self.service(*at, Side::Sender, key, v4);
            let number = number(protocol);
            for fragment in &fragments {
                rules.push(format!("{fragment} meta l4proto {number} goto {chain}"));
            }
        }
        let icmp = if v4 { "icmp" } else { "ipv6-icmp" };
        let uncovered = self.uncovered();
        for fragment in &fragments {
            rules.push(format!("{fragment} meta l4proto {icmp} goto {echoes}"));
            rules.push(format!("{fragment} goto {uncovered}"));
        }
        let name = if v4 { "icmp" } else { "icmpv6" };
        rules.push(format!("{to} {name} type echo-request goto {echoes}"));
        self.errors(vip, &to, &services, rules);
        rules.extend(behind);
    }

    /// Whole packets to the services, which most are: first, so that they meet no other rule. What
    /// is given back are those of IPv6 behind other headers, for which the rules about fragments
    /// come first.
    fn whole(
        &mut self,
        to: &str,
        v4: bool,
        services: &[(usize, Rule)],
        rules: &mut Vec<String>,
    ) -> Vec<String> {
        let mut behind = Vec::new();
        for (at, rule) in services {
            let key = key(rule, v4);
            let chain = self.service(*at, Side::Sender, Some(key), v4);
            let name = match rule.protocol {
                Protocol::Tcp => "tcp",
                Protocol::Udp => "udp",
            };
            let (from, to_port) = (rule.ports.start(), rule.ports.end());
            let service = format!("{name} dport {from}-{to_port} goto {chain}");
            if v4 {
                rules.push(format!("{to} ip frag-off & 0x3fff == 0 {service}"));
            } else {
                rules.push(format!("{to} ip6 nexthdr {} {service}", number(rule.protocol)));
                behind.push(format!("{to} {service}"));
            }
        }
        behind
    }

    /// ICMP errors, by the packet of ours that they are about. Its header is one without options:
    /// this machine sends no others.
    fn errors(
        &mut self,
        vip: IpAddr,
        to: &str,
        services: &[(usize, Rule)],
        rules: &mut Vec<String>,
    ) {
        let drop = format!("counter name {} drop", dropped(Reason::Embedded));
        let v4 = vip.is_ipv4();
        let kinds = if v4 { "icmp type { 3, 4, 5, 11, 12 }" } else { "icmpv6 type { 1, 2, 3, 4 }" };
        let ours = match vip {
            IpAddr::V4(vip) => format!("@th,64,8 0x45 @th,160,32 {:#010x}", vip.to_bits()),
            IpAddr::V6(vip) => format!("@th,128,128 {:#034x}", vip.to_bits()),
        };
        let carries = |number: u8| {
            if v4 { format!("@th,136,8 {number}") } else { format!("@th,112,8 {number}") }
        };
        let port = if v4 { 224 } else { 384 };
        let error = format!("{to} {kinds} {ours}");
        // Only the first fragment has ports.
        let whole = if v4 { "@th,112,16 & 0x1fff == 0 " } else { "" };
        // What an echo reply of ours met goes where its request went.
        let (first, _) = services[0];
        let echo = self.service(first, Side::Embedded, Some(Key::Address), v4);
        rules.push(format!("{error} {} goto {echo}", carries(if v4 { 1 } else { 58 })));
        for (at, rule) in services {
            // What identifies a packet is not that of the one that it is about.
            let key = (rule.on != HashOn::IpId || !v4).then(|| key(rule, v4));
            let chain = self.service(*at, Side::Embedded, key, v4);
            let carries = carries(number(rule.protocol));
            let (from, to_port) = (rule.ports.start(), rule.ports.end());
            rules.push(format!(
                "{error} {carries} {whole}@th,{port},16 >= {from} @th,{port},16 <= {to_port} \
                 goto {chain}"
            ));
        }
        rules.push(format!("{error} {whole}goto {}", self.uncovered()));
        rules.push(format!("{to} {kinds} {drop}"));
    }

    /// The chain of a service for packets whose bucket is found so; `None`: it cannot be.
    fn service(&mut self, service: usize, side: Side, key: Option<Key>, v4: bool) -> String {
        let Some(key) = key else {
            let reason = match side {
                Side::Sender => Reason::Fragment,
                Side::Embedded => Reason::Embedded,
            };
            let chain = format!("{}_{}", reason.name(), self.generation);
            if self.chains.insert(chain.clone()) {
                self.chain(&chain, &[format!("counter name {} drop", dropped(reason))]);
            }
            return chain;
        };
        let what = match (key, side) {
            (Key::Address, Side::Sender) => "address",
            (Key::Address, Side::Embedded) => "error_address",
            (Key::AddressAndPort, Side::Sender) => "port",
            (Key::AddressAndPort, Side::Embedded) => "error_port",
            (Key::Network(_), Side::Sender) => "network",
            (Key::Network(_), Side::Embedded) => "error_network",
            (Key::Identification, _) => "id",
        };
        let chain = format!("service_{}_{service}_{what}", self.generation);
        if !self.chains.insert(chain.clone()) {
            return chain;
        }
        let port = match self.plan.rules[service].protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        let bucket = format!(
            "jhash {} mod {} seed {:#x}",
            expression(side, key, v4, port),
            self.plan.buckets[service],
            self.plan.seed
        );
        let rules = self.decide(service, &bucket, if v4 { "ip" } else { "ip6" });
        self.chain(&chain, &rules);
        chain
    }

    /// What becomes of a packet of this bucket.
    fn decide(&self, service: usize, bucket: &str, protocol: &str) -> Vec<String> {
        let generation = self.generation;
        let take = format!(
            "{bucket} @{} counter name {} meta pkttype set host accept",
            mine(generation, service),
            accepted(service)
        );
        let drop = format!("counter name {} drop", dropped(Reason::NotMine));
        let mut rules = std::vec![take];
        if let Some(mac) = self.plan.mac {
            // F9: what a member hands on goes no further.
            rules.push(format!("ether saddr @{} {drop}", members(generation)));
            for interface in &self.plan.interfaces {
                // Without `meta protocol`, `nft` asks for it in the frame, where a tag may be.
                rules.push(format!(
                    "meta protocol {protocol} meta iifname \"{interface}\" ether daddr set \
                     {bucket} map @{} ether saddr set {mac} counter name {} fwd to \"{interface}\"",
                    owners(generation, service),
                    handed(service)
                ));
            }
        }
        rules.push(drop);
        rules
    }

    fn uncovered(&mut self) -> String {
        let chain = format!("uncovered_{}", self.generation);
        if self.chains.insert(chain.clone()) {
            let rule = match self.plan.uncovered {
                Uncovered::Deny => format!("counter name {} drop", dropped(Reason::Uncovered)),
                Uncovered::Pass => format!("counter name {PASSED} accept"),
            };
            self.chain(&chain, &[rule]);
        }
        chain
    }

    fn chain(&mut self, name: &str, rules: &[String]) {
        let table = self.table;
        line(&mut self.out, format_args!("add chain netdev {table} {name}"));
        for rule in rules {
            line(&mut self.out, format_args!("add rule netdev {table} {name} {rule}"));
        }
    }

    /// Where packets come in: made at the first time, filled anew.
    fn entry(&mut self) {
        let table = self.table;
        let devices: Vec<String> =
            self.plan.interfaces.iter().map(|interface| format!("\"{interface}\"")).collect();
        let mut rules = Vec::new();
        let vips = |family| {
            let all: Vec<String> = self.plan.vips(family).map(|vip| format!("{vip}")).collect();
            all.join(", ")
        };
        let neighbour = format!("counter name {NEIGHBOUR} drop");
        if !vips(4).is_empty() {
            let generation = self.generation;
            rules.push(format!(
                "arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp daddr ip {{ {} }} {neighbour}",
                vips(4)
            ));
            rules.push(format!("ip daddr {{ {} }} goto vips_{generation}_4", vips(4)));
        }
        for vip in self.plan.vips(6) {
            let IpAddr::V6(bits) = vip else { unreachable!("it was asked for") };
            rules.push(format!(
                "icmpv6 type {{ 135, 136 }} @th,64,128 {:#034x} {neighbour}",
                bits.to_bits()
            ));
        }
        if !vips(6).is_empty() {
            let generation = self.generation;
            rules.push(format!("ip6 daddr {{ {} }} goto vips_{generation}_6", vips(6)));
        }
        line(
            &mut self.out,
            format_args!(
                "add chain netdev {table} {ENTRY} {{ type filter hook ingress devices = {{ {} }} \
                 priority -500; policy accept; }}",
                devices.join(", ")
            ),
        );
        line(&mut self.out, format_args!("flush chain netdev {table} {ENTRY}"));
        for rule in rules {
            line(&mut self.out, format_args!("add rule netdev {table} {ENTRY} {rule}"));
        }
    }
}

/// The chain that the kernel begins with.
pub(super) const ENTRY: &str = "entry";
const MARK: &str = "plan_";

/// The mark of the latest generation in a table, as `nft` lists chains, and its number.
pub(super) fn marked(listed: &str, table: &str) -> Option<(u32, String)> {
    let head = format!("table netdev {table} {{");
    let its = listed.lines().skip_while(|line| *line != head).skip(1);
    let its = its.take_while(|line| !line.starts_with("table "));
    let names = its.filter_map(|line| line.trim().strip_prefix("chain ")?.split(' ').next());
    let marks = names.filter_map(|name| {
        let (generation, _) = name.strip_prefix(MARK)?.split_once('_')?;
        Some((generation.parse().ok()?, name.into()))
    });
    marks.max()
}

fn line(out: &mut String, text: core::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a text takes all that is written");
    out.push('\n');
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    }
}

/// What chooses the bucket of a whole packet.
fn key(rule: &Rule, v4: bool) -> Key {
    match rule.on {
        HashOn::AddrPort => Key::AddressAndPort,
        HashOn::Net { v4: bits, v6 } => Key::Network(if v4 { bits } else { v6 }),
        HashOn::IpId if v4 => Key::Identification,
        HashOn::Addr | HashOn::IpId => Key::Address,
    }
}

/// What chooses the bucket of a fragment (F10).
fn portless(rule: &Rule, v4: bool) -> Option<Key> {
    if rule.on != HashOn::AddrPort {
        return Some(key(rule, v4));
    }
    (rule.protocol == Protocol::Udp).then_some(Key::Address)
}

fn expression(side: Side, key: Key, v4: bool, port: &str) -> String {
    let address = match (side, v4) {
        (Side::Sender, true) => "ip saddr",
        (Side::Sender, false) => "ip6 saddr",
        (Side::Embedded, true) => "@th,192,32",
        (Side::Embedded, false) => "@th,256,128",
    };
    match key {
        Key::Address => address.into(),
        Key::AddressAndPort => match (side, v4) {
            (Side::Sender, _) => format!("{address} . {port} sport"),
            (Side::Embedded, true) => format!("{address} . @th,240,16"),
            (Side::Embedded, false) => format!("{address} . @th,400,16"),
        },
        Key::Network(bits) if v4 => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            match side {
                Side::Sender => format!("{address} & {}", core::net::Ipv4Addr::from(mask)),
                Side::Embedded => format!("{address} & {mask:#x}"),
            }
        }
        Key::Network(bits) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            match side {
                Side::Sender => format!("{address} & {}", core::net::Ipv6Addr::from(mask)),
                Side::Embedded => format!("{address} & {mask:#x}"),
            }
        }
        Key::Identification => "ip id".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_tells_its_chains_and_rules() {
        let text = "add chain netdev t entry { type filter hook ingress; }\n\
                    flush chain netdev t entry\nadd rule netdev t entry ip daddr 192.0.2.1 drop\n";
        assert_eq!(lines(text).collect::<Vec<_>>(), [("chain", "entry"), ("rule", "entry")]);
    }

    #[test]
    fn a_mark_is_found_in_its_own_table_and_tells_each_plan() {
        let listed = "table netdev ha-m.1 {\n\tchain entry {\n\t}\n\tchain plan_2_ab {\n\t}\n\
                      \tchain plan_10_cd {\n\t}\n}\ntable netdev ha-m.2 {\n\
                      \tchain plan_11_ef {\n\t}\n}\n";
        assert_eq!(marked(listed, "ha-m.1"), Some((10, "plan_10_cd".into())));
        assert_eq!(marked(listed, "ha-m.2"), Some((11, "plan_11_ef".into())));
        assert_eq!(marked(listed, "ha-m"), None, "another table is not this one");
        let rule = Rule {
            vip: [192, 0, 2, 1].into(),
            ports: 80..=80,
            protocol: Protocol::Tcp,
            on: HashOn::Addr,
        };
        let plan = Plan {
            rules: std::vec![rule],
            buckets: std::vec![256],
            mode: Mode::Directed,
            uncovered: Uncovered::Deny,
            seed: 7,
            mac: Some(Mac([2; 6])),
            interfaces: std::vec!["eth0".into()],
        };
        let others = [
            Plan { buckets: std::vec![4_096], ..plan.clone() },
            Plan { mode: Mode::Invisible, mac: None, ..plan.clone() },
            Plan { uncovered: Uncovered::Pass, ..plan.clone() },
            Plan { seed: 8, ..plan.clone() },
            Plan { mac: Some(Mac([4; 6])), ..plan.clone() },
            Plan { interfaces: std::vec!["eth1".into()], ..plan.clone() },
        ];
        for other in others {
            assert_ne!(other.mark(0), plan.mark(0), "old rules would be gone on with: {other:?}");
        }
        assert!(plan.removal("t", 3).contains(&plan.mark(3)), "marks would pile up");
    }
}
