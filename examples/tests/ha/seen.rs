//! The commands that look.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;
use std::thread;

use ha_core::control::protocol::Verb;
use ha_core::control::{CopyStatus, DownStatus, ModuleStatus};
use ha_proto::Role;
use serde_json::Value;

use crate::desk::{Station, pair};
use crate::program::{at, command, ha, shape};
use crate::rig::Pair;

#[test]
fn without_a_daemon_one_line_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    let said = at(&socket, &["status"]);
    let text = format!(
        "ha: no daemon at {}: start it (systemctl start ha-node), or name its socket\n",
        socket.display()
    );
    assert_eq!((said.code, said.out, said.err), (69, String::new(), text));
    assert_eq!(at(&socket, &["check"]).code, 3, "a monitor cannot tell");
    assert_eq!(at(&socket, &["role", "-q"]).code, 69);
    assert_eq!(at(&socket, &["swap", "--yes"]).code, 69);
    let json = at(&socket, &["status", "--json"]);
    let line: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&line["v"], &line["refused"]["exit"]), (&1.into(), &"unavailable".into()));
}

#[test]
fn usage_is_its_own_code_and_help_is_none() {
    assert_eq!(ha(&["fly"]).code, 64);
    assert_eq!(ha(&["prim"]).code, 64);
    assert_eq!(ha(&["maintenance", "on"]).code, 64);
    assert_eq!(ha(&["status", "--timeout", "5"]).code, 64);
    let help = ha(&["help"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    for verb in ["status", "explain", "events", "check", "swap", "primforce", "doctor", "keygen"] {
        assert!(help.out.contains(&format!("\n  {verb} ")), "{verb} is not in the help");
    }
    assert_eq!(ha(&["--version"]).code, 0);
}

const WHOLE: [&str; 2] = [
    "web PROTECTED for N t\n\
     here node0 * PRIM ready a toy up to date\n\
     there node1 SECOND ready up to date\n\
     links prod N t repl N t witness N t\n\
     checks tcp up\n\
     if node0 dies now: a takeover takes N t at most\n",
    "web PROTECTED for N t\n\
     here node1 SECOND ready up to date\n\
     there node0 * PRIM ready up to date\n\
     links prod N t repl N t witness N t\n\
     checks tcp up\n\
     if node0 dies now: a takeover takes N t at most\n",
];

const EXPLAINED: &str = "web PROTECTED for N t\n\
    now node0 serves, and the other node could take over\n\
    if node0 dies: node1 takes over within N t\n\
    if node1 dies: node0 goes on alone; writes wait for at most N t\n\
    without prod: an event; nobody stops, the other network carries on\n\
    without repl: an event; nobody stops, the other network carries on\n\
    if the witness dies: nothing stops; no takeover and no swap until it is back\n\
    on a swap: node1 takes over; the service is away for as long as the\n\
    application stops and starts\n";

#[test]
fn a_whole_pair_is_shown_checked_and_explained() {
    let mut rig = Pair::new();
    let _arbiter = rig.arbiter();
    let [first, second] = pair(&rig);
    for (station, shown) in [&first, &second].into_iter().zip(WHOLE) {
        let said = at(&station.socket, &["status"]);
        assert_eq!((said.code, shape(&said.out)), (0, shown.to_string()), "{}", said.out);
        assert!(said.out.lines().all(|line| line.chars().count() <= 80), "{}", said.out);
    }
    let explained = at(&first.socket, &["explain", "-m", "web"]);
    assert_eq!(shape(&explained.out), EXPLAINED);
    let checked = at(&second.socket, &["check"]);
    let line = "web PROTECTED: a takeover takes N t at most\n";
    assert_eq!((checked.code, shape(&checked.out)), (0, line.to_string()));
    assert_eq!(at(&first.socket, &["role"]).out, "PRIM ready\n");
    let quiet = [&first, &second].map(|station| at(&station.socket, &["role", "-q"]));
    assert_eq!(quiet.each_ref().map(|said| (said.code, &*said.out)), [(3, ""), (4, "")]);
    assert_eq!(at(&first.socket, &["wait", "prim"]).code, 0);
    assert_eq!(at(&first.socket, &["wait", "stop", "--timeout", "0s"]).code, 2);
    assert_eq!(at(&first.socket, &["wait", "stop", "--timeout", "300ms"]).code, 124);
    assert_eq!(wait_across_a_reload(&first.socket), 0);
    let none = at(&first.socket, &["status", "-m", "db"]);
    assert_eq!((none.code, &*none.err), (64, "ha: no module \"db\": there are web\n"));
}

/// `ha wait prim` where the first daemon ends without a word; the next is the one at `socket`.
fn wait_across_a_reload(socket: &Path) -> i32 {
    let folder = tempfile::tempdir().unwrap();
    let front = folder.path().join("front.sock");
    let listener = UnixListener::bind(&front).unwrap();
    let words = ["--socket", front.to_str().unwrap(), "wait", "prim"];
    let mut child = command(&words).spawn().unwrap();
    let mut asked = String::new();
    BufReader::new(listener.accept().unwrap().0).read_line(&mut asked).unwrap();
    assert!(asked.contains("status"), "{asked}");
    // Whether somebody answers, and the question itself once more.
    for _ in 0..2 {
        let (client, daemon) = (listener.accept().unwrap().0, UnixStream::connect(socket).unwrap());
        pass(client.try_clone().unwrap(), daemon.try_clone().unwrap());
        pass(daemon, client);
    }
    child.wait().unwrap().code().unwrap()
}

/// Passes on what is said, to its end.
fn pass(mut from: UnixStream, mut to: UnixStream) {
    thread::spawn(move || {
        // Who listened may have gone.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
}

#[test]
fn a_lone_primary_says_what_is_wrong_and_what_to_do() {
    let mut rig = Pair::new();
    let _arbiter = rig.arbiter();
    let [first, mut second] = pair(&rig);
    drop(second.running.take());
    first.is(Role::Alone);
    first.watch(|status| status.links.iter().all(|link| !link.up));
    let said = at(&first.socket, &["status"]);
    let shown = "web UNPROTECTED for N t\n\
        here node0 * ALONE ready a toy up to date\n\
        there node1 (SECOND ready perhaps stale, N t ago)\n\
        links prod DOWN N t repl DOWN N t witness N t\n\
        checks tcp up\n\
        why node1 is lost: silent for N t\n\
        if node0 dies now: no takeover (node1 is lost); the service stops\n\
        next start node1 or mend its networks; protection returns by itself\n";
    // The age of a second is not told.
    let found = shape(&said.out).replace(" (for N t)", "");
    assert_eq!(found, shown, "{}", said.out);
    let checked = at(&first.socket, &["check"]);
    let line = "web UNPROTECTED: node1 is lost: silent for N t (no_peer)\n";
    assert_eq!((checked.code, shape(&checked.out)), (1, line.to_string()));
    let past = at(&first.socket, &["history"]);
    assert!(past.out.contains(" started: "), "{past:?}");
    assert!(past.out.ends_with("; at risk: nothing\n"), "{past:?}");
}

#[test]
fn a_pair_that_is_not_initialised_is_down_and_asks_an_operator() {
    let rig = Pair::new();
    let mut raw = rig.raw(0, 0);
    raw.bootstrap = false;
    let station = Station::run(&rig, raw);
    station.watch(|status| status.here.role == Role::Wait);
    let said = at(&station.socket, &["status"]);
    let shown = "web DOWN for N t\n\
        here node0 WAIT … no data\n\
        there node1 not heard since this daemon started\n\
        links prod DOWN N t repl DOWN N t vote none\n\
        checks tcp up\n\
        why the pair was never initialised\n\
        move yours\n\
        next on the node whose data count: `ha prim --keep node0` (or node1)\n";
    assert_eq!(shape(&said.out), shown, "{}", said.out);
    assert_eq!(at(&station.socket, &["check"]).code, 2);
    assert_eq!(at(&station.socket, &["role", "-q"]).code, 1);
}

/// Every field, as a path.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                fields(value, &format!("{path}.{key}"), found);
            }
        }
        Value::Array(list) if list.is_empty() => {
            found.insert(format!("{path}[]"));
        }
        Value::Array(list) => {
            for value in list {
                fields(value, &format!("{path}[]"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            found.insert(path.to_string());
        }
    }
}

/// The contract of `--json`: fields are added here, and none is ever taken away or renamed.
const CONTRACT: &str = include_str!("status.fields");

#[test]
fn json_keeps_its_fields() {
    let mut rig = Pair::new();
    let _arbiter = rig.arbiter();
    let [first, _second] = pair(&rig);
    let hours = Verb::Maintenance { for_ms: Some(3_600_000) };
    first.order(hours, false);
    first.order(Verb::Checkers { on: false }, false);
    let said = at(&first.socket, &["status", "--json"]);
    let line: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(line["v"], 1);
    // With what a whole pair does not have.
    let mut status: ModuleStatus = serde_json::from_value(line["status"][0].clone()).unwrap();
    let (rate, left_ms) = (Some(1), Some(1));
    status.copy = Some(CopyStatus { to: "node1".into(), done: 1, goal: 2, rate, left_ms });
    let [why, mover, next] = ["why", "node", "next"].map(String::from);
    status.down = Some(DownStatus { why, mover, next, within_ms: None });
    let mut found = BTreeSet::new();
    fields(&serde_json::to_value(&status).unwrap(), "", &mut found);
    let contract: BTreeSet<String> = CONTRACT.lines().map(Into::into).collect();
    assert_eq!(found, contract);
    assert_eq!(line["status"][0]["blockers"][0]["kind"], "maintenance");
    assert_eq!(line["status"][0]["here"]["role"], "PRIM");
}

#[test]
fn events_are_followed_line_by_line() {
    let mut rig = Pair::new();
    let _arbiter = rig.arbiter();
    let [first, _second] = pair(&rig);
    let socket = first.socket.to_str().unwrap();
    let mut child = command(&["--socket", socket, "events", "-f", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    assert_eq!(lines.next().unwrap()["status"][0]["module"], "web", "a snapshot first");
    let mut events = Vec::new();
    let ready = loop {
        let line = lines.next().unwrap();
        match line["ready"].as_u64() {
            Some(next) => break next,
            None => events.push(line["event"]["seq"].as_u64().unwrap()),
        }
    };
    assert!(events.is_sorted() && events.last().is_some_and(|last| *last < ready), "{events:?}");
    first.order(Verb::Restart, false);
    let serving = lines.find(|line| line["event"]["event"] == "serving").unwrap();
    assert!(serving["event"]["seq"].as_u64().unwrap() >= ready);
    child.kill().unwrap();
    child.wait().unwrap();
    let text = at(&first.socket, &["events", "--since", "1"]);
    let line = text.out.lines().find(|line| line.contains("the application serves")).unwrap();
    assert!(line.contains(" web ") && line.contains(" info "), "{line}");
}
