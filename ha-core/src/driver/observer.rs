//! Who hears of every event at once.

use core::fmt;
use std::prelude::rust_2024::*;
use std::sync::Arc;

use ha_proto::{Epoch, ModuleId, Role};

use crate::Event;

/// An event, and when in the module's life it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whose.
    pub module: ModuleId,
    /// Its number among the module's events since the start of the driver, from 1.
    pub sequence: u64,
    /// The module's role then.
    pub role: Role,
    /// The epoch that was saved then.
    pub epoch: Epoch,
    /// What happened.
    pub event: Event,
}

/// Hears of everything; by default nobody does.
#[derive(Clone)]
pub(super) struct Observer(Arc<dyn Fn(&Notice) + Send + Sync>);

impl Observer {
    pub(super) fn new(tell: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    pub(super) fn tell(&self, notice: &Notice) {
        (self.0)(notice);
    }
}

impl Default for Observer {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
