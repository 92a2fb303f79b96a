//! What processes cost while they do nothing.

use std::fs;
use std::io;
use std::thread;
use std::time::Duration;

use ha_lab::now;

/// What some processes took of the machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Of one core, in hundredths.
    pub core: f64,
    /// Resident, in MiB: what several share counts for each of them.
    pub resident: f64,
    /// The same, but of what several share each its part.
    pub proportional: f64,
}

impl Usage {
    /// Watches sets of processes for so long, all at once.
    ///
    /// # Errors
    /// One of them has ended.
    pub fn of<const N: usize>(sets: [&[u32]; N], time: Duration) -> io::Result<[Self; N]> {
        let on_core =
            |set: &[u32]| set.iter().map(|&pid| on_core(pid)).sum::<io::Result<Duration>>();
        let mut usages = [Self { core: 0.0, resident: 0.0, proportional: 0.0 }; N];
        let (began, mut before) = (now(), [Duration::ZERO; N]);
        for (before, set) in before.iter_mut().zip(sets) {
            *before = on_core(set)?;
        }
        thread::sleep(time);
        let took = now().saturating_since(began).as_secs_f64();
        for ((usage, before), set) in usages.iter_mut().zip(before).zip(sets) {
            let spent = on_core(set)?.saturating_sub(before).as_secs_f64();
            let sum = |of| set.iter().map(|&pid| mib(pid, of)).sum::<io::Result<f64>>();
            let core = spent / took * 100.0;
            *usage = Self { core, resident: sum("Rss:")?, proportional: sum("Pss:")? };
        }
        Ok(usages)
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

/// A line of what the kernel says of a process's memory.
fn mib(pid: u32, line: &str) -> io::Result<f64> {
    let memory = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let rest = memory.lines().find_map(|it| it.strip_prefix(line));
    let kib = rest.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0).ok_or_else(|| io::Error::other("the process has ended"))
}
