//! What the parent knows of each process, and waiting until it knows something.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What one node last said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// Whether its process runs.
    pub up: bool,
    /// Its role, in the field's words.
    pub role: String,
    /// Whether all that its role asks for is done.
    pub ready: bool,
    /// Whether the witness answers it.
    pub witness: bool,
    /// How often it stopped serving, in this life.
    pub stops: u64,
    /// Catching up: records that it has, and needs.
    pub progress: Option<(u64, u64)>,
}

impl View {
    /// Whether it serves.
    pub(crate) fn serves(&self) -> bool {
        self.up && self.ready && (self.role == "PRIM" || self.role == "ALONE")
    }

    /// Whether it is in that role, and all that it asks for is done.
    pub(crate) fn is(&self, role: &str) -> bool {
        self.up && self.ready && self.role == role
    }
}

/// The views, shared with the threads that read what the processes say.
#[derive(Debug, Default)]
pub(crate) struct Board {
    views: Mutex<[View; 2]>,
    changed: Condvar,
}

const POISONED: &str = "nobody panics while holding the board";

impl Board {
    /// What is known now.
    pub(crate) fn now(&self) -> [View; 2] {
        self.lock().clone()
    }

    /// Changes what is known of one node.
    pub(crate) fn change(&self, node: usize, change: impl FnOnce(&mut View)) {
        change(&mut self.lock()[node]);
        self.changed.notify_all();
    }

    /// Waits until `until` holds, calling `meanwhile` with every change; `None` when it does not
    /// within `limit`.
    pub(crate) fn wait(
        &self,
        limit: Duration,
        until: impl Fn(&[View; 2]) -> bool,
        mut meanwhile: impl FnMut(&[View; 2]),
    ) -> Option<[View; 2]> {
        let end = Instant::now() + limit;
        let mut views = self.lock();
        loop {
            if until(&views) {
                return Some(views.clone());
            }
            meanwhile(&views);
            let left = end.checked_duration_since(Instant::now())?;
            views = self.changed.wait_timeout(views, left).expect(POISONED).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, [View; 2]> {
        self.views.lock().expect(POISONED)
    }
}
