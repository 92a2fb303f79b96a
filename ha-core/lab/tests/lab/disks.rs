//! A disk that hangs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use ha_lab::{Disk, now, within};

use crate::SOON;

fn mounted(place: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().any(|line| line.split(' ').nth(1) == place.to_str())
}

/// What a process does: `D` waits for a disk and hears no signal, `Z` was killed.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

#[test]
fn who_writes_to_a_frozen_disk_waits_until_it_thaws_and_nothing_is_left() {
    let Some(disk) = Disk::root_or_skip("frozen") else { return };
    let (place, file) = (disk.path(), disk.path().join("file"));
    fs::write(&file, "before").unwrap();
    let frozen = disk.freeze().unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "before", "reads go on");
    let began = now();
    let script = "echo after > file && echo done > \"$0\"";
    let done = place.parent().unwrap().join("done");
    let mut writer = Command::new("sh");
    writer.args(["-c", script]).arg(&done).current_dir(&place);
    let mut writer = writer.spawn().unwrap();
    // In the kernel, where no signal reaches it.
    assert!(within(SOON, || state(writer.id()) == Some('D')));
    frozen.thaw();
    assert!(writer.wait().unwrap().success() && done.exists());
    assert_eq!(fs::read_to_string(&file).unwrap(), "after\n");
    println!("it hung for {:?}", now().saturating_since(began));
    drop(disk);
    assert!(!mounted(&place) && !place.parent().unwrap().exists());
}

#[test]
fn a_disk_that_a_killed_test_left_frozen_is_swept() {
    let Some(disk) = Disk::root_or_skip("left") else { return };
    // As a test leaves it that was killed while a thread of it waited for the disk, and so is not
    // gone: what a sweep knows is its number, in the folder's name.
    let mut writer = Command::new("sh");
    writer.args(["-c", "read -r line && echo after > file"]).current_dir(disk.path());
    let mut writer = writer.stdin(Stdio::piped()).spawn().unwrap();
    let dead = std::env::temp_dir().join(format!("halab-{}-0-left", writer.id()));
    fs::create_dir_all(dead.join("mounted")).unwrap();
    let mut bind = Command::new("mount");
    bind.arg("--bind").arg(disk.path()).arg(dead.join("mounted"));
    assert!(bind.status().unwrap().success());
    let frozen = disk.freeze().unwrap();
    writer.kill().unwrap();
    assert!(within(SOON, || state(writer.id()) == Some('Z')));
    let next = Disk::root_or_skip("next").unwrap();
    assert!(within(SOON, || !mounted(&dead.join("mounted"))));
    // The sweep has thawed it.
    fs::write(disk.path().join("file"), "it works").unwrap();
    writer.wait().unwrap();
    drop(Disk::root_or_skip("last").unwrap());
    assert!(within(SOON, || !dead.exists()), "another sweep may be at it");
    drop((frozen, next));
}
