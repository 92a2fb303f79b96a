//! Sections 2 and 3 of DOMAIN.md: what each kind of vote makes of a cut.

use std::net::SocketAddr;
use std::time::Duration;

use ha_lab::{Cut, Host, Prober, Process, Turns, now, within};

use crate::ends::{Ends, until_renewed};
use crate::rig::{self, PORT, Rig, Vote, no_strays, status, told, until_answers};
use crate::{PACE, SOON};

/// L of this file's pairs.
const LEASE: Duration = Duration::from_millis(1_500);

/// Long enough for a node to look outside and to take over, many times over.
const AWHILE: Duration = Duration::from_secs(3);

#[test]
fn one_network_a_lost_primary_is_replaced_and_comes_back_as_secondary() {
    let Some(mut rig) = Rig::whole("one_network", Vote::None, 1) else { return };
    let probers = rig.probers();
    until_answers(&probers, "a");
    let cut = rig.cables(0);
    rig.lab.cut(&cut).unwrap();
    rig.until_role(1, &["Alone ready"]);
    until_answers(&probers, "b");
    // Nobody told the former primary either: it goes on, and wins when they meet.
    rig.until_role(0, &["Alone ready"]);
    rig.lab.heal_all().unwrap();
    rig.until_whole(0);
    until_answers(&probers, "a");
}

#[test]
fn two_networks_a_cut_of_production_moves_nothing() {
    let Some(mut rig) = Rig::whole("two_networks", Vote::None, 2) else { return };
    let before = [0, 1].map(|node| rig.wrote(node, "roles"));
    let cut = Cut::of(&rig.hosts[0], &rig.networks[0]);
    rig.lab.cut(&[cut]).unwrap();
    for node in [0, 1] {
        let daemon = rig.daemon(node);
        assert!(daemon.wait_for("LinkDown", crate::SOON), "{}", daemon.output());
    }
    rig.lab.heal_all().unwrap();
    for node in [0, 1] {
        let up = || rig.daemon(node).output().matches("LinkUp").count() == 3;
        assert!(ha_lab::within(crate::SOON, up), "{}", rig.daemon(node).output());
    }
    rig.until_whole(0);
    assert_eq!([0, 1].map(|node| rig.wrote(node, "roles")), before, "PRIM and SECOND throughout");
}

/// By the network of the clients, as it is told to: the address outside is reached by the other one
/// all the time, where the nodes are cut from each other as well, and their routes prefer that.
#[test]
fn ping_the_side_that_reaches_outside_serves() {
    let Some(mut rig) = Rig::new("ping", Vote::Ping, 2) else { return };
    rig.configure("", "");
    let [front, back] = [&rig.networks[0], &rig.networks[1]];
    let (outside, way) = (rig.outside.v4(front), rig.outside.v4(back));
    let (by_routes, by_front) = (format!("[\"{way}\"]"), format!("[\"{outside}%eth0\"]"));
    let isolated =
        [Cut::of(&rig.hosts[0], front), Cut::between(&rig.hosts[0], &rig.hosts[1], back)];
    for node in [0, 1] {
        let detour = format!("route add {outside} via {way} dev eth1");
        told(rig.hosts[node].command("ip").args(detour.split(' ')));
        rig.replace(node, &[(&by_routes, &by_front)]);
        rig.start(node);
    }
    rig.until_whole(0);
    let probers = rig.probers();
    until_answers(&probers, "a");
    rig.lab.cut(&isolated).unwrap();
    rig.until_role(0, &["Wait", "Wait ready"]);
    rig.until_role(1, &["Alone ready"]);
    rig.until_holds(1);
    until_answers(&probers, "b");
    rig.lab.heal_all().unwrap();
    rig.until_whole(1);
    // The secondary is cut off: who serves does not change.
    rig.lab.cut(&isolated).unwrap();
    rig.until_role(1, &["Alone ready"]);
    rig.until_role(0, &["Wait", "Wait ready"]);
    rig.until_holds(1);
    rig.lab.heal_all().unwrap();
    rig.until_whole(1);
    let [v4, v6] = probers.map(|prober| prober.finish().unwrap());
    for report in [v4, v6] {
        let turns = report.turns(&["a", "b"]);
        assert!(report.strays(&turns).is_empty(), "{:?}", report.strays(&turns));
    }
}

/// A pair whose `ping` is three addresses: two hosts that answer echoes, and a port on a third, each
/// asked from another kind of place. With it the two hosts, and what listens at the port.
fn three_addresses(test: &str) -> Option<(Rig, [Host; 2], Process)> {
    let mut rig = Rig::new(test, Vote::Ping, 1)?;
    rig.configure("", "");
    let network = rig.networks[0].clone();
    let hosts = ["w2", "w3"].map(|name| rig.lab.host(name, &[&network]).unwrap());
    let [first, second] = [&rig.outside, &hosts[0]].map(|host| host.v4(&network));
    let third = SocketAddr::from((hosts[1].v4(&network), 7100));
    let listens = hosts[1].serve(&[third]).unwrap();
    for node in 0..2 {
        let own = rig.hosts[node].v4(&network);
        let three = format!("ping = [\"{first}%eth0\", \"{second}\", \"{third}%{own}\"]");
        rig.replace(node, &[(&format!("ping = [\"{first}\"]"), &three)]);
        rig.start(node);
    }
    rig.until_whole(0);
    Some((rig, hosts, listens))
}

#[test]
fn ping_one_dead_address_of_three_changes_nothing() {
    for port_is_dead in [false, true] {
        let Some((mut rig, hosts, listens)) = three_addresses("ping_one") else { return };
        let before = [0, 1].map(|node| rig.wrote(node, "roles"));
        let dead = Cut::of(&hosts[0], &rig.networks[0]);
        if port_is_dead { listens.kill() } else { rig.lab.cut(&[dead]) }.unwrap();
        let probers = rig.probers();
        until_answers(&probers, "a");
        assert_eq!([0, 1].map(|node| rig.wrote(node, "roles")), before, "it is asked in need only");
        let cut = rig.cables(0);
        rig.lab.cut(&cut).unwrap();
        rig.until_role(0, &["Wait", "Wait ready"]);
        rig.until_role(1, &["Alone ready"]);
        rig.until_holds(1);
        until_answers(&probers, "b");
        rig.lab.heal(&cut).unwrap();
        rig.until_whole(1);
    }
}

#[test]
fn ping_two_dead_addresses_of_three_leave_nobody_who_may_go_on() {
    for port_is_dead in [false, true] {
        let Some((mut rig, hosts, listens)) = three_addresses("ping_two") else { return };
        let network = rig.networks[0].clone();
        let outside = Cut::of(&rig.outside, &network);
        let dead = Cut::of(&hosts[0], &network);
        rig.lab.cut(&[outside]).unwrap();
        if port_is_dead { listens.kill() } else { rig.lab.cut(&[dead]) }.unwrap();
        let probers = rig.probers();
        until_answers(&probers, "a");
        let cut = rig.cables(0);
        rig.lab.cut(&cut).unwrap();
        for node in [0, 1] {
            rig.until_role(node, &["Wait", "Wait ready"]);
        }
        let serves = |rig: &Rig| (0..2).any(|node| !rig.holds(node, false));
        assert!(within(SOON, || !serves(&rig)));
        assert!(!within(AWHILE, || serves(&rig)), "{} {}", rig.role(0), rig.role(1));
        // One look in each isolation: what answers later proves nothing of then.
        rig.lab.heal_all().unwrap();
        assert!(within(SOON, || (0..2).any(|node| rig.role(node) == "Prim ready")));
        rig.until_whole(usize::from(rig.role(1) == "Prim ready"));
    }
}

#[test]
fn arbiter_a_primary_that_is_cut_off_stops_and_the_other_goes_on() {
    let Some(mut rig) = Rig::whole("arbiter", Vote::Arbiter, 1) else { return };
    let probers = rig.probers();
    until_answers(&probers, "a");
    let cut = rig.cables(0);
    rig.lab.cut(&cut).unwrap();
    rig.until_role(1, &["Alone ready"]);
    rig.until_role(0, &["Wait", "Wait ready"]);
    rig.until_holds(1);
    until_answers(&probers, "b");
    rig.lab.heal_all().unwrap();
    rig.until_whole(1);
    no_strays(probers);
}

/// R5, and G2: the daemon runs, clients reach it, and neither its peer nor the witness does. No
/// slack: the right ends S before the bound, and a sixth of a lease before that.
#[test]
fn arbiter_a_primary_that_only_clients_reach_stops_within_its_lease() {
    let Some(mut rig) = Rig::whole("arbiter_deaf", Vote::Arbiter, 1) else { return };
    let probers = rig.probers();
    let stubborn = stubborn_probers(&mut rig);
    for probers in [&probers, &stubborn] {
        until_answers(probers, "a");
    }
    until_renewed(&rig, 0, LEASE);
    let network = &rig.networks[0];
    let cuts = [&rig.hosts[1], &rig.outside].map(|from| Cut::between(&rig.hosts[0], from, network));
    rig.lab.cut(&cuts).unwrap();
    // No renewal that was sent later is answered.
    let bound = now() + LEASE;
    let ends = Ends::watch(&rig, 0);
    let late = [ends.runs, ends.held[0], ends.held[1]].map(|end| end.saturating_since(bound));
    assert_eq!(late, [Duration::ZERO; 3], "the service ran, it had its addresses");
    rig.until_role(1, &["Alone ready"]);
    rig.until_role(0, &["Wait", "Wait ready"]);
    rig.until_holds(1);
    until_answers(&probers, "b");
    let stopped = || rig.events(0) == "populated 0\nfrozen 0\n";
    assert!(within(SOON, stopped), "{}", rig.events(0));
    rig.lab.heal_all().unwrap();
    rig.until_whole(1);
    assert_eq!(rig.wrote(0, "calls").lines().count(), 2, "started once, stopped once");
    let reports = probers.into_iter().chain(stubborn).map(|prober| prober.finish().unwrap());
    let reports: Vec<_> = reports.collect();
    let answers = |name: &'static str| {
        reports.iter().flat_map(|it| &it.answers).filter(move |answer| &*answer.by == name)
    };
    let last = answers("a").map(|answer| answer.sent).max().unwrap();
    let first = answers("b").map(|answer| answer.heard).min().unwrap();
    assert!(last <= bound, "it answered {:?} too late", last.saturating_since(bound));
    assert!(last < first, "both served for {:?}", last.saturating_since(first));
    // Nothing of it was left frozen: it serves again when it is its turn.
    let swap = || rig::ha(&rig, 1).args(["swap", "--yes"]).output().unwrap();
    assert!(within(SOON, || swap().status.success()), "{}", status(&rig, 1));
    rig.until_whole(0);
    until_answers(&rig.probers(), "a");
}

/// Clients that ask the first node whatever anybody announces: they see when it stops itself, and
/// not when the other one took its addresses over.
fn stubborn_probers(rig: &mut Rig) -> [Prober; 2] {
    let network = rig.networks[0].clone();
    let host = rig.lab.host("stubborn", &[&network]).unwrap();
    let mac = rig.mac(0);
    rig.addresses().map(|address| {
        host.pin_neighbour(address, mac, &network).unwrap();
        Prober::start(&host, (address, PORT).into(), PACE).unwrap()
    })
}

#[test]
fn arbiter_a_secondary_that_it_does_not_answer_is_no_protection() {
    let Some(mut rig) = Rig::whole("arbiter_b", Vote::Arbiter, 1) else { return };
    let until_they_say = |rig: &Rig, said: [&str; 2]| {
        for (node, said) in said.into_iter().enumerate() {
            let says = || status(rig, node).contains(said);
            assert!(within(SOON, says), "{node}: {}", status(rig, node));
        }
    };
    until_they_say(&rig, ["  PROTECTED"; 2]);
    let cut = Cut::between(&rig.hosts[1], &rig.outside, &rig.networks[0]);
    rig.lab.cut(&[cut]).unwrap();
    // The primary is answered, and says that the other one, whose name it was not told, is not.
    let silent = ["the witness does not answer node1", "the witness does not answer b"];
    until_they_say(&rig, silent);
    rig.lab.heal_all().unwrap();
    until_they_say(&rig, ["  PROTECTED"; 2]);
}

#[test]
fn arbiter_a_cut_between_the_nodes_moves_nothing() {
    let Some(mut rig) = Rig::whole("arbiter_between", Vote::Arbiter, 1) else { return };
    let probers = rig.probers();
    until_answers(&probers, "a");
    let cut = rig.between();
    rig.lab.cut(&cut).unwrap();
    rig.until_role(0, &["Alone ready"]);
    rig.until_role(1, &["Wait", "Wait ready"]);
    rig.lab.heal_all().unwrap();
    rig.until_whole(0);
    for report in probers.map(|prober| prober.finish().unwrap()) {
        let strays = report.strays(&Turns::of("a"));
        assert!(strays.is_empty(), "{strays:?}");
    }
    assert_eq!(rig.wrote(0, "calls").lines().count(), 1, "no restart");
    assert_eq!(rig.wrote(1, "calls"), "");
}
