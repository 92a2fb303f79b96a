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

    /// When its newest proof arrived, and when what that echoed was sent; `None` when it is down.
    pub(crate) fn proof(self) -> Option<(Instant, Instant)> {
        self.0.map(|proof| (proof.heard, proof.sent))
    }

    /// What [`proof`](Self::proof) said in an earlier process; `None` when it cannot be one.
    pub(crate) fn resume(heard: Instant, sent: Instant) -> Option<Self> {
        (sent <= heard).then_some(Self(Some(Proof { heard, sent })))
    }

    /// Takes an echo that arrives now of a number that I sent then.
    pub(crate) fn believe(&mut self, now: Instant, sent: Instant) -> Change {
        assert!(sent <= now, "a number would be echoed before it was sent");
        let before = self.0.replace(Proof { heard: now, sent });
        let Some(before) = before else { return Change::Up };
        self.0 = Some(Proof { heard: now.max(before.heard), sent: sent.max(before.sent) });
        assert!(sent.max(before.sent) <= now.max(before.heard), "it would outlive its proof");
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use ha_proto::{Boot, NodeId};

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn config() -> Config {
        let (me, peer) = (NodeId::new(0).unwrap(), NodeId::new(1).unwrap());
        let (interval, timeout) = (Duration::from_millis(10), Duration::from_millis(30));
        Config::new(me, Boot(1), vec![peer], 1, interval, timeout).unwrap()
    }

    #[test]
    fn it_ends_a_timeout_after_the_last_proof_came() {
        let mut liveness = Liveness::default();
        assert_eq!(liveness.ends(&config()), None);
        assert_eq!(liveness.believe(at(100), at(95)), Change::Up);
        assert_eq!(liveness.ends(&config()), Some(at(130)));
        assert_eq!(liveness.expire(at(129), &config()), None);
        assert_eq!(liveness.expire(at(130), &config()), Some(Duration::from_millis(30)));
        assert!(!liveness.is_up());
        assert_eq!(liveness.expire(at(131), &config()), None);
    }

    #[test]
    fn echoes_of_one_old_number_do_not_prolong_it() {
        let mut liveness = Liveness::default();
        liveness.believe(at(100), at(95));
        for later in [110, 120, 125] {
            liveness.believe(at(later), at(95));
        }
        assert_eq!(liveness.ends(&config()), Some(at(135)), "a timeout and an interval from 95");
    }

    #[test]
    fn an_older_echo_on_a_slower_link_takes_nothing_away() {
        let mut liveness = Liveness::default();
        liveness.believe(at(100), at(95));
        assert_eq!(liveness.believe(at(110), at(85)), Change::Still(Duration::from_millis(10)));
        assert_eq!(liveness.ends(&config()), Some(at(135)));
    }
}
