//! What a member serves with, on a thread of its own.

use std::boxed::Box;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::prelude::rust_2024::*;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use ha_proto::{Epoch, Role, Ticket};
use tokio::sync::mpsc;
use tracing::{error, warn};

use super::turn::Letter;
use crate::driver::HostError;
use crate::linux::scripts::{Script, Scripts, Service, Shift};

/// What a member serves with. It runs on every member at once.
pub trait Application: Send {
    /// Starts it; done when it can serve.
    ///
    /// # Errors
    /// It does not run: the member takes nothing until it is ordered to start again.
    fn start(&mut self) -> Result<(), HostError>;

    /// Stops it, if it runs; not gracefully with `force`.
    ///
    /// # Errors
    /// Something of it may run.
    fn stop(&mut self, force: bool) -> Result<(), HostError>;

    /// It runs already: an earlier process of this node started it and handed over. The default
    /// does nothing.
    fn adopt(&mut self) {}
}

/// A member whose application somebody else starts and stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoApplication;

impl Application for NoApplication {
    fn start(&mut self) -> Result<(), HostError> {
        Ok(())
    }

    fn stop(&mut self, _force: bool) -> Result<(), HostError> {
        Ok(())
    }
}

/// The scripts of a module: `prestart` and `start_both` start it, `stop_both` and `poststop` stop
/// it, and each is followed by `transition`.
#[derive(Debug)]
pub struct Scripted {
    scripts: Scripts,
    /// Whether `prestart` was called, and `poststop` was not since.
    begun: bool,
}

impl Scripted {
    /// The application of these scripts; runs none yet.
    pub fn new(scripts: Scripts) -> Self {
        Self { scripts, begun: false }
    }
}

impl Application for Scripted {
    fn adopt(&mut self) {
        self.begun = true;
    }

    fn start(&mut self) -> Result<(), HostError> {
        let shift = Shift { from: Role::Stop, to: Role::Up, epoch: Epoch::NONE };
        if !self.begun {
            self.scripts.call(Script::Prestart, shift)?;
            self.begun = true;
        }
        self.scripts.start(Service::Both, shift)?;
        Ok(self.scripts.call(Script::Transition, shift)?)
    }

    fn stop(&mut self, force: bool) -> Result<(), HostError> {
        if !self.begun {
            return Ok(());
        }
        self.begun = false;
        let shift = Shift { from: Role::Up, to: Role::Stop, epoch: Epoch::NONE };
        self.scripts.stop(Service::Both, shift, force)?;
        for script in [Script::Transition, Script::Poststop] {
            if let Err(error) = self.scripts.call(script, shift) {
                warn!(%error, "a script that follows the stop");
            }
        }
        Ok(())
    }
}

/// What is asked of an application.
#[derive(Clone, Copy, Debug)]
enum Job {
    Start(Ticket),
    Stop {
        ticket: Ticket,
        force: bool,
    },
    /// It runs, by an earlier process.
    Adopt,
    /// It is left to a next process.
    Leave,
}

/// The thread that calls an application. Its queue is bounded by the orders that a node takes: each
/// gives one job.
#[derive(Debug)]
pub(super) struct Caller {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Caller {
    pub(super) fn start(
        application: Box<dyn Application>,
        answers: mpsc::Sender<Letter>,
    ) -> io::Result<Self> {
        let (jobs, queue) = channel();
        let thread = thread::Builder::new().name(THREAD.into());
        let thread = thread.spawn(move || serve(application, &queue, &answers))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Starts the application, and answers.
    pub(super) fn begin(&self, ticket: Ticket) {
        self.post(Job::Start(ticket));
    }

    /// Stops it, and answers.
    pub(super) fn stop(&self, ticket: Ticket, force: bool) {
        self.post(Job::Stop { ticket, force });
    }

    /// What it calls runs already.
    pub(super) fn adopt(&self) {
        self.post(Job::Adopt);
    }

    /// Ends, and leaves what runs to a next process.
    pub(super) fn leave(self) {
        self.post(Job::Leave);
    }

    fn post(&self, job: Job) {
        let jobs = self.jobs.as_ref().expect("it ends when it is dropped");
        // A thread that has panicked has said so.
        let _ = jobs.send(job);
    }
}

impl Drop for Caller {
    /// Stops what runs by force, and waits for that.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // Its panics are caught and told.
            let _ = thread.join();
        }
    }
}

fn serve(
    mut application: Box<dyn Application>,
    queue: &Receiver<Job>,
    answers: &mpsc::Sender<Letter>,
) {
    let mut runs = false;
    while let Ok(job) = queue.recv() {
        let (ticket, what, result) = match job {
            Job::Start(ticket) => {
                runs = true;
                (ticket, "start", guarded(|| application.start()))
            }
            Job::Stop { ticket, force } => {
                runs = false;
                (ticket, "stop", guarded(|| application.stop(force)))
            }
            Job::Adopt => {
                runs = true;
                application.adopt();
                continue;
            }
            Job::Leave => {
                runs = false;
                continue;
            }
        };
        if let Err(error) = &result {
            error!(%error, what, "the application");
        }
        // A node that has ended needs no answer.
        let _ = answers.blocking_send(Letter::Done { ticket, ok: result.is_ok() });
    }
    if runs && let Err(error) = guarded(|| application.stop(true)) {
        error!(%error, "the application cannot be stopped");
    }
}

fn guarded(call: impl FnOnce() -> Result<(), HostError>) -> Result<(), HostError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Err(HostError::new("it panicked")))
}

const THREAD: &str = "ha-farm-app";
