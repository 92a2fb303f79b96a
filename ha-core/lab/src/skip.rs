//! What a test says that cannot run here.

use std::env;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::process::geteuid;

/// Says on this process's standard error that the test on this thread is skipped, for it `needs`
/// something that is not here. The test runner, which keeps what a passed test prints to itself,
/// does not see it.
///
/// # Panics
/// With `CI` in the environment: where everything is to be tested nothing is skipped.
pub fn skip(needs: impl Display) {
    let thread = thread::current();
    let program =
        env::current_exe().ok().and_then(|it| Some(it.file_stem()?.display().to_string()));
    let program = program.as_deref().unwrap_or("a program");
    // A bench has one thread, and its name ends with what cargo adds.
    let bench = program.rsplit_once('-').map_or(program, |(name, _)| name);
    let test = thread.name().filter(|name| *name != "main").unwrap_or(bench);
    assert!(env::var_os("CI").is_none(), "{test}: needs {needs}, and CI is set: install it");
    // Nobody may be listening.
    let _ = writeln!(io::stderr(), "{test}: skipped: needs {needs}");
}

/// The library that steps a program's wall clock (`LD_PRELOAD`), if Debian's package is installed: it
/// has it in a folder of each architecture.
pub fn faketime() -> Option<PathBuf> {
    let places = std::fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    let mut files = places.map(|place| place.path().join("faketime/libfaketime.so.1"));
    files.find(|file| file.exists())
}

/// Whether all of these programs are installed, where root finds programs; [skips](skip) the test
/// where one is not, and names it.
///
/// # Panics
/// Like [`skip`].
pub fn installed_or_skip(programs: &[&str]) -> bool {
    let folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let found = |program: &str| folders.iter().any(|it| Path::new(it).join(program).exists());
    let missing = programs.iter().find(|program| !found(program));
    if let Some(missing) = missing {
        skip(missing);
    }
    missing.is_none()
}

/// Whether this process is root; [skips](skip) the test where it is not.
///
/// # Panics
/// Like [`skip`].
pub fn root_or_skip() -> bool {
    let root = geteuid().is_root();
    if !root {
        skip("root");
    }
    root
}
