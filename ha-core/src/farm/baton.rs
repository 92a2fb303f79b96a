//! What one process hands over to the next, so that the filter and its lease go on (F6).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{BufMut, Bytes};
use ha_farm::{Rule, Table};
use ha_heartbeat::group::{Group, Handed};
use ha_proto::codec::{DecodeError, Reader};
use ha_proto::wire::Keys;
use ha_proto::{ClusterId, Instant, Machine, ModuleId, NodeId, NodeSet};
use thiserror::Error;

use crate::farm::body::{Body, Facts};
use crate::farm::tables::Tables;
use crate::farm::{App, Asked, Config, Event, Farm, Policy, Present, Warm, group_config};

/// What a next process needs to go on with this one's boot, view, tables and lease: whoever has it
/// is the node, so it is used once ([`Farm::hand_over`], [`Farm::adopt`]).
///
/// Big-endian; instants in nanoseconds of the clock that both processes share:
///
/// | at | bytes | field |
/// |---|---|---|
/// | 0 | 4 | magic `HAFB` |
/// | 4 | 1 | version, 1 |
/// | 5 | 1 | node |
/// | 6 | 8 | cluster |
/// | 14 | 2 | module |
/// | 16 | 8 | members, one bit each |
/// | 24 | 8 | interval, nanoseconds |
/// | 32 | 8 | lease, nanoseconds |
/// | 40 | 8 | accord: rules, hash, key, buckets, mode |
/// | 48 | 8 | when it was handed over |
/// | 56 | 1 | flags: 1 drain, 2 gate open, 4 no checker fails |
/// | 57 | 8 | since when it warms up; 0: it is warm |
/// | 65 | 1 | number of services, 1 to 16 |
/// | 66 | 4 each | its weight in force (2), and as it was configured (2) |
/// | | 2 | number of drains, at most 128 |
/// | | 16 each | the counter of the view that moved it (8), until when it goes on (8) |
/// | | 4 | length of the group's part, and it, see [`Handed`] |
/// | | 2 | number of the tables' parts |
/// | | | each: its length (2), and it |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Baton {
    of: Of,
    at: Instant,
    asked: Asked,
    warm: Warm,
    weights: Vec<u16>,
    configured: Vec<u16>,
    drains: BTreeMap<u64, Instant>,
    group: Handed,
    tables: Vec<Bytes>,
}

/// Whose it is, and what must not have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Of {
    me: NodeId,
    cluster: ClusterId,
    module: ModuleId,
    members: NodeSet,
    interval: Duration,
    lease: Duration,
    accord: u64,
}

/// Why what a process handed over cannot be used. Start anew, and let the filter be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Void {
    /// It is another node's, cluster's or module's.
    #[error("it is another node's")]
    Stranger,
    /// The configuration has changed in what all members must share, or in its times.
    #[error("it was handed over under another configuration")]
    Config,
    /// The lease has ended meanwhile.
    #[error("its lease has ended")]
    Late,
    /// The clock shows less than when it was handed over: it is another one.
    #[error("it is of another clock")]
    Clock,
}

impl Of {
    fn new(config: &Config) -> Self {
        let (identity, timing) = (&config.identity, &config.timing);
        Self {
            me: identity.me,
            cluster: identity.cluster,
            module: identity.module,
            members: identity.members,
            interval: timing.interval,
            lease: timing.lease,
            accord: config.accord(),
        }
    }
}

impl Farm {
    /// Gives what a next process needs, which goes on in this node's place: this one must say and
    /// do nothing more. `None` while there is nothing to go on with: it takes nothing, a view or a
    /// write of the filter is under way (ask again in a moment), or outputs wait.
    pub fn hand_over(&mut self, now: Instant) -> Option<Baton> {
        let now = self.catch_up(now);
        let idle = self.outputs.is_empty() && self.flight.is_none() && self.broken.is_none();
        let present = self.present.as_ref().filter(|_| idle && self.app == App::Runs)?;
        let group = self.group.hand_over()?;
        let many = self.drains.len() > DRAINS_MAX;
        if group.lease() <= now || group.view().id != present.id || many {
            return None;
        }
        assert!(present.body.accord == self.rules.accord, "rules in force are those of the view");
        Some(Baton {
            of: Of { accord: self.rules.accord, ..Of::new(&self.config) },
            at: now,
            asked: self.asked,
            warm: self.warm,
            weights: self.rules.weights.clone(),
            configured: self.config.policy.weights.clone(),
            drains: self.drains.clone(),
            group,
            tables: self.shelf.parts(present.id)?.to_vec(),
        })
    }

    /// Goes on where an earlier process of this boot stopped: the kernel's filter and its lease are
    /// as that left them, and the application runs. A weight that an order changed stays, unless
    /// `config` says another one than that process was told.
    ///
    /// # Errors
    /// [`Void`]: start anew with [`Farm::new`], which closes the filter.
    pub fn adopt(config: Config, keys: Keys, baton: &Baton, now: Instant) -> Result<Self, Void> {
        baton.check(&config, now)?;
        let present = baton.present(&config).ok_or(Void::Config)?;
        let group = Group::adopt(group_config(&config), &baton.group, baton.at);
        let me = config.identity.me;
        let mut farm = Self::with(config, keys, group, baton.at);
        if farm.config.policy.weights == baton.configured {
            farm.rules.weights.clone_from(&baton.weights);
        }
        farm.app = App::Runs;
        (farm.asked, farm.warm) = (baton.asked, baton.warm);
        farm.drains.clone_from(&baton.drains);
        let own = |table: &Table| -> Vec<bool> {
            table.buckets().iter().map(|bucket| bucket.owner == Some(me)).collect()
        };
        farm.took = present.tables.iter().map(own).collect();
        let facts = baton.group.facts();
        let read = facts.filter_map(|(node, facts)| Some((node, Facts::decode(facts).ok()?)));
        farm.facts = read.collect();
        let tables = Tables::of(&present.tables, present.body.accord);
        farm.shelf.put(present.id, tables, None);
        farm.present = Some(present);
        farm.told.able = true;
        farm.due = farm.group.deadline();
        farm.event(Event::Resumed { until: baton.group.lease() });
        let now = farm.catch_up(now);
        farm.conclude(now);
        Ok(farm)
    }
}

impl Baton {
    const MAGIC: &[u8; 4] = b"HAFB";
    const VERSION: u8 = 1;

    /// Whether it was handed over under this configuration, by the member that this one is of.
    pub fn is_of(&self, config: &Config) -> bool {
        self.of == Of::new(config)
    }

    /// The lease's end: until when it may be used.
    pub fn until(&self) -> Instant {
        self.group.lease()
    }

    fn check(&self, config: &Config, now: Instant) -> Result<(), Void> {
        let (old, new) = (self.of, Of::new(config));
        let whose = |of: &Of| (of.me, of.cluster, of.module);
        if whose(&old) != whose(&new) {
            return Err(Void::Stranger);
        }
        if !self.is_of(config) || !self.group.fits(&group_config(config)) {
            return Err(Void::Config);
        }
        if now < self.at {
            return Err(Void::Clock);
        }
        if now >= self.until() { Err(Void::Late) } else { Ok(()) }
    }

    /// The view that is gone on with.
    fn present(&self, config: &Config) -> Option<Present> {
        let view = self.group.view();
        let body = Body::decode(&view.body, view.set()).ok()?;
        let (services, buckets) = (config.policy.rules.len(), config.policy.buckets);
        let fits = body.accord == self.of.accord && self.weights.len() == services;
        let tables = Tables::read(&self.tables, services, buckets, body.accord)?;
        let same = fits && tables.digest == body.digest;
        same.then_some(Present { id: view.id, body, tables: tables.all })
    }

    /// Writes it.
    pub fn encode(&self, out: &mut impl BufMut) {
        let of = self.of;
        out.put_slice(Self::MAGIC);
        out.put_u8(Self::VERSION);
        out.put_u8(of.me.as_u8());
        out.put_u64(of.cluster.0);
        out.put_u16(of.module.0);
        out.put_u64(u64::try_from(of.members.bits()).expect("a farm's ids are below 64"));
        out.put_u64(nanos(of.interval));
        out.put_u64(nanos(of.lease));
        out.put_u64(of.accord);
        out.put_u64(self.at.as_nanos());
        let asked = self.asked;
        let flags = [asked.drain, asked.gate, asked.checked];
        let bits = flags.iter().enumerate().map(|(bit, &flag)| u8::from(flag) << bit);
        out.put_u8(bits.sum());
        out.put_u64(match self.warm {
            Warm::Cold | Warm::Done => 0,
            Warm::Since(since) => since.as_nanos(),
        });
        out.put_u8(self.weights.len() as u8);
        for (weight, configured) in self.weights.iter().zip(&self.configured) {
            out.put_u16(*weight);
            out.put_u16(*configured);
        }
        assert!(self.drains.len() <= DRAINS_MAX, "a reader would refuse so many drains");
        out.put_u16(self.drains.len() as u16);
        for (&counter, until) in &self.drains {
            out.put_u64(counter);
            out.put_u64(until.as_nanos());
        }
        let mut group = Vec::new();
        self.group.encode(&mut group);
        out.put_u32(group.len() as u32);
        out.put_slice(&group);
        out.put_u16(self.tables.len() as u16);
        for part in &self.tables {
            out.put_u16(part.len() as u16);
            out.put_slice(part);
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes end early or go on, or when a field holds a value that it
    /// cannot have.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        refuse(from.bytes(4, "the magic")? != Self::MAGIC, "the magic")?;
        refuse(from.u8("the version")? != Self::VERSION, "the version")?;
        let of = Of {
            me: from.node("the node")?,
            cluster: ClusterId(from.u64("the cluster")?),
            module: ModuleId(from.u16("the module")?),
            members: NodeSet::from_bits(from.u64("the members")?.into()),
            interval: Duration::from_nanos(from.u64("the interval")?),
            lease: Duration::from_nanos(from.u64("the lease")?),
            accord: from.u64("the accord")?,
        };
        let at = Instant::from_nanos(from.u64("the time")?);
        let flags = from.u8("the flags")?;
        refuse(flags > 7, "the flags")?;
        let flag = |bit: u8| flags >> bit & 1 == 1;
        let asked = Asked { drain: flag(0), gate: flag(1), checked: flag(2), stopped: false };
        let warm = match from.u64("the warm-up")? {
            0 => Warm::Done,
            since => Warm::Since(Instant::from_nanos(since)),
        };
        let (weights, configured) = weights(&mut from)?;
        let drains = drains(&mut from)?;
        let len = from.u32("the group")?;
        let len = usize::try_from(len).map_err(|_| DecodeError::Invalid("the group"))?;
        let mut part = Reader::new(from.bytes(len, "the group")?);
        let group = Handed::decode(&mut part)?;
        part.finish()?;
        let tables = tables(&mut from)?;
        from.finish()?;
        Ok(Self { of, at, asked, warm, weights, configured, drains, group, tables })
    }
}

fn weights(from: &mut Reader<'_>) -> Result<(Vec<u16>, Vec<u16>), DecodeError> {
    let count = usize::from(from.u8("the services")?);
    refuse(!(1..=Rule::MAX).contains(&count), "the services")?;
    let (mut weights, mut configured) = (Vec::new(), Vec::new());
    for _ in 0..count {
        for all in [&mut weights, &mut configured] {
            let weight = from.u16("a weight")?;
            refuse(weight > Policy::WEIGHT_MAX, "a weight")?;
            all.push(weight);
        }
    }
    Ok((weights, configured))
}

fn drains(from: &mut Reader<'_>) -> Result<BTreeMap<u64, Instant>, DecodeError> {
    let count = usize::from(from.u16("the drains")?);
    refuse(count > DRAINS_MAX, "the drains")?;
    let mut drains = BTreeMap::new();
    for _ in 0..count {
        let counter = from.u64("a drain")?;
        let last = drains.last_key_value().map(|(&last, _)| last);
        refuse(last >= Some(counter), "a drain")?;
        drains.insert(counter, Instant::from_nanos(from.u64("a drain")?));
    }
    Ok(drains)
}

fn tables(from: &mut Reader<'_>) -> Result<Vec<Bytes>, DecodeError> {
    let count = from.u16("the tables")?;
    let mut parts = Vec::new();
    for _ in 0..count {
        let len = usize::from(from.u16("a table")?);
        parts.push(Bytes::copy_from_slice(from.bytes(len, "a table")?));
    }
    Ok(parts)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn refuse(wrong: bool, field: &'static str) -> Result<(), DecodeError> {
    if wrong { Err(DecodeError::Invalid(field)) } else { Ok(()) }
}

/// Twice what a view lists.
const DRAINS_MAX: usize = 2 * Body::DRAINS_MAX;
