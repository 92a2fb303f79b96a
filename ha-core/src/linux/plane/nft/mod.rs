//! The data plane `nft`: the filter as rules of nftables, for kernels without BPF.
//!
//! Rules at the ingress of each interface find a packet's bucket by `jhash` and look it up in sets.
//! A view changes what is other in the sets alone, in one transaction of netlink and without a
//! process; so are counters read. `nft` (from 1.0.6) is run when rules or modes change. What anybody
//! else changes of it a [`Guard`] finds, and puts back.
//!
//! Unlike `bpf`, it looks up no sockets: nothing drains, the owner takes all of a bucket at once, and
//! connections of moved buckets break (FG4). The lease is a span of the time of day, which the kernel
//! looks at for each packet; it also ends by a timeout, lest a clock that is set back prolongs it.
//! Frames with two VLAN tags are left alone. Behind an authentication header, and of an ICMP error
//! about a packet with options, it reads no ports: the first is uncovered, the second dropped.
//! Packets are counted by rule, and not by owner.

mod batch;
mod like;
mod rules;
mod sets;
mod sight;
mod state;
mod wire;
mod words;
mod writer;

use std::boxed::Box;
use std::format;
use std::io::{self, Write};
use std::prelude::rust_2024::*;
use std::process::{Command, Stdio};
use std::string::String;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ha_farm::{Filter, Reason, Rule};
use ha_proto::Instant;
use tracing::debug;

use self::batch::Batch;
use self::state::{Found, Made, State, make};
use self::wire::Wire;
use self::writer::Writer;
use super::{Counters, Guard, Plane, PlaneError, Service, Sure};
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
    /// The node's thread and the guard's, of which one waits for the other.
    state: Arc<Mutex<State>>,
}

impl Nft {
    /// Prepares the filter, shut: what another process left is shut first (F6).
    ///
    /// # Errors
    /// [`PlaneError`]; what was left is shut even then, if it could be reached.
    pub fn open(settings: Settings) -> Result<Self, PlaneError> {
        // Whether the program is there, and may be used: what it is for must not fail first.
        Self::probe()?;
        let mut writer = Writer::new(done("open netlink", Wire::open())?);
        let old = done("list what was left", tables(&mut writer.wire, &settings.module))?;
        for table in &old {
            let mut batch = Batch::new(table);
            batch.flush(rules::LEASE);
            done("shut what was left", writer.commit(&batch))?;
        }
        let mut netlink = done("open netlink", Netlink::open(None))?;
        for interface in &settings.interfaces {
            if done("look for an interface", Link::find(&mut netlink, interface))?.is_none() {
                return Err(PlaneError::NoInterface(interface.clone()));
            }
        }
        let made = Made::new(make(&mut writer, &settings.module)?);
        Ok(Self::of(State::new(settings, writer, made, old)))
    }

    /// Whether `nft` is there, and this process may use it. Nothing is changed.
    ///
    /// # Errors
    /// [`PlaneError`] names what is missing.
    pub fn probe() -> Result<(), PlaneError> {
        nft(&["list", "tables", "netdev"], "").map(drop)
    }

    /// Takes over the filter that another process left, with what it decides by and its lease
    /// (F6): no packet is lost. Where nothing was left that filters, the filter takes nothing, as
    /// after [`Nft::open`].
    ///
    /// # Errors
    /// As [`Nft::open`].
    pub fn adopt(settings: Settings) -> Result<Self, PlaneError> {
        let mut writer = Writer::new(done("open netlink", Wire::open())?);
        let mut found = done("list what was left", tables(&mut writer.wire, &settings.module))?;
        let listed = nft(&["list", "chains", "netdev"], "")?;
        match (found.pop(), found.is_empty()) {
            (Some(table), true) if let Some(adopted) = rules::marked(&listed, &table) => {
                let mut made = Made::new(table);
                (made.next, made.adopted) = (adopted.0 + 1, Some(adopted));
                Ok(Self::of(State::new(settings, writer, made, Vec::new())))
            }
            (Some(_) | None, _) => Self::open(settings),
        }
    }

    fn of(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)) }
    }
}

/// The state, whatever became of who had it before.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Plane for Nft {
    fn adopted(&self) -> bool {
        lock(&self.state).made.adopted.is_some()
    }

    fn resume(&mut self, filter: &Filter, until: Instant) {
        lock(&self.state).resume(filter, until);
    }

    fn install(&mut self, filter: &Filter) -> Result<(), PlaneError> {
        lock(&self.state).install(filter)
    }

    fn lease(&mut self, until: Instant) -> Result<(), PlaneError> {
        lock(&self.state).lease(until)
    }

    fn guard(&mut self) -> Option<Box<dyn Guard + Send>> {
        Some(Box::new(Watch { state: Arc::clone(&self.state), wire: None }))
    }

    fn counters(&mut self) -> Result<Counters, PlaneError> {
        let mut state = lock(&self.state);
        let State { writer, made, .. } = &mut *state;
        let counted = done("read the counters", writer.wire.counters(&made.table))?;
        let count = |name: &str| counted.get(name).copied().unwrap_or(0);
        let services = made.plan.as_ref().map_or(0, |(plan, _)| plan.rules.len());
        let service = |service| Service {
            accepted: count(&rules::accepted(service)),
            forwarded: count(&rules::handed(service)),
            owners: Vec::new(),
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
        lock(&self.state).moved()
    }

    fn remove(self: Box<Self>) -> Result<(), PlaneError> {
        let mut state = lock(&self.state);
        let State { writer, made, old, .. } = &mut *state;
        let mut first = Ok(());
        for table in old.iter().chain([&made.table]) {
            let mut batch = Batch::new(table);
            batch.delete_table();
            let deleted = done("delete the table", writer.commit(&batch));
            first = first.and(deleted);
        }
        first
    }
}

/// Looks after the rules and what they decide by: anybody with the rights can change them.
#[derive(Debug)]
struct Watch {
    state: Arc<Mutex<State>>,
    /// For what is looked at while the node goes on.
    wire: Option<Wire>,
}

impl Watch {
    fn find(&mut self) -> io::Result<Option<Found>> {
        let Some(belief) = lock(&self.state).begin_look()? else { return Ok(None) };
        let wire = match &mut self.wire {
            Some(wire) => wire,
            none => none.insert(Wire::open()?),
        };
        belief.compare(wire).map(Some)
    }
}

impl Guard for Watch {
    fn look(&mut self) -> Result<Sure, PlaneError> {
        match self.find() {
            Ok(Some(found)) => lock(&self.state).end_look(found),
            Ok(None) => Ok(Sure::Yes),
            Err(error) => {
                debug!(%error, "a look that fails tells nothing");
                Ok(Sure::No)
            }
        }
    }
}

/// Takes away what a module's rules left, whatever process made them.
#[cfg(feature = "bpf")]
pub(super) fn sweep(module: &str) {
    // Where there is no netlink of it there are no rules of it.
    let Ok(mut wire) = Wire::open() else { return };
    let Ok(left) = tables(&mut wire, module) else { return };
    for table in left {
        let mut batch = Batch::new(&table);
        batch.delete_table();
        if let Err(error) = wire.commit(&batch, words::ANY) {
            tracing::warn!(table, %error, "a filter of nftables may be left");
        }
    }
}

/// What the names of a module's tables begin with.
fn prefix(module: &str) -> String {
    format!("ha-{module}.")
}

/// The tables of a module, whatever process made them.
fn tables(wire: &mut Wire, module: &str) -> io::Result<Vec<String>> {
    let all = wire.tables()?.into_iter();
    Ok(all.filter(|name| name.starts_with(&prefix(module))).collect())
}

/// Runs `nft`, and gives what it says.
fn nft(arguments: &[&str], input: &str) -> Result<String, PlaneError> {
    let mut command = Command::new("nft");
    command.args(arguments).env("LC_ALL", "C");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
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
        if why.contains("Operation not permitted") {
            return Err(PlaneError::NotPermitted("CAP_NET_ADMIN"));
        }
        let why = why.lines().next().unwrap_or("it does not say why").into();
        return Err(PlaneError::System { what: format!("nft {}", arguments.join(" ")), why });
    }
    done("tell nft", written)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
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
const _: () = assert!(Rule::MAX == 16, "the counters are for so many services");

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use std::vec;

    use ha_farm::{Buckets, Hash, HashOn, Mode, Plan, Protocol, Setup, Table, Uncovered};
    use ha_lab::{Host, Lab};
    use ha_proto::NodeId;

    use super::batch::Element;
    use crate::driver::Clock;

    /// Of one node, which takes these buckets.
    fn filter(takes: &[usize]) -> Filter {
        let me = NodeId::new(0).unwrap();
        let setup = Setup {
            me,
            mode: Mode::Invisible,
            uncovered: Uncovered::Deny,
            hash: Hash::Jhash { seed: 7 },
            rules: vec![Rule {
                vip: [198, 18, 0, 1].into(),
                ports: 80..=80,
                protocol: Protocol::Tcp,
                on: HashOn::Addr,
            }],
            macs: [].into(),
        };
        let plan = Plan { counter: 1, weights: [(me, 1)].into(), settled: 0, taken: None };
        let table = Table::new(Buckets::Few).next(&plan);
        Filter::new(setup, &[table], |_, bucket| takes.contains(&bucket)).unwrap()
    }

    fn started(test: &str) -> Option<(Lab, Host, Nft)> {
        let mut lab = Lab::root_or_skip(test)?;
        let bridge = lab.bridge().unwrap();
        let host = lab.host("a", &[&bridge]).unwrap();
        let settings = Settings { module: "unit".into(), interfaces: vec!["eth0".into()] };
        let mut nft = host.inside(|| Nft::open(settings)).unwrap().unwrap();
        host.inside(|| nft.install(&filter(&[1, 2]))).unwrap().unwrap();
        Some((lab, host, nft))
    }

    fn later() -> Instant {
        Clock::of_the_machine().now() + Duration::from_mins(9)
    }

    fn held(nft: &Nft) -> Vec<Element> {
        let mut state = lock(&nft.state);
        let table = state.made.table.clone();
        state.writer.wire.elements(&table, &rules::mine(0, 0)).unwrap()
    }

    fn buckets(all: &[u32]) -> Vec<Element> {
        all.iter().map(|bucket| Element::key(&bucket.to_ne_bytes())).collect()
    }

    /// The kernel did what it was told, and nobody heard so.
    #[test]
    fn after_an_answer_that_is_lost_the_sets_are_written_as_a_whole() {
        let Some((_lab, host, mut nft)) = started("answer_lost") else { return };
        let mut guard = nft.guard().unwrap();
        host.inside(|| guard.look()).unwrap().unwrap();
        assert_eq!(held(&nft), buckets(&[1, 2]));
        // The difference, and the whole that is tried then.
        lock(&nft.state).writer.wire.deaf = 2;
        assert!(host.inside(|| nft.install(&filter(&[2, 3]))).unwrap().is_err());
        assert_eq!(held(&nft), buckets(&[2, 3]));
        // By what was told of it, 1 is held already.
        host.inside(|| nft.install(&filter(&[1, 2, 3]))).unwrap().unwrap();
        assert_eq!(held(&nft), buckets(&[1, 2, 3]));
    }

    /// "The old filter is in force then."
    #[test]
    fn after_an_answer_that_is_lost_a_look_brings_back_what_is_believed() {
        let Some((_lab, host, mut nft)) = started("answer_lost_look") else { return };
        let mut guard = nft.guard().unwrap();
        let mut look = || host.inside(|| guard.look()).unwrap().unwrap();
        look();
        lock(&nft.state).writer.wire.deaf = 2;
        assert!(host.inside(|| nft.install(&filter(&[2, 3]))).unwrap().is_err());
        look();
        assert_eq!(held(&nft), buckets(&[1, 2]));
        look();
        lock(&nft.state).writer.wire.deaf = 1;
        assert!(nft.lease(later()).is_err());
        let leased = |nft: &Nft| {
            let mut state = lock(&nft.state);
            let table = state.made.table.clone();
            !state.writer.wire.elements(&table, rules::LEASE).unwrap().is_empty()
        };
        assert!(leased(&nft));
        look();
        assert!(!leased(&nft), "whoever asked for it heard that it is not written (F5)");
    }

    #[test]
    fn what_cannot_be_made_again_is_told_and_leaves_nothing_behind() {
        let Some((_lab, host, mut plane)) = started("cannot_be_made") else { return };
        let mut guard = plane.guard().unwrap();
        let mut look = || host.inside(|| guard.look()).unwrap();
        look().unwrap();
        host.inside(|| nft(&["flush", "ruleset"], "")).unwrap().unwrap();
        lock(&plane.state).settings.interfaces = vec!["no name of \" an interface".into()];
        for _ in 0..3 {
            assert!(look().is_err(), "its kernel answers all");
        }
        let left = tables(&mut lock(&plane.state).writer.wire, "unit").unwrap();
        assert_eq!(left, [] as [&str; 0], "they pile up");
        // As the node does then: what is not there takes nothing.
        host.inside(|| plane.lease(Instant::ZERO)).unwrap().unwrap();
        assert!(host.inside(|| plane.lease(later())).unwrap().is_err());
        lock(&plane.state).settings.interfaces = vec!["eth0".into()];
        look().unwrap();
        assert_eq!(held(&plane), buckets(&[1, 2]));
    }

    #[test]
    fn a_look_that_a_write_overtook_is_sure_of_nothing() {
        let Some((_lab, host, mut nft)) = started("overtaken") else { return };
        let mut wire = host.inside(Wire::open).unwrap().unwrap();
        let mut look = |nft: &mut Nft, write: bool| {
            let belief = lock(&nft.state).begin_look().unwrap().expect("not all was looked at");
            let found = belief.compare(&mut wire).unwrap();
            if write {
                nft.install(&filter(&[3])).unwrap();
            }
            lock(&nft.state).end_look(found).unwrap()
        };
        assert_eq!(look(&mut nft, true), Sure::No);
        assert_eq!(look(&mut nft, false), Sure::Yes);
    }

    #[test]
    fn a_difference_is_written_where_nobody_else_wrote() {
        let Some((_lab, host, mut nft)) = started("difference") else { return };
        let mut guard = nft.guard().unwrap();
        host.inside(|| guard.look()).unwrap().unwrap();
        let mut state = lock(&nft.state);
        let batch = Batch::new(&state.made.table);
        assert!(state.writer.commit_difference(&batch).unwrap());
        drop(state);
        nft.lease(Instant::ZERO).unwrap();
        nft.install(&filter(&[4])).unwrap();
        assert!(lock(&nft.state).writer.begin_look().unwrap(), "all of it was ours");
        host.inside(|| super::nft(&["add", "table", "inet", "others"], "")).unwrap().unwrap();
        assert!(!lock(&nft.state).writer.begin_look().unwrap());
        let mut state = lock(&nft.state);
        assert!(!state.writer.commit_difference(&batch).unwrap(), "somebody wrote");
    }
}
