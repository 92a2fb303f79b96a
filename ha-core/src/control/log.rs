//! The newest events of a process, for whoever asks or follows.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::prelude::rust_2024::*;
use std::sync::{Mutex, PoisonError};

use ha_proto::{Epoch, Instant, ModuleId};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::Event;
use crate::control::ring::{Ring, Since};
use crate::control::wall::Wall;
use crate::driver::Clock;
use crate::history::{History, Takeover};

/// The newest events of all modules of a process, numbered from 1 in the order in which they
/// happened, and the takeovers that they were part of.
///
/// Give it to [`Driver::observe`](crate::driver::Driver::observe):
///
/// ```no_run
/// use std::sync::Arc;
/// use ha_core::control::EventLog;
/// use ha_core::driver::Driver;
///
/// let mut driver = Driver::new();
/// let events = Arc::new(EventLog::new());
/// let log = Arc::clone(&events);
/// driver.observe(move |module, epoch, event| log.note(module, epoch, event));
/// ```
pub struct EventLog {
    clock: Clock,
    kept: Mutex<Kept>,
    newest: watch::Sender<u64>,
}

/// An event, and when it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub seq: u64,
    /// Whose.
    pub module: ModuleId,
    /// The epoch that was saved then.
    pub epoch: Epoch,
    /// When, on the log's clock.
    pub at: Instant,
    /// When, by the wall's clock, which may jump.
    pub wall: Wall,
    /// What.
    pub event: Event,
}

/// A takeover, and when it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// The number of the event that ended it.
    pub seq: u64,
    /// When, by the wall's clock.
    pub wall: Wall,
    /// What.
    pub takeover: Takeover,
}

/// What a log hands over to the process that goes on for its own: takeovers, at most
/// [`EventLog::HISTORY`] of a module, and no events. Its times are of the machine's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HandedLog {
    newest: u64,
    modules: Vec<HandedModule>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct HandedModule {
    module: ModuleId,
    history: History,
    past: Vec<Past>,
}

#[derive(Debug)]
struct Kept {
    ring: Ring<Entry>,
    modules: BTreeMap<ModuleId, (History, VecDeque<Past>)>,
}

impl EventLog {
    /// Events that are kept: some hours of a pair that flaps every few seconds; 0.5 MiB.
    pub const KEPT: usize = 4_096;
    /// Events that are given out at once, so that no reader holds up the node for long.
    pub const CHUNK: usize = 256;
    /// Takeovers that are kept for each module.
    pub const HISTORY: usize = 64;

    /// An empty log.
    pub fn new() -> Self {
        Self::resume(HandedLog::default())
    }

    /// One of a process that goes on for another: the takeovers that were are known, and the next
    /// one is told by what was seen there. Who followed there hears that events are forgotten, and
    /// misses none of those that come.
    pub fn resume(handed: HandedLog) -> Self {
        let HandedLog { newest, modules } = handed;
        let module = |HandedModule { module, history, past }| {
            // The newest, of whoever kept more.
            let more = past.len().saturating_sub(Self::HISTORY);
            (module, (history, past.into_iter().skip(more).collect()))
        };
        let modules = modules.into_iter().map(module).collect();
        let kept = Kept { ring: Ring::after(newest, Self::KEPT), modules };
        let (newest, _) = watch::channel(newest);
        // Another process reads the same.
        Self { clock: Clock::of_the_machine(), kept: Mutex::new(kept), newest }
    }

    /// What the next process [resumes](Self::resume) with.
    pub fn hand_over(&self) -> HandedLog {
        let kept = self.kept();
        let module = |(&module, (history, past)): (&ModuleId, &(History, VecDeque<Past>))| {
            HandedModule { module, history: *history, past: past.iter().copied().collect() }
        };
        HandedLog { newest: kept.ring.newest(), modules: kept.modules.iter().map(module).collect() }
    }

    /// Takes an event. Returns at once.
    pub fn note(&self, module: ModuleId, epoch: Epoch, event: &Event) {
        let seq = self.keep(module, epoch, event, self.clock.now(), Wall::now());
        self.newest.send_replace(seq);
    }

    fn keep(&self, module: ModuleId, epoch: Epoch, event: &Event, at: Instant, wall: Wall) -> u64 {
        let mut kept = self.kept();
        let seq = kept.ring.push(|seq| Entry { seq, module, epoch, at, wall, event: *event });
        let (history, past) = kept.modules.entry(module).or_default();
        if let Some(takeover) = history.note(at, event) {
            if past.len() == Self::HISTORY {
                past.pop_front();
            }
            past.push_back(Past { seq, wall, takeover });
        }
        seq
    }

    /// The events from number `from` on.
    pub fn since(&self, from: u64) -> Since<Entry> {
        self.kept().ring.since(from, Self::CHUNK)
    }

    /// The number of the newest event; zero before the first.
    pub fn newest(&self) -> u64 {
        *self.newest.borrow()
    }

    /// Says when there is a newer event.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// The takeovers of a module, oldest first.
    pub fn history(&self, module: ModuleId) -> Vec<Past> {
        let kept = self.kept();
        kept.modules.get(&module).map_or_else(Vec::new, |(_, past)| past.iter().copied().collect())
    }

    /// The clock of the entries.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        // Whoever panicked left a log that lacks one entry at most.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for EventLog {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLog").field("newest", &self.newest()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::vec;

    use ha_proto::{DataId, Membership, NodeId, NodeSet};

    use super::*;
    use crate::history::Cause;

    const WEB: ModuleId = ModuleId(1);

    fn filled(count: u64) -> EventLog {
        let (log, then) = (EventLog::new(), Wall::since_1970(Duration::ZERO));
        for at in 0..count {
            log.keep(WEB, Epoch::NONE, &Event::InSync, Instant::from_nanos(at), then);
        }
        log
    }

    fn numbers(since: &Since<Entry>) -> Option<(u64, u64)> {
        Some((since.entries.first()?.seq, since.entries.last()?.seq))
    }

    #[test]
    fn events_are_given_out_in_pieces_from_any_number_on() {
        let log = filled(300);
        let first = log.since(0);
        assert_eq!((numbers(&first), first.forgotten, first.next), (Some((1, 256)), 0, 257));
        let second = log.since(first.next);
        assert_eq!((numbers(&second), second.next), (Some((257, 300)), 301));
        let none = log.since(second.next);
        assert_eq!(none, Since { entries: vec![], forgotten: 0, next: 301 });
        assert_eq!(log.since(u64::MAX).next, 301, "a number of another life begins at the end");
        assert_eq!(EventLog::new().since(0), Since { entries: vec![], forgotten: 0, next: 1 });
    }

    #[test]
    fn the_numbers_of_another_process_are_gone_on_with() {
        let log = EventLog::resume(filled(40).hand_over());
        assert_eq!(log.newest(), 40);
        log.note(WEB, Epoch::NONE, &Event::InSync);
        let since = log.since(7);
        assert_eq!((numbers(&since), since.forgotten, since.next), (Some((41, 41)), 34, 42));
    }

    #[test]
    fn the_oldest_are_forgotten_and_whoever_asks_for_them_is_told() {
        let kept = EventLog::KEPT as u64;
        let log = filled(kept + 10);
        let since = log.since(1);
        assert_eq!((since.forgotten, since.entries[0].seq), (10, 11));
        assert_eq!(log.since(5).forgotten, 6);
        assert_eq!(log.since(11).forgotten, 0);
    }

    #[test]
    fn followers_hear_of_each_event_and_takeovers_are_remembered() {
        let log = EventLog::new();
        let mut follower = log.follow();
        let epoch = Epoch::new(3, NodeId::new(0).unwrap());
        log.note(WEB, epoch, &Event::PeerDown(NodeId::new(1).unwrap()));
        log.note(WEB, epoch, &Event::Serving(epoch));
        assert_eq!(*follower.borrow_and_update(), 2);
        let past = log.history(WEB);
        assert_eq!((past.len(), past[0].seq, past[0].takeover.cause), (1, 2, Cause::PeerLost));
        assert!(past[0].takeover.start < Duration::from_mins(1));
        assert_eq!(log.history(ModuleId(2)), []);
    }

    #[test]
    fn the_next_process_knows_what_was_and_tells_the_next_takeover_by_it() {
        let (me, peer) = (NodeId::new(0).unwrap(), NodeId::new(1).unwrap());
        let epoch = |counter| Epoch::new(counter, me);
        let log = EventLog::new();
        let count = EventLog::HISTORY as u64 + 3;
        let theirs = |counter| {
            let (epoch, set) = (Epoch::new(counter, peer), NodeSet::only(peer));
            Event::Membership(Membership { epoch, holder: peer, set, data: DataId(1) })
        };
        for at in 1..=count {
            log.note(WEB, epoch(at), &Event::Serving(epoch(at)));
            log.note(WEB, epoch(at), &theirs(at));
        }
        log.note(WEB, epoch(count), &Event::PeerDown(peer));
        let text = toml::to_string(&log.hand_over()).unwrap();
        let next = EventLog::resume(toml::from_str(&text).unwrap());
        assert_eq!(next.newest(), 2 * count + 1);
        assert_eq!(next.history(WEB).len(), EventLog::HISTORY);
        assert_eq!(next.history(WEB), log.history(WEB));
        next.note(WEB, epoch(count + 1), &Event::Serving(epoch(count + 1)));
        let past = next.history(WEB);
        assert_eq!(past.len(), EventLog::HISTORY, "the oldest is forgotten");
        let last = past.last().unwrap().takeover;
        assert_eq!((last.cause, last.decide.is_some()), (Cause::PeerLost, true));
        // It is no takeover that the service is where it was.
        let again = EventLog::resume(next.hand_over());
        again.note(WEB, epoch(count + 1), &Event::Serving(epoch(count + 1)));
        assert_eq!(again.history(WEB), past);
    }
}
