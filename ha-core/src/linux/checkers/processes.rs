//! Whether a process lives.

use std::format;
use std::fs;
use std::io;
use std::prelude::rust_2024::*;
use std::string::String;
use std::sync::{Mutex, TryLockError};

use super::told;
use crate::checker::Process;

/// Looks for a process, first where it was seen last: a look at a process that lives costs two
/// small files, and only one at a dead one costs the whole list.
pub(super) struct Finder {
    process: Process,
    last: Mutex<Option<u32>>,
}

impl Finder {
    pub(super) fn new(process: Process) -> Self {
        Self { process, last: Mutex::new(None) }
    }

    pub(super) fn look(&self) -> Result<(), String> {
        let mut last = match self.last.try_lock() {
            Ok(last) => last,
            Err(TryLockError::Poisoned(last)) => last.into_inner(),
            // So that one thread waits at most, however often it is looked.
            Err(TryLockError::WouldBlock) => return Err("the look before has not ended".into()),
        };
        if last.is_some_and(|pid| self.fits(pid)) {
            return Ok(());
        }
        *last = self.find()?;
        if last.is_some() { Ok(()) } else { Err("no such process".into()) }
    }

    fn find(&self) -> Result<Option<u32>, String> {
        if let Process::PidFile(path) = &self.process {
            let text = fs::read_to_string(path).map_err(told(path))?;
            let pid = text.trim().parse().map_err(|_| format!("{path}: no number in it"))?;
            return Ok(Some(pid).filter(|pid| lives(*pid)));
        }
        let list = fs::read_dir("/proc").map_err(told("/proc"))?;
        let names = list.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut pids = names.filter_map(|name| name.parse().ok());
        // A checker that finds its own daemon would never fail.
        Ok(pids.find(|pid| *pid != std::process::id() && self.fits(*pid)))
    }

    /// Whether this is the process; one that ended and was not waited for is none.
    fn fits(&self, pid: u32) -> bool {
        let fits = match &self.process {
            Process::Name(name) => is_called(pid, name).unwrap_or(false),
            Process::Cmdline(text) => {
                cmdline(pid).is_ok_and(|words| words.join(" ").contains(text.as_str()))
            }
            // Its file may name another one by now.
            Process::PidFile(_) | Process::Group => false,
        };
        fits && lives(pid)
    }
}

/// By its name for the kernel, which is cut, or by its first word.
fn is_called(pid: u32, name: &str) -> io::Result<bool> {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm"))?;
    if comm.trim_end() == name {
        return Ok(true);
    }
    let words = cmdline(pid)?;
    Ok(words.first().and_then(|word| word.rsplit('/').next()) == Some(name))
}

fn cmdline(pid: u32) -> io::Result<Vec<String>> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline"))?;
    let words = bytes.split(|byte| *byte == 0);
    Ok(words.map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before may have brackets in it.
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    state.is_some_and(|state| !"ZXx".contains(state))
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    use ha_lab::within;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    /// A process whose first word is unlike any other's on this machine; killed at the drop.
    struct Sleeper(Child);

    impl Sleeper {
        fn start() -> (Self, String) {
            let name = format!("ha-test-{}", std::process::id());
            let mut command = Command::new("/bin/sleep");
            command.arg0(format!("/opt/{name}")).arg("1000");
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            (Self(command.spawn().unwrap()), name)
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_process_is_found_by_any_of_its_names_until_it_ends() {
        let (mut sleeper, name) = Sleeper::start();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid").display().to_string();
        fs::write(&file, format!("{}\n", sleeper.0.id())).unwrap();
        let by = [
            Process::Name(name.clone()),
            Process::Cmdline(format!("{name} 1000")),
            Process::PidFile(file.clone()),
        ];
        let finders = by.map(Finder::new);
        for finder in &finders {
            // Its words are there a moment after it began.
            assert!(within(SOON, || finder.look().is_ok()), "{:?}", finder.process);
            assert_eq!(finder.look(), Ok(()));
        }
        sleeper.0.kill().unwrap();
        // Dead, and not waited for: that is no life.
        for finder in &finders {
            assert!(within(SOON, || finder.look() == Err("no such process".into())));
        }
        fs::write(&file, "soon").unwrap();
        assert_eq!(finders[2].look(), Err(format!("{file}: no number in it")));
        fs::remove_file(&file).unwrap();
        assert!(finders[2].look().unwrap_err().starts_with(&file));
    }
}
