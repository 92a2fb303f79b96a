//! What hosts and switches believe of addresses.

use std::net::IpAddr;
use std::time::Duration;

use ha_lab::{Bridge, Host, Lab, within};

use crate::SOON;

struct Three {
    _lab: Lab,
    network: Bridge,
    a: Host,
    b: Host,
    client: Host,
}

impl Three {
    fn new(test: &str) -> Option<Self> {
        let mut lab = Lab::root_or_skip(test)?;
        let network = lab.bridge().unwrap();
        let [a, b, client] = ["a", "b", "client"].map(|name| lab.host(name, &[&network]).unwrap());
        Some(Self { _lab: lab, network, a, b, client })
    }

    /// The client asks for the address, whoever has it.
    fn ask(&self, address: IpAddr) {
        let mut ping = self.client.command("ping");
        ping.args(["-c", "1", "-W", "1", &address.to_string()]).output().unwrap();
    }
}

#[test]
fn the_client_knows_who_has_an_address() {
    let Some(three) = Three::new("the_client_knows_who_has_an_address") else { return };
    let network = &three.network;
    for address in [IpAddr::from(network.v4(100)), IpAddr::from(network.v6(100))] {
        assert_eq!(three.client.neighbour(address).unwrap(), None);
        three.a.add_address(address, network).unwrap();
        three.ask(address);
        let entry = three.client.neighbour(address).unwrap().unwrap();
        assert_eq!(entry.mac, Some(three.a.mac(network).unwrap()), "{entry:?}");
        // A duplicate: the client keeps to the one that it knows until it forgets it.
        three.b.add_address(address, network).unwrap();
        assert!(three.a.holds(address).unwrap() && three.b.holds(address).unwrap());
        three.a.remove_address(address, network).unwrap();
        three.client.forget_neighbours().unwrap();
        three.ask(address);
        let entry = three.client.neighbour(address).unwrap().unwrap();
        assert_eq!(entry.mac, Some(three.b.mac(network).unwrap()), "{entry:?}");
    }
}

#[test]
fn a_pinned_neighbour_stays() {
    let Some(three) = Three::new("a_pinned_neighbour_stays") else { return };
    let (network, address) = (&three.network, IpAddr::from(three.network.v4(100)));
    let mac = three.b.mac(network).unwrap();
    three.client.pin_neighbour(address, mac, network).unwrap();
    three.a.add_address(address, network).unwrap();
    three.client.forget_neighbours().unwrap();
    three.ask(address);
    let entry = three.client.neighbour(address).unwrap().unwrap();
    assert_eq!((entry.mac, entry.state.as_str()), (Some(mac), "PERMANENT"));
}

#[test]
fn the_switch_learns_where_hosts_are_and_forgets() {
    let Some(three) = Three::new("the_switch_learns_where_hosts_are_and_forgets") else { return };
    let (network, mac) = (&three.network, three.a.mac(&three.network).unwrap());
    let learned = || {
        let entries = network.learned().unwrap();
        entries.into_iter().find(|entry| entry.mac == mac).map(|entry| entry.host)
    };
    three.ask(three.a.v4(network).into());
    assert_eq!(learned().as_deref(), Some("a"));
    network.set_ageing(Duration::from_millis(10)).unwrap();
    assert!(within(SOON, || learned().is_none()));
}

#[test]
fn frames_are_kept() {
    let Some(three) = Three::new("frames_are_kept") else { return };
    let (network, address) = (&three.network, three.a.v4(&three.network));
    let capture = three.client.capture(network, "arp").unwrap();
    three.ask(address.into());
    let asked = format!("who-has {address}");
    assert!(within(SOON, || capture.lines().unwrap().iter().any(|line| line.contains(&asked))));
    let file = capture.finish().unwrap();
    let magic = std::fs::read(file).unwrap()[..4].to_vec();
    assert_eq!(magic, 0xa1b2_c3d4_u32.to_ne_bytes(), "a file of pcap");
}

#[test]
fn a_filter_that_nobody_understands_is_told() {
    let Some(three) = Three::new("a_filter_that_nobody_understands_is_told") else { return };
    let error = three.client.capture(&three.network, "nonsense").unwrap_err().to_string();
    assert!(error.contains("syntax error"), "{error}");
}

#[test]
fn a_kernel_variable_is_of_one_host_only() {
    let Some(three) = Three::new("a_kernel_variable_is_of_one_host_only") else { return };
    let variable = "net.ipv4.conf.eth0.arp_accept";
    three.client.sysctl(variable, "1").unwrap();
    let read = |host: &Host| {
        let path = "/proc/sys/net/ipv4/conf/eth0/arp_accept";
        host.inside(|| std::fs::read_to_string(path)).unwrap().unwrap()
    };
    assert_eq!((read(&three.client), read(&three.a)), ("1\n".to_owned(), "0\n".to_owned()));
    let error = three.a.sysctl("net.no.such", "1").unwrap_err().to_string();
    assert!(error.starts_with("net.no.such: "), "{error}");
}
