//! The same of a farm's member.

use std::net::UdpSocket;
use std::path::Path;

use ha_core::control::{Exit, FarmStatus};

use super::{Found, capabilities, clock, groups, interface, key, local, tell, unit, unit_reads};
use crate::ha::run::{At, End};
use crate::ha::{farm, files};
use ha_core::linux::node::farm::config::FarmNode;

/// Looks at everything; fails when anything is bad.
pub(super) fn run(at: &At<'_>, config: &Path) -> End {
    let mut found = Vec::new();
    let farms = farm::farms(at, at.patience());
    match files::farm(config) {
        Ok(node) => {
            found.push(Found::Fine(format!("{} can work", config.display())));
            of_node(&mut found, &node, farms.is_ok());
            found.extend(unit_reads("ha-farm", config, &node.key));
        }
        Err(refused) => {
            let mend = "correct it; examples/config/farm-node.toml has every field".into();
            found.push(Found::Bad(refused.text, mend));
        }
    }
    found.push(clock());
    found.push(unit("ha-farm"));
    match farms {
        Ok(Some(farms)) => farms.iter().for_each(|farm| of_farm(&mut found, farm)),
        Ok(None) => {
            let mend = "name the farm's: --socket PATH".into();
            found.push(Found::Weak("the daemon there is a mirror's".into(), mend));
        }
        Err(refused) if refused.exit == Exit::Denied => {
            found.push(Found::Bad(refused.text, "run it as root, or as a member of ha".into()));
        }
        Err(refused) => {
            found.push(Found::Weak(refused.text, "systemctl enable --now ha-farm".into()));
        }
    }
    tell(at, &found)
}

fn of_node(found: &mut Vec<Found>, node: &FarmNode, runs: bool) {
    found.push(key(&node.key));
    found.push(capabilities());
    found.push(interface(&node.raw.interface, "interface"));
    if node.scripts.is_some() {
        found.push(groups());
    }
    for &address in &node.addresses[&node.me()] {
        found.push(local("member", address, runs, |at| UdpSocket::bind(at).map(drop)));
    }
    if node.raw.links.len() == 1 {
        let what = "one network between the members: its loss looks like their death".into();
        found.push(Found::Weak(what, "a second entry in links, over another switch".into()));
    }
}

/// What a running member tells.
fn of_farm(found: &mut Vec<Found>, status: &FarmStatus) {
    let name = &status.module;
    match &status.why {
        None => found.push(Found::Fine(format!("{name}: others go on if this member dies"))),
        Some(why) => {
            let next = status.next.clone().unwrap_or_else(|| "see ha status".into());
            found.push(Found::Bad(format!("{name}: {why}"), next));
        }
    }
    for (one, other) in &status.missing {
        let what = format!("{name}: {one} does not hear {other}");
        found.push(Found::Weak(what, format!("start {other}, or mend the network between them")));
    }
    for (what, mend) in farm::lost_links(status) {
        found.push(Found::Weak(format!("{name}: {what}"), mend));
    }
    for member in status.members.iter().filter(|member| member.state == "disagrees") {
        let what = format!("{name}: {} is left out: it has another file", member.name);
        found.push(Found::Bad(what, "the same file on all members but for `node`".into()));
    }
}
