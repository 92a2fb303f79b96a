//! The voter: a node's side of the witness. It asks, asks again, and tells what counts.

use alloc::collections::VecDeque;
use core::time::Duration;

use bytes::BufMut;
use ha_proto::codec::{DecodeError, Reader};
use ha_proto::{
    Boot, DataId, DataState, Deadline, Epoch, Incarnation, Instant, Machine, Membership, NodeId,
    Outbox, Timer,
};
use thiserror::Error;

use crate::lease::{longer, shorter};
use crate::register::{LEASE_MIN, Register, is_lease};
use crate::request::{Answer, Ask, Outcome, Refusal, Request};

/// Asks the witness what the node wishes, until it wishes something else.
///
/// A wish is asked at once, again after R while nothing answers, and once in a poll when it was
/// answered; when it was refused because a lease or a grace time runs, it is asked again when that
/// is over. Every ask has a number of its own, and an answer counts only for the ask of this boot
/// that it echoes, once (R9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    config: Config,
    wanted: Option<Wanted>,
    incarnation: Incarnation,
    number: u64,
    asked: VecDeque<Asked>,
    /// The number of the first ask since the wish was new or answered: an answer to an older one
    /// does not answer the wish. `None` while nothing of it is unanswered.
    open: Option<u64>,
    next: Timer,
    silence: Timer,
    standing: Standing,
    round_trip: Option<Duration>,
}

/// What the next process of the same boot must know of a [`Voter`]: its newest number, which the
/// witness takes once only, and whether the witness answers. What was asked is not handed over: an
/// answer to that is as good as lost, and the wish is asked anew.
///
/// [`Handed::LEN`] bytes, big-endian: the number u64; 0 unknown, 1 answering, 2 silent u8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handed {
    number: u64,
    standing: Standing,
}

/// How a node asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    me: NodeId,
    boot: Boot,
    lease: Duration,
    round_trip: Duration,
}

/// Why a configuration is impossible. Nothing was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The lease is not between [`LEASE_MIN`] and
    /// [`LEASE_MAX`](crate::LEASE_MAX).
    #[error("the lease is out of range")]
    Lease,
    /// A renewal that is sent every L/3 and takes R may come too late: 2L/3 + R must be less than
    /// L(1−ρ) (`CONTRACT.md` "Default timings").
    #[error("the round trip is too long for the lease")]
    RoundTrip,
}

/// What a node wants of its witness, until it wants something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To know the register.
    Watch,
    /// To renew the lease.
    Renew,
    /// To hold.
    Take,
    /// To be alone in the set.
    Exclude,
    /// To have the peer in the set.
    Admit {
        /// The other node of the pair.
        peer: NodeId,
    },
    /// That the peer holds.
    Give {
        /// The holder to be.
        to: NodeId,
    },
    /// To begin.
    Create {
        /// The life of the witness that answered `Empty`.
        incarnation: Incarnation,
        /// Which data; not zero.
        data: DataId,
    },
    /// That an empty witness learns what this node has saved.
    Adopt {
        /// The witness's life, saved before it is wished.
        incarnation: Incarnation,
        /// The saved record.
        membership: Membership,
        /// What the data are worth.
        state: DataState,
    },
    /// To record an operator's override.
    Force {
        /// The record that was saved by that order.
        membership: Membership,
    },
}

/// A fact for the voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time passed.
    Tick,
    /// What the node wants from now on. Saying the same again changes nothing.
    Wish {
        /// What.
        wish: Wish,
        /// The epoch that the register must have: the newest that the node saved; for Force, the
        /// one that the register was last seen with.
        expected: Epoch,
        /// The witness's life that the node saved; zero when it knows none.
        incarnation: Incarnation,
    },
    /// An authenticated answer arrived.
    Answer(Answer),
}

/// What the voter says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this to the witness.
    Ask(Ask),
    /// An answer that counts.
    Answered {
        /// What was asked.
        request: Request,
        /// With which expected epoch.
        expected: Epoch,
        /// What came of it.
        outcome: Outcome,
        /// The register after it.
        register: Option<Register>,
        /// When the ask was sent: a lease counts from then (R5, R9).
        sent: Instant,
        /// How long the lease and the grace time keep anyone but the holder from holding.
        left: Duration,
        /// How long the witness changes no holder at all, not even by Give.
        grace: Duration,
        /// Which life of the witness answered.
        incarnation: Incarnation,
        /// That life is not the one that the node has saved: it saves the new one first, and
        /// grants nothing by this answer.
        foreign: bool,
    },
    /// The witness has not answered for longer than both 2R and a poll. Said once.
    Silent,
    /// It answers again, after `Silent`.
    Back,
    /// An answer that does not count.
    Void {
        /// Why not.
        why: Void,
    },
}

/// Why an answer does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Void {
    /// It is for another node.
    Receiver,
    /// It is for another boot of this node.
    Boot,
    /// Its number was answered already, is long ago, or was never sent.
    Number,
    /// A life of the witness gave it that was over when this one was saved: what it says was never
    /// told to the present one.
    Life,
}

impl Config {
    /// How the node `me` asks in this boot: `lease` is L, `round_trip` R, the longest time that a
    /// working witness takes to answer.
    ///
    /// # Errors
    /// When L is out of range, or R leaves no time to renew.
    pub fn new(
        me: NodeId,
        boot: Boot,
        lease: Duration,
        round_trip: Duration,
    ) -> Result<Self, ConfigError> {
        if !is_lease(lease) {
            return Err(ConfigError::Lease);
        }
        if (lease / 3 * 2).saturating_add(round_trip) >= shorter(lease) {
            return Err(ConfigError::RoundTrip);
        }
        Ok(Self { me, boot, lease, round_trip })
    }

    /// How often an answered wish is asked again: L/3 (R6).
    pub fn poll(&self) -> Duration {
        self.lease / 3
    }

    /// How long an ask waits for its answer: R, but not less than [`RESEND_MIN`].
    pub fn resend(&self) -> Duration {
        self.round_trip.max(RESEND_MIN)
    }

    /// How long the witness may be silent: 2R, but not less than a poll.
    pub fn patience(&self) -> Duration {
        (self.round_trip * 2).max(self.poll())
    }
}

impl Wish {
    /// The wish as a request.
    pub const fn request(self) -> Request {
        match self {
            Self::Watch => Request::Read,
            Self::Renew => Request::Renew,
            Self::Take => Request::Take,
            Self::Exclude => Request::Exclude,
            Self::Admit { peer } => Request::Admit { peer },
            Self::Give { to } => Request::Give { to },
            Self::Create { incarnation, data } => Request::Create { incarnation, data },
            Self::Adopt { incarnation, membership, state } => {
                Request::Adopt { incarnation, membership, state }
            }
            Self::Force { membership } => Request::Force { membership },
        }
    }
}

impl Voter {
    /// A voter that wishes nothing yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            wanted: None,
            incarnation: Incarnation::default(),
            number: 0,
            asked: VecDeque::with_capacity(ASKED_MAX),
            open: None,
            next: Timer::IDLE,
            silence: Timer::IDLE,
            standing: Standing::Unknown,
            round_trip: None,
        }
    }

    /// What another process needs to go on in this boot.
    pub fn hand_over(&self) -> Handed {
        Handed { number: self.number, standing: self.standing }
    }

    /// Goes on where an earlier process of the same boot stopped; wishes nothing yet. What that one
    /// asked is forgotten: a late answer to it is void.
    pub fn resume(config: Config, handed: Handed) -> Self {
        let Handed { number, standing } = handed;
        Self { number, standing, ..Self::new(config) }
    }

    /// Whether the witness answers: it did, and has not been silent since.
    pub fn answering(&self) -> bool {
        self.standing == Standing::Answering
    }

    /// How long the newest answer took, the witness's disk included; `None` before the first one.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    fn wish(&mut self, now: Instant, wanted: Wanted) {
        if self.wanted != Some(wanted) {
            self.wanted = Some(wanted);
            self.open = None;
            // Whoever only watches has just been told: it needs no answer in a hurry.
            let idle = wanted.wish == Wish::Watch && self.answering();
            self.next.arm(if idle { now + self.config.poll() } else { now });
        }
    }

    fn ask(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let Some(wanted) = self.wanted else { return };
        self.number += 1;
        self.open.get_or_insert(self.number);
        if self.asked.len() == ASKED_MAX {
            self.asked.pop_front();
        }
        let newest = self.asked.back().map_or(0, |asked| asked.number);
        assert!(
            newest < self.number,
            "one number for two asks would count an answer for the other"
        );
        let life = self.incarnation;
        self.asked.push_back(Asked { number: self.number, wanted, sent: now, life });
        assert!(self.asked.len() <= ASKED_MAX, "numbers that nobody forgets would fill the memory");
        self.next.arm(now + self.config.resend());
        if self.standing != Standing::Silent && self.silence.at().is_none() {
            self.silence.arm(now + self.config.patience());
        }
        out.push(Output::Ask(Ask {
            from: self.config.me,
            boot: self.config.boot,
            number: self.number,
            expected: wanted.expected,
            lease: self.config.lease,
            request: wanted.wish.request(),
        }));
    }

    fn answered(&mut self, now: Instant, answer: &Answer, out: &mut Outbox<Output>) {
        let asked = match self.counted(answer) {
            Ok(asked) => asked,
            Err(why) => return out.push(Output::Void { why }),
        };
        if asked.life != self.incarnation && answer.incarnation != self.incarnation {
            return out.push(Output::Void { why: Void::Life });
        }
        if self.standing == Standing::Silent {
            out.push(Output::Back);
        }
        self.standing = Standing::Answering;
        self.silence.disarm();
        assert!(asked.sent <= now, "a lease from the future would outlive what was granted");
        self.round_trip = Some(now.saturating_since(asked.sent));
        if self.open.is_some_and(|first| asked.number >= first) {
            self.open = None;
            self.next.arm(self.due(now, asked.sent, answer));
        }
        let known = self.incarnation != Incarnation::default();
        out.push(Output::Answered {
            request: asked.wanted.wish.request(),
            expected: asked.wanted.expected,
            outcome: answer.outcome,
            register: answer.register,
            sent: asked.sent,
            left: answer.left,
            grace: answer.grace,
            incarnation: answer.incarnation,
            foreign: known && answer.incarnation != self.incarnation,
        });
    }

    /// The ask that this answers, forgotten by this: it is not answered twice.
    fn counted(&mut self, answer: &Answer) -> Result<Asked, Void> {
        if answer.to != self.config.me {
            return Err(Void::Receiver);
        }
        if answer.boot != self.config.boot {
            return Err(Void::Boot);
        }
        let at = self.asked.iter().position(|asked| asked.number == answer.number);
        at.and_then(|at| self.asked.remove(at)).ok_or(Void::Number)
    }

    /// When the wish is asked again that `answer`, to an ask of `sent`, answers. Never at once:
    /// the node is to hear the answer first, and may wish something else.
    fn due(&self, now: Instant, sent: Instant, answer: &Answer) -> Instant {
        let next = match answer.outcome {
            Outcome::Refused(Refusal::LeaseHeld | Refusal::Grace) => {
                let longest = longer(self.config.lease) + self.config.round_trip;
                now + answer.left.min(longest)
            }
            Outcome::Ok | Outcome::Refused(_) | Outcome::Empty => sent + self.config.poll(),
        };
        next.max(now + RESEND_MIN)
    }
}

impl Handed {
    /// How many bytes it takes.
    pub const LEN: usize = 9;

    /// Writes it.
    pub fn encode(self, out: &mut impl BufMut) {
        out.put_u64(self.number);
        out.put_u8(match self.standing {
            Standing::Unknown => 0,
            Standing::Answering => 1,
            Standing::Silent => 2,
        });
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes end early or a field holds a value that it cannot have.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let number = from.u64("the newest ask")?;
        let standing = match from.u8("the witness's standing")? {
            0 => Standing::Unknown,
            1 => Standing::Answering,
            2 => Standing::Silent,
            _ => return Err(DecodeError::Invalid("the witness's standing")),
        };
        Ok(Self { number, standing })
    }
}

impl Machine for Voter {
    type Input = Input;
    type Output = Output;
    /// Back, an answer to a former wish, and the ask that is due.
    const OUTPUTS_MAX: usize = 3;

    fn handle(&mut self, now: Instant, input: Input, out: &mut Outbox<Output>) {
        match input {
            Input::Tick => {}
            Input::Wish { wish, expected, incarnation } => {
                self.incarnation = incarnation;
                self.wish(now, Wanted { wish, expected });
            }
            Input::Answer(answer) => self.answered(now, &answer, out),
        }
        if self.silence.expire(now) {
            self.standing = Standing::Silent;
            out.push(Output::Silent);
        }
        if self.next.expire(now) {
            self.ask(now, out);
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        Deadline::sooner(self.next.deadline("ask"), self.silence.deadline("silence"))
    }
}

/// The shortest time between two asks of one wish, so that no configuration makes a node spin.
pub const RESEND_MIN: Duration = Duration::from_millis(1);
const _: () = assert!(
    RESEND_MIN.as_nanos() * 3 <= LEASE_MIN.as_nanos(),
    "the shortest lease could not be renewed in time"
);

/// How many asks are remembered. Resent every R, an older one waits for its answer since 8 R: its
/// witness is as good as silent.
const ASKED_MAX: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    wish: Wish,
    expected: Epoch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    number: u64,
    wanted: Wanted,
    sent: Instant,
    /// The witness's life that was saved when it was sent. Once a newer one is saved, whatever that
    /// older one answered is late: the newer knows nothing of it.
    life: Incarnation,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    Unknown,
    Answering,
    Silent,
}
