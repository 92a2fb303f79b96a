//! Two networks between the servers: one is cut, and nobody's clients notice.

use ha_lab::within;
use serde_json::Value;

use crate::SOON;
use crate::rig::{CALM, Rig, kept};

/// Health and metrics, for the client's network.
const HTTP: &str = "\n[http]\nlisten = \"0.0.0.0:9010\"\n";

/// The events of a server that are of networks: which, and what it says.
fn told(rig: &Rig, node: usize) -> Vec<(String, String)> {
    let said = rig.done(node, &["events", "--json"]);
    let lines = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let events = lines.map(|line| line["event"].clone()).filter(|it| {
        let event = it["event"].as_str();
        event.is_some_and(|event| event.starts_with("link_"))
    });
    let text = |it: &Value, field: &str| it[field].as_str().unwrap().to_string();
    events.map(|it| (text(&it, "level"), text(&it, "text"))).collect()
}

#[test]
fn a_network_that_is_cut_is_named_and_the_farm_keeps_all() {
    let Some(mut rig) = Rig::doubled("farm_links", 3) else { return };
    rig.configure(&format!("{CALM}{HTTP}"), "");
    rig.start_all();
    let both = |rig: &Rig| rig.done(0, &["status"]).contains("\n  links   clients   back\n");
    assert!(within(SOON, || both(&rig)), "{}", rig.done(0, &["status"]));
    assert_eq!(told(&rig, 0), [], "what works is no news");
    let mut open = rig.connect(60);
    let view = rig.status(0).unwrap()["view"].clone();
    let back = rig.back.as_ref().unwrap();

    back.unplug(&rig.hosts[1]).unwrap();
    let down = ("warn".to_string(), "back to b is lost".to_string());
    assert!(within(SOON, || told(&rig, 0) == [down.clone()]), "{:?}", told(&rig, 0));
    let lost = ["back to a is lost", "back to c is lost"].map(|it| ("warn".into(), it.into()));
    let both_lost = || {
        let mut said = told(&rig, 1);
        said.sort();
        said == lost
    };
    assert!(within(SOON, both_lost), "{:?}", told(&rig, 1));
    let shown = rig.done(0, &["status"]);
    assert!(shown.contains("\n  links   clients   back DOWN to b "), "{shown}");
    assert!(shown.contains("back is down between a and b: cable or switch of back"), "{shown}");
    let status = rig.status(0).unwrap();
    let up = |at: usize| status["members"][1]["links"][at]["up"].as_bool();
    assert_eq!((up(0), up(1)), (Some(true), Some(false)), "{status:#}");
    assert_eq!(status["verdict"], "PROTECTED", "any network suffices");
    let module = rig.module(0);
    let line = |link: &str, up: u8| {
        format!("ha_heartbeat_link_up{{module=\"{module}\",peer=\"b\",link=\"{link}\"}} {up}\n")
    };
    let page = || rig.http(0, "/metrics").1;
    let metrics_say = |back: u8| {
        let page = page();
        page.contains(&line("clients", 1)) && page.contains(&line("back", back))
    };
    assert!(within(SOON, || metrics_say(0)), "{}", page());
    assert_eq!(kept(&mut open), open.len(), "no connection notices");

    back.plug(&rig.hosts[1]).unwrap();
    let works = ("info".to_string(), "back to b works".to_string());
    assert!(within(SOON, || told(&rig, 0) == [down.clone(), works.clone()]), "{:?}", told(&rig, 0));
    assert!(within(SOON, || both(&rig) && metrics_say(1)), "{}", rig.done(0, &["status"]));
    assert_eq!(kept(&mut open), open.len());
    assert_eq!(rig.status(0).unwrap()["view"], view, "it is still the view of before");
}
