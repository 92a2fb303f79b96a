//! Programs on hosts.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use ha_lab::{Lab, Process, within};

use crate::SOON;

/// Whether a process runs: zombies do not.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
}

/// A shell that starts a child, says its number, and waits for it.
fn family(lab: &mut Lab) -> (Process, u32) {
    let host = lab.host("a", &[]).unwrap();
    let script = "sleep 600 & echo child $! ready; wait";
    let process = host.spawn("sh", |command| command.args(["-c", script])).unwrap();
    assert!(process.wait_for(" ready", SOON));
    let output = process.output();
    let child = output.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(runs(child));
    (process, child)
}

#[test]
fn a_dropped_process_takes_its_group_with_it() {
    let Some(mut lab) = Lab::root_or_skip("a_dropped_process_takes_its_group_with_it") else {
        return;
    };
    let (process, child) = family(&mut lab);
    let pid = process.pid();
    drop(process);
    assert!(!runs(pid) && !runs(child), "when the drop returns they are gone");
}

#[test]
fn a_stopped_process_is_dropped_like_any_other() {
    let Some(mut lab) = Lab::root_or_skip("a_stopped_process_is_dropped_like_any_other") else {
        return;
    };
    let (process, child) = family(&mut lab);
    process.stop().unwrap();
    assert!(within(SOON, || state(process.pid()) == Some('T')));
    let pid = process.pid();
    drop(process);
    assert!(!runs(pid) && !runs(child));
}

#[test]
fn a_killed_process_leaves_its_children_and_a_killed_group_does_not() {
    let test = "a_killed_process_leaves_its_children_and_a_killed_group_does_not";
    let Some(mut lab) = Lab::root_or_skip(test) else { return };
    let (process, child) = family(&mut lab);
    process.kill().unwrap();
    let status = process.wait(SOON).unwrap().expect("killed processes end");
    assert_eq!(status.signal(), Some(9));
    assert!(runs(child));
    process.kill_group().unwrap();
    assert!(within(SOON, || !runs(child)));
    process.kill().unwrap(); // and again: it is no error
}

#[test]
fn a_process_is_stopped_and_goes_on() {
    let Some(mut lab) = Lab::root_or_skip("a_process_is_stopped_and_goes_on") else { return };
    let host = lab.host("a", &[]).unwrap();
    let process = host.spawn("cat", |command| command.arg("/dev/zero")).unwrap();
    process.stop().unwrap();
    assert!(within(SOON, || state(process.pid()) == Some('T')));
    assert_eq!(process.ended().unwrap(), None);
    assert_eq!(process.wait(Duration::from_millis(1)).unwrap(), None);
    process.cont().unwrap();
    assert!(within(SOON, || state(process.pid()).is_some_and(|state| state != 'T')));
    process.terminate().unwrap();
    let status = process.wait(SOON).unwrap().expect("it was asked to end");
    assert_eq!(status.signal(), Some(15));
}

#[test]
fn a_stopped_group_is_stopped_whole() {
    let Some(mut lab) = Lab::root_or_skip("a_stopped_group_is_stopped_whole") else { return };
    let (process, child) = family(&mut lab);
    process.stop_group().unwrap();
    assert!(within(SOON, || [process.pid(), child].iter().all(|pid| state(*pid) == Some('T'))));
}

#[test]
fn what_it_prints_and_how_it_ends_are_known() {
    let Some(mut lab) = Lab::root_or_skip("what_it_prints_and_how_it_ends_are_known") else {
        return;
    };
    let host = lab.host("a", &[]).unwrap();
    let script = "echo $WHAT; trap 'echo again; exit 3' HUP; echo low >&2; sleep 600 & wait";
    let process =
        host.spawn("sh", |command| command.args(["-c", script]).env("WHAT", "high")).unwrap();
    assert!(process.wait_for("low\n", SOON));
    process.hang_up().unwrap();
    assert!(process.wait_for("again\n", SOON));
    assert_eq!(process.wait(SOON).unwrap().and_then(|status| status.code()), Some(3));
    assert_eq!(process.output(), "high\nlow\nagain\n");
    let missing = host.spawn("no-such-program", |command| command).unwrap();
    assert_eq!(missing.wait(SOON).unwrap().and_then(|status| status.code()), Some(127));
    assert!(missing.wait_for("no-such-program", SOON), "{}", missing.output());
}

#[test]
fn programs_find_the_control_groups() {
    let Some(mut lab) = Lab::root_or_skip("programs_find_the_control_groups") else { return };
    let host = lab.host("a", &[]).unwrap();
    let listed = host.command("ls").arg("/sys/fs/cgroup").output().unwrap();
    let here = fs::read_dir("/sys/fs/cgroup").map_or(0, Iterator::count);
    assert_eq!(String::from_utf8(listed.stdout).unwrap().lines().count(), here);
}

#[test]
fn cores_are_loaded_and_let_go() {
    let Some(lab) = Lab::root_or_skip("cores_are_loaded_and_let_go") else { return };
    let load = lab.load_cores(Duration::from_mins(1)).unwrap();
    let group = load.pid();
    let members = || {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let stats = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
        stats
            .filter(|stat| {
                let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
                rest.split(' ').nth(2) == Some(&group.to_string()) && rest.starts_with('R')
            })
            .count()
    };
    let cores = std::thread::available_parallelism().unwrap().get();
    assert!(within(SOON, || members() >= cores), "{}", load.output());
    drop(load);
    assert_eq!(members(), 0);
}
