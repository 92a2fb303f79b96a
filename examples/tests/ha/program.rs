//! Running the program.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What it printed, and ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap();
        Self { code, out: text(output.stdout), err: text(output.stderr) }
    }
}

pub(crate) fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ha"));
    command.args(words).stdin(Stdio::null()).env_remove("NO_COLOR");
    command
}

pub(crate) fn ha(words: &[&str]) -> Said {
    Said::of(command(words).output().unwrap())
}

/// At a socket.
pub(crate) fn at(socket: &Path, words: &[&str]) -> Said {
    let socket = socket.to_str().unwrap();
    ha(&[&["--socket", socket], words].concat())
}

/// With every number as `N`, and one space for many: what does not change from run to run.
pub(crate) fn shape(text: &str) -> String {
    let mut shape = String::new();
    for line in text.lines() {
        let words: Vec<String> = line.split_whitespace().map(word).collect();
        shape.push_str(&words.join(" "));
        shape.push('\n');
    }
    shape
}

/// A number, and the unit of a time, vary; names keep their digits.
fn word(word: &str) -> String {
    let trimmed = word.trim_end_matches([',', ')', ';', '.']);
    let rest = &word[trimmed.len()..];
    // The numbers of steps stay.
    let number = rest != "."
        && !trimmed.is_empty()
        && trimmed.chars().all(|c| c.is_ascii_digit() || c == '.');
    match trimmed {
        _ if number => format!("N{rest}"),
        "ms" | "us" | "s" | "min" => format!("t{rest}"),
        other => format!("{other}{rest}"),
    }
}
