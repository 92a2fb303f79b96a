//! A host of scripts, as the driver calls it.

use std::fs;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use ha_core::Event;
use ha_core::driver::{Guard, Host, HostError};
use ha_core::linux::scripts::Scripts;
use ha_core::linux::service::{Addresses, Bounds, ScriptGuard, ScriptHost};
use ha_core::proto::{Epoch, Role, Seq};

use crate::processes::{Groups, SOON, count, pause, wait};
use crate::scripts::{epoch, settings, write};

const BOUNDS: Bounds = Bounds { fence: SOON, patience: None };

/// Addresses that say what is done with them.
#[derive(Debug)]
struct Said(Sender<String>);

impl Addresses for Said {
    fn take(&mut self, epoch: Epoch, lifetime: Duration) -> Result<(), HostError> {
        Ok(self.0.send(format!("take in {epoch} for {lifetime:?}"))?)
    }

    fn keep(&mut self, lifetime: Duration) -> Result<(), HostError> {
        Ok(self.0.send(format!("keep for {lifetime:?}"))?)
    }

    fn release(&mut self) -> Result<(), HostError> {
        Ok(self.0.send("release".into())?)
    }
}

struct Rig {
    host: ScriptHost,
    guard: ScriptGuard,
    said: Receiver<String>,
    folder: tempfile::TempDir,
    groups: Groups,
}

impl Rig {
    fn new(scripts: &[(&str, &str)]) -> Option<Self> {
        let groups = Groups::new()?;
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), scripts);
        let scripts = Scripts::new(settings(folder.path(), &groups)).unwrap();
        let (say, said) = channel();
        let mut host = ScriptHost::new(scripts, Box::new(Said(say)), BOUNDS, None, None).unwrap();
        let guard = host.guard();
        Some(Self { host, guard, said, folder, groups })
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    fn role(&mut self, from: Role, to: Role) {
        self.host.observe(&Event::Role { from, to, ready: false });
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

const NOTE: &str = "echo ${0##*/} $1 $2 $3 >> said";

const ALL: [(&str, &str); 7] = [
    ("prestart", NOTE),
    ("start_prim", NOTE),
    ("stop_prim", NOTE),
    ("start_both", NOTE),
    ("stop_both", NOTE),
    ("transition", NOTE),
    ("poststop", NOTE),
];

#[test]
fn the_scripts_follow_the_role_each_in_its_turn() {
    let Some(mut rig) = Rig::new(&ALL) else { return };
    rig.role(Role::Stop, Role::Wait);
    rig.role(Role::Wait, Role::Second);
    rig.role(Role::Second, Role::Prim);
    now(rig.host.start(epoch(1), Seq::ZERO)).unwrap();
    rig.role(Role::Prim, Role::Alone);
    now(rig.host.stop(false)).unwrap();
    rig.role(Role::Alone, Role::Stop);
    let expected = [
        "prestart STOP WAIT prestart",
        "transition STOP WAIT transition",
        "start_both WAIT SECOND start",
        "transition WAIT SECOND transition",
        "transition SECOND PRIM transition",
        "start_prim SECOND PRIM start",
        "transition PRIM ALONE transition",
        "stop_prim ALONE WAIT stop",
        "stop_both ALONE STOP stop",
        "transition ALONE STOP transition",
        "poststop ALONE STOP poststop",
    ];
    assert_eq!(rig.read("said").lines().collect::<Vec<_>>(), expected);
}

/// Between any two reigns a node waits: what runs on both would be restarted by each takeover.
#[test]
fn what_runs_on_both_nodes_runs_on_while_the_module_waits() {
    let Some(mut rig) = Rig::new(&[("start_both", NOTE), ("stop_both", NOTE)]) else { return };
    let mut before = Role::Stop;
    for role in [Role::Wait, Role::Second, Role::Wait, Role::Prim, Role::Wait, Role::Second] {
        rig.role(before, role);
        before = role;
    }
    assert_eq!(rig.read("said"), "start_both WAIT SECOND start\n");
    rig.role(Role::Second, Role::Wait);
    rig.role(Role::Wait, Role::Stop);
    assert_eq!(rig.read("said"), "start_both WAIT SECOND start\nstop_both WAIT STOP stop\n");
}

#[test]
fn an_end_leaves_nothing_behind() {
    let service = "setsid sleep 1000 < /dev/null > /dev/null 2>&1 & echo $! > pid";
    let scripts = [("start_both", service), ("stop_both", "kill $(cat pid)"), ("poststop", NOTE)];
    let Some(mut rig) = Rig::new(&scripts) else { return };
    rig.role(Role::Stop, Role::Second);
    assert!(!rig.groups.0.is_empty().unwrap());
    let Rig { host, folder, groups, .. } = rig;
    drop(host);
    assert!(groups.0.is_empty().unwrap());
    let said = fs::read_to_string(folder.path().join("said")).unwrap();
    assert_eq!(said, "poststop SECOND STOP poststop\n");
}

#[test]
fn a_fence_stops_the_service_at_once_and_the_scripts_follow() {
    let service = "setsid sh -c 'i=0; while :; do i=$((i+1)); echo $i > count; sleep 0.005; done' \
        < /dev/null > /dev/null 2>&1 &";
    let Some(mut rig) = Rig::new(&[("start_prim", service), ("stop_prim", NOTE)]) else { return };
    now(rig.guard.take_address(epoch(1), SOON)).unwrap();
    now(rig.host.start(epoch(1), Seq::ZERO)).unwrap();
    now(rig.guard.keep_address(SOON)).unwrap();
    let file = rig.folder.path().join("count");
    wait("a service", || count(&file) > 2);
    now(rig.guard.fence(epoch(1))).unwrap();
    let seen = rig.read("count");
    pause("0.05");
    assert_eq!(rig.read("count"), seen);
    now(rig.guard.drop_address()).unwrap();
    now(rig.host.stop(true)).unwrap();
    assert_eq!(rig.read("said"), "stop_prim STOP STOP force\n");
    assert!(rig.groups.0.is_empty().unwrap());
    let said: Vec<_> = rig.said.try_iter().collect();
    assert_eq!(said, ["take in 1.0 for 20s", "keep for 20s", "release"]);
    now(rig.host.start(epoch(1), Seq::ZERO)).unwrap();
    wait("it goes on after the stop", || count(&file) > 0 && !group_is_empty(&rig.groups));
}

fn group_is_empty(groups: &Groups) -> bool {
    groups.group("prim").is_empty().unwrap()
}

#[test]
fn what_one_daemon_leaves_the_next_one_goes_on_with() {
    let Some(mut rig) = Rig::new(&ALL) else { return };
    rig.role(Role::Stop, Role::Prim);
    now(rig.guard.take_address(epoch(1), SOON)).unwrap();
    now(rig.host.start(epoch(1), Seq::ZERO)).unwrap();
    let said = rig.read("said");
    let mut guard = rig.guard;
    guard.leave();
    rig.host.leave();
    drop((guard, rig.host));
    let read = || fs::read_to_string(rig.folder.path().join("said")).unwrap();
    assert_eq!(read(), said, "no script was called");
    assert_eq!(rig.said.try_iter().count(), 1, "the addresses stay as they were taken");

    let scripts = Scripts::new(settings(rig.folder.path(), &rig.groups)).unwrap();
    let (say, addresses) = channel();
    let mut host = ScriptHost::new(scripts, Box::new(Said(say)), BOUNDS, None, None).unwrap();
    let mut guard = host.guard();
    host.observe(&Event::Resumed(Role::Prim));
    now(guard.adopt_address(epoch(1), SOON)).unwrap();
    now(host.adopt(epoch(1), Seq::ZERO)).unwrap();
    assert_eq!(read(), said, "nothing is started again");
    host.observe(&Event::Role { from: Role::Prim, to: Role::Alone, ready: true });
    now(host.stop(false)).unwrap();
    now(guard.drop_address()).unwrap();
    host.observe(&Event::Role { from: Role::Alone, to: Role::Stop, ready: false });
    let expected = [
        "transition PRIM ALONE transition",
        "stop_prim ALONE WAIT stop",
        "stop_both ALONE STOP stop",
        "transition ALONE STOP transition",
        "poststop ALONE STOP poststop",
    ];
    assert_eq!(read()[said.len()..].lines().collect::<Vec<_>>(), expected);
    let addresses: Vec<_> = addresses.try_iter().collect();
    assert_eq!(addresses, ["take in 1.0 for 20s", "release"]);
}

#[test]
fn a_fence_of_nothing_holds_nothing_back() {
    let Some(mut rig) = Rig::new(&ALL) else { return };
    now(rig.guard.fence(Epoch::NONE)).unwrap();
    now(rig.host.start(epoch(1), Seq::ZERO)).unwrap();
    assert!(rig.read("said").ends_with("start_prim STOP PRIM start\n"));
}

#[test]
fn a_failed_start_is_told_with_the_script_that_failed() {
    let scripts = [("start_prim", "exit 7"), ("stop_prim", "")];
    let Some(mut rig) = Rig::new(&scripts) else { return };
    let error = now(rig.host.start(epoch(1), Seq::ZERO)).unwrap_err().to_string();
    assert!(error.starts_with("start_prim failed (exit status: 7)"), "{error}");
}
