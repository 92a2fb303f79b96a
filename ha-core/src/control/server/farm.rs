//! What a farm's daemon answers.

use core::time::Duration;
use std::format;
use std::string::String;
use std::sync::Arc;
use std::vec;
use std::vec::Vec;

use tokio::time::{Instant, sleep};
use tracing::info;

use super::Office;
use super::answer::Stop;
use super::tail::{self, Asked};
use super::wire::Wire;
use crate::control::farm::tables;
use crate::control::protocol::{Reply, Request};
use crate::control::{Desk, Exit, FarmReport, FarmStatus, FarmVerb, Refused};

impl<D: Desk> Office<D> {
    /// A request to a daemon of farms.
    pub(super) async fn answer_farm(
        self: &Arc<Self>,
        wire: &mut Wire,
        request: Request,
    ) -> Result<(), Stop> {
        match request {
            Request::Status { module, watch } => {
                self.farm_status(wire, module.as_deref(), watch).await
            }
            Request::Table { module, service } => {
                let report = self.farm(module.as_deref()).await?;
                let tables = tables(&report, service.as_deref())?;
                Ok(wire.say(Reply::Tables(tables)).await?)
            }
            Request::FarmPlan { module, verb } => {
                let report = self.farm(module.as_deref()).await?;
                Ok(wire.say(Reply::Plan(verb.plan(&report))).await?)
            }
            Request::FarmOrder { module, verb, force, wait_ms } => {
                let wait = Duration::from_millis(wait_ms);
                let said = self.order_farm(module.as_deref(), verb, force, wait).await?;
                Ok(wire.say(Reply::Said(said)).await?)
            }
            Request::Reload => Ok(wire.say(Reply::Said(self.desk.reload().await?)).await?),
            Request::Config => Ok(wire.say(Reply::Config(self.desk.config().await)).await?),
            Request::Events { module, since, follow } => {
                let report = self.farm(module.as_deref()).await?;
                self.farm_events(wire, &report, Asked { since, follow }).await
            }
            Request::History { .. } => {
                let text = "takeovers are a mirror's; of this farm: see ha events";
                Err(Refused::new(Exit::Usage, text).into())
            }
            Request::Plan { verb, .. } | Request::Order { verb, .. } => {
                let text =
                    format!("{} is for a mirror; this is a farm: see ha --help", verb.name());
                Err(Refused::new(Exit::Usage, text).into())
            }
            Request::Op { .. } => {
                let text = "orders of a farm are done when they are answered: see ha status";
                Err(Refused::new(Exit::Usage, text).into())
            }
        }
    }

    async fn farm_status(
        &self,
        wire: &mut Wire,
        module: Option<&str>,
        watch: bool,
    ) -> Result<(), Stop> {
        loop {
            let mut farms = Vec::new();
            for name in self.desk.farms() {
                if module.is_none_or(|wanted| wanted == name) {
                    farms.push(FarmStatus::new(&self.farm(Some(&name)).await?));
                }
            }
            if farms.is_empty() {
                return Err(self.no_farm(module).into());
            }
            wire.say(Reply::Farms(farms)).await?;
            if !watch {
                return Ok(());
            }
            tokio::select! {
                () = wire.gone() => return Ok(()),
                () = sleep(BLINK) => {}
            }
        }
    }

    async fn farm_events(
        &self,
        wire: &mut Wire,
        report: &FarmReport,
        asked: Asked,
    ) -> Result<(), Stop> {
        let Some(log) = self.desk.farm_log() else {
            return Err(Refused::new(Exit::Usage, "this daemon keeps no events").into());
        };
        let newer = log.follow();
        wire.say(Reply::Farms(vec![FarmStatus::new(report)])).await?;
        tail::tell(wire, asked, newer, |from| log.since(from), Some).await
    }

    /// The report of the farm of this name, or of the only one.
    async fn farm(&self, module: Option<&str>) -> Result<FarmReport, Refused> {
        let farms = self.desk.farms();
        let name = match (module, &farms[..]) {
            (Some(name), _) if farms.iter().any(|it| it == name) => name,
            (None, [only]) => only,
            (None | Some(_), _) => return Err(self.no_farm(module)),
        };
        let ending = || Refused::new(Exit::Unavailable, "the daemon is ending");
        self.desk.farm(name).await.ok_or_else(ending)
    }

    fn no_farm(&self, module: Option<&str>) -> Refused {
        let known = self.desk.farms().join(", ");
        let text = match module {
            Some(wanted) => format!("no module {wanted:?}: there are {known}"),
            None => format!("which module? name one with -m: {known}"),
        };
        Refused::new(Exit::Usage, text)
    }

    /// Orders, and waits until what was wanted is so; a line that says it.
    async fn order_farm(
        &self,
        module: Option<&str>,
        verb: FarmVerb,
        force: bool,
        wait: Duration,
    ) -> Result<String, Refused> {
        let report = self.farm(module).await?;
        let plan = verb.plan(&report);
        if let Some(refused) = plan.refused.filter(|_| !(force && plan.overridable)) {
            return Err(refused);
        }
        let name = verb.name();
        let began = Instant::now();
        self.desk.order_farm(&report.name, verb.clone()).await?;
        info!(module = report.name, order = name, "an order");
        let end = began + wait;
        loop {
            sleep(PAUSE).await;
            let now = self.farm(Some(&report.name)).await?;
            if verb.is_reached(&now) {
                let took = crate::verdict::span(began.elapsed());
                return Ok(format!("{name}: done in {took}"));
            }
            if Instant::now() >= end {
                let text = format!("{name}: given, and not yet so: see ha status");
                return Err(Refused::new(Exit::Running, text));
            }
        }
    }
}

/// Between two pictures for somebody who watches.
const BLINK: Duration = Duration::from_millis(500);
/// Between two looks whether an order has come to its end.
const PAUSE: Duration = Duration::from_millis(50);
