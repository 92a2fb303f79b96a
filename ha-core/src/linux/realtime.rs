//! What keeps the node's thread going where the machine is short of time or memory.
//!
//! A beat that is late by the time-out costs a takeover that nobody needed, so the thread of the
//! node goes first where that is allowed, and its memory stays where it is. Neither is needed for
//! safety: where it is refused, a daemon says so and goes on.
//!
//! ```no_run
//! use ha_core::linux::realtime;
//!
//! # fn start(driver: ha_core::driver::Driver) -> Result<(), ha_core::driver::StartError> {
//! let running = driver.start()?;
//! let asked = [realtime::lock_memory(), realtime::raise("ha-node")];
//! for refused in asked.into_iter().filter_map(Result::err) {
//!     eprintln!("{refused}");
//! }
//! # Ok(())
//! # }
//! ```

use std::format;
use std::fs;
use std::io;
use std::prelude::rust_2024::*;
use std::process::{Command, Stdio};
use std::string::String;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};
use thiserror::Error;

/// Why the machine does not favour this process, and what would let it.
#[derive(Debug, Error)]
pub enum Refused {
    /// Memory cannot be locked.
    #[error(
        "memory is not locked ({0}), so this node may be late where memory is short: run as root, \
         or grant CAP_IPC_LOCK or LimitMEMLOCK=infinity"
    )]
    Memory(String),
    /// The thread gets no real-time priority.
    #[error(
        "{thread} has no real-time priority ({why}), so this node may be late where the \
         processors are busy: run as root, or grant CAP_SYS_NICE or LimitRTPRIO=10"
    )]
    Priority {
        /// Which thread.
        thread: String,
        /// What the system said.
        why: String,
    },
}

/// Keeps every page of this process that was touched, now or later, in memory.
///
/// On fault: what is not touched costs nothing, so the stacks of threads, two megabytes each of
/// which a few pages are used, do not count as resident.
///
/// # Errors
/// [`Refused::Memory`]; nothing has changed. Also where a limit holds: untouched pages do count
/// there, so the stack of some later thread would not be had any more.
pub fn lock_memory() -> Result<(), Refused> {
    let limit = getrlimit(Resource::Memlock).current;
    let may = capabilities(None).is_ok_and(|own| own.effective.contains(CapabilitySet::IPC_LOCK));
    if let (Some(limit), false) = (limit, may) {
        return Err(Refused::Memory(format!("at most {limit} bytes are allowed")));
    }
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    mlockall(flags).map_err(|error| Refused::Memory(format!("{error}")))
}

/// Lets the threads of this process with this name, of 15 bytes at most, and those with a `-` and a
/// number behind it, run before all that have no real-time priority: `SCHED_RR` at the lowest one, 1,
/// below the guardian's 10, and with `SCHED_RESET_ON_FORK`, so that nothing that they start inherits
/// it.
///
/// The kernel leaves 5 % of each second to the others even if such a thread never slept
/// (`sched_rt_runtime_us`).
///
/// # Errors
/// [`Refused::Priority`]; there may be no such thread.
pub fn raise(thread: &str) -> Result<(), Refused> {
    raise_by(&RAISED, thread)
}

/// Lets the threads of this name run before those of [`raise`], too: at 2. On one processor these may
/// take a while.
///
/// # Errors
/// As [`raise`].
pub fn raise_first(thread: &str) -> Result<(), Refused> {
    raise_by(&["--rr", "--reset-on-fork", "--pid", "2"], thread)
}

fn raise_by(how: &[&str], thread: &str) -> Result<(), Refused> {
    let refused = |why| Refused::Priority { thread: thread.into(), why };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let numbered = |rest: &str| rest.is_empty() || rest.strip_prefix('-').is_some_and(digits);
    let of = |name: &str| name.strip_prefix(thread).is_some_and(numbered);
    let ids = threads(|name, _| of(name)).map_err(|error| refused(format!("{error}")))?;
    if ids.is_empty() {
        return Err(refused("there is no such thread".into()));
    }
    each(&ids, |id| change(how, id)).map_err(refused)
}

/// Lets all threads of this process but those of this name run first, as [`raise`] does with some,
/// before another program goes on in its place: an exec waits until each of them ended. The next
/// program's first thread, and what it starts, inherit it, until [`calm`].
///
/// # Errors
/// [`Refused::Priority`].
pub fn hasten(but: &str) -> Result<(), Refused> {
    let refused = |why| Refused::Priority { thread: "the process".into(), why };
    let first = std::process::id().to_string();
    // What raises the others inherits it, and does not wait for a processor.
    change(&["--rr", "--pid", "1"], &first).map_err(refused)?;
    let others = threads(|name, id| name != but && id != first);
    let others = others.map_err(|error| refused(format!("{error}")))?;
    each(&others, |id| change(&RAISED, id)).map_err(refused)
}

/// Ends what [`hasten`] began, in this program or the one before, for all threads of this process
/// but those of this name. Where nothing was begun nothing is done.
///
/// # Errors
/// [`Refused::Priority`]: `chrt` is missing, since nobody needs a right for it.
pub fn calm(but: &str) -> Result<(), Refused> {
    let refused = |why| Refused::Priority { thread: "the process".into(), why };
    let first = std::process::id().to_string();
    let hurries = |name: &str, id: &str| name != but && id != first && is_raised(id);
    let ids = threads(hurries).map_err(|error| refused(format!("{error}")))?;
    // To keep the flag needs no right, to lose it does.
    let others = ["--other", "--reset-on-fork", "--pid", "0"];
    let calmed = each(&ids, |id| change(&others, id));
    // Whatever became of the others: all that is started inherits this one's.
    let first = if is_raised(&first) { change(&["--other", "--pid", "0"], &first) } else { Ok(()) };
    first.and(calmed).map_err(refused)
}

/// Does that with each thread, and says what failed first; not of one that has ended meanwhile.
fn each(ids: &[String], change: impl Fn(&str) -> Result<(), String>) -> Result<(), String> {
    let failed = ids.iter().filter_map(|id| {
        let why = change(id).err()?;
        fs::exists(format!("/proc/self/task/{id}")).unwrap_or(true).then_some(why)
    });
    // All are tried.
    failed.reduce(|first, _| first).map_or(Ok(()), Err)
}

/// Whether a thread has the priority that is given here (proc(5): the 40th field and the 41st).
fn is_raised(id: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/self/task/{id}/stat")).unwrap_or_default();
    // A name may hold anything.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut fields = fields.split_whitespace().skip(37);
    (fields.next(), fields.next()) == (Some("1"), Some(SCHED_RR))
}

/// The ids of these threads, told by name and id.
fn threads(of: impl Fn(&str, &str) -> bool) -> io::Result<Vec<String>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir("/proc/self/task")? {
        let entry = entry?;
        // One that has ended meanwhile has no name.
        let named = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        let id = entry.file_name().to_string_lossy().into_owned();
        if of(named.trim_end(), &id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// No safe wrapper of `sched_setscheduler` is around; util-linux is on every server, and what
/// systemd grants to a daemon (`AmbientCapabilities=`) goes to the programs that it runs.
fn change(how: &[&str], id: &str) -> Result<(), String> {
    let mut chrt = Command::new("chrt");
    chrt.args(how).arg(id).stdin(Stdio::null());
    let done = chrt.output().map_err(|error| format!("chrt of util-linux: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(said.lines().next().unwrap_or("chrt failed").into())
}

const SCHED_RR: &str = "2";
const RAISED: [&str; 4] = ["--rr", "--reset-on-fork", "--pid", "1"];
