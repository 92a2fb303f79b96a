//! Looks after programs that anybody with the rights can take away.

use std::collections::BTreeMap;
use std::format;
use std::fs;
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;
use std::string::String;

use aya::programs::SchedClassifier;
use tracing::warn;

use super::object::refused;
use super::{Settings, attach, done, layout, module_folder};
use crate::linux::link::Link;
use crate::linux::netlink::Netlink;
use crate::linux::plane::{Guard, PlaneError, Sure};

/// The program that decides, as it is pinned: another process, or another release, may have loaded
/// it. What only drops, and saves costs, is not looked after.
#[derive(Debug)]
pub(super) struct Program {
    settings: Settings,
    pins: PathBuf,
    /// The last one that was found, should somebody remove its pin.
    tc: Option<SchedClassifier>,
    /// The numbers of the interfaces that the programs were found at.
    at: BTreeMap<String, u32>,
}

impl Program {
    pub(super) fn new(settings: Settings) -> Self {
        let pins = module_folder(&settings.module).join(layout::VERSION);
        Self { settings, pins, tc: None, at: BTreeMap::new() }
    }

    fn look_at(&mut self, netlink: &mut Netlink, interface: &str) -> Result<(), PlaneError> {
        let found = done("look for an interface", Link::find(netlink, interface))?;
        let link = found.ok_or_else(|| PlaneError::NoInterface(interface.into()))?;
        // That of a new release is pinned before it is attached.
        if let Ok(pinned) = SchedClassifier::from_pin(self.pins.join(TC)) {
            self.tc = Some(pinned);
        }
        // One that was adopted from an earlier release: `renew` pins it in a moment.
        let Some(program) = &mut self.tc else { return Ok(()) };
        let pin = self.pins.join(format!("tc-{interface}"));
        let same = *self.at.entry(interface.into()).or_insert(link.index) == link.index;
        let holds = same && attach::holds(program, &pin).unwrap_or(false);
        if holds || same && attach::has_clsact(netlink, link.index) {
            return Ok(());
        }
        if !same {
            // Its link may be that of an interface which has another name now.
            drop(fs::remove_file(&pin));
        }
        drop(fs::create_dir_all(&self.pins));
        if !attach::tc(program, self.settings.tcx, interface, &pin)? {
            // It filters until the next look, which puts it back.
            return Ok(());
        }
        self.at.insert(interface.into(), link.index);
        warn!(interface, "the filter was not there any more: it is put back");
        Ok(())
    }
}

impl Guard for Program {
    fn look(&mut self) -> Result<Sure, PlaneError> {
        let mut netlink = done("open netlink", Netlink::open(None))?;
        let interfaces = self.settings.interfaces.clone();
        interfaces.iter().try_for_each(|interface| self.look_at(&mut netlink, interface))?;
        Ok(Sure::Yes)
    }
}

/// Pins the program that decides in the place of the one before.
pub(super) fn pin(program: &mut SchedClassifier, pins: &Path) -> Result<(), PlaneError> {
    let file = pins.join(TC);
    // It may not be there.
    drop(fs::remove_file(&file));
    program.pin(file).map_err(|error| refused("pin the filter", &error))
}

/// The name of the pinned program.
const TC: &str = "program-tc";
