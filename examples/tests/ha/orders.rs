//! Orders: shown, confirmed, given, and done only when it is so.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use bytes::Bytes;
use ha_core::OrderError;
use ha_core::control::ModuleStatus;
use ha_core::driver::Arbiter;
use ha_lab::within;
use ha_proto::Role;

use crate::desk::{PATIENCE, Station, pair};
use crate::program::{Said, at, shape};
use crate::rig::{Pair, block_on, until};

const SWAP: &str = "web: plan takes N t\n\
    1. stop the application on node0\n\
    2. hand over to node1, which starts the application\n\
    3. node0 follows node1\n\
    the service is away for N t meanwhile\n";

#[test]
fn a_swap_is_shown_confirmed_and_done_when_the_other_node_serves() {
    let mut rig = Pair::new();
    let _arbiter = rig.arbiter();
    let [first, second] = pair(&rig);
    let planned = at(&first.socket, &["swap", "--plan"]);
    assert_eq!((planned.code, shape(&planned.out)), (0, SWAP.to_string()));
    let asked = at(&first.socket, &["swap"]);
    assert_eq!((asked.code, &*asked.err), (77, "ha: swap is confirmed first: add --yes\n"));
    assert_eq!(shape(&asked.out), SWAP, "the plan is shown before");
    assert!(first.host.look(|seen| seen.serving), "nothing was done");
    let elsewhere = at(&second.socket, &["swap", "--yes", "--force"]);
    let text = "ha: this node is not the primary: order the swap at the other node\n";
    assert_eq!((elsewhere.code, &*elsewhere.err), (1, text));
    let done = at(&first.socket, &["swap", "--yes"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(shape(&done.out), format!("{SWAP}swap: done in N t\n"));
    assert!(second.host.look(|seen| seen.serving), "0 means that it was observed");
    let again = at(&first.socket, &["op", "1"]);
    assert_eq!((again.code, shape(&again.out)), (0, "swap: done in N t\n".to_string()));
}

#[test]
fn what_is_unsafe_names_the_flag_and_yes_is_not_that_flag() {
    let rig = Pair::new();
    let station = Station::start(&rig, 0);
    let kept = at(&station.socket, &["prim", "--keep", "node1", "--yes"]);
    let text = "ha: the data of node1 are kept by an order there: on node1: ha prim --keep node1\n";
    assert_eq!((kept.code, &*kept.err), (1, text));
    assert_eq!(at(&station.socket, &["prim", "--keep", "node7", "--yes"]).code, 64);
    let prim = at(&station.socket, &["prim", "--keep", "node0", "--yes"]);
    assert_eq!(prim.code, 0, "{prim:?}");
    let stop = at(&station.socket, &["stop", "--yes"]);
    assert_eq!(stop.code, 107);
    assert!(stop.err.ends_with("--force stops it all the same\n"), "{stop:?}");
    let asked = at(&station.socket, &["stop", "--force"]);
    assert_eq!(asked.code, 77, "a check that is overridden is still confirmed");
    assert!(station.host.look(|seen| seen.serving));
    let forced = at(&station.socket, &["primforce", "--yes"]);
    assert_eq!(forced.code, 107);
    assert_eq!(at(&station.socket, &["stop", "--yes", "--force"]).code, 0);
    assert_eq!(at(&station.socket, &["role", "-q"]).code, 0, "STOP");
    assert!(!station.host.look(|seen| seen.serving));
    assert_eq!(at(&station.socket, &["restart", "--yes"]).code, 1, "nothing runs");
}

#[test]
fn an_order_that_still_runs_has_a_number() {
    let rig = Pair::new();
    let mut raw = rig.raw(0, 0);
    (raw.autostart, raw.bootstrap) = (false, false);
    let station = Station::run(&rig, raw);
    station.is(Role::Stop);
    let running = at(&station.socket, &["start", "--timeout", "100ms"]);
    assert_eq!(
        (running.code, running.out.lines().last().unwrap()),
        (124, "start: still running: ha op 1")
    );
    assert_eq!(at(&station.socket, &["op", "1", "--timeout", "100ms"]).code, 124);
    assert_eq!(at(&station.socket, &["op", "2"]).code, 64);
    assert_eq!(at(&station.socket, &["prim", "--keep", "node0", "--yes"]).code, 0);
    let done = at(&station.socket, &["op", "1"]);
    assert_eq!((done.code, shape(&done.out)), (0, "start: done in N t\n".to_string()));
}

/// A pair whose nodes ended together while no witness answered: both are in the set, and whichever
/// comes first may take over.
fn ended_together(rig: &mut Pair) -> Arbiter {
    let arbiter = rig.arbiter();
    let both = pair(rig);
    drop(arbiter);
    drop(both);
    rig.arbiter()
}

fn is_down(why: &str) -> impl FnMut(&ModuleStatus) -> bool {
    move |status| status.down.as_ref().is_some_and(|down| down.why == why)
}

#[test]
fn a_node_that_is_ordered_to_be_second_waits_where_prim_serves() {
    let mut rig = Pair::new();
    let _arbiter = ended_together(&mut rig);
    let mut raw = rig.raw(1, 0);
    raw.autostart = false;
    let station = Station::run(&rig, raw);
    station.is(Role::Stop);
    let second = at(&station.socket, &["second"]);
    let done = shape(&second.out).ends_with("second: done in N t\n");
    assert!(second.code == 0 && done, "{second:?}");
    station.watch(is_down("node1 was ordered to wait for node0"));
    // Longer than the witness's grace and all that this node may have promised.
    let serves = at(&station.socket, &["wait", "serving", "--timeout", "4s"]);
    assert_eq!(serves.code, 124, "{serves:?}");
    assert_eq!(at(&station.socket, &["role", "-q"]).code, 1, "WAIT");
    let prim = at(&station.socket, &["prim", "--keep", "node1", "--yes"]);
    assert_eq!(prim.code, 0, "{prim:?}");
    assert_eq!(at(&station.socket, &["role", "-q"]).code, 2, "ALONE");
    assert!(station.host.look(|seen| seen.serving));
}

#[test]
fn primforce_serves_what_is_here_and_the_other_node_sets_aside_what_only_it_had() {
    let mut rig = Pair::new();
    let _arbiter = rig.arbiter();
    let [first, second] = pair(&rig);
    drop(second);
    first.is(Role::Alone);
    block_on(first.handle.propose(Bytes::from_static(b"only here"))).unwrap();
    drop(first);
    let second = Station::start(&rig, 1);
    second.watch(is_down("the data of node1 may be stale: node0 went on without it"));
    assert_eq!(at(&second.socket, &["prim", "--keep", "node1", "--yes"]).code, 107);
    let order = ["primforce", "--yes"];
    let passes =
        [OrderError::LeaseRuns, OrderError::Promised].map(|error| format!("ha: {error}\n"));
    let mut forced = at(&second.socket, &order);
    within(PATIENCE, || {
        let refused = passes.contains(&forced.err);
        if refused {
            forced = at(&second.socket, &order);
        }
        !refused
    });
    assert_eq!(forced.code, 0, "{forced:?}");
    assert!(shape(&forced.out).ends_with("primforce: done in N t\n"), "{forced:?}");
    assert!(second.host.look(|seen| seen.serving), "0 means that it was observed");
    let history = at(&second.socket, &["history"]);
    let line = history.out.lines().last().unwrap();
    assert!(line.contains(" forced: "), "{history:?}");
    assert!(line.ends_with("at risk: what only the other node had acknowledged"), "{history:?}");
    // The witness is told until it has it, under a counter above both.
    let recorded = until(&second.handle, "recorded", |it| !it.membership.epoch.is_override());
    assert!(block_on(recorded).serving);
    let first = Station::start(&rig, 0);
    first.is(Role::Second);
    second.is(Role::Prim);
    assert_eq!(first.host.records(), second.host.records());
    assert!(first.host.records().is_empty(), "{:?}", first.host.records());
    let aside = |name: &str| name.starts_with("aside-");
    let mut names = fs::read_dir(rig.folder.path().join("0-0")).unwrap();
    assert!(names.any(|entry| aside(&entry.unwrap().file_name().to_string_lossy())));
}

#[test]
fn settings_take_hold_at_once_and_a_silent_witness_is_no_vote() {
    let mut rig = Pair::new();
    let arbiter = rig.arbiter();
    let [first, second] = pair(&rig);
    assert_eq!(at(&second.socket, &["failover", "off"]).code, 0);
    assert_eq!(at(&second.socket, &["check"]).code, 1);
    assert_eq!(at(&second.socket, &["failover", "on"]).code, 0);
    assert_eq!(at(&second.socket, &["maintenance", "on", "--for", "2h"]).code, 0);
    let status = at(&second.socket, &["status"]);
    assert!(status.out.contains("maintenance on node1 for another 2 h"), "{status:?}");
    assert_eq!(at(&second.socket, &["maintenance", "off"]).code, 0);
    assert_eq!(at(&second.socket, &["checkers", "off"]).code, 0);
    drop(arbiter);
    first.watch(|status| status.witness.as_ref().is_some_and(|witness| !witness.answers));
    let refused = at(&first.socket, &["swap", "--yes"]);
    let text = "ha: the witness does not answer: order the swap again once it does\n";
    assert_eq!((refused.code, &*refused.err), (106, text));
    assert_eq!(at(&first.socket, &["reload"]).code, 78);
}

#[test]
fn somebody_without_the_group_is_told_which_one_is_missing() {
    if !ha_lab::root_or_skip() {
        return;
    }
    let rig = Pair::new();
    let station = Station::start(&rig, 0);
    let folder = rig.folder.path();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    // Where this user can reach it.
    let program = folder.join("ha");
    fs::copy(env!("CARGO_BIN_EXE_ha"), &program).unwrap();
    let nobody = |words: &[&str]| {
        let mut command = Command::new(&program);
        command.arg("--socket").arg(&station.socket).args(words);
        Said::of(command.stdin(Stdio::null()).uid(65_534).gid(65_534).output().unwrap())
    };
    let seen = nobody(&["status"]);
    let text = "ha: not allowed: who may see is root or in the group ha or ha-admin (usermod -aG ha \
        USER)\n";
    assert_eq!((seen.code, &*seen.err), (77, text));
    assert_eq!(nobody(&["swap", "--yes"]).code, 77);
    fs::set_permissions(&station.socket, fs::Permissions::from_mode(0o600)).unwrap();
    let shut = nobody(&["status"]);
    assert_eq!(shut.code, 77);
    assert!(shut.err.starts_with("ha: not allowed to use "), "{shut:?}");
}
