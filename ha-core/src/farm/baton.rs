//! What one process hands over to the next, so that the filter and its lease go on (F6).

use ha_proto::Instant;
use ha_proto::wire::Keys;
use thiserror::Error;

use crate::farm::{Config, Farm};

/// What a next process needs to go on with this one's boot, view, tables and lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Baton {
    until: Instant,
}

/// Why what a process handed over cannot be used. Start anew, and let the filter be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Void {
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

impl Farm {
    /// Gives what a next process needs. `None` while there is nothing to go on with.
    pub fn hand_over(&mut self, now: Instant) -> Option<Baton> {
        let _ = now;
        None
    }

    /// Goes on.
    ///
    /// # Errors
    /// [`Void`].
    pub fn adopt(config: Config, keys: Keys, baton: &Baton, now: Instant) -> Result<Self, Void> {
        let _ = (config, keys, baton.until, now);
        Err(Void::Late)
    }
}
