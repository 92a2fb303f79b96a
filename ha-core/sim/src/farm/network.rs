//! The farm's networks: links that carry beats, and the switch between them and the clients.

use bytes::Bytes;
use ha_proto::Prng;

use super::fact::Fact;
use super::options::MEMBERS_MAX;
use super::weather::Weather;

/// How many links carry beats; the last one is the virtual address's own network.
pub const LINKS: usize = 2;

/// One datagram under way.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// Where from.
    pub from: usize,
    /// Where to.
    pub to: usize,
    /// Over which link.
    pub link: u8,
    /// The bytes.
    pub datagram: Bytes,
    /// What the bytes say, for observers and scripts; the receiver reads the bytes.
    pub fact: Fact,
}

/// What a script does with the datagrams that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// They are lost.
    Drop,
    /// They wait until they are released.
    Hold,
}

/// A script's rule: the first that fits decides.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Where from; anywhere with `None`.
    pub from: Option<usize>,
    /// Where to; anywhere with `None`.
    pub to: Option<usize>,
    /// Which ones.
    pub wants: fn(&Fact) -> bool,
    /// What is done with them.
    pub act: Act,
    /// How often.
    pub times: u32,
}

/// All links and everything on them.
#[derive(Debug, Default)]
pub struct Network {
    /// How many faults cut this way, by link, sender and receiver.
    cuts: [[[u16; MEMBERS_MAX]; MEMBERS_MAX]; LINKS],
    parcels: Vec<Option<Parcel>>,
    free: Vec<usize>,
    /// A script's rules.
    pub rules: Vec<Rule>,
    /// What rules hold back.
    pub held: Vec<Parcel>,
}

impl Network {
    /// Cuts one way on one link once more.
    pub fn cut(&mut self, link: usize, from: usize, to: usize) {
        self.cuts[link][from][to] += 1;
    }

    /// Takes one cut back.
    pub fn heal(&mut self, link: usize, from: usize, to: usize) {
        let cuts = &mut self.cuts[link][from][to];
        *cuts = cuts.saturating_sub(1);
    }

    /// Takes all cuts back.
    pub fn heal_all(&mut self) {
        self.cuts = Default::default();
    }

    /// Whether a link carries something that way.
    pub fn carries(&self, link: usize, from: usize, to: usize) -> bool {
        self.cuts[link][from][to] == 0
    }

    /// Whether two members reach each other, each way over some link.
    pub fn joins(&self, one: usize, other: usize) -> bool {
        let way = |from, to| (0..LINKS).any(|link| self.carries(link, from, to));
        way(one, other) && way(other, one)
    }

    /// Decides what becomes of a datagram: the delays after which it arrives, none when lost.
    pub fn fate(
        &mut self,
        prng: &mut Prng,
        weather: &Weather,
        parcel: &Parcel,
    ) -> [Option<u64>; 2] {
        let rule = self.rules.iter_mut().find(|rule| {
            let from = rule.from.is_none_or(|from| from == parcel.from);
            let to = rule.to.is_none_or(|to| to == parcel.to);
            from && to && rule.times > 0 && (rule.wants)(&parcel.fact)
        });
        if let Some(rule) = rule {
            rule.times -= 1;
            if rule.act == Act::Hold {
                self.held.push(parcel.clone());
            }
            return [None, None];
        }
        let carries = self.carries(usize::from(parcel.link), parcel.from, parcel.to);
        if !carries || prng.chance(weather.loss) {
            return [None, None];
        }
        let once = Some(delay(prng, weather));
        let twice = prng.chance(weather.twice).then(|| delay(prng, weather));
        [once, twice]
    }

    /// Puts a parcel on its way; its slot.
    pub fn post(&mut self, parcel: Parcel) -> usize {
        if let Some(slot) = self.free.pop() {
            self.parcels[slot] = Some(parcel);
            return slot;
        }
        self.parcels.push(Some(parcel));
        self.parcels.len() - 1
    }

    /// Takes a parcel that arrives.
    pub fn take(&mut self, slot: usize) -> Parcel {
        self.free.push(slot);
        self.parcels[slot].take().expect("a parcel arrives once")
    }
}

fn delay(prng: &mut Prng, weather: &Weather) -> u64 {
    let usual = weather.delay_min + prng.below(weather.delay_jitter);
    if prng.chance(weather.stray) { usual + prng.below(weather.stray_max) } else { usual }
}
