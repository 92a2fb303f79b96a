//! Scripted worlds: a calm, whole pair to which a test does one thing after the other.

use ha_proto::NodeSet;
use ha_quorum::{Request, Vote};

use crate::fact::Fact;
use crate::fault::Fault;
use crate::network::{Act, Rule, Site};
use crate::options::{Keeper, Options};
use crate::trace::Column;
use crate::weather::{MS, Weather};
use crate::world::{Stop, World};

/// Node 0.
pub const A: usize = 0;
/// Node 1.
pub const B: usize = 1;
/// Longer than any script: a node that is down for so long is only back when faults stop.
pub const LONG: u64 = 3_600_000 * MS;

impl World {
    /// A calm pair that just became whole, node A serving.
    ///
    /// # Panics
    /// When it does not become whole.
    pub fn scripted(vote: Vote) -> Self {
        Self::calm(Options::new(1, vote))
    }

    /// Likewise, with a plain store that keeps the register.
    ///
    /// # Panics
    /// When it does not become whole.
    pub fn scripted_store() -> Self {
        Self::calm(Options { keeper: Keeper::Store, ..Options::new(1, Vote::Arbiter) })
    }

    /// Likewise; what meddles is the script.
    ///
    /// # Panics
    /// When it does not become whole.
    pub fn calm(options: Options) -> Self {
        let options = Options { trace: true, ..options };
        let mut world = Self::new(options, Weather::calm(), Vec::new());
        assert!(world.until(20_000, Self::is_whole), "not whole: {}", world.describe());
        let served = world.until(2_000, |world| world.acknowledged >= 5);
        assert!(served && world.primary() == Some(A), "A does not serve");
        world
    }

    /// Lets things happen until `want` is so, at most `millis` of true time. Says whether it is.
    ///
    /// # Panics
    /// When a rule is broken.
    pub fn until(&mut self, millis: u64, want: impl Fn(&Self) -> bool) -> bool {
        let end = self.now() + millis * MS;
        while !want(self) {
            if self.now() >= end {
                return false;
            }
            self.run_checked((self.now() + MS / 4).min(end));
        }
        true
    }

    /// Lets `millis` of true time pass.
    ///
    /// # Panics
    /// When a rule is broken.
    pub fn pass(&mut self, millis: u64) {
        self.run_checked(self.now() + millis * MS);
    }

    fn run_checked(&mut self, until: u64) {
        if self.run(until) == Stop::Violation {
            let violation = self.violation.clone().expect("it stopped the world");
            panic!("{}{}: {}", self.tail(), violation.rule, violation.text);
        }
    }

    /// How many requests are acknowledged in the next `millis`.
    pub fn acknowledged_within(&mut self, millis: u64) -> u64 {
        let before = self.acknowledged;
        self.pass(millis);
        self.acknowledged - before
    }

    /// The node that answers clients, if it is one.
    pub fn primary(&self) -> Option<usize> {
        let answers = |node: usize| {
            let here = &self.scene.nodes[node];
            here.runs() && here.host.answers() && here.has_address(self.now())
        };
        match (answers(A), answers(B)) {
            (true, false) => Some(A),
            (false, true) => Some(B),
            (true, true) | (false, false) => None,
        }
    }

    /// W's set.
    pub fn witness_set(&self) -> NodeSet {
        self.scene.register().map(|register| register.membership.set).unwrap_or_default()
    }

    /// From now on does `act` with the next `times` datagrams of that way that `wants` names.
    pub fn rule(&mut self, from: Site, to: Site, wants: fn(&Fact) -> bool, act: Act, times: u32) {
        self.scene.network.rules.push(Rule { from, to, wants, act, times });
    }

    /// Takes back all rules; what they hold is still held.
    pub fn forget_rules(&mut self) {
        self.scene.network.rules.clear();
    }

    /// Ends a node's process for good, as far as the script is concerned.
    pub fn lose(&mut self, node: usize) {
        self.inject(Fault::PowerCut { node, down: LONG });
    }

    /// Boots a node that is down.
    pub fn start(&mut self, node: usize) {
        self.boot(node);
    }

    /// Mends channels that were cut.
    pub fn mend_channels(&mut self, channels: u16) {
        self.scene.network.heal(channels);
    }

    /// All faults stop, and the pair must become whole.
    ///
    /// # Panics
    /// When a rule is broken, or it does not become whole.
    pub fn conclude(mut self) {
        self.stop_faults();
        let limit = self.now() + self.options.liveness();
        let stop = self.run(limit);
        if stop != Stop::Violation {
            self.end();
        }
        if let Some(violation) = &self.violation {
            panic!("{}{}: {}", self.tail(), violation.rule, violation.text);
        }
        assert!(stop == Stop::Whole, "{}not whole: {}", self.tail(), self.describe());
    }

    /// Writes a step of the script into the trace.
    pub fn step(&mut self, text: &str) {
        let text = text.to_owned();
        self.note(Column::World, || text);
    }

    /// The last lines of the trace.
    pub fn tail(&self) -> String {
        let text = self.trace.text();
        let lines: Vec<_> = text.lines().collect();
        let from = lines.len().saturating_sub(TAIL);
        lines[from..].join("\n") + "\n"
    }
}

/// Whether it is this kind of request, whatever its arguments.
pub fn asks_exclude(fact: &Fact) -> bool {
    fact.request() == Some(Request::Exclude)
}

/// Whether it is a Take.
pub fn asks_take(fact: &Fact) -> bool {
    fact.request() == Some(Request::Take)
}

/// Whether it is an Admit.
pub fn asks_admit(fact: &Fact) -> bool {
    matches!(fact.request(), Some(Request::Admit { .. }))
}

/// Whether it is a Give.
pub fn asks_give(fact: &Fact) -> bool {
    matches!(fact.request(), Some(Request::Give { .. }))
}

/// Whether it is an answer of W.
pub fn is_answer(fact: &Fact) -> bool {
    matches!(fact, Fact::Answer(_))
}

/// How many lines a failure shows.
const TAIL: usize = 120;
