//! Writes to nftables, and notices whether anybody else does.
//!
//! Each transaction of anybody's raises the kernel's generation by one, and one that names a
//! generation is refused at another. So nobody's write stays unseen between two of ours.

use std::io;
use std::prelude::rust_2024::*;

use super::batch::Batch;
use super::wire::{Wire, is_overtaken};
use super::words::ANY;

/// A wire, and what is certain of what was written by it.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) wire: Wire,
    /// The generation, while nobody but us wrote since it was asked for, and no write of ours
    /// failed. What follows is worth nothing without.
    at: Option<u32>,
    /// Whether the sets hold what they are believed to: they were written as a whole, or looked at.
    sets: bool,
    /// Whether all was looked at.
    looked: bool,
}

impl Writer {
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire, at: None, sets: false, looked: false }
    }

    /// Has it done, whatever others did.
    pub(super) fn commit(&mut self, batch: &Batch) -> io::Result<()> {
        if let Some(at) = self.at
            && let Some(done) = self.commit_at(batch, at)
        {
            return done;
        }
        self.wire.commit(batch, ANY)
    }

    /// Has it done only if the sets hold what they are believed to; whether they do.
    pub(super) fn commit_difference(&mut self, batch: &Batch) -> io::Result<bool> {
        let Some(at) = self.at.filter(|_| self.sets) else { return Ok(false) };
        self.commit_at(batch, at).map_or(Ok(false), |done| done.map(|()| true))
    }

    /// Has it done, whatever the sets hold: it writes all of them.
    pub(super) fn commit_whole(&mut self, batch: &Batch) -> io::Result<()> {
        for _ in 0..TRIES {
            let now = self.go_on()?;
            if let Some(done) = self.commit_at(batch, now) {
                self.sets = done.is_ok();
                return done;
            }
        }
        // Others write all the time: it stays in doubt.
        self.wire.commit(batch, ANY)
    }

    /// Begins a look; whether there is need of none, since nobody wrote after the last one.
    pub(super) fn begin_look(&mut self) -> io::Result<bool> {
        self.go_on()?;
        Ok(self.sets && self.looked)
    }

    /// All was looked at since, and is as it is believed to be.
    pub(super) fn end_look(&mut self) {
        (self.sets, self.looked) = (true, true);
    }

    /// Something may be otherwise.
    pub(super) fn doubt(&mut self) {
        (self.at, self.sets, self.looked) = (None, false, false);
    }

    /// From the generation of now on: in doubt, if others made it.
    fn go_on(&mut self) -> io::Result<u32> {
        let now = self.wire.generation()?;
        if self.at != Some(now) {
            self.doubt();
            self.at = Some(now);
        }
        Ok(now)
    }

    /// Has it done at this generation; `None` where it is past. What fails leaves all in doubt.
    fn commit_at(&mut self, batch: &Batch, generation: u32) -> Option<io::Result<()>> {
        let before = (self.sets, self.looked);
        self.doubt();
        match self.wire.commit(batch, generation) {
            Err(error) if is_overtaken(&error) => return None,
            Err(error) => return Some(Err(error)),
            Ok(()) => {}
        }
        if batch.changes() {
            self.at = Some(after(generation));
        } else if self.wire.generation().is_ok_and(|now| now == generation) {
            // What was empty already was flushed; else somebody may have written since.
            self.at = Some(generation);
        }
        (self.sets, self.looked) = before;
        Some(Ok(()))
    }
}

/// The generation that a transaction makes of this one.
fn after(generation: u32) -> u32 {
    generation.checked_add(1).unwrap_or(1)
}

/// How often a write is tried while others write.
const TRIES: usize = 4;
