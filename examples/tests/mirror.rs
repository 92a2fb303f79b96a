//! The demonstration itself, as an audience starts it: it must end well with each kind of vote.

use std::process::Command;

fn play(vote: &str) -> String {
    let mut example = std::env::current_exe().expect("this test runs from a file");
    // target/<profile>/deps/<this test>: the examples are beside `deps`.
    example.pop();
    example.pop();
    example.push("examples/mirror");
    assert!(example.exists(), "{} is not built: cargo build --example mirror", example.display());
    // What it leaves behind on purpose goes with this folder.
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let played = Command::new(example)
        .env("TMPDIR", folder.path())
        .args(["--vote", vote, "--clients", "4"])
        .output()
        .expect("the demonstration starts");
    let told = String::from_utf8_lossy(&played.stdout);
    let why = String::from_utf8_lossy(&played.stderr);
    assert!(played.status.success(), "{told}\n{why}");
    assert!(told.contains("lines lost                 0"), "{told}");
    assert!(told.contains("copies                 equal"), "{told}");
    told.into_owned()
}

#[test]
fn with_an_arbiter_one_serves_and_nothing_is_lost() {
    let told = play("arbiter");
    assert!(told.contains("lines set aside            0"), "{told}");
}

#[test]
fn without_a_witness_two_serve_and_what_one_wrote_is_set_aside() {
    play("none");
}
