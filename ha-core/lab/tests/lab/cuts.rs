//! What a cut cuts, and what it leaves.

use std::net::IpAddr;
use std::time::Duration;

use ha_lab::{Bridge, Cut, Host, Lab, Prober, Process, Traffic, Turns, now, within};

use crate::{PACE, PORT, SOON};

/// So long without an answer is a cut: hundreds of requests.
const QUIET: Duration = Duration::from_millis(300);

/// A server and a client, each asking the other.
struct Pair {
    lab: Lab,
    network: Bridge,
    server: Host,
    client: Host,
    _services: [Process; 2],
}

impl Pair {
    fn new(test: &str) -> Option<Self> {
        let mut lab = Lab::root_or_skip(test)?;
        let network = lab.bridge().unwrap();
        let server = lab.host("server", &[&network]).unwrap();
        let client = lab.host("client", &[&network]).unwrap();
        let both = |host: &Host| {
            let addresses: [IpAddr; 2] = [host.v4(&network).into(), host.v6(&network).into()];
            host.serve(&addresses.map(|address| (address, PORT).into())).unwrap()
        };
        let services = [both(&server), both(&client)];
        Some(Self { lab, network, server, client, _services: services })
    }

    fn v4(&self) -> Prober {
        let target = (self.server.v4(&self.network), PORT).into();
        Prober::start(&self.client, target, PACE).unwrap()
    }

    fn v6(&self) -> Prober {
        let target = (self.server.v6(&self.network), PORT).into();
        Prober::start(&self.client, target, PACE).unwrap()
    }
}

/// Whether nothing is heard for a while, of what is asked from now on.
fn is_quiet(prober: &Prober) -> bool {
    !prober.wait_for("server", QUIET)
}

fn answers(prober: &Prober) -> bool {
    prober.wait_for("server", SOON)
}

#[test]
fn a_cut_cable_is_a_gap_from_the_cut_to_the_heal() {
    let Some(mut pair) = Pair::new("a_cut_cable_is_a_gap_from_the_cut_to_the_heal") else { return };
    let prober = pair.v4();
    assert!(answers(&prober));
    let cut = Cut::of(&pair.server, &pair.network);
    let before = now();
    pair.lab.cut(std::slice::from_ref(&cut)).unwrap();
    let done = now();
    assert!(is_quiet(&prober));
    pair.lab.heal(&[cut]).unwrap();
    assert!(answers(&prober));
    let gap = prober.finish().unwrap().worst(&Turns::of("server"));
    println!("the cut took {:?}", done.saturating_since(before));
    assert!(gap.length() >= QUIET, "{gap:?}");
    assert!(gap.from <= done, "an answer at {} came after the cut at {done}", gap.from);
}

#[test]
fn each_way_is_cut_by_itself() {
    let Some(mut pair) = Pair::new("each_way_is_cut_by_itself") else { return };
    let there = pair.v4();
    assert!(answers(&there));
    let lab = &mut pair.lab;
    let capture = pair.server.capture(&pair.network, "udp port 7000").unwrap();
    let requests = |capture: &ha_lab::Capture| capture.lines().unwrap().len();

    let deaf = Cut::incoming(&pair.server, &pair.network);
    lab.cut(std::slice::from_ref(&deaf)).unwrap();
    assert!(is_quiet(&there));
    let seen = requests(&capture);
    assert!(is_quiet(&there));
    assert_eq!(requests(&capture), seen, "the server hears nothing");

    lab.cut(&[Cut::outgoing(&pair.server, &pair.network)]).unwrap();
    lab.heal(&[deaf]).unwrap();
    assert!(within(SOON, || requests(&capture) > seen), "the server hears again");
    assert!(is_quiet(&there), "and is not heard");
    lab.heal_all().unwrap();
    assert!(answers(&there));
}

#[test]
fn one_family_is_cut_and_the_other_goes_on() {
    let Some(mut pair) = Pair::new("one_family_is_cut_and_the_other_goes_on") else { return };
    let (v4, v6) = (pair.v4(), pair.v6());
    assert!(answers(&v4));
    assert!(answers(&v6));
    let cut = Cut::of(&pair.server, &pair.network);
    pair.lab.cut(&[cut.clone().only(Traffic::Ipv6)]).unwrap();
    assert!(is_quiet(&v6));
    assert!(answers(&v4));
    pair.lab.cut(&[cut.clone().only(Traffic::Ipv4)]).unwrap();
    pair.lab.heal(&[cut.only(Traffic::Ipv6)]).unwrap();
    assert!(answers(&v6));
    assert!(is_quiet(&v4));
}

#[test]
fn two_hosts_are_cut_from_each_other_and_from_nobody_else() {
    let test = "two_hosts_are_cut_from_each_other_and_from_nobody_else";
    let Some(mut pair) = Pair::new(test) else { return };
    let other = pair.lab.host("other", &[&pair.network]).unwrap();
    let from_client = pair.v4();
    let target = (pair.server.v4(&pair.network), PORT).into();
    let from_other = Prober::start(&other, target, PACE).unwrap();
    assert!(answers(&from_client));
    assert!(answers(&from_other));
    let both = Cut::between(&pair.server, &pair.client, &pair.network);
    let one = Cut::path(&pair.client, &pair.server, &pair.network);
    pair.lab.cut(&[both.clone(), one.clone()]).unwrap();
    assert!(is_quiet(&from_client));
    assert!(answers(&from_other));
    pair.lab.heal(&[both]).unwrap();
    assert!(is_quiet(&from_client), "the other cut is still there");
    pair.lab.heal(&[one]).unwrap();
    assert!(answers(&from_client));
}
