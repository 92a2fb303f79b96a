//! Whether other hosts have this node's virtual addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use ha_core::control::ModuleStatus;
use ha_core::linux::holders;
use ha_core::linux::node::config::Node;
use ha_core::proto::Role;
use ha_core::vip::Mac;

use super::Found;

/// How long answers are waited for: a few times what a busy host takes.
const PATIENCE: Duration = Duration::from_millis(500);

/// Asks on the wire; `statuses` are those of the daemon, if one runs.
pub(super) fn of_node(node: &Node, statuses: &[ModuleStatus]) -> Vec<Found> {
    let sets: Vec<_> = node.modules.iter().filter_map(|it| it.vips.as_ref()).collect();
    if sets.is_empty() {
        return Vec::new();
    }
    let mut cards: BTreeMap<IpAddr, BTreeSet<Mac>> = BTreeMap::new();
    match holders(&sets, PATIENCE) {
        Ok(found) => {
            for holder in found {
                cards.entry(holder.address).or_default().insert(holder.mac);
            }
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let why = "whether other hosts have the virtual addresses is asked by root alone";
            return vec![Found::Skipped(why.into())];
        }
        Err(error) => {
            let why = format!("other hosts cannot be asked for the virtual addresses: {error}");
            return vec![Found::Skipped(why)];
        }
    }
    if cards.is_empty() {
        return vec![Found::Fine("no other host has one of the virtual addresses".into())];
    }
    let status = |address: &IpAddr| {
        let module = node.modules.iter().find(|module| {
            let mut addresses = module.vips.iter().flat_map(|vips| &vips.addresses);
            addresses.any(|it| it.address == *address)
        })?;
        statuses.iter().find(|status| status.module == module.name)
    };
    cards.iter().map(|(address, cards)| judge(*address, cards, status(address))).collect()
}

/// What it means that the host, or hosts, with these cards have the address.
fn judge(address: IpAddr, cards: &BTreeSet<Mac>, status: Option<&ModuleStatus>) -> Found {
    let serves = |role| matches!(role, Role::Prim | Role::Alone);
    let at = cards.iter().map(Mac::to_string).collect::<Vec<_>>().join(" and ");
    if status.is_some_and(|it| serves(it.here.role)) {
        let what = format!("{address} is at {at} as well as here");
        return Found::Bad(what, "`ip address` lists it on that host: take it off there".into());
    }
    let there = |it: &&ModuleStatus| it.there.as_ref().is_some_and(|it| it.up && serves(it.role));
    match status.filter(there).map(|it| &it.peer) {
        Some(peer) if cards.len() == 1 => {
            Found::Fine(format!("{address} is at {at}: {peer} serves"))
        }
        // Another host, or a second card of the one that serves: Linux answers for all its addresses.
        Some(peer) => Found::Weak(
            format!("{address} is at {at}, and {peer} serves"),
            "`ip link` there lists its cards: if one is not of it, take the address off that host"
                .into(),
        ),
        None => Found::Weak(
            format!("{address} is at {at} already"),
            "unless that is the other node, take it off there or choose another address".into(),
        ),
    }
}
