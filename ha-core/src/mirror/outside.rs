//! The vote `ping`: what this node sees of the world outside its cluster while it is isolated.

use ha_proto::{Deadline, Instant, Machine, Outbox};
use ha_quorum::{Ping, Verdict, Vote, ping};

use crate::{Effect, Event, Mirror, Output};

/// One look in each isolation: asked again, a healed network would show the outside to a node whose
/// peer went on alone long ago.
#[derive(Clone, Debug)]
pub(super) struct Outside {
    ping: Option<Ping>,
    found: Option<Verdict>,
    /// Since when the peer is lost.
    lost: Option<Instant>,
}

impl Outside {
    pub(super) fn new(config: Option<ping::Config>) -> Self {
        let ping = config.map(|config| Ping::new(config).expect("the configuration was checked"));
        Self { ping, found: None, lost: None }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.ping.as_ref().and_then(Machine::deadline)
    }

    /// Whether this node looked and saw nothing: it is the one that is cut off.
    pub(super) fn is_shut_out(&self) -> bool {
        self.found == Some(Verdict::Unreachable)
    }

    pub(super) fn lost_at(&self) -> Option<Instant> {
        self.lost
    }

    pub(super) fn lost_peer(&mut self, now: Instant) {
        self.lost = Some(now);
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
                    self.say(Output::Effect { ticket, effect: Effect::Probe { target, within } });
                }
                ping::Output::Found(verdict) => self.found_outside(verdict),
            }
        }
    }

    fn found_outside(&mut self, verdict: Verdict) {
        assert!(!self.peer_is_alive(), "what the peer could tell would be guessed");
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
        (self.outside.found, self.outside.lost) = (None, None);
    }

    /// R10: what was seen before a pause may have gone since; that nothing was seen stands.
    pub(super) fn look_anew(&mut self, now: Instant) {
        self.look(now, ping::Input::Forget);
        self.outside.found = self.outside.found.filter(|&found| found == Verdict::Unreachable);
        self.outside.lost = self.outside.lost.map(|_| now);
    }

    /// Whether this node may go on, or take over, without its lost peer. The first question begins
    /// a look, the operator's order replaces it.
    pub(super) fn may_leave_peer(&mut self, now: Instant) -> bool {
        let needless = self.config.policy.vote != Vote::Ping || self.peer_is_alive();
        if needless || self.plan.prim {
            return true;
        }
        if self.outside.found.is_none() && !self.outside.is_asking() {
            let targets = self.config.policy.ping.map_or(0, |ping| ping.targets);
            let first = self.next_ticket();
            self.tickets += u64::from(targets) - 1;
            self.look(now, ping::Input::Ask { first });
        }
        self.outside.found == Some(Verdict::Reachable)
    }
}
