//! A member of a farm: all servers run the service, and each one's kernel decides which packets
//! are its own (`CONTRACT-FARM.md`).
//!
//! [`Farm`] is pure: facts go in ([`Farm::handle_input`]), effects come out
//! ([`Farm::poll_output`]), and it says when it wants to be called next ([`Farm::poll_timeout`]).

mod config;
mod event;
mod io;
mod order;
mod view;

use alloc::collections::VecDeque;

use bytes::Bytes;
use ha_proto::wire::Keys;
use ha_proto::{Boot, Deadline, Instant};
use thiserror::Error;

pub use config::{Config, ConfigError, Identity, Isolated, Policy, Timing};
pub use event::{Event, Why};
pub use io::{Effect, Input, Output};
pub use order::{Order, OrderError};
pub use view::{Peer, Service, View};

/// One member of a farm: who is in the view, which buckets are this node's, and until when.
///
/// - Facts: [`Farm::handle_input`]; orders: [`Farm::order`].
/// - Effects: [`Farm::poll_output`], to be performed in order.
/// - Time: [`Farm::poll_timeout`].
/// - Questions: [`Farm::view`].
/// - Another process: [`Farm::hand_over`], [`Farm::adopt`].
///
/// Any order of calls is legal. Time may stand still but is never taken back: an earlier `now`
/// counts as the latest one.
#[derive(Clone, Debug)]
pub struct Farm {
    config: Config,
    keys: Keys,
    boot: Boot,
    now: Instant,
    outputs: VecDeque<Output>,
}

impl Farm {
    /// A node that starts now. `boot` is a random number for this start of the process. Its first
    /// output is [`Effect::Shut`]: a filter that an earlier process left is closed before the first
    /// beat (F6).
    pub fn new(config: Config, keys: Keys, boot: Boot, now: Instant) -> Self {
        Self { config, keys, boot, now, outputs: VecDeque::new() }
    }

    /// Takes one fact.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        self.now = now.max(self.now);
        match input {
            Input::Timeout | Input::Datagram { .. } | Input::Done { .. } => {}
        }
    }

    /// The next thing to do or to tell, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Farm::handle_input`] with [`Input::Timeout`] if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        None
    }

    /// Takes an order about this node.
    ///
    /// # Errors
    /// Why it is refused, and what to do. Nothing has changed then.
    pub fn order(&mut self, now: Instant, order: Order) -> Result<(), OrderError> {
        self.now = now.max(self.now);
        match order {
            Order::Weight { .. } | Order::Drain(_) | Order::Gate(_) | Order::Rules { .. } => Ok(()),
            Order::Checker { .. } | Order::Stop { .. } | Order::Start => Ok(()),
        }
    }

    /// All that status and metrics show.
    pub fn view(&self, now: Instant) -> View {
        View::blank(self.config.identity.me, now)
    }

    /// Gives what a next process needs to go on with this one's filter and lease (F6), and does
    /// nothing more: a datagram to be kept for at most the lease. `None` while this node takes
    /// nothing, so that there is nothing to go on with.
    pub fn hand_over(&mut self, now: Instant) -> Option<Bytes> {
        self.now = now.max(self.now);
        None
    }

    /// A node that goes on where another process handed over, with its boot, view, table and
    /// lease; the kernel's filter is left as it is.
    ///
    /// # Errors
    /// [`Void`] when `baton` is not good for that: start with [`Farm::new`].
    pub fn adopt(config: Config, keys: Keys, baton: &[u8], now: Instant) -> Result<Self, Void> {
        let _ = (config, keys, baton, now);
        Err(Void::Garbled)
    }
}

/// Why what a process handed over cannot be used. Start anew, and let the filter be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Void {
    /// It is none, or of another version.
    #[error("it is no baton of this version")]
    Garbled,
    /// It is another node's, cluster's or module's.
    #[error("it is another node's")]
    Stranger,
    /// The configuration has changed in what all members must share.
    #[error("it was handed over under another configuration")]
    Config,
    /// The lease has ended meanwhile.
    #[error("its lease has ended")]
    Late,
}
