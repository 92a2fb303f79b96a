//! What was heard of one boot of a peer, and of boots that still have to prove themselves.

use ha_proto::{Boot, Instant, LinkId};

use crate::{Config, Echo};

/// What was heard of one boot of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) boot: Boot,
    /// The newest number on any link.
    pub(crate) newest: u64,
    /// The newest number on each link; 0 when none came.
    seen: [u64; Config::LINKS_MAX],
    /// When that came; zero when it did not, or in an earlier process.
    heard: [Instant; Config::LINKS_MAX],
}

impl Session {
    fn new(boot: Boot) -> Self {
        Self {
            boot,
            newest: 0,
            seen: [0; Config::LINKS_MAX],
            heard: [Instant::ZERO; Config::LINKS_MAX],
        }
    }

    /// What an earlier process of this boot heard of that one; `None` when it cannot be.
    pub(crate) fn resume(boot: Boot, newest: u64, seen: [u64; Config::LINKS_MAX]) -> Option<Self> {
        let most = seen.iter().copied().max();
        let heard = [Instant::ZERO; Config::LINKS_MAX];
        (newest > 0 && most == Some(newest)).then_some(Self { boot, newest, seen, heard })
    }

    /// The newest number on each link; 0 when none came.
    pub(crate) fn all_seen(&self) -> &[u64; Config::LINKS_MAX] {
        &self.seen
    }

    /// Takes a number unless it is a replay: not above what came on that link before.
    pub(crate) fn accept(&mut self, now: Instant, link: LinkId, number: u64) -> bool {
        let at = usize::from(link.0);
        let seen = &mut self.seen[at];
        let new = number > *seen;
        if new {
            *seen = number;
            self.heard[at] = now;
            self.newest = self.newest.max(number);
        }
        assert!(self.newest >= *seen, "the echo would be older than what was heard");
        new
    }

    /// The newest number on this link; 0 when none came.
    pub(crate) fn seen(&self, link: LinkId) -> u64 {
        self.seen[usize::from(link.0)]
    }

    /// When it came; `None` when none did.
    pub(crate) fn heard(&self, link: LinkId) -> Option<Instant> {
        let at = usize::from(link.0);
        Some(self.heard[at]).filter(|&heard| self.seen[at] > 0 && heard != Instant::ZERO)
    }

    pub(crate) fn echo(&self) -> Option<Echo> {
        (self.newest > 0).then_some(Echo { boot: self.boot, number: self.newest })
    }
}

/// A boot that has not yet proved that it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) session: Session,
    /// It proves itself by echoing this number of mine or a later one: I sent none of them before
    /// I first heard of it, so no datagram that was recorded earlier can echo one.
    since: u64,
    heard: Instant,
}

impl Candidate {
    /// Whether echoing `number` proves that this boot lives.
    pub(crate) fn is_proved_by(&self, number: u64) -> bool {
        number >= self.since
    }
}

/// The boots of one peer that have not yet proved that they live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Candidates {
    places: [Option<Candidate>; Self::MAX],
}

impl Candidates {
    /// The most boots remembered: the living one, and room for three that a network replays. With
    /// one place only, a single replayed datagram in each interval would keep it out for ever.
    pub(crate) const MAX: usize = 4;

    /// Takes a number of `boot` unless it is a replay. `next` is the number of my next round.
    pub(crate) fn accept(
        &mut self,
        now: Instant,
        boot: Boot,
        link: LinkId,
        number: u64,
        next: u64,
    ) -> Option<Candidate> {
        let place = self.place(boot);
        let known = place.filter(|candidate| candidate.session.boot == boot);
        let mut candidate =
            known.unwrap_or(Candidate { session: Session::new(boot), since: next, heard: now });
        if !candidate.session.accept(now, link, number) {
            return None;
        }
        assert!(candidate.since <= next, "no round could ever prove it");
        candidate.heard = now;
        *place = Some(candidate);
        Some(candidate)
    }

    /// Forgets all of them: one proved itself, so the others are dead.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The one to echo in the round `number`: each in turn, as only one of them lives.
    pub(crate) fn in_turn(&self, number: u64) -> Option<&Session> {
        let count = self.places.iter().flatten().count() as u64;
        let turn = number.checked_rem(count)?;
        self.places.iter().flatten().nth(turn as usize).map(|candidate| &candidate.session)
    }

    /// Where `boot` is; else a free place; else the one that was silent for longest.
    fn place(&mut self, boot: Boot) -> &mut Option<Candidate> {
        let rank = |place: &Option<Candidate>| match place {
            Some(candidate) if candidate.session.boot == boot => (0, Instant::ZERO),
            None => (1, Instant::ZERO),
            Some(candidate) => (2, candidate.heard),
        };
        self.places.iter_mut().min_by_key(|place| rank(place)).expect("there are places")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn a_number_counts_once_on_each_link() {
        let mut session = Session::new(Boot(5));
        assert_eq!(session.echo(), None);
        assert!(session.accept(at(1), LinkId(0), 7));
        assert!(!session.accept(at(1), LinkId(0), 7));
        assert!(!session.accept(at(1), LinkId(0), 6));
        assert!(session.accept(at(1), LinkId(7), 6), "the slower link is behind, not replayed");
        assert!(!session.accept(at(1), LinkId(1), 0), "no beat has number 0");
        assert_eq!(session.echo(), Some(Echo { boot: Boot(5), number: 7 }));
        assert_eq!([0, 1, 7].map(|link| session.seen(LinkId(link))), [7, 0, 6]);
    }

    #[test]
    fn a_candidate_is_proved_only_by_what_was_sent_after_it_was_heard() {
        let mut candidates = Candidates::default();
        candidates.accept(at(1), Boot(5), LinkId(0), 1, 10).unwrap();
        let later = candidates.accept(at(2), Boot(5), LinkId(0), 2, 20).unwrap();
        assert!(!later.is_proved_by(9));
        assert!(later.is_proved_by(10), "its first beat counts, not its newest");
        assert_eq!(candidates.accept(at(3), Boot(5), LinkId(0), 2, 30), None, "a replay");
    }

    #[test]
    fn the_most_silent_candidate_makes_room() {
        let mut candidates = Candidates::default();
        for boot in 1..=4 {
            candidates.accept(at(boot), Boot(boot), LinkId(0), 1, 1).unwrap();
        }
        candidates.accept(at(5), Boot(1), LinkId(0), 2, 1).unwrap();
        assert_eq!(candidates.accept(at(6), Boot(3), LinkId(0), 1, 1), None);
        candidates.accept(at(7), Boot(9), LinkId(0), 1, 1).unwrap();
        let boots = |round| candidates.in_turn(round).map(|session| session.boot.0);
        assert_eq!([0, 1, 2, 3, 4].map(boots), [1, 9, 3, 4, 1].map(Some));
        candidates.clear();
        assert_eq!(candidates.in_turn(1), None);
    }
}
