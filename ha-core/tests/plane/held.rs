//! FG4, and row 17 of the field: 1,000 open connections that say something all the time.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use ha_core::farm::Isolated;
use ha_lab::{Cut, within};

use crate::rig::{Case, Farm, Held, Kind, PORT, SOON, STICKY, UDP};

const HELD: usize = 1_000;
const BOOTS_MAX: u32 = 10;

#[test]
fn row_17_open_connections_outlive_every_change_but_the_death_of_their_server() {
    for case in Case::ALL.into_iter().filter(|case| case.plane == Kind::Bpf) {
        let Some(mut farm) = Farm::start("row_17", case) else { return };
        boot(&mut farm);
        let held = hold(&farm);
        let whole = |held: &Held, when: &str| {
            held.wait();
            assert_eq!(held.broken(), [], "{case:?}: {when}");
        };
        farm.order(1, "drain on");
        farm.settle_owner(&[0, 1, 2], 1, false);
        whole(&held, "a member drains");
        new_clients(&farm, &[0, 2]);
        farm.order(1, "drain off");
        farm.settle_owner(&[0, 1, 2], 1, true);
        whole(&held, "it returns");
        farm.order(2, "weight 1");
        farm.settle_as(&[0, 1, 2], |views| views.iter().all(|it| it.shares[0][&2] < 70));
        whole(&held, "a weight changes");
        new_clients(&farm, &[0, 1, 2]);
        for id in 0..3 {
            farm.restart(id);
            whole(&held, "a daemon goes on as another process");
        }
        farm.settle(&[0, 1, 2]);
        let dying = held.of(1);
        assert!(dying > HELD / 10, "{case:?}: {dying} are with who dies");
        farm.kill_host(1);
        farm.settle(&[0, 2]);
        held.wait();
        let broken = held.broken();
        assert!(broken.iter().all(|(by, _)| *by == Some(1)), "{case:?}: {broken:?}");
        assert_eq!(broken.len(), dying, "{case:?}: those of the dead server break");
        new_clients(&farm, &[0, 2]);
        farm.network.plug(&farm.hosts[1]).unwrap();
        farm.boot(1);
        farm.settle_owner(&[0, 1, 2], 1, true);
        held.wait();
        assert_eq!(held.broken().len(), dying, "{case:?}: its host returns");
        new_clients(&farm, &[0, 1, 2]);
    }
}

/// FG4 does not promise it: who is alone and serves all refuses others' connections until it hears that
/// it is not, and the lowest id that comes back begins with whom it hears first. Where who is alone
/// serves nothing, and is not the lowest, a split is the death of one and the heal its return.
#[test]
fn row_17_a_split_and_its_heal_break_connections_of_who_was_alone_and_no_others() {
    for case in Case::ALL.into_iter().filter(|case| case.plane == Kind::Bpf) {
        let Some(mut farm) = Farm::start("row_17_split", case) else { return };
        farm.specs.iter_mut().for_each(|spec| spec.isolated = Isolated::Nothing);
        boot(&mut farm);
        let held = hold(&farm);
        let (alone, others) = (2, [0, 1]);
        let lost = held.of(alone);
        assert!(lost > HELD / 10, "{case:?}: {lost} are with who is cut off");
        let cut = Cut::of(&farm.hosts[alone], &farm.network);
        farm.lab.cut(std::slice::from_ref(&cut)).unwrap();
        farm.settle(&others);
        held.wait();
        let broken = held.broken();
        assert!(broken.iter().all(|(by, _)| *by == Some(alone as u8)), "{case:?}: {broken:?}");
        assert_eq!(broken.len(), lost, "{case:?}: nobody hears who is cut off");
        farm.lab.heal(&[cut]).unwrap();
        farm.settle_owner(&[0, 1, 2], alone, true);
        held.wait();
        assert_eq!(held.broken().len(), lost, "{case:?}: the heal breaks none");
        new_clients(&farm, &[0, 1, 2]);
    }
}

/// The plane without sockets keeps those of buckets that stay, and says so of the others.
#[test]
fn row_17_with_nftables_only_connections_of_moved_buckets_break() {
    for case in Case::ALL.into_iter().filter(|case| case.plane == Kind::Nft) {
        let Some(mut farm) = Farm::start("row_17_nft", case) else { return };
        boot(&mut farm);
        let held = hold(&farm);
        for id in 0..3 {
            farm.restart(id);
            held.wait();
            assert_eq!(held.broken(), [], "{case:?}: a daemon goes on as another process");
        }
        let (drained, others) = (held.of(1), held.of(0) + held.of(2));
        farm.order(1, "drain on");
        farm.settle_owner(&[0, 1, 2], 1, false);
        held.wait();
        assert_eq!(held.broken().len(), drained, "{case:?}: all of its buckets moved");
        assert_eq!(held.of(0) + held.of(2), others, "{case:?}: none of theirs did");
        new_clients(&farm, &[0, 2]);
        let dying = held.of(2);
        farm.kill_host(2);
        farm.settle(&[0, 1]);
        held.wait();
        let broken = held.broken();
        assert!(broken.iter().all(|(by, _)| *by != Some(0)), "{case:?}: {broken:?}");
        assert_eq!(broken.len(), drained + dying, "{case:?}: those of the dead server break");
    }
}

/// FG4 does not hold for a daemon that is killed; what follows is that its clients begin anew. Nor
/// does it with nftables, where a bucket that stays keeps its connections, and its return moves some.
#[test]
fn row_17_connections_of_a_killed_daemon_break_and_no_others() {
    for case in Case::ALL {
        let Some(mut farm) = Farm::start("row_17_killed", case) else { return };
        boot(&mut farm);
        let held = hold(&farm);
        let announcer = farm.view(0).announcer.unwrap();
        let another = (0..3).find(|id| *id != announcer).unwrap();
        let victims =
            if case.plane == Kind::Bpf { vec![another, announcer] } else { vec![announcer] };
        let mut lost = 0;
        for victim in victims {
            let others: Vec<usize> = (0..3).filter(|id| *id != victim).collect();
            let kept: Vec<usize> = others.iter().map(|id| held.of(*id)).collect();
            lost += held.of(victim);
            farm.kill(victim);
            farm.settle(&others);
            held.wait();
            let left: Vec<usize> = others.iter().map(|id| held.of(*id)).collect();
            assert_eq!(left, kept, "{case:?}: {:?}", held.broken());
            assert_eq!(held.broken().len(), lost, "{case:?}: its filter takes nothing any more");
            if case.plane == Kind::Bpf {
                farm.boot(victim);
                farm.settle(&[0, 1, 2]);
                held.wait();
                assert_eq!(held.broken().len(), lost, "{case:?}: its return breaks none");
            }
        }
    }
}

/// Its own host says so, and not only who has its buckets next.
#[test]
fn who_is_cut_and_then_ends_has_told_all_its_clients() {
    let case = Case::ALL[0];
    let Some(mut farm) = Farm::of(2, "cut_then_ends", case) else { return };
    farm.boot_all();
    farm.settle_evenly(&[0, 1]);
    let to: Vec<SocketAddr> = farm.vips.map(|vip| SocketAddr::new(vip, PORT)).to_vec();
    let held = Held::open(&farm.client, &to, HELD);
    let cut = held.of(1);
    assert!(cut > HELD / 4, "{cut} are with who ends");
    let resets = "(ip and tcp[13] & 4 != 0) or (ip6 and ip6[53] & 4 != 0)";
    let capture = farm.client.capture(&farm.network, resets).unwrap();
    let mac = farm.hosts[1].mac(&farm.network).unwrap().to_string();
    farm.order(1, "checker cut");
    assert!(within(SOON, || farm.view(1).shares.iter().all(|it| !it.contains_key(&1))));
    assert_eq!(farm.order(1, "stop"), "stopped");
    let mut told = BTreeSet::new();
    let all = within(SOON, || {
        let lines = capture.lines().unwrap_or_default();
        let its = lines.iter().filter(|line| line.starts_with(&mac));
        // Behind the second arrow is the client's end.
        let ends = its.filter_map(|line| line.split(" > ").nth(2)?.split(' ').next());
        told = ends.map(str::to_owned).collect();
        told.len() >= cut
    });
    assert!(all, "{} of {cut} were told", told.len());
}

/// With beats so far apart that loaded cores are no gap (F6), and that a next process is there
/// before the lease of the one before has ended. What is moved drains for longer than the test runs,
/// so all must be in the first view: where one of them came too late they begin once more.
fn boot(farm: &mut Farm) {
    for spec in &mut farm.specs {
        spec.interval = Duration::from_millis(400);
        spec.drain = Duration::from_mins(2);
    }
    for _ in 0..BOOTS_MAX {
        farm.boot_all();
        if (0..3).all(|id| farm.view(id).drains == 0) {
            return;
        }
        (0..3).for_each(|id| farm.kill(id));
    }
    panic!("they do not begin together: {}", farm.said());
}

/// Opens them once each has its share.
fn hold(farm: &Farm) -> Held {
    farm.settle_evenly(&[0, 1, 2]);
    let to: Vec<SocketAddr> = farm.vips.map(|vip| SocketAddr::new(vip, PORT)).to_vec();
    Held::open(&farm.client, &to, HELD)
}

/// Those who begin now are served by these, whatever the service.
fn new_clients(farm: &Farm, by: &[u8]) {
    for vip in farm.vips {
        let served = farm.connect(vip, 20);
        assert!(served.iter().all(|(_, it)| by.contains(it)), "{:?} {vip}", farm.case);
        let served = farm.connect_to(SocketAddr::new(vip, STICKY), 2);
        assert!(served.iter().all(|(_, it)| by.contains(it)), "{:?} {vip}", farm.case);
        let served = farm.ask_by_udp(SocketAddr::new(vip, UDP), 5);
        assert!(served.iter().all(|it| by.contains(it)), "{:?} {vip}", farm.case);
    }
}
