//! A hundred modules on one pair.

use std::collections::BTreeSet;
use std::fs;

use ha_lab::within;

use crate::SOON;
use crate::rig::{PROMPT, Rig, Vote};

const MODULES: u8 = 100;

#[test]
fn a_hundred_modules_share_one_socket_a_link_and_move_together() {
    let Some(mut rig) = Rig::new("hundred", Vote::Arbiter, 2) else { return };
    let network = rig.networks[0].clone();
    let addresses: Vec<_> = (0..MODULES).map(|n| network.v4(150 + n)).collect();
    for node in [0, 1] {
        let modules = addresses.iter().enumerate().map(|(id, address)| {
            format!(
                "[[module]]\nname = \"m{id}\"\nid = {id}\nbootstrap = {}\n\
                 vips = [{{ address = \"{address}\", interface = \"eth0\" }}]\n",
                node == 0
            )
        });
        rig.write(node, PROMPT, &modules.collect::<Vec<_>>().concat());
        rig.start(node);
    }
    let holds = |rig: &Rig, node: usize| {
        let mut ip = rig.hosts[node].command("ip");
        let told = crate::rig::told(ip.args(["-br", "-4", "address", "show", "dev", "eth0"]));
        addresses.iter().filter(|address| told.contains(&format!(" {address}/"))).count()
    };
    let all = |rig: &Rig, node| holds(rig, node) == usize::from(MODULES);
    assert!(within(SOON, || all(&rig, 0)), "{}", holds(&rig, 0));
    let ready = |rig: &Rig| {
        let output = rig.daemon(1).output();
        output.matches("to: Second, ready: true").count() >= usize::from(MODULES)
    };
    assert!(within(SOON, || ready(&rig)));
    assert_eq!(sockets(&rig, 7400), 2, "one a link, for all modules");
    rig.daemon(0).kill().unwrap();
    assert!(within(SOON, || all(&rig, 1)), "{}", holds(&rig, 1));
    assert!(within(SOON, || holds(&rig, 0) == 0));
}

/// How many UDP sockets the first node's process has at this port.
fn sockets(rig: &Rig, port: u16) -> usize {
    let pid = rig.daemon(0).pid();
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let links = files.filter_map(|file| fs::read_link(file.path()).ok());
    let own: BTreeSet<String> = links
        .filter_map(|link| {
            let link = link.to_str()?.to_owned();
            Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/udp")).unwrap();
    let at_port = format!(":{port:04X}");
    let bound = table.lines().skip(1).filter(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words[1].ends_with(&at_port) && own.contains(words[9])
    });
    bound.count()
}
