//! The program around the simulator: its arguments, and an audience that leaves.
#![allow(clippy::unwrap_used, reason = "a test says what failed by where it stopped")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ha-sim"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn an_audience_that_leaves_is_no_panic() {
    let mut child = program(&["--seed", "1", "--histories", "3", "--trace"]).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first, "seed 1\n");
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}

#[test]
fn a_part_of_a_minute_is_a_time() {
    let output = program(&["--seed", "1", "--minutes", "0.001"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().ends_with("all is well\n"));
    for wrong in ["-1", "NaN", "inf", "1e300", "soon"] {
        let output = program(&["--minutes", wrong]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{wrong}");
    }
}
