//! What a process costs while it does nothing.

use std::fs;
use std::io;
use std::thread;
use std::time::Duration;

use ha_lab::now;

/// What a process took of the machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Of one core, in hundredths.
    pub core: f64,
    /// Resident, in MiB.
    pub resident: f64,
}

impl Usage {
    /// Watches a process for so long.
    ///
    /// # Errors
    /// It has ended.
    pub fn of(pid: u32, time: Duration) -> io::Result<Self> {
        let (began, before) = (now(), on_core(pid)?);
        thread::sleep(time);
        let (took, after) = (now().saturating_since(began), on_core(pid)?);
        let core = after.saturating_sub(before).as_secs_f64() / took.as_secs_f64() * 100.0;
        Ok(Self { core, resident: resident(pid)? })
    }
}

/// The time that its threads were on a core, by the scheduler's own count.
fn on_core(pid: u32) -> io::Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may have ended meanwhile.
        let told = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        nanos += told.split(' ').next().and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanos))
}

fn resident(pid: u32) -> io::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0).ok_or_else(|| io::Error::other("the process has ended"))
}
