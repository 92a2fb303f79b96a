//! Whom a member tells of what happens.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use ha_lab::within;
use serde_json::Value;

use crate::SOON;
use crate::rig::{CALM, Rig, kept};

/// A second's lease: a loaded machine may take so long to start a program.
const SECOND: &str = "interval = \"1s\"\n";

/// Member `a` tells this script of its events, of this level and above.
fn telling(rig: &Rig, shared: &str, level: &str, script: &str) {
    let program = rig.nodes[0].script("web", "tell", script).unwrap().join("tell");
    rig.configure(shared, "");
    let notify = format!("[notify]\nexec = \"{}\"\nlevel = \"{level}\"\n", program.display());
    rig.nodes[0].configure(&rig.text(0, &format!("{shared}{notify}"), "")).unwrap();
}

/// What the script left so far.
fn told(rig: &Rig) -> Vec<String> {
    rig.nodes[0].wrote("web", "told").lines().map(Into::into).collect()
}

#[test]
fn a_program_is_told_that_a_member_is_lost_as_ha_events_has_it() {
    let Some(mut rig) = Rig::new("farm_told", 2) else { return };
    telling(&rig, CALM, "warn", "cat >> told");
    rig.start_all();
    rig.daemon(1).kill().unwrap();
    rig.until_serve(&[0]);
    let lost = |line: &String| line.contains("\"text\":\"b is not linked any more\"");
    assert!(within(SOON, || told(&rig).iter().any(lost)), "{:?}", told(&rig));
    let line = told(&rig).into_iter().find(lost).unwrap();
    let it: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(it["module"], rig.module(0));
    let seen = ["node", "role", "event", "level"].map(|field| it[field].as_str().unwrap());
    assert_eq!(seen, ["a", "UP", "unlinked", "warn"]);
    let events = rig.done(0, &["events", "--json"]);
    let events: Vec<Value> = events.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let same = |event: &Value| {
        event["event"]["seq"] == it["sequence"] && event["event"]["text"] == it["text"]
    };
    assert!(events.iter().any(same), "{it} is none of {events:?}");
}

/// What is handed over is worth something as long as a lease, and a program that hangs costs ten
/// seconds for each event.
#[test]
fn a_restart_does_not_wait_for_whoever_is_told_and_says_how_much_nobody_was() {
    let Some(mut rig) = Rig::new("farm_told_roll", 2) else { return };
    // proc(5): what it runs as, and how early.
    let runs = "$(cut -d' ' -f40,41 /proc/self/stat)";
    let said = format!("echo $HA_DROPPED $HA_EVENT $HA_VIEW {runs} >> told; sleep 1000");
    telling(&rig, SECOND, "info", &said);
    rig.start_all();
    let mut open = rig.connect(20);
    assert!(within(SOON, || told(&rig).len() == 1), "{:?}", told(&rig));
    rig.done(0, &["restart-daemon"]);
    let output = rig.daemon(0).output();
    assert!(output.contains("goes on where the daemon before it stopped"), "{output}");
    assert!(within(SOON, || told(&rig).len() > 1), "{:?}", told(&rig));
    let told = told(&rig);
    let told: Vec<Vec<&str>> = told.iter().map(|line| line.split(' ').collect()).collect();
    assert_eq!((told[0][0], told[1][1]), ("0", "resumed"));
    assert!(told[1][0].parse::<u64>().unwrap() > 0, "{told:?}");
    assert!(told[1][2].starts_with(|it: char| it.is_ascii_digit()), "in which view: {told:?}");
    // The whole daemon goes before all others until it goes on.
    assert!(told.iter().all(|it| it[3..] == ["0", "0"]), "what it runs as: {told:?}");
    // A program that cannot be run is found before there is no way back.
    let program = rig.nodes[0].scripts("web").join("tell");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o644)).unwrap();
    let file = rig.nodes[0].file().display().to_string();
    for words in [&["restart-daemon"][..], &["config", "check", &file]] {
        let refused = rig.ha(0, words);
        let named = refused.err.contains("it is not executable: chmod +x it");
        assert_eq!((refused.code, named), (78, true), "{refused:?}");
    }
    rig.until_serve(&[0, 1]);
    assert_eq!(kept(&mut open), open.len(), "{}", rig.daemon(0).output());
}
