//! A log for tests and benches.

use std::collections::VecDeque;

use bytes::Bytes;
use ha_proto::Seq;

use super::server::{Application, Proposer, Refused};

/// A log of one copy, in memory, that keeps nothing: what it takes is committed at once. A ledger
/// over it shows what TCP alone costs.
#[derive(Debug)]
pub struct MemoryLog {
    application: Application,
    last: Seq,
}

impl MemoryLog {
    /// The log of this ledger, behind the record `last`.
    pub const fn new(application: Application, last: Seq) -> Self {
        Self { application, last }
    }
}

impl Proposer for MemoryLog {
    fn propose(&mut self, records: &mut VecDeque<Bytes>) -> Result<(), Refused> {
        let last = &mut self.last;
        self.application.apply(records.drain(..).map(|record| {
            *last = last.next();
            (*last, record)
        }));
        Ok(())
    }
}
