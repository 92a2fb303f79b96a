//! Members come and go, and clients find those that are there.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::SocketAddr;

use ha_core::ha_farm::{Mac, Mode};

use crate::rig::{BULK, CONNECTIONS, Case, Farm, Held, PORT, SOON, UDP, shares};
use crate::seen::{check_once, claim, frames_of};

#[test]
fn clients_find_the_address_and_are_answered_once() {
    for case in Case::ALL {
        let Some(mut farm) = Farm::start("clients_find", case) else { return };
        farm.boot_all();
        let capture = farm.client.capture(&farm.network, "ip or ip6").unwrap();
        for vip in farm.vips {
            farm.connect(vip, 10);
            let mac = farm.client.neighbour(vip).unwrap().and_then(|it| it.mac).unwrap();
            match case.mode {
                Mode::Invisible => assert_eq!(mac.0, Mac::of_vip(vip).0, "{case:?} {vip}"),
                Mode::Directed => assert!(
                    farm.hosts.iter().any(|host| host.mac(&farm.network).unwrap() == mac),
                    "{case:?} {vip}: {mac:?} is nobody's"
                ),
            }
            farm.check_ping(vip);
        }
        check_once(&capture, &farm, 2 * 10, 2 * 5);
    }
}

/// F9, and row 16 of the field: no multicast hardware address, no card that hears everything.
#[test]
fn row_16_in_mode_invisible_no_switch_learns_the_address_and_no_member_tells_its_own() {
    for case in Case::ALL {
        let Some(mut farm) = Farm::start("no_switch_learns", case) else { return };
        farm.boot_all();
        let capture = farm.client.capture(&farm.network, "arp or icmp6").unwrap();
        for _ in 0..2 {
            for vip in farm.vips {
                farm.connect(vip, 20);
            }
            // Servers ask for the client in the midst of a connection to the VIP, too.
            farm.client.forget_neighbours().unwrap();
            farm.hosts.iter().for_each(|host| host.forget_neighbours().unwrap());
        }
        for host in &farm.hosts {
            let shown = host.command("ip").args(["-d", "link", "show", "eth0"]).output().unwrap();
            let shown = String::from_utf8(shown.stdout).unwrap();
            // The driver of a veth pair has no list of addresses, and hears all for one more.
            let heard = shown.contains("promiscuity 0") || case.mode == Mode::Invisible;
            assert!(heard && !shown.contains("PROMISC"), "{case:?}: {shown}");
        }
        let announcer = farm.view(0).announcer.unwrap();
        let frames = frames_of(&capture.finish().unwrap());
        for vip in farm.vips {
            let virtual_mac = Mac::of_vip(vip);
            assert_eq!(virtual_mac.0[0] & 1, 0, "no group address");
            let learned = farm.network.learned().unwrap();
            assert!(!learned.iter().any(|it| it.mac.0 == virtual_mac.0), "{case:?}: {learned:?}");
            let told: BTreeSet<[u8; 6]> = frames.iter().filter_map(|it| claim(it, vip)).collect();
            let expected = match case.mode {
                Mode::Invisible => virtual_mac.0,
                Mode::Directed => farm.hosts[announcer].mac(&farm.network).unwrap().0,
            };
            assert_eq!(told, [expected].into(), "{case:?}: who tells where {vip} is");
        }
    }
}

#[test]
fn a_killed_daemon_or_host_is_replaced_and_returns() {
    for case in Case::ALL {
        let Some(mut farm) = Farm::start("a_killed_daemon", case) else { return };
        farm.boot_all();
        let capture = farm.client.capture(&farm.network, "ip or ip6").unwrap();
        // The coordinator and announcer, and another one.
        for (victim, host_too) in [(2, false), (0, true), (0, false)] {
            let others: Vec<usize> = (0..3).filter(|id| *id != victim).collect();
            if host_too {
                farm.kill_host(victim);
            } else {
                farm.kill(victim);
            }
            farm.settle(&others);
            for vip in farm.vips {
                let served = farm.connect(vip, CONNECTIONS);
                let shares = shares(served.iter().map(|(_, by)| by));
                let expected: Vec<u8> = others.iter().map(|id| *id as u8).collect();
                let servers: Vec<u8> = shares.into_keys().collect();
                assert_eq!(servers, expected, "{case:?} {vip}: without {victim}");
            }
            if host_too {
                farm.network.plug(&farm.hosts[victim]).unwrap();
            }
            farm.boot(victim);
            farm.settle(&[0, 1, 2]);
            let served = farm.connect(farm.vips[0], CONNECTIONS);
            let shares = shares(served.iter().map(|(_, by)| by));
            assert_eq!(shares.len(), 3, "{case:?}: {victim} is back");
        }
        check_once(&capture, &farm, 3 * 3 * CONNECTIONS, 0);
    }
}

#[test]
fn nobody_is_answered_twice_while_members_come_and_go() {
    for case in Case::ALL {
        let Some(mut farm) = Farm::start("nobody_is_answered", case) else { return };
        farm.boot_all();
        let capture = farm.client.capture(&farm.network, "ip or ip6").unwrap();
        let mut asked = 0;
        for step in 0..4 {
            // While buckets move clients begin all the time; a handshake under way may break (FG4).
            farm.order(1, if step % 2 == 0 { "drain on" } else { "drain off" });
            if step == 1 {
                farm.kill(2);
                farm.settle(&[0, 1]);
                farm.boot(2);
            }
            farm.settle_owner(&[0, 1, 2], 1, step % 2 != 0);
            for vip in farm.vips {
                farm.connect(vip, CONNECTIONS / 2);
                farm.ask_by_udp(SocketAddr::new(vip, UDP), 20);
                farm.check_ping(vip);
                asked += CONNECTIONS / 2;
            }
        }
        check_once(&capture, &farm, asked, 4 * 2 * (20 + 5));
    }
}

/// Row 18 of the field.
#[test]
fn row_18_a_router_with_a_smaller_mtu_is_heard_by_who_serves() {
    for case in Case::ALL {
        let Some(mut farm) = Farm::start("a_router_with", case) else { return };
        let far = farm.lab.bridge().unwrap();
        let router = farm.lab.router("router", &[&farm.network, &far]).unwrap();
        let client = farm.lab.host("far", &[&far]).unwrap();
        for host in &farm.hosts {
            host.route_via(&router, &farm.network).unwrap();
        }
        client.route_via(&router, &far).unwrap();
        let mut mtu = router.command("ip");
        mtu.args(["link", "set", "dev", &router.interface(&far), "mtu", "1300"]);
        assert!(mtu.status().unwrap().success());
        // All servers are one address to it: it would tell one of them a second.
        router.sysctl("net.ipv4.icmp_ratelimit", "0").unwrap();
        router.sysctl("net.ipv6.icmp.ratelimit", "0").unwrap();
        farm.boot_all();
        // A connection that moves has the drain's time only, and these take longer on loaded cores.
        farm.settle_evenly(&[0, 1, 2]);
        // The client itself would tell of a smaller size; only the router knows.
        farm.client = client;
        for vip in farm.vips {
            let mut servers = BTreeSet::new();
            for (mut stream, by) in farm.connect(vip, 24) {
                let read = farm.client.inside(|| {
                    let mut bytes = vec![0; BULK];
                    stream.write_all(&[1])?;
                    stream.read_exact(&mut bytes).map(|()| bytes)
                });
                let read = read.unwrap();
                let read = read.unwrap_or_else(|error| panic!("{case:?} {vip}: {error}"));
                assert!(read.iter().all(|it| *it == by), "{case:?} {vip}: of several servers");
                servers.insert(by);
            }
            assert_eq!(servers.len(), 3, "{case:?} {vip}: each has to hear of it");
        }
    }
}

/// F8: at the drain end nothing is left of it, at the client or in the old server's kernel.
#[test]
fn what_outlives_its_drain_is_reset_at_both_ends() {
    for case in Case::ALL {
        let Some(mut farm) = Farm::start("what_outlives", case) else { return };
        farm.boot_all();
        farm.settle_evenly(&[0, 1, 2]);
        let to: Vec<SocketAddr> = farm.vips.map(|vip| SocketAddr::new(vip, PORT)).to_vec();
        let capture = farm.client.capture(&farm.network, "ip or ip6").unwrap();
        let held = Held::open(&farm.client, &to, 60);
        let (drained, others) = (held.of(1), held.of(0) + held.of(2));
        farm.order(1, "gate closed");
        farm.settle_owner(&[0, 1, 2], 1, false);
        farm.settle_as(&[0, 1, 2], |views| views.iter().all(|view| view.drains == 0));
        let gone = ha_lab::within(SOON, || held.of(1) == 0);
        assert!(gone, "{case:?}: {} hang", held.of(1));
        assert_eq!(held.broken().len(), drained, "{case:?}: others had no drain");
        assert_eq!(held.of(0) + held.of(2), others, "{case:?}: they stay where they are");
        let sockets = || {
            let mut ss = farm.hosts[1].command("ss");
            ss.args(["-Htan", "state", "established", "sport", "=", &format!(":{PORT}")]);
            let told = ss.output().unwrap();
            assert!(told.status.success(), "{told:?}");
            String::from_utf8(told.stdout).unwrap()
        };
        let swept = ha_lab::within(SOON, || sockets().is_empty());
        assert!(swept, "{case:?}: {}", sockets());
        check_once(&capture, &farm, 60, 0);
    }
}
