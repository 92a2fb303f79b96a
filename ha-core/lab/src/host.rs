//! A host.

use std::ffi::OsStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::bridge::Bridge;
use crate::capture::Capture;
use crate::namespace::Namespace;
use crate::neighbour::{Mac, Neighbour, word_after};
use crate::process::Process;
use crate::programs::program;

/// A host: a network namespace with a cable to each of its switches, `eth0` to the first of them.
/// A handle; made by [`Lab::host`](crate::Lab::host).
#[derive(Clone, Debug)]
pub struct Host {
    name: String,
    number: u8,
    namespace: Namespace,
    bridges: Vec<Bridge>,
    folder: PathBuf,
}

impl Host {
    pub(crate) fn new(name: &str, number: u8, namespace: Namespace, folder: &Path) -> Self {
        let (name, folder) = (name.to_owned(), folder.to_owned());
        Self { name, number, namespace, bridges: Vec::new(), folder }
    }

    /// Makes its namespace. Addresses are usable at once: nobody is asked whether they are free.
    pub(crate) fn make(&self) -> io::Result<()> {
        self.namespace.make()?;
        for scope in ["all", "default"] {
            self.sysctl(&format!("net.ipv6.conf.{scope}.accept_dad"), "0")?;
        }
        Ok(())
    }

    /// Lays a cable to a switch.
    pub(crate) fn connect(&mut self, bridge: &Bridge, switch: &Namespace) -> io::Result<()> {
        let (port, device) = (bridge.port(&self.name), bridge.device());
        let interface = format!("eth{}", self.bridges.len());
        let peer = self.namespace.name();
        switch.ip(&format!(
            "link add {port} type veth peer name {interface} netns {peer}\n\
             link set {port} master {device} up\n"
        ))?;
        self.bridges.push(bridge.clone());
        self.link_up(bridge)
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its name, which is also what its services answer with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The interface of its cable to a switch: `eth0`, `eth1`, …
    ///
    /// # Panics
    /// It has no cable to that switch.
    pub fn interface(&self, bridge: &Bridge) -> String {
        let cable = self.bridges.iter().position(|one| one == bridge);
        format!("eth{}", cable.expect("the host is not at this switch"))
    }

    /// Its own address in a switch's network.
    pub fn v4(&self, bridge: &Bridge) -> Ipv4Addr {
        bridge.v4(self.number)
    }

    /// Its own address in a switch's network.
    pub fn v6(&self, bridge: &Bridge) -> Ipv6Addr {
        bridge.v6(self.number)
    }

    /// A command that runs `program` on it, for what ends soon. [`spawn`](Self::spawn) is for what
    /// stays.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.namespace.command(Path::new(program.as_ref()))
    }

    /// Likewise, ahead of other programs.
    pub(crate) fn first_command(&self, program: &Path) -> Command {
        self.namespace.first_command(program)
    }

    /// Starts a program on it; `configure` gives it arguments and environment.
    ///
    /// # Errors
    /// `nsenter` cannot be run. A program that is not there ends at once, with code 127.
    pub fn spawn(
        &self,
        program: impl AsRef<Path>,
        configure: impl FnOnce(&mut Command) -> &mut Command,
    ) -> io::Result<Process> {
        let program = program.as_ref();
        let mut command = self.namespace.command(program);
        command.current_dir(&self.folder);
        configure(&mut command);
        let file = program.file_name().unwrap_or_default().to_string_lossy();
        Process::spawn(command, &format!("{}-{file}", self.name), &self.folder)
    }

    /// Starts the echo service on it, which answers with the host's name over UDP and TCP at each
    /// of `addresses`, whether the host has them yet or not. Returns when it answers. On loaded
    /// cores it is late by tens of milliseconds like any program, which a client sees as gaps.
    ///
    /// # Errors
    /// The service cannot be started, or a port is taken.
    pub fn serve(&self, addresses: &[SocketAddr]) -> io::Result<Process> {
        let service = self.spawn(program("ha-lab-echo")?, |command| {
            command.args(["--name", &self.name]);
            let bound = addresses.iter().map(ToString::to_string);
            command.args(bound.flat_map(|address| ["--bind".to_owned(), address]))
        })?;
        if service.wait_for("ready\n", START_MAX) {
            return Ok(service);
        }
        Err(io::Error::other(format!("the echo service says: {}", service.output())))
    }

    /// Calls `work` on a thread that is on the host. Sockets that it makes stay there.
    ///
    /// # Errors
    /// The host is gone.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        self.namespace.inside(work)
    }

    /// Sets a variable of its kernel: `net.ipv4.conf.eth0.arp_accept`, `1`.
    ///
    /// # Errors
    /// There is no such variable, or the kernel refuses the value.
    pub fn sysctl(&self, name: &str, value: &str) -> io::Result<()> {
        self.namespace.sysctl(name, value)
    }

    /// Sets its interface down, as an administrator does. The kernel drops what it had in IPv6.
    /// [`Bridge::unplug`] pulls the cable instead.
    ///
    /// # Errors
    /// `ip` cannot be run.
    pub fn link_down(&self, bridge: &Bridge) -> io::Result<()> {
        self.namespace.ip(&format!("link set {} down\n", self.interface(bridge)))
    }

    /// Sets its interface up, with the host's own addresses.
    ///
    /// # Errors
    /// `ip` cannot be run.
    pub fn link_up(&self, bridge: &Bridge) -> io::Result<()> {
        let (interface, v4, v6) = (self.interface(bridge), self.v4(bridge), self.v6(bridge));
        self.namespace.ip(&format!(
            "link set {interface} up\n\
             address replace {v4}/24 dev {interface}\n\
             address replace {v6}/64 dev {interface} nodad\n"
        ))
    }

    /// Sets one more address by hand, with a whole address as its prefix; for ever, announced by
    /// nobody. Two hosts with the same one are a duplicate.
    ///
    /// # Errors
    /// The host has it already.
    pub fn add_address(&self, address: IpAddr, bridge: &Bridge) -> io::Result<()> {
        let (interface, nodad) =
            (self.interface(bridge), if address.is_ipv6() { "nodad" } else { "" });
        self.namespace.ip(&format!("address add {address} dev {interface} {nodad}\n"))
    }

    /// Takes an address off, whoever set it.
    ///
    /// # Errors
    /// The host does not have it.
    pub fn remove_address(&self, address: IpAddr, bridge: &Bridge) -> io::Result<()> {
        let told =
            self.namespace.ip_show(&["-o", "address", "show", "to", &address.to_string()])?;
        let family = if address.is_ipv6() { "inet6" } else { "inet" };
        let with_prefix = word_after(&told, family)
            .ok_or_else(|| io::Error::other(format!("{} has no {address}", self.name)))?;
        let interface = self.interface(bridge);
        self.namespace.ip(&format!("address delete {with_prefix} dev {interface}\n"))
    }

    /// Whether it has an address now.
    ///
    /// # Errors
    /// `ip` cannot be run.
    pub fn holds(&self, address: IpAddr) -> io::Result<bool> {
        let told =
            self.namespace.ip_show(&["-o", "address", "show", "to", &address.to_string()])?;
        Ok(!told.is_empty())
    }

    /// The link-layer address of its interface at a switch.
    ///
    /// # Errors
    /// `ip` cannot be run.
    pub fn mac(&self, bridge: &Bridge) -> io::Result<Mac> {
        let told = self.namespace.ip_show(&["-o", "link", "show", &self.interface(bridge)])?;
        let mac = word_after(&told, "link/ether").and_then(|mac| mac.parse().ok());
        mac.ok_or_else(|| io::Error::other(format!("no link-layer address in {told:?}")))
    }

    /// Sends what is for other networks by way of a router, which is at the same switch.
    ///
    /// # Errors
    /// The interface is down.
    pub fn route_via(&self, router: &Host, bridge: &Bridge) -> io::Result<()> {
        let (interface, v4, v6) = (self.interface(bridge), router.v4(bridge), router.v6(bridge));
        self.namespace.ip(&format!(
            "route replace default via {v4} dev {interface}\n\
             route replace default via {v6} dev {interface}\n"
        ))
    }

    /// Its entry for a neighbour; `None` when it has none.
    ///
    /// # Errors
    /// `ip` cannot be run.
    pub fn neighbour(&self, address: IpAddr) -> io::Result<Option<Neighbour>> {
        let told = self.namespace.ip_show(&["neigh", "show", "to", &address.to_string()])?;
        Ok(Neighbour::parse(&told))
    }

    /// Sets its entry for a neighbour for good: it never asks, and no announcement changes it.
    ///
    /// # Errors
    /// `ip` cannot be run.
    pub fn pin_neighbour(&self, address: IpAddr, mac: Mac, bridge: &Bridge) -> io::Result<()> {
        let interface = self.interface(bridge);
        let entry = format!("{address} lladdr {mac} dev {interface} nud permanent");
        self.namespace.ip(&format!("neigh replace {entry}\n"))
    }

    /// Forgets its neighbours, those that are pinned apart.
    ///
    /// # Errors
    /// `ip` cannot be run.
    pub fn forget_neighbours(&self) -> io::Result<()> {
        self.namespace.ip("neigh flush all\n")
    }

    /// Keeps the frames of its interface at a switch that match `filter` (as `tcpdump` reads it;
    /// empty is all). Returns when it listens.
    ///
    /// # Errors
    /// `tcpdump` cannot be run, or does not understand the filter.
    pub fn capture(&self, bridge: &Bridge, filter: &str) -> io::Result<Capture> {
        Capture::start(self, &self.interface(bridge), filter, &self.folder)
    }
}

/// How long a small program may take to start: seconds on a loaded machine, never this long.
pub(crate) const START_MAX: Duration = Duration::from_secs(20);
