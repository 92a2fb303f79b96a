//! A data plane that is no kernel's: for tests, and for servers that decide in user space.

use std::boxed::Box;
use std::prelude::rust_2024::*;
use std::sync::{Arc, Mutex, PoisonError};

use ha_farm::{Filter, Sockets, Verdict};
use ha_proto::Instant;

use super::{Counters, Plane, PlaneError};

/// A plane that keeps in memory what it is told. Clones see the same one, so that whoever has
/// packets asks a clone ([`Memory::decide`]) while the driver writes.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Written>>);

/// What was written to a [`Memory`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// What it decides by; `None` before the first one, and once it was removed.
    pub filter: Option<Arc<Filter>>,
    /// Until when it takes.
    pub until: Instant,
    /// What it decided, in part: what passed, and what was dropped by reason.
    pub counters: Counters,
}

impl Memory {
    /// A plane that takes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was written to it last.
    pub fn written(&self) -> Written {
        self.with(|written| written.clone())
    }

    /// What happens to a frame at `now`, of the clock that the lease is written by.
    pub fn decide(&self, frame: &[u8], now: Instant, sockets: &mut impl Sockets) -> Verdict {
        self.with(|written| {
            let Some(filter) = written.filter.clone() else { return Verdict::Pass };
            let verdict = filter.decide(frame, now < written.until, sockets);
            match verdict {
                Verdict::Pass => written.counters.passed += 1,
                Verdict::Neighbour => written.counters.neighbour += 1,
                Verdict::Drop(reason) => written.counters.dropped[reason.index()] += 1,
                Verdict::Accept | Verdict::Forward { .. } => {}
            }
            verdict
        })
    }

    /// Whether it takes the bucket of this service at `now`.
    pub fn takes(&self, service: usize, bucket: usize, now: Instant) -> bool {
        self.with(|written| {
            let word = written.filter.as_ref().map_or(0, |filter| filter.words(service)[bucket]);
            now < written.until && word & Filter::TAKE != 0
        })
    }

    fn with<T>(&self, look: impl FnOnce(&mut Written) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Plane for Memory {
    fn adopted(&self) -> bool {
        true
    }

    fn install(&mut self, filter: &Filter) -> Result<(), PlaneError> {
        self.with(|written| written.filter = Some(Arc::new(filter.clone())));
        Ok(())
    }

    fn lease(&mut self, until: Instant) -> Result<(), PlaneError> {
        self.with(|written| written.until = until);
        Ok(())
    }

    fn counters(&mut self) -> Result<Counters, PlaneError> {
        Ok(self.with(|written| written.counters.clone()))
    }

    fn remove(self: Box<Self>) -> Result<(), PlaneError> {
        self.with(|written| (written.filter, written.until) = (None, Instant::ZERO));
        Ok(())
    }
}
