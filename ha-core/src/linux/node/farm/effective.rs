//! What a farm's file means, with its defaults.

use std::fmt::Display;
use std::format;
use std::prelude::rust_2024::*;

use super::checker::OnFailure;
use super::config::{FarmNode, RawIsolated, RawPlane, RawUncovered};
use super::plane::tick;
use super::service::Service;
use crate::farm::survey::Hashing;
use crate::ha_farm::{HashOn, Protocol};
use crate::linux::node::effective::{field, http, key, looked_at, notify, places, quoted, time};

/// The configuration as a file that leaves nothing out, on the plane of this hash; by default on the
/// file's, or BPF.
pub fn effective(node: &FarmNode, hashing: Option<Hashing>) -> String {
    let mut text = String::new();
    let out = &mut text;
    shared(out, node);
    let file = if node.raw.plane == RawPlane::Nft { Hashing::Jhash } else { Hashing::Sip };
    policy(out, node, hashing.unwrap_or(file));
    key(out, &node.key);
    if let Some(file) = &node.raw.hash_key_file {
        field(out, "hash_key_file", &quoted(file));
    }
    scripts(out, node);
    let raw = &node.raw;
    places(out, [&raw.state, &raw.run, &raw.log], raw.log_bytes);
    http(out, raw.http.as_ref());
    notify(out, raw.notify.as_ref());
    members(out, node);
    for (at, service) in node.services.iter().enumerate() {
        one(out, node, at, service);
    }
    for (checker, on_failure) in &node.checkers {
        out.push_str("\n[[checker]]\n");
        looked_at(out, checker);
        let follows = match on_failure {
            OnFailure::Drain => "drain",
            OnFailure::Reset => "reset",
        };
        field(out, "on_failure", &quoted(follows));
    }
    text
}

fn shared(out: &mut String, node: &FarmNode) {
    let raw = &node.raw;
    field(out, "cluster", &quoted(&raw.cluster));
    field(out, "module", &quoted(&raw.module));
    field(out, "id", &raw.id.to_string());
    field(out, "node", &raw.node.to_string());
    field(out, "interface", &quoted(&raw.interface));
    let links = raw.links.iter().map(|link| {
        format!("{{ name = {}, interface = {} }}", quoted(&link.name), quoted(&link.interface))
    });
    field(out, "links", &list(links));
}

fn policy(out: &mut String, node: &FarmNode, hashing: Hashing) {
    let raw = &node.raw;
    field(out, "mode", &quoted(raw.mode.name()));
    let plane = match raw.plane {
        RawPlane::Auto => "auto",
        RawPlane::Bpf => "bpf",
        RawPlane::Nft => "nft",
    };
    field(out, "plane", &quoted(plane));
    let timing = node.timing(tick(hashing));
    if raw.lease.is_none() {
        // Written down it would not follow the plane and the interval any more.
        out.push_str("# ");
    }
    field(out, "lease", &time(timing.lease));
    for (name, span) in [
        ("survey", node.survey()),
        ("interval", timing.interval),
        ("slack", timing.slack),
        ("round_trip", timing.round_trip),
        ("drain", node.drain()),
        ("warm_up", node.warm_up()),
    ] {
        field(out, name, &time(span));
    }
    let isolated = match raw.isolated {
        RawIsolated::All => "all",
        RawIsolated::Nothing => "nothing",
    };
    field(out, "isolated", &quoted(isolated));
    field(out, "buckets", &node.buckets().count().to_string());
    let uncovered = match raw.uncovered {
        RawUncovered::Deny => "deny",
        RawUncovered::Pass => "pass",
    };
    field(out, "uncovered", &quoted(uncovered));
}

fn scripts(out: &mut String, node: &FarmNode) {
    let Some(scripts) = &node.scripts else { return };
    field(out, "scripts", &quoted(scripts.path.display()));
    field(out, "start_timeout", &time(scripts.start));
    field(out, "stop_timeout", &time(scripts.stop));
    field(out, "force_timeout", &time(scripts.force));
}

fn members(out: &mut String, node: &FarmNode) {
    for member in &node.raw.member {
        out.push_str("\n[[member]]\n");
        field(out, "id", &member.id.to_string());
        let name = node.names.iter().find(|(id, _)| id.as_u8() == member.id);
        field(out, "name", &quoted(name.expect("each has one").1));
        field(out, "addresses", &list(member.addresses.iter().map(quoted)));
        field(out, "weight", &member.weight.unwrap_or(1).to_string());
    }
}

fn one(out: &mut String, node: &FarmNode, at: usize, service: &Service) {
    out.push_str("\n[[service]]\n");
    let rule = &service.rule;
    field(out, "name", &quoted(&service.name));
    field(out, "vip", &quoted(rule.vip));
    field(out, "ports", &quoted(format!("{}-{}", rule.ports.start(), rule.ports.end())));
    let protocol = match rule.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    field(out, "protocol", &quoted(protocol));
    let on = match rule.on {
        HashOn::Addr => "on_addr",
        HashOn::AddrPort => "on_addr_port",
        HashOn::Net { .. } => "on_net",
        HashOn::IpId => "on_ipid",
    };
    field(out, "on", &quoted(on));
    if let HashOn::Net { v4, v6 } = rule.on {
        field(out, "net", &format!("{{ v4 = {v4}, v6 = {v6} }}"));
    }
    let weights = node.raw.service[at].weights.iter();
    let weights: Vec<_> =
        weights.map(|(member, weight)| format!("{} = {weight}", quoted(member))).collect();
    field(out, "weights", &format!("{{ {} }}", weights.join(", ")));
}

fn list(all: impl Iterator<Item = impl Display>) -> String {
    let all: Vec<_> = all.map(|one| one.to_string()).collect();
    format!("[{}]", all.join(", "))
}
