//! What a configuration means, with its defaults.

use std::fmt::Write;
use std::format;
use std::path::PathBuf;
use std::prelude::rust_2024::*;
use std::time::Duration;

use super::config::{Module, Node};
use crate::checker::{Action, CheckerConfig, Custom, Kind, ModuleState, Process, When};
use crate::config::{DefaultPrim, Winner};
use crate::event::Level;
use crate::http::RawHttp;
use crate::linux::VipSource;
use crate::linux::hook::RawNotify;
use crate::raw::{Key, PingFrom, Span};
use crate::vip::OnRemoved;

/// Where a node's file is unless somebody says so.
pub const DEFAULT: &str = "/etc/ha-node/ha-node.toml";

/// The configuration as a file that leaves nothing out.
pub fn effective(node: &Node) -> String {
    let mut text = String::new();
    let out = &mut text;
    shared(out, node);
    sections(out, node);
    for module in &node.modules {
        one(out, module);
    }
    text
}

pub(super) fn field(out: &mut String, name: &str, value: &str) {
    writeln!(out, "{name} = {value}").expect("a text takes all");
}

pub(super) fn quoted(value: impl std::fmt::Display) -> String {
    format!("{:?}", value.to_string())
}

pub(super) fn time(span: Duration) -> String {
    quoted(Span(span))
}

fn shared(out: &mut String, node: &Node) {
    let (raw, first) = (&node.raw, &node.modules.first().expect("a node has modules").node);
    let timing = first.config.timing();
    field(out, "cluster", &quoted(&raw.cluster));
    field(out, "node", &raw.node.to_string());
    field(out, "peer", &raw.peer.to_string());
    field(out, "name", &quoted(&node.name));
    field(out, "peer_name", &quoted(node.names().peer));
    let links = raw
        .links
        .iter()
        .map(|link| format!("{{ local = {}, peer = {} }}", quoted(link.local), quoted(link.peer)));
    field(out, "links", &format!("[{}]", links.collect::<Vec<_>>().join(", ")));
    let stream = raw.replication;
    let ends = (quoted(stream.listen), quoted(stream.connect));
    field(out, "replication", &format!("{{ listen = {}, connect = {} }}", ends.0, ends.1));
    field(out, "vote", &quoted(first.config.policy().vote));
    if let Some(witness) = raw.witness {
        field(out, "witness", &quoted(witness));
    }
    if let Some(from) = raw.witness_from {
        field(out, "witness_from", &quoted(from));
    }
    if !raw.etcd.is_empty() {
        let endpoints = raw.etcd.iter().map(quoted).collect::<Vec<_>>();
        field(out, "etcd", &format!("[{}]", endpoints.join(", ")));
    }
    if let Some(prefix) = &raw.etcd_prefix {
        field(out, "etcd_prefix", &quoted(prefix));
    }
    if let Some(ping) = first.config.policy().ping {
        let targets = raw.ping.iter().map(quoted).collect::<Vec<_>>();
        field(out, "ping", &format!("[{}]", targets.join(", ")));
        field(out, "probe", &time(ping.probe));
    }
    let spans = [
        ("heartbeat", timing.heartbeat),
        ("timeout", timing.timeout),
        ("lease", timing.lease),
        ("round_trip", timing.round_trip),
        ("stop", timing.stop),
    ];
    for (name, span) in spans {
        field(out, name, &time(span));
    }
    key(out, &first.key);
    places(out, [&raw.state, &raw.run, &raw.log], raw.log_bytes);
    if let Some(guardian) = &raw.guardian {
        field(out, "guardian", &quoted(guardian.display()));
    }
    if let Some(watchdog) = &raw.watchdog {
        field(out, "watchdog", &quoted(watchdog.display()));
    }
}

pub(super) fn key(out: &mut String, key: &Key) {
    match key {
        Key::File(file) => field(out, "key_file", &quoted(file)),
        Key::Rotating { signing, accepted } => {
            field(out, "key_file", &quoted(signing));
            field(out, "accept_key_file", &quoted(accepted));
        }
        Key::Insecure => field(out, "insecure", "true"),
    }
}

/// `state`, `run`, `log`, and how long that may get.
pub(super) fn places(out: &mut String, places: [&PathBuf; 3], log_bytes: u64) {
    for (name, path) in ["state", "run", "log"].into_iter().zip(places) {
        field(out, name, &quoted(path.display()));
    }
    field(out, "log_bytes", &log_bytes.to_string());
}

pub(super) fn http(out: &mut String, http: Option<&RawHttp>) {
    if let Some(http) = http {
        out.push_str("\n[http]\n");
        field(out, "listen", &quoted(http.listen));
    }
}

/// What is there only if it is written.
fn sections(out: &mut String, node: &Node) {
    http(out, node.raw.http.as_ref());
    notify(out, node.raw.notify.as_ref());
}

pub(super) fn notify(out: &mut String, notify: Option<&RawNotify>) {
    let Some(notify) = notify else { return };
    out.push_str("\n[notify]\n");
    for (name, target) in [("exec", &notify.exec), ("url", &notify.url)] {
        if let Some(target) = target {
            field(out, name, &quoted(target));
        }
    }
    let level = match notify.level.unwrap_or(Level::Warn) {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    };
    field(out, "level", &quoted(level));
    if let Some(timeout) = notify.timeout {
        field(out, "timeout", &quoted(timeout));
    }
}

fn one(out: &mut String, module: &Module) {
    out.push_str("\n[[module]]\n");
    let (config, policy) = (&module.node.config, module.node.config.policy());
    field(out, "name", &quoted(&module.name));
    field(out, "id", &config.identity().module.0.to_string());
    addresses(out, module);
    if let Some(service) = &module.service {
        if let Some(scripts) = &service.scripts {
            field(out, "scripts", &quoted(scripts.display()));
        }
        if let Some(unit) = &service.unit {
            field(out, "unit", &quoted(unit));
        }
        field(out, "start_timeout", &time(service.start));
        field(out, "stop_timeout", &time(service.stop));
        field(out, "force_timeout", &time(service.force));
        field(out, "grace", &time(service.grace));
    }
    let home = match policy.default_prim {
        DefaultPrim::Alone => quoted("alone"),
        DefaultPrim::Last => quoted("last"),
        DefaultPrim::Node(node) => node.to_string(),
    };
    field(out, "default_prim", &home);
    let winner = match policy.winner {
        Winner::FormerPrim => "former_prim",
        Winner::FormerSecond => "former_second",
        Winner::MostRecent => "most_recent",
        Winner::Wait => "wait",
    };
    field(out, "winner", &quoted(winner));
    field(out, "autostart", &policy.autostart.to_string());
    field(out, "bootstrap", &policy.bootstrap.to_string());
    if let Some(alone) = policy.alone_after {
        field(out, "alone_after", &time(alone));
    }
    field(out, "failover", &policy.failover.to_string());
    field(out, "maxloop", &module.loops.max().to_string());
    field(out, "loop_interval", &time(module.loops.interval()));
    for checker in &module.checkers {
        out.push_str("\n[[module.checker]]\n");
        looked_at(out, checker);
        let action = match checker.action {
            Action::None => "none",
            Action::Wait => "wait",
            Action::Restart => "restart",
            Action::Swap => "swap",
            Action::StopStart => "stopstart",
            Action::Stop => "stop",
        };
        field(out, "action", &quoted(action));
    }
}

/// A checker, but for what follows when it is down.
pub(super) fn looked_at(out: &mut String, checker: &CheckerConfig) {
    let CheckerConfig { name, kind, action: _, pace } = checker;
    field(out, "name", &quoted(name));
    what(out, kind);
    field(out, "interval", &time(pace.interval));
    field(out, "timeout", &time(pace.timeout));
    field(out, "rise", &pace.rise.to_string());
    field(out, "fall", &pace.fall.to_string());
    field(out, "grace", &time(pace.grace));
    let when = match pace.when {
        When::Serving => "serving",
        When::Always => "always",
    };
    field(out, "when", &quoted(when));
}

/// What a checker looks at.
fn what(out: &mut String, kind: &Kind) {
    let mut text = |name: &str, value: &dyn std::fmt::Display| field(out, name, &quoted(value));
    match kind {
        Kind::Tcp { address } => {
            text("kind", &"tcp");
            text("address", address);
        }
        Kind::Ping { address, from } => {
            text("kind", &"ping");
            text("address", address);
            match from {
                Some(PingFrom::Interface(name)) => text("from", name),
                Some(PingFrom::Address(from)) => text("from", from),
                None => {}
            }
        }
        Kind::Http { address, path, host, status, body } => {
            text("kind", &"http");
            text("address", address);
            text("path", path);
            for (name, value) in [("host", host), ("body", body)] {
                if let Some(value) = value {
                    text(name, value);
                }
            }
            if let Some(status) = status {
                field(out, "status", &status.to_string());
            }
        }
        Kind::Intf { interface } => {
            text("kind", &"intf");
            text("interface", interface);
        }
        Kind::Ip { address, interface } => {
            text("kind", &"ip");
            text("address", address);
            text("interface", interface);
        }
        Kind::Process(process) => {
            text("kind", &"process");
            match process {
                Process::Name(name) => text("process", name),
                Process::Cmdline(words) => text("cmdline", words),
                Process::PidFile(file) => text("pid_file", file),
                Process::Group => {}
            }
        }
        Kind::Custom(Custom::Talk { address, send, expect }) => {
            text("kind", &"custom");
            text("address", address);
            text("send", send);
            text("expect", expect);
        }
        Kind::Custom(Custom::Run(words)) => {
            text("kind", &"custom");
            let words: Vec<String> = words.iter().map(quoted).collect();
            field(out, "command", &format!("[{}]", words.join(", ")));
        }
        Kind::Module { name, state } => {
            text("kind", &"module");
            text("module", name);
            let state = match state {
                ModuleState::Ready => "ready",
                ModuleState::Serving => "serving",
            };
            text("state", &state);
        }
    }
}

fn addresses(out: &mut String, module: &Module) {
    let Some(vips) = &module.vips else { return };
    let one = |vip: &crate::linux::VipConfig| {
        let label = vip.label.as_ref().map(|label| format!(", label = {}", quoted(label)));
        let source = match vip.source {
            VipSource::Alias => "alias",
            VipSource::Preferred => "preferred",
        };
        format!(
            "{{ address = {}, interface = {}, prefix = {}{}, source = {} }}",
            quoted(vip.address),
            quoted(&vip.interface),
            vip.prefix,
            label.unwrap_or_default(),
            quoted(source)
        )
    };
    let all: Vec<String> = vips.addresses.iter().map(one).collect();
    field(out, "vips", &format!("[{}]", all.join(", ")));
    field(out, "refresh", &time(vips.refresh));
    let removed = match vips.on_removed {
        OnRemoved::PutBack => "put_back",
        OnRemoved::StepDown => "step_down",
    };
    field(out, "on_removed", &quoted(removed));
    field(out, "reset_connections", &vips.reset_connections.to_string());
}
