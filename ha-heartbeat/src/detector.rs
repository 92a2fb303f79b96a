//! The failure detector.

use alloc::collections::BTreeMap;
use core::time::Duration;

use ha_proto::{Boot, Deadline, Instant, LinkId, Machine, NodeId, Outbox};

use crate::liveness::Change;
use crate::peer::{Acceptance, Arrival, MyRound, Peer};
use crate::sent::{Round, Sent};
use crate::session::Session;
use crate::{Beat, Config, Counters, Handed, Margin, Status};

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
        /// How long that number waited at the sender for this beat; zero when it does not say.
        waited: Duration,
        /// The beat.
        beat: Beat,
    },
    /// Sends a round at once: the status has something that cannot wait (the contract's Tell).
    ///
    /// For a change of this node's own, not for each datagram: every round takes a place among the
    /// 64 to 256 remembered ones, and the echo of a forgotten one proves nothing.
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
    /// A beat was accepted. Links differ in speed: a beat whose number is below that of
    /// [`Detector::newest`] tells an older status than one that was heard before.
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

/// The fields of [`Input::Beat`].
#[derive(Clone, Copy)]
struct Heard {
    link: LinkId,
    from: NodeId,
    link_echo: u64,
    waited: Duration,
    beat: Beat,
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

    /// What another process needs to go on in this boot, as if this one had been paused.
    pub fn hand_over(&self) -> Handed {
        Handed::of(self.sent.newest(), self.next, &self.peers)
    }

    /// Goes on where an earlier process of the same boot stopped. It sent nothing since, and is
    /// gone: two that count on in one boot would be taken for one that is replayed.
    ///
    /// # Panics
    /// When what was handed over is not of these peers and links: [`Handed::fits`].
    pub fn resume(config: Config, status: Status, handed: &Handed) -> Self {
        let sent = Sent::resume(&config, handed.number());
        let (peers, next) = (handed.peers(&config), handed.next());
        Self { config, status, sent, next, peers, counters: Counters::default() }
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

    /// How long a beat to `peer` and its echo are on their way on this link, smoothed over about
    /// eight of them; what the peer let each wait is taken off. `None` before the first one.
    pub fn round_trip(&self, peer: NodeId, link: LinkId) -> Option<Duration> {
        self.peers.get(&peer)?.links.get(usize::from(link.0))?.round_trip
    }

    /// How long the number of `peer` that is echoed on this link has been here; zero when none is,
    /// and at least a microsecond otherwise. For the sender of a beat, so that the peer can tell the
    /// round trip from the wait.
    pub fn waited(&self, peer: NodeId, link: LinkId, now: Instant) -> Duration {
        let known = self.peers.get(&peer).and_then(|peer| peer.known.as_ref());
        let heard = known.and_then(|known| known.heard(link));
        let moment = Duration::from_micros(1);
        heard.map_or(Duration::ZERO, |heard| now.saturating_since(heard).max(moment))
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

    /// Takes one beat, unless it is a stranger's or a replay.
    fn hear(&mut self, now: Instant, heard: Heard, out: &mut Outbox<Output>) {
        let Heard { link, from, beat, .. } = heard;
        let echoed = self.echoed(now, &beat, beat.echo.map_or(0, |echo| echo.number));
        let next = self.sent.next();
        let peer = self.peers.get_mut(&from).filter(|_| link.0 < self.config.links);
        let Some(peer) = peer else {
            self.counters.strangers += 1;
            return;
        };
        match peer.accept(Arrival { at: now, link, from: beat.to_echo(), echoed, next }) {
            Acceptance::Replay => {
                self.counters.replayed += 1;
                if !core::mem::replace(&mut peer.replay_told, true) {
                    out.push(Output::Replayed { peer: from, link });
                }
                return;
            }
            Acceptance::Candidate => {
                out.push(Output::Heard { peer: from, beat, fresh: false, promised: None });
                self.counters.stale += 1;
            }
            Acceptance::Known { lost } => {
                // A peer chooses its numbers: a sum that overflows would end this node.
                self.counters.lost = self.counters.lost.saturating_add(lost);
                self.believe(now, heard, echoed, out);
            }
            Acceptance::Adopted { restarted } => {
                if restarted {
                    self.counters.restarts += 1;
                    out.push(Output::PeerRestarted { peer: from, boot: beat.boot });
                }
                self.believe(now, heard, echoed, out);
            }
        }
        self.counters.received += 1;
    }

    /// Takes a beat of a peer's known boot.
    fn believe(
        &mut self,
        now: Instant,
        heard: Heard,
        echoed: Option<MyRound>,
        out: &mut Outbox<Output>,
    ) {
        let Heard { link, from, link_echo, waited, beat } = heard;
        let on_link = self.echoed(now, &beat, link_echo);
        let promised = self.promised(&beat);
        let peer = self.peers.get_mut(&from).expect("its beat was accepted");
        assert!(peer.boot() == Some(beat.boot), "a dead boot would keep its successor up");
        match echoed.map(|round| peer.liveness.believe(now, round.sent)) {
            Some(Change::Up) => out.push(Output::PeerUp(from, beat.boot)),
            Some(Change::Still(_)) => {}
            None => self.counters.stale += 1,
        }
        let link_state = &mut peer.links[usize::from(link.0)];
        if let Some(round) = on_link {
            link_state.measure(now.saturating_since(round.sent), waited);
            if link_state.believe(now, round.sent) {
                out.push(Output::LinkUp(from, link));
            }
        }
        out.push(Output::Heard { peer: from, beat, fresh: echoed.is_some(), promised });
    }

    /// My round with this number, if the beat echoes my boot and I sent it recently.
    fn echoed(&self, now: Instant, beat: &Beat, number: u64) -> Option<MyRound> {
        let mine = beat.echo.is_some_and(|echo| echo.boot == self.config.boot);
        let at = self.sent.round(number).filter(|_| mine)?.at;
        let recent = now.saturating_since(at) <= self.config.timeout;
        recent.then_some(MyRound { number, sent: at })
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
            let beat = Beat { boot, number, echo: session.and_then(Session::echo), status };
            for link in (0..self.config.links).map(LinkId) {
                let link_echo = session.map_or(0, |session| session.seen(link));
                out.push(Output::Beat { peer: id, link, link_echo, beat });
                self.counters.sent += 1;
            }
        }
        // On the grid of the rounds before, so that small delays do not add up; but never a burst. One
        // between two of them moves none: what began together, as the modules of a process do, goes
        // on together, and a process wakes once for all.
        let on_grid = self.next + self.config.interval;
        if self.next <= now {
            self.next = if on_grid > now { on_grid } else { now + self.config.interval };
        }
        assert!(self.next > now, "the driver would spin");
    }

    fn soonest(&self) -> Deadline {
        let mut soonest = Deadline { at: self.next, why: "beat" };
        let mut sooner = |at: Option<Instant>, why| {
            let other = at.map(|at| Deadline { at, why });
            soonest = other.filter(|other| other.at < soonest.at).unwrap_or(soonest);
        };
        for peer in self.peers.values() {
            sooner(peer.liveness.ends(&self.config), "peer timeout");
            for link in &peer.links {
                sooner(link.liveness.ends(&self.config), "link timeout");
            }
        }
        soonest
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
            Input::Beat { link, from, link_echo, waited, beat } => {
                self.hear(now, Heard { link, from, link_echo, waited, beat }, out);
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use ha_proto::{
        DataId, DataState, Epoch, Incarnation, Membership, NodeSet, Position, Role, StoreId,
    };

    use crate::{Echo, Resources};

    const MY_BOOT: Boot = Boot(0xa);
    const BOOT: Boot = Boot(0xb);
    const ZERO: LinkId = LinkId(0);
    const ONE: LinkId = LinkId(1);

    fn node(id: u8) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn peer() -> NodeId {
        node(1)
    }

    fn at(when: u64) -> Instant {
        Instant::ZERO + millis(when)
    }

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn status() -> Status {
        Status {
            membership: Membership {
                epoch: Epoch::NONE,
                holder: node(0),
                set: NodeSet::EMPTY,
                data: DataId(0),
            },
            role: Role::Wait,
            ready: false,
            state: DataState::Blank,
            store: StoreId(0),
            incarnation: Incarnation(0),
            position: Position::default(),
            asks: false,
            promise: None,
            able: false,
            broken: false,
            yields: false,
            waits: false,
            unanswered: false,
            resources: Resources::default(),
            preference: 0,
            joint: Epoch::NONE,
        }
    }

    /// A detector with one peer and two links, a beat in 10 ms and a timeout of 30 ms.
    fn detector() -> Detector {
        let (interval, timeout) = (millis(10), millis(30));
        let config = Config::new(node(0), MY_BOOT, vec![peer()], 2, interval, timeout).unwrap();
        Detector::new(config, status(), at(0))
    }

    fn call(detector: &mut Detector, when: u64, input: Input) -> Vec<Output> {
        let mut out = Outbox::new(Detector::OUTPUTS_MAX);
        detector.handle(at(when), input, &mut out);
        core::iter::from_fn(|| out.pop()).collect()
    }

    fn tick(detector: &mut Detector, when: u64) -> Vec<Output> {
        call(detector, when, Input::Tick)
    }

    /// A beat of the peer that echoes a number of mine; 0 for none.
    fn beat(boot: Boot, number: u64, echo: u64) -> Beat {
        let echo = (echo > 0).then_some(Echo { boot: MY_BOOT, number: echo });
        Beat { boot, number, echo, status: status() }
    }

    /// The beat arrives on link 0, with the echo of that link.
    fn arrives(beat: Beat, link_echo: u64) -> Input {
        Input::Beat { link: ZERO, from: peer(), link_echo, waited: Duration::ZERO, beat }
    }

    fn heard(beat: Beat, fresh: bool) -> Output {
        Output::Heard { peer: peer(), beat, fresh, promised: None }
    }

    /// My round on both links, when the peer's echo and its numbers on the links are these.
    fn round(number: u64, boot: Boot, echo: u64, links: [u64; 2]) -> Vec<Output> {
        let echo = (echo > 0).then_some(Echo { boot, number: echo });
        let mine = Beat { boot: MY_BOOT, number, echo, status: status() };
        let on = |link, link_echo| Output::Beat { peer: peer(), link, link_echo, beat: mine };
        vec![on(ZERO, links[0]), on(ONE, links[1])]
    }

    fn joined(parts: &[&[Output]]) -> Vec<Output> {
        parts.concat()
    }

    /// A detector whose peer came up at 10 ms on link 0, with beat 2 echoing my round 2.
    fn up() -> Detector {
        let mut detector = detector();
        tick(&mut detector, 0);
        call(&mut detector, 5, arrives(beat(BOOT, 1, 1), 1));
        tick(&mut detector, 10);
        call(&mut detector, 10, arrives(beat(BOOT, 2, 2), 2));
        assert!(detector.alive(peer()));
        detector
    }

    #[test]
    fn the_first_round_is_due_at_once_and_echoes_nobody() {
        let mut detector = detector();
        assert_eq!(detector.deadline(), Some(Deadline { at: at(0), why: "beat" }));
        assert_eq!(tick(&mut detector, 0), round(1, BOOT, 0, [0, 0]));
        assert_eq!(detector.deadline(), Some(Deadline { at: at(10), why: "beat" }));
        assert_eq!(tick(&mut detector, 9), []);
        assert_eq!(tick(&mut detector, 10), round(2, BOOT, 0, [0, 0]));
        assert_eq!(detector.counters(), Counters { sent: 4, ..Counters::default() });
    }

    #[test]
    fn a_peer_is_up_once_it_echoes_what_i_sent_after_i_first_heard_it() {
        let mut detector = detector();
        tick(&mut detector, 0);
        let first = beat(BOOT, 1, 1);
        assert_eq!(call(&mut detector, 5, arrives(first, 1)), [heard(first, false)]);
        assert!(!detector.alive(peer()));
        assert_eq!(detector.newest(peer()), None);
        assert_eq!(tick(&mut detector, 10), round(2, BOOT, 1, [1, 0]));
        let second = beat(BOOT, 2, 2);
        let expected =
            [Output::PeerUp(peer(), BOOT), Output::LinkUp(peer(), ZERO), heard(second, true)];
        assert_eq!(call(&mut detector, 15, arrives(second, 2)), expected);
        assert!(detector.alive(peer()));
        assert!(detector.link_up(peer(), ZERO));
        assert!(!detector.link_up(peer(), ONE));
        assert_eq!(detector.newest(peer()), Some((BOOT, 2)));
        let counted = Counters { sent: 4, received: 2, stale: 1, ..Counters::default() };
        assert_eq!(detector.counters(), counted);
    }

    /// The detector after a hand-over to another process.
    fn resumed(detector: &Detector) -> Detector {
        Detector::resume(detector.config.clone(), status(), &detector.hand_over())
    }

    #[test]
    fn a_hand_over_is_to_the_peer_as_if_nothing_had_happened() {
        let mut detector = resumed(&up());
        assert!(detector.alive(peer()) && detector.link_up(peer(), ZERO));
        assert_eq!(detector.newest(peer()), Some((BOOT, 2)));
        assert_eq!(detector.deadline(), Some(Deadline { at: at(20), why: "beat" }));
        assert_eq!(tick(&mut detector, 20), round(3, BOOT, 2, [2, 0]), "the next number");
        let third = beat(BOOT, 3, 3);
        assert_eq!(call(&mut detector, 21, arrives(third, 3)), [heard(third, true)]);
    }

    #[test]
    fn what_was_sent_before_a_hand_over_proves_nothing_after_it() {
        let mut detector = resumed(&up());
        let third = beat(BOOT, 3, 2);
        assert_eq!(call(&mut detector, 12, arrives(third, 2)), [heard(third, false)]);
        let ends = Some(Deadline { at: at(40), why: "peer timeout" });
        tick(&mut detector, 20);
        tick(&mut detector, 30);
        assert_eq!(detector.deadline().map(|due| due.at), ends.map(|due| due.at));
    }

    #[test]
    fn what_came_before_a_hand_over_is_a_replay_after_it() {
        let mut detector = resumed(&up());
        let replayed = Output::Replayed { peer: peer(), link: ZERO };
        assert_eq!(call(&mut detector, 12, arrives(beat(BOOT, 2, 2), 2)), [replayed]);
    }

    #[test]
    fn a_long_hand_over_is_a_pause() {
        let mut detector = resumed(&up());
        let expected = joined(&[
            &[Output::Paused(millis(80))],
            &[Output::PeerDown(peer(), BOOT), Output::LinkDown(peer(), ZERO)],
            &round(3, BOOT, 2, [2, 0]),
        ]);
        assert_eq!(tick(&mut detector, 100), expected);
    }

    #[test]
    fn a_beat_that_comes_when_a_round_is_due_is_echoed_by_it() {
        let mut detector = up();
        let third = beat(BOOT, 3, 2);
        let expected = joined(&[&[heard(third, true)], &round(3, BOOT, 3, [3, 0])]);
        assert_eq!(call(&mut detector, 20, arrives(third, 2)), expected);
    }

    #[test]
    fn a_peer_on_two_links_is_up_although_each_works_one_way() {
        let mut detector = detector();
        tick(&mut detector, 0);
        call(&mut detector, 5, arrives(beat(BOOT, 1, 1), 0));
        tick(&mut detector, 10);
        let second = beat(BOOT, 2, 2);
        let expected = [Output::PeerUp(peer(), BOOT), heard(second, true)];
        assert_eq!(call(&mut detector, 15, arrives(second, 0)), expected);
        assert!(!detector.link_up(peer(), ZERO), "on this link it does not hear me");
    }

    #[test]
    fn a_silent_peer_goes_down_a_timeout_after_its_last_proof() {
        let mut detector = up();
        tick(&mut detector, 20);
        tick(&mut detector, 30);
        tick(&mut detector, 39);
        assert_eq!(detector.deadline(), Some(Deadline { at: at(40), why: "beat" }));
        let down = [Output::PeerDown(peer(), BOOT), Output::LinkDown(peer(), ZERO)];
        assert_eq!(tick(&mut detector, 40), joined(&[&down, &round(5, BOOT, 2, [2, 0])]));
        assert!(!detector.alive(peer()));
        assert_eq!(detector.newest(peer()), Some((BOOT, 2)), "the boot stays known");
        tick(&mut detector, 50);
        let back = beat(BOOT, 3, 6);
        let expected =
            [Output::PeerUp(peer(), BOOT), Output::LinkUp(peer(), ZERO), heard(back, true)];
        assert_eq!(call(&mut detector, 55, arrives(back, 6)), expected);
    }

    #[test]
    fn a_peer_that_does_not_hear_me_goes_down_although_it_is_heard() {
        let mut detector = up();
        for (millis, number) in [(20, 3), (30, 4), (40, 5)] {
            tick(&mut detector, millis);
            assert!(detector.alive(peer()), "{millis}");
            let echo = beat(BOOT, number, 2);
            assert_eq!(call(&mut detector, millis, arrives(echo, 2)), [heard(echo, true)]);
        }
        assert!(!tick(&mut detector, 49).contains(&Output::PeerDown(peer(), BOOT)));
        let down = [Output::PeerDown(peer(), BOOT), Output::LinkDown(peer(), ZERO)];
        assert_eq!(tick(&mut detector, 50)[..2], down, "30 + 10 ms after round 2 was sent");
        let stale = beat(BOOT, 6, 2);
        assert_eq!(call(&mut detector, 51, arrives(stale, 2)), [heard(stale, false)]);
    }

    #[test]
    fn a_replay_is_told_once_and_counted_always() {
        let mut detector = up();
        let old = beat(BOOT, 2, 2);
        let told = [Output::Replayed { peer: peer(), link: ZERO }];
        assert_eq!(call(&mut detector, 11, arrives(old, 2)), told);
        assert_eq!(call(&mut detector, 12, arrives(beat(BOOT, 1, 1), 1)), []);
        assert_eq!(detector.counters().replayed, 2);
        let waited = Duration::ZERO;
        let other_link = Input::Beat { link: ONE, from: peer(), link_echo: 2, waited, beat: old };
        let expected = [Output::LinkUp(peer(), ONE), heard(old, true)];
        assert_eq!(call(&mut detector, 13, other_link), expected, "the same round, another link");
    }

    #[test]
    fn beats_that_never_came_are_counted_once_they_are_missed() {
        let mut detector = up();
        assert_eq!(detector.counters().lost, 0);
        call(&mut detector, 11, arrives(beat(BOOT, 3, 2), 2));
        call(&mut detector, 12, arrives(beat(BOOT, 6, 2), 2));
        assert_eq!(detector.counters().lost, 2, "4 and 5");
        call(&mut detector, 13, arrives(beat(BOOT, 5, 2), 2));
        let counters = detector.counters();
        assert_eq!((counters.lost, counters.replayed), (2, 1), "too late is lost");
        let first = Input::Beat {
            link: ONE,
            from: peer(),
            link_echo: 2,
            waited: Duration::ZERO,
            beat: beat(BOOT, 6, 2),
        };
        call(&mut detector, 14, first);
        assert_eq!(detector.counters().lost, 2, "the first one on a link misses none");
    }

    #[test]
    fn a_restart_of_a_peer_that_is_up_is_no_failure() {
        let mut detector = up();
        let new = Boot(0xc);
        let first = Beat { echo: None, ..beat(new, 1, 0) };
        assert_eq!(call(&mut detector, 15, arrives(first, 0)), [heard(first, false)]);
        assert_eq!(tick(&mut detector, 20), round(3, BOOT, 2, [2, 0]), "the known boot is echoed");
        let second = beat(new, 2, 3);
        let restarted = Output::PeerRestarted { peer: peer(), boot: new };
        assert_eq!(call(&mut detector, 22, arrives(second, 3)), [restarted, heard(second, true)]);
        assert_eq!(detector.newest(peer()), Some((new, 2)));
        assert_eq!(tick(&mut detector, 30), round(4, new, 2, [2, 0]));
        assert_eq!(detector.counters().restarts, 1);
    }

    #[test]
    fn a_peer_that_was_down_comes_up_after_its_restart() {
        let mut detector = up();
        tick(&mut detector, 40);
        let new = Boot(0xc);
        call(&mut detector, 45, arrives(beat(new, 1, 3), 3));
        tick(&mut detector, 50);
        let second = beat(new, 2, 4);
        let expected = [
            Output::PeerRestarted { peer: peer(), boot: new },
            Output::PeerUp(peer(), new),
            Output::LinkUp(peer(), ZERO),
            heard(second, true),
        ];
        assert_eq!(call(&mut detector, 55, arrives(second, 4)), expected);
    }

    #[test]
    fn a_dead_boot_cannot_come_back() {
        let mut detector = up();
        let (new, last) = (Boot(0xc), beat(BOOT, 9, 2));
        call(&mut detector, 12, arrives(beat(new, 1, 2), 2));
        tick(&mut detector, 20);
        call(&mut detector, 21, arrives(beat(new, 2, 3), 3));
        assert_eq!(call(&mut detector, 22, arrives(last, 2)), [heard(last, false)]);
        tick(&mut detector, 30);
        assert_eq!(call(&mut detector, 31, arrives(last, 2)).len(), 1, "refused as a replay");
        assert_eq!(detector.newest(peer()), Some((new, 2)));
        assert_eq!(detector.counters().restarts, 1);
    }

    #[test]
    fn a_round_that_cannot_wait_is_sent_at_once_and_moves_no_other() {
        let mut detector = up();
        assert_eq!(call(&mut detector, 14, Input::SendNow), round(3, BOOT, 2, [2, 0]));
        assert_eq!(tick(&mut detector, 19), []);
        assert_eq!(tick(&mut detector, 20), round(4, BOOT, 2, [2, 0]));
        assert_eq!(tick(&mut detector, 29), []);
    }

    #[test]
    fn small_delays_do_not_add_up() {
        let mut detector = detector();
        for late in [0, 13, 27, 30, 49] {
            assert_eq!(tick(&mut detector, late).len(), 2, "{late}");
        }
        assert_eq!(detector.deadline(), Some(Deadline { at: at(50), why: "beat" }));
        assert_eq!(detector.counters().pauses, 0);
    }

    #[test]
    fn a_status_is_said_from_the_next_round_on() {
        let mut detector = up();
        let said = Status { preference: 7, ..status() };
        assert_eq!(call(&mut detector, 14, Input::Status(said)), []);
        let Output::Beat { beat, .. } = tick(&mut detector, 20)[0] else { panic!("no beat") };
        assert_eq!(beat.status, said);
    }

    #[test]
    fn a_pause_is_told_first_and_what_was_buffered_meanwhile_proves_nothing() {
        let mut detector = up();
        let buffered = beat(BOOT, 3, 2);
        let expected = joined(&[
            &[Output::Paused(millis(80))],
            &[Output::PeerDown(peer(), BOOT), Output::LinkDown(peer(), ZERO)],
            &[heard(buffered, false)],
            &round(3, BOOT, 3, [3, 0]),
        ]);
        assert_eq!(call(&mut detector, 100, arrives(buffered, 2)), expected);
        assert_eq!(detector.counters().pauses, 1);
        assert_eq!(detector.deadline(), Some(Deadline { at: at(110), why: "beat" }));
        let fresh = beat(BOOT, 4, 3);
        assert!(call(&mut detector, 101, arrives(fresh, 3)).contains(&heard(fresh, true)));
        assert!(detector.alive(peer()));
    }

    #[test]
    fn one_interval_late_is_no_pause() {
        let mut detector = up();
        assert_eq!(tick(&mut detector, 30), round(3, BOOT, 2, [2, 0]));
        assert_eq!(detector.counters().pauses, 0);
        call(&mut detector, 35, Input::SendNow);
        assert_eq!(detector.deadline(), Some(Deadline { at: at(40), why: "beat" }));
    }

    #[test]
    fn a_promise_is_dated_by_the_sending_of_the_question() {
        let mut detector = up();
        let asking = Status { asks: true, ..status() };
        call(&mut detector, 14, Input::Status(asking));
        tick(&mut detector, 20);
        let answer = |number, boot, named| {
            let promise = Some(Echo { boot, number: named });
            let mut beat = beat(BOOT, number, 3);
            beat.status.promise = promise;
            beat
        };
        let mut promised = |number, boot, named| {
            let said = call(&mut detector, 29, arrives(answer(number, boot, named), 3));
            let [Output::Heard { promised, .. }] = said[..] else { panic!("{said:?}") };
            promised
        };
        assert_eq!(promised(3, MY_BOOT, 3), Some(at(20)));
        assert_eq!(promised(4, MY_BOOT, 2), None, "round 2 did not ask");
        assert_eq!(promised(5, MY_BOOT, 4), None, "round 4 was not sent");
        assert_eq!(promised(6, Boot(0xd), 3), None, "another boot asked");
    }

    #[test]
    fn a_boot_that_has_not_proved_itself_promises_nothing() {
        let mut detector = up();
        call(&mut detector, 14, Input::Status(Status { asks: true, ..status() }));
        tick(&mut detector, 20);
        let mut yes = beat(Boot(0xc), 1, 3);
        yes.status.promise = Some(Echo { boot: MY_BOOT, number: 3 });
        assert_eq!(call(&mut detector, 21, arrives(yes, 3)), [heard(yes, false)]);
    }

    #[test]
    fn strangers_are_only_counted() {
        let mut detector = up();
        let beat = beat(BOOT, 3, 2);
        for (link, from) in [(ZERO, 2), (ZERO, 0), (LinkId(2), 1), (LinkId(255), 1)] {
            let (from, waited) = (node(from), Duration::ZERO);
            let input = Input::Beat { link, from, link_echo: 2, waited, beat };
            assert_eq!(call(&mut detector, 11, input), []);
        }
        assert_eq!(detector.counters().strangers, 4);
        assert!(!detector.alive(node(2)));
        assert!(!detector.link_up(peer(), LinkId(2)));
        assert_eq!(detector.margin(peer(), LinkId(2)), None);
        assert_eq!(detector.newest(node(2)), None);
    }

    #[test]
    fn margins_keep_the_longest_gap_of_a_link() {
        let mut detector = up();
        let gap = |detector: &Detector| detector.margin(peer(), ZERO).map(|m| m.longest_gap);
        assert_eq!(gap(&detector), Some(millis(0)));
        tick(&mut detector, 20);
        call(&mut detector, 28, arrives(beat(BOOT, 3, 3), 3));
        call(&mut detector, 29, arrives(beat(BOOT, 4, 3), 3));
        assert_eq!(gap(&detector), Some(millis(18)));
        let margin = detector.margin(peer(), ZERO).unwrap();
        assert!((margin.headroom() - 0.4).abs() < 1e-9);
        detector.reset_margins();
        assert_eq!(gap(&detector), Some(millis(0)));
        for millis in [30, 40, 50, 59] {
            tick(&mut detector, millis);
        }
        assert_eq!(gap(&detector), Some(millis(30)), "it went down after that");
        call(&mut detector, 61, arrives(beat(BOOT, 5, 6), 6));
        assert_eq!(gap(&detector), Some(millis(0)), "nothing was late: it was down");
    }

    #[test]
    fn the_round_trip_is_what_the_peer_did_not_wait() {
        let mut detector = up();
        assert_eq!(detector.round_trip(peer(), ZERO), None, "no beat said how long it waited");
        assert_eq!(detector.waited(peer(), ZERO, at(14)), millis(4));
        assert_eq!(detector.waited(peer(), ONE, at(14)), Duration::ZERO, "nothing came there");
        let echo = |number, waited| {
            let beat = beat(BOOT, number, number);
            Input::Beat { link: ZERO, from: peer(), link_echo: number, waited, beat }
        };
        tick(&mut detector, 20);
        call(&mut detector, 29, echo(3, millis(8)));
        assert_eq!(detector.round_trip(peer(), ZERO), Some(millis(1)));
        tick(&mut detector, 30);
        call(&mut detector, 39, echo(4, Duration::ZERO));
        assert_eq!(detector.round_trip(peer(), ZERO), Some(millis(1)), "it does not say");
        tick(&mut detector, 40);
        call(&mut detector, 49, echo(5, millis(20)));
        assert_eq!(detector.round_trip(peer(), ZERO), Some(Duration::from_micros(875)));
        assert_eq!(detector.round_trip(peer(), ONE), None);
    }

    #[test]
    fn the_largest_cluster_fits_in_the_outbox() {
        let peers: Vec<NodeId> = (1..=16).map(node).collect();
        let (interval, timeout) = (millis(10), millis(30));
        let config = Config::new(node(0), MY_BOOT, peers.clone(), 8, interval, timeout).unwrap();
        let mut detector = Detector::new(config, status(), at(0));
        let mut all = |millis, number| {
            tick(&mut detector, millis);
            for &from in &peers {
                for link in (0..8).map(LinkId) {
                    let beat = beat(BOOT, number, number);
                    let waited = Duration::ZERO;
                    let input = Input::Beat { link, from, link_echo: number, waited, beat };
                    call(&mut detector, millis, input);
                }
            }
        };
        all(0, 1);
        all(10, 2);
        all(20, 3);
        assert!(detector.alive(node(16)));
        assert!(detector.link_up(node(16), LinkId(7)));
        let said = tick(&mut detector, 200);
        assert_eq!(said.len(), 1 + 16 * 9 + 16 * 8, "a pause, all down, one round");
    }
}
