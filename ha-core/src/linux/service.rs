//! A module that is a service with scripts, and no records of its own.

use core::time::Duration;
use std::boxed::Box;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::prelude::rust_2024::*;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ha_proto::{Epoch, Role, Seq};
use ha_quorum::Vote;
use ha_replicate::Batch;
use tracing::error;

use super::guardian::{Guardian, Post};
use super::scripts::{Script, ScriptError, Scripts, Service, Shift};
use super::unit::Unit;
use crate::driver::{Guard, Host, HostError, Pulse};
use crate::{Config, Event};

/// The application of a module that an administrator wrote scripts for.
///
/// It is started and stopped by `start_prim` and `stop_prim`, or as a systemd unit in their place;
/// the other scripts follow the role that this node announces. Nothing is replicated: records are
/// taken and forgotten.
///
/// Dropping it stops what runs on both nodes, calls `poststop`, and dismisses the guardian; the
/// driver stops the rest. After [`Host::leave`] it is all left as it is: the next process goes on
/// with the same groups, pipes and guardian, and starts nothing again.
#[derive(Debug)]
pub struct ScriptHost {
    scripts: Arc<Scripts>,
    primary: Primary,
    sentry: Sentry,
    /// Given away with the guard.
    addresses: Option<Box<dyn Addresses>>,
    bounds: Bounds,
    from: Role,
    role: Role,
    epoch: Epoch,
    /// Whether `prestart` was called, and `poststop` was not since.
    begun: bool,
    /// Whether `start_both` was called, and `stop_both` was not since.
    both: bool,
    /// Whether another process goes on.
    left: bool,
}

/// How long losing the right to serve may take, and how soon the guardian must hear again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// S: within so long the service is frozen or killed.
    pub fence: Duration,
    /// How long the guardian waits for the next heartbeat: the longer of D and a second. `None`
    /// where a lease rules (R5): then it waits for the next renewal of that.
    pub patience: Option<Duration>,
}

impl Bounds {
    /// Those of a configured module.
    pub fn of(config: &Config) -> Self {
        let timing = config.timing();
        let patience = match config.policy().vote {
            Vote::Arbiter => None,
            Vote::None | Vote::Ping | Vote::Manual => {
                Some(timing.timeout.max(Duration::from_secs(1)))
            }
        };
        Self { fence: timing.stop, patience }
    }

    /// How long a service may run unless its guardian hears again, while addresses live for
    /// `lifetime`.
    fn right(self, lifetime: Duration) -> Duration {
        self.patience.unwrap_or(lifetime)
    }
}

/// The virtual addresses of a module, as [`Guard`] has them. Called on the guard's thread: an
/// answer must come within the configured `stop`.
pub trait Addresses: core::fmt::Debug + Send + 'static {
    /// Sets them here, to vanish by themselves after `lifetime`.
    ///
    /// # Errors
    /// One of them is not set.
    fn take(&mut self, epoch: Epoch, lifetime: Duration) -> Result<(), HostError>;

    /// Lets them live for `lifetime` from now.
    ///
    /// # Errors
    /// One of them was not extended.
    fn keep(&mut self, lifetime: Duration) -> Result<(), HostError>;

    /// Tells the network anew who has them, if they are here. The default does nothing.
    fn announce(&mut self) {}

    /// Removes them.
    ///
    /// # Errors
    /// One of them may still be set.
    fn release(&mut self) -> Result<(), HostError>;

    /// Leaves them as they are, for another process; the last call. The default does nothing.
    fn leave(&mut self) {}
}

/// A module that has no virtual address.
#[derive(Clone, Copy, Debug)]
pub struct NoAddresses;

/// What keeps a service within its right to run: frozen by the daemon, and by the guardian when
/// the daemon does not say in time that it may go on.
#[derive(Debug)]
pub struct ScriptGuard {
    primary: Primary,
    sentry: Sentry,
    addresses: Box<dyn Addresses>,
    bounds: Bounds,
    epoch: Epoch,
    /// How long the addresses were last let live.
    lifetime: Duration,
}

/// A module that is virtual addresses and nothing else.
#[derive(Debug)]
pub struct AddressHost(Option<Box<dyn Addresses>>);

/// The guard of an [`AddressHost`].
#[derive(Debug)]
pub struct AddressGuard(Box<dyn Addresses>);

impl ScriptHost {
    /// The host of these scripts; runs none yet. `guardian` is the program of the guardian and its
    /// post, which must name the group of [`Service::Prim`]; without one, what a killed daemon
    /// leaves runs on.
    /// A `unit` stands in place of `start_prim` and `stop_prim`.
    ///
    /// # Errors
    /// The guardian cannot be started.
    pub fn new(
        scripts: Scripts,
        addresses: Box<dyn Addresses>,
        bounds: Bounds,
        guardian: Option<(PathBuf, Post)>,
        unit: Option<Unit>,
    ) -> Result<Self, HostError> {
        let guardian = match guardian {
            Some((program, post)) => Some(Guardian::engage(&program, post)?),
            None => None,
        };
        let scripts = Arc::new(scripts);
        Ok(Self {
            primary: match unit {
                Some(unit) => Primary::Unit(Arc::new(unit)),
                None => Primary::Scripts(Arc::clone(&scripts)),
            },
            scripts,
            sentry: Sentry(Arc::new(Mutex::new(guardian))),
            addresses: Some(addresses),
            bounds,
            from: Role::Stop,
            role: Role::Stop,
            epoch: Epoch::NONE,
            begun: false,
            both: false,
            left: false,
        })
    }

    fn shift(&self) -> Shift {
        Shift { from: self.from, to: self.role, epoch: self.epoch }
    }

    /// The module takes part: `prestart`, once.
    fn begin(&mut self) -> Result<(), ScriptError> {
        if !self.begun {
            self.scripts.call(Script::Prestart, self.shift())?;
            self.begun = true;
        }
        Ok(())
    }

    /// The scripts that follow the role; what fails is said and does not keep the rest from it.
    fn follow(&mut self, from: Role, to: Role) {
        (self.from, self.role) = (from, to);
        if to != Role::Stop {
            let begun = self.begin();
            say(begun);
        }
        let shift = self.shift();
        if takes_part(to) && !self.both {
            self.both = true;
            say(self.scripts.start(Service::Both, shift));
        }
        if to == Role::Stop {
            self.stop_both();
        }
        say(self.scripts.call(Script::Transition, shift));
        if to == Role::Stop {
            self.end();
        }
    }

    fn stop_both(&mut self) {
        if self.both {
            self.both = false;
            say(self.scripts.stop(Service::Both, self.shift(), false));
        }
    }

    fn end(&mut self) {
        if self.begun {
            self.begun = false;
            say(self.scripts.call(Script::Poststop, self.shift()));
        }
    }
}

impl Drop for ScriptHost {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        (self.from, self.role) = (self.role, Role::Stop);
        self.stop_both();
        self.end();
        self.sentry.dismiss();
    }
}

impl Host for ScriptHost {
    type Guard = ScriptGuard;

    fn guard(&mut self) -> ScriptGuard {
        ScriptGuard {
            primary: self.primary.clone(),
            sentry: self.sentry.clone(),
            addresses: self.addresses.take().expect("the guard is asked for once"),
            bounds: self.bounds,
            epoch: Epoch::NONE,
            lifetime: Duration::ZERO,
        }
    }

    async fn start(&mut self, epoch: Epoch, _head: Seq) -> Result<(), HostError> {
        self.epoch = epoch;
        self.begin()?;
        // The role may be announced before its service runs, or after.
        let early = Shift { from: self.role, to: Role::Prim, epoch };
        let shift = if self.role.serves() { self.shift() } else { early };
        self.sentry.watch()?;
        self.primary.start(shift)
    }

    async fn stop(&mut self, force: bool) -> Result<(), HostError> {
        let early = Shift { from: self.role, to: Role::Wait, epoch: self.epoch };
        let shift = if self.role.serves() { early } else { self.shift() };
        // What the guardian would still do must not hit the script that clears up.
        if self.primary.kill_frozen()? {
            self.sentry.rest();
        }
        let mut stopped = self.primary.stop(shift, force);
        if stopped.is_err() && self.primary.kill_frozen()? {
            // A fence overtook it.
            self.sentry.rest();
            stopped = self.primary.stop(shift, true);
        }
        stopped?;
        self.sentry.rest();
        Ok(())
    }

    fn outlives(&self) -> bool {
        true
    }

    async fn adopt(&mut self, epoch: Epoch, _head: Seq) -> Result<(), HostError> {
        self.epoch = epoch;
        self.primary.adopt(epoch)
    }

    fn leave(&mut self) {
        self.left = true;
    }

    async fn apply(&mut self, _seq: Seq, _record: Bytes) -> Result<(), HostError> {
        Ok(())
    }

    async fn apply_batch(&mut self, _batch: &Batch) -> Result<(), HostError> {
        Ok(())
    }

    async fn reset(&mut self) -> Result<(), HostError> {
        Ok(())
    }

    fn observe(&mut self, event: &Event) {
        if let &Event::Role { from, to, ready: _ } = event
            && from != to
        {
            self.follow(from, to);
        }
        if let &Event::Resumed(role) = event {
            // What follows this role was started by the process before.
            (self.from, self.role) = (role, role);
            self.begun = role != Role::Stop;
            // Of a node that waits it tells by what runs.
            let waits = role == Role::Wait;
            let empty = self.scripts.group(Service::Both).is_empty().unwrap_or(true);
            self.both = takes_part(role) || (waits && !empty);
        }
    }
}

impl Guard for ScriptGuard {
    async fn fence(&mut self, epoch: Epoch) -> Result<(), HostError> {
        // Nothing was started: no stop will follow that could undo a fence.
        if epoch == Epoch::NONE {
            return Ok(());
        }
        let fenced = self.primary.fence(epoch, self.bounds.fence);
        self.sentry.fence(epoch);
        fenced
    }

    async fn take_address(&mut self, epoch: Epoch, lifetime: Duration) -> Result<(), HostError> {
        // Addresses come before the service: whatever was watched is over.
        self.sentry.rest();
        self.adopt_address(epoch, lifetime).await
    }

    async fn keep_address(&mut self, lifetime: Duration) -> Result<(), HostError> {
        self.lifetime = lifetime;
        match self.bounds.patience {
            None => self.sentry.feed(self.epoch, lifetime)?,
            Some(patience) => self.sentry.find(self.epoch, patience)?,
        }
        self.addresses.keep(lifetime)
    }

    /// The guardian watches since the process before: it is never told to rest.
    async fn adopt_address(&mut self, epoch: Epoch, lifetime: Duration) -> Result<(), HostError> {
        (self.epoch, self.lifetime) = (epoch, lifetime);
        self.sentry.feed(epoch, self.bounds.right(lifetime))?;
        self.addresses.take(epoch, lifetime)
    }

    fn announce_address(&mut self) {
        self.addresses.announce();
    }

    fn pulse(&mut self) -> Option<Pulse> {
        let (patience, sentry) = (self.bounds.patience?, self.sentry.clone());
        Some(Pulse::new(move || sentry.beat(patience)))
    }

    /// The next process goes on within the addresses' lifetime, or within D where there is a peer; it
    /// may take longer than that to hear of a heartbeat.
    fn leave(&mut self) {
        if let Some(patience) = self.bounds.patience {
            self.sentry.beat(patience.max(self.lifetime));
        }
        self.addresses.leave();
    }

    async fn drop_address(&mut self) -> Result<(), HostError> {
        // The service may still run, and the guardian watches it until it is stopped.
        self.addresses.release()
    }
}

impl AddressHost {
    /// The host of these addresses.
    pub fn new(addresses: Box<dyn Addresses>) -> Self {
        Self(Some(addresses))
    }
}

impl Host for AddressHost {
    type Guard = AddressGuard;

    fn guard(&mut self) -> AddressGuard {
        AddressGuard(self.0.take().expect("the guard is asked for once"))
    }

    async fn start(&mut self, _: Epoch, _: Seq) -> Result<(), HostError> {
        Ok(())
    }

    async fn stop(&mut self, _: bool) -> Result<(), HostError> {
        Ok(())
    }

    async fn apply(&mut self, _: Seq, _: Bytes) -> Result<(), HostError> {
        Ok(())
    }

    async fn reset(&mut self) -> Result<(), HostError> {
        Ok(())
    }

    fn outlives(&self) -> bool {
        true
    }

    async fn adopt(&mut self, _: Epoch, _: Seq) -> Result<(), HostError> {
        Ok(())
    }
}

impl Guard for AddressGuard {
    fn announce_address(&mut self) {
        self.0.announce();
    }

    fn leave(&mut self) {
        self.0.leave();
    }

    async fn fence(&mut self, _: Epoch) -> Result<(), HostError> {
        Ok(())
    }

    async fn take_address(&mut self, epoch: Epoch, lifetime: Duration) -> Result<(), HostError> {
        self.0.take(epoch, lifetime)
    }

    async fn keep_address(&mut self, lifetime: Duration) -> Result<(), HostError> {
        self.0.keep(lifetime)
    }

    async fn drop_address(&mut self) -> Result<(), HostError> {
        self.0.release()
    }
}

impl Addresses for NoAddresses {
    fn take(&mut self, _: Epoch, _: Duration) -> Result<(), HostError> {
        Ok(())
    }

    fn keep(&mut self, _: Duration) -> Result<(), HostError> {
        Ok(())
    }

    fn release(&mut self) -> Result<(), HostError> {
        Ok(())
    }
}

/// What runs where the module is primary, for host and guard.
#[derive(Clone, Debug)]
enum Primary {
    Scripts(Arc<Scripts>),
    Unit(Arc<Unit>),
}

impl Primary {
    fn start(&self, shift: Shift) -> Result<(), HostError> {
        match self {
            Self::Scripts(scripts) => Ok(scripts.start(Service::Prim, shift)?),
            Self::Unit(unit) => Ok(unit.start(shift.epoch)?),
        }
    }

    fn stop(&self, shift: Shift, force: bool) -> Result<(), HostError> {
        match self {
            Self::Scripts(scripts) => Ok(scripts.stop(Service::Prim, shift, force)?),
            Self::Unit(unit) => Ok(unit.stop(force)?),
        }
    }

    fn fence(&self, epoch: Epoch, within: Duration) -> Result<(), HostError> {
        match self {
            Self::Scripts(scripts) => Ok(scripts.fence(epoch, within)?),
            Self::Unit(unit) => Ok(unit.fence(epoch, within)?),
        }
    }

    fn adopt(&self, epoch: Epoch) -> Result<(), HostError> {
        match self {
            Self::Scripts(scripts) => Ok(scripts.adopt(epoch)?),
            Self::Unit(unit) => Ok(unit.adopt()?),
        }
    }

    fn kill_frozen(&self) -> Result<bool, HostError> {
        match self {
            Self::Scripts(scripts) => Ok(scripts.kill_frozen(Service::Prim)?),
            Self::Unit(unit) => Ok(unit.kill_frozen()?),
        }
    }
}

/// The guardian, if there is one, for host and guard.
#[derive(Clone, Debug)]
struct Sentry(Arc<Mutex<Option<Guardian>>>);

impl Sentry {
    fn with(
        &self,
        tell: impl FnOnce(&mut Guardian) -> std::io::Result<()>,
    ) -> Result<(), HostError> {
        let mut guardian = self.0.lock().expect("nothing panics while the guardian is told");
        let told = guardian.as_mut().map_or(Ok(()), tell);
        told.map_err(|why| HostError::new(std::format!("the guardian does not hear: {why}")))
    }

    /// What it is not told it does by itself when the right ends: an error, for there may be no one.
    fn feed(&self, epoch: Epoch, right: Duration) -> Result<(), HostError> {
        self.with(|guardian| guardian.feed(epoch, right))
    }

    /// As [`Self::feed`], where heartbeats say the same: one that has those to read is there, as long
    /// as any was taken in time.
    fn find(&self, epoch: Epoch, right: Duration) -> Result<(), HostError> {
        self.with(|guardian| match guardian.feed(epoch, right) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && guardian.is_fed() => Ok(()),
            told => told,
        })
    }

    /// The daemon lives: told without waiting for anyone who starts a guardian. That nobody hears it
    /// is found out with the next lifetime of the addresses.
    fn beat(&self, right: Duration) {
        if let Ok(mut guardian) = self.0.try_lock()
            && let Some(guardian) = guardian.as_mut()
        {
            guardian.beat(right);
        }
    }

    /// Something is started: what was fed before it rested counts again.
    fn watch(&self) -> Result<(), HostError> {
        self.with(Guardian::watch)
    }

    /// The daemon has done it itself.
    fn fence(&self, epoch: Epoch) {
        say(self.with(|guardian| guardian.fence(epoch)));
    }

    /// Nothing will run any more. One that still watches something stays.
    fn dismiss(&self) {
        let mut guardian = self.0.lock().expect("nothing panics while the guardian is told");
        say(guardian.take().map_or(Ok(()), Guardian::dismiss));
    }

    /// Nothing runs that it could freeze or kill.
    fn rest(&self) {
        say(self.with(Guardian::rest));
    }
}

/// Whether the service of both nodes is started in this role. It then runs on until the module stops
/// here: `WAIT` lies between any two of these roles, and a takeover must not restart it.
const fn takes_part(role: Role) -> bool {
    match role {
        Role::Second | Role::Prim | Role::Alone | Role::Up => true,
        Role::Stop | Role::Wait => false,
    }
}

fn say<E: core::fmt::Display>(result: Result<(), E>) {
    if let Err(error) = result {
        error!(%error);
    }
}
