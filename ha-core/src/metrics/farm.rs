//! What a farm's member says.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use ha_proto::NodeId;

use super::page::{Family, Kind};
use crate::farm::View;

use Kind::{Counter, Gauge};

/// One farm on this node, as it was seen for its metrics.
#[derive(Clone, Debug)]
pub struct FarmSample {
    /// The farm's name.
    pub module: String,
    /// What its node knows.
    pub view: View,
    /// How the members are called.
    pub members: BTreeMap<NodeId, String>,
    /// How the services are called, in the rules' order.
    pub services: Vec<String>,
    /// How the networks between the members are called, in their order.
    pub links: Vec<String>,
    /// Whether clients are to be sent here.
    pub ready: bool,
    /// Whether others go on if this member dies now, and no stranger answers for its addresses.
    pub protected: bool,
    /// How many others answer for its addresses.
    pub strangers: u64,
    /// What the filter counted; `None` when it cannot say.
    pub packets: Option<Packets>,
    /// The checkers, and whether what each looks at is up, if that is known.
    pub checkers: Vec<(String, Option<bool>)>,
}

/// Packets that the filter decided on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packets {
    /// Of all services: `pass`, `neighbour`, `accept`, `forward`, and `drop_` with each reason.
    pub verdicts: Vec<(String, u64)>,
    /// Of each service, by the owner of the packet's bucket; empty where the filter does not tell.
    pub owners: Vec<BTreeMap<NodeId, u64>>,
}

/// Writes the metrics of a farm's member behind what is on the page. `version` is that of the
/// program.
pub fn render_farm(version: &str, sample: &FarmSample, page: &mut String) {
    let mut build = Family::new(page, "ha_build_info", Gauge, "The version of this daemon.");
    build.line(&[("version", version)], true);
    states(sample, page);
    shares(sample, page);
    links(sample, page);
    packets(sample, page);
    let module = ("module", &*sample.module);
    let help = "Whether what a checker looks at is up.";
    let mut family = Family::new(page, "ha_checker_up", Gauge, help);
    for (checker, up) in &sample.checkers {
        if let Some(up) = *up {
            family.line(&[module, ("checker", checker)], up);
        }
    }
}

fn states(sample: &FarmSample, page: &mut String) {
    let (view, module) = (&sample.view, ("module", &*sample.module));
    let mut one = |name, help, value: u64| {
        Family::new(page, name, Gauge, help).line(&[module], value);
    };
    one("ha_module_ready", "Whether clients are to be sent to this node.", sample.ready.into());
    let help = "Whether others go on if this node dies now, and no stranger has its addresses.";
    one("ha_module_protected", help, sample.protected.into());
    let members = view.members.len() as u64;
    one("ha_farm_members", "Members of the view that this node is at.", members);
    let takes = view.why.is_none();
    one("ha_farm_takes", "Whether this node takes packets.", takes.into());
    one("ha_farm_full", "Whether it takes all that is its own.", view.full.into());
    one("ha_farm_drained", "Whether it takes no new clients.", view.drained.into());
    let announces = view.announcer == Some(view.me);
    one("ha_farm_announcer", "Whether it answers for the virtual addresses.", announces.into());
    let help = "Others that answer for its virtual addresses, as the announcer hears them.";
    one("ha_farm_strangers", help, sample.strangers);
    let counter = view.id.map_or(0, |id| id.counter);
    one("ha_farm_view", "The number of the view that this node is at.", counter);
    let help = "How long the filter takes on if the daemon dies now.";
    let mut lease = Family::new(page, "ha_lease_remaining_seconds", Gauge, help);
    lease.line(&[module], view.lease);
}

fn shares(sample: &FarmSample, page: &mut String) {
    let module = ("module", &*sample.module);
    let help = "The part of a service's buckets that a member owns.";
    let mut family = Family::new(page, "ha_farm_share_ratio", Gauge, help);
    let current = sample.view.is_current();
    let services = || sample.services.iter().zip(&sample.view.services).filter(|_| current);
    for (name, service) in services() {
        let small = |count: usize| u32::try_from(count).map_or(f64::INFINITY, f64::from);
        let (shares, all) = (service.table.shares(), service.table.buckets().len());
        for (node, member) in &sample.members {
            let share = shares.get(node).copied().unwrap_or(0);
            let ratio = small(share) / small(all);
            family.line(&[module, ("service", name), ("member", member)], ratio);
        }
    }
    let help = "Buckets whose connections may be at their old server.";
    let mut family = Family::new(page, "ha_farm_draining_buckets", Gauge, help);
    for (name, service) in services() {
        let draining = service.table.buckets().iter().filter(|bucket| bucket.drains()).count();
        family.line(&[module, ("service", name)], draining as u64);
    }
}

fn links(sample: &FarmSample, page: &mut String) {
    let module = ("module", &*sample.module);
    let help = "Whether this node and a member hear each other.";
    let mut family = Family::new(page, "ha_farm_linked", Gauge, help);
    for (node, peer) in &sample.view.peers {
        if let Some(member) = sample.members.get(node) {
            family.line(&[module, ("member", member)], peer.linked);
        }
    }
    let help = "Whether a member is heard on a network, and hears this node.";
    let mut family = Family::new(page, "ha_heartbeat_link_up", Gauge, help);
    for (node, peer) in &sample.view.peers {
        let Some(member) = sample.members.get(node) else { continue };
        for (at, known) in peer.links.iter().enumerate() {
            let number = format!("{at}");
            let link = sample.links.get(at).unwrap_or(&number);
            family.line(&[module, ("peer", member), ("link", link)], known.up);
        }
    }
    let help = "Datagrams that were refused.";
    let mut family = Family::new(page, "ha_heartbeat_rejected_total", Counter, help);
    for (reason, count) in sample.view.rejections.iter() {
        family.line(&[module, ("reason", reason)], count);
    }
}

fn packets(sample: &FarmSample, page: &mut String) {
    let Some(packets) = &sample.packets else { return };
    let module = ("module", &*sample.module);
    let help = "Packets to virtual addresses, by what became of them here.";
    let mut family = Family::new(page, "ha_farm_packets_total", Counter, help);
    for (verdict, count) in &packets.verdicts {
        family.line(&[module, ("verdict", verdict)], *count);
    }
    if packets.owners.iter().all(BTreeMap::is_empty) {
        // A name without a number would look like a measurement.
        return;
    }
    let help = "Packets of a service that were seen here, by the owner of their bucket.";
    let mut family = Family::new(page, "ha_farm_owner_packets_total", Counter, help);
    for (service, owners) in sample.services.iter().zip(&packets.owners) {
        for (node, count) in owners {
            if let Some(member) = sample.members.get(node) {
                family.line(&[module, ("service", service), ("owner", member)], *count);
            }
        }
    }
}
