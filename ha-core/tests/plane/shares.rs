//! How buckets and clients are shared among two, three and five servers.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use ha_core::ha_farm::{Mode, Uncovered};
use ha_lab::within;

use crate::rig::{Case, Farm, IPID, NET, SOON, STICKY, UDP, UDP_STICKY, UNCOVERED, shares};
use crate::seen::check_once;

/// Enough that none of five servers goes without, but once in many thousand million runs.
const CLIENTS: usize = 150;

#[test]
fn buckets_and_clients_are_shared_evenly_among_two_three_and_five() {
    let all = [2, 3, 5].into_iter().flat_map(|servers| Case::ALL.map(|case| (servers, case)));
    for (servers, case) in all {
        let Some(mut farm) = Farm::of(servers, "shares", case) else { return };
        farm.boot_all();
        let all: Vec<usize> = (0..servers).collect();
        farm.settle_evenly(&all);
        for vip in farm.vips {
            let tcp: Vec<u8> = farm.connect(vip, CLIENTS).iter().map(|(_, by)| *by).collect();
            check(&tcp, servers, &format!("{case:?} TCP {vip}"));
            let udp = farm.ask_by_udp(SocketAddr::new(vip, UDP), CLIENTS);
            check(&udp, servers, &format!("{case:?} UDP {vip}"));
        }
    }
}

/// Each has some share: a third of what is fair is five standard deviations away from it.
fn check(served: &[u8], servers: usize, what: &str) {
    let shares = shares(served);
    assert_eq!(shares.len(), servers, "{what}: somebody serves nobody: {shares:?}");
    let least = CLIENTS / servers / 4;
    assert!(shares.values().all(|count| *count >= least), "{what}: {shares:?}");
}

/// Row 19 of the field: one address is one server where a rule says so, and all of them where it
/// hashes ports.
#[test]
fn row_19_one_client_stays_with_one_server_or_is_spread_as_the_rule_says() {
    for case in Case::ALL {
        let Some(mut farm) = Farm::start("row_19", case) else { return };
        farm.boot_all();
        let mut homes = BTreeSet::new();
        for host in 120..136 {
            let [v4, v6]: [IpAddr; 2] =
                [farm.network.v4(host).into(), farm.network.v6(host).into()];
            for (address, vip) in [v4, v6].into_iter().zip(farm.vips) {
                farm.client.add_address(address, &farm.network).unwrap();
                let by = stick(&farm, vip, address);
                assert_eq!(by.len(), 1, "{case:?} {address} {vip}: {by:?}");
                homes.extend(by);
            }
        }
        assert_eq!(homes.len(), 3, "{case:?}: sixteen addresses have one home: {homes:?}");
        for vip in farm.vips {
            let spread: BTreeSet<u8> = farm.connect(vip, 60).iter().map(|(_, by)| *by).collect();
            assert_eq!(spread.len(), 3, "{case:?} {vip}: {spread:?}");
        }
    }
}

/// Who serves several connections and datagrams from one address.
fn stick(farm: &Farm, vip: IpAddr, from: IpAddr) -> BTreeSet<u8> {
    let tcp = || farm.connect_from(from, SocketAddr::new(vip, STICKY));
    let udp = || farm.ask_by_udp_from(from, SocketAddr::new(vip, UDP_STICKY));
    // Each service has a table of its own, but the same weights and so the same owners.
    (0..4).flat_map(|_| [tcp(), udp()]).collect()
}

/// `on_net`.
#[test]
fn clients_of_one_network_have_one_server_where_a_rule_says_so() {
    for case in Case::ALL {
        let Some(mut farm) = Farm::start("on_net", case) else { return };
        farm.boot_all();
        farm.settle_evenly(&[0, 1, 2]);
        let mut homes = BTreeSet::new();
        let networks = (0..8).flat_map(|number| {
            // A digit of a host's number is four bits in IPv6.
            let v4 = [0, 5, 10, 15].map(|at| farm.network.v4(112 + 16 * number + at).into());
            let v6 = [0, 3, 6, 9].map(|at| farm.network.v6(110 + 10 * number + at).into());
            [v4, v6]
        });
        let networks: Vec<[IpAddr; 4]> = networks.collect();
        for addresses in networks {
            let vip = farm.vips[usize::from(addresses[0].is_ipv6())];
            let by = addresses.map(|address| {
                farm.client.add_address(address, &farm.network).unwrap();
                farm.connect_from(address, SocketAddr::new(vip, NET))
            });
            assert_eq!(by, [by[0]; 4], "{case:?} {addresses:?}");
            homes.insert(by[0]);
        }
        assert!(homes.len() > 1, "{case:?}: sixteen networks have one home");
    }
}

/// `on_ipid`: even one client with one port.
#[test]
fn packets_of_one_client_are_spread_where_a_rule_goes_by_their_identification() {
    for case in Case::ALL {
        let Some(mut farm) = Farm::start("on_ipid", case) else { return };
        farm.boot_all();
        farm.settle_evenly(&[0, 1, 2]);
        // The place of the service of each VIP among the rules.
        for (vip, service) in farm.vips.into_iter().zip([5, 11]) {
            let before = farm.taken(service);
            let by = farm.client.inside(|| asked_from_one_port(SocketAddr::new(vip, IPID)));
            let by = by.unwrap().unwrap_or_else(|error| panic!("{case:?} {vip}: {error}"));
            // A kernel numbers what a connected socket sends; IPv6 has no such number.
            let servers = if vip.is_ipv4() { 3 } else { 1 };
            assert_eq!(shares(&by).len(), servers, "{case:?} {vip}: {by:?}");
            assert_eq!(farm.taken(service) - before, CLIENTS as u64, "{case:?} {vip}: each by one");
        }
    }
}

fn asked_from_one_port(to: SocketAddr) -> io::Result<Vec<u8>> {
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0_u8; 16].into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(SOON))?;
    let ask = |_| {
        let mut answer = [0];
        socket.send(&[0])?;
        socket.recv(&mut answer).map(|_| answer[0])
    };
    (0..CLIENTS).map(ask).collect()
}

/// Of a server that joins.
#[test]
fn a_share_grows_while_a_server_warms_up() {
    for case in [Case::ALL[0], Case::ALL[3]] {
        let Some(mut farm) = Farm::start("warm_up", case) else { return };
        for spec in &mut farm.specs {
            // Steps that are seen on loaded cores, too, where nobody is lost.
            spec.warm_up = Duration::from_secs(20);
            spec.interval = Duration::from_millis(400);
        }
        farm.boot_all();
        farm.settle_evenly(&[0, 1, 2]);
        farm.kill(2);
        farm.settle(&[0, 1]);
        farm.boot(2);
        farm.settle_owner(&[0, 1, 2], 2, true);
        let mut grew = vec![farm.view(0).shares[0][&2]];
        assert!(grew[0] < 256 / 8, "{case:?}: an eighth of its weight at first: {grew:?}");
        let served =
            || farm.vips.map(|vip| shares(farm.connect(vip, CLIENTS).iter().map(|it| &it.1)));
        let by_it = || served().iter().filter_map(|by| by.get(&2)).sum::<usize>();
        let cold = by_it();
        let whole = within(2 * SOON, || {
            let share = farm.view(0).shares[0].get(&2).copied().unwrap_or(0);
            if grew.last() != Some(&share) {
                grew.push(share);
            }
            share >= 85
        });
        assert!(whole && grew.is_sorted(), "{case:?}: {grew:?}");
        assert!(grew.len() > 3, "{case:?}: in steps: {grew:?}");
        farm.settle_evenly(&[0, 1, 2]);
        let warm = by_it();
        // A twentieth against a third: many standard deviations.
        assert!(2 * cold < warm, "{case:?}: {cold} clients, then {warm}");
    }
}

#[test]
fn a_port_that_no_rule_names_is_answered_by_nobody() {
    for case in Case::ALL {
        let Some(mut farm) = Farm::start("a_port_that", case) else { return };
        farm.boot_all();
        for vip in farm.vips {
            let to = SocketAddr::new(vip, UNCOVERED);
            let refused =
                farm.client.inside(|| TcpStream::connect_timeout(&to, Duration::from_millis(300)));
            let error = refused.unwrap().expect_err("uncovered = deny");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{case:?}: not even a reset");
        }
    }
}

/// Who gets all frames; in mode `invisible` they are no host's own.
#[test]
fn where_what_no_rule_covers_passes_the_announcer_answers_it() {
    for case in Case::ALL.into_iter().filter(|case| case.mode == Mode::Directed) {
        let Some(mut farm) = Farm::start("uncovered_pass", case) else { return };
        farm.specs.iter_mut().for_each(|spec| spec.uncovered = Uncovered::Pass);
        farm.boot_all();
        let capture = farm.client.capture(&farm.network, "ip or ip6").unwrap();
        let check = |farm: &Farm, announcer: usize| {
            for vip in farm.vips {
                let by: Vec<u8> = farm
                    .connect_to(SocketAddr::new(vip, UNCOVERED), 20)
                    .iter()
                    .map(|(_, by)| *by)
                    .collect();
                assert_eq!(by, [announcer as u8; 20], "{case:?} {vip}");
                // What a rule covers goes its way.
                farm.connect(vip, 20);
            }
        };
        let first = farm.view(0).announcer.unwrap();
        check(&farm, first);
        let others: Vec<usize> = (0..3).filter(|id| *id != first).collect();
        farm.kill(first);
        farm.settle(&others);
        check(&farm, farm.view(others[0]).announcer.unwrap());
        check_once(&capture, &farm, 2 * 2 * 40, 0);
    }
}
