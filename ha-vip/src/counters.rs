//! What a set of addresses counted.

/// What a set of addresses counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Announcements: one for each address and time, whatever frames it took.
    pub announcements: u64,
    /// Sightings of another claimant while the addresses were ours; told at most once a second.
    pub conflicts: u64,
    /// Addresses that somebody else removed or changed, and that were put back.
    pub put_backs: u64,
    /// Addresses that went although nobody released them.
    pub lost: u64,
}
