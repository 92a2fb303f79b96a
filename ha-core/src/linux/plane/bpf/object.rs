//! The programs and their maps, in the kernel but at no interface.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;
use std::string::String;
use std::{format, vec};

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray};
use aya::programs::{Program, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader};
use ha_farm::{Filter, Reason};
use ha_proto::Instant;
use rustix::io::Errno;

use super::layout::{self, Config, Words};
use crate::linux::plane::{Counters, PlaneError, Service};

/// The filter, loaded: what it decides by can be changed, and its programs can be run. Dropping it
/// takes it out of the kernel, unless it is pinned or at an interface.
#[derive(Debug)]
pub struct Object {
    /// The programs; `None` where only what another process left was opened.
    ebpf: Option<Ebpf>,
    maps: BTreeMap<&'static str, Map>,
}

/// How [`Object::load`] loads.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// Where the maps are pinned: those that are there already are used as they are.
    pub pins: Option<PathBuf>,
    /// For tests: each decision lies in the packet's control block, and nothing is handed on.
    pub trace: bool,
    /// For measuring: to which interface, by its number, [`Object::send_xdp`] sends.
    pub target: u32,
}

impl Object {
    /// Puts the programs and their maps into the kernel. They take nothing yet, unless the maps
    /// were pinned.
    ///
    /// # Errors
    /// [`PlaneError`]; nothing was loaded then.
    pub fn load(how: &Load) -> Result<Self, PlaneError> {
        let mut loader = EbpfLoader::new();
        if let Some(folder) = &how.pins {
            for map in MAPS {
                loader.map_pin_path(map, folder.join(map));
            }
        }
        let trace = u32::from(how.trace);
        loader.override_global("TRACE", &trace, true).override_global("TARGET", &how.target, true);
        let mut ebpf = loader
            .load(ha_farm::bpf::object())
            .map_err(|error| refused("load the filter's maps", &error))?;
        let tc: &mut SchedClassifier = program(&mut ebpf, "ha_farm_tc");
        tc.load().map_err(|error| refused("load the filter", &error))?;
        let taken = |map| (map, ebpf.take_map(map).expect("the object has the map"));
        let maps = MAPS.map(taken).into();
        Ok(Self { ebpf: Some(ebpf), maps })
    }

    /// Opens the maps that another process pinned in this folder, and loads nothing: the programs
    /// that are at work go on. It takes a fraction of a lease.
    ///
    /// # Errors
    /// [`PlaneError`]: not all of them are there.
    pub fn pinned(folder: &Path) -> Result<Self, PlaneError> {
        let open = |name: &'static str| {
            let map = MapData::from_pin(folder.join(name)).and_then(Map::from_map_data);
            done("open a map of the filter", map).map(|map| (name, map))
        };
        let maps = MAPS.into_iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { ebpf: None, maps })
    }

    fn ebpf(&mut self) -> &mut Ebpf {
        self.ebpf.as_mut().expect("programs are asked of who loaded them")
    }

    /// Replaces what the programs decide by, at once ([`Plane::install`](super::Plane::install)).
    ///
    /// # Errors
    /// [`PlaneError`]; the old filter is in force then.
    pub fn install(&mut self, filter: &Filter) -> Result<(), PlaneError> {
        let active = self.active()?;
        let (slot, old) = (!active & 1, self.config(active & 1)?);
        let config = layout::config(filter, layout::releases(&old))?;
        let mut words: Array<_, Words> = self.array("words")?;
        for service in 0..filter.setup().rules.len() {
            let at = slot * layout::RULES as u32 + service as u32;
            done("write a table", words.set(at, layout::words(filter, service), 0))?;
        }
        self.write_members(slot, filter)?;
        let mut configs: Array<_, Config> = self.array("config")?;
        done("write the configuration", configs.set(slot, config, 0))?;
        self.activate(active & !1 | slot)
    }

    fn write_members(&mut self, slot: u32, filter: &Filter) -> Result<(), PlaneError> {
        let map = self.maps.get_mut("members").expect("the object has the map");
        let mut members: HashMap<_, u64, u8> =
            HashMap::try_from(map).expect("its type is as in the source");
        let keys: Result<Vec<u64>, _> = members.keys().collect();
        let stale = done("list the members", keys)?.into_iter();
        for key in stale.filter(|&key| layout::member_slot(key) == slot) {
            done("forget a member", members.remove(&key))?;
        }
        for (node, &mac) in &filter.setup().macs {
            let key = layout::member(slot, mac);
            done("write a member", members.insert(key, node.as_u8(), 0))?;
        }
        Ok(())
    }

    /// The programs take until `until` ([`Plane::lease`](super::Plane::lease)).
    ///
    /// # Errors
    /// [`PlaneError`]; the lease is as it was then.
    pub fn lease(&mut self, until: Instant) -> Result<(), PlaneError> {
        let active = self.active()?;
        let mut lease: Array<_, u64> = self.array("lease")?;
        let slot = !active >> 1 & 1;
        done("write the lease", lease.set(slot, until.as_nanos(), 0))?;
        self.activate(active & !2 | slot << 1)
    }

    /// Until when the programs take; what another process wrote, where the maps were pinned.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn leased(&mut self) -> Result<Instant, PlaneError> {
        let slot = self.active()? >> 1 & 1;
        let lease: Array<_, u64> = self.array("lease")?;
        Ok(Instant::from_nanos(done("read the lease", lease.get(&slot, 0))?))
    }

    /// What was counted since the maps were made.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn counters(&mut self) -> Result<Counters, PlaneError> {
        let active = self.active()?;
        let rules = layout::rules(&self.config(active & 1)?);
        let map = self.maps.get("counters").expect("the object has the map");
        let counters: PerCpuArray<_, layout::Counted> =
            PerCpuArray::try_from(map).expect("its type is as in the source");
        let of_each = done("read the counters", counters.get(&0, 0))?;
        let sum = |at: usize| of_each.iter().fold(0_u64, |sum, of| sum.wrapping_add(of[at]));
        let mut counted = Counters {
            passed: sum(layout::PASSED),
            neighbour: sum(layout::NEIGHBOUR),
            ..Counters::default()
        };
        for reason in Reason::ALL {
            counted.dropped[reason.index()] = sum(reason.index());
        }
        for rule in 0..rules {
            let owned = layout::OWNED_BY + rule * layout::NODES;
            let owners = (owned..owned + layout::NODES).map(sum).collect();
            let accepted = sum(layout::ACCEPTED_OF + rule);
            let forwarded = sum(layout::FORWARDED_OF + rule);
            counted.services.push(Service { accepted, forwarded, owners });
        }
        Ok(counted)
    }

    /// The program that decides, for ingress of tc.
    pub fn tc(&mut self) -> &mut SchedClassifier {
        program(self.ebpf(), "ha_farm_tc")
    }

    /// The program that only drops, for XDP; it is loaded by the first call.
    ///
    /// # Errors
    /// [`PlaneError`] if this kernel does not take it.
    pub fn xdp(&mut self) -> Result<&mut Xdp, PlaneError> {
        self.xdp_named("ha_farm_xdp")
    }

    /// An empty program for ingress of tc, which lets everything go on: for measuring.
    ///
    /// # Errors
    /// [`PlaneError`] if it cannot be loaded.
    pub fn empty_tc(&mut self) -> Result<&mut SchedClassifier, PlaneError> {
        self.tc_named("ha_farm_tc_empty")
    }

    /// A program for ingress of tc that asks for the time and does nothing else: for measuring.
    ///
    /// # Errors
    /// [`PlaneError`] if it cannot be loaded.
    pub fn clock_tc(&mut self) -> Result<&mut SchedClassifier, PlaneError> {
        self.tc_named("ha_farm_tc_clock")
    }

    fn tc_named(&mut self, name: &str) -> Result<&mut SchedClassifier, PlaneError> {
        let program: &mut SchedClassifier = program(self.ebpf(), name);
        if program.fd().is_err() {
            program.load().map_err(|error| refused("load a program for measuring", &error))?;
        }
        Ok(program)
    }

    /// An empty program for XDP, which drops everything: for measuring.
    ///
    /// # Errors
    /// [`PlaneError`] if it cannot be loaded.
    pub fn empty_xdp(&mut self) -> Result<&mut Xdp, PlaneError> {
        self.xdp_named("ha_farm_xdp_empty")
    }

    /// A program for XDP that lets everything go on: for measuring what comes behind it.
    ///
    /// # Errors
    /// [`PlaneError`] if it cannot be loaded.
    pub fn pass_xdp(&mut self) -> Result<&mut Xdp, PlaneError> {
        self.xdp_named("ha_farm_xdp_pass")
    }

    /// A program for XDP that sends everything to [`Load::target`]: a generator, for measuring.
    ///
    /// # Errors
    /// [`PlaneError`] if it cannot be loaded.
    pub fn send_xdp(&mut self) -> Result<&mut Xdp, PlaneError> {
        self.xdp_named("ha_farm_xdp_send")
    }

    fn xdp_named(&mut self, name: &'static str) -> Result<&mut Xdp, PlaneError> {
        let xdp: &mut Xdp = program(self.ebpf(), name);
        if xdp.fd().is_err() {
            xdp.load().map_err(|error| refused("load the filter for XDP", &error))?;
        }
        Ok(xdp)
    }

    fn active(&mut self) -> Result<u32, PlaneError> {
        let active: Array<_, u32> = self.array("active")?;
        done("read which slot is active", active.get(&0, 0))
    }

    /// One byte changes, so no packet meets half of it.
    fn activate(&mut self, value: u32) -> Result<(), PlaneError> {
        let mut active: Array<_, u32> = self.array("active")?;
        done("change the active slot", active.set(0, value, 0))
    }

    fn config(&mut self, slot: u32) -> Result<Config, PlaneError> {
        let config: Array<_, Config> = self.array("config")?;
        done("read the configuration", config.get(&slot, 0))
    }

    fn array<V: aya::Pod>(
        &mut self,
        name: &'static str,
    ) -> Result<Array<&mut MapData, V>, PlaneError> {
        let map = self.maps.get_mut(name).expect("the object has the map");
        // A pinned map of another layout is not there: the layout's version names the folder.
        done("open a map of the filter", Array::try_from(map))
    }
}

/// The names of the object's maps that outlive the process.
const MAPS: [&str; 7] = ["active", "lease", "config", "words", "members", "released", "counters"];

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut P
where
    &'a mut P: TryFrom<&'a mut Program>,
{
    let program = ebpf.program_mut(name).expect("the object has the program");
    program.try_into().ok().expect("the program is of the type that its section says")
}

/// What the kernel said to something that only a broken system refuses.
fn done<T, E: Error + 'static>(what: &str, result: Result<T, E>) -> Result<T, PlaneError> {
    result.map_err(|error| refused(what, &error))
}

/// The line about an error of the loader's.
pub(super) fn refused(what: &str, error: &(dyn Error + 'static)) -> PlaneError {
    let mut chain = vec![error];
    while let Some(source) = chain[chain.len() - 1].source() {
        chain.push(source);
    }
    let code = chain
        .iter()
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .find_map(io::Error::raw_os_error);
    match code.map(Errno::from_raw_os_error) {
        Some(Errno::PERM) => PlaneError::NotPermitted("CAP_BPF and CAP_NET_ADMIN"),
        // What the verifier, or a kernel without BPF, says to what it does not know.
        Some(Errno::INVAL | Errno::ACCESS | Errno::NOSYS | Errno::TOOBIG)
            if what.starts_with("load") =>
        {
            PlaneError::Kernel { release: release(), lacks: last_words(error) }
        }
        Some(_) | None => {
            let why = chain.iter().map(|error| first_line(*error)).collect::<Vec<_>>().join(": ");
            PlaneError::System { what: String::from(what), why }
        }
    }
}

fn first_line(error: &(dyn Error + 'static)) -> String {
    String::from(format!("{error}").lines().next().unwrap_or_default())
}

/// The verifier's log ends with the reason, before its statistics.
fn last_words(error: &(dyn Error + 'static)) -> String {
    let text = format!("{error}");
    let statistics = ["processed", "verification", "stack depth", "Verifier"];
    let tells = |line: &&str| {
        !line.trim().is_empty() && !statistics.iter().any(|word| line.starts_with(word))
    };
    let reason = text.lines().rev().find(tells);
    String::from(reason.unwrap_or("what it was asked"))
}

fn release() -> String {
    let release = fs::read_to_string(Path::new("/proc/sys/kernel/osrelease"));
    release.map_or_else(|_| String::from("unknown"), |release| String::from(release.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_is_told_in_one_line_with_what_it_lacks() {
        // As kernels without BPF, with a verifier that knows less, or with smaller limits say it.
        for errno in [Errno::INVAL, Errno::ACCESS, Errno::NOSYS, Errno::TOOBIG] {
            let error = io::Error::from(errno);
            let said = format!("{}", refused("load the filter", &error));
            assert!(said.starts_with("this kernel ("), "{said}");
            assert!(said.ends_with("; use `plane = nft`"), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
        let log = "unknown func bpf_skc_lookup_tcp#99\nprocessed 7 insns\nstack depth 32";
        assert_eq!(last_words(&io::Error::other(log)), "unknown func bpf_skc_lookup_tcp#99");
    }

    #[test]
    fn a_missing_right_is_told_as_such_and_all_else_in_the_systems_words() {
        let error = io::Error::from(Errno::PERM);
        let said = refused("load the filter", &error);
        assert!(matches!(said, PlaneError::NotPermitted(_)), "{said}");
        let error = io::Error::from(Errno::NODEV);
        let said = format!("{}", refused("filter eth0", &error));
        assert!(said.starts_with("the filter in the kernel: filter eth0: "), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
