//! What operators ask of a node, and what it answers at once.

use thiserror::Error;

/// What an operator can ask of a module; see [`Mirror::order`](crate::Mirror::order).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Take part: become whatever the pair needs.
    Start,
    /// Stop serving and taking part; a primary with a ready secondary hands over first, and serves
    /// on meanwhile if the witness gives nothing away yet, for two leases at most.
    Stop,
    /// Stop and start the application where it runs, without a change of role.
    Restart,
    /// Hand the service over to the peer.
    Swap,
    /// Bootstrap a pair that was never initialised, or start as primary when that is safe.
    Prim,
    /// Start, but ask for nothing before the peer has been seen.
    Second,
    /// Serve although it may lose data (the contract's operator override).
    PrimForce,
    /// Whether a secondary may take over by itself.
    Failover(bool),
}

/// Why an order is refused, and what to do. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OrderError {
    /// A swap is ordered where the application runs.
    #[error("this node is not the primary: order the swap at the other node")]
    NotPrimary,
    /// The peer is lost, stopped, or its copy is behind.
    #[error("the secondary is not ready: order the swap again once it is in sync")]
    NotReady,
    /// R13: a swap is recorded at the witness.
    #[error("the witness does not answer: order the swap again once it does")]
    WitnessSilent,
    /// R9: it changes no holder for a lease after its start.
    #[error("the witness has just started: order the swap again after a lease")]
    WitnessInGrace,
    /// R13: the witness would refuse to give the service away.
    #[error(
        "the witness does not yet count the secondary as in sync, or not yet this node as the \
         primary: order the swap again in a moment"
    )]
    NotCounted,
    /// There is a primary.
    #[error("the other node is the primary: order a swap there")]
    PeerServes,
    /// The other node may have acknowledged what is not here.
    #[error(
        "the data here may be stale: start the other node; if it is lost for good, primforce \
         serves these data and loses what only it had"
    )]
    Stale,
    /// The witness counts on the other node.
    #[error(
        "the witness's lease for the other node still runs: order again when it is over, a lease \
         from now at the latest if that node is dead"
    )]
    LeaseRuns,
    /// R6, R9: this node, or an earlier life of it, may have let the peer serve.
    #[error(
        "this node's promise to let the other one serve still stands: order again when it is \
         over, a lease from now at the latest if that node is dead"
    )]
    Promised,
    /// There is nothing to override.
    #[error("this node serves already: there is nothing to force")]
    Serves,
}

impl OrderError {
    /// Whether the same order may be accepted later although nobody orders anything else.
    ///
    /// ```
    /// use ha_core::OrderError;
    ///
    /// assert!(OrderError::NotReady.passes());
    /// assert!(!OrderError::Stale.passes());
    /// ```
    pub const fn passes(self) -> bool {
        match self {
            Self::NotReady
            | Self::WitnessSilent
            | Self::WitnessInGrace
            | Self::NotCounted
            | Self::LeaseRuns
            | Self::Promised => true,
            Self::NotPrimary | Self::PeerServes | Self::Stale | Self::Serves => false,
        }
    }

    /// Whether it passes within about a lease whatever anybody does: an orderly stop of a primary
    /// with a ready secondary waits for that, and then hands over.
    ///
    /// ```
    /// use ha_core::OrderError;
    ///
    /// assert!(OrderError::WitnessInGrace.is_brief());
    /// assert!(!OrderError::WitnessSilent.is_brief());
    /// ```
    pub const fn is_brief(self) -> bool {
        match self {
            Self::WitnessInGrace | Self::NotCounted => true,
            Self::NotPrimary
            | Self::NotReady
            | Self::WitnessSilent
            | Self::PeerServes
            | Self::Stale
            | Self::LeaseRuns
            | Self::Promised
            | Self::Serves => false,
        }
    }
}
