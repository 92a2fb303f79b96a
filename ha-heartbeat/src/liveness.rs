//! Whether something lives, from the proofs that arrived.

use core::time::Duration;

use ha_proto::Instant;

use crate::Config;

/// Whether a peer, or a link to it, is alive: up while the newest proof is recent (R11).
///
/// It goes down at the sooner of
/// - `timeout` after the last proof arrived: I do not hear it;
/// - `timeout` and one `interval` after I sent the newest number that it echoed: it does not hear
///   me. The interval is the wait of a number for the next beat that echoes it.
///
/// The second is what makes a cut in my direction as short as one in the other: echoes of a number
/// that is nearly too old would else be believed for a whole timeout more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Liveness(Option<Proof>);

/// An echo that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Proof {
    /// When the newest one arrived.
    heard: Instant,
    /// When I sent the newest number that was echoed.
    sent: Instant,
}

/// What a new proof changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is up now.
    Up,
    /// It was up already; so long after the proof before.
    Still(Duration),
}

impl Liveness {
    pub(crate) fn is_up(self) -> bool {
        self.0.is_some()
    }

    /// Takes an echo that arrives now of a number that I sent then.
    pub(crate) fn believe(&mut self, now: Instant, sent: Instant) -> Change {
        assert!(sent <= now, "a number would be echoed before it was sent");
        let before = self.0.replace(Proof { heard: now, sent });
        let Some(before) = before else { return Change::Up };
        self.0 = Some(Proof { heard: now.max(before.heard), sent: sent.max(before.sent) });
        Change::Still(now.saturating_since(before.heard))
    }

    /// When it goes down unless a proof arrives before; `None` when it is down.
    pub(crate) fn ends(self, config: &Config) -> Option<Instant> {
        self.0.map(|proof| {
            let unheard = proof.heard + config.timeout;
            let unhearing = proof.sent + config.timeout + config.interval;
            unheard.min(unhearing)
        })
    }

    /// Goes down if it is time; says for how long no proof had come.
    pub(crate) fn expire(&mut self, now: Instant, config: &Config) -> Option<Duration> {
        if self.ends(config)? > now {
            return None;
        }
        self.0.take().map(|proof| now.saturating_since(proof.heard))
    }
}
