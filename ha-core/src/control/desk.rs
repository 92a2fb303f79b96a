//! What a daemon offers to an administrator.

use core::future::Future;
use core::time::Duration;
use std::prelude::rust_2024::*;

use ha_proto::ModuleId;
use serde::{Deserialize, Serialize};

use crate::Order;
use crate::control::{Exit, FarmLog, FarmReport, FarmVerb, Refused};
use crate::verdict::{HostFacts, Names};
use crate::view::View;

/// What the daemon behind a [`Server`](super::Server) does for administrators.
///
/// Its methods are called on the server's own thread, many at once: they may take long, and must not
/// block it.
pub trait Desk: Send + Sync + 'static {
    /// The modules, by number and name, in the order of the configuration.
    fn modules(&self) -> Vec<(ModuleId, String)>;

    /// The number after which orders are counted. An operator may ask a daemon for an order that was
    /// given to the one before: numbers that are used anew would tell of another order. Default 0.
    fn orders_before(&self) -> u64 {
        0
    }

    /// How the module of this name is doing; `None` when there is none, or the daemon is ending.
    fn report(&self, module: &str) -> impl Future<Output = Option<Report>> + Send;

    /// Obeys. What comes of it is seen in later reports and events.
    ///
    /// # Errors
    /// Why not, and what to do. Nothing has changed then.
    fn order(
        &self,
        module: &str,
        command: Command,
    ) -> impl Future<Output = Result<(), Refused>> + Send;

    /// Reads the configuration's files again and takes over what can be; one line that says what
    /// was, and what needs a restart. A daemon that replaces itself for it does not answer: whoever
    /// asked sees the connection end, and asks the one that goes on.
    ///
    /// # Errors
    /// The files cannot work ([`Exit::Config`](super::Exit::Config)), or it cannot be now
    /// ([`Exit::Busy`](super::Exit::Busy)): all goes on as it was.
    fn reload(&self) -> impl Future<Output = Result<String, Refused>> + Send;

    /// The configuration.
    fn config(&self) -> impl Future<Output = ConfigTexts> + Send;

    /// The farms, by name. A daemon that has one is asked of farms alone. The default has none.
    fn farms(&self) -> Vec<String> {
        Vec::new()
    }

    /// How the farm of this name is doing; `None` when there is none, or the daemon is ending.
    fn farm(&self, _farm: &str) -> impl Future<Output = Option<FarmReport>> + Send {
        core::future::ready(None)
    }

    /// What happened to the farm, for whoever asks or follows; `None` where nothing is kept of it,
    /// which is the default.
    fn farm_log(&self) -> Option<&FarmLog> {
        None
    }

    /// Obeys, of a farm. What comes of it is seen in later reports.
    ///
    /// # Errors
    /// Why not, and what to do. Nothing has changed then.
    fn order_farm(
        &self,
        farm: &str,
        _verb: FarmVerb,
    ) -> impl Future<Output = Result<(), Refused>> + Send {
        let text = std::format!("there is no farm {farm:?}");
        core::future::ready(Err(Refused::new(Exit::Usage, text)))
    }
}

/// How one module is doing.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: ModuleId,
    /// What things are called.
    pub names: Names,
    /// What runs, in a word or two: a unit, a folder of scripts, addresses.
    pub service: String,
    /// What its machines know.
    pub view: View,
    /// What its host adds.
    pub host: HostFacts,
    /// Its checkers.
    pub checkers: Vec<Checker>,
}

/// A checker of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checker {
    /// Its name in the configuration.
    pub name: String,
    /// Whether what it checks is up; `None` before its first result, or while it is suspended.
    pub up: Option<bool>,
    /// For how long.
    pub since: Option<Duration>,
}

/// The configuration as it runs, and as its files have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigTexts {
    /// The main file.
    pub path: String,
    /// What runs, as text.
    pub running: String,
    /// What the files say now; `None` when they cannot be read.
    pub file: Option<String>,
    /// Whether the two mean another thing.
    pub differs: bool,
}

/// What can be ordered of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// An order to the node itself. [`Order::Failover`] holds until it is ordered otherwise.
    Node(Order),
    /// [`Order::Stop`], after which the server orders [`Order::Start`]; a daemon that is replaced in
    /// between orders it itself.
    StopToStart,
    /// The [`Order::Start`] of it: refused where another order came in between.
    StartAgain,
    /// Whether checkers act.
    Checkers(bool),
    /// Maintenance for so long, or its end: no failover, and checkers do not act. It ends by itself.
    Maintenance(Option<Duration>),
}
