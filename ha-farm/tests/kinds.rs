//! The decision on what comes less often: members that may not take yet, other hashes, tags,
//! errors about IPv6.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use ha_farm::{
    Buckets, Filter, Flow, Hash, HashOn, Mac, Mode, Plan, Protocol, Reason, Rule, Setup, Sockets,
    Table, Uncovered, Verdict,
};
use ha_proto::NodeId;

/// All connections are live, or none.
struct Live(bool);

impl Sockets for Live {
    fn live(&self, _: &Flow) -> bool {
        self.0
    }

    fn release(&mut self, _: &Flow) {}
}

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const V4: [u8; 4] = [192, 0, 2, 1];
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

fn mac(id: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, id]
}

/// The table of members 0 to 2, and that in which node 0 drains.
fn tables() -> [Table; 2] {
    let mut plan = Plan {
        counter: 1,
        weights: (0..3).map(|id| (node(id), 1)).collect(),
        settled: 0,
        taken: None,
    };
    let before = Table::new(Buckets::Many).next(&plan);
    plan.counter = 2;
    plan.weights.insert(node(0), 0);
    let after = before.next(&plan);
    [before, after]
}

/// The filters of members 0 to 2 for one service of each family.
fn filters(
    mode: Mode,
    (protocol, on): (Protocol, HashOn),
    table: &Table,
    take: bool,
) -> Vec<Filter> {
    let rules = [V4.into(), V6.into()].map(|vip| Rule { vip, ports: 80..=80, protocol, on });
    let filter = |me| {
        let (me, hash) = (node(me), Hash::Sip { key: [3; 16] });
        let macs = (0..3).map(|id| (node(id), Mac(mac(id)))).collect();
        let (uncovered, rules) = (Uncovered::Deny, rules.to_vec());
        let setup = Setup { me, mode, uncovered, hash, rules, macs };
        Filter::new(setup, &[table.clone(), table.clone()], |_, _| take).unwrap()
    };
    (0..3).map(filter).collect()
}

const TCP: (Protocol, HashOn) = (Protocol::Tcp, HashOn::AddrPort);

/// A frame to node `to`, from a client or a member.
fn frame(to: u8, from: u8, kind: &[u8], packet: &[u8]) -> Vec<u8> {
    [&mac(to)[..], &mac(from), kind, packet].concat()
}

fn v4(client: [u8; 4], id: u16, protocol: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 20 + body.len() as u8];
    packet.extend(id.to_be_bytes());
    packet.extend([0, 0, 64, protocol, 0, 0]);
    packet.extend([&client[..], &V4, body].concat());
    packet
}

fn v6(from: Ipv6Addr, to: Ipv6Addr, next: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, body.len() as u8, next, 64];
    packet.extend([&from.octets()[..], &to.octets(), body].concat());
    packet
}

fn tcp(from: u16, to: u16, flags: u8) -> Vec<u8> {
    let mut header = [from.to_be_bytes(), to.to_be_bytes()].concat();
    header.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
    header
}

fn segment(to: u8, from: u8, port: u16, flags: u8) -> Vec<u8> {
    frame(to, from, &[8, 0], &v4([198, 51, 100, 7], 1, 6, &tcp(port, 80, flags)))
}

fn told(filters: &[Filter], frame: &[u8]) -> Vec<Verdict> {
    filters.iter().map(|filter| filter.decide(frame, true, &mut Live(false))).collect()
}

/// Who takes it; there must be one.
#[track_caller]
fn taker(filters: &[Filter], frame: &[u8]) -> usize {
    let verdicts = told(filters, frame);
    let mut takers = (0..verdicts.len()).filter(|&at| verdicts[at] == Verdict::Accept);
    let first = takers.next();
    assert_eq!(takers.next(), None, "{verdicts:?}");
    first.unwrap_or_else(|| panic!("nobody takes it: {verdicts:?}"))
}

#[test]
fn an_owner_that_may_not_take_yet_drops_all_but_its_connections() {
    let [before, after] = tables();
    for (table, kept) in [(&before, Verdict::Drop(Reason::NotYet)), (&after, Verdict::Accept)] {
        // A bucket that 0 had, and 1 or 2 has in the later table.
        let whole = filters(Mode::Invisible, TCP, &before, true);
        let port = (1..99).find(|&port| taker(&whole, &segment(0, 9, port, ACK)) == 0).unwrap();
        let whole = filters(Mode::Invisible, TCP, table, true);
        let owner = taker(&whole, &segment(0, 9, port, SYN));
        let owner = &filters(Mode::Invisible, TCP, table, false)[owner];
        for live in [false, true] {
            let syn = owner.decide(&segment(0, 9, port, SYN), true, &mut Live(live));
            assert_eq!(syn, Verdict::Drop(Reason::NotYet));
        }
        let segment = segment(0, 9, port, ACK);
        let not_yet = owner.decide(&segment, true, &mut Live(false));
        assert_eq!(not_yet, Verdict::Drop(Reason::NotYet));
        assert_eq!(owner.decide(&segment, true, &mut Live(true)), kept);
    }
}

#[test]
fn directed_hands_on_to_owner_and_previous_owner_while_a_bucket_drains() {
    let [before, after] = tables();
    let whole = filters(Mode::Invisible, TCP, &before, true);
    let port = (1..99).find(|&port| taker(&whole, &segment(0, 9, port, ACK)) == 0).unwrap();
    let owner = taker(&filters(Mode::Invisible, TCP, &after, true), &segment(0, 9, port, SYN));
    let other = 3 - owner;
    let members = filters(Mode::Directed, TCP, &after, true);
    let ask = |to: usize, from: u8, flags, live| {
        let frame = segment(to as u8, from, port, flags);
        match members[to].decide(&frame, true, &mut Live(live)) {
            Verdict::Forward { to, accept } => {
                (to.iter().map(NodeId::as_u8).map(usize::from).collect(), Ok(accept))
            }
            verdict => (vec![], Err(verdict)),
        }
    };
    // A client's, at each of the three.
    assert_eq!(ask(other, 9, SYN, false), (vec![owner, 0], Ok(false)));
    assert_eq!(ask(other, 9, ACK, false), (vec![owner, 0], Ok(false)));
    assert_eq!(ask(owner, 9, SYN, false), (vec![0], Ok(true)));
    assert_eq!(ask(owner, 9, ACK, false), (vec![0], Ok(false)));
    assert_eq!(ask(owner, 9, ACK, true), (vec![0], Ok(true)));
    assert_eq!(ask(0, 9, ACK, true), (vec![owner], Ok(true)));
    assert_eq!(ask(0, 9, SYN, true), (vec![owner], Ok(false)));
    // What a member handed on stays.
    assert_eq!(ask(owner, other as u8, SYN, false), (vec![], Err(Verdict::Accept)));
    assert_eq!(ask(0, other as u8, ACK, true), (vec![], Err(Verdict::Accept)));
    let released = Verdict::Drop(Reason::Released);
    assert_eq!(ask(0, other as u8, SYN, true), (vec![], Err(released)));
    // A frame to another's MAC is nobody's here.
    let elsewhere = members[0].decide(&segment(1, 9, port, SYN), true, &mut Live(true));
    assert_eq!(elsewhere, Verdict::Drop(Reason::Elsewhere));
}

#[test]
fn a_network_has_one_server() {
    let [table, _] = tables();
    let on = HashOn::Net { v4: 20, v6: 48 };
    let members = filters(Mode::Invisible, (Protocol::Tcp, on), &table, true);
    let (mut of_v4, mut of_v6) = (BTreeSet::new(), BTreeSet::new());
    for net in 0..50 {
        let v4 = |third, port| {
            let packet = v4([10, net, third, 9], 1, 6, &tcp(port, 80, SYN));
            taker(&members, &frame(0, 9, &[8, 0], &packet))
        };
        assert_eq!(v4(0, 1), v4(15, 2), "within a /20");
        let v6 = |fourth, port| {
            let from = Ipv6Addr::new(0x2001, 0xdb8, net.into(), fourth, 0, 0, 0, port);
            let packet = v6(from, V6, 6, &tcp(port, 80, SYN));
            taker(&members, &frame(0, 9, &[0x86, 0xdd], &packet))
        };
        assert_eq!(v6(0, 1), v6(0xffff, 2), "within a /48");
        of_v4.extend([(v4(0, 1), v4(16, 1))]);
        of_v6.insert(v6(0, 1));
    }
    assert!(of_v4.iter().any(|(one, next)| one != next), "the next /20 may be another's");
    assert_eq!(of_v6.len(), 3);
}

#[test]
fn the_identification_spreads_one_client_and_of_ipv6_the_address() {
    let [table, _] = tables();
    let members = filters(Mode::Invisible, (Protocol::Udp, HashOn::IpId), &table, true);
    let udp = [0, 9, 0, 80, 0, 8, 0, 0];
    let by_id = |id, body: &[u8]| {
        let packet = v4([198, 51, 100, 7], id, 17, body);
        taker(&members, &frame(0, 9, &[8, 0], &packet))
    };
    assert_eq!((0..50).map(|id| by_id(id, &udp)).collect::<BTreeSet<_>>().len(), 3);
    // A fragment has the identification of the whole.
    let mut fragment = v4([198, 51, 100, 7], 7, 17, &[1; 3]);
    fragment[6..8].copy_from_slice(&[0, 9]);
    assert_eq!(taker(&members, &frame(0, 9, &[8, 0], &fragment)), by_id(7, &udp));
    let by_port = |port: u8| {
        let packet = v6("2001:db8::9".parse().unwrap(), V6, 17, &[1, port, 0, 80, 0, 8, 0, 0]);
        taker(&members, &frame(0, 9, &[0x86, 0xdd], &packet))
    };
    assert_eq!((0..50).map(by_port).collect::<BTreeSet<_>>().len(), 1);
}

#[test]
fn two_tags_are_skipped_and_not_a_third() {
    let [table, _] = tables();
    let members = filters(Mode::Invisible, TCP, &table, true);
    let packet = v6("2001:db8::9".parse().unwrap(), V6, 6, &tcp(5, 80, SYN));
    let bare = taker(&members, &frame(0, 9, &[0x86, 0xdd], &packet));
    for tags in [&[0x81, 0, 0, 5][..], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6]] {
        let kind = [tags, &[0x86, 0xdd]].concat();
        assert_eq!(taker(&members, &frame(0, 9, &kind, &packet)), bare);
    }
    let three = [&[0x81, 0, 0, 5].repeat(3)[..], &[0x86, 0xdd]].concat();
    assert_eq!(told(&members, &frame(0, 9, &three, &packet)), [Verdict::Pass; 3]);
}

#[test]
fn an_error_about_ipv6_goes_where_its_flow_goes() {
    let [table, _] = tables();
    let client: Ipv6Addr = "2001:db8::9".parse().unwrap();
    let router: Ipv6Addr = "2001:db8:ffff::1".parse().unwrap();
    let error = |inner: &[u8]| {
        let body = [&[2, 0, 0, 0, 0, 0, 5, 0][..], inner].concat();
        frame(0, 9, &[0x86, 0xdd], &v6(router, V6, 58, &body))
    };
    let members = filters(Mode::Invisible, TCP, &table, true);
    let by_address = filters(Mode::Invisible, (Protocol::Tcp, HashOn::Addr), &table, true);
    let embedded = Verdict::Drop(Reason::Embedded);
    for port in 1..=100 {
        let syn = frame(0, 9, &[0x86, 0xdd], &v6(client, V6, 6, &tcp(port, 80, SYN)));
        let ours = v6(V6, client, 6, &tcp(80, port, ACK));
        assert_eq!(taker(&members, &error(&ours)), taker(&members, &syn));
        assert_eq!(taker(&members, &error(&ours[..44])), taker(&members, &syn));
        // Behind a header of options.
        let options = [&[6, 0, 1, 4, 0, 0, 0, 0][..], &tcp(80, port, ACK)].concat();
        let options = v6(V6, client, 60, &options);
        assert_eq!(taker(&members, &error(&options)), taker(&members, &syn));
        // Without both ports the address must do.
        for cut in [&ours[..43], &ours[..40]] {
            assert_eq!(told(&members, &error(cut)), [embedded; 3]);
            assert_eq!(taker(&by_address, &error(cut)), taker(&by_address, &syn));
        }
        // An extension without its length, a header cut short, somebody else's.
        let foreign = v6(router, client, 6, &tcp(80, port, ACK));
        for inner in [&options[..41], &ours[..39], &foreign, &[]] {
            assert_eq!(told(&members, &error(inner)), [embedded; 3]);
        }
    }
}

#[test]
fn fragments_of_ipv6_go_together_and_those_of_tcp_nowhere_where_ports_count() {
    let [table, _] = tables();
    let client: Ipv6Addr = "2001:db8::9".parse().unwrap();
    let fragment = |protocol, offset: u16, body: &[u8]| {
        let [high, low] = offset.to_be_bytes();
        let body = [&[protocol, 0, high, low, 0, 0, 0, 7][..], body].concat();
        frame(0, 9, &[0x86, 0xdd], &v6(client, V6, 44, &body))
    };
    let whole = |packet: &[u8]| frame(0, 9, &[0x86, 0xdd], packet);
    let members = filters(Mode::Invisible, TCP, &table, true);
    let by_address = filters(Mode::Invisible, (Protocol::Tcp, HashOn::Addr), &table, true);
    for port in 1..=20 {
        let syn = tcp(port, 80, SYN);
        let plain = whole(&v6(client, V6, 6, &syn));
        let (first, later) = (fragment(6, 1, &syn), fragment(6, 24, &[1; 5]));
        // One that is alone is a whole packet.
        assert_eq!(taker(&members, &fragment(6, 0, &syn)), taker(&members, &plain));
        for part in [&first, &later] {
            assert_eq!(told(&members, part), [Verdict::Drop(Reason::Fragment); 3]);
            assert_eq!(taker(&by_address, part), taker(&by_address, &plain));
        }
    }
    let udp = filters(Mode::Invisible, (Protocol::Udp, HashOn::AddrPort), &table, true);
    let first = |port| fragment(17, 1, &[9, port, 0, 80, 0, 8, 0, 0]);
    let later = taker(&udp, &fragment(17, 8, &[1; 3]));
    assert!((0..20).all(|port| taker(&udp, &first(port)) == later));
}

#[test]
fn an_error_is_about_what_this_address_sent() {
    let [table, _] = tables();
    let members = filters(Mode::Invisible, TCP, &table, true);
    let error = |from: [u8; 4]| {
        let mut inner = v4(from, 1, 6, &tcp(80, 5, ACK));
        inner[16..20].copy_from_slice(&[198, 51, 100, 7]);
        let body = [&[3, 4, 0, 0, 0, 0, 5, 0][..], &inner].concat();
        frame(0, 9, &[8, 0], &v4([203, 0, 113, 1], 1, 1, &body))
    };
    assert_eq!(taker(&members, &error(V4)), taker(&members, &segment(0, 9, 5, ACK)));
    let others = told(&members, &error([203, 0, 113, 9]));
    assert_eq!(others, [Verdict::Drop(Reason::Embedded); 3]);
}
