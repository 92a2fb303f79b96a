//! Whether a daemon could go on with a configuration, found out without touching anything.

use std::io;
use std::prelude::rust_2024::*;

use rustix::fs::{Access, access};
use tracing::warn;

use super::config::{Module, Node, Service};
use super::daemon::DaemonError;
use super::module::{ModuleError, guardian, guardian_of_daemon};
use crate::driver::{Driver, HostError, StartError};
use crate::linux::checkers::{self, Planned};
use crate::linux::link::Link;
use crate::linux::netlink::Netlink;
use crate::linux::unit::{Unit, UnitSettings};
use crate::raw::{PingFrom, PingTarget};

/// What is open already, of a daemon that runs.
#[derive(Clone, Copy, Debug)]
pub enum Open<'a> {
    /// Nothing: a daemon starts.
    Nothing,
    /// What this node's daemon has open, and lets go of before the next one starts.
    Of(&'a Node),
    /// Unknown: somebody else looks, and a daemon may run.
    Unknown,
}

/// Looks at all that a start needs of this machine, but for rights that only it can try: the key,
/// the addresses and interfaces, the guardian, units, checkers, the hook, the sockets, and out of
/// what the vote `ping` asks. Nothing is made, set or started.
///
/// # Errors
/// The first thing that a start would fail at.
pub fn check(node: &Node, open: Open<'_>) -> Result<(), DaemonError> {
    let first = node.modules.first().expect("a node has modules");
    match Driver::check_key(&first.node.key) {
        Err(StartError::Key { source, .. })
            if matches!(open, Open::Unknown)
                && source.kind() == io::ErrorKind::PermissionDenied => {}
        checked => checked?,
    }
    for module in &node.modules {
        check_module(node, module, open)?;
    }
    for target in &node.raw.ping {
        match check_ping(target) {
            // It may be late, as a network may: the others are asked meanwhile.
            Err(late) if matches!(open, Open::Nothing) => warn!("{late}"),
            checked => checked?,
        }
    }
    let planned = node.modules.iter().map(|module| Planned {
        name: &module.name,
        checkers: &module.checkers,
        group: module.service.as_ref().is_some_and(|it| it.unit.is_none()),
    });
    checkers::check(&planned.collect::<Vec<_>>())?;
    if let Some(hook) = &node.hook {
        hook.check()?;
    }
    Ok(check_sockets(node, open)?)
}

fn check_module(node: &Node, module: &Module, open: Open<'_>) -> Result<(), ModuleError> {
    let name = &module.name;
    if let Some(vips) = &module.vips {
        vips.look().map_err(|source| ModuleError::Vips { module: name.clone(), source })?;
    }
    let Some(service) = &module.service else { return Ok(()) };
    if let Some(unit) = &service.unit {
        let known = unit_of(unit, service).and_then(|unit| unit.place());
        known.map_err(|source| ModuleError::Unit { module: name.clone(), source })?;
    }
    let program = match open {
        Open::Nothing | Open::Of(_) => guardian(node),
        Open::Unknown => guardian_of_daemon(node),
    };
    if !program.is_file() || access(&program, Access::EXEC_OK).is_err() {
        let why = HostError::new("there is no such file, or it is not executable");
        return Err(ModuleError::Guardian { module: name.clone(), program, why });
    }
    Ok(())
}

/// Out of an interface that is not there nobody answers: where most addresses are asked so, the node
/// never takes over.
fn check_ping(target: &PingTarget) -> Result<(), DaemonError> {
    let Some(PingFrom::Interface(interface)) = &target.from else { return Ok(()) };
    match Netlink::open(None).and_then(|mut netlink| Link::find(&mut netlink, interface)) {
        Ok(None) => {
            let (target, interface) = (target.clone(), interface.clone());
            Err(DaemonError::PingFrom { target, interface })
        }
        // Who may not look says nothing of it.
        Ok(Some(_)) | Err(_) => Ok(()),
    }
}

/// The unit that a service is, not asked of anything yet.
pub(super) fn unit_of(name: &str, service: &Service) -> io::Result<Unit> {
    Unit::new(UnitSettings {
        systemctl: "systemctl".into(),
        name: name.into(),
        start: service.start,
        stop: service.stop,
    })
}

/// Whether each address can be listened at that is not the daemon's already, or could once it is
/// this machine's: a network may be late, or its interface down.
fn check_sockets(node: &Node, open: Open<'_>) -> Result<(), StartError> {
    let held = match open {
        Open::Of(running) => Some(&running.raw),
        Open::Nothing | Open::Unknown => None,
    };
    let free = |checked: Result<(), StartError>| match checked {
        Err(StartError::Bind { source, .. })
            if matches!(open, Open::Unknown) && source.kind() == io::ErrorKind::AddrInUse =>
        {
            Ok(())
        }
        checked => checked,
    };
    for link in &node.raw.links {
        let at = link.local;
        if !held.is_some_and(|raw| raw.links.iter().any(|link| link.local == at)) {
            free(Driver::check_link("links", at))?;
        }
    }
    // The node with the higher id listens, the other one dials.
    let stream = node.raw.replication.listen;
    if node.raw.node > node.raw.peer
        && !held.is_some_and(|raw| raw.replication.listen == stream && raw.node > raw.peer)
    {
        free(Driver::check_listener("replication.listen", stream))?;
    }
    if let Some(http) = node.raw.http
        && held.is_none_or(|raw| raw.http.is_none_or(|it| it.listen != http.listen))
    {
        free(Driver::check_listener("http.listen", http.listen))?;
    }
    Ok(())
}
