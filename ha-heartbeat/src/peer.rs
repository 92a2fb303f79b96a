//! What is known of one peer.

use alloc::vec::Vec;
use core::time::Duration;

use ha_proto::{Boot, Instant, LinkId};

use crate::liveness::{Change, Liveness};
use crate::session::{Candidates, Session};
use crate::{Config, Echo};

/// What is known of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The boot that last proved itself.
    pub(crate) known: Option<Session>,
    pub(crate) liveness: Liveness,
    pub(crate) links: Vec<Link>,
    /// Whether a replay was reported: the later ones are only counted.
    pub(crate) replay_told: bool,
    candidates: Candidates,
}

/// One link to a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) liveness: Liveness,
    pub(crate) longest_gap: Duration,
    pub(crate) round_trip: Option<Duration>,
}

/// What to make of a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acceptance {
    /// It came before.
    Replay,
    /// It is of a boot that has not proved that it lives.
    Candidate,
    /// It is of the known boot.
    Known {
        /// How many numbers were passed over on the link.
        lost: u64,
    },
    /// Its boot has just proved itself and is the known one now.
    Adopted {
        /// Another one was known before.
        restarted: bool,
    },
}

/// A beat as far as its acceptance goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    pub(crate) link: LinkId,
    /// The sender's boot and number.
    pub(crate) from: Echo,
    /// Which recent round of mine it echoes.
    pub(crate) echoed: Option<MyRound>,
    /// The number of my next round.
    pub(crate) next: u64,
}

/// A round of mine, in this boot, that a beat echoes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MyRound {
    pub(crate) number: u64,
    pub(crate) sent: Instant,
}

impl Peer {
    pub(crate) fn new(links: u8) -> Self {
        assert!(usize::from(links) <= Config::LINKS_MAX, "a session has no place for a link");
        Self {
            known: None,
            liveness: Liveness::default(),
            links: (0..links).map(|_| Link::default()).collect(),
            replay_told: false,
            candidates: Candidates::default(),
        }
    }

    /// Decides what to make of a beat.
    pub(crate) fn accept(&mut self, arrival: Arrival) -> Acceptance {
        let Arrival { at, link, from, echoed, next } = arrival;
        if let Some(known) = self.known.as_mut().filter(|known| known.boot == from.boot) {
            let before = known.seen(link);
            if !known.accept(at, link, from.number) {
                return Acceptance::Replay;
            }
            // Before the first one there is nothing that could be missed.
            let lost = if before > 0 { from.number - before - 1 } else { 0 };
            return Acceptance::Known { lost };
        }
        let accepted = self.candidates.accept(at, from.boot, link, from.number, next);
        let Some(candidate) = accepted else { return Acceptance::Replay };
        if !echoed.is_some_and(|round| candidate.is_proved_by(round.number)) {
            return Acceptance::Candidate;
        }
        assert!(echoed.is_some_and(|round| round.sent <= at), "a proof would be a prophecy");
        self.candidates.clear();
        let restarted = self.known.replace(candidate.session).is_some();
        Acceptance::Adopted { restarted }
    }

    /// Whom my round `number` echoes: the known boot, or while there is none a candidate.
    ///
    /// A known boot need not make room for a candidate: whoever starts later has no known boot, so
    /// it echoes me, proves itself by that, and is known.
    pub(crate) fn echoes(&self, number: u64) -> Option<&Session> {
        self.known.as_ref().or_else(|| self.candidates.in_turn(number))
    }

    /// The known boot.
    pub(crate) fn boot(&self) -> Option<Boot> {
        self.known.as_ref().map(|known| known.boot)
    }
}

impl Link {
    /// Takes the time from a beat to its echo, of which it waited so long at the peer: measured with
    /// the gain of TCP (RFC 6298), 1/8.
    pub(crate) fn measure(&mut self, echoed_after: Duration, waited: Duration) {
        if waited.is_zero() {
            return;
        }
        let newest = echoed_after.saturating_sub(waited);
        let smoothed = self.round_trip.map_or(newest, |before| (before * 7 + newest) / 8);
        self.round_trip = Some(smoothed);
    }

    /// Takes a proof on this link; whether the link came up by it.
    pub(crate) fn believe(&mut self, now: Instant, sent: Instant) -> bool {
        match self.liveness.believe(now, sent) {
            Change::Up => {
                // It was down, which was no false alarm, or is told elsewhere as one.
                self.longest_gap = Duration::ZERO;
                true
            }
            Change::Still(gap) => {
                self.longest_gap = self.longest_gap.max(gap);
                false
            }
        }
    }
}
