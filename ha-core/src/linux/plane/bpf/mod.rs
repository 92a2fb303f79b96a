//! The data plane `bpf`: the filter as programs of the kernel, loaded by `aya`.
//!
//! At each interface the program of tc decides (TCX where the kernel has it, from 6.6, else a
//! `clsact` qdisc). Where the driver has XDP of its own, a second program comes before it and
//! drops what is not this node's, which costs a fraction; XDP could not do the rest.
//!
//! Maps and links are pinned in `/sys/fs/bpf/ha-node/<module>/`, so the filter goes on to the end
//! of its lease when the daemon dies (F5). The next one shuts what it finds, or adopts it (F6).

mod attach;
mod guard;
mod layout;
mod object;

use std::boxed::Box;
use std::format;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;
use std::string::String;
use std::thread::{self, JoinHandle};

use aya::programs::XdpMode;
use ha_farm::Filter;
use ha_proto::Instant;
use rustix::fs::statfs;
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use tracing::{info, warn};

use self::guard::Program;
use self::object::refused;
use super::{Counters, Guard, Plane, PlaneError, nft};
use crate::linux::link::Link;
use crate::linux::netlink::Netlink;

pub use self::object::{Load, Object};

/// Where the filter goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The module's name: one filter of this name is on a machine. One part of a path.
    pub module: String,
    /// The interfaces on the VIPs' networks.
    pub interfaces: Vec<String>,
    /// What drops before tc.
    pub early: Early,
    /// TCX, where the kernel has it; otherwise `clsact`, as before 6.6.
    pub tcx: bool,
}

/// What drops before tc.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Early {
    /// XDP in the driver, where there is one.
    #[default]
    Native,
    /// XDP after the driver, where it has none of its own: slower than tc alone, for tests.
    Generic,
    /// Nothing.
    Off,
}

impl Settings {
    /// The filter of `module` at these interfaces, with the best that they can do.
    pub fn new(module: String, interfaces: Vec<String>) -> Self {
        Self { module, interfaces, early: Early::Native, tcx: true }
    }
}

/// The filter in the kernel, by BPF. Dropping it leaves the filter in place, to the end of its
/// lease; [`Plane::remove`] takes it away.
#[derive(Debug)]
pub struct Bpf {
    settings: Settings,
    object: Object,
    notes: Vec<String>,
    adopted: bool,
    /// Pins what would be left for ever, if it came after the end.
    renewal: Option<JoinHandle<()>>,
}

impl Bpf {
    /// Puts the filter at its interfaces, shut: what another process left is shut first (F6).
    ///
    /// # Errors
    /// [`PlaneError`]; what was left is shut even then, if it could be reached.
    pub fn open(settings: Settings) -> Result<Self, PlaneError> {
        Self::start(settings, true)
    }

    /// Takes over the filter that another process left, with what it decides by and its lease
    /// (F6): no packet is lost. Its programs stay, for [`Plane::renew`] to replace: the kernel takes
    /// longer to check new ones than a lease may last. Where nothing was left, the filter takes
    /// nothing.
    ///
    /// # Errors
    /// As [`Bpf::open`], but nothing is shut.
    pub fn adopt(settings: Settings) -> Result<Self, PlaneError> {
        let pins = module_folder(&settings.module).join(layout::VERSION);
        let has =
            |kind: &str, interface: &String| pins.join(format!("{kind}-{interface}")).exists();
        // Before 6.6 there is no link to be pinned.
        let filters = |interface: &String| has("tc", interface) || attach::is_at_clsact(interface);
        if !settings.interfaces.iter().all(filters) {
            return Self::start(settings, false);
        }
        let Ok(object) = Object::pinned(&pins) else { return Self::start(settings, false) };
        let without = settings.interfaces.iter().filter(|interface| !has("xdp", interface));
        let notes = without.map(|interface| format!("{interface}: no XDP, as before")).collect();
        Ok(Self { settings, object, notes, adopted: true, renewal: None })
    }

    fn start(settings: Settings, shut: bool) -> Result<Self, PlaneError> {
        let pins = folder(&settings.module)?;
        let found = fs::read_dir(&pins).is_ok_and(|mut pins| pins.next().is_some());
        let load = Load { pins: Some(pins.clone()), ..Load::default() };
        let mut object = match Object::load(&load) {
            Ok(object) => object,
            Err(error) => {
                // The maps may have been pinned before the kernel refused a program.
                if !found {
                    drop(remove_all(&module_folder(&settings.module)));
                }
                return Err(error);
            }
        };
        if shut {
            object.lease(Instant::ZERO)?;
        }
        let notes = Vec::new();
        let mut bpf = Self { settings, object, notes, adopted: false, renewal: None };
        // First: who looks after it puts the pinned one at an interface.
        guard::pin(bpf.object.tc(), &pins)?;
        for interface in bpf.settings.interfaces.clone() {
            if let Err(error) = bpf.attach(&interface, &pins) {
                // What was adopted goes on to the end of its lease.
                if shut {
                    drop(Box::new(bpf).remove());
                }
                return Err(error);
            }
        }
        if shut {
            // Of a daemon that was killed: its rules would drop what this filter takes.
            nft::sweep(&bpf.settings.module);
        }
        Ok(bpf)
    }

    /// Whether this kernel and this process's rights are enough for the programs and their pins.
    /// Both are made, and gone again; nothing that filters is touched.
    ///
    /// # Errors
    /// [`PlaneError`] names what is missing.
    pub fn probe() -> Result<(), PlaneError> {
        let root = Path::new(ROOT);
        mount_bpf(root).map_err(not_at(root))?;
        // Whether anything can be pinned: a unit may have made it read-only.
        let pins = root.join("ha-node").join(format!("probe-{}", std::process::id()));
        fs::create_dir_all(&pins).map_err(not_at(&pins))?;
        fs::remove_dir(&pins).map_err(not_at(&pins))?;
        Object::load(&Load::default()).map(drop)
    }

    /// Until when the filter takes.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn leased(&mut self) -> Result<Instant, PlaneError> {
        self.object.leased()
    }

    /// What is less than it could be, one line each, for the log.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    fn attach(&mut self, interface: &str, pins: &Path) -> Result<(), PlaneError> {
        let mut netlink = done("open netlink", Netlink::open(None))?;
        let found = done("look for an interface", Link::find(&mut netlink, interface))?;
        if found.is_none() {
            return Err(PlaneError::NoInterface(String::from(interface)));
        }
        let pin = pins.join(format!("tc-{interface}"));
        attach::tc(self.object.tc(), self.settings.tcx, interface, &pin)?;
        let mode = match self.settings.early {
            Early::Native => XdpMode::Driver,
            Early::Generic => XdpMode::Skb,
            Early::Off => return Ok(()),
        };
        let program = self.object.xdp().map_err(|error| format!("{error}"));
        let pin = pins.join(format!("xdp-{interface}"));
        if let Err(why) = program.and_then(|it| attach::xdp(it, mode, interface, &pin)) {
            self.notes.push(format!(
                "{interface}: no XDP ({why}): packets of other members are dropped at tc, which \
                 costs more"
            ));
        }
        Ok(())
    }
}

impl Plane for Bpf {
    fn adopted(&self) -> bool {
        self.adopted
    }

    fn install(&mut self, filter: &Filter) -> Result<(), PlaneError> {
        self.object.install(filter)
    }

    fn lease(&mut self, until: Instant) -> Result<(), PlaneError> {
        self.object.lease(until)
    }

    fn counters(&mut self) -> Result<Counters, PlaneError> {
        self.object.counters()
    }

    /// Each packet meets one or the other.
    fn renew(&mut self) {
        let settings = self.settings.clone();
        let renew = move || match Self::start(settings, false).map(drop) {
            Ok(()) => info!("the filter's programs are this release's"),
            Err(error) => warn!(%error, "the filter's programs stay as they were"),
        };
        match thread::Builder::new().name(RENEWAL.into()).spawn(renew) {
            Ok(renewal) => self.renewal = Some(renewal),
            Err(error) => warn!(%error, "the filter's programs stay as they were: no thread"),
        }
    }

    fn rests(&self) -> bool {
        self.renewal.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn guard(&mut self) -> Option<Box<dyn Guard + Send>> {
        Some(Box::new(Program::new(self.settings.clone())))
    }

    fn remove(mut self: Box<Self>) -> Result<(), PlaneError> {
        if let Some(renewal) = self.renewal.take() {
            // A panic was told where it happened.
            let _ = renewal.join();
        }
        done("remove the filter", sweep(&self.settings.module, &self.settings.interfaces))
    }
}

/// Takes away what a module's filter left, whatever process made it.
pub(super) fn sweep(module: &str, interfaces: &[String]) -> io::Result<()> {
    for interface in interfaces {
        attach::drop_clsact(interface);
    }
    remove_all(&module_folder(module))
}

/// The folder of a module's pins, made if it is not there; those of another layout are removed.
fn folder(module: &str) -> Result<PathBuf, PlaneError> {
    let root = Path::new(ROOT);
    mount_bpf(root).map_err(not_at(root))?;
    let of_module = module_folder(module);
    let folder = of_module.join(layout::VERSION);
    if !folder.exists() {
        remove_all(&of_module).map_err(not_at(&of_module))?;
    }
    fs::create_dir_all(&folder).map_err(not_at(&folder))?;
    Ok(folder)
}

fn not_at(folder: &Path) -> impl FnOnce(io::Error) -> PlaneError + use<> {
    let folder = format!("{}", folder.display());
    move |source| PlaneError::Folder { folder, source }
}

fn module_folder(module: &str) -> PathBuf {
    assert!(
        !module.is_empty() && !module.contains('/') && !module.starts_with('.'),
        "{module:?} is no part of a path: other files would be removed"
    );
    Path::new(ROOT).join("ha-node").join(module)
}

/// Systemd does it at boot; a machine without it may have none.
fn mount_bpf(root: &Path) -> io::Result<()> {
    if statfs(root)?.f_type == BPF_FS_MAGIC {
        return Ok(());
    }
    Ok(mount("bpf", root, "bpf", MountFlags::empty(), None)?)
}

fn remove_all(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(()),
        other => other,
    }
}

fn done<T>(what: &str, result: io::Result<T>) -> Result<T, PlaneError> {
    result.map_err(|error| refused(what, &error))
}

/// The thread that has the kernel check programs, as long as it takes.
pub(crate) const RENEWAL: &str = "ha-farm-renew";
const ROOT: &str = "/sys/fs/bpf";
const PROGRAM: &str = "ha_farm_tc";
const BPF_FS_MAGIC: rustix::fs::FsWord = 0xcafe_4a11;
