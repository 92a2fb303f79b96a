//! Scripts of a module: what they are told, what "stopped" means, and that they never overlap.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ha_core::driver::Clock;
use ha_core::linux::scripts::{Script, ScriptError, Scripts, Service, Settings, Shift};
use ha_core::proto::{Epoch, Instant, NodeId, Role};

use crate::processes::{Groups, SOON, count, wait};

/// Scripts in a folder of their own, and groups of their own.
struct Rig {
    scripts: Arc<Scripts>,
    folder: tempfile::TempDir,
    /// Ends after the scripts, which may run until then.
    _groups: Groups,
}

impl Rig {
    fn new(scripts: &[(&str, &str)]) -> Option<Self> {
        Self::with(scripts, |_| ())
    }

    fn with(scripts: &[(&str, &str)], change: impl FnOnce(&mut Settings)) -> Option<Self> {
        let groups = Groups::new()?;
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), scripts);
        let mut settings = settings(folder.path(), &groups);
        change(&mut settings);
        let scripts = Arc::new(Scripts::new(settings).unwrap());
        Some(Self { scripts, folder, _groups: groups })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn start(&self, counter: u64) -> Result<(), ScriptError> {
        self.scripts.start(Service::Prim, shift(counter))
    }

    fn stop(&self, force: bool) -> Result<(), ScriptError> {
        self.scripts.stop(Service::Prim, shift(1), force)
    }

    fn is_empty(&self) -> bool {
        self.scripts.group(Service::Prim).is_empty().unwrap()
    }
}

pub(crate) fn settings(folder: &Path, groups: &Groups) -> Settings {
    Settings {
        folder: folder.into(),
        run: folder.join("run"),
        log: folder.join("log"),
        log_bytes: 100_000,
        group: groups.0.folder().into(),
        module: "shop".into(),
        node: "n1".into(),
        start: SOON,
        stop: SOON,
        force: SOON,
    }
}

/// Writes shell scripts, executable.
pub(crate) fn write(folder: &Path, scripts: &[(&str, &str)]) {
    for (name, text) in scripts {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

pub(crate) fn epoch(counter: u64) -> Epoch {
    Epoch::new(counter, NodeId::new(0).unwrap())
}

fn shift(counter: u64) -> Shift {
    Shift { from: Role::Wait, to: Role::Prim, epoch: epoch(counter) }
}

/// A service that leaves its script's session and ignores every polite signal.
const STUBBORN: &str = "setsid sh -c 'trap \"\" TERM HUP INT; while :; do sleep 1; done' \
    < /dev/null > /dev/null 2>&1 & exit 0";

#[test]
fn a_script_is_told_what_happens_by_arguments_and_environment() {
    let says = "echo \"$@\"; echo $HA_OLD_ROLE $HA_ROLE $HA_ACTION $HA_EPOCH $HA_MODULE $HA_NODE";
    let Some(rig) = Rig::new(&[("start_prim", says), ("stop_prim", says)]) else { return };
    rig.start(3).unwrap();
    rig.stop(false).unwrap();
    rig.stop(true).unwrap();
    wait("all lines", || rig.read("log").lines().count() == 6);
    let log = rig.read("log");
    let mut lines: Vec<_> = log.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    lines.sort_unstable();
    let expected = [
        "start_prim: WAIT PRIM start 768",
        "start_prim: WAIT PRIM start 768 shop n1",
        "stop_prim: WAIT PRIM force 256",
        "stop_prim: WAIT PRIM force 256 shop n1",
        "stop_prim: WAIT PRIM stop 256",
        "stop_prim: WAIT PRIM stop 256 shop n1",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn stopped_means_that_a_daemonised_grandchild_is_gone_too() {
    let short = |settings: &mut Settings| {
        settings.stop = Duration::from_millis(50);
        settings.force = Duration::from_millis(50);
    };
    let scripts = [("start_prim", STUBBORN), ("stop_prim", "echo $3 >> said")];
    let Some(rig) = Rig::with(&scripts, short) else { return };
    rig.start(1).unwrap();
    assert!(!rig.is_empty());
    rig.stop(false).unwrap();
    assert!(rig.is_empty());
    assert_eq!(rig.read("said"), "stop\nforce\n", "graceful first, then by force, then killed");
    let runs = rig.scripts.runs().last();
    let ended: Vec<_> = runs.iter().map(|run| (run.script, run.result)).collect();
    assert_eq!(ended, [("start_prim", "ok"), ("stop_prim", "ok")]);
    assert!(runs.iter().all(|run| !run.took.is_zero()), "{runs:?}");
}

#[test]
fn a_stop_that_overruns_is_called_again_with_force() {
    let stop = "echo $3 >> said; [ $3 = force ] || exec sleep 1000; kill $(cat pid)";
    let start = "sleep 1000 < /dev/null > /dev/null 2>&1 & echo $! > pid";
    let short = |settings: &mut Settings| settings.stop = Duration::from_millis(100);
    let Some(rig) = Rig::with(&[("start_prim", start), ("stop_prim", stop)], short) else {
        return;
    };
    rig.start(1).unwrap();
    rig.stop(false).unwrap();
    assert!(rig.is_empty());
    assert_eq!(rig.read("said"), "stop\nforce\n");
}

#[test]
fn a_stop_that_does_it_is_not_called_again() {
    let start = "sleep 1000 < /dev/null > /dev/null 2>&1 & echo $! > pid";
    let stop = "echo $3 >> said; kill $(cat pid)";
    let Some(rig) = Rig::new(&[("start_prim", start), ("stop_prim", stop)]) else { return };
    rig.start(1).unwrap();
    rig.stop(false).unwrap();
    assert_eq!((rig.read("said").as_str(), rig.is_empty()), ("stop\n", true));
}

#[test]
fn a_start_that_fails_or_overruns_is_an_error() {
    let short = |settings: &mut Settings| settings.start = Duration::from_millis(50);
    let start = "[ $4 = 256 ] && exit 3; exec sleep 1000";
    let Some(rig) = Rig::with(&[("start_prim", start), ("stop_prim", "")], short) else { return };
    let error = rig.start(1).unwrap_err().to_string();
    assert!(error.starts_with("start_prim failed (exit status: 3)"), "{error}");
    let error = rig.start(2).unwrap_err().to_string();
    let told = "start_prim did not end within 50ms and was killed: its last lines are in the \
        module's log; let what stays run in the background, or raise the limit (start_timeout, \
        stop_timeout, force_timeout)";
    assert_eq!(error, told);
}

#[test]
fn a_fence_freezes_at_once_and_cancels_the_start() {
    let start = "echo begun > mark; i=0; while :; do i=$((i+1)); echo $i > count; sleep 0.01; done";
    let scripts = [("start_prim", start), ("stop_prim", "echo $3 >> said")];
    let Some(rig) = Rig::new(&scripts) else { return };
    let starter = Arc::clone(&rig.scripts);
    let starts = thread::spawn(move || starter.start(Service::Prim, shift(1)));
    wait("a start that is under way", || count(&rig.path("count")) > 1);
    rig.scripts.fence(epoch(1), SOON).unwrap();
    let cancelled = starts.join().unwrap().unwrap_err().to_string();
    assert!(cancelled.starts_with("start_prim of epoch 1.0 was cancelled"), "{cancelled}");
    fs::remove_file(rig.path("mark")).unwrap();
    rig.start(1).unwrap_err();
    assert!(!rig.path("mark").exists(), "nothing begins between a fence and the stop");
    rig.stop(true).unwrap();
    assert_eq!((rig.read("said").as_str(), rig.is_empty()), ("force\n", true));
}

#[test]
fn a_fence_ends_a_stop_that_is_under_way_and_the_next_one_clears_up() {
    let stop = "echo $3 >> said; [ $3 = force ] || sleep 600";
    let Some(rig) = Rig::new(&[("start_prim", STUBBORN), ("stop_prim", stop)]) else { return };
    rig.start(1).unwrap();
    let stopper = Arc::clone(&rig.scripts);
    let stops = thread::spawn(move || stopper.stop(Service::Prim, shift(1), false));
    // The file is there before the word is in it.
    let said = || fs::read_to_string(rig.path("said")).is_ok_and(|said| said == "stop\n");
    wait("a stop that is under way", said);
    rig.scripts.fence(epoch(1), SOON).unwrap();
    let cancelled = stops.join().unwrap().unwrap_err().to_string();
    assert!(cancelled.starts_with("stop_prim of epoch 1.0 was cancelled"), "{cancelled}");
    assert!(rig.scripts.kill_frozen(Service::Prim).unwrap());
    rig.stop(true).unwrap();
    assert_eq!((rig.read("said").as_str(), rig.is_empty()), ("stop\nforce\n", true));
}

#[test]
fn after_a_fence_what_was_frozen_never_runs_again() {
    let start = "setsid sh -c 'i=0; while :; do i=$((i+1)); echo $i > count; sleep 0.005; done' \
        < /dev/null > /dev/null 2>&1 &";
    let scripts = [("start_prim", start), ("stop_prim", "cat count > seen")];
    let short = |settings: &mut Settings| settings.force = Duration::from_millis(500);
    let Some(rig) = Rig::with(&scripts, short) else { return };
    rig.start(1).unwrap();
    wait("a service", || count(&rig.path("count")) > 2);
    rig.scripts.fence(epoch(1), SOON).unwrap();
    let frozen = rig.read("count");
    rig.stop(false).unwrap();
    assert_eq!(rig.read("seen"), frozen, "the stop script runs, and finds it as it was");
    rig.start(1).unwrap();
    rig.stop(true).unwrap();
}

#[test]
fn a_newer_reign_is_not_held_back_by_the_fence_of_an_older_one() {
    let start = "echo $4 >> started";
    let Some(rig) = Rig::new(&[("start_prim", start), ("stop_prim", "")]) else { return };
    rig.scripts.fence(epoch(1), SOON).unwrap();
    rig.start(1).unwrap_err();
    rig.start(2).unwrap();
    assert_eq!(rig.read("started"), "512\n");
}

#[test]
fn a_start_of_a_newer_reign_ends_one_that_is_under_way_with_all_that_it_started() {
    // The first one's child has left its process group, and ignores every polite signal.
    let start = "if [ $4 != 256 ]; then cat group/cgroup.procs > found; exit; fi\n\
        setsid sh -c 'trap \"\" TERM HUP INT; echo > child; while :; do sleep 1; done' \
        < /dev/null > /dev/null 2>&1 &\nexec sleep 1000";
    let Some(rig) = Rig::new(&[("start_prim", start), ("stop_prim", "")]) else { return };
    let group = rig.scripts.group(Service::Prim).folder();
    std::os::unix::fs::symlink(group, rig.path("group")).unwrap();
    let starter = Arc::clone(&rig.scripts);
    let starts = thread::spawn(move || starter.start(Service::Prim, shift(1)));
    wait("a start that is under way", || rig.path("child").exists());
    let processes = |text: String| text.lines().map(String::from).collect::<Vec<_>>();
    let before = processes(fs::read_to_string(group.join("cgroup.procs")).unwrap());
    assert!(before.len() >= 2, "{before:?}");
    rig.start(2).unwrap();
    let cancelled = starts.join().unwrap().unwrap_err().to_string();
    assert!(cancelled.starts_with("start_prim of epoch 1.0 was cancelled"), "{cancelled}");
    let found = processes(rig.read("found"));
    assert!(
        !found.is_empty() && found.iter().all(|it| !before.contains(it)),
        "{before:?} {found:?}"
    );
    let late = rig.start(1).unwrap_err();
    assert!(matches!(late, ScriptError::Cancelled { .. }), "{late}");
    rig.scripts.stop(Service::Prim, shift(2), true).unwrap();
    assert!(rig.is_empty());
}

#[test]
fn what_an_earlier_daemon_left_is_gone_before_a_start() {
    let scripts = [("start_prim", STUBBORN), ("stop_prim", "")];
    let short = |settings: &mut Settings| settings.force = Duration::from_millis(20);
    let Some(rig) = Rig::with(&scripts, short) else { return };
    rig.start(1).unwrap();
    let group = rig.scripts.group(Service::Prim);
    let before = fs::read_to_string(group.folder().join("cgroup.procs")).unwrap();
    rig.start(2).unwrap();
    let after = fs::read_to_string(group.folder().join("cgroup.procs")).unwrap();
    assert!(after.lines().all(|pid| before.lines().all(|old| old != pid)), "{before} {after}");
    rig.stop(true).unwrap();
}

/// A script joins its group a moment after it was begun, and is missed there until then.
#[test]
fn an_abort_ends_a_script_however_far_it_has_got() {
    for turn in 0..40 {
        let slow = [("start_both", "true"), ("stop_both", "echo $3 >> ran\nsleep 1000")];
        let limit = Duration::from_secs(100);
        let Some(rig) = Rig::with(&slow, |it| (it.stop, it.force) = (limit, limit)) else { return };
        rig.scripts.start(Service::Both, shift(1)).unwrap();
        let (abort, scripts) = (rig.scripts.abort(), Arc::clone(&rig.scripts));
        let stop = thread::spawn(move || scripts.stop(Service::Both, shift(1), false));
        let clock = Clock::start();
        while clock.now() < Instant::ZERO + Duration::from_micros(turn * 100) {
            thread::yield_now();
        }
        abort.now();
        wait("it ends", || stop.is_finished());
        stop.join().unwrap().unwrap();
        assert!(rig.scripts.group(Service::Both).is_empty().unwrap(), "turn {turn}");
        let refused = rig.scripts.start(Service::Both, shift(2)).unwrap_err();
        assert!(matches!(refused, ScriptError::Aborted(Script::StartBoth)), "{refused}");
    }
}

#[test]
fn the_log_of_a_talkative_script_stays_in_bounds() {
    let talk = "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i of many; done";
    let small = |settings: &mut Settings| settings.log_bytes = 5_000;
    let scripts = [("start_prim", talk), ("stop_prim", "")];
    let Some(rig) = Rig::with(&scripts, small) else { return };
    rig.start(1).unwrap();
    wait("the last line", || rig.read("log").contains("line 2000 of many"));
    for log in ["log", "log.1"] {
        assert!(fs::metadata(rig.path(log)).unwrap().len() <= 5_000, "{log}");
    }
}

#[test]
fn what_runs_on_both_nodes_outlives_what_runs_on_the_primary() {
    let both = "sleep 1000 < /dev/null > /dev/null 2>&1 &";
    let scripts = [("start_prim", ""), ("stop_prim", ""), ("start_both", both), ("stop_both", "")];
    let short = |settings: &mut Settings| {
        settings.stop = Duration::from_millis(20);
        settings.force = Duration::from_millis(20);
    };
    let Some(rig) = Rig::with(&scripts, short) else { return };
    rig.scripts.start(Service::Both, shift(1)).unwrap();
    rig.start(1).unwrap();
    rig.scripts.call(Script::Transition, shift(1)).unwrap();
    rig.stop(false).unwrap();
    assert!(!rig.scripts.group(Service::Both).is_empty().unwrap());
    rig.scripts.stop(Service::Both, shift(1), false).unwrap();
    assert!(rig.scripts.group(Service::Both).is_empty().unwrap());
}

/// FIELD row 13: scripts overlap or run out of order.
#[test]
fn field_13_a_flapping_right_never_makes_scripts_overlap() {
    // Each takes a while; one that finds another at work says so. A killed script leaves its mark,
    // with its number, so a mark of a process that lives is one that overlaps.
    let body = "for other in busy.*; do [ -e $other ] && kill -0 ${other#busy.} 2> /dev/null && \
        echo overlap >> wrong; done; touch busy.$$; echo $3 $4 >> order; sleep 0.03; rm busy.$$";
    let Some(rig) = Rig::new(&[("start_prim", body), ("stop_prim", body)]) else { return };
    // At 10 Hz: a right that comes, and is lost before its start has ended every other time.
    for counter in 1..=20 {
        let starter = Arc::clone(&rig.scripts);
        let starts = thread::spawn(move || starter.start(Service::Prim, shift(counter)));
        if counter % 2 == 0 {
            rig.scripts.fence(epoch(counter), SOON).unwrap();
        }
        let stopper = Arc::clone(&rig.scripts);
        let stops = thread::spawn(move || stopper.stop(Service::Prim, shift(counter), false));
        let _may_be_cancelled = starts.join().unwrap();
        stops.join().unwrap().unwrap();
    }
    rig.stop(true).unwrap();
    assert_eq!(rig.read("wrong"), "");
    let order = rig.read("order");
    let starts = order.lines().filter_map(|line| line.strip_prefix("start "));
    let starts: Vec<u64> = starts.map(|epoch| epoch.parse().unwrap()).collect();
    assert!(starts.is_sorted(), "{order}");
    assert!(order.lines().count() >= 20, "{order}");
}
