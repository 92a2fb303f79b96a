//! What became of a module on this node since its start, counted from its events.

use core::time::Duration;

use ha_proto::{Instant, Role};

use crate::Event;
use crate::history::{Cause, History, Takeover};
use crate::verdict::Word;

/// What became of a module since the start of its process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    transitions: [[u64; Self::ROLES]; Self::ROLES],
    takeovers: [u64; Cause::ALL.len()],
    last: Option<Takeover>,
    /// How long the application served here.
    pub serving: Duration,
    /// The longest time that this node did not run although it wanted to.
    pub longest_pause: Duration,
}

/// A part of the time that a takeover takes, as the node that takes over sees it. What comes before
/// is the time-out of the failure detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// From the loss of the peer until this node may serve; none where no loss was the cause.
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

    /// How often the service moved to this node for this reason.
    pub const fn takeovers(&self, cause: Cause) -> u64 {
        self.takeovers[cause as usize]
    }

    /// How long a part of the last takeover took; `None` before the first one, and where it had no
    /// such part.
    pub fn phase(&self, phase: Phase) -> Option<Duration> {
        self.last.and_then(|last| match phase {
            Phase::Decide => last.decide,
            Phase::Start => Some(last.start),
        })
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
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    history: History,
    /// Since when the application serves.
    serves: Option<Instant>,
    totals: Totals,
}

impl Tally {
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
            Event::Serving(_) => self.serves = self.serves.or(Some(now)),
            Event::Resumed(role) => {
                self.serves = self.serves.or(role.serves().then_some(now));
            }
            Event::Stopped(_) => {
                self.totals = self.totals(now);
                self.serves = None;
            }
            Event::Paused(pause) => {
                self.totals.longest_pause = self.totals.longest_pause.max(pause);
            }
            Event::Membership(_)
            | Event::PeerUp(_)
            | Event::PeerDown(_)
            | Event::PeerRestarted(_)
            | Event::LinkUp(_)
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
        if let Some(takeover) = self.history.note(now, event) {
            self.totals.takeovers[takeover.cause as usize] += 1;
            self.totals.last = Some(takeover);
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
    use ha_proto::{DataId, Epoch, Membership, NodeId, NodeSet};

    fn node(id: u8) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO + ms(millis)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn epoch(counter: u64) -> Epoch {
        Epoch::new(counter, node(0))
    }

    /// What these events, at these milliseconds, amount to ten seconds after the start.
    fn counted(events: &[(u64, Event)]) -> Totals {
        let mut tally = Tally::default();
        for (millis, event) in events {
            tally.event(at(*millis), event);
        }
        tally.totals(at(10_000))
    }

    #[test]
    fn a_takeover_counts_once_the_application_serves() {
        let (me, set) = (node(0), NodeSet::only(node(0)));
        let mine = Membership { epoch: epoch(5), holder: me, set, data: DataId(1) };
        let lost = [(100, Event::PeerDown(node(1))), (350, Event::Membership(mine))];
        assert_eq!(counted(&lost), Totals::default());
        let totals = counted(&[&lost[..], &[(950, Event::Serving(epoch(5)))]].concat());
        let counts = Cause::ALL.map(|cause| totals.takeovers(cause));
        assert_eq!(counts, [1, 0, 0, 0]);
        assert_eq!(Phase::ALL.map(|phase| totals.phase(phase)), [Some(ms(250)), Some(ms(600))]);
        assert_eq!(totals.serving, ms(9_050));
    }

    #[test]
    fn roles_times_and_pauses_add_up() {
        let role = |from, to| Event::Role { from, to, ready: true };
        let totals = counted(&[
            (0, role(Role::Wait, Role::Second)),
            (1, role(Role::Second, Role::Alone)),
            (1_000, Event::Serving(epoch(5))),
            (1_500, role(Role::Alone, Role::Alone)),
            (2_000, Event::Stopped(epoch(5))),
            (3_000, Event::Serving(epoch(7))),
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
