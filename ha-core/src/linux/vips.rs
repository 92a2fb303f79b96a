//! The virtual addresses of a module, at work.

use core::time::Duration;
use std::prelude::rust_2024::*;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use ha_proto::{Epoch, Instant};
use ha_vip::Event;
use tokio::sync::{mpsc, watch};

use super::agent::{self, Agent, Leftover};
use super::plan::Plan;
use super::service::Addresses;
use super::{VipError, VipsConfig};
use crate::driver::{Clock, HostError};
use crate::metrics;

/// The virtual addresses of a module, for the [`Guard`](crate::driver::Guard) of its host: its
/// methods do what the guard's of similar names are asked. They wait for the answer, some
/// milliseconds; a guard has its thread for itself.
///
/// They work on a thread of their own, in the network namespace of the thread that started it. Each
/// address is marked (`IFA_PROTO` 0x68), and none without the mark is ever removed; each lives for
/// the whole seconds of what is left of its right, rounded up, so a host whose process is killed or
/// stopped has none left soon after (R10).
///
/// Dropping it takes all addresses off, and waits for that.
///
/// What happens beside is told to the observer. [`Event::Lost`] means that the node must step down:
/// it has no address any more though it serves. A host says so, and its node gives the service to a
/// ready peer, or takes the addresses anew where there is none:
///
/// ```no_run
/// use ha_core::driver::Handle;
/// use ha_core::linux::{VipError, Vips, VipsConfig};
/// use ha_core::vip::Event;
///
/// fn start(config: VipsConfig, module: Handle) -> Result<Vips, VipError> {
///     Vips::start(config, move |event| {
///         if matches!(event, Event::Lost(_)) {
///             module.address_lost();
///         }
///     })
/// }
/// ```
#[derive(Debug)]
pub struct Vips {
    clock: Clock,
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
    seen: VipsSeen,
}

/// How the virtual addresses of a module are doing, for its metrics; also after their end.
#[derive(Clone, Debug)]
pub struct VipsSeen(watch::Receiver<metrics::Vips>);

impl VipsSeen {
    /// As of now.
    pub fn now(&self) -> metrics::Vips {
        *self.0.borrow()
    }
}

/// What a guard asks; each that can fail is answered once.
#[derive(Debug)]
pub(super) enum Command {
    Take {
        epoch: Epoch,
        until: Instant,
        reply: Reply,
    },
    Keep {
        until: Instant,
        reply: Reply,
    },
    Release {
        reply: Reply,
    },
    /// Announces them anew, if they are held; is not answered.
    Announce,
    /// Ends, and leaves them as they are.
    Leave,
}

/// Where an answer goes.
#[derive(Debug)]
pub(super) struct Reply(SyncSender<Result<(), HostError>>);

impl Reply {
    /// For what nobody asked.
    pub(super) fn to_nobody() -> Self {
        Self(sync_channel(1).0)
    }

    pub(super) fn say(self, result: Result<(), HostError>) {
        // Who asked may have given up.
        let _ = self.0.send(result);
    }
}

impl Vips {
    /// Starts to look after these addresses, and removes those that a killed process of ours left.
    /// None is set yet. `observe` is called on the thread of the addresses and must not wait.
    ///
    /// # Errors
    /// [`VipError`] says in one line what to do.
    pub fn start(
        config: VipsConfig,
        observe: impl FnMut(&Event) + Send + 'static,
    ) -> Result<Self, VipError> {
        Self::begin(config, Leftover::Removed, observe)
    }

    /// As [`start`](Self::start), for a daemon that may go on where an earlier one stopped
    /// ([`Running::hand_over`](crate::driver::Running::hand_over)): addresses that one of ours left
    /// stay until the first word about them. [`take`](Self::take) adopts them: none goes meanwhile,
    /// and their new owner is announced, which is the old one. [`release`](Self::release), the first
    /// thing that a node asks which boots, removes them, and so does dropping this.
    ///
    /// # Errors
    /// [`VipError`] says in one line what to do.
    pub fn resume(
        config: VipsConfig,
        observe: impl FnMut(&Event) + Send + 'static,
    ) -> Result<Self, VipError> {
        Self::begin(config, Leftover::Kept, observe)
    }

    fn begin(
        config: VipsConfig,
        leftover: Leftover,
        observe: impl FnMut(&Event) + Send + 'static,
    ) -> Result<Self, VipError> {
        let plan = Plan::new(config)?;
        let clock = Clock::start();
        let (commands, asked) = mpsc::channel(COMMANDS_MAX);
        let (ready, started) = sync_channel(1);
        let (tell, seen) = watch::channel(metrics::Vips::default());
        let work = move || {
            agent::run(
                || Agent::start(plan, leftover, clock, asked, observe, tell),
                |result| {
                    // Who asked waits.
                    let _ = ready.send(result);
                },
            );
        };
        let unable = |source| VipError::System { what: "no thread", source };
        let thread = thread::Builder::new().name("ha-vip".into()).spawn(work).map_err(unable)?;
        let seen = VipsSeen(seen);
        let vips = Self { clock, commands: Some(commands), thread: Some(thread), seen };
        started.recv().expect("the thread answers before it ends")?;
        Ok(vips)
    }

    /// Takes all addresses in the name of `epoch`, to vanish by themselves after `lifetime`. Done
    /// when each is set and answers.
    ///
    /// # Errors
    /// One cannot be set, or not in time; then all are taken off again. Or a release came between.
    pub fn take(&self, epoch: Epoch, lifetime: Duration) -> Result<(), HostError> {
        let until = self.clock.now() + lifetime;
        self.ask(|reply| Command::Take { epoch, until, reply })
    }

    /// Lets them live for `lifetime` from now.
    ///
    /// # Errors
    /// They are not held, or not all.
    pub fn keep(&self, lifetime: Duration) -> Result<(), HostError> {
        let until = self.clock.now() + lifetime;
        self.ask(|reply| Command::Keep { until, reply })
    }

    /// Takes them all off. Done when none is left that was set here; tried until then.
    ///
    /// # Errors
    /// One cannot be removed; it is still tried, and vanishes when its lifetime ends.
    pub fn release(&self) -> Result<(), HostError> {
        self.ask(|reply| Command::Release { reply })
    }

    /// Announces them anew, as after any cut between the nodes; where they are not held, nothing is.
    pub fn announce(&self) {
        if let Some(commands) = &self.commands {
            // Where so much waits, whatever is asked next says so.
            let _ = commands.try_send(Command::Announce);
        }
    }

    /// How they are doing, for whoever makes metrics.
    pub fn seen(&self) -> VipsSeen {
        self.seen.clone()
    }

    /// Ends, and leaves the addresses as they are: another process goes on with them, or they vanish
    /// when their lifetime ends.
    pub fn leave(&mut self) {
        if let Some(commands) = self.commands.take() {
            // The guard's thread has a runtime, and must not wait; whoever hands over asked for
            // nothing else. One that has ended leaves them as they are.
            let _ = commands.try_send(Command::Leave);
        }
        self.end();
    }

    fn end(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // It has said what went wrong.
            let _ = thread.join();
        }
    }

    fn ask(&self, command: impl FnOnce(Reply) -> Command) -> Result<(), HostError> {
        let (reply, answer) = sync_channel(1);
        let left = || HostError::new("the virtual addresses were left to another process");
        let commands = self.commands.as_ref().ok_or_else(left)?;
        commands.try_send(command(Reply(reply))).map_err(|_| {
            HostError::new("the thread of the virtual addresses has ended, or does not answer")
        })?;
        answer.recv_timeout(ANSWER_MAX).map_err(|_| {
            HostError::new("the virtual addresses cannot be changed in time; it is still tried")
        })?
    }
}

impl Addresses for Vips {
    fn take(&mut self, epoch: Epoch, lifetime: Duration) -> Result<(), HostError> {
        Vips::take(self, epoch, lifetime)
    }

    fn keep(&mut self, lifetime: Duration) -> Result<(), HostError> {
        Vips::keep(self, lifetime)
    }

    fn announce(&mut self) {
        Vips::announce(self);
    }

    fn release(&mut self) -> Result<(), HostError> {
        Vips::release(self)
    }

    fn leave(&mut self) {
        Vips::leave(self);
    }
}

impl Drop for Vips {
    fn drop(&mut self) {
        self.end();
    }
}

/// Commands that may wait: a guard asks one after the other, and gives up on a few at most.
const COMMANDS_MAX: usize = 16;

/// How long an answer is waited for: far longer than a kernel that is well takes.
const ANSWER_MAX: Duration = Duration::from_secs(5);
