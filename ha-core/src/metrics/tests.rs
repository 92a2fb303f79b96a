//! A page as it was once, and a reader that knows the format.

mod farm;

use std::collections::{BTreeMap, BTreeSet};
use std::string::String;

use ha_heartbeat::{Margin, Resources};
use ha_proto::wire::{Keys, Reject};
use ha_proto::{Boot, ClusterId, DataState, Instant, ModuleId, NodeId, Position, Seq, StoreId};
use ha_quorum::Vote;
use ha_replicate::Recovered;

use super::*;
use crate::config::{Config, Identity, Limits, Policy};
use crate::verdict::{Facts, judge};
use crate::view::{CopyView, Right};
use crate::{Answer, Event, Input, Mirror, Order, Output, Profile, Saved};

/// Node 0 of a pair without a witness, which an operator made primary, alone.
fn alone() -> Mirror {
    let (me, peer) = (NodeId::new(0).unwrap(), NodeId::new(1).unwrap());
    let (cluster, module) = (ClusterId(7), ModuleId(1));
    let identity = Identity { cluster, module, me, peer, links: 2 };
    let policy = Policy { vote: Vote::None, ..Policy::default() };
    let timing = Profile::Lan.timing();
    let config = Config::new(identity, timing, policy, Limits::default()).unwrap();
    let saved = Saved::blank(cluster, module, me, StoreId(42));
    let recovered = Recovered {
        position: Position::default(),
        lineage: saved.lineage.clone(),
        state: DataState::Blank,
        membership: None,
        store: saved.store,
        applied: Seq::ZERO,
        bytes: 0,
    };
    let mut now = Instant::ZERO;
    let mut node = Mirror::new(config, Keys::insecure(), saved, recovered, Boot(1), 2, now);
    node.order(now, Order::Prim).unwrap();
    let mut serving = false;
    while now < Instant::ZERO + Duration::from_secs(9) {
        while let Some(output) = node.poll_output() {
            match output {
                Output::Transmit { .. } => {}
                Output::Event(event) => serving |= matches!(event, Event::Serving(_)),
                Output::Effect { ticket, effect: _ } => {
                    node.handle_input(now, Input::Done { ticket, answer: Answer::Done });
                }
            }
        }
        now = node.poll_timeout().unwrap().at.max(now + Duration::from_millis(1));
        node.handle_input(now, Input::Timeout);
    }
    assert!(serving, "an operator ordered it");
    node
}

fn sample(module: &str, node: &Mirror) -> Sample {
    let names = Names {
        me: "left".into(),
        peer: "right".into(),
        links: ["eth0".into(), "eth1".into()].into(),
        resources: ["addresses".into(), "disk".into()].into(),
    };
    let (view, host) = (node.view(), HostFacts::default());
    let verdict = judge(&Facts { view: &view, host: &host, names: &names });
    // How many beats and seconds there were is not what is tested here.
    let mut counters = node.counters();
    counters.heartbeat = ha_heartbeat::Counters {
        sent: 192,
        received: 95,
        lost: 1,
        replayed: 2,
        ..ha_heartbeat::Counters::default()
    };
    counters.totals.serving = Duration::from_secs(8);
    Sample {
        module: module.into(),
        counters,
        view,
        host,
        names,
        verdict,
        unprotected: Duration::from_millis(8_750),
        vips: None,
        scripts: Vec::new(),
    }
}

/// One module with nothing special, and one of which everything is known.
fn page() -> String {
    let node = alone();
    let mut full = sample("w\"e\\b\n", &node);
    full.counters.peer_rejections.count(Reject::Mac);
    full.counters.peer_rejections.count(Reject::Replayed);
    full.host.restarts_left = Some(3);
    full.view.links[0].up = true;
    full.view.links[0].round_trip = Some(Duration::from_micros(310));
    let (longest_gap, timeout) = (Duration::from_millis(250), Duration::from_secs(1));
    full.view.links[0].margin = Some(Margin { longest_gap, timeout });
    full.view.resources = Resources { known: 0b11, up: 0b01 };
    full.view.witness.answering = Some(true);
    full.view.right = Right::Lease(Duration::from_millis(2_400));
    full.view.peer.copy.connected = true;
    full.view.peer.copy.in_flight = 4_096;
    full.view.peer.copy.lacks = Some(1_200);
    full.counters.log.acknowledged.add(Duration::from_micros(900), 40);
    full.counters.log.acknowledged.add(Duration::from_secs(12), 2);
    let to = full.view.peer.id;
    full.view.copy = Some(CopyView { to, done: Seq(30), goal: Seq(40), target: true });
    full.vips = Some(Vips { assigned: true, announcements: 21, conflicts: 1, lost: 2 });
    let took = Duration::from_millis(1_250);
    full.scripts = [ScriptRun { script: "start_prim", result: "ok", took }].into();
    let mut page = String::new();
    render("0.1.0", &[sample("shop", &node), full], &mut page);
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

/// Names and labels in it are added, never changed.
const GOLDEN: &str = include_str!("golden.prom");

#[test]
fn a_histogram_counts_all_that_took_no_longer() {
    let families = read(&page());
    let Read { kind, series, .. } = &families["ha_replication_ack_seconds"];
    assert_eq!(kind, "histogram");
    let of = |labels: &Labels| labels["module"] != "shop";
    let numbers: Vec<_> = series.iter().filter(|(labels, _)| of(labels)).collect();
    let [buckets @ .., (_, sum), (_, count)] = &numbers[..] else { panic!("{numbers:?}") };
    let bounds: Vec<(f64, f64)> =
        buckets.iter().map(|(labels, upto)| (labels["le"].parse().unwrap(), *upto)).collect();
    assert!(bounds.is_sorted(), "{bounds:?}");
    for (bound, upto) in [(0.0005, 0.0), (0.001, 40.0), (10.0, 40.0), (f64::INFINITY, 42.0)] {
        assert!(bounds.contains(&(bound, upto)), "{bound}: {bounds:?}");
    }
    assert!((sum - 24.036).abs() < 1e-9 && (count - 42.0).abs() < 1e-9, "{sum} {count}");
}

#[test]
fn what_the_other_copy_lacks_is_told_only_where_it_is_known() {
    let (me, peer) = (NodeId::new(0).unwrap(), NodeId::new(1).unwrap());
    let told = |prepare: &dyn Fn(&mut Sample)| {
        let mut sample = sample("shop", &alone());
        sample.view.peer.copy.connected = true;
        prepare(&mut sample);
        let mut page = String::new();
        render("0.1.0", &[sample], &mut page);
        let family = read(&page).remove("ha_replication_out_of_sync_bytes");
        family.map(|family| family.series[0].1.to_string())
    };
    let copy = |to| Some(CopyView { to, done: Seq(30), goal: Seq(40), target: true });
    let lacks = |sample: &mut Sample| sample.view.peer.copy.lacks = Some(1_200);
    assert_eq!(told(&|_| {}), None, "the peer is neither in the set nor copied to");
    assert_eq!(told(&|it| it.view.copy = copy(peer)), None, "it acknowledged nothing yet");
    let resync = |it: &mut Sample| {
        it.view.copy = copy(peer);
        lacks(it);
    };
    assert_eq!(told(&resync).as_deref(), Some("1200"));
    let cut = |it: &mut Sample| {
        resync(it);
        it.view.peer.copy.connected = false;
    };
    assert_eq!(told(&cut), None, "nobody knows what it has by now");
    let behind = |it: &mut Sample| {
        it.view.copy = copy(me);
        lacks(it);
    };
    assert_eq!(told(&behind), None, "this node is the copy");
    let in_sync = |it: &mut Sample| {
        it.view.membership.set = it.view.membership.set.with(peer);
        lacks(it);
    };
    assert_eq!(told(&in_sync).as_deref(), Some("0"), "what is under way is not out of sync");
}

#[test]
fn a_page_is_what_prometheus_reads() {
    let families = read(&page());
    let names: Vec<&str> = families.keys().map(String::as_str).collect();
    assert!(names.len() > 25, "{names:?}");
    for (name, Read { kind, help, series }) in &families {
        assert!(name.starts_with("ha_"), "{name}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        assert!(help.ends_with('.'), "{name}: {help}");
        for bad in ["_ms", "_millis", "_micros", "_kb", "_percent", "_minutes", "_count"] {
            assert!(!name.contains(bad), "{name} has no base unit");
        }
        assert!(!series.is_empty(), "{name} is a head without lines");
    }
    // A state is one series for each value, and one of them holds.
    for (name, label) in [("ha_module_state", "state"), ("ha_replication_state", "state")] {
        for module in ["shop", "w\"e\\b\n"] {
            let of = |labels: &Labels| labels.get("module").is_some_and(|it| it == module);
            let lines = families[name].series.iter().filter(|(labels, _)| of(labels));
            let values: Vec<f64> = lines
                .map(|(labels, value)| {
                    assert!(labels.contains_key(label), "{name}");
                    *value
                })
                .collect();
            assert!((values.iter().sum::<f64>() - 1.0).abs() < f64::EPSILON, "{name}: {values:?}");
        }
    }
}

type Labels = BTreeMap<String, String>;

/// A family as it is read.
struct Read {
    kind: String,
    help: String,
    series: Vec<(Labels, f64)>,
}

/// Reads a page as the format says and panics at whatever it does not allow.
fn read(page: &str) -> BTreeMap<String, Read> {
    assert!(page.ends_with('\n'), "the last line ends too");
    let mut families: BTreeMap<String, Read> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        let (name, help) = line.strip_prefix("# HELP ").unwrap().split_once(' ').unwrap();
        let kind = lines.next().unwrap().strip_prefix(&std::format!("# TYPE {name} ")).unwrap();
        assert!(["counter", "gauge", "histogram"].contains(&kind), "{kind}");
        assert!(is_name(name), "{name}");
        let mut series = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let mut rest = line.strip_prefix(name).unwrap();
            let mut part = "";
            if kind == "histogram" {
                (part, rest) = rest.split_at(rest.find('{').unwrap());
                assert!(["_bucket", "_sum", "_count"].contains(&part), "{line}");
            }
            let (labels, value) = match rest.strip_prefix('{') {
                Some(rest) => labels(rest),
                None => (Labels::new(), rest),
            };
            assert!(seen.insert((name, part, labels.clone())), "twice: {line}");
            let value: f64 = value.strip_prefix(' ').unwrap().parse().unwrap();
            assert!(value.is_finite() && value >= 0.0, "{line}");
            assert_eq!(part == "_bucket", labels.contains_key("le"), "{line}");
            series.push((labels, value));
        }
        let (kind, help) = (kind.into(), help.into());
        let before = families.insert(name.into(), Read { kind, help, series });
        assert!(before.is_none(), "{name} is in two pieces");
    }
    families
}

/// The labels up to the closing brace, and what follows.
fn labels(mut rest: &str) -> (Labels, &str) {
    let mut labels = Labels::new();
    loop {
        let (name, text) = rest.split_once("=\"").unwrap();
        assert!(is_name(name) && !name.starts_with("__"), "{name}");
        let mut value = String::new();
        let mut chars = text.char_indices();
        let end = loop {
            match chars.next().unwrap() {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    c => panic!("\\{c} is no escape"),
                }),
                (_, c) => value.push(c),
            }
        };
        assert!(labels.insert(name.into(), value).is_none(), "{name} twice");
        match text[end + 1..].split_at(1) {
            (",", more) => rest = more,
            ("}", more) => return (labels, more),
            (other, _) => panic!("{other:?} between labels"),
        }
    }
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.chars().all(plain) && name.starts_with(|c: char| c.is_ascii_lowercase())
}

#[test]
fn what_is_not_known_has_no_series() {
    let mut page = String::new();
    render("0.1.0", &[sample("shop", &alone())], &mut page);
    let families = read(&page);
    for unknown in [
        "ha_witness_up",
        "ha_lease_remaining_seconds",
        "ha_module_loop_remaining",
        "ha_heartbeat_round_trip_seconds",
        "ha_vip_assigned",
        "ha_script_duration_seconds",
    ] {
        assert!(!families.contains_key(unknown), "{unknown}");
    }
    let mut none = String::new();
    render("0.1.0", &[], &mut none);
    assert_eq!(read(&none).len(), 1, "{none}");
}
