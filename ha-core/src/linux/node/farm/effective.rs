//! What a farm's file means, with its defaults.

use std::fmt::{Display, Write};
use std::format;
use std::prelude::rust_2024::*;
use std::time::Duration;

use super::config::FarmNode;
use crate::ha_farm::{HashOn, Protocol};
use crate::raw::Span;

/// What the node runs by, as a file with the defaults that matter.
pub fn effective(node: &FarmNode) -> String {
    let (raw, timing) = (&node.raw, node.timing(Duration::ZERO));
    let mut text = String::new();
    let out = &mut text;
    field(out, "cluster", quoted(&raw.cluster));
    field(out, "module", quoted(&raw.module));
    field(out, "id", raw.id);
    field(out, "node", raw.node);
    field(out, "interface", quoted(&raw.interface));
    field(out, "mode", quoted(raw.mode.name()));
    for (name, span) in [
        ("interval", timing.interval),
        ("lease", timing.lease),
        ("slack", timing.slack),
        ("round_trip", timing.round_trip),
    ] {
        field(out, name, quoted(Span(span)));
    }
    let links = raw.links.iter().map(|link| {
        format!("{{ name = {}, interface = {} }}", quoted(&link.name), quoted(&link.interface))
    });
    field(out, "links", format!("[{}]", links.collect::<Vec<_>>().join(", ")));
    for (id, name) in &node.names {
        let addresses = node.addresses[id].iter().map(quoted).collect::<Vec<_>>().join(", ");
        writeln!(out, "\n[[member]]").expect("a text takes all");
        field(out, "id", id);
        field(out, "name", quoted(name));
        field(out, "addresses", format!("[{addresses}]"));
    }
    for service in &node.services {
        let rule = &service.rule;
        writeln!(out, "\n[[service]] # weight {} here", service.weight).expect("a text takes all");
        field(out, "name", quoted(&service.name));
        field(out, "vip", quoted(rule.vip));
        field(out, "ports", quoted(format!("{}-{}", rule.ports.start(), rule.ports.end())));
        let protocol = match rule.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        field(out, "protocol", quoted(protocol));
        let (on, net) = match rule.on {
            HashOn::Addr => ("on_addr", None),
            HashOn::AddrPort => ("on_addr_port", None),
            HashOn::Net { v4, v6 } => ("on_net", Some((v4, v6))),
            HashOn::IpId => ("on_ipid", None),
        };
        field(out, "on", quoted(on));
        if let Some((v4, v6)) = net {
            field(out, "net", format!("{{ v4 = {v4}, v6 = {v6} }}"));
        }
    }
    text
}

fn field(out: &mut String, name: &str, value: impl Display) {
    writeln!(out, "{name} = {value}").expect("a text takes all");
}

fn quoted(value: impl Display) -> String {
    format!("{:?}", value.to_string())
}
