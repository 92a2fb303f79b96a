//! Two servers and a client at one switch, for tests of virtual addresses.

use std::collections::BTreeMap;
use std::env;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use ha_core::linux::{VipConfig, VipError, VipSource, Vips, VipsConfig};
use ha_core::proto::{Epoch, NodeId};
use ha_core::vip::Event;
use ha_lab::{Bridge, Host, Lab, Mac, Process, within};

/// How long a condition may take to hold: far more than it takes on a loaded machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A lifetime that does not end within a test.
pub(crate) const LONG: Duration = Duration::from_mins(5);

pub(crate) struct Net {
    pub(crate) network: Bridge,
    pub(crate) a: Host,
    pub(crate) b: Host,
    pub(crate) client: Host,
    /// Last: it goes when nothing of it is used any more.
    _lab: Lab,
}

impl Net {
    pub(crate) fn new(test: &str) -> Option<Self> {
        let mut lab = Lab::root_or_skip(test)?;
        let network = lab.bridge().unwrap();
        let [a, b, client] = ["a", "b", "client"].map(|name| lab.host(name, &[&network]).unwrap());
        Some(Self { network, a, b, client, _lab: lab })
    }

    /// One of IPv4, one of IPv6.
    pub(crate) fn addresses(&self) -> [IpAddr; 2] {
        [self.network.v4(100).into(), self.network.v6(100).into()]
    }

    pub(crate) fn config(&self) -> VipsConfig {
        VipsConfig::new(self.addresses().map(|address| vip(address, "eth0")).to_vec())
    }

    /// Whether the host has all of them, or none.
    pub(crate) fn holds(&self, host: &Host, all: bool) -> bool {
        self.addresses().iter().all(|address| host.holds(*address).unwrap() == all)
    }

    /// One answer from the address, without a second try.
    pub(crate) fn pings(&self, address: IpAddr) -> bool {
        let mut ping = self.client.command("ping");
        ping.args(["-c", "1", "-W", "2", &address.to_string()]);
        ping.output().unwrap().status.success()
    }

    pub(crate) fn neighbour(&self, address: IpAddr) -> Option<Mac> {
        self.client.neighbour(address).unwrap()?.mac
    }

    pub(crate) fn mac(&self, host: &Host) -> Mac {
        host.mac(&self.network).unwrap()
    }

    /// What `ip` says on a host.
    pub(crate) fn ip(host: &Host, arguments: &str) -> String {
        let output = host.command("ip").args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {arguments}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// This test's program as a daemon: it takes the addresses, and keeps them until it is killed.
    pub(crate) fn daemon(&self, host: &Host, lifetime: Duration) -> Process {
        self.daemon_with(host, lifetime, VipSource::Alias)
    }

    pub(crate) fn daemon_with(
        &self,
        host: &Host,
        lifetime: Duration,
        source: VipSource,
    ) -> Process {
        let program = env::current_exe().unwrap();
        let daemon = host
            .spawn(&program, |command| {
                let addresses = self.addresses().map(|address| address.to_string()).join(" ");
                command.env("HA_TEST_VIPS", addresses);
                command.env("HA_TEST_LIFETIME", lifetime.as_millis().to_string());
                if source == VipSource::Preferred {
                    command.env("HA_TEST_PREFERRED", "");
                }
                command.args(["--exact", "vips_rig::daemon", "--nocapture"])
            })
            .unwrap();
        assert!(daemon.wait_for("taken", SOON), "{}", daemon.output());
        daemon
    }
}

pub(crate) fn vip(address: IpAddr, interface: &str) -> VipConfig {
    let prefix = if address.is_ipv4() { 24 } else { 64 };
    let interface = interface.to_owned();
    VipConfig { address, prefix, interface, label: None, source: VipSource::Alias }
}

pub(crate) fn epoch(counter: u64) -> Epoch {
    Epoch::new(counter, NodeId::new(0).unwrap())
}

/// Addresses at work on a host, and what they said.
pub(crate) struct Rig {
    pub(crate) vips: Vips,
    events: Receiver<Event>,
}

impl Rig {
    pub(crate) fn start(host: &Host, config: VipsConfig) -> Result<Self, VipError> {
        let (say, events) = channel();
        let observe = move |event: &Event| {
            // At the end nobody listens.
            let _ = say.send(*event);
        };
        let vips = host.inside(|| Vips::start(config, observe)).unwrap()?;
        Ok(Self { vips, events })
    }

    /// As a daemon that may go on where an earlier one stopped.
    pub(crate) fn resume(host: &Host, config: VipsConfig) -> Self {
        let (say, events) = channel();
        let observe = move |event: &Event| {
            // At the end nobody listens.
            let _ = say.send(*event);
        };
        let vips = host.inside(|| Vips::resume(config, observe)).unwrap().unwrap();
        Self { vips, events }
    }

    /// What was said and not looked at yet.
    pub(crate) fn said(&self) -> Vec<Event> {
        self.events.try_iter().collect()
    }

    pub(crate) fn take(&self, counter: u64, lifetime: Duration) {
        self.vips.take(epoch(counter), lifetime).unwrap();
    }

    pub(crate) fn release(&self) {
        self.vips.release().unwrap();
    }

    /// Waits until it was said of each address.
    pub(crate) fn until_said(&self, addresses: &[IpAddr], what: impl Fn(&Event) -> Option<IpAddr>) {
        let mut said = BTreeMap::new();
        let all = within(SOON, || {
            for address in self.events.try_iter().filter_map(|event| what(&event)) {
                *said.entry(address).or_insert(0) += 1;
            }
            addresses.iter().all(|address| said.contains_key(address))
        });
        assert!(all, "{said:?}");
    }
}

/// Not a test: see [`Net::daemon`].
#[test]
fn daemon() {
    let Ok(addresses) = env::var("HA_TEST_VIPS") else { return };
    let millis = env::var("HA_TEST_LIFETIME").unwrap().parse().unwrap();
    let lifetime = Duration::from_millis(millis);
    let mut all: Vec<_> =
        addresses.split(' ').map(|address| vip(address.parse().unwrap(), "eth0")).collect();
    if env::var_os("HA_TEST_PREFERRED").is_some() {
        for vip in &mut all {
            vip.source = VipSource::Preferred;
        }
    }
    let vips = match Vips::start(VipsConfig::new(all), |_| {}) {
        Ok(vips) => vips,
        Err(error) => {
            println!("refused: {error}");
            return;
        }
    };
    vips.take(epoch(1), lifetime).unwrap();
    println!("taken");
    // Until it is killed, or its test has long ended.
    within(Duration::from_mins(2), || {
        within(lifetime / 3, || false);
        vips.keep(lifetime).is_err()
    });
}
