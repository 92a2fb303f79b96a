//! How rough one history of a farm is: everything that is not a single fault.

use ha_proto::Prng;

use super::options::{MEMBERS_MAX, Spans};
use crate::clock::Clock;
use crate::weather::MS;

/// The background of one history. Some are calm and some wild (swarm testing).
#[derive(Clone, Debug)]
pub struct Weather {
    /// Beats lost, per million, on each link on its own.
    pub loss: u32,
    /// Beats delivered twice, per million.
    pub twice: u32,
    /// Shortest way of a datagram, nanoseconds.
    pub delay_min: u64,
    /// How much longer it may take.
    pub delay_jitter: u64,
    /// Datagrams that come very late, per million.
    pub stray: u32,
    /// How late those come at most.
    pub stray_max: u64,
    /// Writes of a filter that fail, per million.
    pub fail: u32,
    /// Writes of a filter or a lease that are slow, per million: the driver waits for them.
    pub slow: u32,
    /// How long those take at most.
    pub slow_max: u64,
    /// Clients' packets that are lost before any member sees them, and answers, per million.
    pub packet_loss: u32,
    /// The rates of the members' clocks, in millionths.
    pub rates: [u64; MEMBERS_MAX],
    /// How many clients there are.
    pub clients: usize,
    /// How long a client waits between two packets, at most.
    pub think_max: u64,
    /// The longest time between two faults.
    pub fault_gap: u64,
    /// How long a fault lasts at most; some last far shorter.
    pub fault_max: u64,
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
            fail: 0,
            slow: 0,
            slow_max: 1,
            packet_loss: 0,
            rates: [1_000_000; MEMBERS_MAX],
            clients: 12,
            think_max: 50 * MS,
            fault_gap: 1_000 * MS,
            fault_max: 1_000 * MS,
            weights: [0; Self::KINDS],
        }
    }

    /// Drawn: about a third of the histories have no noise of each kind.
    pub fn draw(prng: &mut Prng, spans: &Spans, rho: u64) -> Self {
        let (slowest, fastest) = (1_000_000 - rho, 1_000_000 + rho);
        assert!(slowest >= Clock::SLOWEST, "no contract covers such clocks");
        let rates = core::array::from_fn(|_| match prng.below(4) {
            0 => slowest,
            1 => fastest,
            _ => slowest + prng.below(fastest - slowest + 1),
        });
        let interval = spans.interval;
        // A datagram and its answer take r at most, with the time to handle them.
        let trip = spans.round_trip / 3;
        let delay_min = 1 + prng.below(trip / 2);
        let mut weather = Self {
            loss: noise(prng, 150_000),
            twice: noise(prng, 50_000),
            delay_min,
            delay_jitter: 1 + prng.below(trip / 2),
            stray: noise(prng, 10_000),
            stray_max: interval / 2 + prng.below(interval * 8),
            fail: noise(prng, 50_000),
            slow: noise(prng, 50_000),
            slow_max: 1 + prng.below(interval),
            packet_loss: noise(prng, 30_000),
            rates,
            clients: 4 + prng.below(20) as usize,
            think_max: interval / 2 + prng.below(interval * 2),
            fault_gap: interval + prng.below(interval * 20),
            fault_max: interval + prng.below(interval * 30),
            weights: [0; Self::KINDS],
        };
        for weight in &mut weather.weights {
            *weight = if prng.chance(500_000) { 0 } else { 1 + prng.below(8) };
        }
        weather
    }

    /// What is left when the faults stop.
    pub fn settle(&mut self) {
        (self.loss, self.twice, self.stray) = (0, 0, 0);
        (self.fail, self.slow, self.packet_loss) = (0, 0, 0);
    }
}

fn noise(prng: &mut Prng, max: u64) -> u32 {
    if prng.chance(400_000) { 0 } else { prng.below(max) as u32 }
}
