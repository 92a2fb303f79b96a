//! What load balancers, Prometheus and checkers see of a farm's member.

use ha_lab::within;

use crate::SOON;
use crate::rig::{CALM, Rig, SHORT, kept};

/// Health and metrics, where nobody says where to listen.
const HTTP: &str = "\n[http]\n";

#[test]
fn clients_are_sent_to_who_is_ready_and_metrics_say_how_it_is() {
    let Some(rig) = Rig::whole("farm_http", 2, &format!("{SHORT}{HTTP}"), "") else { return };
    let module = rig.module(0);
    let path = format!("/ready?module={module}");
    let ready = |code| within(SOON, || rig.http(0, &path).0 == code);
    assert!(ready(200), "{:?}", rig.http(0, &path));
    assert!(within(SOON, || rig.shares(0) == [2048, 2048]), "{:?}", rig.shares(0));
    rig.connect(20);
    let (code, page) = rig.http(0, "/metrics");
    assert_eq!(code, 200, "{page}");
    let module_label = format!("module=\"{module}\"");
    for line in [
        format!("ha_module_ready{{{module_label}}} 1"),
        format!("ha_module_protected{{{module_label}}} 1"),
        format!("ha_farm_members{{{module_label}}} 2"),
        format!("ha_farm_takes{{{module_label}}} 1"),
        format!("ha_farm_share_ratio{{{module_label},service=\"web\",member=\"a\"}} 0.5"),
        format!("ha_farm_linked{{{module_label},member=\"b\"}} 1"),
    ] {
        assert!(page.contains(&line), "{line} is not in {page}");
    }
    let accepted = format!("ha_farm_packets_total{{{module_label},verdict=\"accept\"}} ");
    let count = page.lines().find_map(|line| line.strip_prefix(&accepted));
    assert!(count.is_some_and(|count| count != "0"), "{page}");
    rig.done(0, &["drain", "a", "--yes"]);
    assert!(ready(404), "a drained one gets no new clients by a load balancer either");
    assert_eq!(rig.http(0, "/ready?module=other").0, 404);
    rig.done(0, &["drain", "a", "--off"]);
    assert!(ready(200));
}

/// A checker of what the test kills.
fn checker(on_failure: &str) -> String {
    format!(
        "\n[[checker]]\nname = \"front\"\nkind = \"tcp\"\naddress = \"127.0.0.1:7100\"\n\
         interval = \"100ms\"\nrise = 2\nfall = 2\non_failure = \"{on_failure}\"\n"
    )
}

#[test]
fn a_checker_that_fails_drains_and_returns() {
    let Some(mut rig) = Rig::new("farm_checker", 2) else { return };
    // Far longer than anything here takes.
    rig.configure(&format!("{CALM}drain = \"20s\"\n"), &checker("drain"));
    let watched = "127.0.0.1:7100".parse().unwrap();
    let front = rig.hosts[0].serve(&[watched]).unwrap();
    let _other = rig.hosts[1].serve(&[watched]).unwrap();
    rig.start_all();
    let up = || rig.done(0, &["status"]).contains("front up");
    assert!(within(SOON, up), "{}", rig.done(0, &["status"]));
    // Where one of them served alone at first, half of all drains, and no more can move.
    let rests = || rig.status(0).is_some_and(|it| it["services"][0]["draining"] == 0);
    assert!(within(SOON, rests), "{}", rig.done(0, &["status"]));
    let mut open = rig.connect(40);
    front.kill_group().unwrap();
    rig.until_serve(&[1]);
    let shown = rig.done(0, &["status"]);
    assert!(shown.contains("front DOWN") && shown.contains("a checker fails"), "{shown}");
    assert_eq!(kept(&mut open), open.len(), "its connections drain");
    drop(front);
    let _front = rig.hosts[0].serve(&[watched]).unwrap();
    rig.until_serve(&[0, 1]);
    assert_eq!(kept(&mut open), open.len());
}

#[test]
fn a_checker_that_resets_cuts_its_connections_at_once() {
    let Some(mut rig) = Rig::new("farm_reset", 2) else { return };
    rig.configure(CALM, &checker("reset"));
    let watched = "127.0.0.1:7100".parse().unwrap();
    let front = rig.hosts[0].serve(&[watched]).unwrap();
    let _other = rig.hosts[1].serve(&[watched]).unwrap();
    rig.start_all();
    let mut open = rig.connect(40);
    let here = open.iter().filter(|it| it.by == 0).count();
    assert!(here > 0, "it has connections");
    front.kill_group().unwrap();
    rig.until_serve(&[1]);
    let others = open.len() - here;
    assert!(within(SOON, || kept(&mut open) == others), "only its own are cut, and all of them");
}
