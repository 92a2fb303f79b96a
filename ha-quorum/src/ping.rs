//! The vote `ping`: whether a majority of addresses outside the cluster can be reached.

use core::time::Duration;

use ha_proto::{Deadline, Instant, Machine, Outbox, Ticket, Timer};
use thiserror::Error;

use crate::Verdict;

/// A node's look at the world outside its cluster: one probe of each address in a round, and a
/// verdict as soon as a majority of them has answered, or none can any more.
///
/// The verdict is evidence, not a vote: it says that this side reaches the addresses, not that the
/// other side does not. Asked anew, it may be another; whoever decides by it asks once in each
/// isolation, because a second look would find a healed link and no primary that knows of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Ping {
    config: Config,
    round: Option<Round>,
}

/// How a [`Ping`] asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How many addresses there are, 1 to [`TARGETS_MAX`]. An odd number: of an even one a half is
    /// not a majority, so the last address adds nothing.
    pub targets: u8,
    /// How long each probe may take; above zero. Default 500 ms. The peer waits as long before it
    /// takes over.
    pub probe: Duration,
}

/// A configuration that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Nothing to ask, or too much.
    #[error("{0} ping addresses: name 1 to {TARGETS_MAX}")]
    Targets(u8),
    /// Nothing could answer in time.
    #[error("the probe time is zero: how long may an answer take?")]
    Probe,
}

/// The most addresses of one pair: more would only make it slower to be sure.
pub const TARGETS_MAX: u8 = 9;

/// What a [`Ping`] is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// Look now. Probes get the tickets from `first` on, as many as there are addresses; a round
    /// under way is forgotten.
    Ask {
        /// The ticket of the probe of the first address.
        first: Ticket,
    },
    /// A probe ended: the address answered in time, or it did not.
    Done {
        /// Which.
        ticket: Ticket,
        /// Whether it answered.
        reached: bool,
    },
    /// Nobody wants to know any more.
    Forget,
}

/// What a [`Ping`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask this address once, and say [`Input::Done`].
    Probe {
        /// Comes back with the result.
        ticket: Ticket,
        /// Which address, from 0.
        target: u8,
        /// How long it has to answer.
        within: Duration,
    },
    /// What the round found: [`Verdict::Reachable`] or [`Verdict::Unreachable`].
    Found(Verdict),
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Round {
    first: Ticket,
    /// One bit for each address: those that answered, and those that will not.
    reached: u16,
    missed: u16,
    end: Timer,
}

impl Ping {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        if config.targets == 0 || config.targets > TARGETS_MAX {
            return Err(ConfigError::Targets(config.targets));
        }
        if config.probe.is_zero() {
            return Err(ConfigError::Probe);
        }
        Ok(Self { config, round: None })
    }

    /// Whether a round is under way.
    pub const fn is_asking(&self) -> bool {
        self.round.is_some()
    }

    fn ask(&mut self, now: Instant, first: Ticket, out: &mut Outbox<Output>) {
        let Config { targets, probe } = self.config;
        let mut end = Timer::IDLE;
        end.arm(now + probe);
        self.round = Some(Round { first, reached: 0, missed: 0, end });
        for target in 0..targets {
            let ticket = Ticket(first.0 + u64::from(target));
            out.push(Output::Probe { ticket, target, within: probe });
        }
    }

    /// The first word on each probe counts: what comes later, or of another round, says nothing.
    fn note(&mut self, ticket: Ticket, reached: bool) {
        let Some(round) = &mut self.round else { return };
        let Some(target) = ticket.0.checked_sub(round.first.0) else { return };
        if target >= u64::from(self.config.targets) {
            return;
        }
        let bit = 1_u16 << target;
        if (round.reached | round.missed) & bit == 0 {
            let of = if reached { &mut round.reached } else { &mut round.missed };
            *of |= bit;
        }
    }

    fn settle(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let Some(round) = &mut self.round else { return };
        let targets = u32::from(self.config.targets);
        let (reached, missed) = (round.reached.count_ones(), round.missed.count_ones());
        assert!(reached + missed <= targets, "a probe that counts twice would outvote another");
        let verdict = if 2 * reached > targets {
            Verdict::Reachable
        } else if 2 * missed >= targets || round.end.expire(now) {
            Verdict::Unreachable
        } else {
            return;
        };
        self.round = None;
        out.push(Output::Found(verdict));
    }
}

impl Machine for Ping {
    type Input = Input;
    type Output = Output;
    const OUTPUTS_MAX: usize = TARGETS_MAX as usize + 1;

    fn handle(&mut self, now: Instant, input: Input, out: &mut Outbox<Output>) {
        match input {
            Input::Tick => {}
            Input::Ask { first } => self.ask(now, first, out),
            Input::Done { ticket, reached } => self.note(ticket, reached),
            Input::Forget => self.round = None,
        }
        self.settle(now, out);
    }

    fn deadline(&self) -> Option<Deadline> {
        self.round.and_then(|round| round.end.deadline("probes end"))
    }
}

const _: () = assert!(TARGETS_MAX as u32 <= u16::BITS, "an address without a bit has no voice");

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use ha_proto::laws;
    use proptest::prelude::*;

    use super::*;

    const PROBE: Duration = Duration::from_millis(500);

    fn ping(targets: u8) -> Ping {
        Ping::new(Config { targets, probe: PROBE }).unwrap()
    }

    fn tell(ping: &mut Ping, millis: u64, input: Input) -> Vec<Output> {
        let mut out = Outbox::new(Ping::OUTPUTS_MAX);
        ping.handle(Instant::ZERO + Duration::from_millis(millis), input, &mut out);
        core::iter::from_fn(|| out.pop()).collect()
    }

    fn done(ticket: u64, reached: bool) -> Input {
        Input::Done { ticket: Ticket(ticket), reached }
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        for targets in [0, TARGETS_MAX + 1] {
            let refused = Ping::new(Config { targets, probe: PROBE });
            assert_eq!(refused, Err(ConfigError::Targets(targets)));
        }
        let refused = Ping::new(Config { targets: 1, probe: Duration::ZERO });
        assert_eq!(refused, Err(ConfigError::Probe));
    }

    #[test]
    fn each_address_is_asked_once() {
        let mut ping = ping(2);
        let probe =
            |ticket, target| Output::Probe { ticket: Ticket(ticket), target, within: PROBE };
        assert_eq!(tell(&mut ping, 0, Input::Ask { first: Ticket(7) }), [probe(7, 0), probe(8, 1)]);
        assert!(ping.is_asking());
    }

    #[test]
    fn a_majority_of_answers_is_enough() {
        let mut ping = ping(3);
        tell(&mut ping, 0, Input::Ask { first: Ticket(7) });
        assert_eq!(tell(&mut ping, 1, done(8, true)), []);
        assert_eq!(tell(&mut ping, 1, done(8, true)), [], "it counts once");
        let found = tell(&mut ping, 2, done(9, true));
        assert_eq!(found, [Output::Found(Verdict::Reachable)]);
        assert_eq!(tell(&mut ping, 3, done(7, true)), [], "the verdict was given");
        assert_eq!(ping.deadline(), None);
    }

    #[test]
    fn half_of_them_is_no_majority() {
        let mut ping = ping(2);
        tell(&mut ping, 0, Input::Ask { first: Ticket(7) });
        assert_eq!(tell(&mut ping, 1, done(7, true)), []);
        let found = tell(&mut ping, 2, done(8, false));
        assert_eq!(found, [Output::Found(Verdict::Unreachable)]);
    }

    #[test]
    fn silence_ends_when_the_probes_do() {
        let mut ping = ping(1);
        tell(&mut ping, 0, Input::Ask { first: Ticket(7) });
        assert_eq!(ping.deadline().map(|next| next.at), Some(Instant::ZERO + PROBE));
        assert_eq!(tell(&mut ping, 499, Input::Tick), []);
        assert_eq!(tell(&mut ping, 500, Input::Tick), [Output::Found(Verdict::Unreachable)]);
    }

    #[test]
    fn an_answer_of_an_earlier_round_says_nothing() {
        let mut ping = ping(1);
        tell(&mut ping, 0, Input::Ask { first: Ticket(7) });
        tell(&mut ping, 1, Input::Ask { first: Ticket(8) });
        assert_eq!(tell(&mut ping, 2, done(7, true)), []);
        tell(&mut ping, 3, Input::Forget);
        assert_eq!(tell(&mut ping, 4, done(8, true)), []);
        assert!(!ping.is_asking());
    }

    fn input() -> impl Strategy<Value = Input> {
        prop_oneof![
            Just(Input::Tick),
            Just(Input::Forget),
            (0_u64..40).prop_map(|first| Input::Ask { first: Ticket(first) }),
            (0_u64..50, any::<bool>()).prop_map(|(ticket, reached)| done(ticket, reached)),
        ]
    }

    proptest! {
        #[test]
        fn keeps_the_laws(
            targets in 1..=TARGETS_MAX,
            history in prop::collection::vec((0_u64..400, input()), 0..100),
        ) {
            let timed = |(gap, input)| (Duration::from_millis(gap), input);
            laws::check(ping(targets), || Input::Tick, history.into_iter().map(timed));
        }
    }
}
