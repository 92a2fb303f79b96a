//! The data plane `nft`: the filter as rules of nftables, for kernels without BPF.
//!
//! Rules at the ingress of each interface find a packet's bucket by `jhash` and look it up in sets.
//! A view changes what is other in the sets alone, in one transaction of netlink and without a
//! process; so are counters read. `nft` (from 1.0.6) is run when rules or modes change. Unlike `bpf`, it looks up no sockets: nothing drains,
//! the owner takes all of a bucket at once, and connections of moved buckets break (FG4). The lease
//! is a span of the time of day, which the kernel looks at for each packet; it also ends by a
//! timeout, lest a clock that is set back prolongs it. Frames with two VLAN tags are left alone.
//! Behind an authentication header, and of an ICMP error about a packet with options, it reads no
//! ports: the first is uncovered, the second dropped.

mod batch;
mod rules;
mod sets;

use std::boxed::Box;
use std::io::{self, Write};
use std::prelude::rust_2024::*;
use std::process::{Command, Stdio};
use std::string::String;
use std::{format, vec};

use ha_farm::{Filter, Hash, Mode, Reason, Rule};
use ha_proto::Instant;
use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

use self::batch::{Batch, Element, Shape, Wire};
use self::rules::Plan;
use self::sets::Before;
use super::{Counters, Plane, PlaneError, Service, bpf};
use crate::driver::{Clock, random};
use crate::linux::link::Link;
use crate::linux::netlink::Netlink;

/// Where the filter goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The module's name, 1 to 32 letters, digits, `-` and `_`: the tables' names begin with it.
    pub module: String,
    /// The interfaces on the VIPs' networks.
    pub interfaces: Vec<String>,
}

/// The filter in the kernel, by nftables. Dropping it leaves the filter in place, shut from the
/// end of its lease on; [`Plane::remove`] takes it away.
#[derive(Debug)]
pub struct Nft {
    settings: Settings,
    wire: Wire,
    table: String,
    /// Tables of earlier processes: shut, and removed once this one filters.
    old: Vec<String>,
    /// What is in force, and of which generation its sets are.
    plan: Option<(Plan, u32)>,
    /// The generation that an earlier process left in force, and what tells its rules.
    adopted: Option<(u32, String)>,
    /// The next generation.
    next: u32,
    /// What was installed last, should somebody else delete the table.
    last: Option<Filter>,
}

impl Nft {
    /// Prepares the filter, shut: what another process left is shut first (F6).
    ///
    /// # Errors
    /// [`PlaneError`]; what was left is shut even then, if it could be reached.
    pub fn open(settings: Settings) -> Result<Self, PlaneError> {
        let mut wire = done("open netlink", Wire::open())?;
        let old = tables(&settings.module)?;
        for table in &old {
            let mut batch = Batch::new(table);
            batch.flush(rules::LEASE);
            done("shut what was left", wire.commit(batch))?;
        }
        let mut netlink = done("open netlink", Netlink::open(None))?;
        for interface in &settings.interfaces {
            if done("look for an interface", Link::find(&mut netlink, interface))?.is_none() {
                return Err(PlaneError::NoInterface(interface.clone()));
            }
        }
        let table = make(&mut wire, &settings.module)?;
        Ok(Self { settings, wire, table, old, plan: None, adopted: None, next: 0, last: None })
    }

    /// Whether `nft` is there, and this process may use it. Nothing is changed.
    ///
    /// # Errors
    /// [`PlaneError`] names what is missing.
    pub fn probe() -> Result<(), PlaneError> {
        nft(&["list", "tables", "netdev"], "").map(drop)
    }

    /// Somebody flushed all rules, as a firewall that is loaded anew does: makes the table again,
    /// and what filtered last, shut. `false` where that is not so, or cannot be.
    fn recover(&mut self) -> Result<bool, PlaneError> {
        if tables(&self.settings.module)?.contains(&self.table) {
            return Ok(false);
        }
        warn!(table = self.table, "somebody deleted the filter: it is made again");
        self.table = make(&mut self.wire, &self.settings.module)?;
        (self.plan, self.adopted, self.next) = (None, None, 0);
        self.put_last()
    }

    /// What filtered last, by the table that is there now. `false` just after an adoption: it is
    /// not known then, and whoever writes is to hear that.
    fn put_last(&mut self) -> Result<bool, PlaneError> {
        let Some(filter) = self.last.take() else { return Ok(false) };
        let put = self.put(&filter);
        self.last = Some(filter);
        put.map(|()| true)
    }

    /// What could not be written is written once more where that was the reason.
    fn again(
        &mut self,
        mut write: impl FnMut(&mut Self) -> Result<(), PlaneError>,
    ) -> Result<(), PlaneError> {
        write(self).or_else(|error| if self.recover()? { write(self) } else { Err(error) })
    }

    /// Takes over the filter that another process left, with what it decides by and its lease
    /// (F6): no packet is lost. Where nothing was left that filters, the filter takes nothing, as
    /// after [`Nft::open`].
    ///
    /// # Errors
    /// As [`Nft::open`].
    pub fn adopt(settings: Settings) -> Result<Self, PlaneError> {
        let mut found = tables(&settings.module)?;
        let listed = nft(&["list", "chains", "netdev"], "")?;
        match (found.pop(), found.is_empty()) {
            (Some(table), true) if let Some(adopted) = rules::marked(&listed, &table) => {
                let wire = done("open netlink", Wire::open())?;
                let next = adopted.0 + 1;
                let (old, plan, adopted) = (Vec::new(), None, Some(adopted));
                Ok(Self { settings, wire, table, old, plan, adopted, next, last: None })
            }
            (Some(_) | None, _) => Self::open(settings),
        }
    }

    /// Rules that are not in force yet, with sets of their own, put in force at once.
    fn replace(&mut self, filter: &Filter, plan: Plan) -> Result<(), PlaneError> {
        let generation = self.next;
        self.next += 1;
        let mut batch = Batch::new(&self.table);
        sets::write(&mut batch, generation, Before::None, filter);
        done("make the sets", self.wire.commit(batch))?;
        let text = plan.text(&self.table, generation);
        if let Err(error) = nft(&["-f", "-"], &text) {
            self.discard(&plan, generation, false);
            return Err(error);
        }
        if let Some((old, _)) = self.adopted.take() {
            // What its rules were is not known; most of them were as these.
            self.discard(&plan, old, true);
        }
        if let Some((before, old)) = self.plan.replace((plan, generation)) {
            self.discard(&before, old, true);
        }
        for table in core::mem::take(&mut self.old) {
            let mut batch = Batch::new(&table);
            batch.delete_table();
            // One that stays is shut.
            let _ = self.wire.commit(batch);
        }
        // Of a daemon that was killed: its programs would drop what these rules take.
        let Settings { module, interfaces } = &self.settings;
        if let Err(error) = bpf::sweep(module, interfaces) {
            warn!(%error, "a filter in BPF may be left");
        }
        Ok(())
    }

    /// Removes what a generation had. What stays is never reached.
    fn discard(&mut self, plan: &Plan, generation: u32, chains: bool) {
        if chains {
            let _ = nft(&["-f", "-"], &plan.removal(&self.table, generation));
        }
        let mut batch = Batch::new(&self.table);
        for service in 0..plan.rules.len() {
            batch.delete_set(&rules::mine(generation, service));
            if plan.mode == Mode::Directed {
                batch.delete_set(&rules::owners(generation, service));
            }
        }
        if plan.mode == Mode::Directed {
            batch.delete_set(&rules::members(generation));
        }
        let _ = self.wire.commit(batch);
    }
}

impl Nft {
    fn put(&mut self, filter: &Filter) -> Result<(), PlaneError> {
        let setup = filter.setup();
        let Hash::Jhash { seed } = setup.hash else {
            return Err(PlaneError::Unable { plane: NAME, what: "SipHash: only jhash" });
        };
        let buckets = (0..setup.rules.len()).map(|service| filter.words(service).len()).collect();
        let plan = Plan::new(setup, seed, buckets, &self.settings.interfaces);
        // Without `nft`, which takes longer than the node may be late.
        if let Some((generation, _)) =
            self.adopted.take_if(|(generation, mark)| *mark == plan.mark(*generation))
        {
            self.plan = Some((plan.clone(), generation));
        }
        match &self.plan {
            Some((present, generation)) if *present == plan => {
                let known = self.last.as_ref().map(Before::Filter);
                // Whole, where somebody else had a hand in what is known of them.
                let mut written = Ok(());
                for before in known.into_iter().chain([Before::Unknown]) {
                    let mut batch = Batch::new(&self.table);
                    sets::write(&mut batch, *generation, before, filter);
                    written = self.wire.commit(batch);
                    if written.is_ok() {
                        break;
                    }
                }
                done("change the sets", written)
            }
            Some(_) | None => self.replace(filter, plan),
        }
    }

    fn open_until(&mut self, until: Instant) -> Result<(), PlaneError> {
        let mut batch = Batch::new(&self.table);
        batch.flush(rules::LEASE);
        // First: a process that is stopped in between makes it end earlier, not later (F5).
        let now = time_of_day();
        let left = until.saturating_since(Clock::of_the_machine().now());
        if !left.is_zero() {
            let left_nanos =
                u64::try_from(left.as_nanos()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4);
            let end = now.saturating_add(left_nanos);
            // Rounded up: the span itself ends in time.
            let millis = left_nanos.div_ceil(1_000_000);
            batch.elements(
                rules::LEASE,
                &[Element::begin(&[0; 8], millis), Element::end(&end.to_be_bytes())],
            );
        }
        done("write the lease", self.wire.commit(batch))
    }
}

impl Plane for Nft {
    fn adopted(&self) -> bool {
        self.adopted.is_some()
    }

    fn install(&mut self, filter: &Filter) -> Result<(), PlaneError> {
        self.again(|nft| nft.put(filter))?;
        self.last = Some(filter.clone());
        Ok(())
    }

    fn lease(&mut self, until: Instant) -> Result<(), PlaneError> {
        self.again(|nft| nft.open_until(until))
    }

    fn counters(&mut self) -> Result<Counters, PlaneError> {
        let counted = done("read the counters", self.wire.counters(&self.table))?;
        let count = |name: &str| counted.get(name).copied().unwrap_or(0);
        let services = self.plan.as_ref().map_or(0, |(plan, _)| plan.rules.len());
        let service = |service| Service {
            accepted: count(&rules::accepted(service)),
            forwarded: count(&rules::handed(service)),
            owners: vec![0; OWNERS],
        };
        Ok(Counters {
            passed: count(rules::PASSED),
            neighbour: count(rules::NEIGHBOUR),
            dropped: Reason::ALL.map(|reason| count(&rules::dropped(reason))),
            services: (0..services).map(service).collect(),
        })
    }

    /// The rules' hook is gone with the interface: a table that knows the new one.
    fn moved(&mut self) -> Result<(), PlaneError> {
        if self.plan.take().is_some() {
            let table = make(&mut self.wire, &self.settings.module)?;
            self.old.push(core::mem::replace(&mut self.table, table));
            self.next = 0;
        }
        if self.put_last()? {
            return Ok(());
        }
        let what = "filter an interface that was made anew".into();
        let why = "this process does not know its rules yet: restart the daemon".into();
        Err(PlaneError::System { what, why })
    }

    fn remove(mut self: Box<Self>) -> Result<(), PlaneError> {
        let mut first = Ok(());
        for table in self.old.iter().chain([&self.table]) {
            let mut batch = Batch::new(table);
            batch.delete_table();
            let deleted = done("delete the table", self.wire.commit(batch));
            first = first.and(deleted);
        }
        first
    }
}

/// Takes away what a module's rules left, whatever process made them.
pub(super) fn sweep(module: &str) {
    // Where there is no `nft` there are no rules of it.
    let Ok(left) = tables(module) else { return };
    let Ok(mut wire) = Wire::open() else { return };
    for table in left {
        let mut batch = Batch::new(&table);
        batch.delete_table();
        if let Err(error) = wire.commit(batch) {
            warn!(table, %error, "a filter of nftables may be left");
        }
    }
}

/// Makes a table that takes nothing yet; its name.
fn make(wire: &mut Wire, module: &str) -> Result<String, PlaneError> {
    let number = done("get a random number", random())? as u32;
    let table = format!("{}{number:08x}", prefix(module));
    let mut batch = Batch::new(&table);
    batch.table();
    batch.set(rules::LEASE, Shape::SPANS);
    done("make the table", wire.commit(batch))?;
    nft(&["-f", "-"], &rules::counters(&table))?;
    Ok(table)
}

/// What the names of a module's tables begin with.
fn prefix(module: &str) -> String {
    format!("ha-{module}.")
}

/// The tables of a module, whatever process made them.
fn tables(module: &str) -> Result<Vec<String>, PlaneError> {
    let listed = nft(&["list", "tables", "netdev"], "")?;
    let names = listed.lines().filter_map(|line| line.strip_prefix("table netdev "));
    Ok(names.filter(|name| name.starts_with(&prefix(module))).map(String::from).collect())
}

/// Runs `nft`, and gives what it says.
fn nft(arguments: &[&str], input: &str) -> Result<String, PlaneError> {
    let mut command = Command::new("nft");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => PlaneError::NoProgram { program: "nft", plane: NAME },
        _ => system("run nft", &error),
    })?;
    let mut stdin = child.stdin.take().expect("it was asked for");
    let written = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = done("run nft", child.wait_with_output())?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        let why = why.lines().next().unwrap_or("it does not say why").into();
        return Err(PlaneError::System { what: format!("nft {}", arguments.join(" ")), why });
    }
    done("tell nft", written)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// In nanoseconds, as the kernel's rules read it.
fn time_of_day() -> u64 {
    let time = clock_gettime(ClockId::Realtime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

fn done<T>(what: &'static str, result: io::Result<T>) -> Result<T, PlaneError> {
    result.map_err(|error| system(what, &error))
}

fn system(what: &str, error: &io::Error) -> PlaneError {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return PlaneError::NotPermitted("CAP_NET_ADMIN");
    }
    PlaneError::System { what: what.into(), why: format!("{error}") }
}

const NAME: &str = "nft";
/// Ids of nodes.
const OWNERS: usize = 128;
const _: () = assert!(Rule::MAX == 16, "the counters are for so many services");
