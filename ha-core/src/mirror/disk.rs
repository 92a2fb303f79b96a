//! Whether the disk answers.

use core::time::Duration;

use ha_proto::{Instant, Ticket};

use crate::{Event, Mirror};

/// What waits for the disk, and since when.
///
/// Looked at are records to append, the saved file, and reads: each is asked for in small pieces,
/// which a disk that works does within far less than the time allowed. Records are set aside in one
/// long step, which proves nothing.
#[derive(Debug, Default)]
pub(super) struct DiskWatch {
    /// The oldest thing that was asked for and not answered, of each kind, and since when it is.
    waits: [Option<(Ticket, Instant)>; KINDS],
    /// That was told.
    stalled: bool,
}

/// Appends, saves, and reads for three purposes.
const KINDS: usize = 5;

impl DiskWatch {
    /// Compares what waits now with what did.
    fn look(&mut self, now: Instant, oldest: [Option<Ticket>; KINDS]) {
        for (wait, oldest) in self.waits.iter_mut().zip(oldest) {
            if wait.map(|(ticket, _)| ticket) != oldest {
                *wait = oldest.map(|ticket| (ticket, now));
            }
        }
    }

    /// When what waits longest has waited for `patience`.
    fn due(&self, patience: Duration) -> Option<Instant> {
        self.waits.iter().flatten().map(|(_, since)| *since + patience).min()
    }
}

impl Mirror {
    /// Says when the disk answers no more, and when it does again.
    pub(super) fn settle_disk(&mut self, now: Instant) {
        let [apply, peer, check] = self.log_tickets.reads_asked();
        let (append, save) = (self.log_tickets.oldest_append(), self.memory.writing());
        self.disk.look(now, [append, save, apply, peer, check]);
        let stalled = self.disk_stalls_at().is_some_and(|at| at <= now) && !self.broken;
        if core::mem::replace(&mut self.disk.stalled, stalled) != stalled {
            self.event(if stalled { Event::DiskStalled } else { Event::DiskBack });
        }
    }

    /// When the disk has not answered for as long as it may take.
    pub(super) fn disk_stalls_at(&self) -> Option<Instant> {
        self.disk.due(self.config.stall())
    }

    /// Whether the disk does not answer: what needs it here may never be done.
    pub(super) fn disk_stalled(&self) -> bool {
        self.disk.stalled
    }
}
