//! `plane = "auto"`: members choose what all of them can do, and who cannot is refused.

use ha_lab::{Cut, within};

use crate::SOON;
use crate::rig::{CALM, Rig, kept};

/// What every member says of its plane.
fn says(rig: &Rig, node: usize, plane: &str, why: &str) {
    let status = rig.status(node).unwrap();
    let said = status["plane_why"].as_str().unwrap();
    assert!(status["plane"] == plane && said.contains(why), "{node}: {status:#}");
    assert!(rig.daemon(node).output().contains(why), "{}", rig.daemon(node).output());
}

#[test]
fn where_one_member_has_no_bpf_all_choose_nft_and_say_why() {
    let Some(mut rig) = Rig::new("farm_one_nft", 3) else { return };
    // A loaded machine may take so long to start a program, and a second to replace one.
    rig.configure("interval = \"1s\"\nsurvey = \"30s\"\n", "");
    (0..2).for_each(|node| rig.start(node));
    rig.start_without_bpf(2);
    rig.until_serve(&[0, 1, 2]);
    for node in 0..3 {
        says(&rig, node, "nft", "auto: c does not do bpf (the filter needs CAP_BPF");
    }
    let shown = rig.done(0, &["status"]);
    assert!(shown.contains("plane   nft: auto: c does not do bpf"), "{shown}");
    let mut open = rig.connect(40);
    // The next process has BPF, and keeps what is in force.
    rig.done(0, &["restart-daemon"]);
    says(&rig, 0, "nft", "auto: as before the restart");
    rig.until_serve(&[0, 1, 2]);
    assert_eq!(kept(&mut open), open.len());
    // One that begins anew follows those that run.
    rig.daemon(1).kill().unwrap();
    rig.until_serve(&[0, 2]);
    rig.start(1);
    rig.until_serve(&[0, 1, 2]);
    let status = rig.status(1).unwrap();
    assert!(status["plane_why"].as_str().unwrap().contains(" runs with it"), "{status:#}");
}

#[test]
fn where_all_have_bpf_all_choose_it() {
    let shared = format!("{CALM}survey = \"30s\"\n");
    let Some(rig) = Rig::whole("farm_all_bpf", 3, &shared, "") else { return };
    for node in 0..3 {
        says(&rig, node, "bpf", "auto: all 3 members can");
    }
}

#[test]
fn who_cannot_do_what_runs_is_refused_and_the_others_serve_on() {
    let Some(mut rig) = Rig::new("farm_late_nft", 3) else { return };
    rig.configure(CALM, "");
    (0..2).for_each(|node| rig.start(node));
    rig.until_serve(&[0, 1]);
    // Whoever ended first; the other one may have found it at work.
    let first = rig.daemon(0).output() + &rig.daemon(1).output();
    assert!(first.contains("auto: c was not heard within 3.0 s"), "{first}");
    let mut open = rig.connect(40);
    rig.start_without_bpf(2);
    let next = "left out until all members have one plane: mend what is missing";
    for node in 0..3 {
        assert!(rig.daemon(node).wait_for(next, SOON), "{}", rig.daemon(node).output());
    }
    says(&rig, 2, "nft", "runs with bpf, which this machine cannot do (the filter needs CAP_BPF");
    let told =
        || rig.status(0).unwrap()["plane_why"].as_str().unwrap().ends_with("c runs with nft");
    assert!(within(SOON, told), "{:#}", rig.status(0).unwrap());
    rig.until_serve(&[0, 1]);
    assert_eq!(rig.status(2).unwrap()["verdict"], "DOWN");
    assert_eq!(kept(&mut open), open.len());
}

#[test]
fn who_chose_alone_follows_the_farm_that_it_meets() {
    let Some(mut rig) = Rig::new("farm_met", 2) else { return };
    rig.configure(CALM, "");
    let cut = Cut::of(&rig.hosts[1], &rig.network);
    rig.lab.cut(std::slice::from_ref(&cut)).unwrap();
    rig.start_without_bpf(0);
    rig.start(1);
    for (node, plane) in [(0, "nft"), (1, "bpf")] {
        let alone = || rig.status(node).is_some_and(|it| it["full"] == true);
        assert!(within(SOON, alone), "{}", rig.daemon(node).output());
        assert_eq!(rig.status(node).unwrap()["plane"], plane);
    }
    let pid = rig.daemon(1).pid();
    rig.lab.heal(&[cut]).unwrap();
    rig.until_serve(&[0, 1]);
    says(&rig, 1, "nft", "auto: a runs with it");
    assert!(rig.daemon(1).output().contains("begins anew, with nft"));
    assert_eq!(rig.daemon(1).pid(), pid);
    rig.connect(20);
}

/// The first signal asks for an orderly stop, whatever else is under way.
#[test]
fn who_is_told_to_end_while_it_begins_anew_stops_in_order() {
    let Some(mut rig) = Rig::new("farm_anew_end", 2) else { return };
    let it = &rig.nodes[1];
    it.script("web", "start_both", "true").unwrap();
    let slow = "echo begun >> stopped\nsleep 2\necho done >> stopped";
    let scripts = it.script("web", "stop_both", slow).unwrap();
    rig.nodes[0].configure(&rig.text(0, CALM, "")).unwrap();
    let lines = format!("{CALM}scripts = \"{}\"\n", scripts.display());
    it.configure(&rig.text(1, &lines, "")).unwrap();
    let cut = Cut::of(&rig.hosts[1], &rig.network);
    rig.lab.cut(std::slice::from_ref(&cut)).unwrap();
    rig.start_without_bpf(0);
    rig.start(1);
    for node in 0..2 {
        let alone = || rig.status(node).is_some_and(|it| it["full"] == true);
        assert!(within(SOON, alone), "{}", rig.daemon(node).output());
    }
    rig.lab.heal(&[cut]).unwrap();
    let stopped = || rig.nodes[1].wrote("web", "stopped");
    assert!(within(SOON, || stopped() == "begun\n"), "{}", rig.daemon(1).output());
    assert!(rig.daemon(1).output().contains("begins anew, with nft"));
    rig.daemon(1).terminate().unwrap();
    let status = rig.daemon(1).wait(SOON).unwrap().expect("it ends");
    assert!(status.success(), "{}", rig.daemon(1).output());
    assert_eq!(stopped(), "begun\ndone\n", "{}", rig.daemon(1).output());
}

#[test]
fn who_is_told_to_end_while_it_asks_leaves_nothing() {
    let Some(mut rig) = Rig::new("farm_asks", 2) else { return };
    rig.configure("survey = \"30s\"\n", "");
    rig.start(0);
    let asks = "asks the other members what they can do";
    assert!(rig.daemon(0).wait_for(asks, SOON), "{}", rig.daemon(0).output());
    rig.daemon(0).terminate().unwrap();
    let status = rig.daemon(0).wait(SOON).unwrap().expect("it ends");
    assert!(status.success(), "{}", rig.daemon(0).output());
    assert!(!rig.hosts[0].holds(rig.vip()).unwrap(), "no address");
    assert!(!rig.pins(0).exists(), "no filter");
}
