//! Where the events of a farm's member go.

use std::collections::BTreeMap;
use std::format;
use std::prelude::rust_2024::*;
use std::string::ToString;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{debug, error, info, warn};

use super::config::FarmNode;
use super::daemon::calm;
use crate::control::FarmLog;
use crate::event::Level;
use crate::farm::Event;
use crate::linux::hook::{FarmHook, FarmNamed, HookError};
use crate::proto::NodeId;

/// The journal, whoever asks, and whom the file names.
#[derive(Debug)]
pub(super) struct Told {
    names: BTreeMap<NodeId, String>,
    links: Vec<String>,
    log: Arc<FarmLog>,
    hook: Option<FarmHook>,
    /// What whom the file names is to be told, with its number, until [`Told::begin`].
    waits: Mutex<Option<Vec<(u64, Event)>>>,
}

impl Told {
    /// Goes on counting what nobody was told of where the process before left off.
    pub(super) fn new(node: &FarmNode, log: Arc<FarmLog>) -> Result<Self, HookError> {
        let (names, links) = (node.names.clone(), node.link_names());
        let called = FarmNamed {
            module: node.raw.module.clone(),
            node: node.name().into(),
            members: names.clone(),
            links: links.clone(),
        };
        let before = std::env::var(VARIABLE).ok().and_then(|said| said.parse().ok());
        let hook = |config| FarmHook::resume(config, called, before.unwrap_or(0));
        let hook = node.hook.clone().map(hook).transpose()?;
        Ok(Self { names, links, log, hook, waits: Mutex::new(Some(Vec::new())) })
    }

    /// Tells whom the file names from now on, and what has happened so far. After an exec the whole
    /// process goes before all others for a while, and a program that is run then would as well.
    pub(super) fn begin(&self) {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, event) in waits.take().into_iter().flatten() {
            self.tell(number, &event);
        }
    }

    fn tell(&self, number: u64, event: &Event) {
        if let Some(hook) = &self.hook {
            hook.tell(number, event);
        }
    }

    /// Takes an event; returns at once.
    pub(super) fn note(&self, event: &Event) {
        let name =
            |node: NodeId| self.names.get(&node).cloned().unwrap_or_else(|| format!("node {node}"));
        let number = self.log.note(event, name, &self.links);
        match &mut *self.waits.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(waits) => waits.push((number, *event)),
            None => self.tell(number, event),
        }
        let told = event.told(name, &self.links);
        match event.level() {
            Level::Error => error!("{told}"),
            Level::Warn => warn!("{told}"),
            Level::Info => info!("{told}"),
            Level::Debug => debug!("{told}"),
        }
    }

    /// Drops what waits to be told, since a lease runs on meanwhile: for the environment of the
    /// process that goes on.
    pub(super) fn give_up(mut self) -> Option<(&'static str, String)> {
        let dropped = self.hook.take().map(FarmHook::give_up)?;
        Some((VARIABLE, dropped.to_string()))
    }
}

impl Drop for Told {
    /// A start that failed is told of, too.
    fn drop(&mut self) {
        if self.waits.get_mut().unwrap_or_else(PoisonError::into_inner).is_some() {
            calm();
            self.begin();
        }
    }
}

/// What one process leaves to the next in its environment.
pub(super) fn left<'a>(
    follows: Option<(&'a str, String)>,
    untold: Option<(&'a str, String)>,
) -> Vec<(&'a str, String)> {
    follows.into_iter().chain(untold).collect()
}

/// How many events nobody was told of.
const VARIABLE: &str = "HA_FARM_UNTOLD";
