//! What a program that wants to be highly available implements.

use core::error::Error;
use core::fmt;
use core::future::{Future, ready};
use core::time::Duration;
use std::prelude::rust_2024::*;

use bytes::Bytes;
use ha_proto::{Epoch, Seq};
use ha_replicate::{Batch, ProposeError};

use crate::Event;

/// The application behind one module: a state machine that applies committed records, and a service
/// that runs where the module is primary.
///
/// All methods are called on a thread of their own, one at a time, in the order in which the node
/// asked; none of them delays the node, other modules, or the [`Guard`]. An error is told to the
/// node, which stops the application, or counts the copy here as lost.
pub trait Host: Send + 'static {
    /// What keeps the application in bounds at once, whatever the host is doing.
    type Guard: Guard;

    /// The guard, asked for once before anything else.
    fn guard(&mut self) -> Self::Guard;

    /// Starts to serve in `epoch`. Nobody may be answered before the record `head` is applied: what
    /// was acknowledged before is read again only then.
    fn start(
        &mut self,
        epoch: Epoch,
        head: Seq,
    ) -> impl Future<Output = Result<(), HostError>> + Send;

    /// Ceases to serve, in order; with `force` without waiting for anyone.
    fn stop(&mut self, force: bool) -> impl Future<Output = Result<(), HostError>> + Send;

    /// Applies one committed record. Records come in the order of their sequence, each once in the
    /// life of the state, on primary and secondary alike.
    fn apply(
        &mut self,
        seq: Seq,
        record: Bytes,
    ) -> impl Future<Output = Result<(), HostError>> + Send;

    /// Applies committed records; the default applies one after the other. A host that can take
    /// many at a time is faster with its own.
    fn apply_batch(&mut self, batch: &Batch) -> impl Future<Output = Result<(), HostError>> + Send {
        async move {
            for record in batch.records() {
                let payload = batch.bytes.slice_ref(record.body.payload);
                self.apply(record.position.seq, payload).await?;
            }
            Ok(())
        }
    }

    /// Forgets the state: all records will be applied again from the first.
    fn reset(&mut self) -> impl Future<Output = Result<(), HostError>> + Send;

    /// The last record in the host's own durable state, asked once at the start; zero, the default,
    /// when the state is rebuilt from the log.
    fn applied(&self) -> Seq {
        Seq::ZERO
    }

    /// Whether the application runs on when this process ends, so that the next one can
    /// [`adopt`](Self::adopt) it; asked once at the start. The default is no: a node that serves
    /// does not hand over then ([`Running::hand_over`](super::Running::hand_over)).
    fn outlives(&self) -> bool {
        false
    }

    /// Goes on with an application that an earlier process of this node's boot started in `epoch`,
    /// in the place of [`start`](Self::start). Else as for that. Called only on a host that says
    /// that it [`outlives`](Self::outlives) its process.
    fn adopt(
        &mut self,
        epoch: Epoch,
        head: Seq,
    ) -> impl Future<Output = Result<(), HostError>> + Send {
        let _ = (epoch, head);
        ready(Err(HostError::new("this application ended with the process before")))
    }

    /// This process ends and another one goes on: whatever runs is left as it is. The last call;
    /// the host is dropped behind it.
    fn leave(&mut self) {}

    /// A record of [`Handle::submit`](super::Handle::submit) was not taken, and why.
    fn refused(&mut self, record: Bytes, why: ProposeError) {
        let _ = (record, why);
    }

    /// Something happened. Each event is in the log (`tracing`) already.
    fn observe(&mut self, event: &Event) {
        let _ = event;
    }
}

/// What must not wait behind the application: its methods are called on another thread than the
/// [`Host`]'s, even while the host starts, stops or applies. One at a time, in order.
pub trait Guard: Send + 'static {
    /// Keeps the application from doing anything any more: no answers, no writes (R5). Must end
    /// within the configured `stop`; an orderly [`Host::stop`] follows.
    fn fence(&mut self, epoch: Epoch) -> impl Future<Output = Result<(), HostError>> + Send;

    /// Sets the virtual addresses here, to vanish by themselves after `lifetime`, which is what is
    /// left of it at the call: whatever is slower than that must make up for itself. The default
    /// has none.
    fn take_address(
        &mut self,
        epoch: Epoch,
        lifetime: Duration,
    ) -> impl Future<Output = Result<(), HostError>> + Send {
        let _ = (epoch, lifetime);
        ready(Ok(()))
    }

    /// Lets the virtual addresses live for `lifetime` from now.
    fn keep_address(
        &mut self,
        lifetime: Duration,
    ) -> impl Future<Output = Result<(), HostError>> + Send {
        let _ = lifetime;
        ready(Ok(()))
    }

    /// Goes on with virtual addresses that an earlier process of this node's boot has set, and lets
    /// them live for `lifetime` from now; none may go meanwhile. The default takes them as if they
    /// were not set.
    fn adopt_address(
        &mut self,
        epoch: Epoch,
        lifetime: Duration,
    ) -> impl Future<Output = Result<(), HostError>> + Send {
        self.take_address(epoch, lifetime)
    }

    /// The peer is heard again, or over one more link. It, or a network that was parted, may have
    /// shown clients the way to another owner of the virtual addresses: if they are here, the
    /// network is to be told anew (`FIELD.md` row 1). The default has none.
    fn announce_address(&mut self) {}

    /// What is to be called with each heartbeat that the node sends, in every role: it lives. Asked
    /// for once at the start. The default is nothing.
    fn pulse(&mut self) -> Option<Pulse> {
        None
    }

    /// This process ends and another one goes on: addresses are left as they are, to vanish when
    /// their lifetime ends. The last call; the guard is dropped behind it.
    fn leave(&mut self) {}

    /// Removes the virtual addresses.
    fn drop_address(&mut self) -> impl Future<Output = Result<(), HostError>> + Send {
        ready(Ok(()))
    }
}

/// What is called with each heartbeat of a node, on the node's own thread: it must not wait.
pub struct Pulse(Box<dyn FnMut() + Send>);

impl Pulse {
    /// Calls `beat` with each heartbeat.
    pub fn new(beat: impl FnMut() + Send + 'static) -> Self {
        Self(Box::new(beat))
    }

    /// The node has sent a heartbeat.
    pub fn beat(&mut self) {
        (self.0)();
    }
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Pulse")
    }
}

/// Why a host could not do what it was asked, in its own words.
pub struct HostError(Box<dyn Error + Send + Sync>);

impl HostError {
    /// The reason, a text or an error.
    pub fn new(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(why.into())
    }
}

impl fmt::Debug for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for HostError {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}
