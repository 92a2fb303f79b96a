//! How buckets and clients are shared among two, three and five servers.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::rig::{Case, Farm, PORT, STICKY, UDP, UDP_STICKY, shares};

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

/// `uncovered = deny`.
#[test]
fn a_port_that_no_rule_names_is_answered_by_nobody() {
    let case = Case::ALL[0];
    let Some(mut farm) = Farm::start("a_port_that", case) else { return };
    farm.boot_all();
    for vip in farm.vips {
        let to = SocketAddr::new(vip, PORT + 7);
        let refused = farm.client.inside(|| {
            std::net::TcpStream::connect_timeout(&to, std::time::Duration::from_millis(300))
        });
        let error = refused.unwrap().expect_err("uncovered = deny");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "not even a reset");
    }
}
