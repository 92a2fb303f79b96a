//! What other threads have for the node's loop.

use core::time::Duration;
use std::mem;
use std::prelude::rust_2024::*;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Waker};

use bytes::Bytes;
use ha_proto::{Seq, Ticket};
use ha_replicate::ProposeError;
use tokio::sync::oneshot;

use super::session::Session;
use super::upgrade::Unready;
use crate::{Answer, Mirror, Order, OrderError};

/// A queue to the loop, emptied whole at each turn, so that what comes in while the loop works is
/// handled together.
///
/// Bounded by what its writers may have in flight: proposals by their permits, answers by the
/// effects that were asked.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    letters: Vec<Letter>,
    waker: Option<Waker>,
    closed: bool,
}

/// One thing for the loop.
pub(super) enum Letter {
    /// An effect of a module ended.
    Done { module: usize, ticket: Ticket, answer: Answer },
    /// A record for a module.
    Propose { module: usize, proposal: Proposal },
    /// An operator's order.
    Order { module: usize, order: Order, reply: oneshot::Sender<Result<(), OrderError>> },
    /// A resource of a module.
    Resource { module: usize, index: u8, up: Option<bool>, blocks: bool },
    /// The addresses of a module are gone.
    AddressLost { module: usize },
    /// An answer of a module's clerk, sealed as a witness's.
    #[cfg(feature = "etcd")]
    Witness { module: usize, datagram: Box<ha_proto::wire::Datagram> },
    /// A look at a module's machine, by whoever asks.
    Inspect { module: usize, look: Box<dyn FnOnce(&Mirror) + Send> },
    /// A stream to the peer.
    Session(Box<Session>),
    /// A thread of a module panicked: what it owes will never come.
    Died { thread: String },
    /// Another process is to go on.
    HandOver { patience: Duration, reply: Sender<Result<(), Unready>> },
    /// The end.
    Shutdown,
}

/// A record that waits to be proposed.
#[derive(Debug)]
pub(super) struct Proposal {
    pub(super) record: Bytes,
    /// Who wants to know its sequence; without one the host hears of a refusal.
    pub(super) reply: Option<oneshot::Sender<Result<Seq, ProposeError>>>,
}

impl Mailbox {
    /// Puts a letter in; gives it back when nobody will read it any more.
    pub(super) fn post(&self, letter: Letter) -> Result<(), Letter> {
        let waker = {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            if inner.closed {
                return Err(letter);
            }
            inner.letters.push(letter);
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Moves all letters to `letters`, which is empty; the next one wakes the loop.
    pub(super) fn collect(&self, cx: &mut Context<'_>, letters: &mut Vec<Letter>) {
        assert!(letters.is_empty(), "letters of the last turn would be read in the wrong order");
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        mem::swap(&mut inner.letters, letters);
        if inner.waker.is_none() {
            inner.waker = Some(cx.waker().clone());
        }
    }

    /// Takes no more letters; those that wait are dropped.
    pub(super) fn close(&self) {
        let letters = {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.closed = true;
            mem::take(&mut inner.letters)
        };
        drop(letters);
    }
}

impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Done { .. } => "Done",
            Self::Propose { .. } => "Propose",
            Self::Order { .. } => "Order",
            Self::Resource { .. } => "Resource",
            Self::AddressLost { .. } => "AddressLost",
            #[cfg(feature = "etcd")]
            Self::Witness { .. } => "Witness",
            Self::Inspect { .. } => "Inspect",
            Self::Session(_) => "Session",
            Self::Died { .. } => "Died",
            Self::HandOver { .. } => "HandOver",
            Self::Shutdown => "Shutdown",
        })
    }
}
