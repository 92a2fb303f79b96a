//! Two detectors, two links between them, and what is true of them.

use std::collections::BTreeMap;
use std::time::Duration;

use ha_heartbeat::{Beat, Config, Detector, Input, Output};
use ha_proto::{Boot, Instant, LinkId, Machine, NodeId, Outbox, Prng};

use crate::status;

/// Between beats, in milliseconds.
pub(crate) const INTERVAL: u64 = 10;
/// Until a peer is down, in milliseconds.
pub(crate) const TIMEOUT: u64 = 40;
/// The longest delay on a link, in milliseconds, while there is no noise.
pub(crate) const CALM_DELAY: u64 = 3;

/// The longest with noise: far beyond the timeout.
const NOISY_DELAY: u64 = 90;
/// Restarts that a node gets: as many former boots as a detector can tell from a living one.
const RESTARTS_MAX: usize = 3;

/// Two processes and two links. Time in milliseconds.
pub(crate) struct World {
    pub(crate) now: u64,
    /// `cut[sender][link]`.
    pub(crate) cut: [[bool; 2]; 2],
    /// Whether the links lose, duplicate and delay.
    pub(crate) noise: bool,
    /// All that was said, but for beats and what was heard: when, by whom.
    pub(crate) said: Vec<(u64, usize, Output)>,
    nodes: [Node; 2],
    flying: BTreeMap<(u64, usize), Flight>,
    /// Whether anything was replayed.
    replayed: bool,
    /// Everything that was ever sent.
    recorded: Vec<Flight>,
    flights: usize,
    prng: Prng,
}

struct Node {
    detector: Option<Detector>,
    /// Its boots so far; the last one lives unless it crashed.
    boots: Vec<Boot>,
    /// Does not run before.
    paused_until: u64,
    /// What arrived while it was paused.
    buffer: Vec<Flight>,
    /// When it sent the newest number, in this boot, that a running peer has taken in.
    reached: Option<u64>,
    /// The same on each link.
    reached_on: [Option<u64>; 2],
    /// When anything last reached it in this boot.
    heard: Option<u64>,
    /// The peer's boot that it believed last: which of the peer's boots.
    believed: Option<usize>,
}

#[derive(Clone)]
struct Flight {
    from: usize,
    to: usize,
    link: usize,
    sent: u64,
    link_echo: u64,
    waited: Duration,
    number: u64,
    boot: Boot,
    body: Vec<u8>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let node = || Node {
            detector: None,
            boots: Vec::new(),
            paused_until: 0,
            buffer: Vec::new(),
            reached: None,
            reached_on: [None; 2],
            heard: None,
            believed: None,
        };
        let mut world = Self {
            now: 0,
            cut: [[false; 2]; 2],
            noise: false,
            said: Vec::new(),
            nodes: [node(), node()],
            flying: BTreeMap::new(),
            replayed: false,
            recorded: Vec::new(),
            flights: 0,
            prng: Prng::new(seed),
        };
        world.restart(0);
        world.restart(1);
        world
    }

    pub(crate) fn id(node: usize) -> NodeId {
        NodeId::new(node as u8).expect("0 or 1")
    }

    pub(crate) fn runs(&self, node: usize) -> bool {
        self.nodes[node].detector.is_some()
    }

    pub(crate) fn detector(&self, node: usize) -> &Detector {
        self.nodes[node].detector.as_ref().expect("it runs")
    }

    pub(crate) fn boot(&self, node: usize) -> Boot {
        *self.nodes[node].boots.last().expect("it has run")
    }

    /// Whether this node takes its peer for alive.
    pub(crate) fn up(&self, node: usize) -> bool {
        self.nodes[node].detector.as_ref().is_some_and(|it| it.alive(Self::id(1 - node)))
    }

    pub(crate) fn links_up(&self, node: usize) -> bool {
        (0..2).all(|link| self.detector(node).link_up(Self::id(1 - node), LinkId(link)))
    }

    pub(crate) fn draw(&mut self) -> (u64, usize) {
        (self.prng.next_u64(), self.prng.below(2) as usize)
    }

    /// Ends a process, unless it could not be restarted.
    pub(crate) fn crash(&mut self, node: usize) {
        if self.nodes[node].boots.len() > RESTARTS_MAX {
            return;
        }
        self.nodes[node].detector = None;
        self.nodes[node].buffer.clear();
    }

    pub(crate) fn restart(&mut self, node: usize) {
        if self.nodes[node].boots.len() > RESTARTS_MAX {
            return;
        }
        self.crash(node);
        let boot = Boot(self.prng.next_u64());
        let peers = vec![Self::id(1 - node)];
        let (interval, timeout) = (Duration::from_millis(INTERVAL), Duration::from_millis(TIMEOUT));
        let config = Config::new(Self::id(node), boot, peers, 2, interval, timeout);
        let it = &mut self.nodes[node];
        it.detector =
            Some(Detector::new(config.expect("in range"), status::blank(), instant(self.now)));
        it.boots.push(boot);
        it.paused_until = self.now;
        (it.reached, it.reached_on) = (None, [None; 2]);
        (it.heard, it.believed) = (None, None);
    }

    pub(crate) fn pause(&mut self, node: usize, long: u64) {
        self.nodes[node].paused_until = self.now + long;
    }

    pub(crate) fn resume(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.paused_until = self.now);
    }

    pub(crate) fn send_now(&mut self, node: usize) {
        if self.nodes[node].paused_until <= self.now {
            self.handle(node, Input::SendNow);
        }
    }

    /// Delivers something that was sent once, by either node, to `to` and on any link.
    pub(crate) fn replay(&mut self, to: usize, pick: u64, link: usize) {
        if self.recorded.is_empty() {
            return;
        }
        self.replayed = true;
        let pick = self.recorded[(pick % self.recorded.len() as u64) as usize].clone();
        self.arrive(Flight { to, link, ..pick });
    }

    /// Lets time go on for so many milliseconds.
    pub(crate) fn run(&mut self, long: u64) {
        for _ in 0..long {
            for node in 0..2 {
                if self.nodes[node].paused_until <= self.now {
                    for flight in std::mem::take(&mut self.nodes[node].buffer) {
                        self.take_in(&flight);
                    }
                    let due = self.nodes[node].detector.as_ref().and_then(Detector::deadline);
                    if due.is_some_and(|due| due.at <= instant(self.now)) {
                        self.handle(node, Input::Tick);
                    }
                }
            }
            while let Some(next) = self.flying.first_entry().filter(|f| f.key().0 <= self.now) {
                let flight = next.remove();
                self.arrive(flight);
            }
            self.now += 1;
        }
    }

    fn arrive(&mut self, flight: Flight) {
        let node = &mut self.nodes[flight.to];
        if node.paused_until > self.now {
            node.buffer.push(flight);
        } else {
            self.take_in(&flight);
        }
    }

    fn take_in(&mut self, flight: &Flight) {
        if !self.runs(flight.to) {
            return;
        }
        if flight.from != flight.to {
            self.nodes[flight.to].heard = Some(self.now);
            let mine = self.boot(flight.from) == flight.boot;
            let sender = &mut self.nodes[flight.from];
            if mine {
                sender.reached = sender.reached.max(Some(flight.sent));
                let on_link = &mut sender.reached_on[flight.link];
                *on_link = (*on_link).max(Some(flight.sent));
            }
        }
        let beat = Beat::decode(flight.number, &flight.body).expect("it was encoded");
        let (link, from) = (LinkId(flight.link as u8), Self::id(flight.from));
        let (link_echo, waited) = (flight.link_echo, flight.waited);
        self.handle(flight.to, Input::Beat { link, from, link_echo, waited, beat });
    }

    fn handle(&mut self, node: usize, input: Input) {
        let Some(detector) = &mut self.nodes[node].detector else { return };
        let mut out = Outbox::new(Detector::OUTPUTS_MAX);
        detector.handle(instant(self.now), input, &mut out);
        while let Some(output) = out.pop() {
            match output {
                Output::Beat { link, link_echo, beat, .. } => {
                    self.send(node, link, link_echo, &beat);
                }
                Output::PeerUp(_, boot) => self.believe(node, boot, false),
                Output::PeerRestarted { boot, .. } => self.believe(node, boot, true),
                Output::Heard { .. }
                | Output::PeerDown(..)
                | Output::LinkUp(..)
                | Output::LinkDown(..)
                | Output::Paused(_)
                | Output::Replayed { .. } => {}
            }
            if !matches!(output, Output::Beat { .. } | Output::Heard { .. }) {
                self.said.push((self.now, node, output));
            }
        }
        self.check(node);
    }

    /// No boot is believed again once a later one was.
    fn believe(&mut self, node: usize, boot: Boot, restarted: bool) {
        let boots = &self.nodes[1 - node].boots;
        let boot = boots.iter().position(|&known| known == boot).expect("a boot that was");
        let before = self.nodes[node].believed.replace(boot);
        assert!(before <= Some(boot), "boot {boot} is older than {before:?}");
        assert!(!restarted || before < Some(boot), "a restart into the same boot");
    }

    /// R11, and what replays cannot do: a peer is up only if within the timeout something arrived
    /// from it, and if it took in something that I sent within the timeout and an interval. The
    /// same for each link while nothing was replayed: a datagram does not name its link.
    fn check(&self, node: usize) {
        if !self.runs(node) {
            return;
        }
        let recent = |what: Option<u64>, bound| what.is_some_and(|at| self.now < at + bound);
        let Node { reached, reached_on, heard, .. } = &self.nodes[node];
        let bound = TIMEOUT + INTERVAL;
        if self.up(node) {
            assert!(recent(*heard, TIMEOUT), "up, but silent since {heard:?} at {}", self.now);
            assert!(recent(*reached, bound), "up, but deaf since {reached:?} at {}", self.now);
        }
        for (link, reached) in (0..).zip(reached_on) {
            let up = self.detector(node).link_up(Self::id(1 - node), LinkId(link));
            let ok = !up || self.replayed || recent(*reached, bound);
            assert!(ok, "link {link} up, but deaf since {reached:?} at {}", self.now);
        }
    }

    fn send(&mut self, from: usize, link: LinkId, link_echo: u64, beat: &Beat) {
        let mut body = Vec::new();
        beat.encode(&mut body);
        let (number, boot) = (beat.number, beat.boot);
        let waited = self.detector(from).waited(Self::id(1 - from), link, instant(self.now));
        let (to, link, sent) = (1 - from, usize::from(link.0), self.now);
        let flight = Flight { from, to, link, sent, link_echo, waited, number, boot, body };
        self.recorded.push(flight.clone());
        if self.cut[from][link] || self.noise && self.prng.chance(250_000) {
            return;
        }
        let copies = if self.noise && self.prng.chance(100_000) { 2 } else { 1 };
        let longest = if self.noise { NOISY_DELAY } else { CALM_DELAY };
        for _ in 0..copies {
            let at = self.now + 1 + self.prng.below(longest);
            self.flights += 1;
            self.flying.insert((at, self.flights), flight.clone());
        }
    }
}

fn instant(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}
