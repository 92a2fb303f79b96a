//! What `ha` shows of a farm, and orders.

use std::net::IpAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use ha_lab::within;
use serde_json::Value;

use crate::SOON;
use crate::rig::{CALM, PORT, Rig, SHORT, count, kept};

#[test]
fn a_whole_farm_is_shown_checked_and_explained() {
    let Some(rig) = Rig::whole("farm_seen", 3, SHORT, "") else { return };
    let shown = rig.done(0, &["status"]);
    println!("{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    let first = shown.lines().next().unwrap();
    assert!(first.starts_with(&rig.module(0)) && first.contains("PROTECTED  for "), "{first}");
    for row in ["a    * ", "b      ", "c      "] {
        let fair = || {
            let shown = rig.done(0, &["status"]);
            let line = shown.lines().find(|line| line.trim_start().starts_with(row));
            line.is_some_and(|line| line.ends_with("33 %  serves"))
        };
        assert!(within(SOON, fair), "{row}: {}", rig.done(0, &["status"]));
    }
    assert!(shown.contains("if a dies now: the others have its clients within "), "{shown}");
    let checked = rig.ha(1, &["check"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(checked.out.contains(" PROTECTED: if b dies now, the others have"), "{checked:?}");
    assert_eq!(rig.done(2, &["role"]), "UP ready\n");
    assert_eq!(rig.ha(2, &["role", "-q"]).code, 2);
    assert_eq!(rig.ha(2, &["wait", "up"]).code, 0);
    assert_eq!(rig.ha(2, &["wait", "stop", "--timeout", "0s"]).code, 2);
    assert_eq!(rig.ha(2, &["wait", "prim"]).code, 64);
    let swap = rig.ha(0, &["swap", "--yes"]);
    assert_eq!((swap.code, swap.err.contains("this is a farm")), (64, true), "{swap:?}");
    // It is on the host, but /sys is the real machine's: its interfaces are others.
    let mut doctor = rig.hosts[0].command(env!("CARGO_BIN_EXE_ha"));
    doctor.arg("--socket").arg(rig.nodes[0].folder().join("run/control.sock")).arg("doctor");
    let doctor = doctor.arg("--config").arg(rig.nodes[0].file()).output().unwrap();
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    assert!(doctor.contains("others go on if this member dies"), "{doctor}");
    assert!(doctor.contains(":7500 is the daemon's"), "{doctor}");
    let explained = rig.done(0, &["explain"]);
    assert!(explained.contains("if only its daemon dies: the same"), "{explained}");
    let none = rig.ha(0, &["status", "-m", "db"]);
    assert_eq!((none.code, none.err.starts_with("ha: no module \"db\"")), (64, true), "{none:?}");
}

#[test]
fn what_happened_is_told_in_order_and_followed() {
    let Some(rig) = Rig::whole("farm_events", 3, SHORT, "") else { return };
    let told = rig.done(0, &["events"]);
    let line = |what: &str| told.lines().position(|line| line.contains(what));
    let (linked, view) = (line(" info  b is linked"), line("a view is in force: a b c; "));
    assert!(linked.is_some() && linked < view, "{told}");
    let events = |rig: &Rig, since: usize| -> Vec<serde_json::Value> {
        let said = rig.done(0, &["events", "--json", "--since", &since.to_string()]);
        let lines = said.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.filter(|line: &serde_json::Value| !line["event"].is_null()).collect()
    };
    let before = events(&rig, 0).len();
    rig.daemon(2).kill().unwrap();
    rig.until_serve(&[0, 1]);
    let lost = |line: &serde_json::Value| {
        line["event"]["event"] == "unlinked" && line["event"]["text"] == "c is not linked any more"
    };
    let found = events(&rig, before + 1);
    assert!(found.iter().any(lost), "{found:?}");
    let history = rig.ha(0, &["history"]);
    assert_eq!((history.code, history.err.contains("see ha events")), (64, true), "{history:?}");
}

#[test]
fn what_json_says_of_a_farm_keeps_its_names() {
    let Some(rig) = Rig::whole("farm_json", 2, CALM, "") else { return };
    let line = rig.done(0, &["status", "--json"]);
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["v"], 1);
    let names = |it: &Value| it.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    let farm = &line["farms"][0];
    assert_eq!(
        names(farm),
        "announcer checked checkers config_differs drained drains_ms full gate id if_dies lease_ms \
         members missing mode module next node plane plane_why ready role services strangers up_ms verdict \
         verdict_for_ms view waits_for why"
    );
    assert_eq!(names(&farm["members"][0]), "age_ms buckets id links name state why");
    assert_eq!(names(&farm["members"][1]["links"][0]), "name since_ms up");
    assert_eq!(names(&farm["services"][0]), "buckets draining name");
    assert_eq!((&farm["role"], &farm["ready"]), (&"UP".into(), &true.into()));
    let table = rig.done(0, &["table", "--json"]);
    let table: Value = serde_json::from_str(&table).unwrap();
    assert_eq!(names(&table["tables"][0]), "runs service view");
    assert_eq!(names(&table["tables"][0]["runs"][0]), "first last owner previous");
    let plan = rig.done(0, &["drain", "a", "--plan", "--json"]);
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["plan"]["confirm"], true, "{plan}");
    let said = rig.done(0, &["weight", "a", "2", "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert!(said["said"].as_str().unwrap().starts_with("weight: done in "), "{said}");
    let refused = rig.ha(0, &["weight", "b", "2", "--json"]);
    let refused: Value = serde_json::from_str(&refused.out).unwrap();
    assert_eq!(refused["refused"]["exit"], "failed");
}

#[test]
fn a_member_is_drained_and_takes_part_again_and_its_connections_go_on() {
    let Some(rig) = Rig::whole("farm_drain", 3, CALM, "") else { return };
    let mut open = rig.connect(60);
    assert_eq!(count(&open).len(), 3, "all have connections: {:?}", count(&open));
    let plan = rig.done(1, &["drain", "b", "--plan"]);
    assert!(plan.contains("1.") && plan.contains("b takes no new clients"), "{plan}");
    // A prompt without a terminal is an error, and nothing is done.
    let asked = rig.ha(1, &["drain", "b"]);
    assert_eq!((asked.code, asked.err.contains("add --yes")), (77, true), "{asked:?}");
    assert!(rig.shares(1).iter().all(|&own| own > 0), "a plan does nothing: {:?}", rig.shares(1));
    let elsewhere = rig.ha(1, &["drain", "c", "--yes"]);
    assert_eq!(elsewhere.code, 1);
    assert!(elsewhere.err.contains("on c: ha drain c"), "{elsewhere:?}");
    assert_eq!(rig.ha(1, &["drain", "nobody", "--yes"]).code, 64);

    let done = rig.done(1, &["drain", "b", "--yes"]);
    assert!(done.contains("drain: done in "), "{done}");
    assert_eq!(rig.shares(1)[1], 0);
    rig.until_serve(&[0, 2]);
    let shown = rig.done(1, &["status"]);
    assert!(shown.contains("buckets drain") && shown.contains("drained"), "{shown}");
    assert!(!count(&rig.connect(60)).contains_key(&1), "it gets no new clients");
    assert_eq!(kept(&mut open), open.len(), "its connections go on");
    // It has a part again, and its buckets once they have drained elsewhere.
    rig.done(1, &["drain", "b", "--off"]);
    let back = |node: usize| {
        let status = rig.status(node).unwrap_or_default();
        let state = status["members"][1]["state"].clone();
        state == "serves" || state == "waits"
    };
    assert!(within(SOON, || back(0) && back(1)), "{:?}", rig.status(0));
    assert_eq!(rig.status(1).unwrap()["drained"], false);
    assert_eq!(kept(&mut open), open.len(), "so they do when it is back");
}

#[test]
fn weights_are_shares_and_tables_show_who_owns_what() {
    let Some(rig) = Rig::whole("farm_weight", 3, SHORT, "") else { return };
    rig.done(1, &["weight", "b", "2"]);
    let fits = || rig.shares(0) == [1024, 2048, 1024];
    assert!(within(SOON, fits), "{:?}", rig.shares(0));
    rig.done(1, &["weight", "b", "6", "--service", "web"]);
    assert!(within(SOON, || rig.shares(0) == [512, 3072, 512]), "{:?}", rig.shares(0));
    let unknown = rig.ha(1, &["weight", "b", "6", "--service", "mail"]);
    assert_eq!((unknown.code, unknown.err.contains("there are web")), (64, true), "{unknown:?}");
    let heavy = rig.ha(1, &["weight", "b", "2000"]);
    assert!(heavy.code == 64 || heavy.code == 1, "{heavy:?}");
    let table = rig.done(0, &["table"]);
    let owned = |name: &str| {
        let runs = table.lines().skip(1).filter_map(|line| {
            let mut words = line.split_whitespace();
            let (first, last) = words.next()?.split_once('-')?;
            let last: u64 =
                if last.is_empty() { words.next()?.parse().ok()? } else { last.parse().ok()? };
            (words.next() == Some(name)).then(|| last - first.parse::<u64>().unwrap() + 1)
        });
        runs.sum::<u64>()
    };
    assert_eq!(["a", "b", "c"].map(owned), [512, 3072, 512], "{table}");
    assert_eq!(rig.ha(0, &["table", "--service", "mail"]).code, 64);
    rig.done(1, &["weight", "b", "0", "--yes"]);
    rig.until_serve(&[0, 2]);
}

#[test]
fn a_gate_closes_and_opens_for_scripts_that_do_not_ask() {
    let Some(rig) = Rig::whole("farm_gate", 2, SHORT, "") else { return };
    rig.done(0, &["gate", "close"]);
    assert_eq!(rig.shares(0)[0], 0, "it returns once it is so");
    let shown = rig.done(0, &["status"]);
    assert!(shown.contains("its gate is closed"), "{shown}");
    assert_eq!(rig.status(0).unwrap()["gate"], false);
    rig.done(0, &["gate", "open"]);
    rig.until_serve(&[0, 1]);
}

/// It waits for its order, and the service for it.
#[test]
fn a_script_opens_the_gate_of_what_it_starts_and_closes_it_before_it_stops() {
    let Some(mut rig) = Rig::new("farm_gates", 2) else { return };
    for me in 0..2 {
        let node = &rig.nodes[me];
        let socket = node.folder().join("run/control.sock");
        let gate = |word: &str, wrote: &str| {
            let ha = env!("CARGO_BIN_EXE_ha");
            format!(
                "{ha} --socket '{}' gate {word} && echo $HA_ACTION >> {wrote}",
                socket.display()
            )
        };
        node.script("web", "start_both", &gate("open", "opened")).unwrap();
        let scripts = node.script("web", "stop_both", &gate("close", "closed")).unwrap();
        let lines = format!("{SHORT}scripts = \"{}\"\n", scripts.display());
        node.configure(&rig.text(me, &lines, "")).unwrap();
    }
    rig.start_all();
    rig.until_serve(&[0, 1]);
    rig.done(0, &["stop", "--yes"]);
    let node = &rig.nodes[0];
    assert!(within(SOON, || node.wrote("web", "closed").lines().count() == 1));
    assert!(within(SOON, || rig.shares(1) == [0, 4096]));
    // It follows the view without it, of which it has no tables.
    let at = |node: usize| rig.status(node).unwrap()["view"].clone();
    assert!(within(SOON, || at(0) == at(1)), "{:?} {:?}", at(0), at(1));
    assert_eq!(rig.shares(0)[0], 0, "{}", rig.done(0, &["status"]));
    let (left, table) = (at(0), rig.done(0, &["table"]));
    assert!(!table.contains(&format!("view {}", left.as_str().unwrap())), "{table}");
    rig.done(0, &["start", "--yes"]);
    rig.until_serve(&[0, 1]);
    assert_eq!(rig.nodes[0].wrote("web", "opened").lines().count(), 2);
}

#[test]
fn the_last_one_is_not_drained_without_force() {
    let Some(rig) = Rig::whole("farm_last", 2, CALM, "") else { return };
    rig.done(0, &["drain", "a", "--yes"]);
    let refused = rig.ha(1, &["drain", "b", "--yes"]);
    assert_eq!((refused.code, refused.err.contains("--force")), (107, true), "{refused:?}");
    let weight = rig.ha(1, &["weight", "b", "0", "--yes"]);
    assert_eq!(weight.code, 107, "{weight:?}");
    let alone = rig.ha(1, &["check"]);
    assert_eq!((alone.code, alone.out.contains("UNPROTECTED")), (1, true), "{alone:?}");
    rig.until_serve(&[1]);
    rig.done(1, &["drain", "b", "--yes", "--force"]);
    assert_eq!(rig.shares(1), [0, 0]);
}

#[test]
fn a_service_stops_and_starts_and_the_others_have_its_clients_meanwhile() {
    let Some(mut rig) = Rig::new("farm_stop", 2) else { return };
    let scripts = |node: usize| {
        let it = &rig.nodes[node];
        it.script("web", "start_both", "echo start >> calls").unwrap();
        it.script("web", "stop_both", "echo stop >> calls").unwrap()
    };
    for node in 0..2 {
        let line = format!("{CALM}scripts = \"{}\"\n", scripts(node).display());
        rig.nodes[node].configure(&rig.text(node, &line, "")).unwrap();
    }
    rig.start_all();
    assert_eq!(rig.ha(0, &["stop"]).code, 77, "it asks first");
    rig.done(0, &["stop", "--yes"]);
    rig.until_serve(&[1]);
    assert!(within(SOON, || rig.nodes[0].wrote("web", "calls") == "start\nstop\n"));
    let down = rig.ha(0, &["check"]);
    assert_eq!((down.code, down.out.contains("its application does not run")), (2, true));
    assert_eq!(rig.done(0, &["role"]), "STOP not ready\n");
    assert!(!count(&rig.connect(20)).contains_key(&0));
    rig.done(0, &["start"]);
    rig.until_serve(&[0, 1]);
    assert_eq!(rig.nodes[0].wrote("web", "calls"), "start\nstop\nstart\n");
}

#[test]
fn weights_and_rules_change_while_it_runs() {
    let Some(rig) = Rig::whole("farm_reload", 3, SHORT, "") else { return };
    assert!(rig.done(0, &["reload"]).contains("nothing to do"));
    rig.configure(SHORT, "weights = { c = 2 }\n");
    for node in 0..3 {
        assert_eq!(rig.done(node, &["reload"]), "the weights of the file are in force\n");
    }
    assert!(within(SOON, || rig.shares(0) == [1024, 1024, 2048]), "{:?}", rig.shares(0));
    // What is shown of a file means the same.
    let file = rig.nodes[0].file().display().to_string();
    let shown = rig.done(0, &["config", "show", "--effective", &file]);
    rig.nodes[0].configure(&shown).unwrap();
    assert_eq!(rig.done(0, &["reload"]), "the file says what runs: nothing to do\n");
    let mut open = rig.connect(60);
    // A second service: once every member has it.
    let vip = rig.vip();
    let more = format!(
        "weights = {{ c = 2 }}\n\n[[service]]\nname = \"more\"\nvip = \"{vip}\"\nport = 7001\n"
    );
    rig.configure(SHORT, &more);
    let services = |node: usize| rig.status(node).unwrap()["services"].as_array().unwrap().len();
    for node in 0..2 {
        let said = rig.done(node, &["reload"]);
        assert!(said.contains("once every member has them"), "{said}");
    }
    assert_eq!(services(0), 1, "one member has it not yet");
    rig.done(2, &["reload"]);
    assert!(within(SOON, || (0..3).all(|node| services(node) == 2)));
    assert!(rig.done(0, &["table", "--service", "more"]).starts_with("more  view "));
    assert_eq!(kept(&mut open), open.len(), "nothing was cut");
    // What cannot change meanwhile is named, and all goes on.
    let text = rig.text(0, "interval = \"300ms\"\n", &more);
    rig.nodes[0].configure(&text).unwrap();
    let refused = rig.ha(0, &["reload"]);
    assert_eq!((refused.code, refused.err.contains("interval")), (78, true), "{refused:?}");
    let shown = within(SOON, || rig.done(0, &["status"]).contains("the file says something else"));
    assert!(shown, "{}", rig.done(0, &["status"]));
    rig.nodes[0].configure("nonsense").unwrap();
    let refused = rig.ha(0, &["reload"]);
    assert_eq!((refused.code, refused.err.lines().count()), (78, 1), "{refused:?}");
    assert_eq!(kept(&mut open), open.len(), "nor was it by a refusal");
}

/// An address of its own for a service that comes and goes, without a restart.
#[test]
fn a_virtual_address_comes_and_goes_while_it_runs() {
    let Some(mut rig) = Rig::whole("farm_vip", 3, SHORT, "") else { return };
    rig.until_rests();
    let mut open = rig.connect(60);
    let (v4, v6) = (rig.network.v4(101), rig.network.v6(101));
    let service = |name: &str, vip: IpAddr| {
        format!(
            "\n[[service]]\nname = \"{name}\"\nvip = \"{vip}\"\nport = {PORT}\non = \"on_addr_port\"\n"
        )
    };
    rig.configure(SHORT, &(service("v4", v4.into()) + &service("v6", v6.into())));
    // Who had it before may stand in clients' caches: it is announced at once, and again.
    let capture = rig.client.capture(&rig.network, "arp").unwrap();
    let (asks, answers) = (format!("who-has {v4} tell {v4}"), format!("Reply {v4} is-at"));
    let announced = || {
        let lines = capture.lines().unwrap();
        lines.iter().filter(|line| line.contains(&asks) || line.contains(&answers)).count()
    };
    let has = |rig: &Rig, node: usize, vip: IpAddr| rig.hosts[node].holds(vip).unwrap();
    for node in 0..3 {
        assert!(!has(&rig, 2, v4.into()), "set before all know its rule");
        rig.done(node, &["reload"]);
    }
    for vip in [v4.into(), v6.into()] {
        assert!(within(SOON, || (0..3).all(|node| has(&rig, node, vip))), "{vip}");
        let mut here = rig.connect_to(vip, 60);
        assert_eq!(count(&here).len(), 3, "{vip}: {:?}", count(&here));
        assert_eq!(kept(&mut here), here.len());
    }
    // Two frames a time; the announcements of the first address leave room for two times.
    assert!(within(SOON, || announced() >= 10), "{:#?}", capture.lines());
    drop(capture);
    // One that another farm of this machine has is refused before anything changes.
    let foreign: IpAddr = rig.network.v4(102).into();
    let name = SocketAddr::from_abstract_name(format!("ha-farm/{foreign}")).unwrap();
    let held = rig.hosts[0].inside(|| UnixListener::bind_addr(&name)).unwrap().unwrap();
    rig.nodes[0].configure(&rig.text(0, SHORT, &service("v4", foreign))).unwrap();
    let refused = rig.ha(0, &["reload"]);
    let says = format!("{foreign} is the virtual address of another farm on this machine");
    assert_eq!((refused.code, refused.err.contains(&says)), (78, true), "{refused:?}");
    let refused = rig.ha(0, &["restart-daemon"]);
    assert_eq!((refused.code, refused.err.contains(&says)), (78, true), "{refused:?}");
    drop(held);
    // Taken out of the file, they are gone; what was there before goes on.
    rig.configure(SHORT, "");
    (0..3).for_each(|node| drop(rig.done(node, &["reload"])));
    for vip in [v4.into(), v6.into()] {
        assert!(within(SOON, || (0..3).all(|node| !has(&rig, node, vip))), "{vip}");
    }
    assert_eq!(kept(&mut open), open.len(), "nothing was cut");
    // They come back through a restart as well: the next process reads its file.
    rig.configure(SHORT, &service("v4", v4.into()));
    (0..2).for_each(|node| drop(rig.done(node, &["reload"])));
    rig.done(2, &["restart-daemon"]);
    assert!(within(SOON, || (0..3).all(|node| has(&rig, node, v4.into()))));
    assert_eq!(count(&rig.connect_to(v4.into(), 60)).len(), 3);
    assert_eq!(kept(&mut open), open.len(), "{}", rig.daemon(2).output());
    // A daemon that is killed leaves them where they are, and the next one has no rule for it.
    rig.daemon(2).kill().unwrap();
    rig.until_serve(&[0, 1]);
    assert!(has(&rig, 2, v4.into()));
    rig.nodes[2].configure(&rig.text(2, SHORT, "")).unwrap();
    rig.start(2);
    let left = "an earlier daemon left the address on lo: it is taken off";
    assert!(rig.daemon(2).wait_for(left, SOON), "{}", rig.daemon(2).output());
    assert!(!has(&rig, 2, v4.into()) && has(&rig, 2, rig.vip()));
}
