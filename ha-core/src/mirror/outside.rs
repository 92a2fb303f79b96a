//! The vote `ping`: what this node sees of the world outside its cluster while it is isolated.

use alloc::collections::BTreeSet;
use core::time::Duration;

use ha_proto::{Deadline, Epoch, Instant, Machine, Outbox, Ticket};
use ha_quorum::{Ping, Verdict, Vote, ping};

use crate::event::Exclusion;
use crate::{Effect, Event, Mirror, Output};

/// One look in each isolation: asked again, a healed network would show the outside to a node whose
/// peer went on alone long ago.
#[derive(Clone, Debug)]
pub(super) struct Outside {
    ping: Option<Ping>,
    /// Probes under way, those of looks that are over among them. Each ends by itself.
    probes: BTreeSet<Ticket>,
    found: Option<Verdict>,
    /// Since when the peer is lost, and this node to it at the latest.
    lost: Option<Instant>,
    /// When a beat of the peer came last, whether it proved that the peer lives or not.
    beat: Option<Instant>,
    /// The last reign alone that was decided on in an isolation that ended before it was saved, or
    /// before this node yielded or lost its peer: it gives no right, whenever its save lands.
    void: Epoch,
}

impl Outside {
    pub(super) fn new(config: Option<ping::Config>) -> Self {
        let ping = config.map(|config| Ping::new(config).expect("the configuration was checked"));
        Self {
            ping,
            probes: BTreeSet::new(),
            found: None,
            lost: None,
            beat: None,
            void: Epoch::NONE,
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.ping.as_ref().and_then(Machine::deadline)
    }

    /// Whether this node lost its peer, looked and saw nothing: it is the one that is cut off.
    pub(super) fn is_shut_out(&self) -> bool {
        self.lost.is_some() && self.found == Some(Verdict::Unreachable)
    }

    /// Whether a look since the peer was lost reached the addresses.
    pub(super) fn reached(&self) -> Option<bool> {
        self.found.map(|found| found == Verdict::Reachable)
    }

    pub(super) fn lost_at(&self) -> Option<Instant> {
        self.lost
    }

    /// What it heard last of this node may be an answer to its own last beat, which said nothing new
    /// here (it came out of a pause): it believes in this node for a time-out from then on.
    pub(super) fn lost_peer(&mut self, now: Instant, timeout: Duration) {
        let there = self.beat.map_or(now, |at| at + timeout);
        (self.lost, self.found) = (Some(now.max(there)), None);
    }

    pub(super) fn heard_beat(&mut self, now: Instant) {
        self.beat = Some(now);
    }

    /// Whether nothing is being looked at, nor decided by what was seen: who may go on `alone` needs
    /// nothing of it.
    pub(super) fn is_at_rest(&self, alone: bool) -> bool {
        let decides = self.ping.is_some() && self.lost.is_some() && !alone;
        self.probes.is_empty() && !self.is_asking() && !decides
    }

    fn is_asking(&self) -> bool {
        self.ping.as_ref().is_some_and(Ping::is_asking)
    }
}

impl Mirror {
    /// Calls the machine and translates all that it says.
    pub(super) fn look(&mut self, now: Instant, input: ping::Input) {
        let Some(ping) = &mut self.outside.ping else { return };
        let mut out = Outbox::new(Ping::OUTPUTS_MAX);
        ping.handle(now, input, &mut out);
        while let Some(said) = out.pop() {
            match said {
                ping::Output::Probe { ticket, target, within } => {
                    self.outside.probes.insert(ticket);
                    self.say(Output::Effect { ticket, effect: Effect::Probe { target, within } });
                }
                ping::Output::Found(verdict) => self.found_outside(verdict),
            }
        }
    }

    /// A probe ended; false when the ticket is of something else.
    pub(super) fn probed(&mut self, now: Instant, ticket: Ticket, reached: bool) -> bool {
        let ours = self.outside.probes.remove(&ticket);
        if ours {
            self.look(now, ping::Input::Done { ticket, reached });
        }
        ours
    }

    fn found_outside(&mut self, verdict: Verdict) {
        self.outside.found = Some(verdict);
        if self.outside.is_shut_out() {
            // The peer may go on without this node: it must agree anew.
            self.agreed = false;
        }
        self.event(Event::Outside { reached: verdict == Verdict::Reachable });
    }

    /// The isolation is over.
    pub(super) fn met_peer_again(&mut self, now: Instant) {
        self.look(now, ping::Input::Forget);
        self.outdate();
        (self.outside.found, self.outside.lost) = (None, None);
    }

    /// What the reign alone was decided on that is being saved is over. Not so who may run alone by
    /// what is saved, and whom an operator forced: no look decided that.
    pub(super) fn outdate(&mut self) {
        let (saved, wanted) = (self.memory.saved(), self.memory.wanted().membership);
        let stands = saved.may_run_alone() && saved.membership.epoch > self.outside.void;
        let looked = !wanted.epoch.is_override() && !stands;
        let decided = self.memory.is_rising() && wanted.is_alone(self.me()) && looked;
        if decided && self.config.policy.ping.is_some() {
            self.outside.void = wanted.epoch;
        }
    }

    /// R10: what was seen before a pause may have gone since; that nothing was seen stands.
    pub(super) fn look_anew(&mut self, now: Instant) {
        self.look(now, ping::Input::Forget);
        self.outside.found = self.outside.found.filter(|&found| found == Verdict::Unreachable);
        self.outside.lost = self.outside.lost.map(|_| now);
    }

    /// Whether what the newest known reign was decided on is over.
    pub(super) fn is_outdated(&self) -> bool {
        let void = self.outside.void;
        void != Epoch::NONE && self.memory.wanted().membership.epoch <= void
    }

    /// Whether what is saved lets this node serve alone, in this isolation.
    pub(super) fn stands_alone(&self) -> bool {
        self.may_run_alone() && self.memory.saved().membership.epoch > self.outside.void
    }

    /// Whether this node may go on, or take over, without its peer. Of a peer that is there it
    /// knows enough, unless that makes no progress: it may be lost, and the news on its way. The
    /// first question begins a look; the operator's order replaces it.
    pub(super) fn may_leave_peer(&mut self, now: Instant, why: Exclusion) -> bool {
        let present = self.peer_is_alive() && why != Exclusion::Stalled;
        if self.config.policy.vote != Vote::Ping || present || self.plan.prim {
            return true;
        }
        self.look_once(now);
        self.outside.found == Some(Verdict::Reachable)
    }

    /// A primary that lost its peer looks at once, whatever else it waits for: the peer counts on
    /// that, and takes over when a primary that saw nothing must have stopped.
    pub(super) fn look_when_left(&mut self, now: Instant) {
        let lost = self.outside.lost.is_some() && !self.peer_is_alive();
        if lost && self.config.policy.ping.is_some() && self.agreed && !self.reign.leads() {
            // What the peer agreed to does not run: it waits its turn like any candidate.
            (self.agreed, self.yielded) = (false, true);
        }
        if lost && self.reign.leads() && !self.stands_alone() {
            self.look_once(now);
        }
    }

    fn look_once(&mut self, now: Instant) {
        let Some(ping) = self.config.policy.ping else { return };
        if self.outside.found.is_none() && !self.outside.is_asking() {
            let first = self.next_ticket();
            self.tickets += u64::from(ping.targets) - 1;
            self.look(now, ping::Input::Ask { first });
        }
    }

    /// What was seen of the outside says nothing of a peer that makes progress again.
    pub(super) fn keep_peer(&mut self) {
        if self.peer_is_alive() {
            self.outside.found = None;
        }
    }
}
