//! What a prober tells.

use std::net::IpAddr;
use std::time::Duration;

use ha_lab::{Lab, Prober, Turns, now};

use crate::{PACE, PORT, SOON};

#[test]
fn a_moved_address_is_seen_as_one_gap_and_two_names() {
    let test = "a_moved_address_is_seen_as_one_gap_and_two_names";
    let Some(mut lab) = Lab::root_or_skip(test) else { return };
    let network = lab.bridge().unwrap();
    let [a, b, client] = ["a", "b", "client"].map(|name| lab.host(name, &[&network]).unwrap());
    for address in [IpAddr::from(network.v4(100)), IpAddr::from(network.v6(100))] {
        let target = (address, PORT).into();
        let _services = [a.serve(&[target]).unwrap(), b.serve(&[target]).unwrap()];
        a.add_address(address, &network).unwrap();
        let prober = Prober::start(&client, target, PACE).unwrap();
        assert!(prober.wait_for("a", SOON));
        a.remove_address(address, &network).unwrap();
        assert!(!a.holds(address).unwrap());
        let between = now();
        b.add_address(address, &network).unwrap();
        assert!(b.holds(address).unwrap());
        client.forget_neighbours().unwrap(); // nobody announces it here
        assert!(prober.wait_for("b", SOON));
        assert_eq!(&*prober.last().unwrap().by, "b");
        let report = prober.finish().unwrap();

        let turns = Turns::of("a").then("b", between);
        let names: Vec<&str> = report.by_name().into_keys().collect();
        assert_eq!(names, ["a", "b"]);
        assert!(report.strays(&turns).is_empty(), "{:?}", report.strays(&turns));
        let gap = report.between(report.answers[0].heard, report.ended).worst(&turns);
        assert!(gap.from < between && between < gap.to, "{gap:?} {between}");
        let seen = report.turns(&["a", "b"]);
        assert_eq!(seen, Turns::of("a").then("b", gap.to));
        b.remove_address(address, &network).unwrap();
    }
}

#[test]
fn it_keeps_its_pace() {
    let Some(mut lab) = Lab::root_or_skip("it_keeps_its_pace") else { return };
    let network = lab.bridge().unwrap();
    let [a, client] = ["a", "client"].map(|name| lab.host(name, &[&network]).unwrap());
    let target = (a.v4(&network), PORT).into();
    let _service = a.serve(&[target]).unwrap();
    let prober = Prober::start(&client, target, PACE).unwrap();
    let hundredth = |prober: &Prober| prober.last().is_some_and(|answer| answer.number >= 100);
    assert!(ha_lab::within(SOON, || hundredth(&prober)));
    let report = prober.finish().unwrap();
    let lasted = report.ended.saturating_since(report.began);
    let due = (lasted.as_micros() / PACE.as_micros()) as u64;
    let behind = (report.late.as_micros() / PACE.as_micros()) as u64;
    // The end comes up to a request's time after the last, and the one under way may be late.
    assert!(report.asked <= due + 1, "{} of {due}", report.asked);
    assert!(report.asked + behind + 100 >= due, "{} of {due}", report.asked);
    assert!(report.answers.windows(2).all(|pair| pair[0].heard <= pair[1].heard));
    assert!(report.answers.len() as u64 <= report.asked);
    println!("late by {:?} at worst", report.late);
}

#[test]
fn nobody_there_is_a_gap_of_the_whole_time() {
    let Some(mut lab) = Lab::root_or_skip("nobody_there_is_a_gap_of_the_whole_time") else {
        return;
    };
    let network = lab.bridge().unwrap();
    let client = lab.host("client", &[&network]).unwrap();
    let prober = Prober::start(&client, (network.v4(100), PORT).into(), PACE).unwrap();
    assert!(!prober.wait_for("a", Duration::from_millis(100)));
    assert_eq!(prober.last(), None);
    let report = prober.finish().unwrap();
    let gap = report.worst(&Turns::of("a"));
    assert_eq!((gap.from, gap.to), (report.began, report.ended));
}

#[test]
fn a_prober_that_cannot_run_says_so() {
    let Some(mut lab) = Lab::root_or_skip("a_prober_that_cannot_run_says_so") else { return };
    let client = lab.host("client", &[]).unwrap();
    let target = "10.77.1.1:7000".parse().unwrap();
    let prober = Prober::start(&client, target, Duration::from_micros(1)).unwrap();
    let error = prober.finish().unwrap_err().to_string();
    assert_eq!(error, "the prober failed: exit status: 1");
}
