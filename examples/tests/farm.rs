//! The demonstration itself, as an audience without root starts it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

#[test]
fn servers_of_a_farm_die_drain_and_come_back_and_only_the_dead_ones_clients_notice() {
    let mut example = std::env::current_exe().expect("this test runs from a file");
    // target/<profile>/deps/<this test>: the examples are beside `deps`.
    example.pop();
    example.pop();
    example.push("examples/farm");
    assert!(example.exists(), "{} is not built: cargo build --example farm", example.display());
    // The folder that it was built in may be root's alone.
    let folder = tempfile::tempdir().expect("a folder for it");
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("anybody may read it");
    let here = folder.path().join("farm");
    fs::copy(&example, &here).expect("there is room for it");
    let mut played = Command::new(here);
    played.args(["--scene", "3", "--clients", "24"]);
    if rustix::process::geteuid().is_root() {
        played.uid(NOBODY).gid(NOBODY);
    }
    let played = played.output().expect("the demonstration starts");
    let told = String::from_utf8_lossy(&played.stdout);
    let why = String::from_utf8_lossy(&played.stderr);
    assert!(played.status.success(), "{told}\n{why}");
    assert!(told.starts_with("Not root: the same farm"), "{told}");
    assert!(told.contains("connections that two servers answered  0"), "{told}");
}

/// Who has no rights.
const NOBODY: u32 = 65_534;
