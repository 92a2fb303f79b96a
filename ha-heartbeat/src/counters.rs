//! What a detector counted.

/// What a detector counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Beats sent; one for each peer and link.
    pub sent: u64,
    /// Beats accepted.
    pub received: u64,
    /// Beats of the peer's present boot that never came: numbers that were passed over on a link.
    /// One that comes late was counted as lost, and is refused.
    pub lost: u64,
    /// Beats refused because their number was not above the last one on that link.
    pub replayed: u64,
    /// Beats accepted that proved nothing: they echo no recent number of mine, or come from a boot
    /// that has not proved itself.
    pub stale: u64,
    /// Beats of no peer of mine, or on no link of mine.
    pub strangers: u64,
    /// Peers that came back in another boot.
    pub restarts: u64,
    /// Times that this node did not run when it wanted to.
    pub pauses: u64,
}
