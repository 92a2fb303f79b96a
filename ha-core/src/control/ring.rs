//! Numbered entries of which the newest are kept.

use std::collections::VecDeque;
use std::prelude::rust_2024::*;

/// Numbered entries of which the oldest are forgotten.
#[derive(Debug)]
pub(super) struct Ring<T> {
    entries: VecDeque<T>,
    newest: u64,
    most: usize,
}

/// What was asked for from some number on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since<T> {
    /// The events, oldest first; at most [`EventLog::CHUNK`](super::EventLog::CHUNK).
    pub entries: Vec<T>,
    /// How many before them are forgotten.
    pub forgotten: u64,
    /// Where to ask next.
    pub next: u64,
}

impl<T: Clone> Ring<T> {
    /// An empty one that keeps so many, numbered from the one after `newest`.
    pub(super) fn after(newest: u64, most: usize) -> Self {
        Self { entries: VecDeque::new(), newest, most }
    }

    /// The number of the newest one that there ever was.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    pub(super) fn push(&mut self, entry: impl FnOnce(u64) -> T) -> u64 {
        self.newest += 1;
        if self.entries.len() == self.most {
            self.entries.pop_front();
        }
        self.entries.push_back(entry(self.newest));
        assert!(self.entries.len() <= self.most, "events would fill the memory");
        self.newest
    }

    /// At most `chunk` of them, from number `from` on.
    pub(super) fn since(&self, from: u64, chunk: usize) -> Since<T> {
        let from = from.max(1);
        let oldest = self.newest + 1 - self.entries.len() as u64;
        let first = from.clamp(oldest, self.newest + 1);
        let skipped = usize::try_from(first - oldest).expect("no more than are kept");
        let entries: Vec<T> = self.entries.iter().skip(skipped).take(chunk).cloned().collect();
        let next = first + entries.len() as u64;
        Since { entries, forgotten: first.saturating_sub(from), next }
    }
}
