//! Datagrams on their way: what is lost, late, doubled or held back.

use ha_proto::wire::Datagram;
use ha_proto::{LinkId, Prng};

use crate::fact::Fact;
use crate::weather::Weather;

/// A place that datagrams come from and go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    /// Node 0 or 1.
    Node(usize),
    /// The witness.
    Witness,
}

/// The directed channels, one bit for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel(pub usize);

impl Channel {
    /// A to B, first network.
    pub const A_B0: u16 = 1;
    /// B to A, first network; the replication stream runs over the first network.
    pub const B_A0: u16 = 1 << 1;
    /// A to B, second network.
    pub const A_B1: u16 = 1 << 2;
    /// B to A, second network.
    pub const B_A1: u16 = 1 << 3;
    /// A to the witness.
    pub const A_W: u16 = 1 << 4;
    /// The witness to A.
    pub const W_A: u16 = 1 << 5;
    /// B to the witness.
    pub const B_W: u16 = 1 << 6;
    /// The witness to B.
    pub const W_B: u16 = 1 << 7;
    /// Everything.
    pub const ALL: u16 = 0xff;
    /// A and B, both networks, both ways.
    pub const AB: u16 = Self::A_B0 | Self::B_A0 | Self::A_B1 | Self::B_A1;
    /// How many.
    pub const COUNT: usize = 8;

    /// The channel of a datagram.
    pub fn between(from: Site, to: Site, link: LinkId) -> Self {
        Self(match (from, to) {
            (Site::Node(0), Site::Node(_)) => 2 * usize::from(link.0),
            (Site::Node(_), Site::Node(_)) => 2 * usize::from(link.0) + 1,
            (Site::Node(0), Site::Witness) => 4,
            (Site::Witness, Site::Node(0)) => 5,
            (Site::Node(_), Site::Witness) => 6,
            (Site::Witness, Site::Node(_)) => 7,
            (Site::Witness, Site::Witness) => unreachable!("the witness does not ask itself"),
        })
    }
}

/// One datagram under way.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// Where from.
    pub from: Site,
    /// Where to.
    pub to: Site,
    /// Over which network, between nodes.
    pub link: LinkId,
    /// The bytes.
    pub datagram: Datagram,
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
    /// They arrive, and a copy waits until it is released.
    Copy,
}

/// A script's rule: the first that fits decides.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Where from.
    pub from: Site,
    /// Where to.
    pub to: Site,
    /// Which ones.
    pub wants: fn(&Fact) -> bool,
    /// What is done with them.
    pub act: Act,
    /// How often.
    pub times: u32,
}

/// All channels and everything on them.
#[derive(Debug, Default)]
pub struct Network {
    cuts: [u32; Channel::COUNT],
    parcels: Vec<Option<Parcel>>,
    free: Vec<usize>,
    /// A script's rules.
    pub rules: Vec<Rule>,
    /// What rules hold back.
    pub held: Vec<Parcel>,
    /// When something last arrived on each channel, true nanoseconds; for R11.
    pub arrived: [u64; Channel::COUNT],
}

impl Network {
    /// Cuts each channel of the bit set once more.
    pub fn cut(&mut self, channels: u16) {
        for (at, count) in self.cuts.iter_mut().enumerate() {
            *count += u32::from(channels >> at & 1);
        }
    }

    /// Takes one cut of each channel back.
    pub fn heal(&mut self, channels: u16) {
        for (at, count) in self.cuts.iter_mut().enumerate() {
            *count = count.saturating_sub(u32::from(channels >> at & 1));
        }
    }

    /// Takes all cuts back.
    pub fn heal_all(&mut self) {
        self.cuts = [0; Channel::COUNT];
    }

    /// Whether a channel carries something.
    pub fn carries(&self, channel: Channel) -> bool {
        self.cuts[channel.0] == 0
    }

    /// Whether the replication stream can make progress: data one way, acknowledgements the other.
    pub fn carries_stream(&self) -> bool {
        self.cuts[0] == 0 && self.cuts[1] == 0
    }

    /// Decides what becomes of a datagram: the delays after which it arrives, none when lost.
    pub fn fate(
        &mut self,
        prng: &mut Prng,
        weather: &Weather,
        parcel: &Parcel,
    ) -> [Option<u64>; 2] {
        let rule = self.rules.iter_mut().find(|rule| {
            let fits = rule.from == parcel.from && rule.to == parcel.to;
            fits && rule.times > 0 && (rule.wants)(&parcel.fact)
        });
        if let Some(rule) = rule {
            rule.times -= 1;
            match rule.act {
                Act::Drop => return [None, None],
                Act::Hold => {
                    self.held.push(parcel.clone());
                    return [None, None];
                }
                Act::Copy => self.held.push(parcel.clone()),
            }
        }
        let channel = Channel::between(parcel.from, parcel.to, parcel.link);
        if !self.carries(channel) || prng.chance(weather.loss) {
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

pub(crate) fn delay(prng: &mut Prng, weather: &Weather) -> u64 {
    let usual = weather.delay_min + prng.below(weather.delay_jitter);
    if prng.chance(weather.stray) { usual + prng.below(weather.stray_max) } else { usual }
}
