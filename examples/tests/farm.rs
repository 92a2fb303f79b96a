//! The demonstration itself, as an audience starts it.

use std::process::Command;

#[test]
fn servers_of_a_farm_die_drain_and_come_back_and_only_the_dead_ones_clients_notice() {
    let mut example = std::env::current_exe().expect("this test runs from a file");
    // target/<profile>/deps/<this test>: the examples are beside `deps`.
    example.pop();
    example.pop();
    example.push("examples/farm");
    assert!(example.exists(), "{} is not built: cargo build --example farm", example.display());
    let played =
        Command::new(example).args(["--user-space", "--scene", "3", "--clients", "24"]).output();
    let played = played.expect("the demonstration starts");
    let told = String::from_utf8_lossy(&played.stdout);
    let why = String::from_utf8_lossy(&played.stderr);
    assert!(played.status.success(), "{told}\n{why}");
    assert!(told.contains("connections that two servers answered  0"), "{told}");
}
