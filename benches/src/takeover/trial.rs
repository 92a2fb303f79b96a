//! One loss of a primary, as clients and its neighbours saw it.

use std::io;
use std::thread;
use std::time::Duration;

use ha_lab::{Prober, now, within};
use ha_proto::Instant;

use super::fault::Fault;
use super::ground::Ground;
use super::keepalived::holds;
use super::pair::Pair;

/// How a trial goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// What happens.
    pub fault: Fault,
    /// How long the pair is left alone before: another part of the time between two signs of life
    /// in each trial, since the gap depends on it.
    pub rest: Duration,
    /// How long a takeover may take.
    pub limit: Duration,
    /// How long an address of a server without a daemon is watched.
    pub watch: Duration,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The longest time without an answer from who was entitled: the primary until the other first
    /// answered, and that one from then on. IPv4 and IPv6.
    pub gaps: [Duration; 2],
    /// Answers from who was not entitled, of both families.
    pub others: usize,
    /// What became of the addresses of a server without a daemon.
    pub left: Option<Left>,
    /// What became of its service, where something looks after that.
    pub served: Option<Left>,
}

/// What became of what a daemon left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    /// The last was gone so long after the fault.
    Gone(Duration),
    /// One was there for as long as it was watched.
    Stays(Duration),
}

impl Trial {
    /// Runs it on a pair that is whole.
    ///
    /// # Errors
    /// The primary does not answer at first, or the other not within the limit.
    pub fn run(self, ground: &mut Ground, pair: &dyn Pair) -> io::Result<Outcome> {
        let probers = ground.targets().map(|target| Prober::start(&ground.client, target, PACE));
        let [v4, v6] = probers;
        let probers = [v4?, v6?];
        let began = now();
        Self::answered(&probers, "a", self.limit)?;
        // Whatever the wait took is part of the rest.
        thread::sleep(self.rest.saturating_sub(now().saturating_since(began)));
        let struck = now();
        self.fault.strike(ground, pair)?;
        let watched = thread::scope(|scope| {
            let watch = scope.spawn(|| self.behind(ground, pair, struck));
            Self::answered(&probers, "b", self.limit)?;
            watch.join().map_err(|_| io::Error::other("the watch panicked"))
        });
        let (left, served) = watched?;
        let (mut gaps, mut others) = ([Duration::ZERO; 2], 0);
        for (gap, prober) in gaps.iter_mut().zip(probers) {
            let report = prober.finish()?;
            let turns = report.turns(&["a", "b"]);
            let first = report.answers.first().map_or(report.began, |answer| answer.heard);
            *gap = report.between(first, report.ended).worst(&turns).length();
            others += report.strays(&turns).values().map(|strays| strays.count).sum::<usize>();
        }
        Ok(Outcome { gaps, others, left, served })
    }

    fn answered(probers: &[Prober], name: &str, limit: Duration) -> io::Result<()> {
        if probers.iter().all(|prober| prober.wait_for(name, limit)) {
            return Ok(());
        }
        Err(io::Error::other(format!("{name} does not answer within {limit:?}")))
    }

    /// What a primary without a daemon leaves: its addresses, and its service.
    fn behind(
        self,
        ground: &Ground,
        pair: &dyn Pair,
        struck: Instant,
    ) -> (Option<Left>, Option<Left>) {
        if !self.fault.leaves_nobody() {
            return (None, None);
        }
        // The service first: it is the first to go, and looked at with less effort.
        let fenced = || pair.is_fenced() == Some(true);
        let served = pair.is_fenced().map(|_| self.until(struck, fenced));
        let gone = || !ground.addresses().iter().any(|address| holds(&ground.a, *address));
        (Some(self.until(struck, gone)), served)
    }

    fn until(self, struck: Instant, gone: impl FnMut() -> bool) -> Left {
        if within(self.watch, gone) {
            Left::Gone(now().saturating_since(struck))
        } else {
            Left::Stays(now().saturating_since(struck))
        }
    }
}

/// A request each millisecond.
const PACE: Duration = Duration::from_millis(1);
