//! The programs of this package, for scripts and other packages' tests.

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use crate::tool;

/// Where a program of this package is: `ha-lab-echo` or `ha-lab-prober`. It is built with the tests
/// of this package; where only another package's tests were built, it is built now.
///
/// # Errors
/// It is not there, and cannot be built.
pub fn program(name: &str) -> io::Result<PathBuf> {
    let mut folder = env::current_exe()?;
    folder.pop();
    if folder.ends_with("deps") || folder.ends_with("examples") {
        folder.pop();
    }
    let path = folder.join(name);
    if !path.exists() {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", "ha-lab", "--bins"]);
        build.args(folder.ends_with("release").then_some("--release"));
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        build.env("CARGO_TARGET_DIR", folder.parent().unwrap_or(&folder));
        tool::run(&mut build, "")?;
    }
    if path.exists() {
        Ok(path)
    } else {
        let reason = format!("{} is not there, and was not built", path.display());
        Err(io::Error::new(io::ErrorKind::NotFound, reason))
    }
}
