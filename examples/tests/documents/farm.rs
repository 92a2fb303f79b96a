//! Three bare servers.

use ha_lab::within;

use crate::SOON;
use crate::document::{Block, chapters, commands};
use crate::machine::Machines;

const DOCUMENT: &str = include_str!("../../../docs/farm.md");

/// What nobody runs as it is written, and why.
const UNTRIED: [(&str, &str); 3] = [
    ("ha drain", "a name: it wants a member"),
    ("ha weight", "likewise"),
    ("nft flush ruleset", "what is not to be done; the rig of daemons does it"),
];

#[test]
fn three_bare_servers_become_a_farm() {
    let Some(mut farm) = Machines::boot("doc_farm", &["web1", "web2", "web3"]) else { return };
    for block in chapters(DOCUMENT).into_iter().flat_map(|it| it.blocks) {
        match block {
            Block::File(text) => write(&farm, &text),
            Block::Commands(text) => obey(&mut farm, &text),
            Block::Shown(_) => {}
        }
    }
    for machine in &farm.all {
        // Not the lesser one, for want of a right that the unit takes away.
        machine.until("ha status", "plane   bpf: ");
        machine.until("ha status", " PROTECTED ");
    }
    day_to_day(&mut farm);
    farm.named("web3").power_off();
    farm.named("web1").until("ha status", "web3    it is silent");
    served(&farm);
    by_hand(&mut farm);
    let (told, tried) = (commands(DOCUMENT), farm.tried());
    let untried: Vec<&str> = told.difference(&tried).map(|it| &**it).collect();
    assert_eq!(untried, UNTRIED.map(|(line, _)| line), "and no other");
}

fn write(farm: &Machines, text: &str) {
    for (id, machine) in farm.all.iter().enumerate() {
        let text = text
            .replacen("node = 0", &format!("node = {id}"), 1)
            .replace("10.0.0.1:9010", &format!("10.0.0.{}:9010", id + 1));
        machine.write("/etc/ha-node/farm.toml", &text);
    }
}

fn obey(farm: &mut Machines, text: &str) {
    let first = text.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    match &*first {
        "cargo build" => farm.build(text),
        "apt-get update" => farm.all.iter().for_each(|it| drop(it.sh_yes(text))),
        "ha keygen" => {
            farm.named("web1").sh(text);
            let key = farm.named("web1").sh("cat /etc/ha-node/key");
            for other in ["web2", "web3"] {
                farm.named(other).write("/etc/ha-node/key", key.trim_end());
                farm.named(other).sh("chmod 400 /etc/ha-node/key");
            }
        }
        "for i" => assert!(within(SOON, || farm.client(text).lines().count() == 6), "{text}"),
        _ => farm.all.iter().for_each(|it| drop(it.sh(text))),
    }
}

/// Every client gets an answer.
fn served(farm: &Machines) {
    let all = "for i in 1 2 3 4 5 6 7 8 9; do curl -s http://10.0.0.10/; done";
    assert!(within(SOON, || farm.client(all).lines().count() == 9), "{}", farm.client(all));
}

/// The table at the document's end, as far as it gives commands.
fn day_to_day(farm: &mut Machines) {
    let node = farm.named("web1");
    let main = "systemctl show ha-farm -p MainPID -p NRestarts -p ActiveState";
    let before = node.sh(main);
    node.sh("ha check\nha table\nha explain\nha weight web1 2\nha gate close\nha gate open");
    node.sh("nft list ruleset\nbridge fdb show dev eth0\njournalctl -u ha-farm");
    node.sh("ha events");
    node.follow("ha events -f", "web2");
    node.sh("ha drain web1 --yes");
    node.until("ha status", "  0 %  drained");
    node.sh("ha drain web1 --off");
    node.sh("install -m 755 farm-node /usr/lib/ha-node/\nha restart-daemon\nha reload");
    node.sh("systemctl reload ha-farm");
    node.until("systemctl show ha-farm -p SubState", "SubState=running");
    assert_eq!(node.sh(main), before, "the unit has noticed nothing");
    node.until("ha status", "plane   bpf: ");
    served(farm);
    let node = farm.named("web2");
    node.sh("systemctl stop ha-farm");
    assert!(node.sh("systemctl show ha-farm -p Result").contains("Result=success"));
    assert!(node.sh("ls /sys/fs/bpf/ha-node").is_empty(), "no filter is left");
    served(farm);
    farm.named("web2").sh("systemctl start ha-farm && ha wait up");
}

/// Without systemd, and anew.
fn by_hand(farm: &mut Machines) {
    let node = farm.named("web2");
    node.sh("systemctl restart ha-farm\nha wait up\nsystemctl stop ha-farm");
    node.follow("/usr/lib/ha-node/farm-node --config /etc/ha-node/farm.toml", "web1");
}
