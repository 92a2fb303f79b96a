//! What is in the kernel, as it is believed to be: written by the node, looked at by the guard.

use std::io;
use std::prelude::rust_2024::*;
use std::string::String;
use std::sync::Arc;

use ha_farm::{Filter, Hash, Mode};
use ha_proto::Instant;
use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

use super::batch::{Batch, Element, Shape};
use super::rules::{self, Plan};
use super::sets::{self, Before};
use super::sight::Sight;
use super::wire::Wire;
use super::writer::Writer;
use super::{NAME, Settings, done, nft, prefix};
use crate::driver::{Clock, random};
#[cfg(feature = "bpf")]
use crate::linux::plane::bpf;
use crate::linux::plane::{PlaneError, Sure};

#[derive(Debug)]
pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) writer: Writer,
    pub(super) made: Made,
    /// Tables of earlier processes: shut, and removed once this one filters.
    pub(super) old: Vec<String>,
    /// What was installed last, should somebody else change it.
    last: Option<Arc<Filter>>,
    /// Until when it takes; what the set of the lease holds for it, once that was written here.
    until: Instant,
    lease: Option<Vec<Element>>,
    /// Raised by whatever changes what a look is about, so that one that is under way is void.
    turn: u64,
}

/// A table, and what is in it.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) table: String,
    /// What is in force, and of which generation its sets are.
    pub(super) plan: Option<(Plan, u32)>,
    /// The generation that an earlier process left in force, and what tells its rules.
    pub(super) adopted: Option<(u32, String)>,
    /// The next generation.
    pub(super) next: u32,
    /// How it was when it was looked at first.
    sight: Option<Arc<Sight>>,
}

/// What is believed, for a look that the node does not wait for.
pub(super) struct Belief {
    turn: u64,
    table: String,
    prefix: String,
    sight: Option<Arc<Sight>>,
    /// Of what is in force: its text, the generation of its sets, and what these are for.
    plan: Option<(Plan, u32)>,
    last: Arc<Filter>,
}

/// What a look found.
pub(super) struct Found {
    turn: u64,
    sight: Arc<Sight>,
    /// Other tables of this module that filter.
    strangers: Vec<String>,
    /// Whether all of it is there.
    whole: bool,
    /// And whether the sets hold what they should.
    sets: bool,
}

impl Belief {
    /// Looks at what is there.
    pub(super) fn compare(self, wire: &mut Wire) -> io::Result<Found> {
        let Self { turn, table, prefix, sight: before, plan, last } = self;
        let (sight, in_force) = Sight::read(wire, &table)?;
        let strangers = in_force.into_iter().filter(|it| it.starts_with(&prefix) && *it != table);
        let (strangers, sight) = (strangers.collect(), Arc::new(sight));
        let mut found = Found { turn, sight, strangers, whole: false, sets: false };
        let Some((plan, generation)) = plan else { return Ok(found) };
        found.whole = match before {
            Some(before) => before == found.sight,
            None => found.sight.fits(&plan.text(&table, generation)),
        };
        found.sets = found.whole;
        for (set, all) in sets::contents(generation, &last).into_iter().filter(|_| found.whole) {
            found.sets &= wire.elements(&table, &set)? == all;
        }
        Ok(found)
    }
}

impl Made {
    pub(super) fn new(table: String) -> Self {
        Self { table, ..Self::default() }
    }
}

impl State {
    pub(super) fn new(settings: Settings, writer: Writer, made: Made, old: Vec<String>) -> Self {
        // What an earlier process wrote is not known.
        let lease = made.adopted.is_none().then(Vec::new);
        let until = Instant::ZERO;
        Self { settings, writer, made, old, last: None, until, lease, turn: 0 }
    }

    /// What the table that was adopted decides by, as its process knew. Rules of another release
    /// stay until the next filter: to make all anew now would be a gap.
    pub(super) fn resume(&mut self, filter: &Filter, until: Instant) {
        let Ok(plan) = self.plan(filter) else { return };
        self.turn += 1;
        self.recognise(&plan);
        (self.last, self.until) = (Some(Arc::new(filter.clone())), until);
    }

    pub(super) fn install(&mut self, filter: &Filter) -> Result<(), PlaneError> {
        self.put(filter)
            .or_else(|error| if self.recover(true)? { self.put(filter) } else { Err(error) })?;
        self.last = Some(Arc::new(filter.clone()));
        Ok(())
    }

    pub(super) fn lease(&mut self, until: Instant) -> Result<(), PlaneError> {
        // Whatever becomes of this write, no later one makes it longer.
        self.until = self.until.min(until);
        let written = self.open_until(until).or_else(|error| {
            if self.recover(false)? { self.open_until(until) } else { Err(error) }
        });
        let past = until <= Clock::of_the_machine().now();
        if written.is_err() && past && !self.is_there().unwrap_or(true) {
            // A filter that is not there takes nothing; whether this kernel does is the guard's.
            self.lease = Some(Vec::new());
            return Ok(());
        }
        written
    }

    /// All anew, at an interface that was made anew.
    pub(super) fn moved(&mut self) -> Result<(), PlaneError> {
        if self.last.is_some() {
            return self.remake();
        }
        let what = "filter an interface that was made anew".into();
        let why = "this process does not know its rules yet: restart the daemon".into();
        Err(PlaneError::System { what, why })
    }

    /// What a look is to be about; `None` where there is need of none.
    pub(super) fn begin_look(&mut self) -> io::Result<Option<Belief>> {
        // Before that nothing filters yet, or what does is of another release: the node's next
        // write is about that.
        let known = self.made.adopted.is_none();
        let Some(last) = self.last.clone().filter(|_| known) else { return Ok(None) };
        let ours = self.writer.begin_look()?;
        let Made { table, plan, sight, .. } = &self.made;
        // A chain goes with its interface, and no generation tells.
        let hooked = |sight: &Arc<Sight>| sight.has_its_chains(&mut self.writer.wire, table);
        if ours && sight.as_ref().map_or(Ok(false), hooked)? {
            return Ok(None);
        }
        let (table, plan, sight) = (table.clone(), plan.clone(), sight.clone());
        let prefix = prefix(&self.settings.module);
        Ok(Some(Belief { turn: self.turn, table, prefix, sight, plan, last }))
    }

    /// Sees to what a look found.
    pub(super) fn end_look(&mut self, found: Found) -> Result<Sure, PlaneError> {
        if found.turn != self.turn {
            // What the node did meanwhile is looked at next.
            return Ok(Sure::No);
        }
        for table in found.strangers {
            // As of an old list of rules: it would drop what this one takes.
            warn!(table, "somebody put back an old table of this module: it is taken away");
            self.delete(&table);
        }
        if !found.whole {
            return self.remake().map(|()| Sure::Yes);
        }
        self.made.sight = Some(found.sight);
        if found.sets {
            self.writer.end_look();
        } else {
            warn!("somebody changed what the filter decides by: it is written again");
            self.writer.doubt();
            self.put_last()?;
        }
        let lease = self.writer.wire.elements(&self.made.table, rules::LEASE);
        match (lease, &self.lease) {
            (Ok(lease), Some(written)) if !is_within(&lease, written) => {
                warn!("somebody changed until when the filter takes: it is written again");
                self.open_until(self.until)?;
            }
            (Ok(_) | Err(_), _) => {}
        }
        Ok(Sure::Yes)
    }

    fn put_last(&mut self) -> Result<(), PlaneError> {
        let Some(last) = self.last.take() else { return Ok(()) };
        let put = self.put(&last);
        self.last = Some(last);
        put
    }

    /// Makes all anew, by a table of its own, and takes away what is left of the one before once
    /// that filters.
    fn remake(&mut self) -> Result<(), PlaneError> {
        warn!(table = self.made.table, "somebody changed the filter's rules: they are made again");
        let made = Made::new(make(&mut self.writer, &self.settings.module)?);
        let before = core::mem::replace(&mut self.made, made);
        self.old.push(before.table.clone());
        if let Err(error) = self.put_last() {
            // Nothing of it stays: the next look begins once more.
            self.delete(&self.made.table.clone());
            self.made = before;
            self.old.pop();
            return Err(error);
        }
        self.open_until(self.until)
    }

    /// Where a write failed because somebody deleted the table: makes all anew. `false` where that
    /// is not so, or where what filtered is not known and nothing is `known` to be put there now.
    fn recover(&mut self, known: bool) -> Result<bool, PlaneError> {
        if done("look for the table", self.is_there())? {
            return Ok(false);
        }
        if self.last.is_some() {
            return self.remake().map(|()| true);
        }
        self.made = Made::new(make(&mut self.writer, &self.settings.module)?);
        Ok(known)
    }

    fn is_there(&mut self) -> io::Result<bool> {
        Ok(self.writer.wire.tables()?.contains(&self.made.table))
    }

    fn delete(&mut self, table: &str) {
        let mut batch = Batch::new(table);
        batch.delete_table();
        // One that stays is shut, or not there.
        let _ = self.writer.commit(&batch);
    }

    fn put(&mut self, filter: &Filter) -> Result<(), PlaneError> {
        self.turn += 1;
        let plan = self.plan(filter)?;
        self.recognise(&plan);
        match &self.made.plan {
            Some((present, generation)) if *present == plan => {
                let generation = *generation;
                done("change the sets", self.change(generation, filter))
            }
            Some(_) | None => self.replace(filter, plan),
        }
    }

    /// The rules of a filter.
    fn plan(&self, filter: &Filter) -> Result<Plan, PlaneError> {
        let setup = filter.setup();
        let Hash::Jhash { seed } = setup.hash else {
            return Err(PlaneError::Unable { plane: NAME, what: "SipHash: only jhash" });
        };
        let buckets = (0..setup.rules.len()).map(|service| filter.words(service).len()).collect();
        Ok(Plan::new(setup, seed, buckets, &self.settings.interfaces))
    }

    /// Goes on with the rules that were adopted, if these are the ones: without `nft`, which takes
    /// longer than the node may be late.
    fn recognise(&mut self, plan: &Plan) {
        let Made { adopted, plan: in_force, .. } = &mut self.made;
        if let Some((generation, _)) =
            adopted.take_if(|(generation, mark)| *mark == plan.mark(*generation))
        {
            *in_force = Some((plan.clone(), generation));
        }
    }

    /// Other contents of the sets: what is other alone, where it is certain what they hold.
    fn change(&mut self, generation: u32, filter: &Filter) -> io::Result<()> {
        if let Some(last) = &self.last {
            let mut batch = Batch::new(&self.made.table);
            sets::write(&mut batch, generation, Before::Filter(last), filter);
            if self.writer.commit_difference(&batch).unwrap_or(false) {
                return Ok(());
            }
        }
        let mut batch = Batch::new(&self.made.table);
        sets::write(&mut batch, generation, Before::Unknown, filter);
        self.writer.commit_whole(&batch)
    }

    /// Rules that are not in force yet, with sets of their own, put in force at once.
    fn replace(&mut self, filter: &Filter, plan: Plan) -> Result<(), PlaneError> {
        let generation = self.made.next;
        self.made.next += 1;
        let mut batch = Batch::new(&self.made.table);
        sets::write(&mut batch, generation, Before::None, filter);
        done("make the sets", self.writer.commit(&batch))?;
        let text = plan.text(&self.made.table, generation);
        // The program writes as anybody else does.
        self.writer.doubt();
        if let Err(error) = nft(&["-f", "-"], &text) {
            self.discard(&plan, generation, false);
            return Err(error);
        }
        self.made.sight = None;
        if let Some((old, _)) = self.made.adopted.take() {
            // What its rules were is not known; most of them were as these.
            self.discard(&plan, old, true);
        }
        if let Some((before, old)) = self.made.plan.replace((plan, generation)) {
            self.discard(&before, old, true);
        }
        for table in core::mem::take(&mut self.old) {
            self.delete(&table);
        }
        #[cfg(feature = "bpf")]
        self.sweep_bpf();
        Ok(())
    }

    /// Of a daemon that was killed: its programs would drop what these rules take.
    #[cfg(feature = "bpf")]
    fn sweep_bpf(&self) {
        let Settings { module, interfaces } = &self.settings;
        if let Err(error) = bpf::sweep(module, interfaces) {
            warn!(%error, "a filter in BPF may be left");
        }
    }

    /// Removes what a generation had. What stays is never reached.
    fn discard(&mut self, plan: &Plan, generation: u32, chains: bool) {
        if chains {
            let _ = nft(&["-f", "-"], &plan.removal(&self.made.table, generation));
        }
        let mut batch = Batch::new(&self.made.table);
        for service in 0..plan.rules.len() {
            batch.delete_set(&rules::mine(generation, service));
            if plan.mode == Mode::Directed {
                batch.delete_set(&rules::owners(generation, service));
            }
        }
        if plan.mode == Mode::Directed {
            batch.delete_set(&rules::members(generation));
        }
        let _ = self.writer.commit(&batch);
    }

    fn open_until(&mut self, until: Instant) -> Result<(), PlaneError> {
        let mut batch = Batch::new(&self.made.table);
        batch.flush(rules::LEASE);
        // First: a process that is stopped in between makes it end earlier, not later (F5).
        let now = time_of_day();
        let left = until.saturating_since(Clock::of_the_machine().now());
        let mut span = Vec::new();
        if !left.is_zero() {
            let left_nanos =
                u64::try_from(left.as_nanos()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4);
            let end = now.saturating_add(left_nanos);
            // Rounded up: the span itself ends in time.
            let millis = left_nanos.div_ceil(1_000_000);
            span = std::vec![Element::begin(&[0; 8], millis), Element::end(&end.to_be_bytes())];
            batch.elements(rules::LEASE, &span);
        }
        done("write the lease", self.writer.commit(&batch))?;
        let written = span.iter().map(Element::as_read);
        (self.until, self.lease) = (until, Some(written.collect()));
        Ok(())
    }
}

/// Whether a lease opens the filter for no longer than what was written: parts of that may have gone
/// by themselves.
fn is_within(lease: &[Element], written: &[Element]) -> bool {
    let begins = lease.iter().any(|element| !element.ends());
    let ends = lease.iter().any(Element::ends);
    lease.iter().all(|element| written.contains(element)) && (ends || !begins)
}

/// Makes a table that takes nothing yet; its name.
pub(super) fn make(writer: &mut Writer, module: &str) -> Result<String, PlaneError> {
    let number = done("get a random number", random())? as u32;
    let table = std::format!("{}{number:08x}", prefix(module));
    let mut batch = Batch::new(&table);
    batch.table();
    batch.set(rules::LEASE, Shape::SPANS);
    rules::counters().for_each(|counter| batch.counter(&counter));
    done("make the table", writer.commit(&batch))?;
    Ok(table)
}

/// In nanoseconds, as the kernel's rules read it.
fn time_of_day() -> u64 {
    let time = clock_gettime(ClockId::Realtime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}
