//! The threads on which hosts and their guards are called.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::task::Poll;
use core::time::Duration;
use std::format;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::prelude::rust_2024::*;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use ha_proto::{Epoch, Instant, ModuleId, Seq, Ticket};
use ha_replicate::{Batch, ProposeError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing::{Instrument, error, info_span, warn};

use super::Clock;
use super::host::{Guard, Host, HostError, Pulse};
use crate::{Answer, Event};

/// A host and its guard at work, each on a thread of its own with a runtime of its own.
///
/// Their queues hold the few effects that a node has in flight for one module, and at most
/// [`NOTES_MAX`] notes.
#[derive(Debug)]
pub(super) struct Hosting {
    /// Ends first: the addresses are off before the application is stopped.
    guard: Caller<(Instant, GuardJob)>,
    host: Caller<HostJob>,
    notes: Arc<AtomicUsize>,
    /// Whether the guard has still to be told to announce.
    announces: Arc<AtomicBool>,
    pulse: Option<Pulse>,
    clock: Clock,
}

#[derive(Debug)]
struct Caller<T> {
    jobs: Option<UnboundedSender<T>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
pub(super) enum HostJob {
    Start {
        ticket: Ticket,
        epoch: Epoch,
        head: Seq,
    },
    Adopt {
        ticket: Ticket,
        epoch: Epoch,
        head: Seq,
    },
    Stop {
        ticket: Ticket,
        force: bool,
    },
    Apply {
        ticket: Ticket,
        batch: Batch,
    },
    Reset {
        ticket: Ticket,
    },
    Refused {
        record: Bytes,
        why: ProposeError,
    },
    Observe(Event),
    /// Another process goes on; nothing follows.
    Leave,
}

#[derive(Debug)]
pub(super) enum GuardJob {
    Fence {
        ticket: Ticket,
        epoch: Epoch,
    },
    Take {
        ticket: Ticket,
        epoch: Epoch,
        lifetime: Duration,
    },
    Keep {
        ticket: Ticket,
        lifetime: Duration,
    },
    Adopt {
        ticket: Ticket,
        epoch: Epoch,
        lifetime: Duration,
    },
    Drop {
        ticket: Ticket,
    },
    /// At most one waits.
    Announce,
    /// Another process goes on; nothing follows.
    Leave,
}

impl Hosting {
    /// `died` is called with the name of a thread on which the host or its guard panicked: what it
    /// owes is never answered, so that the driver has to end.
    pub(super) fn start<H: Host>(
        module: ModuleId,
        mut host: H,
        answer: impl Fn(Ticket, Answer) + Send + Sync + 'static,
        died: impl Fn(&str) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let (answer, died) = (Arc::new(answer), Arc::new(died));
        let to = Arc::clone(&answer);
        let clock = Clock::start();
        let answer_guard = move |ticket, answer| to(ticket, answer);
        let announces = Arc::new(AtomicBool::new(false));
        let mut guard = host.guard();
        let pulse = guard.pulse();
        let guard = GuardDesk {
            guard,
            taken: false,
            left: false,
            announces: Arc::clone(&announces),
            clock,
            answer: answer_guard,
        };
        let guard = Caller::start("guard", module, guard, Arc::clone(&died))?;
        let notes = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&notes);
        let answer = move |ticket, result| answer(ticket, result);
        let host = HostDesk { host, runs: false, left: false, notes: seen, answer };
        let host = Caller::start("host", module, host, died)?;
        Ok(Self { guard, host, notes, announces, pulse, clock })
    }

    pub(super) fn host(&self, job: HostJob) {
        self.host.ask(job);
    }

    pub(super) fn guard(&self, job: GuardJob) {
        self.guard.ask((self.clock.now(), job));
    }

    /// The peer is heard again: whoever has virtual addresses says so.
    pub(super) fn announce(&self) {
        if !self.announces.swap(true, Ordering::AcqRel) {
            self.guard(GuardJob::Announce);
        }
    }

    /// The node has sent a heartbeat.
    pub(super) fn beat(&mut self) {
        if let Some(pulse) = &mut self.pulse {
            pulse.beat();
        }
    }

    /// Lets both threads end, and leave what they started as it is: another process goes on with
    /// it. Dropping this waits for them.
    pub(super) fn leave(&self) {
        self.guard(GuardJob::Leave);
        self.host(HostJob::Leave);
    }

    /// Tells the host something that needs no answer; dropped when too much of that waits.
    pub(super) fn note(&self, job: HostJob) {
        if self.notes.fetch_add(1, Ordering::Relaxed) < NOTES_MAX {
            self.host.ask(job);
        } else {
            self.notes.fetch_sub(1, Ordering::Relaxed);
            warn!("the host is too slow to be told everything");
        }
    }
}

impl<T: Send + 'static> Caller<T> {
    fn start(
        what: &str,
        module: ModuleId,
        desk: impl Desk<T> + Send + 'static,
        died: Arc<impl Fn(&str) + Send + Sync + 'static>,
    ) -> io::Result<Self> {
        let (jobs, todo) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let span = info_span!("host", module = module.0);
        let name = format!("ha-{what}-{}", module.0);
        let thread = thread::Builder::new().name(name.clone()).spawn(move || {
            runtime.block_on(work(desk, todo, || died(&name)).instrument(span));
        })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    fn ask(&self, job: T) {
        let jobs = self.jobs.as_ref().expect("the queue lives as long as its thread");
        // One that has ended panicked at its end: there is nothing to ask it for.
        let _ = jobs.send(job);
    }
}

impl<T> Drop for Caller<T> {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What one of the threads does.
trait Desk<T> {
    /// Does what it is asked, until nobody asks any more.
    async fn serve(&mut self, jobs: &mut UnboundedReceiver<T>);

    /// Leaves nothing behind that nobody watches.
    async fn end(&mut self);
}

/// A thread's life. After a panic it does nothing more before the driver ends, for which `died` is
/// called, and leaves then as little behind as at any end.
async fn work<T>(mut desk: impl Desk<T>, mut jobs: UnboundedReceiver<T>, died: impl FnOnce()) {
    if !returns(desk.serve(&mut jobs)).await {
        died();
        while jobs.recv().await.is_some() {}
    }
    if !returns(desk.end()).await {
        error!("it panicked at the driver's end: what it left behind is not known");
    }
}

/// Whether `future` comes to its end, rather than panic. What it borrowed may be half done then.
async fn returns(future: impl Future<Output = ()>) -> bool {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled.map(|()| true),
        Err(_) => Poll::Ready(false),
    })
    .await
}

struct HostDesk<H, A> {
    host: H,
    /// Whether the application may run.
    runs: bool,
    /// Whether another process goes on with it.
    left: bool,
    notes: Arc<AtomicUsize>,
    answer: A,
}

impl<H: Host, A: Fn(Ticket, Answer)> Desk<HostJob> for HostDesk<H, A> {
    async fn serve(&mut self, jobs: &mut UnboundedReceiver<HostJob>) {
        let Self { host, runs, left, notes, answer } = self;
        while let Some(job) = jobs.recv().await {
            match job {
                HostJob::Start { ticket, epoch, head } => {
                    *runs = true;
                    let result = host.start(epoch, head).await;
                    answer(ticket, told("start", result));
                }
                HostJob::Adopt { ticket, epoch, head } => {
                    *runs = true;
                    let result = host.adopt(epoch, head).await;
                    answer(ticket, told("adopt", result));
                }
                HostJob::Leave => {
                    *left = true;
                    host.leave();
                }
                HostJob::Stop { ticket, force } => {
                    let result = host.stop(force).await;
                    *runs &= result.is_err();
                    answer(ticket, told("stop", result));
                }
                HostJob::Apply { ticket, batch } => {
                    let result = host.apply_batch(&batch).await;
                    answer(ticket, told("apply", result));
                }
                HostJob::Reset { ticket } => {
                    let result = host.reset().await;
                    answer(ticket, told("reset", result));
                }
                HostJob::Refused { record, why } => host.refused(record, why),
                HostJob::Observe(event) => {
                    notes.fetch_sub(1, Ordering::Relaxed);
                    host.observe(&event);
                }
            }
        }
    }

    async fn end(&mut self) {
        if self.runs && !self.left {
            told("stop", self.host.stop(true).await);
        }
    }
}

struct GuardDesk<G, A> {
    guard: G,
    /// Whether an address may be here.
    taken: bool,
    /// Whether another process goes on with it.
    left: bool,
    /// [`Hosting::announces`].
    announces: Arc<AtomicBool>,
    clock: Clock,
    answer: A,
}

impl<G: Guard, A: Fn(Ticket, Answer)> Desk<(Instant, GuardJob)> for GuardDesk<G, A> {
    async fn serve(&mut self, jobs: &mut UnboundedReceiver<(Instant, GuardJob)>) {
        let Self { guard, taken, left: gone, announces, clock, answer } = self;
        // A lifetime counts from when it was asked for: it must not outlive the lease that it is
        // for.
        let left = |asked, lifetime: Duration| {
            let left = lifetime.saturating_sub(clock.now().saturating_since(asked));
            if left.is_zero() { Err(HostError::new("it was asked too long ago")) } else { Ok(left) }
        };
        while let Some((asked, job)) = jobs.recv().await {
            match job {
                GuardJob::Fence { ticket, epoch } => {
                    let result = guard.fence(epoch).await;
                    answer(ticket, told("fence", result));
                }
                GuardJob::Take { ticket, epoch, lifetime } => {
                    let result = match left(asked, lifetime) {
                        Ok(lifetime) => {
                            *taken = true;
                            guard.take_address(epoch, lifetime).await
                        }
                        Err(late) => Err(late),
                    };
                    answer(ticket, told("take the address of", result));
                }
                GuardJob::Adopt { ticket, epoch, lifetime } => {
                    *taken = true;
                    let result = match left(asked, lifetime) {
                        Ok(lifetime) => guard.adopt_address(epoch, lifetime).await,
                        Err(late) => Err(late),
                    };
                    answer(ticket, told("adopt the address of", result));
                }
                GuardJob::Announce => {
                    // Before: whatever is heard from now on is told once more.
                    announces.store(false, Ordering::Release);
                    guard.announce_address();
                }
                GuardJob::Leave => {
                    *gone = true;
                    guard.leave();
                }
                GuardJob::Keep { ticket, lifetime } => {
                    let result = match left(asked, lifetime) {
                        Ok(lifetime) => guard.keep_address(lifetime).await,
                        Err(late) => Err(late),
                    };
                    answer(ticket, told("keep the address of", result));
                }
                GuardJob::Drop { ticket } => {
                    let result = guard.drop_address().await;
                    *taken &= result.is_err();
                    answer(ticket, told("drop the address of", result));
                }
            }
        }
    }

    async fn end(&mut self) {
        if self.taken && !self.left {
            told("drop the address of", self.guard.drop_address().await);
        }
    }
}

fn told(what: &'static str, result: Result<(), HostError>) -> Answer {
    match result {
        Ok(()) => Answer::Done,
        Err(error) => {
            error!(%error, "could not {what} the application");
            Answer::Failed
        }
    }
}

/// Notes that may wait for one host: far more than a healthy one ever has, some megabyte at most.
const NOTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A host that applies for as long as the test lets it, and notes what it is asked.
    struct Slow {
        calls: Sender<&'static str>,
        go: Receiver<()>,
    }

    struct Quick(Sender<&'static str>);

    impl Host for Slow {
        type Guard = Quick;

        fn guard(&mut self) -> Quick {
            Quick(self.calls.clone())
        }

        async fn start(&mut self, _: Epoch, _: Seq) -> Result<(), HostError> {
            self.calls.send("start")?;
            Ok(())
        }

        async fn stop(&mut self, force: bool) -> Result<(), HostError> {
            self.calls.send(if force { "stop by force" } else { "stop" })?;
            Ok(())
        }

        async fn apply(&mut self, _: Seq, _: Bytes) -> Result<(), HostError> {
            unreachable!("batches are applied whole")
        }

        async fn apply_batch(&mut self, batch: &Batch) -> Result<(), HostError> {
            self.calls.send("apply")?;
            assert!(batch.last < Seq(9), "a bug of the host's");
            self.go.recv().map_err(HostError::from)
        }

        async fn reset(&mut self) -> Result<(), HostError> {
            Err(HostError::new("it cannot"))
        }

        fn observe(&mut self, _: &Event) {
            self.calls.send("observe").unwrap();
        }
    }

    impl Guard for Quick {
        async fn fence(&mut self, epoch: Epoch) -> Result<(), HostError> {
            self.0.send("fence")?;
            assert_eq!(epoch, Epoch::NONE, "a bug of the guard's");
            Ok(())
        }

        async fn keep_address(&mut self, lifetime: Duration) -> Result<(), HostError> {
            assert!(lifetime < Duration::from_mins(1), "what has passed is taken off");
            self.0.send("keep address")?;
            Ok(())
        }

        async fn drop_address(&mut self) -> Result<(), HostError> {
            self.0.send("drop address")?;
            Ok(())
        }

        fn announce_address(&mut self) {
            self.0.send("announce").unwrap();
        }

        fn pulse(&mut self) -> Option<Pulse> {
            let calls = self.0.clone();
            Some(Pulse::new(move || calls.send("beat").unwrap()))
        }
    }

    struct Rig {
        hosting: Hosting,
        calls: Receiver<&'static str>,
        go: Sender<()>,
        answers: Receiver<(Ticket, Answer)>,
        deaths: Receiver<String>,
    }

    impl Rig {
        fn new() -> Self {
            let (call, calls) = channel();
            let (go, went) = channel();
            let (answer, answers) = channel();
            let (died, deaths) = channel();
            let (answer, died) = (Mutex::new(answer), Mutex::new(died));
            let host = Slow { calls: call, go: went };
            let answer = move |ticket, result| {
                // The last answers come when nobody listens any more.
                let _ = answer.lock().unwrap().send((ticket, result));
            };
            let died = move |name: &str| died.lock().unwrap().send(name.into()).unwrap();
            let hosting = Hosting::start(ModuleId(1), host, answer, died).unwrap();
            Self { hosting, calls, go, answers, deaths }
        }

        /// With the address taken and the application running.
        fn serving() -> Self {
            let rig = Self::new();
            let (epoch, lifetime) = (Epoch::NONE, Duration::from_mins(1));
            rig.hosting.guard(GuardJob::Take { ticket: Ticket(1), epoch, lifetime });
            rig.answered();
            rig.hosting.host(HostJob::Start { ticket: Ticket(2), epoch, head: Seq::ZERO });
            rig.answered();
            assert_eq!(rig.called(), "start");
            rig
        }

        fn died(&self) -> String {
            self.deaths.recv_timeout(Duration::from_mins(1)).unwrap()
        }

        /// All that is called from its end on.
        fn end(self) -> Vec<&'static str> {
            let Self { hosting, calls, .. } = self;
            drop(hosting);
            calls.iter().collect()
        }

        fn called(&self) -> &'static str {
            self.calls.recv_timeout(Duration::from_mins(1)).unwrap()
        }

        fn answered(&self) -> (Ticket, Answer) {
            self.answers.recv_timeout(Duration::from_mins(1)).unwrap()
        }
    }

    fn batch() -> Batch {
        let end = ha_proto::Position::default();
        Batch { first: Seq(1), last: Seq(1), end, bytes: Bytes::new() }
    }

    #[test]
    fn a_fence_does_not_wait_behind_the_application() {
        let rig = Rig::new();
        rig.hosting.host(HostJob::Apply { ticket: Ticket(1), batch: batch() });
        assert_eq!(rig.called(), "apply");
        rig.hosting.host(HostJob::Stop { ticket: Ticket(2), force: false });
        rig.hosting.guard(GuardJob::Fence { ticket: Ticket(3), epoch: Epoch::NONE });
        assert_eq!(rig.called(), "fence");
        assert_eq!(rig.answered(), (Ticket(3), Answer::Done));
        rig.go.send(()).unwrap();
        assert_eq!(rig.answered(), (Ticket(1), Answer::Done));
        assert_eq!(rig.answered(), (Ticket(2), Answer::Done));
    }

    #[test]
    fn an_address_lives_no_longer_than_it_was_asked_to() {
        let rig = Rig::new();
        let minute = Duration::from_mins(1);
        rig.hosting.guard(GuardJob::Keep { ticket: Ticket(1), lifetime: minute });
        assert_eq!(rig.answered(), (Ticket(1), Answer::Done));
        assert_eq!(rig.called(), "keep address");
        let moment = Duration::from_nanos(1);
        rig.hosting.guard(GuardJob::Keep { ticket: Ticket(2), lifetime: moment });
        assert_eq!(rig.answered(), (Ticket(2), Answer::Failed));
        let job = GuardJob::Take { ticket: Ticket(3), epoch: Epoch::NONE, lifetime: moment };
        rig.hosting.guard(job);
        assert_eq!(rig.answered(), (Ticket(3), Answer::Failed));
    }

    #[test]
    fn each_heal_is_told_after_it_and_no_more_than_one_waits() {
        let rig = Rig::new();
        rig.hosting.announce();
        assert_eq!(rig.called(), "announce");
        // Whether or not the guard comes first, the last one is told after it was asked.
        rig.hosting.announce();
        rig.hosting.announce();
        let said = rig.end();
        assert!(said == ["announce"] || said == ["announce", "announce"], "{said:?}");
    }

    #[test]
    fn a_heartbeat_does_not_wait_behind_a_guard_that_hangs() {
        let mut rig = Rig::new();
        rig.hosting.host(HostJob::Apply { ticket: Ticket(1), batch: batch() });
        assert_eq!(rig.called(), "apply");
        rig.hosting.beat();
        assert_eq!(rig.called(), "beat", "on the thread of the node");
        rig.go.send(()).unwrap();
    }

    #[test]
    fn a_failure_is_an_answer() {
        let rig = Rig::new();
        rig.hosting.host(HostJob::Reset { ticket: Ticket(1) });
        assert_eq!(rig.answered(), (Ticket(1), Answer::Failed));
    }

    #[test]
    fn an_end_drops_the_addresses_and_then_stops_the_application() {
        assert_eq!(Rig::serving().end(), ["drop address", "stop by force"]);
    }

    #[test]
    fn a_host_that_panics_is_told_and_ends_like_any_other() {
        let rig = Rig::serving();
        let batch = Batch { last: Seq(9), ..batch() };
        rig.hosting.host(HostJob::Apply { ticket: Ticket(3), batch });
        assert_eq!((rig.called(), rig.died().as_str()), ("apply", "ha-host-1"));
        // Nothing is asked of it before the addresses are off.
        rig.hosting.host(HostJob::Stop { ticket: Ticket(4), force: false });
        assert_eq!(rig.end(), ["drop address", "stop by force"]);
    }

    #[test]
    fn a_guard_that_panics_is_told_and_ends_like_any_other() {
        let rig = Rig::serving();
        let epoch = Epoch::new(1, ha_proto::NodeId::new(0).unwrap());
        rig.hosting.guard(GuardJob::Fence { ticket: Ticket(3), epoch });
        assert_eq!((rig.called(), rig.died().as_str()), ("fence", "ha-guard-1"));
        assert_eq!(rig.end(), ["drop address", "stop by force"]);
    }

    #[test]
    fn an_end_leaves_alone_what_does_not_run() {
        assert_eq!(Rig::new().end(), [""; 0]);
    }

    #[test]
    fn a_host_that_hangs_is_not_told_everything() {
        let rig = Rig::new();
        rig.hosting.host(HostJob::Apply { ticket: Ticket(1), batch: batch() });
        assert_eq!(rig.called(), "apply");
        for _ in 0..NOTES_MAX + 10 {
            rig.hosting.note(HostJob::Observe(Event::InSync));
        }
        rig.go.send(()).unwrap();
        assert_eq!(rig.end().len(), NOTES_MAX);
    }
}
