//! What can go wrong in a farm, and the plan of one history.

use ha_proto::Prng;

use super::options::Spans;
use super::weather::Weather;

/// One thing that goes wrong, or that an operator does. Durations are true nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A host dies, kernel and all, and boots again.
    HostKill {
        /// Which member.
        node: usize,
        /// How long it is gone.
        down: u64,
    },
    /// A daemon is killed, and started again; its kernel goes on.
    DaemonKill {
        /// Which member.
        node: usize,
        /// How long it is gone.
        down: u64,
    },
    /// A daemon is replaced by another one, to which it hands over.
    HandOver {
        /// Which member.
        node: usize,
        /// How long it takes from one process to the next.
        gap: u64,
    },
    /// A daemon does not run.
    Pause {
        /// Which member.
        node: usize,
        /// For how long.
        lasts: u64,
    },
    /// Nothing that one member says reaches another one, on any link.
    CutOneWay {
        /// Who is not heard.
        from: usize,
        /// By whom.
        to: usize,
        /// For how long.
        lasts: u64,
    },
    /// Two members do not reach each other; both may reach all others.
    CutPair {
        /// One.
        one: usize,
        /// The other.
        other: usize,
        /// For how long.
        lasts: u64,
    },
    /// The farm falls apart into two groups.
    Split {
        /// One bit for each member of one of them.
        group: u16,
        /// For how long.
        lasts: u64,
    },
    /// One link carries nothing between anybody.
    CutLink {
        /// Which link.
        link: u8,
        /// For how long.
        lasts: u64,
    },
    /// The weight of a member changes.
    Weight {
        /// Which member.
        node: usize,
        /// Its new weight, in all services.
        weight: u16,
    },
    /// A member drains for a while.
    Drain {
        /// Which member.
        node: usize,
        /// For how long.
        lasts: u64,
    },
    /// The gate of a member is closed for a while.
    Gate {
        /// Which member.
        node: usize,
        /// For how long.
        lasts: u64,
    },
    /// A checker of a member fails for a while.
    Checker {
        /// Which member.
        node: usize,
        /// Whether its connections are cut.
        cut: bool,
        /// For how long.
        lasts: u64,
    },
    /// A member's filter cannot be written for a while.
    FilterFail {
        /// Which member.
        node: usize,
        /// For how long.
        lasts: u64,
    },
    /// A member is stopped in order, and started again.
    Stop {
        /// Which member.
        node: usize,
        /// For how long.
        lasts: u64,
    },
    /// A member's file says other services from now on; it is not told so.
    File {
        /// Which member.
        node: usize,
        /// Which set of them.
        set: usize,
        /// Its weight in the service that comes and goes.
        web: u16,
    },
    /// The same, and it is told to read its file again.
    Rules {
        /// Which member.
        node: usize,
        /// Which set of them.
        set: usize,
        /// Its weight in the service that comes and goes.
        web: u16,
    },
}

/// A fault and when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// True nanoseconds since the start.
    pub at: u64,
    /// What.
    pub fault: Fault,
}

impl Fault {
    /// One of the kind `kind`, 0 to [`Weather::KINDS`]` − 1`, in a farm of `members`.
    pub fn draw(
        prng: &mut Prng,
        kind: usize,
        members: usize,
        spans: &Spans,
        weather: &Weather,
    ) -> Self {
        let node = prng.below(members as u64) as usize;
        let other = (node + 1 + prng.below(members as u64 - 1) as usize) % members;
        let lasts = span(prng, weather.fault_max);
        match kind {
            0 => Self::HostKill { node, down: lasts },
            1 => Self::DaemonKill { node, down: lasts },
            2 => Self::DaemonKill { node, down: 1 + prng.below(spans.interval) },
            3 => Self::HandOver { node, gap: 1 + prng.below(spans.slack) },
            4 => Self::Pause { node, lasts },
            5 => Self::Pause { node, lasts: 1 + prng.below(spans.slack * 3 / 2) },
            6 => Self::CutOneWay { from: node, to: other, lasts },
            7 => Self::CutPair { one: node, other, lasts },
            8 => Self::Split { group: 1 + prng.below((1 << members) - 2) as u16, lasts },
            9 => Self::CutLink { link: prng.below(2) as u8, lasts },
            10 => Self::Weight { node, weight: [0, 1, 1, 2, 5, 8, 100][prng.below(7) as usize] },
            11 => Self::Drain { node, lasts },
            12 => Self::Gate { node, lasts },
            13 => Self::Checker { node, cut: prng.chance(500_000), lasts },
            14 => Self::FilterFail { node, lasts: lasts / 2 + 1 },
            15 => Self::Stop { node, lasts },
            _ => unreachable!("no fault has kind {kind}"),
        }
    }

    /// How long it lasts, where something ends by itself.
    pub fn lasts(&self) -> Option<u64> {
        match *self {
            Self::CutOneWay { lasts, .. }
            | Self::CutPair { lasts, .. }
            | Self::Split { lasts, .. }
            | Self::CutLink { lasts, .. }
            | Self::Drain { lasts, .. }
            | Self::Gate { lasts, .. }
            | Self::Checker { lasts, .. }
            | Self::FilterFail { lasts, .. }
            | Self::Stop { lasts, .. } => Some(lasts),
            Self::HostKill { .. }
            | Self::DaemonKill { .. }
            | Self::HandOver { .. }
            | Self::Pause { .. }
            | Self::Weight { .. }
            | Self::File { .. }
            | Self::Rules { .. } => None,
        }
    }
}

/// Every fault of a history, drawn in advance, so that a list can also be generated and shrunk.
pub fn plan(prng: &mut Prng, weather: &Weather, members: usize, spans: &Spans) -> Vec<Planned> {
    let total: u64 = weather.weights.iter().sum();
    let mut plan = Vec::new();
    if total == 0 {
        return plan;
    }
    // Most farms are up before anything happens to them.
    let mut at = if prng.chance(250_000) { 0 } else { spans.timeout * 4 };
    loop {
        at += 1 + prng.below(weather.fault_gap);
        if at >= spans.safety() || plan.len() == FAULTS_MAX {
            return plan;
        }
        let mut draw = prng.below(total);
        let kind = weather.weights.iter().position(|&weight| {
            let here = draw < weight;
            draw = draw.wrapping_sub(weight);
            here
        });
        let kind = kind.expect("a draw is below the sum of the weights");
        let fault = Fault::draw(prng, kind, members, spans, weather);
        plan.push(Planned { at, fault });
    }
}

/// A cut that stays for ever, in some histories: then the farm settles as its largest clique (FG3).
pub fn staying(prng: &mut Prng, members: usize) -> Option<Fault> {
    let draw = prng.below(16);
    let node = prng.below(members as u64) as usize;
    let other = (node + 1 + prng.below(members as u64 - 1) as usize) % members;
    let group = 1 + prng.below((1 << members) - 2) as u16;
    match draw {
        0 => Some(Fault::CutPair { one: node, other, lasts: 0 }),
        1 => Some(Fault::CutOneWay { from: node, to: other, lasts: 0 }),
        2 => Some(Fault::Split { group, lasts: 0 }),
        _ => None,
    }
}

/// From a blink to the longest, short ones more often.
fn span(prng: &mut Prng, max: u64) -> u64 {
    let max = match prng.below(4) {
        0 => max / 16,
        1 => max / 4,
        _ => max,
    };
    1 + prng.below(max + 1)
}

/// More faults than a history has time for.
const FAULTS_MAX: usize = 1_000;
