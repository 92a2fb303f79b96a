//! Sections 2 and 3 of DOMAIN.md: what each kind of vote makes of a cut.

use ha_lab::{Cut, Turns, within};

use crate::SOON;
use crate::rig::{Rig, Vote, status, until_answers};

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

#[test]
fn ping_the_side_that_reaches_outside_serves() {
    let Some(mut rig) = Rig::whole("ping", Vote::Ping, 1) else { return };
    let probers = rig.probers();
    until_answers(&probers, "a");
    let cut = rig.cables(0);
    rig.lab.cut(&cut).unwrap();
    rig.until_role(0, &["Wait", "Wait ready"]);
    rig.until_role(1, &["Alone ready"]);
    rig.until_holds(1);
    until_answers(&probers, "b");
    rig.lab.heal_all().unwrap();
    rig.until_whole(1);
    // The secondary is cut off: who serves does not change.
    let cut = rig.cables(0);
    rig.lab.cut(&cut).unwrap();
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
    for report in probers.map(|prober| prober.finish().unwrap()) {
        let turns = report.turns(&["a", "b"]);
        assert!(report.strays(&turns).is_empty(), "{:?}", report.strays(&turns));
    }
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
