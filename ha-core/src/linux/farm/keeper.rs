//! Looks whether what was set is still there: others have their hands on this machine, too.

use core::net::IpAddr;
use core::time::Duration;
use std::boxed::Box;
use std::collections::BTreeSet;
use std::io;
use std::prelude::rust_2024::*;
use std::string::String;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc;
use tracing::debug;

use super::turn::Letter;
use crate::linux::address::Addresses;
use crate::linux::link::Link;
use crate::linux::plane::{Guard, PlaneError};

/// A thread that looks: the kernel may let it wait for others who change interfaces, longer than
/// the node may be late.
#[derive(Debug)]
pub(super) struct Keeper {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// How it is now.
#[derive(Debug)]
pub(super) struct Seen {
    /// Whether the filter is where it belongs.
    pub(super) filter: Result<(), PlaneError>,
    /// What clients reach, if that is seen to here.
    pub(super) front: Option<Sight>,
}

/// How the clients' interface and the addresses are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    /// The interface, if there is one of its name.
    pub(super) link: Option<Link>,
    /// Addresses that are to be on `lo` and are not.
    pub(super) missing: Vec<IpAddr>,
}

/// What is looked at besides the filter.
#[derive(Debug)]
pub(super) struct Eyes {
    pub(super) addresses: Addresses,
    pub(super) interface: String,
    pub(super) lo: u32,
    pub(super) wanted: Wanted,
}

/// The addresses that are to be on `lo`, as the node's thread says.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted(Arc<Mutex<BTreeSet<IpAddr>>>);

impl Wanted {
    pub(super) fn set(&self, vips: BTreeSet<IpAddr>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = vips;
    }

    fn now(&self) -> BTreeSet<IpAddr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Keeper {
    /// In this thread's network namespace.
    pub(super) fn start(
        guard: Option<Box<dyn Guard + Send>>,
        eyes: Option<Eyes>,
        letters: mpsc::Sender<Letter>,
    ) -> io::Result<Self> {
        let (end, ended) = channel();
        let thread = thread::Builder::new().name(THREAD.into());
        let thread = thread.spawn(move || keep(guard, eyes, &letters, &ended))?;
        Ok(Self { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            // A panic was told where it happened.
            let _ = thread.join();
        }
    }
}

fn keep(
    mut guard: Option<Box<dyn Guard + Send>>,
    mut eyes: Option<Eyes>,
    letters: &mpsc::Sender<Letter>,
    ended: &Receiver<()>,
) {
    let mut calm = None;
    while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
        let filter = guard.as_mut().map_or(Ok(()), |guard| guard.look());
        let front = match eyes.as_mut().map(Eyes::look).transpose() {
            Ok(front) => front,
            Err(error) if filter.is_ok() => {
                debug!(%error, "a look that fails tells nothing");
                continue;
            }
            // That nothing filters is told all the same.
            Err(_) => None,
        };
        let whole = filter.is_ok() && front.as_ref().is_none_or(|it| it.missing.is_empty());
        if whole && calm.as_ref() == Some(&front) {
            continue;
        }
        let seen = Seen { filter, front: front.clone() };
        // One that finds no room is told at the next look.
        calm = letters.try_send(Letter::Seen(seen)).ok().and(whole.then_some(front));
    }
}

impl Eyes {
    fn look(&mut self) -> io::Result<Sight> {
        let link = self.addresses.link(&self.interface)?;
        let mut missing = self.wanted.now();
        for found in self.addresses.list()?.iter().filter(|it| it.spot.index == self.lo) {
            missing.remove(&found.spot.ip);
        }
        Ok(Sight { link, missing: missing.into_iter().collect() })
    }
}

const THREAD: &str = "ha-farm-keep";
/// Between two looks: for so long two servers may answer one client.
const EVERY: Duration = Duration::from_millis(200);
