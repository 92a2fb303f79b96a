//! From the right to serve to a log that leads: one lineage entry for each start and each epoch.

use ha_proto::{Epoch, Instant, Membership};

use crate::Mirror;

/// How far this node's log leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reign {
    /// It does not.
    None,
    /// The lineage entry of this epoch is being saved.
    Opening(Epoch),
    /// It leads in this epoch.
    Open(Epoch),
    /// It leads in `from`, takes no records, and will lead in `to` once that is saved (R1).
    Rising { from: Epoch, to: Epoch },
}

impl Reign {
    pub(super) const fn is_open(self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// Whether the log leads, in whatever epoch.
    pub(super) const fn leads(self) -> bool {
        matches!(self, Self::Open(_) | Self::Rising { .. })
    }
}

/// What the log was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogMode {
    Detached,
    Leading(Membership),
    Following(Membership),
    /// Without a witness: this node holds, and does not serve yet.
    Holding(Membership),
}

impl Mirror {
    /// Opens, raises or ends the reign, as rights and wishes have it.
    pub(super) fn settle_reign(&mut self, now: Instant) {
        match self.reign {
            Reign::None => self.open_reign(now),
            Reign::Opening(epoch) => self.opened_reign(epoch),
            Reign::Open(epoch) => {
                if !self.end_reign(now) {
                    self.raise_reign(epoch, epoch);
                }
            }
            Reign::Rising { from, to } => {
                if !self.end_reign(now) {
                    self.risen_reign(from, to);
                }
            }
        }
    }

    fn open_reign(&mut self, now: Instant) {
        let settled = self.memory.is_settled() && self.log.is_settled();
        let quiet = self.log.durable() == self.log.head();
        let allowed = self.wants_to_serve(now) && self.may_start(now) && !self.plan.has_given();
        if settled && quiet && allowed && self.service.is_down() {
            let epoch = self.memory.epoch();
            let lineage = self.log.next_lineage(epoch);
            assert!(!self.is_bound(now), "R6: a bound node starts nothing");
            assert!(!self.reign.leads(), "one log would lead twice");
            self.memory.set_lineage(lineage);
            self.reign = Reign::Opening(epoch);
        }
    }

    fn opened_reign(&mut self, epoch: Epoch) {
        if !self.holds() || self.memory.epoch() != epoch {
            self.reign = Reign::None;
            self.relate_log_anew();
        } else if self.memory.is_settled() {
            let last = self.memory.saved().lineage.last().map(|entry| entry.epoch);
            assert!(last == Some(epoch), "R1: records of a reign that a restart would not know");
            self.reign = Reign::Open(epoch);
            self.vacant = None;
        }
    }

    /// A holder whose own epoch rises goes on (R3): the log leads in the old one until the new one
    /// is saved, and takes no records meanwhile, because the entry says where the new one begins.
    fn raise_reign(&mut self, from: Epoch, last: Epoch) {
        let to = self.memory.epoch();
        if to > last {
            let lineage = self.log.next_lineage(to);
            self.memory.set_lineage(lineage);
            self.reign = Reign::Rising { from, to };
        }
    }

    fn risen_reign(&mut self, from: Epoch, to: Epoch) {
        if self.memory.epoch() > to {
            self.raise_reign(from, to);
        } else if self.memory.is_settled() {
            let last = self.memory.saved().lineage.last().map(|entry| entry.epoch);
            assert!(last == Some(to), "R1: records of a reign that a restart would not know");
            self.reign = Reign::Open(to);
        }
    }

    /// Ends the reign when this node holds no more, was fenced, or has stopped and flushed.
    fn end_reign(&mut self, now: Instant) -> bool {
        let fenced = !self.may_serve(now);
        let stopped = self.service.is_down() && !self.wants_to_serve(now) && self.is_flushed();
        let ends = !self.holds() || fenced || stopped;
        if ends {
            self.reign = Reign::None;
            self.growing = false;
        }
        ends
    }

    /// Whether the peer has all that was ever proposed here, or can never get what is missing.
    pub(super) fn is_flushed(&self) -> bool {
        let head = self.log.head().seq;
        self.broken || self.log_full() || self.log.committed() == head || self.is_flushed_to_peer()
    }

    /// With a disk that does not answer nothing is committed here: what counts is what the peer has,
    /// or that it takes no more.
    fn is_flushed_to_peer(&self) -> bool {
        let peer_has = self.log.peer().caught_up_to == self.log.head().seq;
        self.disk_stalled() && (peer_has || !self.peer_is_ready())
    }

    /// Tells the log what it is to do, when that has changed.
    pub(super) fn settle_log(&mut self, now: Instant) {
        let mode = self.log_wish();
        if mode == self.log_mode {
            return;
        }
        self.log_mode = mode;
        self.caught_up = false;
        let input = match mode {
            LogMode::Detached => ha_replicate::Input::Detach,
            LogMode::Leading(membership) => {
                let lineage = self.memory.saved().lineage.clone();
                ha_replicate::Input::Lead { membership, lineage }
            }
            LogMode::Holding(membership) => ha_replicate::Input::Hold { membership },
            LogMode::Following(membership) => ha_replicate::Input::Follow { membership },
        };
        self.replicate(now, input);
    }

    fn log_wish(&self) -> LogMode {
        let saved = self.memory.saved().membership;
        match self.reign {
            Reign::Open(_) => LogMode::Leading(self.waiting_set(saved)),
            // The old reign goes on as it was until the new one is on disk.
            Reign::Rising { .. } | Reign::Opening(_) => self.log_mode,
            Reign::None if self.memory.is_rising() || !self.memory.saved().is_initialised() => {
                LogMode::Detached
            }
            // The application sees nothing of another reign while it may still answer somebody.
            Reign::None if saved.holder == self.peer_id() && !self.service.is_harmless() => {
                LogMode::Detached
            }
            Reign::None if saved.holder == self.peer_id() => LogMode::Following(saved),
            Reign::None if self.voter.is_none() => LogMode::Holding(saved),
            Reign::None => LogMode::Detached,
        }
    }

    /// R4: a set that grows counts before it is saved, one that shrinks only after.
    fn waiting_set(&self, saved: Membership) -> Membership {
        let wanted = self.memory.wanted().membership;
        let mut set = saved.set.union(wanted.set);
        if self.growing {
            set = set.with(self.peer_id());
        }
        Membership { set, ..saved }
    }

    /// Makes sure that the log hears its mode again: asking it for a lineage sealed it.
    fn relate_log_anew(&mut self) {
        self.log_mode = LogMode::Detached;
        self.replicate(self.now, ha_replicate::Input::Detach);
    }
}
