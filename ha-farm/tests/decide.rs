//! The decision on single frames, written by hand.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ha_farm::{
    Buckets, Filter, Flow, Hash, HashOn, Mac, Mode, Plan, Protocol, Reason, Rule, Setup, Sockets,
    Table, Uncovered, Verdict,
};
use ha_proto::NodeId;

#[derive(Default)]
struct Live(BTreeSet<Flow>);

impl Sockets for Live {
    fn live(&self, flow: &Flow) -> bool {
        self.0.contains(flow)
    }

    fn release(&mut self, flow: &Flow) {
        self.0.remove(flow);
    }
}

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const VIP: [u8; 4] = [192, 0, 2, 1];
const CLIENT: [u8; 4] = [198, 51, 100, 7];

fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

fn mac(id: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, id])
}

fn rules() -> Vec<Rule> {
    let rule =
        |vip: &str, protocol, on| Rule { vip: vip.parse().unwrap(), ports: 80..=81, protocol, on };
    vec![
        rule("192.0.2.1", Protocol::Tcp, HashOn::AddrPort),
        rule("192.0.2.1", Protocol::Udp, HashOn::AddrPort),
        rule("2001:db8::1", Protocol::Tcp, HashOn::Addr),
    ]
}

fn plan(counter: u64, nodes: &[u8]) -> Plan<'static> {
    let weights = nodes.iter().map(|&id| (node(id), 1)).collect();
    Plan { counter, weights, settled: 0, taken: None }
}

fn filter(me: u8, mode: Mode, tables: &[Table]) -> Filter {
    let macs: BTreeMap<_, _> = (0..4).map(|id| (node(id), mac(id))).collect();
    let hash = Hash::Sip { key: [7; 16] };
    let rules = rules();
    let setup = Setup { me: node(me), mode, uncovered: Uncovered::Deny, hash, rules, macs };
    Filter::new(setup, tables, |_, _| true).unwrap()
}

fn ethernet(kind: u16, body: &[u8]) -> Vec<u8> {
    [&mac(0).0[..], &mac(99).0, &kind.to_be_bytes(), body].concat()
}

fn v4(protocol: u8, fragment: u16, body: &[u8]) -> Vec<u8> {
    v4_between(CLIENT, VIP, protocol, fragment, body)
}

fn v4_between(from: [u8; 4], to: [u8; 4], protocol: u8, fragment: u16, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + body.len() as u16).to_be_bytes());
    packet.extend([0, 1]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(from);
    packet.extend(to);
    packet.extend(body);
    packet
}

fn tcp(from: u16, to: u16, flags: u8) -> Vec<u8> {
    let mut header = [from.to_be_bytes(), to.to_be_bytes()].concat();
    header.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
    header
}

fn syn(from: u16) -> Vec<u8> {
    ethernet(0x0800, &v4(6, 0, &tcp(from, 80, SYN)))
}

fn segment(from: u16) -> Vec<u8> {
    ethernet(0x0800, &v4(6, 0, &tcp(from, 80, ACK)))
}

fn flow(client_port: u16) -> Flow {
    let (client, vip) = (IpAddr::from(CLIENT), IpAddr::from(VIP));
    Flow { protocol: Protocol::Tcp, client, client_port, vip, port: 80 }
}

fn fresh() -> Vec<Table> {
    vec![Table::new(Buckets::Many).next(&plan(1, &[0, 1, 2])); 3]
}

fn told(filters: &[Filter], frame: &[u8]) -> Vec<Verdict> {
    filters.iter().map(|filter| filter.decide(frame, true, &mut Live::default())).collect()
}

fn accepted(verdicts: &[Verdict]) -> Vec<usize> {
    (0..verdicts.len()).filter(|&at| verdicts[at] == Verdict::Accept).collect()
}

fn all(mode: Mode, tables: &[Table]) -> Vec<Filter> {
    (0..3).map(|me| filter(me, mode, tables)).collect()
}

#[test]
fn one_takes_what_the_others_drop() {
    let filters = all(Mode::Invisible, &fresh());
    let mut times = [0; 3];
    for port in 1..=3_000 {
        let verdicts = told(&filters, &syn(port));
        let takers = accepted(&verdicts);
        assert_eq!(takers.len(), 1, "{verdicts:?}");
        times[takers[0]] += 1;
        assert_eq!(accepted(&told(&filters, &segment(port))), takers);
        let lone = ethernet(0x8100, &[&[0, 5, 8, 0][..], &syn(port)[14..]].concat());
        assert_eq!(accepted(&told(&filters, &lone)), takers, "a tag changes nothing");
    }
    assert!(times.iter().all(|times| (900..1_100).contains(times)), "{times:?}");
    let shut = filters[0].decide(&syn(1), false, &mut Live::default());
    assert_eq!(shut, Verdict::Drop(Reason::Closed));
}

#[test]
fn an_error_goes_where_its_flow_goes() {
    let filters = all(Mode::Invisible, &fresh());
    for port in 1..=500_u16 {
        let ours = v4_between(VIP, CLIENT, 6, 0, &tcp(80, port, ACK)[..8]);
        let router = [203, 0, 113, 1];
        let error = v4_between(router, VIP, 1, 0, &[&[3, 4, 0, 0, 0, 0, 5, 0][..], &ours].concat());
        let takers = accepted(&told(&filters, &ethernet(0x0800, &error)));
        assert_eq!(takers, accepted(&told(&filters, &syn(port))));
        let short =
            v4_between(router, VIP, 1, 0, &[&[3, 4, 0, 0, 0, 0, 5, 0][..], &ours[..22]].concat());
        let verdicts = told(&filters, &ethernet(0x0800, &short));
        assert_eq!(verdicts, [Verdict::Drop(Reason::Embedded); 3]);
    }
}

#[test]
fn fragments_of_udp_go_together_and_those_of_tcp_nowhere() {
    let filters = all(Mode::Invisible, &fresh());
    let first = told(&filters, &ethernet(0x0800, &v4(17, 0x2000, &[0; 16])));
    let later = told(&filters, &ethernet(0x0800, &v4(17, 0x0002, &[9; 3])));
    assert_eq!(accepted(&first).len(), 1);
    assert_eq!(first, later);
    let tcp = told(&filters, &ethernet(0x0800, &v4(6, 0x2000, &tcp(1, 80, SYN))));
    assert_eq!(tcp, [Verdict::Drop(Reason::Fragment); 3]);
}

#[test]
fn while_a_bucket_drains_the_owner_gets_what_is_new_and_the_previous_what_is_live() {
    let old = fresh();
    let mut new = plan(2, &[0, 1, 2]);
    new.weights.insert(node(0), 0);
    let tables: Vec<Table> = old.iter().map(|table| table.next(&new)).collect();
    let before = all(Mode::Invisible, &old);
    let after = all(Mode::Invisible, &tables);
    let port = (1..1_000).find(|&port| accepted(&told(&before, &syn(port))) == [0]).unwrap();
    let owner = accepted(&told(&after, &syn(port)));
    assert_ne!(owner, [0]);
    let owner = &after[owner[0]];
    let mut live = Live(BTreeSet::from([flow(port)]));
    assert_eq!(after[0].decide(&segment(port), true, &mut live), Verdict::Accept);
    let none = &mut Live::default();
    assert_eq!(owner.decide(&segment(port), true, none), Verdict::Drop(Reason::NoSocket));
    assert_eq!(after[0].decide(&segment(port), true, none), Verdict::Drop(Reason::NotMine));
    // The client begins anew: the claim ends.
    assert_eq!(after[0].decide(&syn(port), true, &mut live), Verdict::Drop(Reason::Released));
    assert_eq!(after[0].decide(&segment(port), true, &mut live), Verdict::Drop(Reason::NotMine));
    // Once it has drained, the owner takes all.
    let settled = Plan { counter: 3, settled: 2, ..new };
    let tables: Vec<Table> = tables.iter().map(|table| table.next(&settled)).collect();
    assert_eq!(accepted(&told(&all(Mode::Invisible, &tables), &segment(port))).len(), 1);
}

#[test]
fn directed_hands_a_clients_frame_on_once() {
    let filters = all(Mode::Directed, &fresh());
    for port in 1..=200 {
        let frame = syn(port);
        let owner = accepted(&told(&all(Mode::Invisible, &fresh()), &frame))[0];
        let verdict = filters[0].decide(&frame, true, &mut Live::default());
        if owner == 0 {
            assert_eq!(verdict, Verdict::Accept);
            continue;
        }
        let Verdict::Forward { to, accept: false } = verdict else { panic!("{verdict:?}") };
        assert_eq!(to.iter().collect::<Vec<_>>(), [node(owner as u8)]);
        let mut handed = frame.clone();
        handed[..6].copy_from_slice(&mac(owner as u8).0);
        handed[6..12].copy_from_slice(&mac(0).0);
        let verdicts = told(&filters, &handed);
        assert_eq!(accepted(&verdicts), [owner]);
        assert!(verdicts.iter().all(|verdict| !matches!(verdict, Verdict::Forward { .. })));
    }
}

#[test]
fn arp_and_neighbor_discovery_of_a_vip_are_kept_from_the_kernel() {
    let filters = all(Mode::Invisible, &fresh());
    let arp = |target: [u8; 4]| {
        let head = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9];
        ethernet(0x0806, &[&head[..], &CLIENT, &[0; 6], &target].concat())
    };
    assert_eq!(told(&filters, &arp(VIP)), [Verdict::Neighbour; 3]);
    assert_eq!(told(&filters, &arp([192, 0, 2, 2])), [Verdict::Pass; 3]);
    let vip: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
    let mut asks = vec![0x60, 0, 0, 0, 0, 24, 58, 255];
    asks.extend([0xfe; 16]);
    asks.extend("ff02::1:ff00:1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    asks.extend([135, 0, 0, 0, 0, 0, 0, 0]);
    asks.extend(vip.octets());
    assert_eq!(told(&filters, &ethernet(0x86dd, &asks)), [Verdict::Neighbour; 3]);
}

#[test]
fn any_bytes_get_a_verdict() {
    let mut prng = ha_proto::Prng::new(3);
    let filters = [filter(0, Mode::Invisible, &fresh()), filter(0, Mode::Directed, &fresh())];
    let mut drops = BTreeSet::new();
    for round in 0..300_000_u32 {
        let mut frame = match round % 4 {
            0 => syn(round as u16),
            1 => ethernet(
                0x0800,
                &v4(
                    1,
                    0,
                    &[&[3, 4, 0, 0, 0, 0, 0, 0][..], &v4_between(VIP, CLIENT, 6, 0, &[0; 20])]
                        .concat(),
                ),
            ),
            2 => ethernet(0x86dd, &{
                let mut packet =
                    vec![0x60, 0, 0, 0, 0, 80, [0, 43, 44, 51, 60, 6][prng.below(6) as usize], 9];
                packet.extend([9; 16]);
                packet.extend("2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
                packet.extend((0..80).map(|_| [0, 44, 60, 6, 1, 58][prng.below(6) as usize]));
                packet
            }),
            _ => (0..prng.below(100)).map(|_| prng.next_u64() as u8).collect(),
        };
        for _ in 0..prng.below(3) {
            if !frame.is_empty() {
                let at = prng.below(frame.len() as u64) as usize;
                frame[at] = prng.next_u64() as u8;
            }
        }
        frame.truncate(prng.below(160) as usize);
        for filter in &filters {
            if let Verdict::Drop(reason) = filter.decide(&frame, true, &mut Live::default()) {
                drops.insert(reason);
            }
        }
    }
    let seen: Vec<_> = drops.iter().map(|reason| reason.name()).collect();
    assert!(drops.len() >= 7, "{seen:?}");
}

#[test]
fn eight_extension_headers_are_followed_and_not_a_ninth() {
    let filters = all(Mode::Invisible, &fresh());
    let behind = |headers: u8| {
        let body = [
            [60, 0, 1, 4, 0, 0, 0, 0].repeat(usize::from(headers) - 1),
            vec![6, 0, 1, 4, 0, 0, 0, 0],
        ];
        let body = [body.concat(), tcp(1, 80, SYN)].concat();
        let mut packet = vec![0x60, 0, 0, 0, 0, body.len() as u8, 60, 9];
        packet.extend([9; 16]);
        packet.extend("2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
        packet.extend(body);
        told(&filters, &ethernet(0x86dd, &packet))
    };
    assert_eq!(accepted(&behind(8)).len(), 1);
    assert_eq!(behind(9), [Verdict::Drop(Reason::Headers); 3]);
}

#[test]
fn what_is_set_still_and_no_rule_names_takes_no_new_connection() {
    let gone = [192, 0, 2, 9];
    let frame = |to, port| ethernet(0x0800, &v4_between(CLIENT, to, 6, 0, &tcp(5000, port, SYN)));
    let closed = BTreeSet::from([IpAddr::from(gone), IpAddr::from(VIP)]);
    for mode in [Mode::Invisible, Mode::Directed] {
        let before = filter(0, mode, &fresh());
        let filter = before.closed_to(&closed);
        for port in [1, 80, 443, u16::MAX] {
            let to = frame(gone, port);
            assert_eq!(before.decide(&to, true, &mut Live::default()), Verdict::Pass);
            let verdict = filter.decide(&to, true, &mut Live::default());
            assert_eq!(verdict, Verdict::Drop(Reason::Nobody), "{mode:?} {port}");
        }
        for from in 1000..1100 {
            let to_service = told(&[before.clone(), filter.clone()], &syn(from));
            assert_eq!(to_service[0], to_service[1], "the services are as they were");
        }
    }
    let many: BTreeSet<_> = (1..=40).map(|host| IpAddr::from([192, 0, 2, host])).collect();
    let filter = filter(0, Mode::Directed, &fresh()).closed_to(&many);
    assert_eq!(filter.setup().rules.len(), Rule::MAX);
}
