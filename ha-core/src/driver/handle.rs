//! How a program talks to its module.

use std::prelude::rust_2024::*;
use std::sync::Arc;

use bytes::Bytes;
use ha_proto::{ModuleId, Seq};
use ha_replicate::ProposeError as LogError;
use thiserror::Error;
use tokio::sync::{Notify, Semaphore, oneshot, watch};

use super::greetings::Refused;
use super::mailbox::{Letter, Mailbox, Proposal};
use crate::{Counters, Order, Status, View};

/// One module of a running driver. Cheap to clone, usable on any thread and in any runtime.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) id: ModuleId,
    pub(super) place: usize,
    pub(super) mailbox: Arc<Mailbox>,
    /// One permit for each record that may wait to be proposed.
    pub(super) permits: Semaphore,
    pub(super) status: watch::Receiver<Option<Status>>,
    /// The process's.
    pub(super) refused: Arc<Refused>,
    /// Told when the peer is heard again.
    pub(super) heard: Arc<Notify>,
}

/// Why a record was not proposed. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProposeError {
    /// The log refuses it: this node does not serve, or it is too large, or there is no room.
    #[error(transparent)]
    Refused(LogError),
    /// More records wait than are allowed to: ask again.
    #[error("too many records wait to be proposed")]
    Busy,
    /// The driver has ended.
    #[error("the driver has ended")]
    Closed,
}

/// Why an order is not obeyed. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OrderError {
    /// The module refuses it; what to do.
    #[error(transparent)]
    Refused(crate::OrderError),
    /// The driver has ended.
    #[error("the driver has ended")]
    Closed,
}

impl Handle {
    /// Proposes a record, as soon as the log's window has room; its place in the log. It is
    /// committed once [`Host::apply`](super::Host::apply) gets it.
    ///
    /// When the node ceases to serve after this answered, the record may be committed or not: a
    /// record says by itself (a client and a number) whether it was applied before.
    ///
    /// # Errors
    /// [`ProposeError::Refused`] or [`ProposeError::Closed`].
    pub async fn propose(&self, record: Bytes) -> Result<Seq, ProposeError> {
        let permit = self.shared.permits.acquire().await.map_err(|_| ProposeError::Closed)?;
        permit.forget();
        let (reply, answer) = oneshot::channel();
        self.post(Proposal { record, reply: Some(reply) })?;
        match answer.await {
            Ok(result) => result.map_err(ProposeError::Refused),
            Err(_) => Err(ProposeError::Closed),
        }
    }

    /// Hands a record over to be proposed and does not wait: the host hears of its fate by
    /// [`Host::apply`](super::Host::apply) or [`Host::refused`](super::Host::refused). The fastest
    /// way, for hosts whose records say whose they are.
    ///
    /// # Errors
    /// [`ProposeError::Busy`] or [`ProposeError::Closed`].
    pub fn submit(&self, record: Bytes) -> Result<(), ProposeError> {
        match self.shared.permits.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(tokio::sync::TryAcquireError::NoPermits) => return Err(ProposeError::Busy),
            Err(tokio::sync::TryAcquireError::Closed) => return Err(ProposeError::Closed),
        }
        self.post(Proposal { record, reply: None })
    }

    /// Gives an operator's order; whether the module accepts it. What comes of it is seen in the
    /// status and the events.
    ///
    /// # Errors
    /// [`OrderError`]: nothing has changed then.
    pub async fn order(&self, order: Order) -> Result<(), OrderError> {
        let (reply, answer) = oneshot::channel();
        self.tell(Letter::Order { module: self.shared.place, order, reply });
        match answer.await {
            Ok(result) => result.map_err(OrderError::Refused),
            Err(_) => Err(OrderError::Closed),
        }
    }

    /// The resource `index`, 0 to 63, without which this node cannot serve, went up or down.
    pub fn resource(&self, index: u8, up: bool) {
        self.tell_resource(index, Some(up), !up);
    }

    /// What is known of the resource `index`, 0 to 63, and whether this node cannot serve because
    /// of it; see [`Input::Resource`](crate::Input::Resource).
    pub fn tell_resource(&self, index: u8, up: Option<bool>, blocks: bool) {
        self.tell(Letter::Resource { module: self.shared.place, index, up, blocks });
    }

    /// The module's virtual addresses are gone, and nobody asked for that; see
    /// [`Input::AddressLost`](crate::Input::AddressLost).
    pub fn address_lost(&self) {
        self.tell(Letter::AddressLost { module: self.shared.place });
    }

    /// The number of this module.
    pub fn module(&self) -> ModuleId {
        self.shared.id
    }

    /// How the module is doing, now and whenever that changes.
    pub fn status(&self) -> Watch {
        Watch { status: self.shared.status.clone() }
    }

    /// What was counted since the start; `None` when the driver has ended.
    pub async fn counters(&self) -> Option<Counters> {
        self.inspect(crate::Mirror::counters).await
    }

    /// Everything that an operator may ask; `None` when the driver has ended.
    pub async fn view(&self) -> Option<View> {
        self.inspect(crate::Mirror::view).await
    }

    async fn inspect<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&crate::Mirror) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let look = Box::new(move |mirror: &crate::Mirror| {
            // Who asked may have gone.
            let _ = reply.send(ask(mirror));
        });
        self.tell(Letter::Inspect { module: self.shared.place, look });
        answer.await.ok()
    }

    /// Connections for the replication stream that came to nothing since the start: at the node
    /// that listens those of strangers, silent, with another key or with an old greeting; at the
    /// one that dials its own attempts. Each kind is told in the log once until the stream is up.
    pub fn failed_connections(&self) -> u64 {
        self.shared.refused.count()
    }

    /// Asks the whole driver, all its modules, to end.
    pub fn shutdown(&self) {
        self.tell(Letter::Shutdown);
    }

    fn post(&self, proposal: Proposal) -> Result<(), ProposeError> {
        let letter = Letter::Propose { module: self.shared.place, proposal };
        self.shared.mailbox.post(letter).map_err(|_| ProposeError::Closed)
    }

    fn tell(&self, letter: Letter) {
        // To a driver that has ended there is nothing to say.
        let _ = self.shared.mailbox.post(letter);
    }
}

/// Follows the status of a module.
#[derive(Clone, Debug)]
pub struct Watch {
    status: watch::Receiver<Option<Status>>,
}

impl Watch {
    /// The newest; `None` before the first turn of the driver and after its end.
    pub fn now(&self) -> Option<Status> {
        *self.status.borrow()
    }

    /// Waits until the status is another than seen here last; `None` when the driver has ended.
    pub async fn changed(&mut self) -> Option<Status> {
        self.status.changed().await.ok()?;
        *self.status.borrow_and_update()
    }

    /// Waits until `wanted` is true of the status; `None` when the driver has ended before.
    pub async fn until(&mut self, mut wanted: impl FnMut(&Status) -> bool) -> Option<Status> {
        let found = self.status.wait_for(|status| status.as_ref().is_some_and(&mut wanted)).await;
        found.ok().and_then(|status| *status)
    }
}

/// Records of one module that may wait to be proposed: about two windows of small ones.
pub(super) const PROPOSALS_MAX: usize = 32_768;
