//! Another process goes on with the modules of this one.

use core::time::Duration;
use std::io;
use std::mem;
use std::ops::ControlFlow;
use std::prelude::rust_2024::*;
use std::sync::mpsc::{Sender, channel};
use std::task::Context;

use ha_proto::{Instant, ModuleId};
use thiserror::Error;
use tracing::{info, warn};

use super::mailbox::Letter;
use super::module::Module;
use super::turn::Loop;
use super::{Failure, Running};
use crate::raw::NodeConfig;
use crate::{Baton, HandOverError, Saved};

/// Why the modules of a driver were not handed over.
#[derive(Debug, Error)]
pub enum NotHandedOver {
    /// A module could not within the time. The driver goes on as if it had not been asked.
    #[error("module {} cannot hand over: {why}", .module.0)]
    Unready {
        /// The driver.
        running: Running,
        /// The first module that was not ready.
        module: ModuleId,
        /// What was in the way.
        why: WhyUnready,
    },
    /// The driver has ended, and stopped its applications as at any end.
    #[error("the driver has ended: {0}")]
    Ended(Failure),
}

/// What is in the way of a hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WhyUnready {
    /// The node is at something.
    #[error(transparent)]
    Node(HandOverError),
    /// It serves, and its application would end with this process.
    #[error("it serves, and its application is a part of this process: swap first")]
    Ends,
}

/// The module that could not hand over, and why.
pub(super) type Unready = (ModuleId, WhyUnready);

/// A hand-over that waits for the modules.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) until: Instant,
    pub(super) reply: Sender<Result<(), Unready>>,
}

impl Running {
    /// Ends this driver so that another process goes on: applications run on, addresses stay set,
    /// and nobody else notices ([`crate::Mirror::hand_over`]). Waits for at most `patience` until
    /// no module is in the middle of something; new records wait meanwhile, so keep it well below
    /// the heartbeat timeout. Afterwards all sockets and folders are free.
    ///
    /// What is handed over lies in the modules' folders. The next driver that opens such a folder
    /// with [`Driver::add`](super::Driver::add) takes it away, and goes on if that is still right:
    /// in the same run of the machine, with the same configuration where it matters, in time. Else
    /// it boots, like any other (R9). So it is used once, and no file descriptor has to be passed:
    /// a daemon hands over and replaces itself by the new program (`exec`), which keeps its process
    /// id for whoever supervises it. If that fails, the same process can start a driver again.
    ///
    /// "In time" is S before the lifetime of what runs is over, L after the last renewal at most,
    /// and D without a witness. If no process goes on by then, the addresses vanish and the
    /// guardian ends the application.
    ///
    /// Where nothing runs and there is nothing to lose, since there is no whole copy, a module leaves
    /// nothing, stands in nobody's way, and boots.
    ///
    /// Resources that were down stay down: the next process tells each of its resources once, up or
    /// down, as it does after any start.
    ///
    /// ```no_run
    /// use std::os::unix::process::CommandExt;
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// use ha_core::driver::{NotHandedOver, Running};
    ///
    /// /// Goes on as the program that is installed now; returns when it cannot.
    /// fn upgrade(running: Running) -> Result<Running, Box<dyn core::error::Error>> {
    ///     match running.hand_over(Duration::from_millis(300)) {
    ///         Ok(()) => {
    ///             let program = std::env::current_exe()?;
    ///             // It starts as always; the same process, with all its files closed.
    ///             Err(Command::new(program).args(std::env::args_os().skip(1)).exec().into())
    ///         }
    ///         Err(NotHandedOver::Unready { running, .. }) => Ok(running), // try again later
    ///         Err(NotHandedOver::Ended(failure)) => Err(failure.into()),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`NotHandedOver`] gives the running driver back, or says how it ended.
    pub fn hand_over(mut self, patience: Duration) -> Result<(), NotHandedOver> {
        let (reply, answer) = channel();
        // To a driver that has ended there is nothing to say.
        let _ = self.mailbox.post(Letter::HandOver { patience, reply });
        match answer.recv() {
            Ok(Ok(())) => self.join().map_err(NotHandedOver::Ended),
            Ok(Err((module, why))) => {
                warn!(module = module.0, %why, "no hand-over");
                Err(NotHandedOver::Unready { running: self, module, why })
            }
            Err(_ended) => {
                let source = io::ErrorKind::NotConnected.into();
                let ended = Failure::Io { what: "the hand-over", source };
                Err(NotHandedOver::Ended(self.join().err().unwrap_or(ended)))
            }
        }
    }
}

impl Loop {
    /// Hands all modules over once each of them can, or gives that up; breaks at the end.
    pub(super) fn settle_leaving(
        &mut self,
        cx: &mut Context<'_>,
    ) -> ControlFlow<Result<(), Failure>> {
        let Some(leaving) = self.leaving.take() else { return ControlFlow::Continue(()) };
        let now = self.clock.now();
        let unready = self.modules.iter().find_map(|module| {
            let why = module.may_leave(now).err()?;
            Some((module.shared.id, why))
        });
        match unready {
            None => ControlFlow::Break(self.leave(now, &leaving)),
            Some((module, why)) if !why.passes() || now >= leaving.until => {
                // Who asked may have gone.
                let _ = leaving.reply.send(Err((module, why)));
                // What waited meanwhile goes on.
                cx.waker().wake_by_ref();
                ControlFlow::Continue(())
            }
            Some(_) => {
                self.leaving = Some(leaving);
                ControlFlow::Continue(())
            }
        }
    }

    fn leave(&mut self, now: Instant, leaving: &Leaving) -> Result<(), Failure> {
        let mut modules = mem::take(&mut self.modules);
        for module in &mut modules {
            // The last one that this process tells, whatever the others take.
            module.hosting.beat();
        }
        // All are told before any is waited for: a script of one must not hold up the others.
        let mut left = Vec::with_capacity(modules.len());
        for module in modules {
            module.shared.permits.close();
            let Module { mirror, shared, storage, hosting, .. } = module;
            match mirror.hand_over(now) {
                Ok(baton) => {
                    let mut bytes = Vec::new();
                    baton.encode(&mut bytes);
                    // A failure ends the driver as any other does: what runs is stopped.
                    storage.leave_baton(bytes).map_err(|source| Failure::Io {
                        what: "writing what is handed over",
                        source,
                    })?;
                    info!(module = shared.id.0, serves = baton.serves(), "handed over");
                }
                Err((_, why)) => {
                    assert!(why.is_a_boot(), "it could a moment ago: {why}");
                    info!(module = shared.id.0, %why, "nothing to hand over");
                }
            }
            // Also of a module that boots: the scripts of an orderly end would hold the others up.
            hosting.leave();
            left.push(hosting);
        }
        drop(left);
        let _ = leaving.reply.send(Ok(()));
        Ok(())
    }
}

impl Module {
    fn may_leave(&self, now: Instant) -> Result<(), WhyUnready> {
        if let Err(why) = self.mirror.may_hand_over(now)
            && !why.is_a_boot()
        {
            return Err(WhyUnready::Node(why));
        }
        let ends = self.mirror.status().serving && !self.outlives;
        if ends { Err(WhyUnready::Ends) } else { Ok(()) }
    }
}

impl WhyUnready {
    /// Whether it passes by itself, mostly within moments.
    pub const fn passes(self) -> bool {
        match self {
            Self::Node(why) => why.passes(),
            Self::Ends => false,
        }
    }
}

/// What an earlier process handed over, if this one may go on with it.
pub(super) fn usable(
    bytes: &[u8],
    config: &NodeConfig,
    saved: &Saved,
    now: Instant,
) -> Option<Baton> {
    let module = config.config.identity().module.0;
    let baton = match Baton::decode(bytes) {
        Ok(baton) => baton,
        Err(why) => {
            warn!(module, %why, "what was handed over cannot be read: this is a boot");
            return None;
        }
    };
    if let Err(why) = baton.check(&config.config, saved, now) {
        warn!(module, %why, "what was handed over cannot be used: this is a boot");
        return None;
    }
    info!(module, serves = baton.serves(), "goes on where an earlier process stopped");
    Some(baton)
}
