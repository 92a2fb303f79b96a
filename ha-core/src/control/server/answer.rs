//! What each request is answered by.

use core::time::Duration;
use std::collections::BTreeMap;
use std::format;
use std::io;
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use ha_proto::ModuleId;
use tokio::time::{Instant, sleep, timeout_at};

use super::tail::{self, Asked};
use super::wire::Wire;
use super::{LOOK, Office};
use crate::control::access::May;
use crate::control::plan::Plan;
use crate::control::protocol::{EventLine, PastLine, Reply, Request};
use crate::control::{Desk, Entry, Exit, ModuleStatus, Refused, Report};
use crate::verdict::Names;

/// Why a request is not answered to its end.
pub(super) enum Stop {
    /// It is refused; the client hears why.
    Refused(Refused),
    /// The client is gone.
    Gone(io::Error),
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

impl<D: Desk> Office<D> {
    pub(super) async fn answer(
        self: &Arc<Self>,
        wire: &mut Wire,
        may: May,
        request: Request,
    ) -> Result<(), Stop> {
        let wanted = match request {
            Request::Status { .. }
            | Request::Events { .. }
            | Request::History { .. }
            | Request::Plan { .. }
            | Request::Op { .. }
            | Request::Table { .. }
            | Request::FarmPlan { .. } => May::See,
            Request::Order { .. }
            | Request::FarmOrder { .. }
            | Request::Reload
            | Request::Config => May::Order,
        };
        may.allow(wanted)?;
        if !self.desk.farms().is_empty() {
            return self.answer_farm(wire, request).await;
        }
        match request {
            Request::Status { module, watch } => self.status(wire, module.as_deref(), watch).await,
            Request::Events { module, since, follow } => {
                self.events(wire, module.as_deref(), Asked { since, follow }).await
            }
            Request::History { module } => self.history(wire, module.as_deref()).await,
            Request::Plan { module, verb } => {
                let report = self.one(module.as_deref()).await?;
                Ok(wire.say(Reply::Plan(Plan::new(&report, verb))).await?)
            }
            Request::Order { module, verb, force, wait_ms } => {
                let id = self.begin(module.as_deref(), verb, force).await?;
                wire.say(Reply::Accepted(id)).await?;
                self.attend(wire, id, wait_ms).await
            }
            Request::Op { id, wait_ms } => self.attend(wire, id, wait_ms).await,
            Request::Table { .. } | Request::FarmPlan { .. } | Request::FarmOrder { .. } => {
                let text = "this node has no farm: that is a word of one";
                Err(Refused::new(Exit::Usage, text).into())
            }
            Request::Reload => {
                let said = self.desk.reload().await?;
                Ok(wire.say(Reply::Said(said)).await?)
            }
            Request::Config => Ok(wire.say(Reply::Config(self.desk.config().await)).await?),
        }
    }

    /// The modules of this name, or all.
    fn named(&self, module: Option<&str>) -> Result<Vec<(ModuleId, String)>, Refused> {
        let mut modules = self.desk.modules();
        let Some(wanted) = module else { return Ok(modules) };
        let known: Vec<&str> = modules.iter().map(|(_, name)| &**name).collect();
        if !known.contains(&wanted) {
            let text = format!("no module {wanted:?}: there are {}", known.join(", "));
            return Err(Refused::new(Exit::Usage, text));
        }
        modules.retain(|(_, name)| name == wanted);
        Ok(modules)
    }

    /// The report of the module of this name, or of the only one.
    pub(super) async fn one(&self, module: Option<&str>) -> Result<Report, Refused> {
        let modules = self.named(module)?;
        let [(_, name)] = &modules[..] else {
            let names: Vec<&str> = modules.iter().map(|(_, name)| &**name).collect();
            let text = format!("which module? name one with -m: {}", names.join(", "));
            return Err(Refused::new(Exit::Usage, text));
        };
        self.report(name).await
    }

    pub(super) async fn report(&self, name: &str) -> Result<Report, Refused> {
        let ending = || Refused::new(Exit::Unavailable, "the daemon is ending");
        self.desk.report(name).await.ok_or_else(ending)
    }

    async fn statuses(&self, module: Option<&str>) -> Result<Vec<ModuleStatus>, Refused> {
        let mut found = Vec::new();
        for (_, name) in self.named(module)? {
            let report = self.report(&name).await?;
            found.push(ModuleStatus::new(&report, &self.look(&report)));
        }
        Ok(found)
    }

    async fn status(&self, wire: &mut Wire, module: Option<&str>, watch: bool) -> Result<(), Stop> {
        let mut follower = self.events.follow();
        loop {
            wire.say(Reply::Status(self.statuses(module).await?)).await?;
            if !watch {
                return Ok(());
            }
            let next = async {
                // Not more often than eyes see, at each event, and each second since ages grow.
                sleep(BLINK).await;
                let _ = timeout_at(Instant::now() + LOOK, follower.changed()).await;
            };
            tokio::select! {
                () = wire.gone() => return Ok(()),
                () = next => {}
            }
        }
    }

    async fn events(
        &self,
        wire: &mut Wire,
        module: Option<&str>,
        asked: Asked,
    ) -> Result<(), Stop> {
        let mut called: BTreeMap<ModuleId, (String, Names)> = BTreeMap::new();
        for (id, name) in self.named(module)? {
            let names = self.report(&name).await?.names;
            called.insert(id, (name, names));
        }
        let newer = self.events.follow();
        wire.say(Reply::Status(self.statuses(module).await?)).await?;
        let line = |entry: Entry| {
            let (module, names) = called.get(&entry.module)?;
            Some(EventLine::new(&entry, module, names))
        };
        tail::tell(wire, asked, newer, |from| self.events.since(from), line).await
    }

    async fn history(&self, wire: &mut Wire, module: Option<&str>) -> Result<(), Stop> {
        let past = |(id, name): (ModuleId, String)| {
            (name, self.events.history(id).iter().map(PastLine::new).collect())
        };
        let found = self.named(module)?.into_iter().map(past).collect();
        Ok(wire.say(Reply::History(found)).await?)
    }

    /// Says how an order goes on, whenever that changes, until it has ended or for so long.
    async fn attend(&self, wire: &mut Wire, id: u64, wait_ms: u64) -> Result<(), Stop> {
        let unknown = || {
            let text = format!("no order {id} is remembered: see `ha events`");
            Refused::new(Exit::Usage, text)
        };
        let mut state = self.ops().find(id).ok_or_else(unknown)?;
        let until = Instant::now() + Duration::from_millis(wait_ms.min(WAIT_MAX));
        loop {
            let now = self.events.clock().now();
            let (line, ended) = {
                let state = state.borrow_and_update();
                (state.line(id, now), state.ended.is_some())
            };
            wire.say(Reply::Op(line)).await?;
            if ended {
                return Ok(());
            }
            tokio::select! {
                () = wire.gone() => return Ok(()),
                changed = timeout_at(until, state.changed()) => match changed {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => return Ok(()),
                },
            }
        }
    }
}

/// Between two pictures for somebody who watches.
const BLINK: Duration = Duration::from_millis(200);
/// A day: no client waits longer for an order.
const WAIT_MAX: u64 = 86_400_000;
