//! The files of the programs: the examples hold every field, and errors say where they are.
#![allow(clippy::unwrap_used, reason = "a test says what failed by where it stopped")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use ha_core::farm::Timing;
use ha_core::ha_farm::{Hash, HashOn, Mac};
use ha_core::http::RawHttp;
use ha_core::linux::hook::RawNotify;
use ha_core::linux::node::config::Node;
use ha_core::linux::node::farm::checker::OnFailure;
use ha_core::linux::node::farm::config::FarmNode;
use ha_core::linux::node::farm::effective::effective;
use ha_core::linux::node::witness;
use ha_core::raw::{PingFrom, PingTarget, RawVote};

/// A node's file, and a folder for it and its scripts.
struct Rig(tempfile::TempDir);

impl Rig {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn script(&self, name: &str, mode: u32) -> &Self {
        self.write(&format!("web/{name}"), "#!/bin/sh\n");
        let path = self.0.path().join("web").join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn read(&self) -> Result<Node, String> {
        let home = self.0.path().display().to_string();
        Node::read(&self.0.path().join("ha-node.toml"))
            .map_err(|error| error.to_string().replace(&home, "/f"))
    }
}

const NODE: &str = r#"cluster = "shop"
node = 0
peer = 1
links = [{ local = "10.0.0.1:1", peer = "10.0.0.2:1" }]
replication = { listen = "10.0.0.1:2", connect = "10.0.0.2:2" }
vote = "none"
insecure = true
"#;

const WEB: &str = r#"[[module]]
name = "web"
id = 1
vips = [{ address = "10.0.0.10", interface = "eth0" }]
"#;

fn complaint(node: &str, modules: &str) -> String {
    let rig = Rig::new();
    rig.write("ha-node.toml", &format!("{NODE}{node}{modules}")).read().unwrap_err()
}

/// With everything that is commented out, but for what contradicts the rest.
fn uncommented(text: &str, without: &[&str]) -> String {
    let keep = |line: &str| !without.iter().any(|word| line.starts_with(&format!("{word} =")));
    let lines = text.lines().map(|line| {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let field = bare.starts_with('[') || bare.split(' ').nth(1) == Some("=");
        if field && keep(bare) {
            bare
        } else if line.starts_with('#') || !keep(line) {
            ""
        } else {
            line
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn example(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)).unwrap()
}

#[test]
fn the_example_of_a_node_works_and_shows_the_defaults() {
    let rig = Rig::new();
    rig.script("start_prim", 0o755).script("stop_prim", 0o755);
    let scripts = rig.0.path().join("web").display().to_string();
    let text = example("ha-node.toml").replace("/etc/ha-node/web", &scripts);
    let plain = rig.write("ha-node.toml", &text).read().unwrap();
    let others = ["name", "ping", "probe", "accept_key_file", "insecure", "watchdog", "unit"];
    let others =
        [&others[..], &["alone_after", "guardian", "exec", "witness_from", "etcd", "etcd_prefix"]]
            .concat();
    // The names of module and checker are not the node's.
    let text = uncommented(&text, &others)
        .replace("[[module]]", "[[module]]\nname = \"web\"")
        .replace("[[module.checker]]", "[[module.checker]]\nname = \"front\"");
    let full = rig.write("ha-node.toml", &text).read().unwrap();
    let (plain, full) = (&plain.modules[0], &full.modules[0]);
    assert_eq!(plain.node, full.node, "what is commented out is the default");
    assert_eq!((&plain.vips, &plain.service), (&full.vips, &full.service));
    assert_eq!(plain.service.as_ref().unwrap().grace, Duration::from_secs(3));
}

#[test]
fn the_example_of_a_witness_works_with_all_that_is_commented_out() {
    let rig = Rig::new();
    let path = rig.0.path().join("witness.toml");
    fs::write(&path, example("witness.toml")).unwrap();
    let plain = witness::read(&path).unwrap();
    assert!(plain.key.is_some() && plain.clusters.is_empty());
    fs::write(&path, uncommented(&example("witness.toml"), &["insecure"])).unwrap();
    let full = witness::read(&path).unwrap();
    assert_eq!(full.clusters.len(), 1);
    assert_eq!((full.listen, full.folder), (plain.listen, plain.folder));
}

#[test]
fn the_examples_name_every_field() {
    let sources = [
        include_str!("../../ha-core/src/linux/node/config.rs"),
        include_str!("../../ha-core/src/linux/node/witness.rs"),
        concat!(
            include_str!("../../ha-core/src/linux/node/farm/config.rs"),
            include_str!("../../ha-core/src/linux/node/farm/service.rs")
        ),
        "pub struct RawFarmChecker {\n    pub on_failure: OnFailure,\n}",
    ];
    let farm = example("farm-node.toml");
    let texts = [example("ha-node.toml"), example("witness.toml"), farm.clone(), farm];
    for (source, text) in sources.iter().zip(&texts) {
        let raw = source.split("pub struct ").filter(|part| part.starts_with("Raw"));
        let fields = raw.flat_map(|part| {
            let body = part.split("\n}").next().unwrap();
            body.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split(':').next())
        });
        for field in fields {
            let shown = text.contains(&format!("{field} =")) || text.contains(&format!("{field}]"));
            assert!(shown, "the example does not show {field}");
        }
    }
}

/// Which of them a checker of a kind has differs, so they stand in a table.
#[test]
fn the_example_names_every_field_of_a_checker() {
    let source = include_str!("../../ha-core/src/raw/checker.rs");
    let body = source.split("pub struct RawChecker {").nth(1).unwrap();
    let body = body.split("\n}").next().unwrap();
    let fields: Vec<&str> = body
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub ")?.split(':').next())
        .collect();
    let text = example("ha-node.toml");
    let table = text.split("# What is looked at").nth(1).unwrap();
    let is_shown = |field: &str| {
        table.split(|it: char| !it.is_alphanumeric() && it != '_').any(|word| word == field)
    };
    assert!(fields.len() > 20, "{fields:?}");
    for field in fields {
        assert!(is_shown(field), "the example does not show {field}");
    }
}

/// Who chooses a vote reads there when it makes two primaries, and what helps.
#[test]
fn each_vote_is_told_with_its_limit() {
    let votes = ["arbiter", "none", "ping", "manual"];
    for vote in votes {
        serde_json::from_value::<RawVote>(vote.into()).unwrap();
    }
    let text = example("ha-node.toml");
    let told = text.split("# Who decides").nth(1).unwrap().split("\nvote =").next().unwrap();
    let document = include_str!("../../docs/mirror.md");
    let table = document.split("| `vote` |").nth(1).unwrap().split("\n## ").next().unwrap();
    for vote in votes {
        assert!(told.contains(&format!("\n#   {vote} ")), "{vote}: {told}");
        assert!(table.contains(&format!("\n| `{vote}`")), "{vote}: {table}");
    }
    // The link between the nodes alone: `ping.rs` of the simulator plays it.
    let ping = told.split("#   ping ").nth(1).unwrap().split("#   manual").next().unwrap();
    for word in ["two primaries", "both reach", "second network", "arbiter"] {
        let plain = ping.replace("\n#            ", " ");
        assert!(plain.contains(word), "{word}: {plain}");
    }
    let ping = table.lines().find(|line| line.starts_with("| `ping` ")).unwrap();
    assert!(ping.contains("only what joins the two is cut and both reach"), "{ping}");
}

/// Both kinds of place that an address can be asked from, in the example and in the document.
#[test]
fn from_where_an_address_outside_is_asked_is_shown() {
    let text = example("ha-node.toml");
    let shown = text.lines().find_map(|line| line.strip_prefix("# ping = ")).unwrap();
    let shown: Vec<PingTarget> = serde_json::from_str(shown).unwrap();
    let document = include_str!("../../docs/mirror.md");
    let told = document.split("`\"").skip(1).filter_map(|it| it.split("\"`").next()?.parse().ok());
    for targets in [shown, told.collect()] {
        let from: Vec<_> = targets.iter().filter_map(|it| it.from.as_ref()).collect();
        let interface = |it: &&PingFrom| **it == PingFrom::Interface("eth0".into());
        let address = |it: &&PingFrom| matches!(it, PingFrom::Address(_));
        assert!(from.iter().any(interface) && from.iter().any(address), "{targets:?}");
    }
}

/// Where nobody says where to listen.
#[test]
fn health_and_metrics_have_a_port_of_their_own() {
    let rig = Rig::new();
    let default = Some(RawHttp { listen: "0.0.0.0:9010".parse().unwrap() });
    let node = rig.write("ha-node.toml", &format!("{NODE}[http]\n{WEB}")).read().unwrap();
    assert_eq!(node.raw.http, default);
    assert_eq!(rig.write("ha-node.toml", &format!("{NODE}{WEB}")).read().unwrap().raw.http, None);
    let node = farm(&rig, &format!("{FARM}[http]\n{SERVICE}")).unwrap();
    assert_eq!(node.raw.http, default);
    let shown = "\n# listen = \"0.0.0.0:9010\"\n";
    assert!(["ha-node.toml", "farm-node.toml"].iter().all(|file| example(file).contains(shown)));
}

/// A farm's file, which is written into `rig`.
fn farm(rig: &Rig, text: &str) -> Result<FarmNode, String> {
    let home = rig.0.path().display().to_string();
    rig.write("farm.toml", text);
    FarmNode::read(&rig.0.path().join("farm.toml"))
        .map_err(|error| error.to_string().replace(&home, "/f"))
}

#[test]
fn the_example_of_a_farm_works_and_shows_the_defaults() {
    let rig = Rig::new();
    let text = example("farm-node.toml");
    let plain = farm(&rig, &text).unwrap();
    let others = ["accept_key_file", "hash_key_file", "insecure", "scripts", "exec"];
    let full = uncommented(&text, &others);
    let full = farm(&rig, &full).unwrap();
    let config = |node: &FarmNode| {
        node.config(Hash::Sip { key: [1; 16] }, Some(Mac([2; 6])), Duration::ZERO).unwrap()
    };
    assert_eq!(config(&plain), config(&full), "what is commented out is the default");
    assert_eq!(*config(&plain).timing(), Timing::default());
    assert_eq!((&plain.names, &plain.services), (&full.names, &full.services));
    let raw = |node: &FarmNode| {
        let raw = node.raw.clone();
        (raw.module, raw.id, raw.plane, raw.state, raw.run, raw.log, raw.log_bytes)
    };
    assert_eq!(raw(&plain), raw(&full));
    assert_eq!(full.checkers[0].1, OnFailure::Drain);
    let notify = full.raw.notify.clone().unwrap();
    let least = RawNotify { level: None, timeout: None, ..notify };
    assert_eq!(full.hook, Some(least.try_into().unwrap()), "and of whom it tells");
    let services: Vec<_> = plain.services.iter().map(|it| (it.rule.on, it.weight)).collect();
    assert_eq!(services, [(HashOn::Addr, 1), (HashOn::Net { v4: 24, v6: 64 }, 4)]);
}

/// What a checker looks at, in fields of their own.
const CHECKERS: &str = r#"
[[checker]]
name = "words"
kind = "process"
cmdline = "nginx: master"
timeout = "500ms"
grace = "7s"

[[checker]]
name = "run"
kind = "custom"
command = ["/bin/test", "-e", "/a b"]
on_failure = "reset"
rise = 3
fall = 4
"#;

#[test]
fn what_a_farm_runs_by_is_shown_as_a_file_that_means_the_same() {
    let rig = Rig::new();
    fs::create_dir(rig.0.path().join("web")).unwrap();
    let text = uncommented(&example("farm-node.toml"), &["accept_key_file", "insecure", "exec"]);
    let full = [
        ("\"/etc/ha-node/web\"", &*format!("{:?}", rig.0.path().join("web"))),
        ("mode = \"invisible\"", "mode = \"directed\""),
        ("plane = \"auto\"", "plane = \"nft\""),
        ("isolated = \"all\"", "isolated = \"nothing\""),
        ("uncovered = \"deny\"", "uncovered = \"pass\""),
        ("buckets = 4096", "buckets = 256"),
        ("drain = \"5m\"", "drain = \"90s\""),
        ("lease = \"180ms\"\n", ""),
        ("slack = \"75ms\"\n", ""),
        ("round_trip = \"5ms\"\n", ""),
        ("interval = \"100ms\"", "interval = \"80ms\""),
        ("warm_up = \"0s\"", "warm_up = \"1m\""),
        ("survey = \"3s\"", "survey = \"4s\""),
        ("stop_timeout = \"5m\"", "stop_timeout = \"6m\""),
        ("weight = 1\n", "weight = 7\n"),
        ("level = \"warn\"", "level = \"error\""),
        ("timeout = \"10s\"\n", "timeout = \"200ms\"\n"),
        ("protocol = \"tcp\"\non = \"on_addr\"", "protocol = \"udp\"\non = \"on_ipid\""),
    ];
    let full = full.into_iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    for text in [example("farm-node.toml"), full + CHECKERS] {
        let before = farm(&rig, &text).unwrap();
        let shown = effective(&before, None);
        let after = farm(&rig, &shown).unwrap_or_else(|error| panic!("{error}\n{shown}"));
        let hash = Hash::Jhash { seed: 1 };
        // Whichever clock ends its lease.
        for tick in [0, 10].map(Duration::from_millis) {
            let config = |node: &FarmNode| node.config(hash, Some(Mac([2; 6])), tick).unwrap();
            assert_eq!(config(&before), config(&after), "{shown}");
        }
        assert_eq!(before.services, after.services, "{shown}");
        assert_eq!((&before.checkers, &before.scripts), (&after.checkers, &after.scripts));
        assert_eq!(before.hook, after.hook, "{shown}");
        let raw = |node: &FarmNode| {
            let raw = node.raw.clone();
            let member =
                raw.member.into_iter().map(|it| (it.id, it.addresses, it.weight.or(Some(1))));
            let names = (raw.cluster, raw.module, raw.interface, raw.links);
            let keys = (raw.key_file, raw.hash_key_file, raw.insecure, node.survey());
            let places = (raw.state, raw.run, raw.log, raw.log_bytes, raw.http);
            let weights: Vec<_> = raw.service.into_iter().map(|it| it.weights).collect();
            (names, keys, places, raw.plane, member.collect::<Vec<_>>(), weights)
        };
        assert_eq!(raw(&before), raw(&after), "{shown}");
        assert_eq!(shown, effective(&after, None), "nothing is left out the second time");
    }
}

const FARM: &str = r#"cluster = "shop"
node = 0
insecure = true
interface = "eth0"
links = [{ name = "clients", interface = "eth0" }]
member = [{ id = 0, addresses = ["10.0.0.1:1"] }, { id = 1, addresses = ["10.0.0.2:1"] }]
"#;

const SERVICE: &str = "[[service]]\nvip = \"10.0.0.10\"\nport = 80\n";

#[test]
fn errors_of_a_farm_name_file_line_and_field() {
    let rig = Rig::new();
    let told = |text: &str| farm(&rig, text).unwrap_err();
    let with = |more: &str| told(&format!("{FARM}{more}{SERVICE}"));
    let instead = |old: &str, new: &str| {
        assert!(FARM.contains(old), "{old} is not replaced");
        told(&format!("{}{SERVICE}", FARM.replace(old, new)))
    };
    let service = |text: &str| told(&format!("{FARM}{SERVICE}{text}"));
    let rows = [
        (told(FARM), "/f/farm.toml:1: missing field `service`"),
        (told(&format!("{FARM}service = []\n")), "/f/farm.toml:7: service: no rule: nothing"),
        (with("beat = 1\n"), "/f/farm.toml:7: unknown field `beat`"),
        (instead("node = 0", "node = 7"), "/f/farm.toml:2: node 7 is none of the members"),
        (instead("insecure = true", ""), "/f/farm.toml:1: key_file is missing"),
        (
            instead("interface = \"eth0\"\nl", "interface = \"eth9\"\nl"),
            "/f/farm.toml:5: no link goes over eth9, the virtual addresses' network: two groups",
        ),
        (instead("id = 1", "id = 64"), "/f/farm.toml:6: id 64: the members of a farm have ids"),
        (instead("id = 1", "id = 0"), "/f/farm.toml:6: name \"node0\" is used twice"),
        (instead("10.0.0.2", "10.0.0.1"), "/f/farm.toml:6: 10.0.0.1:1 is there twice"),
        (
            instead("[\"10.0.0.2:1\"]", "[]"),
            "/f/farm.toml:6: 0 addresses for 1 links: name one on each",
        ),
        (with("lease = \"200ms\"\n"), "/f/farm.toml:7: lease 200ms is too long: a dead"),
        (with("slack = \"90ms\"\n"), "/f/farm.toml:7: lease 180ms is too short: it must"),
        (with("buckets = 100\n"), "/f/farm.toml:7: buckets is 100: it must be 4096 or 256"),
        (with("drain = \"25h\"\n"), "/f/farm.toml:7: drain must be at most a day"),
        (with("scripts = \"/no\"\n"), "/f/farm.toml:7: scripts: there is no"),
        (
            with("[notify]\nexec = \"tell\"\n"),
            "/f/farm.toml:7: notify.exec is \"tell\": write the whole path of a program",
        ),
        (with("module = \"W b\"\n"), "/f/farm.toml:7: module \"W b\": a farm's name has"),
        (service("ports = \"1\"\n"), "/f/farm.toml:10: port and ports: name one of the two"),
        (service("on = \"on_ipid\"\n"), "/f/farm.toml:10: service 10.0.0.10:80/tcp: rule 0: on_ip"),
        (service("net = { v4 = 8 }\n"), "/f/farm.toml:10: net is for on = \"on_net\""),
        (
            service("weights = { web9 = 1 }\n"),
            "/f/farm.toml:10: weights: no member is called \"web9\"",
        ),
        (
            service(&SERVICE.replace("port = 80", "ports = \"70-90\"")),
            "/f/farm.toml:10: service 10.0.0.10:70-90/tcp: rules 0 and 1 cover one port",
        ),
        (
            service("[[service]]\nvip = \"10.0.0.2\"\nport = 80\n"),
            "/f/farm.toml:11: 10.0.0.2 is a member's own address",
        ),
        (
            service("[[checker]]\nname = \"a\"\nkind = \"intf\"\naction = \"wait\"\n"),
            "/f/farm.toml:10: action is a mirror's: a farm's checker has on_failure",
        ),
    ];
    for (told, begins) in rows {
        assert!(told.starts_with(begins), "{told:?} is not {begins:?}");
        assert!(!told.contains('\n'), "one line: {told:?}");
    }
}

#[test]
fn modules_may_have_files_of_their_own() {
    let rig = Rig::new();
    rig.write("ha-node.toml", NODE);
    rig.write("modules.d/b.toml", "name = \"b\"\nid = 2\n");
    rig.write("modules.d/a.toml", "name = \"a\"\nid = 1\n");
    rig.write("modules.d/notes.txt", "no module");
    let node = rig.read().unwrap();
    let names: Vec<&str> = node.modules.iter().map(|module| module.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    rig.write("modules.d/b.toml", "name = \"b\"\nid = 1\n");
    let told = "/f/modules.d/b.toml:2: id 1 is used twice: give each module one of its own";
    assert_eq!(rig.read().unwrap_err(), told);
}

#[test]
fn the_witness_is_not_asked_from_a_virtual_address() {
    let rig = Rig::new();
    let vote = "witness = \"10.0.0.3:1\"\nwitness_from = \"10.0.0.10\"\n";
    let text = format!("{}{WEB}", NODE.replace("vote = \"none\"\n", vote));
    let told = rig.write("ha-node.toml", &text).read().unwrap_err();
    let begins = "/f/ha-node.toml:12: 10.0.0.10 is witness_from, too: only who holds it could ask";
    assert!(told.starts_with(begins), "{told}");
}

#[test]
fn errors_name_file_line_and_field() {
    let named_b = |text: &str| text.replace("id = 1", "id = 2").replace("\"web\"", "\"b\"");
    let twice = format!("{WEB}{}", named_b(WEB));
    let with = |source| WEB.replace(" }]", &format!(", source = \"{source}\" }}]"));
    let (preferred, other) = (with("preferred"), named_b(&with("preferred")));
    let rows = [
        (
            complaint("", ""),
            "/f/ha-node.toml:1: module is missing: a node needs at least one [[module]]",
        ),
        (complaint("heartbeet = 1\n", WEB), "/f/ha-node.toml:8: unknown field `heartbeet`"),
        (complaint("heartbeat = 1\n", WEB), "/f/ha-node.toml:8: invalid type: integer `1`"),
        (
            complaint("timeout = \"200ms\"\n", WEB),
            "/f/ha-node.toml:8: timeout 200ms must be at least 3",
        ),
        (complaint("witness = \"10.0.0.3:1\"\n", WEB), "/f/ha-node.toml:8: witness is set, but"),
        (
            complaint("ping = [\"192.0.2.1%a b\"]\n", WEB),
            "/f/ha-node.toml:8: \"a b\" is no place to ask from: write an interface or an address",
        ),
        (
            complaint("ping = [\"192.0.2.1%fd00::1\"]\n", WEB),
            "/f/ha-node.toml:8: 192.0.2.1 cannot be asked from fd00::1: name an address of the same",
        ),
        (complaint("run = \"here\"\n", WEB), "/f/ha-node.toml:8: run is here: name it from / on"),
        (
            complaint("name = \"db\"\npeer_name = \"db\"\n", WEB),
            "/f/ha-node.toml:9: both nodes are called \"db\": set peer_name",
        ),
        (
            complaint("name = \"data base\"\n", WEB),
            "/f/ha-node.toml:8: name \"data base\" must have 1 to 64 bytes without blanks",
        ),
        (
            complaint(&format!("peer_name = \"{}\"\n", "n".repeat(65)), WEB),
            "/f/ha-node.toml:8: peer_name \"nnn",
        ),
        (
            complaint("log_bytes = 1\n", WEB),
            "/f/ha-node.toml:8: log_bytes is 1: it must be 4096 to",
        ),
        (complaint("", &WEB.replace("id = 1", "")), "/f/ha-node.toml:8: missing field `id`"),
        (
            complaint("", &WEB.replace("\"web\"", "\"W b\"")),
            "/f/ha-node.toml:9: name \"W b\": a module's",
        ),
        (
            complaint("", &format!("{WEB}default_prim = 7\n")),
            "/f/ha-node.toml:12: default_prim names",
        ),
        (complaint("", &format!("{WEB}grace = \"0s\"\n")), "/f/ha-node.toml:12: grace is 0us"),
        (complaint("", &format!("{WEB}{WEB}")), "/f/ha-node.toml:13: name \"web\" is used twice"),
        (
            complaint("", &twice),
            "/f/ha-node.toml:15: 10.0.0.10 is an address of module \"web\" too",
        ),
        (complaint("", &WEB.replace("10.0.0.10", "224.0.0.1")), "/f/ha-node.toml:11: 224.0.0.1"),
        (complaint("", &with("alias\", lable = \"a")), "/f/ha-node.toml:11: unknown field `lable`"),
        (
            complaint("", &with("prefered")),
            "/f/ha-node.toml:11: unknown variant `prefered`, expected `alias` or `preferred`",
        ),
        (
            complaint("", &with("preferred").replace("10.0.0.10", "fe80::1")),
            "/f/ha-node.toml:11: fe80::1 cannot be a preferred source",
        ),
        (
            complaint("", &format!("{preferred}{}", other.replace("0.10", "0.11"))),
            "/f/ha-node.toml:15: 10.0.0.11 is a preferred source on \"eth0\", and so is 10.0.0.10 of \
             module \"web\": only one can be; make the other \"alias\"",
        ),
        (complaint("", &format!("{WEB}refresh = \"1h\"\n")), "/f/ha-node.toml:11: a refresh of"),
        (
            complaint("", &format!("{WEB}scripts = \"/no\"\n")),
            "/f/ha-node.toml:12: scripts: there is no",
        ),
    ];
    for (told, begins) in rows {
        assert!(told.starts_with(begins), "{told:?} is not {begins:?}");
        assert!(!told.contains('\n'), "one line: {told:?}");
    }
}

#[test]
fn scripts_that_cannot_work_are_found_before_anything_runs() {
    let rig = Rig::new();
    rig.script("start_prim", 0o644).script("stop_prim", 0o755);
    let scripts = format!("scripts = \"{}/web\"\n", rig.0.path().display());
    rig.write("ha-node.toml", &format!("{NODE}{WEB}{scripts}"));
    let told = "/f/ha-node.toml:12: scripts: /f/web/start_prim is not executable: \
        chmod +x /f/web/start_prim";
    assert_eq!(rig.read().unwrap_err(), told);
    rig.script("start_prim", 0o755);
    assert!(rig.read().unwrap().modules[0].service.is_some());
    rig.write("ha-node.toml", &format!("{NODE}{WEB}{scripts}unit = \"web.service\"\n"));
    let told = rig.read().unwrap_err();
    assert!(told.starts_with("/f/ha-node.toml:13: unit stands in place of start_prim"), "{told}");
}

#[test]
fn a_witness_says_what_is_wrong_and_where() {
    let rig = Rig::new();
    let path = rig.0.path().join("witness.toml");
    let listen = "listen = \"127.0.0.1:1\"\n";
    let told = |text: &str| {
        fs::write(&path, format!("{listen}{text}")).unwrap();
        let error = witness::read(&path).unwrap_err().to_string();
        error.replace(&rig.0.path().display().to_string(), "/f")
    };
    let missing = told("");
    assert!(missing.starts_with("/f/witness.toml:1: key_file is missing"), "{missing}");
    let unknown = told("keyfile = \"k\"\n");
    assert!(unknown.starts_with("/f/witness.toml:2: unknown field `keyfile`"), "{unknown}");
    let shop = "[[cluster]]\nname = \"shop\"\nkey_file = \"k\"\n";
    let twice = told(&format!("{shop}{shop}"));
    assert!(twice.starts_with("/f/witness.toml:6: name \"shop\" is there twice"), "{twice}");
}

/// The same for all programs: what is wrong with the path itself.
#[test]
fn a_file_that_cannot_be_read_says_what_to_do() {
    let rig = Rig::new();
    let (missing, folder) = (rig.0.path().join("none.toml"), rig.0.path());
    let said = |path: &Path| {
        let (node, farm) = (Node::read(path).unwrap_err(), FarmNode::read(path).unwrap_err());
        assert_eq!(node, farm);
        assert_eq!(node, witness::read(path).unwrap_err());
        node.to_string().replace(&path.display().to_string(), "FILE")
    };
    assert_eq!(
        said(&missing),
        "FILE: there is no such file: name another one, or write it; examples/config has one with \
         every field"
    );
    assert_eq!(said(folder), "FILE: it is a folder: name a file in it");
}
