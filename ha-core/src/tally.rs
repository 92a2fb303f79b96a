//! What became of a module on this node since its start, counted from its events.

use core::time::Duration;

use ha_proto::{Epoch, Instant, Membership, NodeId, Role};

use crate::Event;
use crate::verdict::Word;

/// What became of a module since the start of its process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    transitions: [[u64; Self::ROLES]; Self::ROLES],
    takeovers: [u64; Cause::ALL.len()],
    phases: Option<[Duration; Phase::ALL.len()]>,
    /// How long the application served here.
    pub serving: Duration,
    /// The longest time that this node did not run although it wanted to.
    pub longest_pause: Duration,
}

/// Why a node took over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The node that held before was lost, or had restarted.
    PeerLost,
    /// It is alive, and gave the service away: a swap, a stop, something that failed there.
    Handover,
    /// An operator forced it.
    Forced,
}

/// A part of the time that a takeover takes, as the node that takes over sees it. What comes before
/// is the time-out of the failure detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// From the loss of the peer until this node may serve. Zero in a handover: the peer decided.
    Decide,
    /// From then until the application serves: addresses, application, records to be applied.
    Start,
}

impl Totals {
    const ROLES: usize = 6;

    /// How often the announced role went from one to another.
    pub const fn transitions(&self, from: Role, to: Role) -> u64 {
        self.transitions[from.as_u8() as usize][to.as_u8() as usize]
    }

    /// How often this node took over for this reason: the application served here in the end, and
    /// the other node held before.
    pub const fn takeovers(&self, cause: Cause) -> u64 {
        self.takeovers[cause as usize]
    }

    /// How long a part of the last takeover took; `None` before the first one.
    pub fn phase(&self, phase: Phase) -> Option<Duration> {
        self.phases.map(|phases| phases[phase as usize])
    }
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::PeerLost, Self::Handover, Self::Forced];

    /// Its word in metrics: part of the interface.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PeerLost => "peer_lost",
            Self::Handover => "handover",
            Self::Forced => "forced",
        }
    }
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Self; 2] = [Self::Decide, Self::Start];

    /// Its word in metrics: part of the interface.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decide => "decide",
            Self::Start => "start",
        }
    }
}

/// Counts a node's events.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    me: NodeId,
    membership: Membership,
    /// Since when the peer is lost.
    lost: Option<Instant>,
    /// When it restarted, if nobody took over since.
    restarted: Option<Instant>,
    taking: Option<Taking>,
    /// Since when the application serves.
    serves: Option<Instant>,
    totals: Totals,
}

/// A takeover that is under way.
#[derive(Clone, Copy, Debug)]
struct Taking {
    epoch: Epoch,
    cause: Cause,
    decide: Duration,
    decided: Instant,
}

impl Tally {
    /// Nothing has happened since `membership` was saved.
    pub(crate) fn new(me: NodeId, membership: Membership) -> Self {
        Self {
            me,
            membership,
            lost: None,
            restarted: None,
            taking: None,
            serves: None,
            totals: Totals::default(),
        }
    }

    /// What was counted until `now`.
    pub(crate) fn totals(&self, now: Instant) -> Totals {
        let serves = self.serves.map_or(Duration::ZERO, |since| now.saturating_since(since));
        Totals { serving: self.totals.serving + serves, ..self.totals }
    }

    pub(crate) fn event(&mut self, now: Instant, event: &Event) {
        match *event {
            Event::Role { from, to, ready: _ } => {
                let [from_at, to_at] = [from, to].map(|role| usize::from(role.as_u8()));
                self.totals.transitions[from_at][to_at] += u64::from(from != to);
            }
            Event::Membership(membership) => self.replace(now, membership),
            Event::Serving(epoch) => self.serve(now, epoch),
            Event::Stopped(_) => {
                self.totals = self.totals(now);
                self.serves = None;
            }
            Event::PeerDown(_) => self.lost = Some(now),
            Event::PeerUp(_) => self.lost = None,
            Event::PeerRestarted(_) => self.restarted = Some(now),
            Event::Paused(pause) => {
                self.totals.longest_pause = self.totals.longest_pause.max(pause);
            }
            Event::LinkUp(_)
            | Event::LinkDown(_)
            | Event::WitnessBack
            | Event::WitnessSilent
            | Event::WitnessReplaced
            | Event::LeaseDiffers { .. }
            | Event::Rejected(_)
            | Event::Replayed
            | Event::InSync
            | Event::Excluded(_)
            | Event::Progress { .. }
            | Event::Diverged { .. }
            | Event::KeptAside { .. }
            | Event::Outside { .. }
            | Event::LogFull
            | Event::LogWritable
            | Event::DiskStalled
            | Event::DiskBack
            | Event::StorageFailed
            | Event::ApplicationFailed
            | Event::NoCommonHistory
            | Event::DataLossPossible(_) => {}
        }
    }

    /// Another membership: the beginning of a takeover, when the other node held before.
    fn replace(&mut self, now: Instant, membership: Membership) {
        let before = core::mem::replace(&mut self.membership, membership);
        let gone = self.lost.or(self.restarted.take());
        if membership.holder != self.me {
            self.taking = None;
        } else if before.epoch != Epoch::NONE && before.holder != self.me {
            let cause = match gone {
                _ if membership.epoch.is_override() => Cause::Forced,
                Some(_) => Cause::PeerLost,
                None => Cause::Handover,
            };
            let decide = gone.map_or(Duration::ZERO, |since| now.saturating_since(since));
            self.taking = Some(Taking { epoch: membership.epoch, cause, decide, decided: now });
        } else if let Some(taking) = &mut self.taking {
            // Its holder's set, or its epoch again, before it serves.
            taking.epoch = membership.epoch;
        }
    }

    fn serve(&mut self, now: Instant, epoch: Epoch) {
        self.serves = self.serves.or(Some(now));
        if let Some(taking) = self.taking.take_if(|taking| taking.epoch == epoch) {
            self.totals.takeovers[taking.cause as usize] += 1;
            let start = now.saturating_since(taking.decided);
            self.totals.phases = Some([taking.decide, start]);
        }
    }
}

/// How long a service was unprotected, counted from verdicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exposure {
    last: Option<(Instant, Word)>,
    unprotected: Duration,
}

impl Exposure {
    /// This is the verdict now; until now it was the one before. Told at each event and every
    /// second or so in between, it is as exact as that.
    pub fn pass(&mut self, now: Instant, word: Word) {
        if let Some((since, Word::Unprotected)) = self.last {
            self.unprotected += now.saturating_since(since);
        }
        self.last = Some((now, word));
    }

    /// How long the verdict was [`Word::Unprotected`], until it was told last.
    pub const fn unprotected(&self) -> Duration {
        self.unprotected
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ha_proto::{DataId, NodeSet};

    fn node(id: u8) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO + ms(millis)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn held(epoch: Epoch, holder: u8) -> Membership {
        Membership {
            epoch,
            holder: node(holder),
            set: NodeSet::only(node(holder)),
            data: DataId(1),
        }
    }

    fn reign(counter: u64, holder: u8) -> Event {
        Event::Membership(held(Epoch::new(counter, node(holder)), holder))
    }

    /// Node 0, which was secondary of node 1 in epoch 4, with these events at these milliseconds.
    fn counted(events: &[(u64, Event)]) -> Totals {
        let mut tally = Tally::new(node(0), held(Epoch::new(4, node(1)), 1));
        for (millis, event) in events {
            tally.event(at(*millis), event);
        }
        tally.totals(at(10_000))
    }

    fn serving(counter: u64) -> Event {
        Event::Serving(Epoch::new(counter, node(0)))
    }

    fn takeovers(totals: &Totals) -> [u64; 3] {
        Cause::ALL.map(|cause| totals.takeovers(cause))
    }

    #[test]
    fn a_takeover_counts_once_the_application_serves() {
        let lost = [(100, Event::PeerDown(node(1))), (350, reign(5, 0))];
        assert_eq!(takeovers(&counted(&lost)), [0, 0, 0]);
        let totals = counted(&[&lost[..], &[(400, reign(6, 0)), (950, serving(6))]].concat());
        assert_eq!(takeovers(&totals), [1, 0, 0]);
        assert_eq!(totals.phase(Phase::Decide), Some(ms(250)));
        assert_eq!(totals.phase(Phase::Start), Some(ms(600)));
        assert_eq!(totals.serving, ms(9_050));
    }

    #[test]
    fn a_restart_of_the_holder_is_its_loss_and_only_then() {
        let restarted = (100, Event::PeerRestarted(node(1)));
        let totals = counted(&[restarted, (150, reign(5, 0)), (170, serving(5))]);
        assert_eq!(takeovers(&totals), [1, 0, 0]);
        assert_eq!(totals.phase(Phase::Decide), Some(ms(50)));
        let later = [restarted, (150, reign(5, 1)), (900, reign(6, 0)), (901, serving(6))];
        assert_eq!(takeovers(&counted(&later)), [0, 1, 0]);
    }

    #[test]
    fn a_handover_was_decided_by_the_peer() {
        let back = [(10, Event::PeerDown(node(1))), (20, Event::PeerUp(node(1)))];
        let totals = counted(&[&back[..], &[(100, reign(5, 0)), (130, serving(5))]].concat());
        assert_eq!(takeovers(&totals), [0, 1, 0]);
        assert_eq!(totals.phase(Phase::Decide), Some(Duration::ZERO));
        assert_eq!(totals.phase(Phase::Start), Some(ms(30)));
    }

    #[test]
    fn what_an_operator_forces_is_no_loss() {
        let forced = Epoch::new(4, node(1)).overridden_by(node(0));
        let taken = Event::Membership(held(forced, 0));
        let totals = counted(&[
            (1, Event::PeerDown(node(1))),
            (5_000, taken),
            (5_010, Event::Serving(forced)),
        ]);
        assert_eq!(takeovers(&totals), [0, 0, 1]);
    }

    #[test]
    fn who_held_before_takes_nothing_over() {
        let mut tally = Tally::new(node(0), held(Epoch::new(4, node(0)), 0));
        tally.event(at(1), &reign(5, 0));
        tally.event(at(2), &serving(5));
        assert_eq!(takeovers(&tally.totals(at(3))), [0, 0, 0]);
        // Nor does the first node of a pair.
        let blank = Membership { epoch: Epoch::NONE, ..held(Epoch::NONE, 1) };
        let mut tally = Tally::new(node(0), blank);
        tally.event(at(1), &reign(1, 0));
        tally.event(at(2), &serving(1));
        assert_eq!(takeovers(&tally.totals(at(3))), [0, 0, 0]);
    }

    #[test]
    fn a_takeover_that_another_one_overtakes_is_none() {
        let events = [(1, reign(5, 0)), (2, reign(6, 1)), (3, serving(5))];
        assert_eq!(takeovers(&counted(&events)), [0, 0, 0]);
    }

    #[test]
    fn roles_times_and_pauses_add_up() {
        let role = |from, to| Event::Role { from, to, ready: true };
        let totals = counted(&[
            (0, role(Role::Wait, Role::Second)),
            (1, role(Role::Second, Role::Alone)),
            (1_000, serving(5)),
            (1_500, role(Role::Alone, Role::Alone)),
            (2_000, Event::Stopped(Epoch::new(5, node(0)))),
            (3_000, serving(7)),
            (4_000, Event::Paused(ms(70))),
            (5_000, Event::Paused(ms(30))),
        ]);
        assert_eq!(totals.transitions(Role::Wait, Role::Second), 1);
        assert_eq!(totals.transitions(Role::Second, Role::Alone), 1);
        assert_eq!(totals.transitions(Role::Alone, Role::Alone), 0);
        assert_eq!(totals.serving, ms(1_000 + 7_000));
        assert_eq!(totals.longest_pause, ms(70));
    }

    #[test]
    fn unprotected_is_what_was_told_so_until_the_next_time() {
        let mut exposure = Exposure::default();
        for (millis, word) in [
            (100, Word::Unprotected),
            (400, Word::Unprotected),
            (500, Word::Protected),
            (900, Word::Down),
            (1_000, Word::Unprotected),
        ] {
            exposure.pass(at(millis), word);
        }
        assert_eq!(exposure.unprotected(), ms(400));
    }
}
