//! A systemd unit in place of scripts, with a stand-in for `systemctl`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ha_core::linux::cgroup::Cgroup;
use ha_core::linux::unit::{Unit, UnitSettings};

use crate::processes::{Groups, SOON};
use crate::scripts::{epoch, write};

struct Rig {
    unit: Unit,
    group: Cgroup,
    folder: tempfile::TempDir,
    _groups: Groups,
}

impl Rig {
    /// `stop` is what the stand-in does to stop, in the group's folder.
    fn new(stop: &str) -> Option<Self> {
        let groups = Groups::new()?;
        let group = groups.group("unit");
        let folder = tempfile::tempdir().unwrap();
        let below = group.folder().strip_prefix(Cgroup::root().unwrap()).unwrap();
        let systemctl = format!(
            "cd {}; echo \"$@\" >> {}/calls\n\
             case $1 in\n\
             start) setsid sh -c 'echo $$ > cgroup.procs; exec sleep 1000' \
             < /dev/null > /dev/null 2>&1 & while ! grep -q . cgroup.procs; do :; done;;\n\
             show) echo /{};;\n\
             stop) {stop};;\n\
             kill) echo 1 > cgroup.kill; while grep -q . cgroup.procs; do :; done;;\n\
             esac",
            group.folder().display(),
            folder.path().display(),
            below.display()
        );
        write(folder.path(), &[("systemctl", &systemctl)]);
        let unit = Unit::new(UnitSettings {
            systemctl: folder.path().join("systemctl"),
            name: "shop.service".into(),
            start: SOON,
            stop: Duration::from_millis(500),
        });
        Some(Self { unit: unit.unwrap(), group, folder, _groups: groups })
    }

    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("calls")).unwrap();
        text.lines().map(String::from).collect()
    }

    fn is_empty(&self) -> bool {
        self.group.is_empty().unwrap()
    }
}

const START: &str = "start -- shop.service";
const SHOW: &str = "show --property=ControlGroup --value -- shop.service";
const STOP: &str = "stop -- shop.service";
const KILL: &str = "kill --signal=KILL -- shop.service";

#[test]
fn a_unit_is_started_and_stopped_by_its_name() {
    let Some(rig) = Rig::new("kill $(cat cgroup.procs)") else { return };
    rig.unit.start(epoch(1)).unwrap();
    assert!(!rig.is_empty());
    rig.unit.stop(false).unwrap();
    assert_eq!((rig.calls(), rig.is_empty()), (vec![START.into(), SHOW.into(), STOP.into()], true));
}

#[test]
fn a_stop_that_hangs_ends_in_a_kill() {
    let hangs = "grep -q . cgroup.procs && sleep 1000";
    let Some(rig) = Rig::new(&format!("if {hangs}; then :; fi")) else { return };
    rig.unit.start(epoch(1)).unwrap();
    rig.unit.stop(false).unwrap();
    assert!(rig.is_empty());
    assert_eq!(rig.calls()[2..], [STOP, KILL, STOP].map(String::from));
}

#[test]
fn what_is_fenced_is_frozen_and_never_runs_again() {
    let Some(rig) = Rig::new("true") else { return };
    rig.unit.start(epoch(1)).unwrap();
    rig.unit.fence(epoch(1), SOON).unwrap();
    assert!(rig.group.is_frozen().unwrap());
    rig.unit.start(epoch(1)).unwrap_err();
    assert_eq!(rig.calls().len(), 2, "a start after the fence asks for nothing");
    assert!(rig.unit.kill_frozen().unwrap());
    assert!(rig.is_empty());
    rig.unit.stop(true).unwrap();
    rig.unit.start(epoch(1)).unwrap();
    assert!(!rig.is_empty());
}

#[test]
fn a_unit_that_cannot_be_frozen_is_killed() {
    let Some(rig) = Rig::new("true") else { return };
    rig.unit.fence(epoch(1), SOON).unwrap();
    assert_eq!(rig.calls(), [KILL], "nobody knows where its processes are");
}

#[test]
fn a_unit_that_does_not_freeze_is_killed_without_systemd() {
    let Some(rig) = Rig::new("true") else { return };
    rig.unit.start(epoch(1)).unwrap();
    let _numb = Mounted::over(rig.group.folder().join("cgroup.freeze"));
    rig.unit.fence(epoch(1), SOON / 20).unwrap();
    assert!(rig.is_empty());
    assert_eq!(rig.calls(), [START, SHOW], "the kernel alone does it");
}

/// `/dev/null` in the place of a file, until this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn over(file: PathBuf) -> Self {
        let done = Command::new("mount").args(["--bind", "/dev/null"]).arg(&file).status();
        assert!(done.unwrap().success());
        Self(file)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(&self.0).status();
        assert!(done.unwrap().success() || std::thread::panicking());
    }
}

#[test]
fn a_systemd_that_does_not_answer_is_not_waited_for() {
    let Some(rig) = Rig::new("true") else { return };
    write(rig.folder.path(), &[("systemctl", "exec sleep 1000")]);
    let error = rig.unit.place().unwrap_err().to_string();
    assert_eq!(error, "systemctl show shop.service: no answer");
}

#[test]
fn a_failure_says_what_was_asked_and_where_to_look() {
    let Some(rig) = Rig::new("exit 5") else { return };
    let error = rig.unit.stop(false).unwrap_err().to_string();
    let says = "systemctl stop shop.service: exit status: 5: see journalctl -u shop.service";
    assert_eq!(error, says);
}
