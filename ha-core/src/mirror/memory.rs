//! What is on disk, what should be, and the one write between them.

use ha_proto::{DataState, Epoch, Incarnation, Lineage, Membership, Ticket};

use crate::Saved;

/// A node's [`Saved`]: as it is on disk, as it should be, and what is being written.
///
/// What permits something (serving, acknowledging, asking) is read from [`Memory::saved`]; what
/// forbids something (a higher epoch) counts as soon as it is known, from [`Memory::wanted`].
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    saved: Saved,
    wanted: Saved,
    writing: Option<(Ticket, Saved)>,
    /// Whether `wanted` was touched since the last write began.
    dirty: bool,
    failed: bool,
    version: u64,
}

impl Memory {
    pub(crate) fn new(saved: Saved) -> Self {
        Self {
            wanted: saved.clone(),
            saved,
            writing: None,
            dirty: false,
            failed: false,
            version: 0,
        }
    }

    /// What a restart would find.
    pub(crate) fn saved(&self) -> &Saved {
        &self.saved
    }

    /// What a restart will find once everything known now is on disk.
    pub(crate) fn wanted(&self) -> &Saved {
        &self.wanted
    }

    /// Whether everything that is known is on disk.
    pub(crate) fn is_settled(&self) -> bool {
        let kept = !self.failed || self.saved == self.wanted;
        self.writing.is_none() && !self.dirty && kept
    }

    /// The write under way.
    pub(crate) fn writing(&self) -> Option<Ticket> {
        self.writing.as_ref().map(|(ticket, _)| *ticket)
    }

    /// Whether a newer reign is known than the one on disk.
    pub(crate) fn is_rising(&self) -> bool {
        self.wanted.membership.epoch > self.saved.membership.epoch
    }

    /// Whether a write failed: nothing more is written, and the node counts as a copy no more.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// The highest epoch known here.
    pub(crate) fn epoch(&self) -> Epoch {
        self.wanted.membership.epoch
    }

    /// R3: takes over a record of a higher epoch, whole. Says whether it was one.
    pub(crate) fn learn(&mut self, membership: Membership) -> bool {
        if membership.epoch <= self.wanted.membership.epoch {
            return false;
        }
        self.wanted.membership = membership;
        if membership.set.len() > 1 {
            self.wanted.joint = membership.epoch;
        }
        self.touch();
        true
    }

    /// R4 grow: adds to the set whose acks this holder waits for, in its own reign.
    pub(crate) fn grow(&mut self, membership: Membership) {
        let own = &mut self.wanted.membership;
        assert!(own.epoch == membership.epoch, "growing the set of another reign would forge it");
        assert!(
            own.set.is_subset_of(membership.set),
            "a set that shrinks before W's would acknowledge what W's members lack"
        );
        own.set = membership.set;
        self.touch();
    }

    pub(crate) fn set_incarnation(&mut self, incarnation: Incarnation) {
        self.wanted.incarnation = incarnation;
        self.touch();
    }

    pub(crate) fn set_data(&mut self, data: ha_proto::DataId) {
        assert!(self.wanted.membership.epoch == Epoch::NONE, "data are named once, at bootstrap");
        self.wanted.membership.data = data;
        self.touch();
    }

    pub(crate) fn set_log(&mut self, lineage: Lineage, state: DataState) {
        self.wanted.lineage = lineage;
        self.wanted.state = state;
        self.touch();
    }

    pub(crate) fn set_lineage(&mut self, lineage: Lineage) {
        self.wanted.lineage = lineage;
        self.touch();
    }

    pub(crate) fn set_state(&mut self, state: DataState) {
        self.wanted.state = state;
        self.touch();
    }

    fn touch(&mut self) {
        self.dirty = true;
        self.version += 1;
    }

    /// Rises with everything that is learned or written here.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The next write, if one is needed and none is under way.
    pub(crate) fn settle(&mut self, ticket: impl FnOnce() -> Ticket) -> Option<(Ticket, Saved)> {
        if self.failed || self.writing.is_some() || !self.dirty {
            return None;
        }
        self.dirty = false;
        self.version += 1;
        if self.saved == self.wanted {
            return None;
        }
        let write = (ticket(), self.wanted.clone());
        self.writing = Some(write.clone());
        Some(write)
    }

    /// A write ended. Returns whether it was the one under way.
    pub(crate) fn written(&mut self, ticket: Ticket, done: bool) -> bool {
        let Some((_, saved)) = self.writing.take_if(|(writing, _)| *writing == ticket) else {
            return false;
        };
        if done {
            assert!(
                saved.membership.epoch >= self.saved.membership.epoch,
                "a saved epoch that falls would let a former holder serve (R3)"
            );
            self.saved = saved;
        } else {
            self.failed = true;
        }
        true
    }
}
