//! keepalived, as its administrators set it up: `VRRPv3` by multicast, one instance a family.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use ha_lab::{Host, Process, within};

use super::ground::Ground;
use super::pair::Pair;
use super::setting::Setting;

/// A keepalived on each server.
#[derive(Debug)]
pub struct Keepalived {
    primary: Process,
    _backup: Process,
}

impl Keepalived {
    /// Starts both, and returns when the first has the addresses and the second is its backup.
    ///
    /// # Errors
    /// `keepalived` is not installed, or does not become what it should: the message has its log.
    pub fn start(ground: &Ground, setting: Setting) -> io::Result<Self> {
        // Priorities as high as they go: a backup waits (256 - priority) / 256 of an advertisement
        // beyond the three, so this is keepalived at its fastest.
        let primary = daemon(ground, &ground.a, setting, 254)?;
        let master = || ground.addresses().iter().all(|address| holds(&ground.a, *address));
        if !within(START_MAX, master) {
            return Err(io::Error::other(format!("no master: {}", primary.output())));
        }
        let backup = daemon(ground, &ground.b, setting, 253)?;
        let waits = || backup.output().matches("Entering BACKUP STATE").count() == 2;
        if !within(START_MAX, waits) {
            return Err(io::Error::other(format!("no backup: {}", backup.output())));
        }
        Ok(Self { primary, _backup: backup })
    }
}

impl Pair for Keepalived {
    fn kill(&self) -> io::Result<()> {
        self.primary.kill_group()
    }

    fn stop(&self) -> io::Result<()> {
        self.primary.stop_group()
    }

    /// It has no such order. Ended in order, it says so in an advertisement of priority 0, and the
    /// backup does not wait.
    fn swap(&self) -> io::Result<()> {
        self.primary.terminate()
    }
}

/// Whether a host has an address, asked by a socket: no program that would compete for the cores.
pub(super) fn holds(host: &Host, address: IpAddr) -> bool {
    let bound = host.inside(|| std::net::UdpSocket::bind((address, 0)));
    bound.is_ok_and(|socket| socket.is_ok())
}

/// Long enough for three advertisements of the slowest setting on a loaded machine.
const START_MAX: Duration = Duration::from_secs(30);

fn daemon(ground: &Ground, host: &Host, setting: Setting, priority: u8) -> io::Result<Process> {
    let file =
        |suffix: &str| ground.lab.folder().join(format!("keepalived-{}.{suffix}", host.name()));
    fs::write(file("conf"), config(ground, host, setting, priority))?;
    host.spawn("keepalived", |command| {
        command.args(["--vrrp", "--dont-fork", "--log-console"]);
        command.arg("--use-file").arg(file("conf"));
        command.arg("--pid").arg(file("pid"));
        command.arg("--vrrp_pid").arg(file("vrrp.pid"))
    })
}

fn config(ground: &Ground, host: &Host, setting: Setting, priority: u8) -> String {
    let (name, interface) = (host.name(), host.interface(&ground.network));
    let interval = setting.heartbeat().as_secs_f64();
    let instance = |(number, address): (usize, IpAddr)| {
        let prefix = if address.is_ipv4() { 24 } else { 64 };
        format!(
            "vrrp_instance v{number} {{\n\
             \tstate BACKUP\n\
             \tinterface {interface}\n\
             \tvirtual_router_id 5{number}\n\
             \tpriority {priority}\n\
             \tadvert_int {interval}\n\
             \tvirtual_ipaddress {{\n\t\t{address}/{prefix} dev {interface}\n\t}}\n\
             }}\n"
        )
    };
    let instances: String = ground.addresses().into_iter().enumerate().map(instance).collect();
    format!("global_defs {{\n\trouter_id {name}\n\tvrrp_version 3\n}}\n{instances}")
}
