//! What clients reach, at a node that goes on for an earlier process.

use std::boxed::Box;
use std::prelude::rust_2024::*;

use ha_farm::Rule;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tracing::warn;

use super::front::Front;
use super::keeper::Keeper;
use super::turn::{Arrived, Letter};
use super::{Running, Setup, StartError, nothing, open_desk, sweep, thread_failed};
use crate::driver::Clock;
use crate::farm::{Config, Farm};
use crate::linux::plane::Guard;

/// A front, opened beside the node at work. The addresses are as they were left, so the first
/// beat does not wait for it: to look at interfaces the kernel lets wait whoever comes while others
/// change some, and to hear frames takes tens of milliseconds where the processors are busy.
pub(super) struct Later {
    front: Front,
    config: Config,
    /// In force.
    rules: Vec<Rule>,
    guard: Option<Box<dyn Guard + Send>>,
}

impl Later {
    /// Takes it out of what the node is made of, if it has one.
    pub(super) fn of(setup: &mut Setup, farm: &Farm) -> Option<Self> {
        let front = setup.front.take()?;
        let (config, rules) = (setup.config.clone(), farm.rules().to_vec());
        Some(Self { front, config, rules, guard: setup.plane.guard() })
    }

    /// Opens it, and gives it to the node. Where that cannot be the node ends, shut.
    pub(super) fn meet(
        self,
        running: Running,
        letters: &mpsc::Sender<Letter>,
        context: &Handle,
    ) -> Result<Running, StartError> {
        let _context = context.enter();
        let arrived = Box::new(self.open(letters.clone())?);
        // One that has ended takes no letters; nobody else has sent so many that none has room.
        let _ = letters.try_send(Letter::Front(arrived));
        Ok(running)
    }

    fn open(self, letters: mpsc::Sender<Letter>) -> Result<Arrived, StartError> {
        let Self { front, config, rules, guard } = self;
        let nothing = nothing(&config, rules);
        let mut desk = open_desk(front, &config)?;
        sweep(&mut desk, &nothing);
        if let Err(error) = desk.follow(Clock::of_the_machine().now(), &nothing) {
            // It was so before, or comes from outside: the service runs, and it is tried again.
            warn!(%error, "something of the virtual addresses is missing");
        }
        let eyes = desk.eyes().map_err(thread_failed)?;
        let keeper = Keeper::start(guard, Some(eyes), letters).map_err(thread_failed)?;
        Ok(Arrived { desk, keeper })
    }
}
