//! Whatever a module starts is frozen, killed and counted together.

use std::path::Path;
use std::time::Duration;

use ha_core::linux::cgroup::{Cgroup, NOT_JOINED};

use crate::processes::{Groups, SOON, count, counter, pause, run, wait};

#[test]
fn a_grandchild_in_a_session_of_its_own_is_still_in_the_group() {
    let Some(groups) = Groups::new() else { return };
    let group = groups.group("one");
    assert!(group.is_empty().unwrap());
    run(&group, "(setsid sleep 1000 &) < /dev/null > /dev/null 2>&1");
    assert!(!group.is_empty().unwrap());
    assert!(!group.wait_empty(Duration::from_millis(20)).unwrap());
    group.kill().unwrap();
    assert!(group.wait_empty(SOON).unwrap());
    group.remove().unwrap();
    group.remove().unwrap();
    group.is_empty().unwrap_err();
}

#[test]
fn a_wait_ends_with_the_last_process() {
    let Some(groups) = Groups::new() else { return };
    let group = groups.group("one");
    let mut child = group.command(Path::new("/bin/sh")).args(["-c", "sleep 0.1"]).spawn().unwrap();
    wait("the child in its group", || !group.is_empty().unwrap());
    assert!(group.wait_empty(SOON).unwrap());
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_is_frozen_does_nothing_until_it_is_thawed() {
    let Some(groups) = Groups::new() else { return };
    let group = groups.group("one");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("count");
    counter(&group, &file);
    group.freeze().unwrap();
    assert!(group.wait_frozen(SOON).unwrap());
    let seen = count(&file);
    pause("0.1");
    assert_eq!(count(&file), seen);
    group.thaw().unwrap();
    wait("it goes on", || count(&file) > seen);
}

#[test]
fn what_is_frozen_can_be_killed() {
    let Some(groups) = Groups::new() else { return };
    let group = groups.group("one");
    let folder = tempfile::tempdir().unwrap();
    counter(&group, &folder.path().join("count"));
    group.freeze().unwrap();
    assert!(group.wait_frozen(SOON).unwrap());
    group.kill().unwrap();
    assert!(group.wait_empty(SOON).unwrap());
}

#[test]
fn what_joins_a_frozen_group_does_not_begin() {
    let Some(groups) = Groups::new() else { return };
    let group = groups.group("one");
    group.freeze().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let mut child = group.command(Path::new("/bin/touch")).arg(&mark).spawn().unwrap();
    wait("it joined", || !group.is_empty().unwrap());
    assert!(group.wait_frozen(SOON).unwrap());
    assert!(!mark.exists());
    group.thaw().unwrap();
    assert!(child.wait().unwrap().success());
    assert!(mark.exists());
}

#[test]
fn nothing_runs_outside_of_a_group_that_is_gone() {
    let Some(groups) = Groups::new() else { return };
    let group = groups.group("one");
    group.remove().unwrap();
    let status = group.command(Path::new("/bin/true")).status().unwrap();
    assert_eq!(status.code(), Some(NOT_JOINED));
}

#[test]
fn the_hierarchy_can_be_mounted_where_nobody_has() {
    if !ha_lab::root_or_skip() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("cgroup");
    Cgroup::mount_at(&place).unwrap();
    let seen = place.join("cgroup.procs").exists();
    rustix::mount::unmount(&place, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert!(seen);
}
