//! Where the programs go: ingress of an interface, and what keeps them there.

use std::format;
use std::fs;
use std::io;
use std::mem;
use std::path::Path;
use std::prelude::rust_2024::*;
use std::string::String;

use aya::programs::links::{FdLink, Link as _, PinnedLink};
use aya::programs::tc::{self, SchedClassifierLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode};
use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption};
use rustix::io::Errno;

use super::object::refused;
use super::{PROGRAM, done};
use crate::linux::link::Link;
use crate::linux::netlink::Netlink;
use crate::linux::plane::PlaneError;

/// The program that decides, by a link that is pinned there (TCX), or by `clsact`. `false`: it is
/// at the interface by another link, which the kernel is about to free.
pub(super) fn tc(
    program: &mut SchedClassifier,
    tcx: bool,
    interface: &str,
    pin: &Path,
) -> Result<bool, PlaneError> {
    let refuse = |error: ProgramError| refused(&format!("filter {interface}"), &error);
    if !tcx {
        return clsact(program, interface).map_err(refuse).map(|()| true);
    }
    match holds(program, pin) {
        Some(true) => return Ok(true),
        // The interface that it was at is gone.
        Some(false) => done("remove a pin", fs::remove_file(pin))?,
        None => {}
    }
    let id = match program.attach(interface, TcAttachType::Ingress) {
        Ok(id) => id,
        Err(ProgramError::SyscallError(error)) if is_there(&error.io_error) => return Ok(false),
        Err(_old_kernel) => return clsact(program, interface).map_err(refuse).map(|()| true),
    };
    let link = program.take_link(id).map_err(refuse)?;
    match FdLink::try_from(link) {
        Ok(link) => link.pin(pin).map(drop).map_err(|error| refused("pin the filter", &error))?,
        // Before 6.6 aya chose clsact by itself, without a link that could be pinned.
        Err(_) => clsact(program, interface).map_err(refuse)?,
    }
    Ok(true)
}

fn is_there(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EXIST.raw_os_error())
}

/// Puts this program at the link that is pinned there, whatever was at it: whether it is at an
/// interface. `None` where nothing is pinned. The kernel says so of a link whose program is this
/// one, too, and changes nothing then.
pub(super) fn holds(program: &mut SchedClassifier, pin: &Path) -> Option<bool> {
    let link = SchedClassifierLink::try_from(FdLink::from(PinnedLink::from_pin(pin).ok()?));
    let put = link.ok().and_then(|link| program.attach_to_link(link).ok());
    // Pinned, so that it stays where it is without this process.
    Some(put.is_some_and(|id| program.take_link(id).is_ok()))
}

/// The program that only drops, by a link that is pinned there.
pub(super) fn xdp(
    program: &mut Xdp,
    mode: XdpMode,
    interface: &str,
    pin: &Path,
) -> Result<(), String> {
    let say = |error: &dyn core::error::Error| match error.source() {
        Some(source) => format!("{source}"),
        None => format!("{error}"),
    };
    if let Ok(old) = PinnedLink::from_pin(pin) {
        let link = XdpLink::try_from(FdLink::from(old));
        if link.is_ok_and(|link| program.attach_to_link(link).is_ok()) {
            return Ok(());
        }
        fs::remove_file(pin).map_err(|error| say(&error))?;
    }
    let id = program.attach(interface, mode).map_err(|error| say(&error))?;
    let link = program.take_link(id).map_err(|error| say(&error))?;
    // A link that cannot be pinned is dropped, and with it the program leaves the interface.
    let link = FdLink::try_from(link).map_err(|error| say(&error))?;
    link.pin(pin).map(drop).map_err(|error| say(&error))
}

/// The program at ingress of a `clsact` qdisc, where it stays when this process ends. One that was
/// there before goes once this one decides in front of it: no packet meets neither.
fn clsact(program: &mut SchedClassifier, interface: &str) -> Result<(), ProgramError> {
    // It may be there already.
    drop(tc::qdisc_add_clsact(interface));
    let before = at_interface(interface).unwrap_or_else(|_kernel_does_not_say| {
        drop_clsact(interface);
        Vec::new()
    });
    let options = tc::TcAttachOptions::Netlink(tc::NlOptions::default());
    let id = program.attach_with_options(interface, TcAttachType::Ingress, options)?;
    // Dropping the link would detach the program.
    mem::forget(program.take_link(id)?);
    for (priority, handle) in before {
        let at = TcAttachType::Ingress;
        let old = SchedClassifierLink::attached(interface, at, priority, handle, None);
        // Somebody may have taken it away; behind the new one it is not asked.
        drop(old.map(SchedClassifierLink::detach));
    }
    Ok(())
}

/// What is at the `clsact` qdisc of an interface by our name.
fn at_interface(interface: &str) -> io::Result<Vec<(u16, tc::TcHandle)>> {
    let mut netlink = Netlink::open(None)?;
    let link = Link::find(&mut netlink, interface)?;
    link.map_or(Ok(Vec::new()), |link| named(&mut netlink, link.index))
}

/// Whether a program of ours is at the `clsact` qdisc of an interface, and the kernel says so.
pub(super) fn is_at_clsact(interface: &str) -> bool {
    at_interface(interface).is_ok_and(|found| !found.is_empty())
}

pub(super) fn drop_clsact(interface: &str) {
    // Nothing is there where TCX was used, or the interface is gone.
    drop(tc::qdisc_detach_program(interface, TcAttachType::Ingress, PROGRAM));
}

/// Whether the program is at the `clsact` qdisc of the interface of this number; also if the kernel
/// does not say.
pub(super) fn has_clsact(netlink: &mut Netlink, index: u32) -> bool {
    named(netlink, index).map_or(true, |found| !found.is_empty())
}

fn named(netlink: &mut Netlink, index: u32) -> io::Result<Vec<(u16, tc::TcHandle)>> {
    let mut all = TcMessage::default();
    all.header.index = index.cast_signed();
    all.header.parent = TcHandle { major: u16::MAX, minor: TcHandle::MIN_INGRESS };
    let filters = netlink.ask(NLM_F_DUMP, RouteNetlinkMessage::GetTrafficFilter(all));
    let ours = |filter: RouteNetlinkMessage| match filter {
        RouteNetlinkMessage::NewTrafficFilter(filter) if filter.attributes.iter().any(is_named) => {
            let handle = u32::from(filter.header.handle);
            // The priority is above the protocol.
            Some(((filter.header.info >> 16) as u16, handle.into()))
        }
        _ => None,
    };
    Ok(filters?.into_iter().filter_map(ours).collect())
}

fn is_named(attribute: &TcAttribute) -> bool {
    let TcAttribute::Options(options) = attribute else { return false };
    let ours = |name: &str| name.starts_with(PROGRAM);
    options.iter().any(|option| match option {
        TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => ours(name),
        _ => false,
    })
}
