//! Virtual addresses on real interfaces.

use std::env;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use ha_core::linux::VipsConfig;
use ha_core::vip::{Event, OnRemoved};
use ha_lab::{now, within};

use crate::vips_rig::{LONG, Net, Rig, SOON, vip};

#[test]
fn addresses_are_taken_kept_and_released_together() {
    let Some(net) = Net::new("addresses_are_taken_kept_and_released") else { return };
    let mut config = net.config();
    config.addresses[0].label = Some("eth0:web".to_owned());
    let rig = Rig::start(&net.a, config).unwrap();
    assert!(net.holds(&net.a, false), "nothing is set before it is asked for");
    assert!(rig.vips.keep(LONG).is_err(), "there is nothing to keep");

    rig.take(1, Duration::from_millis(1_500));
    assert!(net.holds(&net.a, true));
    rig.vips.keep(LONG).unwrap();
    for address in net.addresses() {
        let told = Net::ip(&net.a, &format!("-d address show to {address}"));
        // The kernel counts whole seconds, and rounds down what it shows.
        assert!(told.contains("valid_lft 300sec") || told.contains("valid_lft 299sec"), "{told}");
        assert_eq!(told.contains("eth0:web"), address.is_ipv4(), "{told}");
    }
    rig.take(2, LONG);
    let seen = rig.vips.seen();
    assert!(within(SOON, || seen.now().assigned && seen.now().announcements > 0));
    rig.release();
    assert!(net.holds(&net.a, false));
    assert!(within(SOON, || !seen.now().assigned));
    rig.take(3, LONG);
    drop(rig);
    assert!(net.holds(&net.a, false), "an end leaves nothing behind");
    assert!(!seen.now().assigned, "metrics of what has ended");
}

#[test]
fn field_4_a_killed_daemon_has_no_address_soon_after_its_lifetime() {
    killed_or_stopped("field_4_killed", true);
}

#[test]
fn field_4_a_stopped_daemon_has_no_address_soon_after_its_lifetime() {
    killed_or_stopped("field_4_stopped", false);
}

fn killed_or_stopped(test: &str, kill: bool) {
    let Some(net) = Net::new(test) else { return };
    let lifetime = Duration::from_secs(1);
    let daemon = net.daemon(&net.a, lifetime);
    // It keeps them beyond the first lifetime.
    assert!(!within(lifetime * 2, || !net.holds(&net.a, true)), "{}", daemon.output());
    if kill { daemon.kill() } else { daemon.stop() }.unwrap();
    let began = now();
    assert!(within(SOON, || net.holds(&net.a, false)));
    let after = now().saturating_since(began);
    assert!(after < lifetime + Duration::from_millis(500), "R10: gone after {after:?}");
}

#[test]
fn field_5_what_others_remove_is_put_back() {
    let Some(net) = Net::new("field_5_put_back") else { return };
    let rig = Rig::start(&net.a, net.config()).unwrap();
    rig.take(1, LONG);
    for address in net.addresses() {
        net.a.remove_address(address, &net.network).unwrap();
        rig.until_said(&[address], |event| match event {
            Event::PutBack(address) => Some(address.ip),
            _ => None,
        });
        assert!(net.a.holds(address).unwrap());
        assert!(net.pings(address));
    }
    assert!(within(SOON, || rig.vips.seen().now().lost == 2), "{:?}", rig.vips.seen());
}

#[test]
fn field_5_the_node_steps_down_where_that_is_wanted() {
    let Some(net) = Net::new("field_5_step_down") else { return };
    let [first, _] = net.addresses();
    let rig =
        Rig::start(&net.a, VipsConfig { on_removed: OnRemoved::StepDown, ..net.config() }).unwrap();
    rig.take(1, LONG);
    net.a.remove_address(first, &net.network).unwrap();
    rig.until_said(&[first], |event| match event {
        Event::Lost(address) => Some(address.ip),
        _ => None,
    });
    assert!(within(SOON, || net.holds(&net.a, false)), "one owner for the whole set");
    assert!(rig.vips.keep(LONG).is_err());
}

#[test]
fn a_start_sweeps_what_a_killed_process_left_and_nothing_else() {
    let Some(net) = Net::new("a_start_sweeps") else { return };
    let administrators = [IpAddr::from(net.network.v4(200)), net.network.v6(200).into()];
    for address in administrators {
        net.a.add_address(address, &net.network).unwrap();
    }
    net.daemon(&net.a, LONG).kill().unwrap();
    assert!(net.holds(&net.a, true), "it lives on");
    let _rig = Rig::start(&net.a, net.config()).unwrap();
    assert!(net.holds(&net.a, false));
    for address in administrators {
        assert!(net.a.holds(address).unwrap());
    }
}

/// How long the kernel lets each address live.
fn lives(net: &Net) -> Vec<u64> {
    let told = net.addresses().map(|ip| Net::ip(&net.a, &format!("address show to {ip}")));
    let seconds = |told: &String| {
        let (_, rest) = told.split_once("valid_lft ").expect("it is set");
        rest.split_once("sec").expect("it has an end").0.parse().unwrap()
    };
    told.iter().map(seconds).collect()
}

#[test]
fn an_address_stays_set_while_one_daemon_hands_over_to_the_next() {
    let Some(net) = Net::new("an_address_stays_set") else { return };
    let mut old = Rig::start(&net.a, net.config()).unwrap();
    old.take(1, LONG);
    // A watch on the kernel sees whether one goes, however short.
    let mut watch = net.a.command("ip");
    watch.args(["-o", "monitor", "address"]);
    let log = tempfile::NamedTempFile::new().unwrap();
    watch.stdout(log.reopen().unwrap());
    let mut watch = watch.spawn().unwrap();
    let seen = || std::fs::read_to_string(log.path()).unwrap();
    // It sees another address come and go; until then it does not watch yet.
    let watches = |host: u8| {
        let other = IpAddr::from(net.network.v4(host));
        within(SOON, || {
            net.a.add_address(other, &net.network).unwrap();
            net.a.remove_address(other, &net.network).unwrap();
            let gone = |line: &str| line.contains("Deleted") && line.contains(&other.to_string());
            seen().lines().any(gone)
        })
    };
    assert!(watches(200), "it watches");
    assert!(lives(&net).iter().all(|&left| left > 100));

    old.vips.leave();
    assert!(net.holds(&net.a, true), "they are left");
    assert!(old.vips.keep(LONG).is_err(), "they are another's");
    drop(old);
    let newer = Rig::resume(&net.a, net.config());
    assert!(net.holds(&net.a, true), "they stay until the first word");
    newer.take(1, Duration::from_mins(1));
    assert!(lives(&net).iter().all(|&left| left <= 60), "it is their owner's word that counts");
    for address in net.addresses() {
        assert!(net.pings(address));
    }
    assert!(newer.said().iter().all(|event| matches!(event, Event::Taken(_))));
    assert!(watches(201), "all before this was seen");
    watch.kill().unwrap();
    watch.wait().unwrap();
    let gone: Vec<_> = net.addresses().iter().map(IpAddr::to_string).collect();
    let text = seen();
    let mut deleted = text.lines().filter(|line| line.contains("Deleted"));
    assert!(deleted.all(|line| !gone.iter().any(|ip| line.contains(ip.as_str()))), "{text}");
    newer.release();
    assert!(net.holds(&net.a, false));
}

#[test]
fn what_an_upgrade_left_and_nobody_takes_goes_at_the_first_other_word_or_at_the_end() {
    let Some(net) = Net::new("what_an_upgrade_left") else { return };
    for released in [true, false] {
        let mut old = Rig::start(&net.a, net.config()).unwrap();
        old.take(1, LONG);
        old.vips.leave();
        drop(old);
        let newer = Rig::resume(&net.a, net.config());
        assert!(net.holds(&net.a, true));
        if released {
            newer.release();
            assert!(net.holds(&net.a, false), "a node that boots asks for that first");
        }
        drop(newer);
        assert!(net.holds(&net.a, false), "an end leaves nothing behind");
    }
}

#[test]
fn field_1_the_client_finds_the_new_owner_without_asking() {
    let Some(net) = Net::new("field_1_new_owner") else { return };
    let rig_a = Rig::start(&net.a, net.config()).unwrap();
    let rig_b = Rig::start(&net.b, net.config()).unwrap();
    rig_a.take(1, LONG);
    for address in net.addresses() {
        assert!(net.pings(address));
        assert_eq!(net.neighbour(address), Some(net.mac(&net.a)));
    }
    rig_a.release();
    rig_b.take(2, LONG);
    for address in net.addresses() {
        let moved = within(SOON, || net.neighbour(address) == Some(net.mac(&net.b)));
        assert!(moved, "{address} is at {:?}", net.neighbour(address));
        assert!(net.pings(address));
    }
}

#[test]
fn field_1_two_owners_see_each_other() {
    let Some(net) = Net::new("field_1_two_owners") else { return };
    let rigs = [&net.a, &net.b].map(|host| Rig::start(host, net.config()).unwrap());
    for rig in &rigs {
        rig.take(1, LONG);
    }
    for (rig, other) in rigs.iter().zip([&net.b, &net.a]) {
        let theirs = net.mac(other);
        rig.until_said(&net.addresses(), |event| match event {
            Event::Conflict { address, mac } if mac.0 == theirs.0 => Some(address.ip),
            _ => None,
        });
    }
}

#[test]
fn field_6_an_address_answers_at_once() {
    let Some(net) = Net::new("field_6_at_once") else { return };
    // As it is on a host that nobody set up: a new address is asked about for a second or two.
    for scope in ["all", "default", "eth0"] {
        net.a.sysctl(&format!("net.ipv6.conf.{scope}.accept_dad"), "1").unwrap();
    }
    let rig = Rig::start(&net.a, net.config()).unwrap();
    rig.take(1, LONG);
    let told = Net::ip(&net.a, &format!("-6 address show to {}", net.network.v6(100)));
    assert!(!told.contains("tentative"), "{told}");
    for address in net.addresses() {
        assert!(net.pings(address));
    }
}

#[test]
fn the_hosts_own_network_outlives_the_address() {
    let Some(net) = Net::new("own_network") else { return };
    let rig = Rig::start(&net.a, net.config()).unwrap();
    let routes = || {
        let [v4, v6] = ["-4", "-6"].map(|family| Net::ip(&net.a, &format!("{family} route show")));
        v4 + &v6
    };
    let before = routes();
    rig.take(1, LONG);
    assert_eq!(routes(), before, "no route of ours, and none with our lifetime");
    rig.release();
    assert_eq!(routes(), before);
    assert!(net.pings(net.a.v4(&net.network).into()) && net.pings(net.a.v6(&net.network).into()));
}

#[test]
fn an_interface_that_comes_again_has_its_address_again() {
    let Some(net) = Net::new("interface_again") else { return };
    let rig = Rig::start(&net.a, net.config()).unwrap();
    rig.take(1, LONG);
    // The kernel drops addresses of IPv6 with the link.
    net.a.link_down(&net.network).unwrap();
    net.a.link_up(&net.network).unwrap();
    assert!(within(SOON, || net.holds(&net.a, true)));
    for address in net.addresses() {
        assert!(within(SOON, || net.pings(address)));
    }
}

#[test]
fn a_release_resets_connections() {
    let Some(net) = Net::new("resets") else { return };
    let rig = Rig::start(&net.a, VipsConfig { reset_connections: true, ..net.config() }).unwrap();
    rig.take(1, LONG);
    let mut connections = Vec::new();
    for address in net.addresses() {
        let at = SocketAddr::new(address, 7000);
        let listener = net.a.inside(|| TcpListener::bind(at)).unwrap().unwrap();
        let mut client = net.client.inside(|| TcpStream::connect(at)).unwrap().unwrap();
        let (server, _) = listener.accept().unwrap();
        client.write_all(b"asked").unwrap();
        client.set_read_timeout(Some(SOON)).unwrap();
        connections.push((client, server));
    }
    rig.release();
    for (client, _server) in &mut connections {
        let error = client.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn what_cannot_work_is_one_line_that_says_what_to_do() {
    let Some(net) = Net::new("bad_input") else { return };
    let [v4, _] = net.addresses();
    let refusal = |interface: &str| {
        let config = VipsConfig::new(vec![vip(v4, interface)]);
        Rig::start(&net.a, config).err().expect("it cannot work").to_string()
    };
    assert_eq!(
        refusal("eth9"),
        "10.77.1.100: there is no interface \"eth9\": `ip link` lists those of this machine"
    );
    assert_eq!(
        refusal("lo"),
        "10.77.1.100: interface \"lo\" has no Ethernet address: choose another one"
    );
    net.a.add_address(v4, &net.network).unwrap();
    assert_eq!(
        refusal("eth0"),
        "10.77.1.100 is set on this machine, and not by us: `ip address show to 10.77.1.100`; \
         remove it there"
    );
    assert!(net.a.holds(v4).unwrap(), "an administrator's address stays");
}

#[test]
fn a_right_that_is_missing_is_named() {
    let Some(net) = Net::new("no_rights") else { return };
    for (right, named) in [("net_admin", "CAP_NET_ADMIN"), ("net_raw", "CAP_NET_RAW")] {
        let mut daemon = net.a.command("setpriv");
        daemon.args(["--bounding-set", &format!("-{right}")]);
        daemon.arg(env::current_exe().unwrap());
        daemon.args(["--exact", "vips_rig::daemon", "--nocapture"]);
        daemon.env("HA_TEST_VIPS", net.addresses()[0].to_string()).env("HA_TEST_LIFETIME", "1000");
        let said = String::from_utf8(daemon.output().unwrap().stdout).unwrap();
        let expected = format!(
            "refused: virtual addresses need the capability {named}: run as root, or grant it \
             (AmbientCapabilities= of systemd)"
        );
        assert!(said.contains(&expected), "{said}");
    }
}
