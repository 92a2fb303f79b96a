//! What can go wrong, and the plan of one history.

use ha_core::Order;
use ha_proto::Prng;

use crate::lan::IPS;
use crate::weather::Weather;

/// One thing that goes wrong. Durations are true nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A node's process is killed, and started again.
    Kill {
        /// Which node.
        node: usize,
        /// How long it is gone.
        down: u64,
    },
    /// A node loses its power: addresses vanish with it.
    PowerCut {
        /// Which node.
        node: usize,
        /// How long it is gone.
        down: u64,
    },
    /// A node's process does not run.
    Pause {
        /// Which node.
        node: usize,
        /// For how long.
        lasts: u64,
    },
    /// Directed channels carry nothing; one bit for each, see `network::Channel`.
    Cut {
        /// Which.
        channels: u16,
        /// For how long.
        lasts: u64,
    },
    /// The replication stream breaks.
    Reset,
    /// The witness's process is killed: leases are forgotten.
    WitnessKill {
        /// How long it is gone.
        down: u64,
    },
    /// The witness's process does not run.
    WitnessPause {
        /// For how long.
        lasts: u64,
    },
    /// The witness is lost with its register, and a blank one takes its place. Only while the pair
    /// is whole.
    WitnessReplace {
        /// How long it takes.
        down: u64,
    },
    /// A node is lost with its storage, and a blank one of the same id takes its place. Only while
    /// the pair is whole.
    NodeReplace {
        /// Which node.
        node: usize,
        /// How long it takes.
        down: u64,
    },
    /// A node's storage is slow.
    DiskSlow {
        /// Which node.
        node: usize,
        /// For how long.
        lasts: u64,
    },
    /// A node's next durable write fails.
    DiskFail {
        /// Which node.
        node: usize,
    },
    /// A node's disk is full.
    DiskFull {
        /// Which node.
        node: usize,
        /// For how long.
        lasts: u64,
    },
    /// A node's disk answers nothing: whatever it was asked for ends when this does.
    DiskHang {
        /// Which node.
        node: usize,
        /// For how long.
        lasts: u64,
    },
    /// Applications and addresses cannot be started or stopped in order at a node.
    AppFail {
        /// Which node.
        node: usize,
        /// For how long.
        lasts: u64,
    },
    /// A resource of a node is down.
    Resource {
        /// Which node.
        node: usize,
        /// Which of [`RESOURCES`].
        which: usize,
        /// For how long.
        lasts: u64,
    },
    /// The operator orders something.
    Order {
        /// At which node.
        node: usize,
        /// What.
        order: Order,
    },
    /// The storage of the witness fails once.
    WitnessDiskFail,
    /// A node's process is replaced by another one, as soon as it can hand over; its application
    /// runs on meanwhile.
    Upgrade {
        /// Which node.
        node: usize,
        /// How long it takes from one process to the next.
        gap: u64,
        /// What is handed over does not arrive: the next process boots.
        lost: bool,
    },
    /// Somebody takes an address off a node.
    Unset {
        /// Which node.
        node: usize,
        /// Which address.
        place: usize,
    },
    /// Somebody else on the clients' network has an address, too.
    Intruder {
        /// Which address.
        place: usize,
        /// Whether he claims it once, or is silent until he is asked.
        claims: bool,
        /// For how long.
        lasts: u64,
    },
}

/// The resources that are watched: the first two, and the last one that an index can name.
pub const RESOURCES: [u8; 3] = [0, 1, 63];

/// One that follows the first of them and blocks nothing.
pub const HARMLESS: u8 = 7;

/// A fault and when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// True nanoseconds since the start.
    pub at: u64,
    /// What.
    pub fault: Fault,
}

impl Fault {
    /// One of the kind `kind`, 0 to [`Weather::KINDS`]` − 1`. `lease` scales the durations.
    pub fn draw(prng: &mut Prng, kind: usize, lease: u64) -> Self {
        let node = prng.below(2) as usize;
        let lasts = span(prng, lease);
        match kind {
            0 => Self::Kill { node, down: lasts },
            1 => Self::PowerCut { node, down: lasts },
            2 => Self::Pause { node, lasts: pause(prng, lease) },
            3 | 4 => Self::Cut { channels: channels(prng), lasts },
            5 => Self::Reset,
            6 => Self::WitnessKill { down: lasts },
            7 => Self::WitnessPause { lasts },
            8 => Self::WitnessReplace { down: lasts },
            9 => Self::NodeReplace { node, down: lasts },
            10 => Self::DiskSlow { node, lasts },
            11 => Self::DiskFail { node },
            12 => Self::DiskFull { node, lasts },
            13 => Self::AppFail { node, lasts },
            14 if prng.chance(300_000) => Self::WitnessDiskFail,
            14 => Self::Resource { node, which: prng.below(3) as usize, lasts },
            15 => Self::Order { node, order: order(prng) },
            _ => unreachable!("no fault has kind {kind}"),
        }
    }

    /// How long it lasts, where something ends by itself.
    pub fn lasts(&self) -> Option<u64> {
        match *self {
            Self::Cut { lasts, .. }
            | Self::DiskSlow { lasts, .. }
            | Self::DiskFull { lasts, .. }
            | Self::DiskHang { lasts, .. }
            | Self::AppFail { lasts, .. }
            | Self::Resource { lasts, .. } => Some(lasts),
            Self::Kill { .. }
            | Self::PowerCut { .. }
            | Self::Pause { .. }
            | Self::Reset
            | Self::WitnessKill { .. }
            | Self::WitnessPause { .. }
            | Self::WitnessReplace { .. }
            | Self::NodeReplace { .. }
            | Self::DiskFail { .. }
            | Self::WitnessDiskFail
            | Self::Upgrade { .. }
            | Self::Unset { .. }
            | Self::Intruder { .. }
            | Self::Order { .. } => None,
        }
    }
}

/// Every fault of a history, drawn in advance, so that a list can also be generated and shrunk.
pub fn plan(prng: &mut Prng, weather: &Weather, lease: u64, until: u64) -> Vec<Planned> {
    let total: u64 = weather.weights.iter().sum();
    let mut plan = Vec::new();
    if total == 0 {
        return plan;
    }
    let mut at = if prng.chance(250_000) { 0 } else { prng.below(lease * 3) };
    loop {
        at += 1 + prng.below(weather.fault_gap);
        if at >= until || plan.len() == FAULTS_MAX {
            break;
        }
        let mut draw = prng.below(total);
        let kind = weather.weights.iter().position(|&weight| {
            let here = draw < weight;
            draw = draw.wrapping_sub(weight);
            here
        });
        let kind = kind.expect("a draw is below the sum of the weights");
        plan.push(Planned { at, fault: Fault::draw(prng, kind, lease) });
    }
    plan.extend(hangs(prng, lease, until));
    plan
}

/// In every third history disks hang, a few times, for moments or several leases. Drawn last, so
/// that the others are what they were.
fn hangs(prng: &mut Prng, lease: u64, until: u64) -> Vec<Planned> {
    let count = if prng.chance(333_000) { 1 + prng.below(4) } else { 0 };
    let hang = |prng: &mut Prng| {
        let (node, lasts) = (prng.below(2) as usize, lease / 8 + span(prng, lease));
        Planned { at: prng.below(until), fault: Fault::DiskHang { node, lasts } }
    };
    (0..count).map(|_| hang(prng)).collect()
}

/// Upgrades of daemons: mostly quick, some too slow, some that go wrong. Drawn after all others.
pub fn upgrades(prng: &mut Prng, lease: u64, until: u64) -> Vec<Planned> {
    let upgrade = |prng: &mut Prng| {
        let node = prng.below(2) as usize;
        let gap = 1 + match prng.below(6) {
            0 | 1 => prng.below(lease / 60),
            2 | 3 => prng.below(lease / 4),
            4 => prng.below(lease),
            _ => prng.below(lease * 3 / 2),
        };
        let lost = prng.chance(150_000);
        Planned { at: prng.below(until), fault: Fault::Upgrade { node, gap, lost } }
    };
    let count = 1 + prng.below(12);
    (0..count).map(|_| upgrade(prng)).collect()
}

/// Somebody meddles with the addresses. Drawn after all others.
pub fn meddling(prng: &mut Prng, lease: u64, until: u64) -> Vec<Planned> {
    let meddle = |prng: &mut Prng| {
        let place = prng.below(IPS as u64) as usize;
        let fault = if prng.chance(600_000) {
            Fault::Unset { node: prng.below(2) as usize, place }
        } else {
            Fault::Intruder { place, claims: prng.chance(500_000), lasts: span(prng, lease) }
        };
        Planned { at: prng.below(until), fault }
    };
    let count = 1 + prng.below(16);
    (0..count).map(|_| meddle(prng)).collect()
}

/// From a blink to several leases, short ones more often.
fn span(prng: &mut Prng, lease: u64) -> u64 {
    match prng.below(4) {
        0 => 1 + prng.below(lease / 8),
        1 => 1 + prng.below(lease),
        2 => lease / 2 + prng.below(lease),
        _ => lease + prng.below(lease * 4),
    }
}

/// A pause: mostly short, up to ten leases.
fn pause(prng: &mut Prng, lease: u64) -> u64 {
    match prng.below(5) {
        0 | 1 => 1 + prng.below(lease / 4),
        2 | 3 => 1 + prng.below(lease * 2),
        _ => lease + prng.below(lease * 9),
    }
}

/// Cuts as networks have them: a link both ways, one way, a node alone, or anything.
fn channels(prng: &mut Prng) -> u16 {
    use crate::network::Channel as C;
    const LINKS: u16 = C::A_B0 | C::B_A0 | C::A_B1 | C::B_A1;
    const SHAPES: [u16; 14] = [
        LINKS,
        LINKS,
        C::A_W | C::W_A,
        C::B_W | C::W_B,
        LINKS | C::A_W | C::W_A,
        LINKS | C::B_W | C::W_B,
        C::A_B0 | C::A_B1,
        C::B_A0 | C::B_A1,
        C::A_B0 | C::B_A0,
        C::A_B1 | C::B_A1,
        C::A_W,
        C::W_A,
        C::W_A | C::W_B,
        C::A_B0 | C::A_B1 | C::A_W,
    ];
    match prng.below(16) as usize {
        at if at < SHAPES.len() => SHAPES[at],
        _ => 1 + prng.below(u64::from(C::ALL)) as u16,
    }
}

fn order(prng: &mut Prng) -> Order {
    match prng.below(40) {
        0..=13 => Order::Swap,
        14..=18 => Order::PrimForce,
        19..=21 => Order::Stop,
        22..=24 => Order::Start,
        25..=27 => Order::Restart,
        28..=30 => Order::Prim,
        31..=33 => Order::Second,
        34..=36 => Order::Failover(false),
        _ => Order::Failover(true),
    }
}

/// More faults than a history has time for.
const FAULTS_MAX: usize = 2_000;
