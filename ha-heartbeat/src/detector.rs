//! The failure detector.

use alloc::collections::BTreeMap;
use core::time::Duration;

use ha_proto::{Boot, Deadline, Instant, LinkId, Machine, NodeId, Outbox};

use crate::liveness::Change;
use crate::peer::{Acceptance, Arrival, Peer};
use crate::sent::{Round, Sent};
use crate::{Beat, Config, Counters, Margin, Status};

/// Tells which peers are alive, over all links, by mutual echo (R10, R11).
///
/// - Facts: [`handle`](Machine::handle) and [`deadline`](Machine::deadline).
/// - Questions: [`alive`](Self::alive), [`link_up`](Self::link_up), [`newest`](Self::newest).
/// - Measures: [`counters`](Self::counters), [`margin`](Self::margin).
///
/// A peer is up only while a beat that arrived within the timeout echoed a number of mine that I
/// sent within the timeout and one interval: it was alive then, I hear it, and it hears me.
/// Recorded datagrams, of whatever boot, cannot stretch that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detector {
    config: Config,
    status: Status,
    sent: Sent,
    /// When the next regular round is due.
    next: Instant,
    peers: BTreeMap<NodeId, Peer>,
    counters: Counters,
}

/// A fact for a [`Detector`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time passed.
    Tick,
    /// What this node says of itself from now on.
    Status(Status),
    /// A beat arrived whose header and body were authentic.
    Beat {
        /// On which link.
        link: LinkId,
        /// The header's sender.
        from: NodeId,
        /// The header's echo: the newest number of mine that the sender saw on this link.
        link_echo: u64,
        /// The beat.
        beat: Beat,
    },
    /// Sends a round at once: the status has something that cannot wait (the contract's Tell).
    SendNow,
}

/// What a [`Detector`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this: to every peer on every link, in each interval and at [`Input::SendNow`]. All
    /// beats of a round have one number.
    Beat {
        /// To whom.
        peer: NodeId,
        /// On which link.
        link: LinkId,
        /// For the header's echo: the newest number of the peer, in the boot that the beat echoes,
        /// that came on this link; 0 when none did.
        link_echo: u64,
        /// The beat; its number goes into the header's sequence.
        beat: Beat,
    },
    /// A beat was accepted.
    Heard {
        /// Whose.
        peer: NodeId,
        /// The beat.
        beat: Beat,
        /// Whether it proves that the peer lives and hears me: it is of the peer's known boot and
        /// echoes a number that I sent, in this boot, no longer than the timeout ago.
        fresh: bool,
        /// When I *sent* the beat that asked for the renewal to which this one says yes. `None`
        /// when it says no, when that beat is forgotten or did not ask, or when the peer's boot
        /// has not proved itself.
        promised: Option<Instant>,
    },
    /// The peer is alive, in this boot.
    PeerUp(NodeId, Boot),
    /// The peer is no longer known to be alive.
    PeerDown(NodeId, Boot),
    /// The peer runs in another boot than before; followed by `PeerUp` if it was down.
    PeerRestarted {
        /// Who.
        peer: NodeId,
        /// Its new boot.
        boot: Boot,
    },
    /// The peer is heard on this link, and hears me on it.
    LinkUp(NodeId, LinkId),
    /// One of both is no longer so.
    LinkDown(NodeId, LinkId),
    /// This node did not run, for so long after it wanted to; always said first (R10).
    Paused(Duration),
    /// A beat came twice on a link. Said once for each peer; later ones are only counted.
    Replayed {
        /// Whose beat.
        peer: NodeId,
        /// On which link.
        link: LinkId,
    },
}

impl Detector {
    /// A detector that knows no peer yet and wants to be called at once, for its first round.
    pub fn new(config: Config, status: Status, now: Instant) -> Self {
        let peers: BTreeMap<NodeId, Peer> =
            config.peers.iter().map(|&peer| (peer, Peer::new(config.links))).collect();
        assert!(peers.len() <= Config::PEERS_MAX, "a round would not fit in the outbox");
        let sent = Sent::new(&config);
        Self { config, status, sent, next: now, peers, counters: Counters::default() }
    }

    /// Whether `peer` hears me and I hear it (R11), as of the last call.
    pub fn alive(&self, peer: NodeId) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.liveness.is_up())
    }

    /// Whether `peer` hears me and I hear it on this link, as of the last call.
    pub fn link_up(&self, peer: NodeId, link: LinkId) -> bool {
        let links = self.peers.get(&peer).map(|peer| &peer.links);
        links.and_then(|links| links.get(usize::from(link.0))).is_some_and(|l| l.liveness.is_up())
    }

    /// The boot of `peer` that last proved itself, and its newest number.
    pub fn newest(&self, peer: NodeId) -> Option<(Boot, u64)> {
        let known = self.peers.get(&peer)?.known.as_ref()?;
        Some((known.boot, known.newest))
    }

    /// What was counted since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How near this link came to a false alarm; `None` for no link or no peer of mine.
    pub fn margin(&self, peer: NodeId, link: LinkId) -> Option<Margin> {
        let link = self.peers.get(&peer)?.links.get(usize::from(link.0))?;
        Some(Margin { longest_gap: link.longest_gap, timeout: self.config.timeout })
    }

    /// Measures all margins anew.
    pub fn reset_margins(&mut self) {
        for link in self.peers.values_mut().flat_map(|peer| &mut peer.links) {
            link.longest_gap = Duration::ZERO;
        }
    }

    /// Notices a pause of this node, then whatever ended meanwhile: before anything that arrived
    /// during the pause can be believed.
    fn advance(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let late = now.saturating_since(self.soonest().at);
        if late > self.config.interval {
            self.counters.pauses += 1;
            out.push(Output::Paused(late));
        }
        for (&id, peer) in &mut self.peers {
            if peer.liveness.expire(now, &self.config).is_some() {
                let boot = peer.boot().expect("only a known boot proves anything");
                out.push(Output::PeerDown(id, boot));
            }
            for (at, link) in (0..).zip(&mut peer.links) {
                if let Some(gap) = link.liveness.expire(now, &self.config) {
                    link.longest_gap = link.longest_gap.max(gap);
                    out.push(Output::LinkDown(id, LinkId(at)));
                }
            }
        }
    }

    /// Takes one beat.
    fn hear(
        &mut self,
        now: Instant,
        (link, from): (LinkId, NodeId),
        link_echo: u64,
        beat: Beat,
        out: &mut Outbox<Output>,
    ) {
        let peer = self.peers.get_mut(&from).filter(|_| link.0 < self.config.links);
        let Some(peer) = peer else {
            self.counters.strangers += 1;
            return;
        };
        let recent = |number: u64| self.sent.recent(number, now, self.config.timeout);
        let echoed = beat.echo.filter(|echo| echo.boot == self.config.boot).map(|e| e.number);
        let proof = echoed.and_then(recent);
        let acceptance = peer.accept(Arrival {
            at: now,
            link,
            from: beat.to_echo(),
            echoed: echoed.filter(|_| proof.is_some()),
            next: self.sent.next(),
        });
        if acceptance == Acceptance::Replay {
            self.counters.replayed += 1;
            if !core::mem::replace(&mut peer.replay_told, true) {
                out.push(Output::Replayed { peer: from, link });
            }
            return;
        }
        self.counters.received += 1;
        if acceptance == (Acceptance::Adopted { restarted: true }) {
            self.counters.restarts += 1;
            out.push(Output::PeerRestarted { peer: from, boot: beat.boot });
        }
        let proved = acceptance != Acceptance::Candidate;
        let proof = proof.filter(|_| proved);
        match proof.map(|sent| peer.liveness.believe(now, sent)) {
            Some(Change::Up) => out.push(Output::PeerUp(from, beat.boot)),
            Some(Change::Still(_)) => {}
            None => self.counters.stale += 1,
        }
        let on_link = echoed.filter(|_| proved).and_then(|_| recent(link_echo));
        if on_link.is_some_and(|sent| peer.links[usize::from(link.0)].believe(now, sent)) {
            out.push(Output::LinkUp(from, link));
        }
        let promised = self.promised(&beat).filter(|_| proved);
        out.push(Output::Heard { peer: from, beat, fresh: proof.is_some(), promised });
    }

    /// When I sent the request to which this beat says yes.
    fn promised(&self, beat: &Beat) -> Option<Instant> {
        let promise = beat.status.promise.filter(|promise| promise.boot == self.config.boot)?;
        self.sent.round(promise.number).filter(|round| round.asked).map(|round| round.at)
    }

    /// Sends one round, and arms the next.
    fn send(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let number = self.sent.push(Round { at: now, asked: self.status.asks });
        let (boot, status) = (self.config.boot, self.status);
        for (&id, peer) in &self.peers {
            let session = peer.echoes(number);
            let beat = Beat { boot, number, echo: session.and_then(|s| s.echo()), status };
            for link in (0..self.config.links).map(LinkId) {
                let link_echo = session.map_or(0, |session| session.seen(link));
                out.push(Output::Beat { peer: id, link, link_echo, beat });
                self.counters.sent += 1;
            }
        }
        // On the grid of the rounds before, so that small delays do not add up; but never a burst.
        let on_grid = self.next + self.config.interval;
        let regular = self.next <= now && on_grid > now;
        self.next = if regular { on_grid } else { now + self.config.interval };
        assert!(self.next > now, "the driver would spin");
    }

    fn soonest(&self) -> Deadline {
        let beat = Deadline { at: self.next, why: "beat" };
        let ends = |peer: &Peer| {
            let links = peer.links.iter().filter_map(|link| link.liveness.ends(&self.config)).min();
            let links = links.map(|at| Deadline { at, why: "link timeout" });
            let own = peer.liveness.ends(&self.config);
            let own = own.map(|at| Deadline { at, why: "peer timeout" });
            Deadline::sooner(own, links)
        };
        let first = self.peers.values().fold(Some(beat), |a, peer| Deadline::sooner(a, ends(peer)));
        first.expect("a round is always due")
    }
}

impl Machine for Detector {
    type Input = Input;
    type Output = Output;

    /// A pause, everything going down, one beat heard (restart, up, link up, heard), one round.
    const OUTPUTS_MAX: usize =
        1 + Config::PEERS_MAX * (1 + Config::LINKS_MAX) + 4 + Config::PEERS_MAX * Config::LINKS_MAX;

    fn handle(&mut self, now: Instant, input: Input, out: &mut Outbox<Output>) {
        self.advance(now, out);
        match input {
            Input::Tick | Input::SendNow => {}
            Input::Status(status) => self.status = status,
            Input::Beat { link, from, link_echo, beat } => {
                self.hear(now, (link, from), link_echo, beat, out);
            }
        }
        if input == Input::SendNow || self.next <= now {
            self.send(now, out);
        }
        assert!(self.soonest().at > now, "the driver would spin");
    }

    fn deadline(&self) -> Option<Deadline> {
        Some(self.soonest())
    }
}
