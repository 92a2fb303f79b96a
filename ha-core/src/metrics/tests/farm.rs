//! A farm's page as it was once.

use ha_farm::{Buckets, HashOn, Plan, Protocol, Rule, Table};
use ha_heartbeat::group::ViewId;
use ha_proto::{NodeSet, wire};

use super::*;
use crate::farm::{LinkView, Peer, Service, View};

fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

fn peer(linked: bool, up: [bool; 2]) -> Peer {
    let links = up.map(|up| LinkView { up, since: None });
    Peer { heard: linked, linked, links: links.into(), ..Peer::default() }
}

/// A view of two of three members that one of them sees; one of its networks is lost to each.
fn view() -> View {
    let rule = Rule {
        vip: "192.0.2.1".parse().unwrap(),
        ports: 80..=80,
        protocol: Protocol::Tcp,
        on: HashOn::Addr,
    };
    let weights = BTreeMap::from([(node(0), 3), (node(1), 1)]);
    let plan = Plan { counter: 7, weights: weights.clone(), settled: 0, taken: None };
    let table = Table::new(Buckets::Few).next(&plan);
    let mut rejections = wire::Rejections::default();
    rejections.count(Reject::Version);
    let id = Some(ViewId { counter: 7, coordinator: node(0), boot: Boot(1) });
    View {
        me: node(0),
        at: Instant::ZERO,
        id,
        members: BTreeMap::from([(node(0), Boot(1)), (node(1), Boot(2))]),
        peers: BTreeMap::from([
            (node(1), peer(true, [true, false])),
            (node(2), peer(false, [false, false])),
        ]),
        why: None,
        full: true,
        waits_for: NodeSet::EMPTY,
        lease: Duration::from_millis(140),
        announcer: Some(node(0)),
        services: [Service { rule, weights, table }].into(),
        tables: id,
        drained: false,
        gate: true,
        checked: true,
        drains: BTreeMap::new(),
        rejections,
    }
}

fn page() -> String {
    page_of(view())
}

fn page_of(view: View) -> String {
    let verdicts = [("pass".into(), 3), ("accept".into(), 90), ("drop_other".into(), 30)].into();
    let owners = [BTreeMap::from([(node(0), 90), (node(1), 30)])].into();
    let sample = FarmSample {
        module: "farm".into(),
        view,
        members: [(node(0), "web1".into()), (node(1), "web2".into()), (node(2), "w\"3".into())]
            .into(),
        services: ["web".into()].into(),
        links: ["prod".into()].into(),
        ready: true,
        protected: true,
        strangers: 0,
        packets: Some(Packets { verdicts, owners }),
        checkers: [("nginx".into(), Some(true)), ("disk".into(), None)].into(),
    };
    let mut page = String::new();
    render_farm("0.1.0", &sample, &mut page);
    page
}

#[test]
fn a_page_is_these_lines() {
    let page = page();
    for (at, (line, golden)) in page.lines().zip(GOLDEN.lines()).enumerate() {
        assert_eq!(line, golden, "line {}", at + 1);
    }
    assert_eq!(page.len(), GOLDEN.len(), "{page}");
}

#[test]
fn a_page_is_what_prometheus_reads() {
    let families = read(&page());
    for (name, Read { kind, help, series }) in &families {
        assert!(name.starts_with("ha_"), "{name}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        assert!(help.ends_with('.') && !series.is_empty(), "{name}: {help}");
    }
    let up = &families["ha_heartbeat_link_up"].series;
    let of =
        |(labels, up): &(Labels, f64)| (labels["peer"].clone(), labels["link"].clone(), *up > 0.5);
    let up: Vec<_> = up.iter().map(of).collect();
    let line = |peer: &str, link: &str, up| (peer.into(), link.into(), up);
    let expected = [
        line("web2", "prod", true),
        line("web2", "1", false),
        line("w\"3", "prod", false),
        line("w\"3", "1", false),
    ];
    assert_eq!(up, expected);
}

/// Names and labels in it are added, never changed.
const GOLDEN: &str = include_str!("../farm.prom");

#[test]
fn who_is_left_out_of_a_view_tells_no_shares_of_the_one_before() {
    let mut left_out = view();
    left_out.id = left_out.id.map(|id| ViewId { counter: 8, ..id });
    let page = page_of(left_out);
    assert!(!page.contains("ha_farm_share_ratio{"), "{page}");
    assert!(!page.contains("ha_farm_draining_buckets{"), "{page}");
}
