//! Nothing is left.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ha_lab::{Cut, Lab, within};

use crate::SOON;

fn namespaces_of(lab: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir("/run/netns") else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(&format!("{lab}-"))).collect()
}

fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Uses everything, with a program that leaves its group; returns what may not be left.
fn furnish(lab: &mut Lab) -> (String, PathBuf, u32) {
    let network = lab.bridge().unwrap();
    let a = lab.host("a", &[&network]).unwrap();
    lab.cut(&[Cut::of(&a, &network)]).unwrap();
    let script = "setsid sleep 600 & echo child $! ready";
    let process = a.spawn("sh", |command| command.args(["-c", script])).unwrap();
    assert!(process.wait_for(" ready", SOON));
    let child = process.output().split(' ').nth(1).unwrap().parse().unwrap();
    // It is in a session of its own when it is no shell any more.
    let name = || fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
    assert!(within(SOON, || name() == "sleep\n"));
    drop(process);
    assert!(runs(child), "it left its group");
    assert_eq!(namespaces_of(lab.name()).len(), 2);
    (lab.name().to_owned(), lab.folder().to_owned(), child)
}

#[test]
fn a_dropped_lab_leaves_nothing() {
    let Some(mut lab) = Lab::root_or_skip("a_dropped_lab_leaves_nothing") else { return };
    let (name, folder, child) = furnish(&mut lab);
    drop(lab);
    assert_eq!(namespaces_of(&name), [""; 0]);
    assert!(!folder.exists());
    assert!(!runs(child));
}

#[test]
fn a_failed_test_leaves_nothing() {
    let Some(mut lab) = Lab::root_or_skip("a_failed_test_leaves_nothing") else { return };
    let (name, folder, child) = furnish(&mut lab);
    let failed = catch_unwind(AssertUnwindSafe(move || {
        let _lab = lab;
        panic!("as tests do");
    }));
    assert!(failed.is_err());
    assert_eq!(namespaces_of(&name), [""; 0]);
    assert!(!folder.exists());
    assert!(!runs(child));
}

#[test]
fn a_dead_lab_is_swept_by_the_next() {
    let Some(lab) = Lab::root_or_skip("a_dead_lab_is_swept_by_the_next") else { return };
    // What a test that was killed leaves: a namespace, a process in it, a folder, no maker.
    let mut maker = Command::new("true").spawn().unwrap();
    let dead = format!("halab-{}-0", maker.id());
    let namespace = format!("{dead}-host-a");
    let folder = std::env::temp_dir().join(format!("{dead}-test"));
    fs::create_dir(&folder).unwrap();
    let mut ip = Command::new("ip");
    assert!(ip.args(["netns", "add", &namespace]).status().unwrap().success());
    let mut nsenter = Command::new("nsenter");
    nsenter.arg(format!("--net=/run/netns/{namespace}")).args(["sleep", "600"]);
    let mut sleep = nsenter.stdin(Stdio::null()).spawn().unwrap();
    let name = || fs::read_to_string(format!("/proc/{}/comm", sleep.id())).unwrap_or_default();
    assert!(within(SOON, || name() == "sleep\n"));
    // While its maker is a zombie it has not ended for everybody: nobody may sweep it.
    assert_eq!(namespaces_of(&dead).len(), 1);
    maker.wait().unwrap();
    let next = Lab::new("next").unwrap();
    assert_eq!(namespaces_of(&dead), [""; 0]);
    assert!(within(SOON, || !folder.exists()), "another sweep may be at it");
    sleep.wait().unwrap();
    assert_eq!(namespaces_of(lab.name()).len(), 1, "those that live stay");
    drop(next);
}
