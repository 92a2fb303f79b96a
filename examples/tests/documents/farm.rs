//! Three bare servers.

use ha_lab::within;

use crate::SOON;
use crate::document::{Block, blocks};
use crate::machine::Machines;

const DOCUMENT: &str = include_str!("../../../docs/farm.md");

const CURL: &str = "curl http://10.0.0.10/";

#[test]
fn three_bare_servers_become_a_farm() {
    let Some(mut farm) = Machines::boot("doc_farm", &["web1", "web2", "web3"]) else { return };
    for block in blocks(DOCUMENT) {
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
}

fn write(farm: &Machines, text: &str) {
    let text = farm.here(text);
    for (id, machine) in farm.all.iter().enumerate() {
        let (listen, own) = (farm.here("10.0.0.1:9010"), farm.here("10.0.0."));
        let text = text
            .replacen("node = 0", &format!("node = {id}"), 1)
            .replace(&listen, &format!("{own}{}:9010", id + 1));
        machine.write("/etc/ha-node/farm.toml", &text);
    }
}

fn obey(farm: &mut Machines, text: &str) {
    let lines = farm.here(text);
    let first = text.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    match &*first {
        "cargo build" => {}
        "ha keygen" => {
            farm.named("web1").sh(&lines);
            let key = farm.named("web1").sh("cat /etc/ha-node/key");
            for other in ["web2", "web3"] {
                farm.named(other).write("/etc/ha-node/key", key.trim_end());
                farm.named(other).sh("chmod 400 /etc/ha-node/key");
            }
        }
        "for i" => assert!(within(SOON, || farm.client(text).lines().count() == 6), "{text}"),
        _ => farm.all.iter().for_each(|it| drop(it.sh(&lines))),
    }
}

/// Every client gets an answer.
fn served(farm: &Machines) {
    let all = format!("for i in 1 2 3 4 5 6 7 8 9; do {CURL}; done");
    assert!(within(SOON, || farm.client(&all).lines().count() == 9), "{}", farm.client(&all));
}

/// The table at the document's end, as far as it gives commands.
fn day_to_day(farm: &mut Machines) {
    let node = farm.named("web1");
    let main = "systemctl show ha-farm -p MainPID -p NRestarts -p ActiveState";
    let before = node.sh(main);
    node.sh("ha check\nha table\nha explain\nha weight web1 2\nha gate close\nha gate open");
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
