//! The programs of this workspace, for scripts and other packages' tests.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tool;

/// Where a program of this package is: `ha-lab-echo` or `ha-lab-prober`. It is built with the tests
/// of this package; where only another package's tests were built, it is built now.
///
/// # Errors
/// It is not there, and cannot be built.
pub fn program(name: &str) -> io::Result<PathBuf> {
    let path = folder()?.join(name);
    if path.exists() { Ok(path) } else { built("ha-lab", name) }
}

/// Where a program of another package is, after cargo has built it as this one was built: with or
/// without `--release`, into the same folder. For benches; a package's own tests have
/// `CARGO_BIN_EXE_<name>`.
///
/// # Errors
/// It cannot be built: the message is cargo's.
pub fn built(package: &str, name: &str) -> io::Result<PathBuf> {
    let folder = folder()?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--package", package, "--bin", name]);
    build.args(folder.ends_with("release").then_some("--release"));
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    beside_this(&mut build, &folder);
    tool::run(&mut build, "")?;
    Ok(folder.join(name))
}

/// Runs these lines of a shell in the folder of this repository, and with them what cargo builds
/// without a profile of its own: it lies beside what this one was built with, in `debug` or
/// `release`. The folder of those.
///
/// # Errors
/// One of the lines fails.
pub fn in_repository(lines: &str) -> io::Result<PathBuf> {
    let folder = folder()?;
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", lines]);
    shell.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    beside_this(&mut shell, &folder);
    tool::run(&mut shell, "")?;
    Ok(folder.parent().unwrap_or(&folder).to_path_buf())
}

/// Has a cargo build into the folder that this program's cargo builds into, as if it had been called
/// by hand.
fn beside_this(command: &mut Command, folder: &Path) {
    command.env("CARGO_TARGET_DIR", folder.parent().unwrap_or(folder));
    // What cargo says of the package that runs: build scripts look at it, and what depends on them
    // would be built anew by each cargo in turn.
    let of_this =
        |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|it| name.starts_with(it));
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_this)) {
        command.env_remove(name);
    }
}

/// Copies a program that is to be run, by a process of its own: what this one had open to write
/// cannot be run as long as a process that another test forked meanwhile has it open as well.
///
/// # Panics
/// It cannot be copied.
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    tool::run(Command::new("cp").arg(from.as_ref()).arg(to.as_ref()), "").expect("it is copied");
}

/// Where cargo puts the programs that it builds with this one.
fn folder() -> io::Result<PathBuf> {
    let mut folder = env::current_exe()?;
    folder.pop();
    if folder.ends_with("deps") || folder.ends_with("examples") {
        folder.pop();
    }
    Ok(folder)
}
