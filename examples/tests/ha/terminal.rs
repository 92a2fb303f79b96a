//! At a terminal: orders are asked for, colours are shown unless nobody wants them.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

use crate::desk::{Station, pair};
use crate::program::{Said, command};
use crate::rig::Pair;

/// Both ends of a new terminal: a person's, and the program's.
fn terminal() -> (File, File) {
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&person).unwrap();
    unlockpt(&person).unwrap();
    let name = ptsname(&person, Vec::new()).unwrap().into_string().unwrap();
    let program = OpenOptions::new().read(true).write(true).open(name).unwrap();
    (person.into(), program)
}

fn at(station: &Station, words: &[&str]) -> Command {
    command(&[&["--socket", station.socket.to_str().unwrap()], words].concat())
}

/// What comes of an order that somebody answers so.
fn answered(station: &Station, words: &[&str], answer: &str) -> Said {
    let (mut person, program) = terminal();
    // A terminal keeps what is typed until it is read.
    person.write_all(answer.as_bytes()).unwrap();
    Said::of(at(station, words).stdin(program).output().unwrap())
}

#[test]
fn whoever_is_asked_decides() {
    let mut rig = Pair::new();
    let _arbiter = rig.arbiter();
    let [first, second] = pair(&rig);
    for answer in ["n\n", "\n", "yes please\n"] {
        let said = answered(&first, &["swap"], answer);
        assert_eq!((said.code, &*said.err), (77, "ha: nothing was done\n"), "{answer:?}");
        assert!(said.out.ends_with("go on? [y/N] "), "{said:?}");
    }
    assert!(first.host.look(|seen| seen.serving));
    let said = answered(&first, &["swap"], "y\n");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(second.host.look(|seen| seen.serving));
    let said = answered(&first, &["failover", "off"], "n\n");
    assert_eq!(said.code, 0, "what takes nothing away is not asked: {said:?}");
}

/// What a terminal shows of a status.
fn shown(station: &Station, no_color: Option<&str>) -> String {
    let (mut person, program) = terminal();
    let mut command = at(station, &["status"]);
    if let Some(value) = no_color {
        command.env("NO_COLOR", value);
    }
    let code = command.stdout(program).status().unwrap().code();
    // It holds the program's end of the terminal, too.
    drop(command);
    assert_eq!(code, Some(0));
    let mut bytes = Vec::new();
    // Linux ends the reading of a terminal that nobody has open any more by an error.
    let _ = person.read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn colours_are_for_a_terminal_that_wants_them() {
    let rig = Pair::new();
    let station = Station::start(&rig, 0);
    assert!(shown(&station, None).contains("\x1b[1;31mDOWN\x1b[0m"));
    assert!(shown(&station, Some("")).contains('\x1b'), "an empty one says nothing");
    let plain = shown(&station, Some("1"));
    assert!(plain.contains("DOWN") && !plain.contains('\x1b'), "{plain}");
    let piped = Said::of(at(&station, &["status"]).output().unwrap());
    assert!(!piped.out.contains('\x1b'), "{piped:?}");
}

#[test]
fn a_status_is_watched_until_the_daemon_ends() {
    let rig = Pair::new();
    let mut station = Station::start(&rig, 0);
    let mut child =
        at(&station, &["status", "-w", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut role = || {
        let line: Value = serde_json::from_str(&lines.next()?.unwrap()).unwrap();
        Some(line["status"][0]["here"]["role"].as_str()?.to_owned())
    };
    while role().as_deref() != Some("WAIT") {}
    station.order(ha_core::control::protocol::Verb::Prim, false);
    while role().as_deref() != Some("ALONE") {}
    drop(station.server.take());
    while role().is_some() {}
    assert_eq!(child.wait().unwrap().code(), Some(69));
}
