//! The network as a whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use std::thread;
use std::time::Duration;

use crate::bridge::Bridge;
use crate::cut::Cut;
use crate::host::Host;
use crate::leftovers;
use crate::namespace::Namespace;
use crate::process::Process;
use crate::skip::{root_or_skip, skip};
use crate::switch::Switch;

/// A network in this machine that nothing else is in. See the [crate's page](crate) for what it
/// promises.
#[derive(Debug)]
pub struct Lab {
    name: String,
    folder: PathBuf,
    /// All of them, to be removed; the switches' is the first.
    namespaces: Vec<Namespace>,
    switch: Option<Switch>,
    bridges: u8,
    hosts: Vec<String>,
}

impl Lab {
    /// A network with nothing in it, after what dead labs left was swept. The name of the test is
    /// for people: it is part of the folder's name.
    ///
    /// # Errors
    /// Not root, or a tool is missing: the message says which.
    pub fn new(test: &str) -> io::Result<Self> {
        leftovers::sweep();
        let name = leftovers::fresh_name();
        let folder = leftovers::folder(&name, test);
        let (namespaces, hosts) = (Vec::new(), Vec::new());
        let mut lab = Self { name, folder, namespaces, switch: None, bridges: 0, hosts };
        fs::create_dir(&lab.folder)?;
        let namespace = lab.namespace("-switch");
        lab.switch = Some(Switch::make(namespace)?);
        Ok(lab)
    }

    /// Likewise; `None`, said aloud, when this process is not root, or this machine has no `nft` or
    /// lets no namespaces be made.
    ///
    /// # Panics
    /// With `CI` in the environment, when there can be no lab: none is skipped there.
    pub fn root_or_skip(test: &str) -> Option<Self> {
        if !root_or_skip() {
            return None;
        }
        let why = |error: &io::Error| skip(format!("a lab (iproute2, nftables): {error}"));
        Self::new(test).inspect_err(why).ok()
    }

    /// A new switch, with a network of its own.
    ///
    /// # Errors
    /// `ip` fails.
    ///
    /// # Panics
    /// There are nine already.
    pub fn bridge(&mut self) -> io::Result<Bridge> {
        self.bridge_of([10, 77, self.bridges + 1])
    }

    /// Likewise with this network of IPv4, of 256 addresses: what is written down for one can be
    /// run as it stands.
    ///
    /// # Errors
    /// `ip` fails.
    ///
    /// # Panics
    /// There are nine already.
    pub fn bridge_of(&mut self, network: [u8; 3]) -> io::Result<Bridge> {
        assert!(self.bridges < BRIDGES_MAX, "more than {BRIDGES_MAX} switches");
        self.bridges += 1;
        Bridge::make(self.bridges, network, self.switch().namespace().clone())
    }

    /// A new host with a cable to each of these switches, up and with its addresses.
    ///
    /// # Errors
    /// `ip` fails.
    ///
    /// # Panics
    /// Its name is taken or is not 1 to 8 letters and digits (interfaces are named after it), or
    /// there are 99 hosts already.
    pub fn host(&mut self, name: &str, bridges: &[&Bridge]) -> io::Result<Host> {
        let mut host = self.bare_host(name)?;
        for bridge in bridges {
            host.connect(bridge, self.switch().namespace())?;
        }
        Ok(host)
    }

    /// A host that forwards between its switches. Others use it after [`Host::route_via`].
    ///
    /// # Errors
    /// `ip` fails.
    ///
    /// # Panics
    /// As [`host`](Self::host).
    pub fn router(&mut self, name: &str, bridges: &[&Bridge]) -> io::Result<Host> {
        let router = self.host(name, bridges)?;
        router.sysctl("net.ipv4.conf.all.forwarding", "1")?;
        router.sysctl("net.ipv6.conf.all.forwarding", "1")?;
        Ok(router)
    }

    /// Cuts, all at once; when it returns it is done. What is cut already stays so.
    ///
    /// Takes 2 ms, the median on two busy cores. There the call may return tens of milliseconds
    /// after the cut: a prober tells when it was.
    ///
    /// # Errors
    /// `nft` fails; then nothing has changed.
    pub fn cut(&mut self, cuts: &[Cut]) -> io::Result<()> {
        let before = self.switch().cuts();
        let added = cuts.iter().filter(|cut| !before.contains(cut));
        let all = before.iter().chain(added).cloned().collect();
        self.switch_mut().set(all)
    }

    /// Heals these cuts, all at once.
    ///
    /// # Errors
    /// `nft` fails; then nothing has changed.
    pub fn heal(&mut self, cuts: &[Cut]) -> io::Result<()> {
        let left = self.switch().cuts().iter().filter(|cut| !cuts.contains(cut)).cloned().collect();
        self.switch_mut().set(left)
    }

    /// Heals every cut, all at once.
    ///
    /// # Errors
    /// `nft` fails; then nothing has changed.
    pub fn heal_all(&mut self) -> io::Result<()> {
        self.switch_mut().set(Vec::new())
    }

    /// Keeps every core busy for so long (`stress-ng`), or until it is dropped.
    ///
    /// # Errors
    /// `stress-ng` cannot be started.
    pub fn load_cores(&self, time: Duration) -> io::Result<Process> {
        let mut command = self.switch().namespace().command(Path::new("stress-ng"));
        let cores = thread::available_parallelism()?.to_string();
        let seconds = time.as_secs().max(1).to_string();
        command.args(["--cpu", &cores, "--timeout", &seconds]).current_dir(&self.folder);
        Process::spawn(command, "stress-ng", &self.folder)
    }

    /// A folder for the test's own files; removed with the lab.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the name of each of its namespaces begins with.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn bare_host(&mut self, name: &str) -> io::Result<Host> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        assert!((1..=NAME_MAX).contains(&name.len()), "{name:?} is not 1 to {NAME_MAX} letters");
        assert!(name.chars().all(plain), "{name:?} is not of small letters and digits only");
        assert!(!self.hosts.iter().any(|host| host == name), "there would be two hosts {name}");
        assert!(self.hosts.len() < HOSTS_MAX, "more than {HOSTS_MAX} hosts");
        self.hosts.push(name.to_owned());
        let number = self.hosts.len() as u8;
        let namespace = self.namespace(&format!("-host-{name}"));
        let host = Host::new(name, number, namespace, &self.folder);
        host.make()?;
        Ok(host)
    }

    /// One that will be removed with the lab, whatever happens while it is made.
    fn namespace(&mut self, suffix: &str) -> Namespace {
        let namespace = Namespace::named(format!("{}{suffix}", self.name));
        self.namespaces.push(namespace.clone());
        namespace
    }

    fn switch(&self) -> &Switch {
        self.switch.as_ref().expect("it is made with the lab")
    }

    fn switch_mut(&mut self) -> &mut Switch {
        self.switch.as_mut().expect("it is made with the lab")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Before its namespace: what it holds may be on its way there.
        self.switch = None;
        for namespace in self.namespaces.iter().rev() {
            if let Err(error) = namespace.remove() {
                eprintln!("{} is left: {error}", namespace.name());
            }
        }
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("{} is left: {error}", self.folder.display());
        }
    }
}

/// So that a port's name, which is the host's, a dot and the switch's number, fits into the 15
/// bytes of an interface's with room to spare.
const NAME_MAX: usize = 8;

/// A port's name has one digit for them.
const BRIDGES_MAX: u8 = 9;

/// Hosts have the addresses 1 to 99 of each network.
const HOSTS_MAX: usize = 99;
