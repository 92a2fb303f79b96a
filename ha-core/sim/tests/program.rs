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

/// `FIELD.md` row 9: the wall clock steps by an hour while histories run, and none is another one.
#[test]
fn field_09_steps_of_the_wall_clock_change_no_history() {
    let Some(library) = ha_lab::faketime() else { return ha_lab::skip("libfaketime") };
    let histories = ["--seed", "1", "--histories", "60", "--trace"];
    let expected = traces(program(&histories).output().unwrap());
    let name = format!("ha-sim-{}-clock", std::process::id());
    let file = std::env::temp_dir().join(name);
    let step = |hours: &str| {
        let next = file.with_extension("next");
        std::fs::write(&next, hours).unwrap();
        std::fs::rename(next, &file).unwrap();
    };
    let fooled = |arguments: &[&str]| {
        let mut child = program(arguments);
        child.env("LD_PRELOAD", &library).env("FAKETIME_TIMESTAMP_FILE", &file);
        child.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        child
    };
    // The program reads that clock for a seed, if it is given none.
    step("@2000-01-01 00:00:00");
    let output = fooled(&["--histories", "1"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let seed = said.lines().next().unwrap().strip_prefix("seed ").unwrap();
    assert!(seed.starts_with("946") && seed.len() == 18, "the clock is not stepped: {seed}");

    let mut child = fooled(&histories).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        out.read_to_end(&mut bytes).map(|_| bytes)
    });
    let mut hours = ["-1h", "+1h"].into_iter().cycle();
    while child.try_wait().unwrap().is_none() {
        step(hours.next().unwrap());
    }
    let mut output = child.wait_with_output().unwrap();
    output.stdout = reader.join().unwrap().unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(traces(output) == expected, "a history depends on the wall clock");
}

/// All histories, without the speed of the machine.
fn traces(output: std::process::Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (histories, last) = text.trim_end().rsplit_once('\n').unwrap();
    assert!(last.ends_with("all is well") && histories.lines().count() > 60_000, "{last}");
    histories.to_owned()
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
