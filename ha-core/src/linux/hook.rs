//! Tells somebody outside of what happens: a program, or a URL.

mod config;
mod farm;
mod post;
#[cfg(test)]
mod tests;
mod words;

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::format;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::prelude::rust_2024::*;
use std::process::{Command, Stdio};
use std::string::String;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use ha_proto::{Epoch, ModuleId, Role};
use tracing::{debug, warn};

use self::config::Target;
use self::words::{At, Words};
use super::cgroup::FOR_THE_DAEMON_ONLY;
use super::child::{End, end};
use super::gate::Gate;
use crate::Event;
use crate::driver::Clock;
use crate::event::Level;
use crate::verdict::Names;

pub use self::config::{HookConfig, HookError, RawNotify};
pub use self::farm::{FarmHook, FarmNamed};

/// Tells a program, or a URL, of each event from a level on: one at a time, in order, on a thread
/// of its own. Whoever tells it never waits; what is too much is dropped, counted and said. A
/// farm's member has a [`FarmHook`].
///
/// It is told as JSON, on the program's standard input or as the body of a POST; a program also
/// finds it in its environment:
///
/// | JSON | environment | |
/// |---|---|---|
/// | `module` | `HA_MODULE` | the module's name |
/// | `node` | `HA_NODE` | this node's name |
/// | `role` | `HA_ROLE` | the module's role then: `STOP` `WAIT` `SECOND` `PRIM` `ALONE` `UP` |
/// | `epoch` | `HA_EPOCH` | a number that grows from reign to reign, as scripts get it |
/// | `event` | `HA_EVENT` | [`Event::name`] |
/// | `text` | `HA_TEXT` | the event in words: [`Event::told`] |
/// | `level` | `HA_LEVEL` | `info` `warn` `error` |
/// | `sequence` | `HA_SEQUENCE` | its number since the daemon's start, as `ha events` has it |
/// | `dropped` | `HA_DROPPED` | how many events were dropped so far, since the daemon's start; a reload is none |
///
/// Who tells it of events counts them; where the feature `control` keeps them as well, its
/// `EventLog::newest` is the number of the one that was noted last.
///
/// ```no_run
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use ha_core::driver::Driver;
/// use ha_core::linux::hook::Hook;
///
/// fn observe(driver: &mut Driver, hook: Hook) {
///     let events = AtomicU64::new(0);
///     driver.observe(move |module, epoch, event| {
///         let number = events.fetch_add(1, Ordering::Relaxed) + 1;
///         hook.tell(number, module, epoch, event);
///     });
/// }
/// ```
///
/// Success is the exit code 0, or a status from 200 to 299; anything else is said in the log, and
/// not tried again.
///
/// Dropping it tells what waits, for as long as one event may take, and gives up the rest. A process
/// that is about to become another program has no time for that: [`Hook::give_up`], and the next one
/// [counts on](Hook::resume).
#[derive(Debug)]
pub struct Hook {
    config: HookConfig,
    queue: Option<SyncSender<Words>>,
    /// What was put in the queue so far.
    queued: AtomicU64,
    /// Each module and its role, for whoever tells: the thread does not touch it.
    modules: Mutex<BTreeMap<ModuleId, (Named, Role)>>,
    dropped: Arc<AtomicU64>,
    /// What was told of those in the queue so far, well or badly.
    tried: Arc<AtomicU64>,
    end: Arc<AtomicU64>,
    clock: Clock,
    /// Closed to the program that is being run, when it is given up.
    gate: Arc<Gate>,
    /// Broken when the thread has ended.
    ended: Mutex<Receiver<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a module and its surroundings are called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The module.
    pub module: String,
    /// Nodes and networks; [`Names::me`] is told as `node`.
    pub names: Names,
}

impl Hook {
    /// How long giving up may take: a program that was killed is gone within moments, and the lease
    /// of what runs goes on counting.
    pub const GIVE_UP_MAX: Duration = Duration::from_millis(50);

    /// Starts to tell of these modules; of others nothing is told.
    ///
    /// # Errors
    /// [`HookConfig::check`], or there is no thread.
    pub fn start(
        config: HookConfig,
        modules: BTreeMap<ModuleId, Named>,
    ) -> Result<Self, HookError> {
        Self::resume(config, modules, 0)
    }

    /// As [`start`](Self::start), in a process that goes on for another, whose hook had dropped so
    /// many events when it was [given up](Self::give_up): whoever is told next hears of them.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn resume(
        config: HookConfig,
        modules: BTreeMap<ModuleId, Named>,
        dropped: u64,
    ) -> Result<Self, HookError> {
        config.check()?;
        let (queue, waiting) = sync_channel(QUEUE_MAX);
        let shared = |number| Arc::new(AtomicU64::new(number));
        let (dropped, tried, end) = (shared(dropped), shared(0), shared(u64::MAX));
        let clock = Clock::start();
        let stopped = modules.into_iter().map(|(id, named)| (id, (named, Role::Stop)));
        let modules = Mutex::new(stopped.collect());
        let gate = Arc::new(Gate::new().map_err(HookError::Thread)?);
        let (works, ended) = sync_channel(1);
        let worker = Worker {
            config: config.clone(),
            said: dropped.load(Ordering::Relaxed),
            dropped: Arc::clone(&dropped),
            tried: Arc::clone(&tried),
            end: Arc::clone(&end),
            clock,
            gate: Arc::clone(&gate),
            _works: works,
        };
        let work = move || worker.work(&waiting);
        let thread = thread::Builder::new().name("ha-notify".into()).spawn(work);
        let thread = Some(thread.map_err(HookError::Thread)?);
        let ended = Mutex::new(ended);
        let (queue, queued) = (Some(queue), AtomicU64::new(0));
        Ok(Self { config, queue, queued, modules, dropped, tried, end, clock, gate, ended, thread })
    }

    /// Tells of an event, if it is of the level; never waits. Shown every event, by
    /// [`Driver::observe`](crate::driver::Driver::observe), it knows the role of each module.
    pub fn tell(&self, sequence: u64, module: ModuleId, epoch: Epoch, event: &Event) {
        let mut modules = self.modules.lock().expect("nothing panics while a role is noted");
        let Some((named, role)) = modules.get_mut(&module) else { return };
        if let Event::Role { to, .. } | Event::Resumed(to) = event {
            *role = *to;
        }
        self.put(event.level(), || Words {
            module: named.module.clone(),
            node: named.names.me.clone(),
            role: *role,
            at: At::Epoch(epoch),
            event: event.name(),
            text: event.told(&named.names),
            level: event.level(),
            sequence,
        });
    }

    /// Puts an event in the queue, if it is of the level.
    fn put(&self, level: Level, words: impl FnOnce() -> Words) {
        if level < self.config.level {
            return;
        }
        let queue = self.queue.as_ref().expect("it lives as long as this");
        let full = queue.try_send(words()).is_err();
        let count = if full { &*self.dropped } else { &self.queued };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// How many events were dropped because too many waited.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Ends in [`GIVE_UP_MAX`](Self::GIVE_UP_MAX): what waits is dropped, and the program that is
    /// being run is killed. An answer to a POST is not waited for. How many events were dropped in
    /// all, for [`resume`](Self::resume): whoever was being told may have heard, and counts as well.
    pub fn give_up(mut self) -> u64 {
        self.end.store(GIVEN_UP, Ordering::Relaxed);
        self.gate.close(Epoch::NONE, || ());
        self.queue = None;
        // It goes on by itself if it must, and ends with the process.
        self.thread = None;
        let ended = self.ended.lock().expect("nothing panics while it is waited for");
        let _ = ended.recv_timeout(Self::GIVE_UP_MAX);
        let untold = self.queued.load(Ordering::Relaxed) - self.tried.load(Ordering::Relaxed);
        self.dropped() + untold
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        if self.thread.is_none() {
            return;
        }
        let end = self.clock.now() + self.config.timeout;
        self.end.store(end.as_nanos(), Ordering::Relaxed);
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // One that panicked tells nobody any more.
            let _ = thread.join();
        }
    }
}

/// Is no time to end at: what waits is counted by whoever gives it up.
const GIVEN_UP: u64 = 0;

/// Events that may wait: a takeover has ten or so for each module, most of them of no high level.
const QUEUE_MAX: usize = 256;

struct Worker {
    config: HookConfig,
    dropped: Arc<AtomicU64>,
    tried: Arc<AtomicU64>,
    /// How many of those the log has been told of.
    said: u64,
    /// When to give up, by the clock.
    end: Arc<AtomicU64>,
    clock: Clock,
    gate: Arc<Gate>,
    /// Dropped with this, and nothing is ever sent.
    _works: SyncSender<()>,
}

impl Worker {
    fn work(mut self, waiting: &Receiver<Words>) {
        while let Ok(words) = waiting.recv() {
            let end = self.end.load(Ordering::Relaxed);
            if end == GIVEN_UP {
                return;
            }
            let left = Duration::from_nanos(end.saturating_sub(self.clock.now().as_nanos()));
            let limit = self.config.timeout.min(left);
            if limit.is_zero() {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            } else {
                self.tell(&words, limit);
            }
            if self.end.load(Ordering::Relaxed) != GIVEN_UP {
                self.tried.fetch_add(1, Ordering::Relaxed);
            }
            self.say_dropped();
        }
    }

    fn tell(&self, words: &Words, limit: Duration) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        let told = match &self.config.target {
            Target::Exec(program) => exec(program, words, dropped, limit, &self.gate),
            Target::Post(url) => post::post(url, &words.json(dropped), limit),
        };
        let (target, event) = (&self.config.target, words.event);
        match told {
            Ok(()) => debug!(%target, event, "told"),
            Err(error) => warn!(%target, event, %error, "it could not be told of an event"),
        }
    }

    fn say_dropped(&mut self) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped > self.said {
            let (more, target) = (dropped - self.said, &self.config.target);
            warn!(%target, more, dropped, "too slow to be told of every event");
            self.said = dropped;
        }
    }
}

/// Runs the program once.
fn exec(
    program: &Path,
    words: &Words,
    dropped: u64,
    limit: Duration,
    gate: &Gate,
) -> io::Result<()> {
    let mut command = Command::new(program);
    command.envs(words.environment(dropped));
    for name in FOR_THE_DAEMON_ONLY {
        command.env_remove(name);
    }
    // What it complains of goes where the daemon's own lines go.
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn()?;
    let mut json = words.json(dropped);
    json.push('\n');
    let mut stdin = child.stdin.take().expect("the standard input was asked to be a pipe");
    // Less than a pipe holds, so this never waits; and a program need not read it.
    assert!(json.len() <= words::JSON_MAX + 1, "who does not read would hold up all others");
    let _ = stdin.write_all(json.as_bytes());
    drop(stdin);
    match end(&mut child, limit, &[(gate, Epoch::NONE)])? {
        End::Exited(status) if status.success() => Ok(()),
        End::Exited(status) => Err(io::Error::other(format!("{status}"))),
        End::Cancelled => Err(io::Error::other("it was given up and killed")),
        End::Overran => {
            let late = format!("it did not end within {limit:?} and was killed");
            Err(io::Error::new(io::ErrorKind::TimedOut, late))
        }
    }
}
