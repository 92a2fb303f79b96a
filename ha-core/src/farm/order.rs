//! What an operator, a script or a checker asks of a farm's node. Each node orders for itself.

use alloc::vec::Vec;

use ha_farm::{Rule, RuleError};
use thiserror::Error;

use crate::farm::ConfigError;

/// An order to this node about itself; the others learn of it from its beats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Change the weight of this node.
    Weight {
        /// In which service; `None` for all.
        service: Option<u16>,
        /// 0 to 1000.
        weight: u16,
    },
    /// Take no new clients, and let the connections end; or take part again.
    Drain(bool),
    /// As [`Order::Drain`], but for the scripts of the application: `gate open` is true.
    Gate(bool),
    /// Other rules. They come into force once every member has them.
    Rules {
        /// The services, 1 to 16.
        rules: Vec<Rule>,
        /// This node's weight in each.
        weights: Vec<u16>,
    },
    /// What the checkers say together: while one fails this node takes no new clients.
    Checker {
        /// None fails.
        ok: bool,
        /// The one that fails cuts the connections ([`Effect::Reset`](crate::farm::Effect::Reset)).
        cut: bool,
    },
    /// Leave the farm and stop the application.
    Stop {
        /// Stop it by force.
        force: bool,
    },
    /// Start the application and join the farm; a node does so by itself when it is made.
    Start,
}

/// Why an order is refused. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OrderError {
    /// There is no such service.
    #[error("there is no service {0}")]
    NoService(u16),
    /// The weights do not fit.
    #[error(transparent)]
    Weights(#[from] ConfigError),
    /// The rules cannot work.
    #[error(transparent)]
    Rule(#[from] RuleError),
}
