//! How rough one history is: everything that is not a single fault, drawn from its seed.

use ha_proto::Prng;

use crate::clock::Clock;

/// The background of one history. Some histories are calm and some wild, so that both the deep and
/// the ordinary states are visited (swarm testing).
#[derive(Clone, Debug)]
pub struct Weather {
    /// Datagrams lost, per million.
    pub loss: u32,
    /// Datagrams delivered twice, per million.
    pub twice: u32,
    /// Shortest way of a datagram, nanoseconds.
    pub delay_min: u64,
    /// How much longer it may take.
    pub delay_jitter: u64,
    /// Datagrams that come very late, per million.
    pub stray: u32,
    /// How late those come at most.
    pub stray_max: u64,
    /// Storage: shortest time of a durable write.
    pub disk_min: u64,
    /// How much longer it may take.
    pub disk_jitter: u64,
    /// Effects that take very long, per million.
    pub slow: u32,
    /// How long those take at most.
    pub slow_max: u64,
    /// Effects whose answer comes late, per million.
    pub late: u32,
    /// Application and address effects that fail, per million.
    pub fail: u32,
    /// The rates of the clocks of A, B and W, in millionths.
    pub rates: [u64; 3],
    /// Whether the host keeps a state of its own over a restart.
    pub host_keeps: bool,
    /// How long a client waits between two requests, at most.
    pub think_max: u64,
    /// The longest payload.
    pub payload_max: u64,
    /// The longest time between two faults.
    pub fault_gap: u64,
    /// The weight of each kind of fault; see `Fault::draw`.
    pub weights: [u64; Self::KINDS],
}

impl Weather {
    /// How many kinds of fault there are.
    pub const KINDS: usize = 16;

    /// No noise at all: for scripts.
    pub fn calm() -> Self {
        Self {
            loss: 0,
            twice: 0,
            delay_min: 200_000,
            delay_jitter: 1,
            stray: 0,
            stray_max: 1,
            disk_min: 200_000,
            disk_jitter: 1,
            slow: 0,
            slow_max: 1,
            late: 0,
            fail: 0,
            rates: [1_000_000; 3],
            host_keeps: false,
            think_max: 200 * MS,
            payload_max: 64,
            fault_gap: 1_000 * MS,
            weights: [0; Self::KINDS],
        }
    }

    /// Drawn: about a third of the histories have no noise of each kind. `lease` in nanoseconds.
    pub fn draw(prng: &mut Prng, lease: u64) -> Self {
        let rate = |prng: &mut Prng| match prng.below(4) {
            0 => Clock::SLOWEST,
            1 => Clock::FASTEST,
            _ => Clock::SLOWEST + prng.below(Clock::FASTEST - Clock::SLOWEST + 1),
        };
        let rates = [rate(prng), rate(prng), rate(prng)];
        let mut weather = Self {
            loss: noise(prng, 150_000),
            twice: noise(prng, 50_000),
            delay_min: 50_000 + prng.below(500_000),
            delay_jitter: 1 + scale(prng, 10, 16),
            stray: noise(prng, 20_000),
            stray_max: lease / 2 + prng.below(lease * 3),
            disk_min: 20_000 + prng.below(MS),
            disk_jitter: 1 + scale(prng, 10, 15),
            slow: noise(prng, 20_000),
            slow_max: lease / 8 + prng.below(lease * 2),
            late: noise(prng, 200_000),
            fail: noise(prng, 50_000),
            rates,
            host_keeps: prng.chance(500_000),
            think_max: lease / 15 + prng.below(lease * 3 / 5),
            payload_max: 64 + scale(prng, 4, 11),
            fault_gap: lease / 16 + prng.below(lease * 3),
            weights: [0; Self::KINDS],
        };
        for weight in &mut weather.weights {
            *weight = if prng.chance(400_000) { 0 } else { 1 + prng.below(8) };
        }
        weather
    }

    /// What is left when the faults stop.
    pub fn settle(&mut self) {
        let calm = Self::calm();
        (self.loss, self.twice, self.stray, self.late) = (0, 0, 0, 0);
        (self.slow, self.fail) = (0, 0);
        self.delay_jitter = calm.delay_jitter;
        self.disk_jitter = calm.disk_jitter;
    }
}

fn noise(prng: &mut Prng, max: u64) -> u32 {
    if prng.chance(400_000) { 0 } else { prng.below(max) as u32 }
}

/// Below 2^least to 2^(least + span): small and large values are as likely.
fn scale(prng: &mut Prng, least: u64, span: u64) -> u64 {
    let bound = 1 << (least + prng.below(span));
    prng.below(bound)
}

/// A millisecond in nanoseconds.
pub const MS: u64 = 1_000_000;
