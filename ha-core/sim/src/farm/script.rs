//! Scripted farms: a calm farm that has settled, to which a test does one thing after the other.

use ha_farm::Flow;

use super::fact::Fact;
use super::frame::Segment;
use super::history::{Verdict, conclude};
use super::kernel::{Socket, State};
use super::network::{Act, Rule};
use super::options::Options;
use super::weather::Weather;
use super::world::build::Setup;
use super::world::{Stop, World};
use crate::trace::Column;

impl World {
    /// A calm farm that has just settled.
    ///
    /// # Panics
    /// When it does not settle.
    pub fn scripted(setup: &Setup) -> Self {
        let options = Options { trace: true, ..Options::new(1) };
        let mut world = Self::new(options, setup, Weather::calm(), Vec::new());
        let intervals = 30;
        let settled =
            world.until(intervals, |world| world.takers(0).iter().all(|all| all.len() == 1));
        assert!(settled, "{}it does not settle", world.tail());
        // Everything that moved on the way has drained.
        world.pass(intervals + world.scene.spans.drain / world.scene.spans.interval);
        world
    }

    /// Lets things happen until `want` is so, at most for so many intervals. Says whether it is.
    ///
    /// # Panics
    /// When a rule is broken.
    pub fn until(&mut self, intervals: u64, want: impl Fn(&Self) -> bool) -> bool {
        let interval = self.scene.spans.interval;
        let end = self.now() + intervals * interval;
        while !want(self) {
            if self.now() >= end {
                return false;
            }
            self.run_checked((self.now() + interval / 50).min(end));
        }
        true
    }

    /// Lets so many intervals pass.
    ///
    /// # Panics
    /// When a rule is broken.
    pub fn pass(&mut self, intervals: u64) {
        self.run_checked(self.now() + intervals * self.scene.spans.interval);
    }

    /// Lets so many hundredths of an interval pass.
    ///
    /// # Panics
    /// When a rule is broken.
    pub fn pass_hundredths(&mut self, hundredths: u64) {
        self.run_checked(self.now() + hundredths * self.scene.spans.interval / 100);
    }

    fn run_checked(&mut self, until: u64) {
        if self.run(until) == Stop::Violation {
            let violation = self.violation.clone().expect("it stopped the world");
            panic!("{}{}: {}", self.tail(), violation.rule, violation.text);
        }
    }

    /// Who takes each bucket of a service now.
    pub fn takers(&self, service: usize) -> Vec<Vec<usize>> {
        super::check::takers(&self.scene, service)
    }

    /// From now on does `act` with the next `times` datagrams of that way that `wants` names.
    pub fn rule(
        &mut self,
        from: Option<usize>,
        to: Option<usize>,
        wants: fn(&Fact) -> bool,
        act: Act,
        times: u32,
    ) {
        self.scene.network.rules.push(Rule { from, to, wants, act, times });
    }

    /// A flow of TCP whose bucket drains at `server`, which owned it, and who owns it now: a
    /// segment of a connection is taken by the former, and a new one by the latter.
    ///
    /// # Panics
    /// When there is none.
    pub fn draining_flow(&mut self, server: usize) -> (Flow, usize) {
        for port in 1_024..5_000 {
            let flow = super::frame::flow(ha_farm::Protocol::Tcp, 9_999, port);
            let owners = self.offer_segment(&flow, Segment::Syn);
            self.connect(server, flow, State::Established);
            let holders = self.offer_segment(&flow, Segment::Ack);
            self.scene.nodes[server].kernel.sockets.all.remove(&flow);
            if let ([owner], [holder]) = (owners.as_slice(), holders.as_slice())
                && *holder == server
                && *owner != server
            {
                return (flow, *owner);
            }
        }
        panic!("{}nothing drains at {server}", self.tail());
    }

    /// Puts a connection into a server's sockets.
    pub fn connect(&mut self, server: usize, flow: Flow, state: State) {
        let socket = Socket { state, number: 1, released: false };
        self.scene.nodes[server].kernel.sockets.all.insert(flow, socket);
    }

    /// Shows a segment to all members: who takes it.
    ///
    /// # Panics
    /// When a rule is broken.
    pub fn show(&mut self, flow: &Flow, segment: Segment) -> Vec<usize> {
        let taken = self.offer_segment(flow, segment);
        self.run_checked(self.now());
        taken
    }

    /// All faults stop, and the farm must settle.
    ///
    /// # Panics
    /// When a rule is broken, or it does not settle.
    pub fn finish(mut self) {
        self.stop_faults();
        let verdict = conclude(&mut self);
        assert!(verdict == Verdict::Good, "{}{verdict:?}", self.tail());
    }

    /// Writes a step of the script into the trace.
    pub fn step(&mut self, text: &str) {
        let text = text.to_owned();
        self.note(Column::World, || text);
    }

    /// The last lines of the trace.
    pub fn tail(&self) -> String {
        let lines: Vec<_> = self.trace.text().lines().collect();
        let from = lines.len().saturating_sub(TAIL);
        lines[from..].join("\n") + "\n"
    }
}

/// Whether it is a part of a proposal.
pub fn proposes(fact: &Fact) -> bool {
    matches!(fact, Fact::Propose { .. })
}

/// Whether it is a beat.
pub fn beats(fact: &Fact) -> bool {
    matches!(fact, Fact::Beat(_))
}

/// How many lines a failure shows.
const TAIL: usize = 150;
