//! What a node may do, as an observer of all its datagrams can tell: leases, promises, grants.
//!
//! Not the machine's own opinion: it is computed from what was really sent and really arrived.

use core::time::Duration;
use std::collections::VecDeque;

use ha_heartbeat::{Beat, Echo};
use ha_proto::{Boot, Epoch, Instant, NodeId};
use ha_quorum::{Answer, Ask, Outcome, Request, longer, shorter};

/// The rights of one boot of one node. All instants are on the node's clock.
#[derive(Clone, Debug)]
pub struct Rights {
    me: NodeId,
    boot: Boot,
    lease: Duration,
    booted: Instant,
    asks: VecDeque<Asked>,
    beats: VecDeque<(u64, Instant)>,
    heard: VecDeque<(Echo, Instant)>,
    witness: Option<Instant>,
    peer: Option<Instant>,
    promised: Option<Instant>,
    boot_bound: bool,
    obtained: Epoch,
    given: Option<Epoch>,
    asks_void: u64,
    beats_void: u64,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    number: u64,
    sent: Instant,
    request: Request,
}

impl Rights {
    /// A boot at `booted`; `alone`: its saved file gives the right to run alone (R9).
    pub fn new(me: NodeId, boot: Boot, lease: Duration, booted: Instant, alone: bool) -> Self {
        Self {
            me,
            boot,
            lease,
            booted,
            asks: VecDeque::new(),
            beats: VecDeque::new(),
            heard: VecDeque::new(),
            witness: None,
            peer: None,
            promised: None,
            boot_bound: !alone,
            obtained: Epoch::NONE,
            given: None,
            asks_void: 0,
            beats_void: 0,
        }
    }

    /// The end of the latest valid lease.
    pub fn until(&self) -> Option<Instant> {
        self.witness.max(self.peer)
    }

    /// Whether a lease holds at `now`.
    pub fn is_leased(&self, now: Instant) -> bool {
        self.until().is_some_and(|until| now <= until)
    }

    /// Until when it is bound by a promise, or by its boot (R6, R9).
    pub fn bound_until(&self) -> Option<Instant> {
        let boot = self.boot_bound.then(|| self.booted + longer(self.lease));
        self.promised.max(boot)
    }

    /// The newest epoch that the witness gave in this boot (R12).
    pub fn obtained(&self) -> Epoch {
        self.obtained
    }

    /// The epoch that it began to give away, until the witness gave it another one (R13).
    pub fn given(&self) -> Option<Epoch> {
        self.given
    }

    /// It sends a request.
    pub fn asked(&mut self, now: Instant, ask: &Ask) {
        // R13: the leases go before the first Give. A promise of the peer that comes while Give is
        // repeated binds the peer whatever becomes of the Give.
        let gives = matches!(ask.request, Request::Give { .. });
        if gives && self.given != Some(ask.expected) {
            self.given = Some(ask.expected);
            self.asks_void = ask.number;
            self.beats_void = self.beats.back().map_or(0, |(number, _)| *number);
            (self.witness, self.peer) = (None, None);
        }
        keep(&mut self.asks, Asked { number: ask.number, sent: now, request: ask.request });
    }

    /// An answer arrives.
    pub fn answered(&mut self, answer: &Answer) {
        if answer.to != self.me || answer.boot != self.boot || answer.outcome != Outcome::Ok {
            return;
        }
        let Some(register) = answer.register else { return };
        let asked = self.asks.iter().find(|asked| asked.number == answer.number).copied();
        let Some(asked) = asked else { return };
        let mine = register.membership.holder == self.me;
        match asked.request {
            Request::Renew if mine && asked.number > self.asks_void => {
                self.witness = self.witness.max(Some(asked.sent + shorter(self.lease)));
            }
            Request::Create { .. }
            | Request::Take
            | Request::Exclude
            | Request::Admit { .. }
            | Request::Force { .. }
                if mine =>
            {
                self.obtained = self.obtained.max(register.membership.epoch);
                if self.given.is_some_and(|given| given < register.membership.epoch) {
                    self.given = None;
                }
            }
            Request::Read
            | Request::Create { .. }
            | Request::Renew
            | Request::Take
            | Request::Exclude
            | Request::Admit { .. }
            | Request::Give { .. }
            | Request::Adopt { .. }
            | Request::Force { .. } => {}
        }
    }

    /// It sends a beat.
    pub fn beat_sent(&mut self, now: Instant, beat: &Beat) {
        if self.beats.back().is_none_or(|(number, _)| *number < beat.number) {
            keep(&mut self.beats, (beat.number, now));
        }
        let Some(promise) = beat.status.promise else { return };
        let heard = self.heard.iter().find(|(echo, _)| *echo == promise);
        if let Some((_, received)) = heard {
            self.promised = self.promised.max(Some(*received + longer(self.lease)));
        }
    }

    /// Whether a beat of the peer proves that it lives (R10): it echoes what this boot sent within
    /// `timeout`.
    pub fn is_fresh(&self, now: Instant, beat: &Beat, timeout: Duration) -> bool {
        let echo = beat.echo.filter(|echo| echo.boot == self.boot);
        let sent = echo.and_then(|echo| self.beat_sent_at(echo.number));
        sent.is_some_and(|sent| now.saturating_since(sent) <= timeout)
    }

    fn beat_sent_at(&self, number: u64) -> Option<Instant> {
        let mut beats = self.beats.iter();
        beats.find(|(sent, _)| *sent == number).map(|(_, sent)| *sent)
    }

    /// A beat of the peer arrives; `epoch` is the one that this node has saved, `timeout` is D.
    pub fn beat_heard(
        &mut self,
        now: Instant,
        beat: &Beat,
        from: NodeId,
        epoch: Epoch,
        timeout: Duration,
    ) {
        let echo = beat.to_echo();
        if self.heard.back().is_none_or(|(last, _)| *last != echo) {
            keep(&mut self.heard, (echo, now));
        }
        let told = beat.status.membership;
        // "The peer itself Tells": the peer of today, not a word that was long on its way (R10).
        if told.epoch >= epoch && told.holder != from && self.is_fresh(now, beat, timeout) {
            self.unbind();
        }
        let Some(promise) = beat.status.promise else { return };
        if promise.boot != self.boot {
            return;
        }
        let Some(sent) = self.beat_sent_at(promise.number) else { return };
        let until = sent + shorter(self.lease);
        // A promise that is over says nothing about what its peer did since.
        if now >= until {
            return;
        }
        self.unbind();
        if (told.epoch <= epoch || told.holder == self.me) && promise.number > self.beats_void {
            self.peer = self.peer.max(Some(until));
        }
    }

    fn unbind(&mut self) {
        self.promised = None;
        self.boot_bound = false;
    }
}

/// How many of each are remembered: beats of ten leases at thirty a lease.
const REMEMBERED: usize = 512;

fn keep<T>(ring: &mut VecDeque<T>, item: T) {
    if ring.len() == REMEMBERED {
        ring.pop_front();
    }
    ring.push_back(item);
}
