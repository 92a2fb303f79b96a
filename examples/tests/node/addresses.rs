//! FIELD.md, the rows of virtual addresses: 1, 2, 3, 5, 6 and 7, and a duplicate.

use std::net::{IpAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ha_core::proto::Instant;
use ha_lab::{Answer, Capture, Cut, Host, Prober, Report, Traffic, now, within};
use serde_json::Value;

use crate::rig::{self, ETCD_PORT, PORT, Rig, Vote, WITNESS_PORT, mute, told, until_answers};
use crate::{PACE, SOON};

/// Long enough for a node to lose its peer many times over, if it did.
const AWHILE: Duration = Duration::from_secs(2);

/// A client never asks again by itself: what moves its entries are announcements alone.
fn trusting(client: &Host) {
    for family in ["ipv4", "ipv6"] {
        for (what, long) in
            [("base_reachable_time_ms", "86400000"), ("delay_first_probe_time", "86400")]
        {
            client.sysctl(&format!("net.{family}.neigh.eth0.{what}"), long).unwrap();
        }
    }
}

/// Waits until the client sends what is for each address to a node.
fn until_believed(rig: &Rig, node: usize) {
    until_believed_by(&rig.client, rig, node);
}

fn until_believed_by(client: &Host, rig: &Rig, node: usize) {
    for address in rig.addresses() {
        let entry = || client.neighbour(address).unwrap().and_then(|entry| entry.mac);
        assert!(within(SOON, || entry() == Some(rig.mac(node))), "{address}: {:?}", entry());
    }
}

/// By when traffic is at the winner after a heal, for good: row 1 says so. What comes on top is the
/// longest pause of a process that the test itself saw meanwhile.
const RIGHT: Duration = Duration::from_secs(1);

/// A time without an answer that is one: some requests in a row.
const OUTAGE: Duration = Duration::from_millis(50);

/// How long after a heal the client is watched: beyond the burst's step at 3 s.
const WATCHED: Duration = Duration::from_secs(4);

/// How long the burst takes.
const BURST: Duration = Duration::from_secs(10);

/// When an address is announced after it was taken: row 3 says so.
const STEPS: [Duration; 7] = [
    Duration::ZERO,
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(400),
    Duration::from_secs(1),
    Duration::from_secs(3),
    BURST,
];

/// Between two looks at what takes a program to see.
const LOOKS: Duration = Duration::from_millis(100);

#[test]
fn field_01_a_short_double_master_leaves_no_stale_neighbour() {
    let Some(mut rig) = Rig::new("field_01", Vote::None, 1) else { return };
    // Nothing is announced again for its own sake.
    rig.configure("", "refresh = \"5m\"");
    rig.start(0);
    rig.start(1);
    rig.until_whole(0);
    trusting(&rig.client);
    // The last one outlasts the burst with which an address is announced.
    let started = |rig: &Rig| rig.wrote(1, "calls").matches("start").count();
    for split in [20, 1_000, 20_000].map(Duration::from_millis) {
        let (probers, before) = (rig.probers(), started(&rig));
        until_answers(&probers, "a");
        let cut = rig.between();
        rig.lab.cut(&cut).unwrap();
        let cut_at = now();
        assert!(within(SOON, || now().saturating_since(cut_at) >= split));
        rig.lab.heal_all().unwrap();
        let healed = now();
        // By how much one was late at worst, it does not say when: these begin now.
        let since = rig.probers();
        let paused = watch_until(|| now() >= healed + WATCHED, || waits(&rig, 0));
        rig.until_whole(0);
        until_answers(&since, "a");
        until_believed(&rig, 0);
        for (family, prober) in ["IPv4", "IPv6"].iter().zip(since) {
            let report = prober.finish().unwrap();
            let late = report.late.max(paused);
            let took = right_after(&report, healed, late);
            println!("split of {split:?}, {family}: right after {took:?}, {late:?} late");
            assert!(took <= RIGHT + late, "{family}, split of {split:?}: {took:?}, {late:?} late");
        }
        // Until here they kept what the client believes in use.
        drop(probers);
        let double = started(&rig) > before;
        assert!(double || split < BURST, "there was a double master");
    }
}

/// Waits until it is over; the longest pause of a process: of this one, which wants to run each
/// millisecond, or of another that had something to do meanwhile.
fn watch_until(over: impl Fn() -> bool, has_work: impl Fn() -> bool) -> Duration {
    let (mut last, mut idle, mut longest) = (now(), now(), Duration::ZERO);
    let past = || {
        let works = has_work();
        let at = now();
        longest = longest.max(at.saturating_since(last));
        if works {
            longest = longest.max(at.saturating_since(idle));
        } else {
            idle = at;
        }
        last = at;
        over()
    };
    assert!(within(SOON, past));
    longest
}

/// Whether a request waits in a socket of a node's service. One that its client's kernel keeps
/// while it asks where the address is has not come so far: that is what row 1 is about, and no
/// process is late.
fn waits(rig: &Rig, node: usize) -> bool {
    let process = rig.wrote(node, "pid");
    let port = format!(":{PORT:04X}");
    ["udp", "udp6"].iter().any(|table| {
        let path = format!("/proc/{}/net/{table}", process.trim());
        let sockets = std::fs::read_to_string(&path).unwrap_or_else(|it| panic!("{path}: {it}"));
        sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|line| {
            // Bytes to be sent, and to be read.
            line[1].ends_with(&port) && !line[4].ends_with(":00000000")
        })
    })
}

/// How long after the heal it was until the winner answered, and alone, for good. The service of a
/// loaded machine drops requests while it waits for a core, which is no longer than it is `late`.
fn right_after(report: &Report, healed: Instant, late: Duration) -> Duration {
    let mut answers: Vec<_> = report.answers.iter().collect();
    answers.sort_by_key(|answer| answer.number);
    let winner = |answer: &Answer| &*answer.by == "a";
    let (mut right, mut last, mut won) = (healed, report.began, true);
    for answer in &answers {
        let silent = answer.sent.saturating_since(last) > OUTAGE + late;
        if silent || !won || !winner(answer) {
            right = answer.sent;
        }
        (last, won) = (answer.sent, winner(answer));
    }
    assert!(won && !answers.is_empty(), "the winner answers at last");
    right.saturating_since(healed)
}

#[test]
fn field_02_the_switch_does_not_forget_an_owner_that_only_listens() {
    let Some(mut rig) = Rig::new("field_02", Vote::None, 2) else { return };
    // Beats and records go by the second network; on the first the owner says nothing but its name.
    // What its kernel says there by itself, which a network of IPv4 has none of, is not sent.
    rig.beats = 1..2;
    mute(&rig.hosts[0]);
    rig.configure("", "refresh = \"1s\"");
    rig.start(0);
    rig.start(1);
    rig.until_whole(0);
    let quiet = rig.networks[0].clone();
    let ageing = Duration::from_secs(5);
    quiet.set_ageing(ageing).unwrap();
    // What is for an address that it forgot is lost, and the client never asks where it is.
    quiet.set_flooding(&rig.hosts[0], false).unwrap();
    let mac = rig.mac(0);
    for address in rig.addresses() {
        rig.client.pin_neighbour(address, mac, &quiet).unwrap();
    }
    let known = || {
        let learned = quiet.learned().unwrap();
        learned.iter().any(|entry| entry.mac == mac && entry.host == "a")
    };
    assert!(within(SOON, known));
    // The burst with which an address is announced has a step that is longer than the ageing time.
    let forgotten = || {
        within(LOOKS, || false);
        !known()
    };
    assert!(!within(BURST + ageing * 2, forgotten), "{:?}", quiet.learned().unwrap());
    until_answers(&rig.probers(), "a");
}

/// One takeover, before two clients: one that takes a claim of which it has no entry, and one that
/// does not.
#[test]
fn field_03_announced_by_requests_and_by_replies_to_any_kind_of_client() {
    let Some(mut rig) = Rig::whole("field_03", Vote::None, 1) else { return };
    let clients = [rig.client.clone(), rig.outside.clone()];
    for (client, accept) in clients.iter().zip(["0", "1"]) {
        client.sysctl("net.ipv4.conf.eth0.arp_accept", accept).unwrap();
        trusting(client);
    }
    let probers = rig.probers();
    until_answers(&probers, "a");
    let others = rig.targets().map(|target| Prober::start(&rig.outside, target, PACE).unwrap());
    until_answers(&others, "a");
    let network = rig.networks[0].clone();
    let capture = rig.client.capture(&network, "arp or icmp6").unwrap();
    let cut = rig.cables(0);
    let over = AtomicBool::new(false);
    let waited = rig.daemon(1).waited().unwrap();
    let paused = thread::scope(|scope| {
        let watch = scope.spawn(|| watch_until(|| over.load(Ordering::Relaxed), || false));
        rig.lab.cut(&cut).unwrap();
        until_answers(&probers, "b");
        // What comes beyond the last step would be seen, too.
        within(BURST + LOOKS * 5, || false);
        over.store(true, Ordering::Relaxed);
        watch.join().unwrap()
    });
    let paused = paused + rig.daemon(1).waited().unwrap().saturating_sub(waited);
    for (client, probers) in clients.iter().zip([&probers, &others]) {
        until_answers(probers, "b");
        until_believed_by(client, &rig, 1);
    }
    let file = capture.finish().unwrap();
    for (kind, times) in KINDS.iter().zip(announcements(&rig, &file)) {
        println!("{kind}: {times:?}, paused for {paused:?}");
        assert!(times.len() <= STEPS.len(), "{kind}: {times:?}");
        for (at, step) in STEPS.into_iter().enumerate() {
            // Nearer to its own step than to another one, but for how long the machine stood still, or the daemon waited for a core: what
            // is late says all that was due until then, so a long pause makes two of them one.
            let before = at.checked_sub(1).map_or(Duration::ZERO, |it| (STEPS[it] + step) / 2);
            let after = STEPS.get(at + 1).map_or(Duration::MAX, |it| (*it + step) / 2);
            let its = before.saturating_sub(paused)..=after.saturating_add(paused);
            let is_there = times.iter().any(|at| its.contains(at));
            assert!(is_there, "{kind}: nothing at {step:?}: {times:?}, paused for {paused:?}");
        }
    }
}

/// How an address is announced: by both opcodes of ARP, or by an advertisement.
const KINDS: [&str; 3] = ["requests", "replies", "advertisements"];

/// When `b` announced the addresses to all in a capture, of each kind, since the first time.
fn announcements(rig: &Rig, file: &Path) -> [Vec<Duration>; 3] {
    let shown = told(Command::new("tcpdump").args(["-tt", "-e", "-nn", "-r"]).arg(file));
    let source = rig.mac(1).to_string();
    let [v4, v6] = rig.addresses();
    let to = |group: &str| format!(" {source} > {group}, ");
    let (all, nodes) = (to("ff:ff:ff:ff:ff:ff"), to("33:33:00:00:00:01"));
    let kinds: [(&str, &[String]); 3] = [
        (
            &all,
            &[
                format!("Request who-has {v4} (ff:ff:ff:ff:ff:ff) tell {v4}"),
                format!("Request who-has {v4} tell {v4}"),
            ],
        ),
        (&all, &[format!("Reply {v4} is-at {source}")]),
        (&nodes, &[format!("tgt is {v6}")]),
    ];
    kinds.map(|(to, texts)| {
        let is = |line: &&str| line.contains(to) && texts.iter().any(|text| line.contains(text));
        let stamps = shown.lines().filter(is).map(|line| {
            let (seconds, rest) = line.split_once('.').unwrap();
            let (micros, _) = rest.split_once(' ').unwrap();
            let micros = micros.parse().unwrap();
            Duration::from_secs(seconds.parse().unwrap()) + Duration::from_micros(micros)
        });
        let stamps: Vec<_> = stamps.collect();
        stamps.iter().map(|at| at.saturating_sub(stamps[0])).collect()
    })
}

#[test]
fn field_05_an_address_that_others_remove_is_put_back_or_the_node_steps_down() {
    let Some(mut rig) = Rig::whole("field_05", Vote::None, 1) else { return };
    for address in rig.addresses() {
        rig.hosts[0].remove_address(address, &rig.networks[0]).unwrap();
        assert!(within(SOON, || rig.hosts[0].holds(address).unwrap()), "{address} is put back");
    }
    assert_eq!(rig.role(0), "Prim ready");
    for node in [0, 1] {
        rig.daemon(node).terminate().unwrap();
        rig.daemon(node).wait(SOON).unwrap().expect("it ends in order");
    }
    rig.configure("", "on_removed = \"step_down\"");
    for node in [1, 0] {
        rig.start(node);
    }
    assert!(within(SOON, || (0..2).any(|node| rig.role(node) == "Prim ready")));
    let primary = usize::from(rig.role(1) == "Prim ready");
    rig.until_whole(primary);
    let [first, _] = rig.addresses();
    rig.hosts[primary].remove_address(first, &rig.networks[0]).unwrap();
    rig.until_whole(1 - primary);
}

#[test]
fn field_06_both_families_answer_at_once_on_hosts_that_look_for_duplicates() {
    let Some(mut rig) = Rig::whole("field_06", Vote::None, 1) else { return };
    for host in &rig.hosts {
        for scope in ["all", "default", "eth0"] {
            host.sysctl(&format!("net.ipv6.conf.{scope}.accept_dad"), "1").unwrap();
            // Each takes a second, in which nobody answers.
            host.sysctl(&format!("net.ipv6.conf.{scope}.dad_transmits"), "4").unwrap();
        }
    }
    let probers = rig.probers();
    until_answers(&probers, "a");
    let cut = rig.cables(0);
    rig.lab.cut(&cut).unwrap();
    let over = AtomicBool::new(false);
    let paused = thread::scope(|scope| {
        let watch = scope.spawn(|| watch_until(|| over.load(Ordering::Relaxed), || waits(&rig, 1)));
        until_answers(&probers, "b");
        over.store(true, Ordering::Relaxed);
        watch.join().unwrap()
    });
    let shown = told(rig.hosts[1].command("ip").args(["-6", "address", "show", "dev", "eth0"]));
    assert!(!shown.contains("tentative"), "{shown}");
    let gaps = probers.map(|prober| {
        let report = prober.finish().unwrap();
        let first = report.answers[0].heard;
        let gap = report.between(first, report.ended).worst(&report.turns(&["a", "b"])).length();
        (gap, report.late)
    });
    println!("gaps of IPv4 and IPv6, and how late each prober was: {gaps:?}");
    let [(v4, late4), (v6, late6)] = gaps;
    // A gap is known to two requests, and no better than the probers and the service were in time.
    let known = PACE * 2 + late4 + late6 + paused;
    assert!(v6 <= v4 * 11 / 10 + known, "IPv4 {v4:?}, IPv6 {v6:?}, to {known:?}");
}

#[test]
fn field_07_a_cut_of_one_family_splits_no_set() {
    let Some(mut rig) = Rig::whole("field_07", Vote::None, 1) else { return };
    let probers = rig.probers();
    until_answers(&probers, "a");
    let cable = Cut::of(&rig.hosts[0], &rig.networks[0]);
    let split = |rig: &Rig| (0..2).any(|node| !rig.holds(node, true) && !rig.holds(node, false));
    rig.lab.cut(&[cable.clone().only(Traffic::Ipv6)]).unwrap();
    assert!(!within(AWHILE, || split(&rig) || rig.role(0) != "Prim ready"));
    // The nodes speak IPv4: without it the other one takes both.
    rig.lab.cut(&[cable.only(Traffic::Ipv4)]).unwrap();
    rig.until_role(1, &["Alone ready"]);
    assert!(rig.holds(1, true));
    rig.lab.heal_all().unwrap();
    rig.until_whole(0);
    until_answers(&probers, "a");
}

#[test]
fn an_address_that_a_silent_host_has_already_is_told() {
    let Some(mut rig) = Rig::new("silent", Vote::None, 1) else { return };
    for address in rig.addresses() {
        rig.outside.add_address(address, &rig.networks[0]).unwrap();
    }
    rig.configure("", "");
    rig.start(0);
    rig.start(1);
    let stranger = rig.outside.mac(&rig.networks[0]).unwrap();
    for address in rig.addresses() {
        let line = format!(
            "{stranger} claims {address} as well: unless that is the other node, take it off there"
        );
        assert!(rig.daemon(0).wait_for(&line, SOON), "{line}: {}", rig.daemon(0).output());
    }
    // It may be what a dead node's kernel still has, so the one that is entitled goes on, and the
    // client is moved to it again.
    rig.until_whole(0);
    until_answers(&rig.probers(), "a");
    until_believed(&rig, 0);
    assert!(!rig.daemon(1).output().contains("claims"), "who has none compares none");
}

#[test]
fn doctor_names_who_else_has_an_address() {
    let Some(mut rig) = Rig::new("doctor", Vote::None, 1) else { return };
    rig.configure("", "");
    let [v4, v6] = rig.addresses();
    let stranger = rig.outside.mac(&rig.networks[0]).unwrap();
    let nobody = "ok    no other host has one of the virtual addresses\n";
    assert!(doctor(&rig, 0).contains(nobody), "{}", doctor(&rig, 0));
    rig.outside.add_address(v4, &rig.networks[0]).unwrap();
    rig.outside.add_address(v6, &rig.networks[0]).unwrap();
    for address in [v4, v6] {
        let line = format!("weak  {address} is at {stranger} already\n");
        assert!(doctor(&rig, 0).contains(&line), "{line}{}", doctor(&rig, 0));
    }
    rig.start(0);
    rig.start(1);
    rig.until_whole(0);
    let [first, second] = [doctor(&rig, 0), doctor(&rig, 1)];
    for address in [v4, v6] {
        let line = format!("BAD   {address} is at {stranger} as well as here\n");
        assert!(first.contains(&line), "{line}{first}");
        let mut both = [stranger, rig.mac(0)];
        both.sort();
        let [one, two] = both;
        let line = format!("weak  {address} is at {one} and {two}, and node0 serves\n");
        assert!(second.contains(&line), "{line}{second}");
        rig.outside.remove_address(address, &rig.networks[0]).unwrap();
    }
    let second = doctor(&rig, 1);
    for address in [v4, v6] {
        let line = format!("ok    {address} is at {}: node0 serves\n", rig.mac(0));
        assert!(second.contains(&line), "{line}{second}");
    }
    assert!(doctor(&rig, 0).contains(nobody), "{}", doctor(&rig, 0));
}

/// What `ha doctor` says on a node's host.
fn doctor(rig: &Rig, node: usize) -> String {
    let folder = rig.nodes[node].file().with_file_name("run/control.sock");
    let mut doctor = rig.hosts[node].command(env!("CARGO_BIN_EXE_ha"));
    doctor.arg("--socket").arg(folder).args(["doctor", "--config"]).arg(rig.nodes[node].file());
    String::from_utf8(doctor.output().unwrap().stdout).unwrap()
}

#[test]
fn a_duplicate_is_noticed_and_answered() {
    let Some(rig) = Rig::whole("duplicate", Vote::None, 1) else { return };
    let [v4, _] = rig.addresses();
    let probers = rig.probers();
    until_answers(&probers, "a");
    let network = &rig.networks[0];
    // A stranger that has it too, and speaks from it: it asks everybody where the client is.
    rig.outside.add_address(v4, network).unwrap();
    rig.outside.forget_neighbours().unwrap();
    let mut ping = rig.outside.command("ping");
    let client = rig.client.v4(network).to_string();
    ping.args(["-c", "1", "-W", "1", "-I", &v4.to_string(), &client]).output().unwrap();
    let stranger = rig.outside.mac(network).unwrap();
    let seen = || rig.daemon(0).output().contains(&stranger.to_string());
    assert!(within(SOON, seen), "{}", rig.daemon(0).output());
    rig.outside.remove_address(v4, network).unwrap();
    until_believed(&rig, 0);
    until_answers(&probers, "a");
}

#[test]
fn a_preferred_source_is_where_the_service_is() {
    let Some(mut rig) = Rig::new("preferred", Vote::None, 1) else { return };
    rig.source = Some("preferred");
    rig.configure("", "");
    rig.start(0);
    rig.start(1);
    rig.until_whole(0);
    let network = &rig.networks[0];
    let [v4, v6]: [IpAddr; 2] = [rig.client.v4(network).into(), rig.client.v6(network).into()];
    for (to, address) in [v4, v6].into_iter().zip(rig.addresses()) {
        let (_, set) = set_as(&rig, 0, address);
        assert!(set["preferred_life_time"].as_u64() > Some(0), "{set}");
        // What the kernel itself says of the way to the client.
        let way = json(rig.hosts[0].command("ip").args(["-j", "route", "get", &to.to_string()]));
        assert_eq!(way[0]["prefsrc"], address.to_string(), "{way}");
    }
    let listen = |ip: IpAddr| TcpListener::bind((ip, 7000)).unwrap();
    let servers = rig.client.inside(|| [v4, v6].map(listen)).unwrap();
    // Whom the servers see when a node connects.
    let seen = |node: usize| {
        servers.each_ref().map(|server| {
            let to = server.local_addr().unwrap();
            let _client = rig.hosts[node].inside(|| TcpStream::connect(to).unwrap()).unwrap();
            server.accept().unwrap().1.ip()
        })
    };
    let own = |node: usize| {
        let host = &rig.hosts[node];
        [host.v4(network).into(), host.v6(network).into()]
    };
    assert_eq!((seen(0), seen(1)), (rig.addresses(), own(1)));
    rig.daemon(0).kill().unwrap();
    assert!(within(SOON, || rig.holds(0, false) && rig.role(1) == "Alone ready"));
    assert_eq!((seen(0), seen(1)), (own(0), rig.addresses()));
    // Where the kernel chooses between two equal ways, nobody takes the choice from it.
    for way in [rig.client.v4(network), rig.outside.v4(network)] {
        let route = format!("route append 203.0.113.0/24 via {way}");
        told(rig.hosts[1].command("ip").args(route.split(' ')));
    }
    let said = "two routes to 203.0.113.0/24 have one metric";
    assert!(rig.daemon(1).wait_for(said, SOON), "{}", rig.daemon(1).output());
}

/// How a node's kernel has an address: on which interface, and what it says of it.
fn set_as(rig: &Rig, node: usize, address: IpAddr) -> (String, Value) {
    let to = address.to_string();
    let all = json(rig.hosts[node].command("ip").args(["-j", "address", "show", "to", &to]));
    // What is not asked for is left out, and its place shown.
    let links = all.as_array().unwrap().iter();
    let mut shown = links.flat_map(|link| {
        let set = link["addr_info"].as_array().into_iter().flatten();
        set.map(|set| (link["ifname"].as_str().unwrap_or_default().to_owned(), set.clone()))
    });
    let found = shown.find(|(_, set)| set["local"] == *to);
    found.unwrap_or_else(|| panic!("{address} is not set: {all}"))
}

fn json(command: &mut Command) -> Value {
    serde_json::from_str(&told(command)).unwrap()
}

#[test]
fn the_witness_is_asked_from_where_the_file_says() {
    let port = format!("udp dport {WITNESS_PORT}");
    asked_from_where_the_file_says("asks", Vote::Arbiter, &port);
}

#[test]
fn an_etcd_is_asked_from_where_the_file_says() {
    let port = format!("tcp dport {ETCD_PORT}");
    asked_from_where_the_file_says("asks_etcd", Vote::Etcd, &port);
}

/// A third party behind a firewall that knows the servers, and not what they serve.
fn asked_from_where_the_file_says(test: &str, vote: Vote, port: &str) {
    let Some(mut rig) = Rig::new(test, vote, 1) else { return };
    (rig.source, rig.own_asks) = (Some("preferred"), true);
    let own = rig.hosts.each_ref().map(|host| host.v4(&rig.networks[0]).to_string());
    // By `lo` an etcd asks itself.
    let rules = format!(
        "add table inet guard\n\
         add chain inet guard input {{ type filter hook input priority 0; }}\n\
         add rule inet guard input iif != lo {port} ip saddr != {{ {} }} counter drop\n",
        own.join(", ")
    );
    let file = rig.lab.folder().join("guard.nft");
    std::fs::write(&file, rules).unwrap();
    told(rig.outside.command("nft").arg("-f").arg(&file));
    rig.configure("", "");
    rig.start(0);
    rig.start(1);
    rig.until_whole(0);
    // A connection that was there before the virtual address begins anew.
    let ended = told(rig.outside.command("ss").args(["-K", "dst", &own[0]]));
    assert!(vote != Vote::Etcd || ended.contains(&own[0]), "none ended: {ended}");
    // What goes on without the peer goes on by the witness.
    rig.daemon(1).kill().unwrap();
    rig.until_role(0, &["Alone ready"]);
    rig.until_holds(0);
    let counted = told(rig.outside.command("nft").args(["list", "table", "inet", "guard"]));
    assert!(counted.contains("packets 0 "), "{counted}");
}

/// On a network of its own each; taken, put back, given and lost as one set.
#[test]
fn addresses_of_one_module_on_two_cards_are_one_set() {
    let Some(mut rig) = Rig::new("two_cards", Vote::Arbiter, 2) else { return };
    rig.configure("", "");
    let back = rig.networks[1].clone();
    let [second, sixth]: [IpAddr; 2] = [back.v4(101).into(), back.v6(101).into()];
    let more = format!(
        "vips = [{{ address = \"{second}\", interface = \"eth1\", prefix = 28, label = \"eth1:db\" }}, \
         {{ address = \"{sixth}\", interface = \"eth1\", prefix = 120 }}, "
    );
    for node in 0..2 {
        rig.replace(node, &[("vips = [", &more)]);
        rig.start(node);
    }
    let only = |rig: &Rig, node: usize| {
        let has = |it: usize| rig.hosts[it].holds(second).unwrap();
        within(SOON, || has(node) && !has(1 - node))
    };
    rig.until_whole(0);
    assert!(only(&rig, 0));
    let [v4, v6] = rig.addresses();
    for (address, interface, prefix, label) in [
        (second, "eth1", 28, Some("eth1:db")),
        (sixth, "eth1", 120, None),
        // Where nothing is said of it.
        (v4, "eth0", 32, Some("eth0")),
        (v6, "eth0", 128, None),
    ] {
        let (on, set) = set_as(&rig, 0, address);
        assert_eq!((&*on, &set["prefixlen"]), (interface, &prefix.into()), "{address}: {set}");
        assert_eq!(set["label"].as_str(), label, "{address}: {set}");
        // The host's own connections begin from another one.
        let deprecated = set["preferred_life_time"] == 0;
        assert_eq!(deprecated, address.is_ipv6(), "{address}: {set}");
    }
    rig.hosts[0].remove_address(second, &back).unwrap();
    assert!(only(&rig, 0), "it is put back");
    let [front, behind] =
        [&rig.networks[0], &back].map(|it| rig.outside.capture(it, "arp").unwrap());
    // A witness that has just started gives nothing away for a lease.
    let swapped = || rig::ha(&rig, 0).args(["swap", "--yes"]).status().unwrap().success();
    assert!(within(SOON, swapped), "{}", rig.daemon(0).output());
    rig.until_whole(1);
    assert!(only(&rig, 1), "it goes with the others");
    let announced = format!("who-has {second} tell {second}");
    let count =
        |it: &Capture| it.lines().unwrap().iter().filter(|it| it.contains(&announced)).count();
    assert!(within(SOON, || count(&behind) > 2), "{:?}", behind.lines());
    assert_eq!(count(&front), 0, "it is told where it is: {:?}", front.lines());
    rig.daemon(1).kill().unwrap();
    rig.until_role(0, &["Alone ready"]);
    assert!(only(&rig, 0) && rig.holds(0, true), "also from one that is killed");
}
