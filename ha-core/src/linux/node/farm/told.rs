//! Where the events of a farm's member go.

use std::collections::BTreeMap;
use std::format;
use std::prelude::rust_2024::*;
use std::string::ToString;
use std::sync::Arc;

use tracing::{debug, error, info, warn};

use super::config::FarmNode;
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
        Ok(Self { names, links, log, hook: node.hook.clone().map(hook).transpose()? })
    }

    /// Takes an event; returns at once.
    pub(super) fn note(&self, event: &Event) {
        let name =
            |node: NodeId| self.names.get(&node).cloned().unwrap_or_else(|| format!("node {node}"));
        let number = self.log.note(event, name, &self.links);
        if let Some(hook) = &self.hook {
            hook.tell(number, event);
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
    pub(super) fn give_up(self) -> Option<(&'static str, String)> {
        let dropped = self.hook.map(FarmHook::give_up)?;
        Some((VARIABLE, dropped.to_string()))
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
