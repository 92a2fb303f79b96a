//! Who reaches whom.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::path::Path;

use ha_lab::datagram::{Reply, Request};
use ha_lab::{Host, Lab};

use crate::PORT;

/// Whether an address answers `host`. It asks the network afresh: a resolution that an earlier
/// question began would end this one too when its third probe is not answered.
fn pings(host: &Host, address: IpAddr) -> bool {
    host.forget_neighbours().unwrap();
    let mut ping = host.command("ping");
    let output = ping.args(["-c", "1", "-W", "2", &address.to_string()]).output().unwrap();
    output.status.success()
}

#[test]
fn two_hosts_reach_each_other_at_once() {
    let Some(mut lab) = Lab::root_or_skip("two_hosts_reach_each_other_at_once") else { return };
    let network = lab.bridge().unwrap();
    let a = lab.host("a", &[&network]).unwrap();
    let b = lab.host("b", &[&network]).unwrap();
    assert!(pings(&a, b.v6(&network).into()), "no wait for duplicate address detection");
    assert!(pings(&a, b.v4(&network).into()));
    assert!(!pings(&a, network.v4(50).into()));
}

#[test]
fn the_real_host_has_no_part_in_it() {
    let Some(mut lab) = Lab::root_or_skip("the_real_host_has_no_part_in_it") else { return };
    let network = lab.bridge().unwrap();
    let _a = lab.host("a", &[&network]).unwrap();
    for interface in ["br1", "a.1"] {
        assert!(!Path::new("/sys/class/net").join(interface).exists(), "{interface}");
    }
}

#[test]
fn networks_are_joined_by_a_router_only() {
    let Some(mut lab) = Lab::root_or_skip("networks_are_joined_by_a_router_only") else { return };
    let (one, other) = (lab.bridge().unwrap(), lab.bridge().unwrap());
    let a = lab.host("a", &[&one]).unwrap();
    let b = lab.host("b", &[&other]).unwrap();
    assert!(!pings(&a, b.v4(&other).into()));
    let router = lab.router("r", &[&one, &other]).unwrap();
    assert_eq!([router.interface(&one), router.interface(&other)], ["eth0", "eth1"]);
    a.route_via(&router, &one).unwrap();
    b.route_via(&router, &other).unwrap();
    assert!(pings(&a, b.v4(&other).into()));
    assert!(pings(&a, b.v6(&other).into()));
}

#[test]
fn a_test_opens_connections_from_a_host() {
    let Some(mut lab) = Lab::root_or_skip("a_test_opens_connections_from_a_host") else { return };
    let network = lab.bridge().unwrap();
    let a = lab.host("a", &[&network]).unwrap();
    let client = lab.host("client", &[&network]).unwrap();
    let addresses: [IpAddr; 2] = [network.v4(100).into(), network.v6(100).into()];
    let bound = addresses.map(|address| (address, PORT).into());
    let _service = a.serve(&bound).unwrap();
    for (address, bound) in addresses.into_iter().zip(bound) {
        a.add_address(address, &network).unwrap(); // after the service bound to it
        let mut stream = client.inside(|| TcpStream::connect(bound)).unwrap().unwrap();
        for number in 0..3 {
            let reply = Reply { request: Request { run: 1, number }, name: "a".to_owned() };
            let mut bytes = reply.encode();
            stream.write_all(&reply.request.encode()).unwrap();
            bytes.fill(0);
            stream.read_exact(&mut bytes).unwrap();
            assert_eq!(Reply::decode(&bytes), Ok(reply));
        }
    }
}

#[test]
fn a_panic_on_a_host_is_a_panic_of_the_test() {
    let Some(mut lab) = Lab::root_or_skip("a_panic_on_a_host_is_a_panic_of_the_test") else {
        return;
    };
    let a = lab.host("a", &[]).unwrap();
    let caught = std::panic::catch_unwind(|| a.inside(|| panic!("on the host")));
    assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"on the host"));
}

#[test]
fn an_interface_that_was_down_has_its_addresses_again() {
    let test = "an_interface_that_was_down_has_its_addresses_again";
    let Some(mut lab) = Lab::root_or_skip(test) else { return };
    let network = lab.bridge().unwrap();
    let a = lab.host("a", &[&network]).unwrap();
    let b = lab.host("b", &[&network]).unwrap();
    let addresses: [IpAddr; 2] = [b.v4(&network).into(), b.v6(&network).into()];
    b.link_down(&network).unwrap();
    assert!(!addresses.iter().any(|address| pings(&a, *address)));
    b.link_up(&network).unwrap();
    assert!(addresses.iter().all(|address| pings(&a, *address)));
    network.unplug(&b).unwrap();
    assert!(!addresses.iter().any(|address| pings(&a, *address)));
    assert!(b.holds(addresses[1]).unwrap(), "a pulled cable takes no address");
    network.plug(&b).unwrap();
    assert!(addresses.iter().all(|address| pings(&a, *address)));
}
