//! FIELD.md, the rows of daemons that are paused, starved, flapping or told another time: 8, 9, 10,
//! 12, 13. Row 4 is in `deaths`, the disk of row 8 in `disks`, row 15 in `timing`.

use std::time::Duration;

use ha_lab::{Turns, now, within};

use crate::SOON;
use crate::rig::{self, MODULE, PROMPT, Rig, Vote, no_strays, status, told, until_answers};

/// Long enough for a node to lose its peer many times over, if it did.
const AWHILE: Duration = Duration::from_secs(3);

/// How long every core is busy: ten times what a node is given to answer in.
const BUSY: Duration = Duration::from_secs(10);

/// A link that flaps at 10 Hz is down for so long, and up for as long.
const FLAP: Duration = Duration::from_millis(50);

/// How long the wall clock stands after each step: longer than a lease, and than the time-out.
const STEP: Duration = Duration::from_millis(1_600);

/// How long a daemon may stand still without anybody noticing.
const PAUSE: Duration = Duration::from_millis(175);

#[test]
fn field_08_a_short_pause_moves_nothing() {
    // Well below the 500 ms after which a peer is lost. Whoever was held up meanwhile, so that the
    // pause was no short one, asks another pair.
    for _ in 0..5 {
        let Some(rig) = Rig::whole("field_08_short", Vote::Arbiter, 1) else { return };
        let before = [0, 1].map(|node| rig.wrote(node, "roles"));
        let paused = now();
        rig.daemon(0).stop().unwrap();
        within(PAUSE, || false);
        rig.daemon(0).cont().unwrap();
        let paused = now().saturating_since(paused);
        println!("paused for {paused:?}");
        if paused < PAUSE * 2 {
            let roles = || [0, 1].map(|node| rig.wrote(node, "roles"));
            assert!(!within(AWHILE, || roles() != before), "{:?}", roles());
            return assert!(rig.holds(0, true) && rig.holds(1, false));
        }
    }
    panic!("no pause of {PAUSE:?} was short: nothing was tested");
}

#[test]
fn field_08_a_long_pause_ends_in_one_primary() {
    pauses("field_08_long", PAUSE);
}

#[test]
fn field_08_a_pause_of_a_minute_ends_in_one_primary() {
    pauses("field_08_minute", Duration::from_mins(1));
}

/// The primary does not run until the other one serves, and for so long after that.
fn pauses(test: &str, more: Duration) {
    let Some(rig) = Rig::whole(test, Vote::Arbiter, 1) else { return };
    let probers = rig.probers();
    until_answers(&probers, "a");
    rig.daemon(0).stop().unwrap();
    until_answers(&probers, "b");
    rig.until_role(1, &["Alone ready"]);
    let moved = || rig.role(1) != "Alone ready";
    assert!(!within(more, moved), "{}", rig.role(1));
    rig.daemon(0).cont().unwrap();
    rig.until_whole(1);
    until_answers(&probers, "b");
    no_strays(probers);
}

#[test]
fn field_08_busy_cores_look_like_no_death() {
    let Some(mut rig) = Rig::new("field_08_busy", Vote::Arbiter, 1) else { return };
    // With the durations that an administrator gets who sets none.
    rig.configure("profile = \"lan\"\n", "");
    for node in 0..2 {
        let file = std::fs::read_to_string(rig.nodes[node].file()).unwrap();
        rig.nodes[node].configure(&file.replace(PROMPT, "")).unwrap();
        rig.start(node);
    }
    rig.until_whole(0);
    let before = [0, 1].map(|node| rig.wrote(node, "roles"));
    let load = rig.lab.load_cores(BUSY * 3).unwrap();
    let changed = || [0, 1].map(|node| rig.wrote(node, "roles")) != before;
    assert!(!within(BUSY, changed), "{}", rig.wrote(1, "roles"));
    assert!(load.ended().unwrap().is_none(), "it was busy until now: {}", load.output());
    let lost = [0, 1].map(|node| rig.daemon(node).output().matches("PeerDown").count());
    assert_eq!(lost, [0, 0], "no peer was lost");
}

/// Nodes and witness are told an hour too much or too little, and never for long the same, wherever
/// they ask the C library: their own clock does not (tests of `driver/clock.rs`).
#[test]
fn field_09_steps_of_the_wall_clock_move_nothing() {
    let Some(library) = ha_lab::faketime() else { return ha_lab::skip("libfaketime") };
    let Some(mut rig) = Rig::new("field_09", Vote::None, 1) else { return };
    let file = rig.lab.folder().join("clock");
    let step = |hours: &str| {
        let next = file.with_extension("next");
        std::fs::write(&next, hours).unwrap();
        std::fs::rename(next, &file).unwrap();
    };
    step("+0");
    let variables = [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
    ];
    rig.environment = variables.map(|(name, value)| (name.to_owned(), value)).into();
    rig.vote = Vote::Arbiter;
    rig.start_witness();
    rig.configure("", "");
    rig.start(0);
    rig.start(1);
    rig.until_whole(0);
    let probers = rig.probers();
    until_answers(&probers, "a");
    let before = [0, 1].map(|node| rig.wrote(node, "roles"));
    for hours in ["+1h", "-1h", "+1h", "+0", "-1h"] {
        step(hours);
        let changed = || [0, 1].map(|node| rig.wrote(node, "roles")) != before;
        assert!(!within(STEP, changed), "{hours}: {} {}", rig.role(0), rig.role(1));
    }
    rig.daemon(0).terminate().unwrap();
    rig.until_role(1, &["Alone ready"]);
    // They saw it: the log is written by that clock, which is now an hour before its start.
    for log in [0, 1].map(|node| rig.daemon(node).output()) {
        let mut times = log.lines().filter(|line| line.starts_with("20")).map(|line| &line[..19]);
        let (first, last) = (times.next().unwrap(), times.next_back().unwrap());
        assert!(last < first, "{first} {last}");
    }
    no_strays(probers);
}

#[test]
fn field_10_a_lost_witness_demotes_nobody() {
    let Some(mut rig) = Rig::whole("field_10", Vote::Arbiter, 1) else { return };
    let probers = rig.probers();
    until_answers(&probers, "a");
    rig.witness.take().unwrap().kill().unwrap();
    let before = [0, 1].map(|node| rig.wrote(node, "roles"));
    for node in [0, 1] {
        let daemon = rig.daemon(node);
        // The secondary asks it nothing as long as all is well.
        assert!(node == 1 || daemon.wait_for("WitnessSilent", SOON), "{}", daemon.output());
    }
    // Two leases and more.
    let changed = |rig: &Rig| [0, 1].map(|node| rig.wrote(node, "roles")) != before;
    assert!(!within(AWHILE, || changed(&rig)), "{} {}", rig.role(0), rig.role(1));
    rig.start_witness();
    assert!(rig.daemon(0).wait_for("WitnessBack", SOON), "{}", rig.daemon(0).output());
    assert!(!changed(&rig));
    for report in probers.map(|prober| prober.finish().unwrap()) {
        assert!(report.strays(&Turns::of("a")).is_empty());
    }
    assert_eq!(rig.wrote(0, "calls").lines().count(), 1, "no restart");
}

#[test]
fn field_12_a_node_that_comes_back_takes_nothing_back() {
    let Some(mut rig) = Rig::whole("field_12", Vote::Arbiter, 1) else { return };
    rig.daemon(0).kill().unwrap();
    rig.until_role(1, &["Alone ready"]);
    rig.start(0);
    rig.until_whole(1);
    assert!(!within(AWHILE, || rig.role(0) != "Second ready"), "{}", rig.role(0));
    assert!(rig.holds(1, true) && rig.holds(0, false));
}

/// Or the other node waits until the lease is over.
#[test]
fn a_primary_that_is_told_to_end_does_so_once_it_has_handed_over() {
    let Some(rig) = Rig::whole("told_to_end", Vote::Arbiter, 1) else { return };
    rig.daemon(0).terminate().unwrap();
    let status = rig.daemon(0).wait(SOON).unwrap().expect("it ends in order");
    let given = rig.daemon(0).wait_for("holder: NodeId(1)", SOON);
    assert!(given && status.success(), "{}", rig.daemon(0).output());
    rig.until_role(1, &["Alone ready"]);
    rig.until_holds(1);
}

/// `stop_timeout` is minutes: a database that flushes for longer than a lease is not cut short.
#[test]
fn an_orderly_stop_may_take_longer_than_a_lease() {
    let Some(mut rig) = Rig::new("orderly_stop", Vote::Arbiter, 1) else { return };
    rig.configure("", "grace = \"100ms\"");
    let slow = "sleep 4\nkill $(cat pid)\necho $3 >> stopped";
    rig.nodes[0].script(MODULE, "stop_prim", slow).unwrap();
    rig.start(0);
    rig.start(1);
    rig.until_whole(0);
    rig.daemon(0).terminate().unwrap();
    rig.daemon(0).wait(SOON).unwrap().expect("it ends in order");
    assert_eq!(rig.wrote(0, "stopped"), "stop\n", "{}", rig.daemon(0).output());
    rig.until_role(1, &["Alone ready"]);
}

/// Whoever presses Ctrl-C twice does not want to wait for minutes.
#[test]
fn told_twice_to_end_it_does_so_without_its_scripts() {
    let Some(mut rig) = Rig::new("told_twice", Vote::Arbiter, 1) else { return };
    rig.configure("", "stop_timeout = \"5m\"\nforce_timeout = \"5m\"");
    rig.nodes[0].script(MODULE, "start_both", "true").unwrap();
    rig.nodes[0].script(MODULE, "stop_both", "echo $3 >> stopped\nsleep 1000").unwrap();
    rig.start(0);
    rig.start(1);
    rig.until_whole(0);
    rig.daemon(0).terminate().unwrap();
    assert!(within(SOON, || rig.wrote(0, "stopped") == "stop\n"), "{}", rig.daemon(0).output());
    rig.daemon(0).terminate().unwrap();
    let status = rig.daemon(0).wait(SOON).unwrap().expect("it does not wait for the script");
    assert!(status.success(), "{}", rig.daemon(0).output());
    assert_eq!(rig.wrote(0, "stopped"), "stop\n", "nor does it begin another one");
    rig.until_role(1, &["Alone ready"]);
    rig.until_holds(1);
}

/// Of a link, as often as it takes for some reigns.
const FLAPS: u32 = 40;

#[test]
fn field_13_scripts_run_one_at_a_time_and_in_the_order_of_their_epochs() {
    let Some(mut rig) = Rig::new("field_13", Vote::None, 1) else { return };
    rig.configure("", "");
    // Each looks whether the one before it still runs.
    let alone = "[ -s running ] && kill -0 $(cat running) 2> /dev/null && echo \"$3 $4\" >> twice\n\
                 echo $$ > running\necho \"$3 $4\" >> order\nsleep 0.2\n";
    for node in &rig.nodes {
        for script in ["start_prim", "stop_prim", "transition"] {
            node.script(MODULE, script, alone).unwrap();
        }
    }
    rig.start(0);
    rig.start(1);
    rig.until_whole(0);
    let cut = rig.between();
    let (mut due, began) = (now(), now());
    for flap in 0..FLAPS {
        // Long enough now and then for a peer to be lost.
        let down = if flap % 10 == 0 { FLAP * 16 } else { FLAP };
        for (change, lasts) in [(true, down), (false, FLAP)] {
            if change { rig.lab.cut(&cut) } else { rig.lab.heal(&cut) }.unwrap();
            // Where one change was late the next one is not.
            due += lasts;
            within(SOON, || now() >= due);
        }
    }
    println!("{FLAPS} flaps in {:?}", now().saturating_since(began));
    rig.until_whole(0);
    for node in [0, 1] {
        assert_eq!(rig.wrote(node, "twice"), "", "{}", rig.wrote(node, "order"));
        let order = rig.wrote(node, "order");
        let started = order.lines().filter_map(|line| line.strip_prefix("start "));
        let epochs: Vec<u64> = started.map(|epoch| epoch.parse().unwrap()).collect();
        assert!(epochs.is_sorted(), "{order}");
    }
    let order = rig.wrote(1, "order");
    assert!(order.lines().any(|line| !line.ends_with(" 0")), "it had a reign: {order}");
}

/// The daemon is replaced, by the same program with the same files here, while its service runs.
#[test]
fn a_reload_of_the_primary_is_noticed_by_nobody() {
    let Some(rig) = Rig::whole("reload", Vote::Arbiter, 1) else { return };
    let probers = rig.probers();
    until_answers(&probers, "a");
    let (served, roles) = (rig.events(0), rig.wrote(0, "roles"));
    let daemon = rig.daemon(0);
    let pid = daemon.pid();
    daemon.hang_up().unwrap();
    assert!(daemon.wait_for("goes on where an earlier process stopped", SOON));
    rig.until_whole(0);
    assert!(!daemon.output().contains("panicked"), "{}", daemon.output());
    assert_eq!(daemon.pid(), pid, "whoever supervises it sees one process");
    assert!(rig.holds(0, true));
    assert_eq!((rig.events(0), rig.wrote(0, "roles")), (served, roles), "nothing was restarted");
    until_answers(&probers, "a");
    for report in probers.map(|prober| prober.finish().unwrap()) {
        assert!(report.strays(&report.turns(&["a"])).is_empty());
    }
}

/// Before it hears signals a program is killed by them, and a lost one is never obeyed.
#[test]
fn a_daemon_that_is_told_to_end_while_it_is_replaced_ends_in_order() {
    let Some(mut rig) = Rig::whole("end_reload", Vote::Arbiter, 1) else { return };
    // At other moments of the exec each time.
    for pause in [0, 2, 5, 10, 20, 40] {
        let daemon = rig.daemon(0);
        daemon.hang_up().unwrap();
        assert!(daemon.wait_for("handed over: the next program goes on", SOON));
        let at = now();
        while now().saturating_since(at) < Duration::from_millis(pause) {
            std::thread::yield_now();
        }
        daemon.terminate().unwrap();
        let status = daemon.wait(SOON).unwrap().expect("it was told to end");
        assert!(status.success(), "{pause} ms: {status}: {}", daemon.output());
        assert!(daemon.output().contains("told to end"), "{}", daemon.output());
        rig.until_role(1, &["Alone ready"]);
        rig.start(0);
        rig.until_whole(1);
        ha(&rig, 1, &["swap", "--yes"]);
        rig.until_whole(0);
    }
}

/// 0 means that it was observed, and not only that the order was heard.
#[test]
fn an_order_returns_when_it_is_so() {
    let Some(mut rig) = Rig::new("order_returns", Vote::Arbiter, 1) else { return };
    rig.configure("", "");
    for node in 0..2 {
        let file = std::fs::read_to_string(rig.nodes[node].file()).unwrap();
        rig.nodes[node].configure(&file.replace("bootstrap = true", "bootstrap = false")).unwrap();
        // So that there is something to wait for.
        begin_start_with(&rig, node, "sleep 1");
        rig.start(node);
    }
    for node in 0..2 {
        rig.until_role(node, &["Wait"]);
    }
    let role = |rig: &Rig, node| rig::ha(rig, node).args(["role", "-q"]).status().unwrap().code();
    ha(&rig, 0, &["prim", "--keep", "a", "--yes"]);
    assert!(matches!(role(&rig, 0), Some(2 | 3)), "{:?} {}", role(&rig, 0), rig.role(0));
    assert!(rig.holds(0, true) && rig.role(0).ends_with(" ready"), "{}", rig.role(0));
    rig.until_whole(0);
    ha(&rig, 0, &["stop", "--yes"]);
    assert_eq!(role(&rig, 0), Some(0));
    // A stopped node is no secondary, though it goes on to copy.
    rig.until_role(1, &["Alone ready"]);
    ha(&rig, 0, &["start"]);
    assert_eq!(role(&rig, 0), Some(4), "{}", rig.role(0));
}

/// What only the start would find wrong: it came after the hand-over, and nobody was left.
#[test]
fn a_reload_that_could_not_start_is_refused() {
    let Some(rig) = Rig::whole("bad_reload", Vote::Arbiter, 1) else { return };
    let probers = rig.probers();
    until_answers(&probers, "a");
    let served = rig.events(0);
    let good = std::fs::read_to_string(rig.nodes[0].file()).unwrap();
    let daemon = rig.daemon(0);
    // Where the service listens.
    let http = format!("\n[http]\nlisten = \"{}\"\n[[module]]", rig.targets()[0]);
    let hook = "\n[notify]\nexec = \"/nowhere/hook\"\n[[module]]";
    for (from, to, says) in [
        ("interface = \"eth0\"", "interface = \"eth9\"", "no interface"),
        ("key_file = \"", "key_file = \"/nowhere", "cannot be read"),
        ("[[module]]", http.as_str(), "http.listen: cannot use"),
        ("[[module]]", hook, "there is no such file"),
        ("vote =", "guardian = \"/nowhere/guardian\"\nvote =", "/nowhere/guardian"),
        ("witness =", "guardian = \"/nowhere/guardian\"\nwitness =", "/nowhere/guardian"),
    ] {
        if !good.contains(from) {
            continue;
        }
        rig.nodes[0].configure(&good.replacen(from, to, 1)).unwrap();
        let before = daemon.output().matches("not reloaded").count();
        daemon.hang_up().unwrap();
        let refused = || daemon.output().matches("not reloaded").count() > before;
        assert!(within(SOON, refused), "{to}: {}", daemon.output());
        let output = daemon.output();
        let line = output.lines().rfind(|line| line.contains("not reloaded")).unwrap();
        assert!(line.contains(says), "{to}: {line}");
    }
    assert!(daemon.ended().unwrap().is_none(), "{}", daemon.output());
    until_answers(&probers, "a");
    assert_eq!(rig.events(0), served, "nothing was restarted");
    for report in probers.map(|prober| prober.finish().unwrap()) {
        assert!(report.strays(&report.turns(&["a"])).is_empty());
    }
}

/// An interface that is down, or a network that is late, ended the service and kept the daemon
/// down.
#[test]
fn a_reload_and_a_start_do_without_an_address_that_comes_later() {
    let Some(mut rig) = Rig::new("late_address", Vote::None, 2) else { return };
    rig.configure("", "");
    // Beats, records and HTTP by the second network; beats by the first one, too.
    let late = rig.networks[1].clone();
    let own = [0, 1].map(|node| rig.hosts[node].v4(&late));
    for node in [0, 1] {
        let file = std::fs::read_to_string(rig.nodes[node].file()).unwrap();
        let http = format!("[http]\nlisten = \"{}:9010\"\n[[module]]", own[node]);
        rig.nodes[node].configure(&file.replacen("[[module]]", &http, 1)).unwrap();
        rig.start(node);
    }
    rig.until_whole(0);
    let served = rig.events(0);
    for node in [0, 1] {
        rig.hosts[node].remove_address(own[node].into(), &late).unwrap();
        let resumed = || rig.daemon(node).output().contains("goes on where an earlier process");
        let asked = || {
            // In the middle of something it says so: the stream has just broken.
            rig.daemon(node).hang_up().unwrap();
            within(AWHILE, resumed)
        };
        assert!(within(SOON, asked), "{}", rig.daemon(node).output());
    }
    assert_eq!(rig.events(0), served, "the service ran on");
    assert!(rig.holds(0, true));

    rig.daemon(1).terminate().unwrap();
    rig.daemon(1).wait(SOON).unwrap().expect("it ends in order");
    rig.start(1);
    assert!(rig.daemon(1).wait_for("the node is up", SOON), "{}", rig.daemon(1).output());
    for node in [0, 1] {
        let (address, interface) = (format!("{}/24", own[node]), rig.hosts[node].interface(&late));
        told(rig.hosts[node].command("ip").args(["address", "add", &address, "dev", &interface]));
    }
    rig.until_whole(0);
    let answers = |node: usize| {
        let connect = || std::net::TcpStream::connect((own[node], 9010)).is_ok();
        rig.hosts[node].inside(connect).unwrap()
    };
    assert!(answers(0) && answers(1));
}

/// The baton knows that failover is off; who would turn it on again must know until when.
#[test]
fn a_maintenance_ends_though_the_daemon_was_reloaded() {
    let Some(rig) = Rig::whole("maintained_reload", Vote::Arbiter, 1) else { return };
    ha(&rig, 0, &["maintenance", "on", "--for", "5s"]);
    ha(&rig, 0, &["failover", "on"]);
    assert!(status(&rig, 0).contains("maintenance"), "failover on ends no maintenance");
    let daemon = rig.daemon(0);
    daemon.hang_up().unwrap();
    assert!(daemon.wait_for("goes on where an earlier process stopped", SOON));
    assert!(within(SOON, || status(&rig, 0).contains("maintenance")), "{}", status(&rig, 0));
    assert!(within(SOON, || !status(&rig, 0).contains("maintenance")), "{}", status(&rig, 0));
    assert!(!status(&rig, 0).contains("failover is off"), "{}", status(&rig, 0));
    rig.until_whole(0);
}

/// Or an application that fails once an hour would be restarted for ever by a daemon that is reloaded
/// once a day.
#[test]
fn restarts_by_checkers_count_on_after_a_reload() {
    let Some(mut rig) = Rig::new("loops_reload", Vote::Arbiter, 1) else { return };
    let well = rig.lab.folder().join("well");
    std::fs::write(&well, "").unwrap();
    let checker = format!(
        "maxloop = 1\n[[module.checker]]\nname = \"file\"\nkind = \"custom\"\n\
         command = [\"/usr/bin/test\", \"-e\", \"{}\"]\naction = \"restart\"\n\
         interval = \"100ms\"\nrise = 1\nfall = 1\ngrace = \"0s\"\n",
        well.display()
    );
    rig.configure("", &checker);
    // Its start mends what was broken, before a checker looks again.
    begin_start_with(&rig, 0, &format!("touch '{}'", well.display()));
    rig.start(0);
    rig.start(1);
    rig.until_whole(0);
    let starts = |rig: &Rig| rig.wrote(0, "calls").matches("start").count();
    std::fs::remove_file(&well).unwrap();
    assert!(within(SOON, || starts(&rig) == 2), "{}", rig.daemon(0).output());
    let ups = || {
        let output = rig.daemon(0).output();
        let is = |line: &&str| line.contains("a checker's state") && line.contains("Up");
        output.lines().filter(is).count()
    };
    assert!(within(SOON, || ups() == 2), "{}", rig.daemon(0).output());
    rig.until_whole(0);
    rig.daemon(0).hang_up().unwrap();
    assert!(rig.daemon(0).wait_for("goes on where an earlier process stopped", SOON));
    assert!(within(SOON, || ups() == 3), "{}", rig.daemon(0).output());
    std::fs::remove_file(&well).unwrap();
    assert!(rig.daemon(0).wait_for("no automatic restart is left", SOON));
    rig.until_role(0, &["Stop ready"]);
    assert_eq!(starts(&rig), 2, "restarted once more than maxloop allows");
}

/// Its scripts would be gone when they are to stop it, and what they started on a secondary.
#[test]
fn a_reload_that_abandons_a_service_is_refused() {
    let Some(mut rig) = Rig::new("abandon", Vote::Arbiter, 1) else { return };
    rig.configure("", "");
    for node in 0..2 {
        rig.nodes[node]
            .script(MODULE, "start_both", "setsid sleep 1000 > /dev/null 2>&1 &")
            .unwrap();
        rig.nodes[node].script(MODULE, "stop_both", "true").unwrap();
        rig.start(node);
    }
    rig.until_whole(0);
    for node in 0..2 {
        let good = std::fs::read_to_string(rig.nodes[node].file()).unwrap();
        let without: Vec<&str> = good.lines().filter(|line| !line.starts_with("scripts")).collect();
        rig.nodes[node].configure(&without.join("\n")).unwrap();
        let daemon = rig.daemon(node);
        daemon.hang_up().unwrap();
        let says = "change its scripts or unit while its service runs here: `ha swap web`";
        assert!(daemon.wait_for(says, SOON), "{}", daemon.output());
    }
    rig.until_whole(0);
}

/// Has a node's `start_prim` do something before what it does.
fn begin_start_with(rig: &Rig, node: usize, line: &str) {
    let text = std::fs::read_to_string(rig.nodes[node].scripts(MODULE).join("start_prim")).unwrap();
    let (_, body) = text.split_once('\n').unwrap();
    rig.nodes[node].script(MODULE, "start_prim", &format!("{line}\n{body}")).unwrap();
}

/// What `ha` prints when it asks a node for something that it does.
fn ha(rig: &Rig, node: usize, words: &[&str]) -> String {
    told(rig::ha(rig, node).args(words))
}

/// A witness that is up before its network answers when that is there.
#[test]
fn a_witness_answers_at_an_address_that_comes_later() {
    let Some(mut rig) = Rig::new("late_witness", Vote::None, 1) else { return };
    let network = rig.networks[0].clone();
    let (own, interface) = (rig.outside.v4(&network), rig.outside.interface(&network));
    rig.outside.remove_address(own.into(), &network).unwrap();
    rig.vote = Vote::Arbiter;
    rig.start_witness();
    rig.configure("", "");
    rig.start(0);
    rig.start(1);
    assert!(!within(AWHILE, || rig.role(0) == "Prim ready"), "nobody answers");
    let address = format!("{own}/24");
    told(rig.outside.command("ip").args(["address", "add", &address, "dev", &interface]));
    rig.until_whole(0);
}
