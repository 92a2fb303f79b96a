//! A farm's status as text.

use ha_core::control::FarmStatus;
use ha_node::ha::farm::{explain, status};
use ha_node::ha::show::Style;

const PLAIN: Style = Style { colour: false, columns: 80 };

fn farm(change: &str) -> FarmStatus {
    let text = r#"{
        "module": "farm", "id": 0, "node": "web1", "verdict": "PROTECTED", "verdict_for_ms": 42000,
        "role": "UP", "ready": true, "why": null,
        "if_dies": "the others have its clients within 0.3 s", "next": null, "up_ms": 60000,
        "mode": "invisible", "plane": "bpf", "plane_why": "auto: all 3 members can",
        "view": "5.0", "announcer": "web1", "full": true, "waits_for": [], "lease_ms": 140,
        "drained": false, "gate": true, "checked": true,
        "members": [
            {"name": "web1", "id": 0, "state": "serves", "why": null, "age_ms": 0,
             "buckets": [2048]},
            {"name": "web2", "id": 1, "state": "serves", "why": null, "age_ms": 12,
             "buckets": [2048]},
            {"name": "web3", "id": 2, "state": "silent", "why": "it is silent", "age_ms": 90000,
             "buckets": [0]}
        ],
        "services": [{"name": "web", "buckets": 4096, "draining": 1365}],
        "missing": [["web1", "web3"]], "drains_ms": 200000,
        "checkers": [{"name": "nginx", "up": true, "since_ms": 5000}], "config_differs": false
    }"#;
    let (from, to) = change.split_once(" => ").unwrap_or(("", ""));
    assert!(text.contains(from), "{from:?} is in the text");
    serde_json::from_str(&text.replacen(from, to, 1)).unwrap()
}

#[test]
fn a_farm_is_a_bar_for_each_member_and_what_is_wrong() {
    let shown = status(&farm(""), PLAIN);
    let expected = "\
farm                                                         PROTECTED  for 42 s
  web   1365 buckets drain, 3 min left at most
    web1 * ███████████████···············  50 %  serves
    web2   ███████████████···············  50 %  serves
    web3   ······························   0 %  silent
  web3    it is silent, heard 90 s ago
  missing web1 does not hear web3
  view    5.0, invisible, announcer web1
  plane   bpf: auto: all 3 members can
  checks  nginx up
  if web1 dies now: the others have its clients within 0.3 s
";
    assert_eq!(shown, expected, "{shown}");
}

/// The networks to one of the members, as JSON.
fn links(up: [bool; 2], since: u64) -> String {
    format!(
        r#"[{{"name": "prod", "up": {}, "since_ms": {since}}},
            {{"name": "back", "up": {}, "since_ms": {since}}}]"#,
        up[0], up[1]
    )
}

#[test]
fn a_network_that_is_lost_is_named_with_whom_it_does_not_reach() {
    let mut whole = farm("");
    let set = |it: &mut FarmStatus, at: usize, up: [bool; 2]| {
        it.members[at].links = serde_json::from_str(&links(up, 84_000)).unwrap();
    };
    set(&mut whole, 1, [true, true]);
    // Who is silent is told as such, and not once more for each network.
    set(&mut whole, 2, [false, false]);
    let shown = status(&whole, PLAIN);
    assert!(shown.contains("\n  links   prod   back\n"), "{shown}");
    assert!(!shown.contains("  note "), "{shown}");
    set(&mut whole, 1, [true, false]);
    let shown = status(&whole, PLAIN);
    assert!(shown.contains("\n  links   prod   back DOWN to web2 84 s\n"), "{shown}");
    let note = "  note    back is down between web1 and web2: cable or switch of back; it comes\n          \
                back by itself\n";
    assert!(shown.contains(note), "{shown}");
    assert!(!status(&farm(""), PLAIN).contains("  links "), "an older daemon tells of none");
}

#[test]
fn narrow_pages_are_narrow_and_colours_say_nothing_alone() {
    let style = Style { colour: true, columns: 44 };
    let shown = status(&farm(""), style);
    let long = shown.lines().skip(1).find(|line| line.chars().count() > 44);
    assert_eq!(long, None, "{shown}");
    assert!(shown.contains("\u{1b}[1;32mPROTECTED\u{1b}[0m"), "{shown}");
}

#[test]
fn a_member_that_takes_nothing_says_why_and_what_to_do() {
    let down = farm(r#""why": null, => "why": "web1 takes nothing: its lease ended","#);
    assert!(status(&down, PLAIN).contains("  why     web1 takes nothing: its lease ended\n"));
    let explained = explain(&down, PLAIN);
    assert!(explained.contains("  now     web1 takes nothing: its lease ended\n"), "{explained}");
    assert!(explained.contains("  web3    silent: it is silent\n"), "{explained}");
    let nft = explain(&farm(r#""plane": "bpf" => "plane": "nft""#), PLAIN);
    assert!(nft.contains("those that move break"), "{nft}");
}
