//! What one process hands over to the next, so that the filter and its lease go on (F6).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{BufMut, Bytes};
use ha_farm::{Rule, Table};
use ha_heartbeat::group::{self, Group, Handed};
use ha_proto::codec::{DecodeError, Reader};
use ha_proto::wire::Keys;
use ha_proto::{ClusterId, Instant, Machine, ModuleId, NodeId, NodeSet};
use thiserror::Error;

use crate::farm::body::{Body, Facts, accord, put_rule, rule};
use crate::farm::tables::Tables;
use crate::farm::{
    App, Asked, Config, Event, Farm, Policy, Present, Ruling, Told, Warm, group_config,
};

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
/// | 40 | 8 | accord, by the services in force ([`Config::accord`]) |
/// | 48 | 8 | when it was handed over |
/// | 56 | 1 | flags: 1 drain, 2 gate open, 4 no checker fails |
/// | 57 | 8 | since when it warms up; 0: it is warm |
/// | 65 | 1 | number of services in force, 1 to 16 |
/// | 66 | | each: its rule (`put_rule`), and its weight (2) |
/// | | 1 | number of services that wait for the other members; 0: none |
/// | | | each likewise |
/// | | 2 each | the weights that its file said last: of those that wait, or else of those in force |
/// | | 2 | number of drains, at most 4096: the oldest |
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
    rules: Rated,
    next: Option<Rated>,
    configured: Vec<u16>,
    drains: BTreeMap<u64, Instant>,
    group: Handed,
    tables: Vec<Bytes>,
}

/// Services, and this node's weight in each.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rated {
    rules: Vec<Rule>,
    weights: Vec<u16>,
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
    /// The configuration has changed in what all members must share but for the services, or in its
    /// times.
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
    /// With these services in force, whatever the file says of others that are to come.
    fn new(config: &Config, rules: &[Rule]) -> Self {
        let (identity, timing) = (&config.identity, &config.timing);
        Self {
            me: identity.me,
            cluster: identity.cluster,
            module: identity.module,
            members: identity.members,
            interval: timing.interval,
            lease: timing.lease,
            accord: accord(config, rules),
        }
    }
}

impl Farm {
    /// Beats at once, as when there is something to tell, so that a next process has a whole lease
    /// ([`Farm::hand_over`]) whenever it is handed over to.
    pub fn beat(&mut self, now: Instant) {
        let now = self.catch_up(now);
        let Told { facts, accord, next, .. } = self.told.clone();
        self.drive(now, group::Input::Tell { facts, accord, next });
        self.conclude(now);
    }

    /// Gives what a next process needs, which goes on in this node's place: this one must say and
    /// do nothing more. `None` while there is nothing to go on with: it takes nothing, a view or a
    /// write of the filter is under way (ask again in a moment), or outputs wait.
    pub fn hand_over(&mut self, now: Instant) -> Option<Baton> {
        let now = self.catch_up(now);
        let idle = self.outputs.is_empty() && self.flight.is_none() && self.broken.is_none();
        let present = self.present.as_ref().filter(|_| idle && self.app == App::Runs)?;
        let group = self.group.hand_over()?;
        if group.lease() <= now || group.view().id != present.id {
            return None;
        }
        assert!(present.body.accord == self.rules.accord, "rules in force are those of the view");
        Some(Baton {
            of: Of::new(&self.config, &self.rules.rules),
            at: now,
            asked: self.asked,
            warm: self.warm,
            rules: Rated::of(&self.rules),
            next: self.next.as_ref().map(Rated::of),
            configured: self.configured.clone(),
            drains: self.drains.iter().map(|(&of, &until)| (of, until)).take(DRAINS_MAX).collect(),
            group,
            tables: self.shelf.get(present.id)?.parts().collect(),
        })
    }

    /// Goes on where an earlier process of this boot stopped: the kernel's filter and its lease are
    /// as that left them, and the application runs. Services that waited for the others wait on, and
    /// a weight that an order changed stays; where `config` says other ones than that process was
    /// told last, they are as if ordered now ([`Order::Rules`](crate::farm::Order::Rules)).
    ///
    /// # Errors
    /// [`Void`]: start anew with [`Farm::new`], which closes the filter.
    pub fn adopt(config: Config, keys: Keys, baton: &Baton, now: Instant) -> Result<Self, Void> {
        baton.check(&config, now)?;
        let present = baton.present(&config).ok_or(Void::Config)?;
        let group = Group::adopt(group_config(&config), &baton.group, baton.at);
        let me = config.identity.me;
        let mut farm = Self::with(config, keys, group, baton.at);
        farm.rules = baton.rules.ruling(&farm.config);
        farm.next = baton.next.as_ref().map(|next| next.ruling(&farm.config));
        farm.configured.clone_from(&baton.configured);
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
        let tables = Tables::of(present.tables.clone(), farm.rules.rules.clone());
        farm.shelf.put(present.id, tables, None);
        farm.macs = farm.macs(Some(&present.body));
        farm.present = Some(present);
        farm.read_file();
        farm.told.able = true;
        farm.due = farm.group.deadline();
        farm.event(Event::Resumed { view: baton.group.view().id, until: baton.group.lease() });
        let now = farm.catch_up(now);
        farm.conclude(now);
        Ok(farm)
    }

    /// What the file says counts as ordered, if it is not what the process before was told.
    fn read_file(&mut self) {
        let policy = &self.config.policy;
        let last = self.next.as_ref().unwrap_or(&self.rules);
        if last.rules != policy.rules || self.configured != policy.weights {
            self.offer_rules(policy.rules.clone(), policy.weights.clone());
        }
    }
}

impl Rated {
    fn of(ruling: &Ruling) -> Self {
        Self { rules: ruling.rules.clone(), weights: ruling.weights.clone() }
    }

    fn ruling(&self, config: &Config) -> Ruling {
        let Self { rules, weights } = self.clone();
        Ruling { accord: accord(config, &rules), rules, weights }
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_u8(self.rules.len() as u8);
        for (rule, &weight) in self.rules.iter().zip(&self.weights) {
            put_rule(rule, out);
            out.put_u16(weight);
        }
    }

    /// `None` where there are none.
    fn decode(from: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        let count = usize::from(from.u8("the services")?);
        refuse(count > Rule::MAX, "the services")?;
        let (mut rules, mut weights) = (Vec::new(), Vec::new());
        for _ in 0..count {
            rules.push(rule(from)?);
            weights.push(weight(from)?);
        }
        refuse(count > 0 && Rule::check(&rules).is_err(), "the services")?;
        Ok((count > 0).then_some(Self { rules, weights }))
    }
}

impl Baton {
    const MAGIC: &[u8; 4] = b"HAFB";
    const VERSION: u8 = 1;

    /// Whether it was handed over under this configuration but for the services, by the member that
    /// this one is of.
    pub fn is_of(&self, config: &Config) -> bool {
        self.of == Of::new(config, &self.rules.rules)
    }

    /// The lease's end: until when it may be used.
    pub fn until(&self) -> Instant {
        self.group.lease()
    }

    fn check(&self, config: &Config, now: Instant) -> Result<(), Void> {
        let (old, new) = (self.of, Of::new(config, &self.rules.rules));
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
        let rules = self.rules.rules.clone();
        let tables = Tables::read(&self.tables, rules, config.policy.buckets)?;
        let same = body.accord == self.of.accord && tables.digest == body.digest;
        same.then_some(Present { id: view.id, since: self.at, body, tables: tables.all })
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
        self.rules.encode(out);
        match &self.next {
            Some(next) => next.encode(out),
            None => out.put_u8(0),
        }
        self.configured.iter().for_each(|&weight| out.put_u16(weight));
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
        let rules = Rated::decode(&mut from)?.ok_or(DecodeError::Invalid("the services"))?;
        let next = Rated::decode(&mut from)?;
        // Else it would be asked of all members what they have.
        refuse(next.as_ref().is_some_and(|next| next.rules == rules.rules), "the services")?;
        let last = next.as_ref().unwrap_or(&rules).rules.iter();
        let configured = last.map(|_| weight(&mut from)).collect::<Result<_, _>>()?;
        let drains = drains(&mut from)?;
        let len = from.u32("the group")?;
        let len = usize::try_from(len).map_err(|_| DecodeError::Invalid("the group"))?;
        let mut part = Reader::new(from.bytes(len, "the group")?);
        let group = Handed::decode(&mut part)?;
        part.finish()?;
        let tables = tables(&mut from)?;
        from.finish()?;
        Ok(Self { of, at, asked, warm, rules, next, configured, drains, group, tables })
    }
}

fn weight(from: &mut Reader<'_>) -> Result<u16, DecodeError> {
    let weight = from.u16("a weight")?;
    refuse(weight > Policy::WEIGHT_MAX, "a weight")?;
    Ok(weight)
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

/// A drain of five minutes and a view in each interval of 100 ms make 3,000.
const DRAINS_MAX: usize = 4096;
