//! Two bare servers and a witness.

use ha_lab::{now, within};

use crate::SOON;
use crate::document::{Block, chapters, commands};
use crate::machine::Machines;

const DOCUMENT: &str = include_str!("../../../docs/mirror.md");

const NODES: [&str; 2] = ["node1", "node2"];

const CURL: &str = "curl http://10.0.0.10/";

#[test]
fn two_bare_servers_become_a_protected_service() {
    let Some(mut pair) = Machines::boot("doc_mirror", &["node1", "node2", "witness"]) else {
        return;
    };
    let began = now();
    for chapter in chapters(DOCUMENT) {
        let begins = now();
        for block in chapter.blocks {
            match block {
                Block::File(text) => write(&mut pair, &text),
                Block::Commands(text) => obey(&mut pair, &text),
                Block::Shown(text) => panic!("what is this? {text}"),
            }
        }
        println!("{:>8.1?}  {}", now().saturating_since(begins), chapter.title);
    }
    println!("{:>8.1?}  in all", now().saturating_since(began));
    // It was moved, and moved back.
    serves(&pair, "node1");
    swap(&mut pair, "node1", "ha swap --yes");
    serves(&pair, "node2");
    goes_first(&mut pair);
    reload_and_stop(&mut pair);
    goes_first(&mut pair);
    from_day_to_day(&mut pair);
    cut_power(&mut pair);
    hang(&mut pair);
    what_no_restart_mends(&mut pair);
    by_unit(&mut pair);
    by_user(&mut pair);
    let (told, tried) = (commands(DOCUMENT), pair.tried());
    let untried: Vec<_> = told.difference(&tried).collect();
    assert!(untried.is_empty(), "nobody ran these as they are written: {untried:#?}");
}

fn write(pair: &mut Machines, text: &str) {
    if !text.contains("peer_name") {
        pair.named("witness").write("/etc/ha-node/witness.toml", text);
        return;
    }
    let path = "/etc/ha-node/ha-node.toml";
    pair.named("node1").write(path, text);
    let changed = text
        .replace("node = 0\npeer = 1\n", "node = 1\npeer = 0\n")
        .replace("\nname = \"node1\"", "\nname = \"node2\"")
        .replace("\npeer_name = \"node2\"", "\npeer_name = \"node1\"")
        .replace("10.0.0.1:", "THE OTHER")
        .replace("10.0.0.2:", "10.0.0.1:")
        .replace("THE OTHER", "10.0.0.2:");
    pair.named("node2").write(path, &changed);
}

/// Each block is for the machines that the words before it name.
fn obey(pair: &mut Machines, text: &str) {
    let first = text.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    match &*first {
        "cargo build" => pair.build(text),
        "ha keygen" => {
            pair.named("node1").sh(text);
            let key = pair.named("node1").sh("cat /etc/ha-node/key");
            for other in ["node2", "witness"] {
                pair.named(other).write("/etc/ha-node/key", key.trim_end());
                pair.named(other).sh("chmod 400 /etc/ha-node/key");
            }
        }
        "install -D" => pair.all.iter().for_each(|it| drop(it.sh(text))),
        "install -m" if text.contains("ha-witness") => drop(pair.named("witness").sh(text)),
        "apt-get update" => NODES.iter().for_each(|name| drop(pair.named(name).sh_yes(text))),
        "ha status" => pair.named("node1").until(text, "PROTECTED"),
        "ha prim" => drop(pair.named("node1").sh(text)),
        "ha swap" if text.contains("--plan") => swap(pair, "node1", text),
        "ha swap" => swap(pair, "node2", text),
        "curl http://10.0.0.10/" => serves(pair, "node2"),
        _ => NODES.iter().for_each(|name| drop(pair.named(name).sh(text))),
    }
}

fn swap(pair: &mut Machines, from: &str, text: &str) {
    // A witness that has just started gives nothing away for a lease, and who has just moved follows
    // a moment later: no reader is so fast.
    pair.named(from).until("ha swap --plan && echo it may", "it may");
    pair.named(from).sh(text);
}

/// Waits until the client is served by this node.
fn serves(pair: &Machines, node: &str) {
    let by = || pair.client(CURL);
    assert!(within(SOON, || by().trim() == node), "{node} does not serve: {}", by());
}

/// What the unit grants is had: the threads that must be in time run first, and memory stays.
fn goes_first(pair: &mut Machines) {
    for name in NODES {
        let node = pair.named(name);
        for (thread, priority) in [("ha-node", 2), ("ha-guard-1", 1), ("ha-vip", 1)] {
            let scheduled = format!(
                "for task in /proc/$(pidof mirror-node)/task/*; do
                    [ $(cat $task/comm) != {thread} ] || chrt --pid ${{task##*/}}
                done"
            );
            node.until(&scheduled, "SCHED_RR");
            node.until(&scheduled, &format!("priority: {priority}"));
        }
        let locked =
            "awk '/VmLck/ && $2 > 1000 { print \"locked\" }' /proc/$(pidof mirror-node)/status";
        node.until(locked, "locked");
    }
}

fn reload_and_stop(pair: &mut Machines) {
    let node = pair.named("node2");
    let main = "systemctl show ha-node -p MainPID -p NRestarts";
    let before = node.sh(main);
    // It returns when the next program is ready: what is installed, or the file, may have changed.
    node.sh("systemctl reload ha-node");
    node.until("systemctl show ha-node -p SubState", "SubState=running");
    assert_eq!(node.sh(main), before);
    node.until("ha status", "node2 * PRIM   ready");
    node.until("ha status", " PROTECTED ");
    assert!(pair.client(CURL).contains("node2"));
    let node = pair.named("node2");
    node.sh("systemctl stop ha-node");
    assert!(!node.sh("ps -e").contains("ha-guardian"), "the guardian ends with its daemon");
    assert!(node.sh("systemctl show ha-node -p Result").contains("Result=success"));
    serves(pair, "node1");
    pair.named("node2").sh("systemctl start ha-node");
    pair.named("node1").until("ha status", " PROTECTED ");
}

/// The table of that name, and what stands beside the blocks.
fn from_day_to_day(pair: &mut Machines) {
    let node = pair.named("node1");
    node.until("ha status", " PROTECTED ");
    node.sh("ha check");
    node.until("curl http://10.0.0.1:9010/ready?module=web", "OK");
    node.until("curl http://10.0.0.1:9010/metrics", "ha_module_state");
    node.sh("ip rule");
    // Away from a server, for work on it, and back.
    node.at_terminal("ha swap");
    serves(pair, "node2");
    let node = pair.named("node2");
    node.sh("ha maintenance on --for 2h");
    node.until("ha status", "maintenance");
    node.sh("ha maintenance off");
    node.until("ha status", " PROTECTED ");
    node.at_terminal("ha swap");
    serves(pair, "node1");
    let node = pair.named("node1");
    node.until("ha status", " PROTECTED ");
    node.follow("ha events -f", "SECOND");
    node.sh("ha history");
    assert!(node.sh("ha explain").contains("if "), "what would happen");
}

fn cut_power(pair: &mut Machines) {
    pair.named("node1").power_off();
    serves(pair, "node2");
    assert!(pair.named("node2").sh("ha history").contains("peer_lost"));
    pair.named("node1").power_on();
    pair.named("node2").until("ha status", " PROTECTED ");
    pair.named("node1").until("ha status", "node1   SECOND ready");
}

/// The guardian ends the service of a daemon that hangs, and systemd the daemon.
fn hang(pair: &mut Machines) {
    pair.named("node2").sh("kill -STOP $(systemctl show ha-node --property MainPID --value)");
    serves(pair, "node1");
    let node = pair.named("node2");
    node.until("systemctl show ha-node -p NRestarts", "NRestarts=1");
    assert!(node.sh("journalctl --unit ha-node --no-pager").contains("Watchdog timeout"));
    node.until("ha status", "node2   SECOND ready");
    node.sh("systemctl stop ha-node");
    assert!(!node.sh("ps -e").contains("ha-guardian"), "the guardian of the one that hung");
    node.sh("systemctl start ha-node");
    pair.named("node1").until("ha status", " PROTECTED ");
}

/// Each second for ever would be the default of `Restart=always`.
fn what_no_restart_mends(pair: &mut Machines) {
    let node = pair.named("node1");
    node.sh("cd /etc/ha-node && cp ha-node.toml good && echo nonsense >> ha-node.toml");
    node.sh("systemctl reload ha-node");
    node.until("systemctl show ha-node -p StatusText", "not reloaded: ");
    node.sh("systemctl stop ha-node");
    assert!(!node.try_sh("systemctl start ha-node").status.success());
    let state = node.sh("systemctl show ha-node -p ActiveState -p ExecMainStatus -p NRestarts");
    for said in ["ActiveState=failed", "ExecMainStatus=78", "NRestarts=0"] {
        assert!(state.contains(said), "{said}: {state}");
    }
    node.sh("mv /etc/ha-node/good /etc/ha-node/ha-node.toml && systemctl start ha-node");
    node.until("ha status", " PROTECTED ");
}

/// The other way to run the service; the daemon is root then without the rights of root.
fn by_unit(pair: &mut Machines) {
    let unit = "unit = \"nginx.service\"";
    let change = format!(
        "systemctl stop ha-node\n\
         sed -i 's|^scripts = .*|{unit}|' /etc/ha-node/ha-node.toml\n\
         cd /etc/systemd/system/ha-node.service.d && rm ha-node-root.conf\n\
         install -m 644 /bare/examples/systemd/ha-node-unit.conf .\n\
         systemctl daemon-reload"
    );
    for name in NODES {
        let node = pair.named(name);
        node.sh(&change);
        node.sh("chown daemon /etc/ha-node/key");
        let told = node.try_sh("ha doctor");
        let told = String::from_utf8_lossy(&told.stdout);
        let says = "BAD   root, as the unit runs the daemon, may not read /etc/ha-node/key";
        assert!(told.contains(says), "{told}");
        node.sh("chown root /etc/ha-node/key && ha doctor && systemctl start ha-node");
    }
    for name in NODES {
        pair.named(name).until("ha status", " PROTECTED ");
    }
    let by = pair.client(CURL);
    let node = pair.named(by.trim());
    assert!(node.sh("systemctl is-active nginx").starts_with("active"));
    node.sh("systemctl stop ha-node");
    assert!(!node.sh("ps -e").contains("nginx"));
    let other = if by.trim() == "node1" { "node2" } else { "node1" };
    serves(pair, other);
}

/// No addition: the daemon is a user of its own, with the rights for addresses alone.
fn by_user(pair: &mut Machines) {
    let once = |it: &&str| it.starts_with("adduser ") || it.starts_with("chown ha-node ");
    let once: Vec<&str> = DOCUMENT.split('`').filter(once).collect();
    assert_eq!(once.len(), 2, "{once:?}");
    let change = "systemctl stop ha-node\n\
        rm -r /etc/systemd/system/ha-node.service.d\n\
        systemctl daemon-reload\n\
        sed -i '/^unit = /d; /module.checker/,$d' /etc/ha-node/ha-node.toml";
    for name in NODES {
        let node = pair.named(name);
        node.sh(change);
        node.sh(&once.join("\n"));
        node.sh("ha doctor\nsystemctl start ha-node\nsystemctl reload ha-node");
    }
    for name in NODES {
        let node = pair.named(name);
        node.until("ha status", " PROTECTED ");
        assert_eq!(node.sh("ps -C mirror-node -o user=").trim(), "ha-node");
    }
    let answers = || pair.client("ping -c 1 -W 1 10.0.0.10").contains(" 0% packet loss");
    assert!(within(SOON, answers), "the virtual address answers");
}
