//! What cannot work: one clear line that says what to do, nothing left behind, and the farm serves
//! on with what still agrees.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use ha_lab::{Process, within};

use crate::SOON;
use crate::rig::{CALM, Rig, kept};

/// The one line that a daemon ends with, its place in a folder of this test left out, and its code.
fn refusal(rig: &Rig, daemon: &Process) -> (i32, String) {
    let status = daemon.wait(SOON).unwrap();
    let whole =
        || daemon.output().rsplit_once("farm-node: ").is_some_and(|(_, it)| it.ends_with('\n'));
    within(SOON, whole);
    let output = daemon.output();
    let code = status.and_then(|status| status.code());
    let last = output.lines().rfind(|line| line.starts_with("farm-node: "));
    let folder = rig.nodes[0].folder().display().to_string();
    let line = last.unwrap_or_else(|| panic!("no line says why: {output}")).replace(&folder, "");
    (code.expect("it ends by itself"), line)
}

/// Changes node 0's file, and returns what the daemon ends with.
fn with(rig: &Rig, from: &str, to: &str) -> (i32, String) {
    let before = fs::read_to_string(rig.nodes[0].file()).unwrap();
    assert!(before.contains(from), "{from:?} is not in {before}");
    rig.nodes[0].configure(&before.replacen(from, to, 1)).unwrap();
    let daemon = rig.nodes[0].start().unwrap();
    let said = refusal(rig, &daemon);
    nothing_left(rig);
    rig.nodes[0].configure(&before).unwrap();
    said
}

fn nothing_left(rig: &Rig) {
    assert!(!rig.hosts[0].holds(rig.vip()).unwrap(), "an address is left");
    assert!(!rig.pins(0).exists(), "a filter is left");
}

#[test]
fn what_cannot_work_is_one_line_and_leaves_nothing() {
    let Some(rig) = Rig::new("farm_bad", 2) else { return };
    rig.configure("", "");
    let own = rig.hosts[0].v4(&rig.network);
    let vip = rig.vip();
    let rows = [
        ("interface = \"eth0\"", "interfaec = \"eth0\"", "unknown field `interfaec`"),
        ("id = 1", "id = 0", "id 0 is there twice: give each member its own"),
        ("id = 1", "id = 64", "have ids from 0 to 63"),
        ("name = \"b\"", "name = \"a\"", "name \"a\" is used twice"),
        ("node = 0", "node = 7", "node 7 is none of the members"),
        ("port = 7000", "port = 7000\nports = \"1-2\"", "port and ports: name one of the two"),
        ("on = \"on_addr_port\"", "on = \"on_ipid\"", "service web"),
        (
            "{ name = \"clients\", interface = \"eth0\" }",
            "{ name = \"x\", interface = \"eth1\" }",
            "no link goes over eth0, the virtual addresses' network",
        ),
        ("node = 0", "node = 0\nlease = \"900ms\"", "lease"),
        ("node = 0", "node = 0\nbuckets = 17", "it must be 4096 or 256"),
        ("node = 0", "node = 0\nsurvey = \"31s\"", "survey must be 300ms to 30s"),
        ("node = 0", "node = 0\nplane = \"xdp\"", "unknown variant `xdp`"),
    ];
    for (from, to, says) in rows {
        let (code, said) = with(&rig, from, to);
        assert_eq!(code, 78, "{said}");
        assert!(said.starts_with("farm-node: /ha-node.toml:"), "{said}");
        assert!(said.contains(says), "{says:?} is not said: {said}");
    }
    let (code, said) = with(&rig, &format!("vip = \"{vip}\""), &format!("vip = \"{own}\""));
    assert_eq!((code, said.contains("is a member's own address")), (78, true), "{said}");
    let text = fs::read_to_string(rig.nodes[0].file()).unwrap().replace("eth0", "eth9");
    rig.nodes[0].configure(&text).unwrap();
    let daemon = rig.nodes[0].start().unwrap();
    let (code, said) = refusal(&rig, &daemon);
    assert_eq!(code, 78);
    assert!(said.contains("eth9") && said.contains("`ip link` lists those"), "{said}");
    nothing_left(&rig);
}

#[test]
fn a_right_that_is_missing_is_named_and_leaves_nothing() {
    let Some(rig) = Rig::new("farm_rights", 2) else { return };
    rig.configure("", "");
    let program = env!("CARGO_BIN_EXE_farm-node");
    for (lacks, plane, named) in [
        ("-net_admin", "auto", "CAP_NET_ADMIN"),
        ("-bpf,-sys_admin", "bpf", "CAP_BPF"),
        ("-net_admin", "nft", "CAP_NET_ADMIN"),
    ] {
        rig.configure(&format!("plane = \"{plane}\"\n"), "");
        let daemon = rig.hosts[0].spawn("setpriv", |it| {
            it.args(["--bounding-set", lacks, program, "--config"]).arg(rig.nodes[0].file())
        });
        let (code, said) = refusal(&rig, &daemon.unwrap());
        assert!(code == 1 || code == 78, "{code}: {said}");
        assert!(said.contains(named) && said.contains("run as root, or grant it"), "{said}");
        nothing_left(&rig);
    }
}

/// `CapabilityBoundingSet=` of `examples/systemd/ha-farm.service`.
#[test]
fn the_rights_that_its_unit_gives_are_enough() {
    let Some(mut rig) = Rig::new("farm_unit", 2) else { return };
    let unit = include_str!("../../systemd/ha-farm.service");
    let line = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let words = line.unwrap().to_lowercase().replace("cap_", "+").replace(' ', ",");
    let program = env!("CARGO_BIN_EXE_farm-node");
    for plane in ["bpf", "nft"] {
        rig.configure(&format!("{CALM}plane = \"{plane}\"\n"), "");
        for node in 0..2 {
            let daemon = rig.hosts[node].spawn("setpriv", |it| {
                let set = format!("-all,{words}");
                it.args(["--bounding-set", &set, "--inh-caps", "-all", program, "--config"])
                    .arg(rig.nodes[node].file())
            });
            rig.daemons[node] = Some(daemon.unwrap());
        }
        rig.until_serve(&[0, 1]);
        rig.connect(10);
        if plane == "bpf" {
            let version = fs::read_dir(rig.pins(0)).unwrap().next().unwrap().unwrap();
            fs::remove_file(version.path().join("tc-eth0")).unwrap();
            let told = "the filter was not there any more: it is put back";
            assert!(rig.daemon(0).wait_for(told, SOON), "{}", rig.daemon(0).output());
        }
        for node in 0..2 {
            rig.daemon(node).terminate().unwrap();
            rig.daemon(node).wait(SOON).unwrap().expect("it ends");
            nothing_left(&rig);
        }
    }
}

#[test]
fn two_daemons_of_one_number_are_told_apart_from_a_restart() {
    let Some(mut rig) = Rig::new("farm_twice", 3) else { return };
    rig.configure(CALM, "");
    // c says that it is b, at b's place in the file but at its own address.
    let (b, c) = (rig.hosts[1].v4(&rig.network), rig.hosts[2].v4(&rig.network));
    let text = rig.text(2, CALM, "").replace("node = 2", "node = 1");
    let text = text
        .replace(&format!("{b}:7500"), "SELF")
        .replace(&format!("{c}:7500"), &format!("{b}:7500"))
        .replace("SELF", &format!("{c}:7500"));
    rig.nodes[2].configure(&text).unwrap();
    for node in [0, 1] {
        rig.start(node);
    }
    rig.until_serve(&[0, 1]);
    rig.start(2);
    let told = "two daemons say that they are it: change one's node";
    // It hears the one that serves, falls silent, and leaves it alone.
    assert!(rig.daemon(2).wait_for(told, SOON), "{}", rig.daemon(2).output());
    rig.until_serve(&[0, 1]);
}

#[test]
fn other_rules_and_keys_are_left_out_and_the_rest_serves_on() {
    let Some(mut rig) = Rig::new("farm_differ", 3) else { return };
    rig.configure(CALM, "");
    let vip = rig.vip();
    let other = format!("\n[[service]]\nname = \"more\"\nvip = \"{vip}\"\nport = 7001\n");
    rig.nodes[2].configure(&rig.text(2, CALM, &other)).unwrap();
    for node in [0, 1, 2] {
        rig.start(node);
    }
    let told =
        "left out: its rules, hash, key, buckets, mode, plane, drain or interval are not this";
    assert!(rig.daemon(0).wait_for(told, SOON), "{}", rig.daemon(0).output());
    let fits = |rig: &Rig| rig.shares(0) == [2048, 2048, 0];
    assert!(within(SOON, || fits(&rig)), "{:?}", rig.shares(0));
    let shown = rig.done(0, &["status"]);
    assert!(shown.contains("disagrees"), "{shown}");
    rig.connect(20);
    // A key that nobody else has.
    let key = rig.lab.folder().join("other-key");
    fs::write(&key, "08".repeat(32)).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).unwrap();
    rig.daemon(2).kill().unwrap();
    rig.daemons[2] = None;
    let right = ha_lab::key(&rig.lab).unwrap();
    let text = rig.text(2, CALM, "").replace(right.to_str().unwrap(), key.to_str().unwrap());
    rig.nodes[2].configure(&text).unwrap();
    rig.start(2);
    assert!(rig.daemon(0).wait_for("another key", SOON), "{}", rig.daemon(0).output());
    assert!(within(SOON, || fits(&rig)), "{:?}", rig.shares(0));
    // The right file, and it is one of them.
    rig.daemon(2).kill().unwrap();
    rig.nodes[2].configure(&rig.text(2, CALM, "")).unwrap();
    rig.start(2);
    rig.until_serve(&[0, 1, 2]);
}

#[test]
fn a_second_farm_of_this_machine_with_its_address_or_its_name_is_refused() {
    let Some(mut rig) = Rig::new("farm_vip", 2) else { return };
    rig.configure(CALM, "");
    rig.start_all();
    rig.until_serve(&[0, 1]);
    let mut open = rig.connect(20);
    // Another farm: other ports and folders.
    let folder = rig.nodes[0].folder().display().to_string();
    let text = rig.text(0, "id = 7\n", "").replace(":7500", ":7600");
    let text = text.replace(&format!("\"{folder}/"), &format!("\"{folder}/second-"));
    // With another name and the same address; with another address and the same name, by which the
    // filter in the kernel is found again.
    let renamed = text.replace(&rig.module(0), &format!("{}2", rig.module(0)));
    let moved = text.replace(&rig.vip().to_string(), "198.18.9.9");
    for (text, line) in [
        (renamed, "is the virtual address of another farm on this machine"),
        (moved, "another daemon of this machine has it: give each farm its own name"),
    ] {
        let file = rig.lab.folder().join("second.toml");
        fs::write(&file, text).unwrap();
        let program = env!("CARGO_BIN_EXE_farm-node");
        let daemon = rig.hosts[0].spawn(program, |it| it.arg("--config").arg(&file)).unwrap();
        let (code, said) = refusal(&rig, &daemon);
        assert_ne!(code, 0);
        assert!(said.contains(line), "{said}");
    }
    assert_eq!(kept(&mut open), 20, "its filter is as it was");
    rig.until_serve(&[0, 1]);
}

/// Nobody can refuse it; each is told, by the other one's card.
#[test]
fn two_farms_on_two_machines_with_one_address_say_so_and_serve_on() {
    for mode in ["invisible", "directed"] {
        let Some(mut rig) = Rig::new("farm_two", 2) else { return };
        let shared = format!("{CALM}mode = \"{mode}\"\n[http]\nlisten = \"0.0.0.0:9010\"\n");
        rig.configure(&shared, "");
        let other = rig.text(1, &shared, "").replacen("cluster = \"", "cluster = \"other-", 1);
        rig.nodes[1].configure(&other).unwrap();
        for node in [0, 1] {
            rig.start(node);
        }
        for (node, other) in [(0, 1), (1, 0)] {
            let card = rig.hosts[other].mac(&rig.network).unwrap();
            let line = format!(
                "{card} answers for {} too: clients may go there and not to this farm",
                rig.vip()
            );
            let daemon = rig.daemon(node);
            let told = format!("{line}; give one of the two another address");
            assert!(daemon.wait_for(&told, SOON), "{mode}: {}", daemon.output());
            rig.until_serve(&[node]);
            let status = rig.status(node).unwrap();
            assert_eq!((&status["verdict"], &status["why"]), (&"UNPROTECTED".into(), &line.into()));
            assert_eq!(rig.ha(node, &["check"]).code, 1, "a monitor sees it");
            let (_, page) = rig.http(node, "/metrics");
            let gauge = page.lines().find(|line| line.starts_with("ha_farm_strangers{"));
            assert!(gauge.is_some_and(|line| line.ends_with(" 1")), "{mode}: {page}");
            let told = rig.daemon(node).output().matches(" too: clients may go there").count();
            assert_eq!(told, 1, "{mode}");
        }
    }
}

#[test]
fn a_file_is_checked_without_a_daemon() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/farm-node.toml");
    let ha = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_ha")).args(words).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), output.stderr)
    };
    let (code, said, error) = ha(&["config", "check", file]);
    assert!(said.ends_with("fine: farm\n"), "{said}");
    // Its key is on no machine of ours.
    let error = String::from_utf8(error).unwrap();
    assert_eq!((code, error.contains("/etc/ha-node/key")), (Some(78), true), "{error}");
    let (code, said, _) = ha(&["config", "show", "--effective", file]);
    assert_eq!(code, Some(0));
    assert!(said.contains("[[member]]") && said.contains("lease = \"180ms\""), "{said}");
}
